"""A tunnel through a proxy, on a transport of the loop."""

from __future__ import annotations

import asyncio

from mintws.asyncio.timers import Late, limited
from mintws.session import REFUSAL_WAIT, Tunnel


class TunnelProtocol(asyncio.Protocol):
    """The opening of a tunnel; another protocol follows on the same transport.

    Args:
        tunnel: the tunnel.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        #: The tunnel is open, or why it does not open is known.
        self._answered: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self.transport: asyncio.Transport

    async def open(self) -> None:
        """Wait until the tunnel is open. The body of a refusal is waited for a second at most.

        Raises:
            OSError: the transport has failed.
        """
        await self._answered
        if self._tunnel.failure is not None:
            try:
                await limited(self._whole(), REFUSAL_WAIT)
            except Late:
                pass

    async def _whole(self) -> None:
        await self._ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.write(self._tunnel.start())

    def data_received(self, data: bytes) -> None:
        reply = self._tunnel.receive(data)
        if reply:
            self.transport.write(reply)
        if self._tunnel.done:
            # What follows is for the next protocol.
            self.transport.pause_reading()
        self._tell()

    def eof_received(self) -> None:
        self._tunnel.receive(b"")
        self._tell()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self._answered.done():
            self._answered.set_exception(error)
            # Whoever waits for it may be gone.
            self._answered.exception()
            self._ended.cancel()
            return
        self._tunnel.receive(b"")
        self._tell()

    def _tell(self) -> None:
        if (self._tunnel.done or self._tunnel.failure is not None) and not self._answered.done():
            self._answered.set_result(None)
        if self._tunnel.done and not self._ended.done():
            self._ended.set_result(None)
