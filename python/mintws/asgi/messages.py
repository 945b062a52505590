"""The types of ASGI applications, and of the messages that they exchange with a server."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple, TypeAlias

from mintws.events import Headers
from mintws.extensions import Extension

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[Any]]


class ClientDisconnected(OSError):
    """The client has gone, so nothing can be sent: an application that does not catch it has not failed."""


def is_of_the_end(error: Exception) -> bool:
    """Whether an error is, or came out of, that of a client that has gone. Of a group all errors must be."""
    return _leads_to_the_end(error, set())


def _leads_to_the_end(error: BaseException | None, seen: set[int]) -> bool:
    while error is not None and id(error) not in seen:
        if isinstance(error, ClientDisconnected):
            return True
        seen.add(id(error))
        # Python 3.10 has no groups.
        members = getattr(error, "exceptions", None)
        if isinstance(members, tuple) and members:
            return all(_leads_to_the_end(it, seen) for it in members)
        error = error.__cause__ or error.__context__
    return False


class Application(NamedTuple):
    """An application, and how its WebSockets are answered.

    Attributes:
        app: the application, of ASGI 3.
        extensions: the extensions of the WebSocket protocol that are agreed on where a client offers them.
        logger: where failures of the application are logged.
        headers: what each of its responses has too, whatever headers it has itself.
    """

    app: App
    extensions: tuple[Extension, ...]
    logger: logging.Logger
    headers: Headers = ()


def texts(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Make text of the headers of an event."""
    return [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in headers]
