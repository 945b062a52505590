"""Stand-ins for a WebSocket, a client or a server until it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


class Unopened:
    """An opening, whose error for an attribute of what it opens says how that is opened."""

    #: What it is called, if not by its class.
    _name = ""
    #: How it is opened, with its name in place of `{}`.
    _how = "`async with {}(...) as ...` or `await {}(...)`"

    if not TYPE_CHECKING:  # where any attribute would do

        def __getattr__(self, name: str) -> Any:
            called = self._name or type(self).__name__
            hint = "" if name.startswith("_") else f" until it is opened: write {self._how.replace('{}', called)}"
            raise AttributeError(f"{called}() has no attribute {name!r}{hint}", name=name, obj=self)
