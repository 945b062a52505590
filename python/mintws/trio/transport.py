"""A transport on a stream, as its WebSockets see it: `StreamTransport` is one."""

from __future__ import annotations

import math
from typing import Any

import trio

from mintws._core import ReadyList
from mintws.drivers.transport import LoggedTransport
from mintws.trio.stream import Stream


class TrioTransport(LoggedTransport):
    """A transport on a stream.

    Attributes:
        stream: the stream.
        gone: set when it is gone.
        ready_list: the WebSockets that have received something.
        blocked_senders: the WebSockets whose senders wait until the peer takes something.
    """

    __slots__ = ()

    stream: Stream
    gone: trio.Event
    ready_list: ReadyList
    blocked_senders: set[Any]

    def check_run(self) -> None:
        """Raise `RuntimeError` if this belongs to another run than the calling one."""
        raise NotImplementedError

    def post(self, websocket: Any) -> None:
        """Have frames written that a WebSocket has collected, when the task that sends them waits at the latest."""
        raise NotImplementedError

    async def read_here(self) -> bool:
        """Read some in the calling task, which receives, if no other task reads.

        Returns:
            Whether that was done, or has failed: the transport may have ended meanwhile.
        """
        raise NotImplementedError

    def read_on(self) -> None:
        """Have the transport read, because somebody waits for what the peer sends who does not receive."""
        raise NotImplementedError

    def now(self) -> float:
        return trio.current_time()

    @property
    def next_deadline(self) -> float:
        """When to call `expire`; infinity if never."""
        deadline = self._session.deadline
        return math.inf if deadline is None else deadline
