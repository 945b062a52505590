"""One message to many WebSockets without waiting: which of them get it, and what becomes of those that are too slow for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from mintws import _core
from mintws.drivers.messages import WholeMessage, event_of
from mintws.errors import LocalProtocolError
from mintws.events import Binary, Close, PreparedMessage, Text
from mintws.limits import INT63, check_int
from mintws.session import DriverWebSocket

W = TypeVar("W", bound=DriverWebSocket)

#: The default for the unsent bytes of a WebSocket above which a message is not sent on it without waiting: 1 MiB.
MAX_UNSENT = 1 << 20

#: The WebSockets on which a message was sent, on which too much waits, those within a message in fragments, and those that have ended.
Fates: TypeAlias = tuple[list[W], list[W], list[W], list[W]]

#: What becomes of WebSockets on which too much waits.
Slow: TypeAlias = Literal["skip", "close"] | Close | Callable[[W], object]

#: The Close for `slow="close"` (RFC 6455 §7.4.1, IANA: "Try Again Later").
TOO_SLOW = Close(1013, "too slow to take what is sent")


@dataclass(frozen=True, slots=True)
class Broadcast(Generic[W]):
    """The result of a broadcast. Each WebSocket is in one of these.

    Attributes:
        sent: the message was sent, as by `send`.
        skipped: nothing was sent, because too much waits to be sent, or because a message in fragments is under way.
        closed: nothing was sent, because too much waits to be sent; they are being closed, as `slow` says.
        gone: nothing was sent, because they have ended or are closing.
    """

    sent: list[W]
    skipped: list[W]
    closed: list[W]
    gone: list[W]


def deliver(
    send_to_all: Callable[[list[W], PreparedMessage, bool | None, int], Fates[W]],
    websockets: Iterable[W],
    message: WholeMessage,
    *,
    compress: bool | None,
    max_unsent: int,
    slow: Slow[W],
) -> Broadcast[W]:
    """Broadcast a message; `send_to_all` is the driver's, which sends without waiting."""
    check_max_unsent(max_unsent)
    close = _check_slow(slow)
    event = whole(message, "broadcast")
    if not isinstance(websockets, Iterable):
        raise TypeError(f"websockets is an iterable, such as [websocket] or server.websockets, not {websockets!r}")
    prepared = event if isinstance(event, PreparedMessage) else PreparedMessage(event)
    sent, crowded, within, gone = send_to_all(list(dict.fromkeys(websockets)), prepared, compress, max_unsent)
    if close is None:
        result = Broadcast(sent, crowded + within, [], gone)
    else:
        result = Broadcast(sent, within, crowded, gone)
    if close is not None:
        _tell_all(result.closed, lambda websocket: websocket._begin_close(close.code, close.reason))
    if callable(slow):
        _tell_all(result.skipped, slow)
    return result


def _tell_all(websockets: list[W], tell: Callable[[W], object]) -> None:
    """Call a function with each WebSocket; what it raises first is raised when all have had their turn."""
    errors: list[Exception] = []
    for websocket in websockets:
        try:
            tell(websocket)
        except Exception as error:
            errors.append(error)
    try:
        if errors:
            raise errors[0]
    finally:
        # The error holds this frame.
        del errors


def whole(message: Any, call: str) -> Text | Binary | PreparedMessage:
    """Return a message as an event.

    Raises:
        LocalProtocolError: it is a fragment.
        TypeError: it is not a message, or an iterable of fragments.
    """
    event = event_of(message)
    if event is None:
        kind = type(message).__name__
        raise TypeError(f"{call}() takes a whole message: str, bytes, Text, Binary or a prepared message, not {kind}")
    if not isinstance(event, PreparedMessage) and not event.fin:
        raise LocalProtocolError(f"{call}() takes a whole message, not a fragment: send() takes fragments")
    return event


def check_max_unsent(max_unsent: object) -> None:
    """Raise for what is no number of bytes."""
    check_int("max_unsent", max_unsent, 0, INT63, " bytes")


def _check_slow(slow: object) -> Close | None:
    """Return the Close for WebSockets on which too much waits; `None` if they stay open."""
    if slow == "skip" or (callable(slow) and not isinstance(slow, type)):
        return None
    if slow == "close":
        return TOO_SLOW
    if not isinstance(slow, Close):
        raise TypeError(f'slow is "skip", "close", a Close or a function that takes a WebSocket, not {slow!r}')
    _core.check_close(slow.code, slow.reason)
    return slow
