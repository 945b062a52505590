"""Methods of the core in classes of drivers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from mintws import _core

F = TypeVar("F", bound=Callable[..., Any])


def of_the_core(base: type) -> Callable[[F], F]:
    """Decorate the declaration of a coroutine function so that it is the method of the same name of `base`, a class of the core.

    `inspect` takes what has all attributes of a function for one, and so do `asyncio.iscoroutinefunction`, `help` and mocks.
    """

    def decorate(declared: F) -> F:
        method = getattr(base, declared.__name__)
        seen: Any = functools.update_wrapper(_core.coroutine_method(method), declared)
        seen.__doc__, seen.__annotations__ = method.__doc__, declared.__annotations__
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            setattr(seen, name, getattr(declared, name))
        return cast("F", seen)

    return decorate
