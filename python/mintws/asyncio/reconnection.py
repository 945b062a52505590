"""A client that connects again: `async for websocket in connect(...)`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from mintws.asyncio.timers import pause
from mintws.asyncio.websocket import WebSocket
from mintws.drivers.client import ClientSettings
from mintws.drivers.reconnection import Reconnecting
from mintws.session import Reconnect


class Reconnection(Reconnecting[WebSocket], AsyncIterator[WebSocket]):
    """The WebSockets of a client, one after another.

    If the loop is left, the WebSocket that its body has is closed in the background.

    Args:
        settings, policy: as of `Reconnecting`.
        connect: opens a WebSocket.
    """

    def __init__(
        self, settings: ClientSettings, policy: Reconnect, connect: Callable[[], Awaitable[WebSocket]]
    ) -> None:
        super().__init__(settings, policy)
        self._connect = connect
        self._loop = asyncio.get_running_loop()

    async def __anext__(self) -> WebSocket:
        websocket = await self.next()
        if websocket is None:
            raise StopAsyncIteration
        return websocket

    def __del__(self) -> None:
        if self.websocket is not None:
            # The collector may run this in another thread, and within a call of the very WebSocket. No loop, nothing to close.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.websocket._leave)

    def now(self) -> float:
        return self._loop.time()

    async def open(self) -> WebSocket:
        return await self._connect()

    async def close(self, websocket: WebSocket) -> None:
        await websocket.close()

    async def pause(self, seconds: float) -> None:
        await pause(seconds)
