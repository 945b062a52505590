"""A transport on an event loop, as its WebSockets see it: `ConnectionProtocol` is one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mintws.drivers.transport import LoggedTransport


def check_loop(loop: asyncio.AbstractEventLoop, owner: str) -> None:
    """Raise `RuntimeError` in a task of another loop than the owner's, before anything is done there."""
    if asyncio.get_running_loop() is not loop:
        raise RuntimeError(
            f"the {owner} belongs to an event loop of another thread: call it by asyncio.run_coroutine_threadsafe()"
        )


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
