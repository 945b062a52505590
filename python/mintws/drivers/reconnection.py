"""A client that connects again: the loop over its WebSockets."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable
from typing import Generic, TypeVar

from mintws.drivers import log
from mintws.drivers.websocket import LoggedWebSocket
from mintws.errors import ConnectError, ConnectionClosed
from mintws.events import State
from mintws.session import Backoff, Reconnect
from mintws.url import Url

W = TypeVar("W", bound=LoggedWebSocket)


class Reconnecting(Generic[W]):
    """The WebSockets of a client, one after another. A subclass has the four methods that do I/O or wait.

    Args:
        url: the server, for the log.
        policy: when to connect again.

    Attributes:
        websocket: the WebSocket that the body of the loop has.
    """

    def __init__(self, url: Url, policy: Reconnect) -> None:
        self._url = url
        self._policy = policy
        self._backoff = Backoff(policy, random.random)
        self._done = False
        self.websocket: W | None = None

    def now(self) -> float:
        """Return the time."""
        raise NotImplementedError

    async def open(self) -> W:
        """Open a WebSocket.

        Raises:
            ConnectError: it does not open.
        """
        raise NotImplementedError

    async def close(self, websocket: W) -> None:
        """Close a WebSocket, and wait for its end."""
        raise NotImplementedError

    async def pause(self, seconds: float) -> None:
        """Wait for so many seconds."""
        raise NotImplementedError

    async def next(self) -> W | None:
        """Close the WebSocket that the body is done with, and open the next one; return `None` at the end of the loop.

        Raises:
            ConnectError: it does not open, and the client does not try again.
            ConnectionClosed: the last one had ended in a way after which the client does not connect again.
        """
        if self.websocket is not None:
            await self._leave(self.websocket)
        while not self._done:
            try:
                websocket = await self.open()
            except ConnectError as error:
                if await self._mend(error):
                    raise
            else:
                websocket.reconnects = True
                self.websocket = websocket
                self._backoff.opened(self.now())
                return websocket
        return None

    async def _leave(self, websocket: W) -> None:
        """Close a WebSocket, and wait until the next one may be opened.

        Raises:
            ConnectionClosed: as from `next`.
        """
        was_open = websocket.state is State.OPEN
        websocket.discard()
        await self.close(websocket)
        self.websocket = None
        if was_open:
            delay = self._backoff.left(self.now())
            log.connects_again(self._url, "the loop has gone on", delay)
            await self.pause(delay)
            return
        closed = websocket.ending.exception()
        if await self._mend(closed):
            raise closed

    async def _mend(self, error: ConnectError | ConnectionClosed) -> bool:
        """Wait until the next attempt, or end the loop; return whether the error is to be raised."""
        self._done = True
        failure = self._backoff.failed(self.now(), error, time.time())
        answer = None if self._policy.decide is None else self._policy.decide(failure)
        then = self._backoff.settle(failure, await answer if isinstance(answer, Awaitable) else answer)
        log.connects_again(self._url, error, then)
        if isinstance(then, str):
            return then == "raise"
        await self.pause(then)
        self._done = False
        return False
