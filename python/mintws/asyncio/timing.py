"""How long to wait for the peer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for the peer, in seconds; `None` is without end.

    Attributes:
        open_timeout: for the opening handshake: on a client from the call on, on a server for the client's first request, whatever it
            asks for, from the connection on, and for the handshake of TLS before.
        close_timeout: for the peer's half of the closing handshake.
        ping_interval: between two Pings of the keepalive; `None` sends none.
        ping_timeout: for a sign of life behind the keepalive's Ping: its Pong, or anything else that comes or is taken; `None` does not
            mind.
        idle_timeout: on a server, for the next request on a connection that carries nothing any more.
    """

    open_timeout: float | None = 10.0
    close_timeout: float = 10.0
    ping_interval: float | None = 20.0
    ping_timeout: float | None = 20.0
    idle_timeout: float | None = None
