"""A client that connects again: `async for websocket in connect(..., nursery=nursery)`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from mintws.drivers.client import ClientSettings
from mintws.drivers.reconnection import Reconnecting
from mintws.session import Reconnect
from mintws.trio.websocket import WebSocket


class Reconnection(Reconnecting[WebSocket], AsyncIterator[WebSocket]):
    """The WebSockets of a client, one after another.

    If the loop is left, the WebSocket that its body has is closed in the background, in the nursery.

    Args:
        settings, policy: as of `Reconnecting`.
        connect: opens a WebSocket.
    """

    def __init__(
        self, settings: ClientSettings, policy: Reconnect, connect: Callable[[], Awaitable[WebSocket]]
    ) -> None:
        super().__init__(settings, policy)
        self._connect = connect
        self._token = trio.lowlevel.current_trio_token()

    async def __anext__(self) -> WebSocket:
        websocket = await self.next()
        if websocket is None:
            raise StopAsyncIteration
        return websocket

    def __del__(self) -> None:
        if self.websocket is not None:
            # The collector may run this in another thread, and within a call of the very WebSocket. No run, nothing to close.
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.websocket._leave)

    def now(self) -> float:
        return trio.current_time()

    async def open(self) -> WebSocket:
        return await self._connect()

    async def close(self, websocket: WebSocket) -> None:
        await websocket.close()

    async def pause(self, seconds: float) -> None:
        await trio.sleep(seconds)
