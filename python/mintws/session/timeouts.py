"""Timeouts for the peer."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mintws.errors import LocalProtocolError


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts for the peer, in seconds. `None`, where allowed, is no limit.

    Attributes:
        open_timeout: for the opening handshake. On a client it starts with the call. On a server it covers the TLS handshake, and then the
            head of the client's first request, of any kind, from the connection on. The body of an ordinary request has this long from
            its head, plus one second for each 240 bytes received; otherwise it is answered with 408. For an application of ASGI only the
            time counts in which that waits for the body and has not begun its response.
        close_timeout: for the peer's half of the closing handshake.
        ping_interval: between two Pings of the keepalive; `None` sends none.
        ping_timeout: for a sign of life after a Ping of the keepalive: its Pong, or any other data received or taken; `None` is no limit.
        idle_timeout: on a server, for the head of the next request on an idle connection, and for a client that does not read a
            response.
        half_closed_timeout: on a server, for the client to end an HTTP/2 stream that has ended here, with a closed WebSocket or with a
            response. After that the stream is reset with NO_ERROR.
    """

    open_timeout: float | None = 10.0
    close_timeout: float = 10.0
    ping_interval: float | None = 20.0
    ping_timeout: float | None = 20.0
    idle_timeout: float | None = None
    half_closed_timeout: float | None = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if value is not None or name == "close_timeout":
                check_seconds(name, value, zero=not name.startswith("ping_"))


def check_seconds(name: str, value: object, *, zero: bool = True) -> None:
    """Raise if `value` is not a number of seconds or, unless `zero` is allowed, is 0."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not (value >= 0 if zero else value > 0):
        raise LocalProtocolError(f"{name} must be {'0 or more' if zero else 'more than 0'} seconds, not {value}")


def earliest(*deadlines: float | None) -> float | None:
    """Return the earliest deadline. `None` means never."""
    return min((it for it in deadlines if it is not None), default=None)
