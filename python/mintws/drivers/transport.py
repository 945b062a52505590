"""A transport of a driver, as its WebSockets and the log see it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from mintws.connection import Connection
from mintws.drivers import log
from mintws.errors import RemoteProtocolError
from mintws.events import Failed, Peer
from mintws.session import DriverTransport, Step, Timeouts

T_contra = TypeVar("T_contra", contravariant=True)

#: The numbers of the transports of this process.
numbers = itertools.count(1)


class Waiter(Protocol[T_contra]):
    """A result, or an exception, that a task or a thread waits for; it comes once. An `asyncio.Future` is one."""

    def done(self) -> bool: ...
    def set_result(self, result: T_contra, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class LoggedTransport(DriverTransport):
    """A transport whose WebSockets and faults are logged.

    Attributes:
        id: its number in this process.
        peer: who is at the other end.
        timeouts: how long to wait for the peer.
        logger, level: where is logged, and at which level what is no frame.

    A subclass that is a client's or a server's has `adopt`, `new_waiter`, `call_soon`, `drained` and `update_reading` too.
    """

    __slots__ = ()

    id: int
    peer: Peer
    timeouts: Timeouts
    logger: logging.Logger
    level: int

    def adopt(self, connection: Connection) -> Any:
        """Make the WebSocket of a connection that has opened."""
        raise NotImplementedError

    def new_waiter(self) -> Any:
        """Make what a task waits for by `await`, until it has a result: a `Waiter`."""
        raise NotImplementedError

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have `call` called when what has come is handled."""
        raise NotImplementedError

    async def drained(self) -> None:
        """Wait until the transport has room."""
        raise NotImplementedError

    def _wake_senders(self) -> None:
        """Have those look who wait for the peer to take something: it may have, or has gone."""
        raise NotImplementedError

    def count_end(self, websocket: Any) -> None:
        """Count a WebSocket that has ended."""

    def update_reading(self) -> None:
        """Read the transport, or not, as the session wants."""
        raise NotImplementedError

    def take_step(self, step: Step) -> None:
        """Carry out an order of the session; those that the transport does not know are for a client or a server."""
        raise NotImplementedError

    def receive_ordinary(self, event: Any) -> None:
        if isinstance(event, Failed):
            self.error = event.error
            self.logger.log(self.level, "%s failed: %s: %s", self.id, log.peer(self), log.shown(str(event.error)))

    def record_loss(self, error: Exception | None) -> None:
        """Record why the transport has ended, unless it is known: the peer's GOAWAY, or the error of the transport."""
        if self.error is not None:
            return
        if self.speaks and self.http.goaway:
            ended = f"the peer ended the connection: {self.http.goaway}"
            self.error = RemoteProtocolError(ended, code=1006, section="RFC 9113 §6.8")
        elif error is not None:
            # Its frames, and those of an exception that was handled when it was raised, would keep transport and protocol alive together.
            self.error = error.with_traceback(None)
            self.error.__context__ = None
