"""The ASGI application that a command names."""

from __future__ import annotations

import importlib
import sys
from functools import reduce
from typing import Any


class NotLoaded(Exception):
    """There is no such application; the text says why, and where its module raised, `__cause__` is what."""


def load(name: str, folder: str) -> Any:
    """Import a module and give the application in it.

    Args:
        name: the module and the application, as in `package.module:app`; `module:object.app` is an attribute of an object.
        folder: where modules are looked for first.

    Raises:
        NotLoaded: there is none, or its module cannot be imported.
    """
    module_name, _, path = name.partition(":")
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise NotLoaded(f"cannot import {module_name}") from error
        raise NotLoaded(f"there is no module {error.name} in {folder!r} or among what is installed") from None
    except Exception as error:
        raise NotLoaded(f"cannot import {module_name}") from error
    try:
        app = reduce(getattr, path.split("."), module)
    except AttributeError:
        raise NotLoaded(f"{module_name} has no {path}") from None
    if not callable(app):
        raise NotLoaded(f"{name} is no application: it cannot be called")
    return app
