"""A transport on an event loop, as its WebSockets see it: `ConnectionProtocol` is one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mintws.drivers.transport import LoggedTransport


class LoopTransport(LoggedTransport):
    """A transport on an event loop.

    Attributes:
        loop: the loop.
        transport: that of the loop.
        gone: done when it is gone.
        blocked_senders: the WebSockets whose senders wait until the peer takes something.
    """

    __slots__ = ()

    loop: asyncio.AbstractEventLoop
    gone: asyncio.Future[None]
    blocked_senders: set[Any]

    if TYPE_CHECKING:

        @property
        def transport(self) -> asyncio.Transport: ...
