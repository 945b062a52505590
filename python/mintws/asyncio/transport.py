"""A transport on an event loop, as its WebSockets and the log see it: `ConnectionProtocol` is one."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from mintws.events import Peer
from mintws.session import DriverTransport, Timeouts


class LoopTransport(DriverTransport):
    """A transport on an event loop.

    Attributes:
        id: its number in this process.
        loop: the loop.
        transport: that of the loop.
        peer: who is at the other end.
        timeouts: how long to wait for the peer.
        error: what ended it: the transport's own error, or the fault of the peer that ended the whole HTTP/2 connection.
        gone: done when it is gone.
        blocked_senders: the WebSockets whose senders wait until the peer takes something.
        logger, level: where is logged, and at which level what is no frame.
    """

    __slots__ = ()

    id: int
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    peer: Peer
    timeouts: Timeouts
    error: Exception | None
    gone: asyncio.Future[None]
    blocked_senders: set[Any]
    logger: logging.Logger
    level: int

    def let_finish(self) -> None:
        """Let the closing handshake of a WebSocket go on that nobody waits for any more; whoever owns the transport waits for that."""
