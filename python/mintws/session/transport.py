"""The rules of one transport with its HTTP connection: when it is read, when it ends, and its deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mintws.connection import Connection
from mintws.events import State
from mintws.http1 import Http1
from mintws.session.bounds import REPLIES_HIGH, UNDECODED_HIGH
from mintws.session.deadlines import Deadlines
from mintws.session.driver import TransportState
from mintws.session.linger import Due, Step, TransportEnd
from mintws.session.streams import ClosedStreams
from mintws.session.timeouts import Timeouts, earliest
from mintws.session.websocket import WebSocketSession

if TYPE_CHECKING:
    from mintws.http2 import Http2

#: Seconds between refills of the flood budgets (`Http2.refill`).
REFILL_INTERVAL = 60.0


class TransportSession:
    """The rules of one transport. Those of its WebSockets are separate, but it schedules their deadlines.

    The driver carries out the `Due` that a call returns. If that is `None`, the deadline has not moved.

    Args:
        now: the time.
        timeouts: how long to wait for the peer.

    Attributes:
        http: the HTTP connection, once its version is known.
        websockets: the deadlines of the WebSockets.
    """

    __slots__ = (
        "_closed",
        "_closed_streams",
        "_end",
        "_peer_ended",
        "_refill_at",
        "_replies",
        "http",
        "timeouts",
        "websockets",
    )

    def __init__(self, now: float, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self.http: Http1 | Http2 | None = None
        self.websockets = Deadlines()
        self._closed_streams = ClosedStreams(timeouts.close_timeout)
        #: Whether nothing more is written.
        self._closed = False
        #: Whether the peer's half of the transport is closed.
        self._peer_ended = False
        #: The end of the transport, once it has begun.
        self._end: TransportEnd | None = None
        #: The bytes of replies made while the peer read nothing.
        self._replies = 0
        self._refill_at = now + REFILL_INTERVAL

    @property
    def deadline(self) -> float | None:
        """When to call `expire`, and `websockets.due`; `None` if never."""
        end = None if self._end is None else self._end.deadline
        return earliest(self.websockets.first, self._closed_streams.deadline, end)

    def expire(self, now: float, transport: TransportState) -> Due:
        """Return what is due now."""
        due = self._expire(now, transport)
        if due.step is not None:
            return due
        return after(due.data, self.close_if_done(now, transport))

    def _expire(self, now: float, transport: TransportState) -> Due:
        data = b"".join([connection.abort() for connection in self._closed_streams.expire(now)])
        return Due(data, None if self._end is None else self._end.expire(now, transport.heard))

    def schedule(self, session: WebSocketSession) -> Due:
        """Reschedule a WebSocket, whose deadline may have moved."""
        self.websockets.schedule(session)
        return Due()

    def receive_chunk(self, now: float, *, crowded: bool, replied: int) -> bool:
        """Account for a received chunk; return whether to check again if the transport is to be read.

        Args:
            now: the time.
            crowded: whether a WebSocket's queue is full.
            replied: the number of bytes of replies that the chunk caused while the peer reads nothing.
        """
        self._replies += replied
        look = crowded or self._replies > REPLIES_HIGH
        if self.http is None:
            return look
        if now >= self._refill_at:
            self._refill_at = now + REFILL_INTERVAL
            self.http.refill()
        return look or not self.http.reading

    def receive_eof(self, transport: TransportState) -> bool:
        """Take the end of the peer's half of the transport, before the HTTP connection does.

        Returns:
            Whether our half stays open, for what is still to be written: `close_if_done` closes it.
        """
        self._peer_ended = True
        return transport.half_closes and self._end is None

    def taken(self) -> None:
        """Reset the count of replies: the peer reads again."""
        self._replies = 0

    def is_reading(self, transport: TransportState) -> bool:
        """Whether to read from the transport.

        Stop reading a peer that provokes replies but does not read them. Messages sent by WebSockets do not count, because their senders
        wait: two sides that send much would wait for each other. If messages wait for the application, read a little more, because the
        peer's Close may follow.
        """
        if self.http is None or self._closed:
            return True
        websockets = transport.websockets
        reading = self.http.reading or any(
            it._paused and it.connection.undelivered_bytes < UNDECODED_HIGH for it in websockets
        )
        return reading and not (transport.full and self._is_provoked(transport))

    def _is_provoked(self, transport: TransportState) -> bool:
        """Return whether the peer has caused what waits to be written. Without WebSockets that is responses."""
        return self._replies > REPLIES_HIGH or not transport.websockets

    def sweep_later(self, now: float, connection: Connection) -> Due | None:
        """Schedule the reset of a stream that the peer does not end although its WebSocket is closed (RFC 8441 §5)."""
        if self.http is None or not self.http.multiplexed or connection.carrier.done:
            return None
        self._closed_streams.add(now, connection)
        return Due()

    def leave(self, now: float, transport: TransportState) -> Due | None:
        """Accept nothing new, and close the transport when its current work has ended."""
        if self.http is None:
            return self.close(now, transport)
        return after(self.http.shutdown(), self.close_if_done(now, transport))

    def close_if_done(self, now: float, transport: TransportState) -> Due | None:
        """Close the transport if the connection is done. A client first waits for the server to close it (RFC 6455 §7.1.1)."""
        if self.http is None or transport.closing or transport.lost:
            return None
        if self.http.done:
            return self.close(now, transport)
        ended = any(it.connection.state is State.CLOSED for it in transport.websockets)
        if self.http.multiplexed or not ended or self._end is not None:
            return None
        self._limit(now)
        return Due()

    def close(self, now: float, transport: TransportState) -> Due | None:
        """Close the transport after its write buffer is flushed, and limit the time until it is gone.

        The peer is told the last stream that we processed (RFC 9113 §6.8), or that its request took too long (RFC 9110 §15.5.9).

        If the transport were closed while the peer still sends, the system would answer with a reset, which may overtake the last bytes
        written. So if more may be received, the transport lingers: received data is read and discarded for a while.
        """
        if transport.closing or transport.lost:
            return None
        data = b"" if self.http is None else self.http.shutdown()
        self._closed = True
        if not self._lingers(transport):
            self._limit(now)
            return Due(data, Step.CLOSE)
        self._end = TransportEnd(now, self.timeouts.close_timeout)
        self._end.linger(now, transport.heard, told=transport.half_closes)
        return Due(data, Step.LINGER)

    def lose(self) -> Due:
        """Handle the end of the transport. Only deadlines of its WebSockets remain."""
        self._closed = True
        self._end = None
        self._closed_streams = ClosedStreams(self.timeouts.close_timeout)
        return Due()

    def _lingers(self, transport: TransportState) -> bool:
        """Whether the peer may still be sending when we write nothing more."""
        return self.http is not None and not self._peer_ended and self.http.lingers

    def _limit(self, now: float) -> None:
        """Limit the time until the transport is gone, because the peer may never read or never close."""
        if self._end is None:
            self._end = TransportEnd(now, self.timeouts.close_timeout)


def after(data: bytes, due: Due | None) -> Due:
    """Put bytes to write before what is due."""
    return Due(data) if due is None else Due(data + due.data, due.step)
