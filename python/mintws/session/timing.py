"""How long to wait for the peer."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mintws.errors import LocalProtocolError


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for the peer, in seconds; `None`, where it may be, is without end.

    Attributes:
        open_timeout: for the opening handshake: on a client from the call on, on a server for the head of the client's first request,
            whatever it asks for, from the connection on, and for the handshake of TLS before. The body of an ordinary request has this
            long from its head on, and one second more for each 240 bytes of it that have come; else it is answered with 408.
        close_timeout: for the peer's half of the closing handshake.
        ping_interval: between two Pings of the keepalive; `None` sends none.
        ping_timeout: for a sign of life behind the keepalive's Ping: its Pong, or anything else that comes or is taken; `None` does not
            mind.
        idle_timeout: on a server, for the head of the next request on a connection that carries nothing any more, and for a client that
            takes nothing of a response.
        half_closed_timeout: on a server, for the client's end of an HTTP/2 stream that has ended here, with a WebSocket whose Closes have
            passed or with a response; then it is reset with NO_ERROR.
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
    """Raise if `value` is no number of seconds; without `zero`, if it is 0: a Ping every 0 seconds would be all that is sent."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not (value >= 0 if zero else value > 0):
        raise LocalProtocolError(f"{name} must be {'0 or more' if zero else 'more than 0'} seconds, not {value}")


def earliest(*deadlines: float | None) -> float | None:
    """Give the earliest of some deadlines, of which `None` is never."""
    return min((it for it in deadlines if it is not None), default=None)
