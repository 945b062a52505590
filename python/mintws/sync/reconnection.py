"""A client that connects again: `for websocket in connect(...)`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from mintws.drivers.client import ClientSettings
from mintws.drivers.reconnection import Reconnecting
from mintws.session import Reconnect
from mintws.sync.transport import run
from mintws.sync.websocket import WebSocket


class Reconnection(Reconnecting[WebSocket], Iterator[WebSocket]):
    """The WebSockets of a client, one after another.

    If the loop is left, the WebSocket that its body has is closed in the background.

    Args:
        settings, policy: as of `Reconnecting`.
        connect: opens a WebSocket.
    """

    def __init__(self, settings: ClientSettings, policy: Reconnect, connect: Callable[[], WebSocket]) -> None:
        super().__init__(settings, policy)
        self._connect = connect

    def __next__(self) -> WebSocket:
        websocket = run(self.next())
        if websocket is None:
            raise StopIteration
        return websocket

    def __del__(self) -> None:
        if self.websocket is not None:
            # The collector may run this within a call of the very WebSocket.
            self.websocket._leave()

    def now(self) -> float:
        return time.monotonic()

    async def open(self) -> WebSocket:
        return self._connect()

    async def close(self, websocket: WebSocket) -> None:
        websocket.close()

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)
