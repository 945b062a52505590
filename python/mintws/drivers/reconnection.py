"""A client that connects again: the loop over its WebSockets."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable
from typing import Generic, TypeVar

from mintws.drivers import log
from mintws.drivers.client import ClientSettings
from mintws.drivers.websocket import LoggedWebSocket
from mintws.errors import ConnectError
from mintws.session import Backoff, Failure, LoopBody, Reconnect

W = TypeVar("W", bound=LoggedWebSocket)


class Reconnecting(Generic[W]):
    """The WebSockets of a client, one after another. A subclass has the four methods that do I/O or wait.

    Args:
        settings: what `connect` was told, of which the log has the URL.
        policy: when to connect again.

    Attributes:
        websocket: the WebSocket that the body of the loop has.
    """

    def __init__(self, settings: ClientSettings, policy: Reconnect) -> None:
        self._settings = settings
        self._policy = policy
        self._backoff = Backoff(policy, random.random)
        self._done = False
        #: The failure that nothing has followed yet, and the time of the next attempt.
        self._failure: Failure | None = None
        self._next_at: float | None = None
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

        A call that is cancelled can be made again, and goes on where it was.

        Raises:
            ConnectError: it does not open, and the client does not try again.
            ConnectionClosed: the last one had ended in a way after which the client does not connect again.
        """
        if self.websocket is not None:
            await self._leave(self.websocket)
        while True:
            if self._failure is not None:
                await self._mend(self._failure)
            if self._done:
                return None
            if self._next_at is not None:
                await self.pause(max(0.0, self._next_at - self.now()))
                self._next_at = None
            try:
                websocket = await self.open()
            except ConnectError as error:
                self._failure = self._backoff.failed(self.now(), error, time.time())
            else:
                websocket._body = LoopBody.RUNS
                self.websocket = websocket
                self._backoff.opened(self.now())
                return websocket

    async def _leave(self, websocket: W) -> None:
        """Close a WebSocket, and set what follows it."""
        websocket._end_body()
        await self.close(websocket)
        self.websocket = None
        now = self.now()
        if websocket._body is LoopBody.LEFT:
            delay = self._backoff.left(now)
            log.connects_again(self._settings.url, "the loop has gone on", delay)
            self._next_at = now + delay
        else:
            self._failure = self._backoff.failed(now, websocket.ending.exception(), time.time())

    async def _mend(self, failure: Failure) -> None:
        """Set the time of the next attempt, or end the loop.

        Raises:
            ConnectError, ConnectionClosed: the error of the failure, which is to be raised.
        """
        decide = self._policy.decide
        try:
            answer = None if decide is None else decide(failure)
            then = self._backoff.settle(failure, await answer if isinstance(answer, Awaitable) else answer)
            log.connects_again(self._settings.url, failure.error, then)
            if then == "raise":
                raise failure.error
        except Exception:
            self._failure = None
            self._done = True
            raise
        finally:
            # The error holds the frames that it has left.
            del failure
        self._failure = None
        if then == "stop":
            self._done = True
        else:
            self._next_at = self.now() + then
