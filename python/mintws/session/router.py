"""Handlers by the path of the request (RFC 3986 §3.3)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from mintws.connection import Connection
from mintws.errors import LocalProtocolError
from mintws.events import UpgradeReject, UpgradeRequest

#: A percent sign that two hexadecimal digits do not follow (RFC 3986 §2.1).
_NO_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class Router:
    """The handler and the `upgrade` hook of a server that has a handler for each path: `serve(router, upgrade=router.upgrade)`.

    A request that fits no route is answered with 404.

    Args:
        routes: handlers by path. `{name}` stands for one segment that is not empty, and is an argument of the handler:
            `{"/chat/{room}": chat}` calls `chat(websocket, room="a b")` for `/chat/a%20b`. Segments are compared, and given to handlers,
            decoded, as UTF-8. Of routes that fit, the first is taken.

    Raises:
        LocalProtocolError: a path does not begin with "/", has a query, or has braces other than those of names.
        TypeError: `routes` is no mapping, a path is no `str`, or a handler cannot be called with a WebSocket and the names of its route.
    """

    def __init__(self, routes: Mapping[str, Callable[..., Any]]) -> None:
        if not isinstance(routes, Mapping):
            raise TypeError(f'routes is a mapping of handlers by path, such as {{"/chat": chat}}, not {routes!r}')
        self._routes = [(_Pattern(path), handler) for path, handler in routes.items()]
        for pattern, handler in self._routes:
            pattern.check(handler)

    def __call__(self, websocket: Any) -> Any:
        """Call the handler of a WebSocket, and return what that returns.

        Raises:
            LookupError: no route fits. The `upgrade` hook refuses such requests.
        """
        path = websocket.request.path
        found = self._find(path)
        if found is None:
            raise LookupError(f"no route fits {path!r}: give the server upgrade=router.upgrade, which answers 404")
        handler, arguments = found
        return handler(websocket, **arguments)

    def upgrade(self, connection: Connection, request: UpgradeRequest) -> UpgradeReject | None:
        """Refuse a request that fits no route with 404, and leave others to what is asked next.

        Args:
            connection: not used.
            request: the request.
        """
        return None if self._find(request.path) else UpgradeReject(404, body=b"there is nothing at this path\n")

    def _find(self, path: str) -> tuple[Callable[..., Any], dict[str, str]] | None:
        segments = _decoded(path)
        for pattern, handler in self._routes:
            arguments = None if segments is None else pattern.match(segments)
            if arguments is not None:
                return handler, arguments
        return None


class _Pattern:
    """The path of a route."""

    def __init__(self, path: str) -> None:
        if not isinstance(path, str):
            raise TypeError(f"the path of a route is a str, not {path!r}")
        if not path.startswith("/"):
            raise LocalProtocolError(f'the path of a route begins with "/": {path!r}')
        self._path = path
        #: The name of each segment that has one, else its text.
        self._segments = [(it[1:-1], True) if re.fullmatch(r"\{.*\}", it) else (it, False) for it in path.split("/")]
        names = [text for text, named in self._segments if named]
        texts = [text for text, named in self._segments if not named]
        if not all(name.isidentifier() for name in names) or len(set(names)) < len(names):
            raise LocalProtocolError(f"the names in a route are identifiers, and differ: {path!r}")
        if set("".join(texts)) & set("{}"):
            raise LocalProtocolError(f"a name in braces is a whole segment of a route: {path!r}")
        if set("".join(texts)) & set("?#"):
            raise LocalProtocolError(f"a route is a path, without a query and a fragment: {path!r}")

    def check(self, handler: Any) -> None:
        """Raise `TypeError` for a handler that cannot be called with a WebSocket and the arguments of the path."""
        if not callable(handler):
            raise TypeError(f"the handler of {self._path!r} is called, which {handler!r} cannot be")
        try:
            signature = inspect.signature(handler)
        except ValueError:
            # Some that are written in C have none.
            return
        try:
            signature.bind(None, **{text: "" for text, named in self._segments if named})
        except TypeError as error:
            names = "".join(f", {text}=..." for text, named in self._segments if named)
            raise TypeError(f"the handler of {self._path!r} is called with (websocket{names}): {error}") from None

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """Return the arguments of a path of these segments, or `None` if it does not fit."""
        if len(segments) != len(self._segments):
            return None
        arguments = {}
        for (text, named), segment in zip(self._segments, segments, strict=True):
            if not (segment if named else segment == text):
                return None
            if named:
                arguments[text] = segment
        return arguments


def _decoded(path: str) -> list[str] | None:
    """Return the segments of a path, or `None` if they are not percent-encoded UTF-8."""
    if _NO_ESCAPE.search(path):
        return None
    try:
        # The slash that `%2F` stands for separates nothing (RFC 3986 §2.2).
        return [unquote_to_bytes(it.encode("latin-1")).decode() for it in path.split("/")]
    except UnicodeError:
        return None
