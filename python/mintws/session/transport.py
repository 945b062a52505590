"""One transport and the HTTP connection on it: when it is read, and what is due on it."""

from __future__ import annotations

from collections.abc import Collection

from mintws.connection import Connection
from mintws.http1 import Http1
from mintws.http2 import Http2
from mintws.session.bounds import REPLIES_HIGH, UNDECODED_HIGH
from mintws.session.deadlines import Deadlines
from mintws.session.driver import Messages, TransportState
from mintws.session.linger import Step, TransportEnd
from mintws.session.requests import IdleTimeout, RequestTimeouts, text_response
from mintws.session.streams import ClosedStreams, HalfClosedTimeout
from mintws.session.timing import Timing, earliest

#: How often the peer is forgiven the frames that do nothing, in seconds (`Http2.refill`).
REFILL_INTERVAL = 60.0
#: How long a WebSocket that has ended waits for the server to end the transport too, in seconds.
PARTING = 0.1
#: How long the body of a refusal is waited for once its head has come, in seconds.
REFUSAL_WAIT = 1.0


class TransportSession:
    """The rules of time of one transport, without those of its WebSockets, whose deadlines it knows.

    After each call the deadline may be another one.

    Args:
        now: the time.
        timing: how long to wait for the peer.

    Attributes:
        http: the HTTP connection, once it is known which version is spoken.
        websockets: the deadlines of the WebSockets.
    """

    __slots__ = ("_closed", "_closed_streams", "_end", "_refill_at", "_replies", "http", "timing", "websockets")

    def __init__(self, now: float, timing: Timing) -> None:
        self.timing = timing
        self.http: Http1 | Http2 | None = None
        self.websockets = Deadlines()
        self._closed_streams = ClosedStreams(timing.close_timeout)
        #: Nothing more is written.
        self._closed = False
        #: The end of the transport, once it has begun.
        self._end: TransportEnd | None = None
        #: Bytes of replies that were made while the peer took nothing.
        self._replies = 0
        self._refill_at = now + REFILL_INTERVAL

    @property
    def ends(self) -> bool:
        """Whether the end of the transport has begun."""
        return self._end is not None

    @property
    def deadline(self) -> float | None:
        """When to call `expire`, and `websockets.due`; `None` if never."""
        end = None if self._end is None else self._end.deadline
        return earliest(self.websockets.first, self._closed_streams.deadline, end)

    def expire(self, now: float, transport: TransportState) -> tuple[bytes, Step | None]:
        """Give what is to be written now, and what is to be done then, if anything.

        Args:
            now: the time.
            transport: the driver's transport.
        """
        data = b"".join([connection.abort() for connection in self._closed_streams.expire(now)])
        return data, None if self._end is None else self._end.expire(now, transport.heard)

    def receive(self, now: float, *, crowded: bool, replied: int) -> bool:
        """Take what a chunk has led to; say whether it is to be looked at again if the transport is read.

        Args:
            now: the time.
            crowded: a WebSocket has more messages than its application takes.
            replied: how many bytes the peer made us write while it takes nothing.
        """
        self._replies += replied
        look = crowded or self._replies > REPLIES_HIGH
        if isinstance(self.http, Http2):
            if now >= self._refill_at:
                self._refill_at = now + REFILL_INTERVAL
                self.http.refill()
            return look
        return look or (self.http is not None and not self.http.reading)

    def taken(self) -> None:
        """Take note that the peer takes what is written."""
        self._replies = 0

    def is_reading(self, websockets: Collection[Messages], *, full: bool) -> bool:
        """Whether what the peer sends is read.

        A peer that makes us write and takes nothing is read no more. What WebSockets send is no answer: its senders wait by themselves.
        Where messages wait for the application, a little more is read, since the peer's Close may follow.

        Args:
            websockets: those on the transport.
            full: more waits to be written than the transport likes.
        """
        assert self.http is not None
        reading = self.http.reading or any(it.paused and it.connection.held < UNDECODED_HIGH for it in websockets)
        return reading and not (full and (self._replies > REPLIES_HIGH or not websockets))

    def sweep_later(self, now: float, connection: Connection) -> None:
        """Reset a stream later that the peer does not end, though its closing handshake is done (RFC 8441 §5)."""
        self._closed_streams.add(now, connection)

    def close(self, now: float) -> None:
        """Bound the time until a transport that was closed is gone."""
        self._closed = True
        self.limit(now)

    def limit(self, now: float) -> None:
        """Bound the time until the transport is gone: the peer may never read, or never close."""
        if self._end is None:
            self._end = TransportEnd(now, self.timing.close_timeout)

    def linger(self, now: float, heard: int, *, told: bool) -> None:
        """Have the transport read a while before it is closed; see `TransportEnd.linger`."""
        self._closed = True
        self._end = TransportEnd(now, self.timing.close_timeout)
        self._end.linger(now, heard, told=told)

    def lose(self) -> None:
        """Take the end of the transport: only its WebSockets are waited for."""
        self._closed = True
        self._end = None
        self._closed_streams = ClosedStreams(self.timing.close_timeout)


class ServerSession(TransportSession):
    """The rules of time of a server's transport."""

    __slots__ = ("_half_closed", "_idle", "_requests", "_stuck")

    def __init__(self, now: float, timing: Timing) -> None:
        super().__init__(now, timing)
        #: For the bodies that are still coming, and, while nothing is under way, for the head of the next request.
        self._requests = RequestTimeouts(timing.open_timeout)
        self._idle: IdleTimeout | None = None
        #: For a client that does not take what waits for it, while a response does.
        self._stuck: IdleTimeout | None = None
        self._half_closed = HalfClosedTimeout(timing.half_closed_timeout)

    @property
    def deadline(self) -> float | None:
        if self._closed:
            return super().deadline
        stuck = None if self._stuck is None else self._stuck.deadline
        requests = (self._idle or self._requests).deadline
        return earliest(super().deadline, requests, stuck, self._half_closed.deadline)

    def expire(self, now: float, transport: TransportState) -> tuple[bytes, Step | None]:
        data, step = super().expire(now, transport)
        if self._closed:
            return data, step
        if self._stuck is not None and self._stuck.expire(now, transport.untaken):
            return data, Step.CUT
        if self._idle is not None:
            if self._idle.expire(now, transport.untaken):
                return data, Step.END
        elif self.http is not None and (late := self._requests.expire(now, self.http.collecting)):
            slow = text_response(408, "the request took too long", (("Connection", "close"),))
            data += b"".join([self.http.respond(request, slow) for request in late])
            self.limit_requests(now, transport)
        if self._half_closed.deadline is not None or self.has_half_closed:
            data += self.limit_half_closed(now)
        return data, step

    def begin(self, now: float) -> None:
        """Wait for the head of the first request."""
        self._idle = IdleTimeout(now, self.timing.open_timeout, 0)

    @property
    def awaits_requests(self) -> bool:
        """Whether the bodies of requests are still to come, or were at the last call."""
        return self._requests.under_way or (self.http is not None and bool(self.http.collecting))

    def limit_requests(self, now: float, transport: TransportState) -> None:
        """Bound the time of the requests that have begun; or that until the next, if nothing is under way."""
        begun = [] if self.http is None else self.http.collecting
        self._requests.update(now, begun)
        self._idle = None
        if not (begun or transport.busy):
            self._idle = IdleTimeout(now, self.timing.idle_timeout, transport.untaken)

    @property
    def has_half_closed(self) -> bool:
        """Whether there are streams that have ended here and not at the client, and no time is set for them."""
        unlimited = self._half_closed.deadline is None and not self._closed
        return unlimited and isinstance(self.http, Http2) and self.http.half_closed > 0

    def limit_half_closed(self, now: float) -> bytes:
        """Bound the time in which the client may leave streams open that have ended here; give what is to be written now."""
        if not isinstance(self.http, Http2) or not self._half_closed.expire(now):
            return b""
        data = self.http.reset_half_closed()
        self._half_closed.wait(now, self.http.half_closed)
        return data

    def await_room(self, now: float, transport: TransportState) -> None:
        """Bound the time in which the client takes nothing of a response."""
        if self._stuck is None:
            self._stuck = IdleTimeout(now, self.timing.idle_timeout, transport.untaken)

    def taken(self) -> None:
        super().taken()
        self._stuck = None


class ClientSession(TransportSession):
    """The rules of time of a client's transport.

    Attributes:
        parts: the one WebSocket on it has ended.
    """

    __slots__ = ("_let_go_at", "_refused_at", "parts")

    def __init__(self, now: float, timing: Timing) -> None:
        super().__init__(now, timing)
        self.parts = False
        #: Until when the WebSocket waits for the end of the transport.
        self._let_go_at: float | None = None
        #: Until when the bodies of refusals may come, the first to end first.
        self._refused_at: dict[Connection, float] = {}

    @property
    def deadline(self) -> float | None:
        return earliest(super().deadline, self._let_go_at, next(iter(self._refused_at.values()), None))

    def expire(self, now: float, transport: TransportState) -> tuple[bytes, Step | None]:
        data, step = super().expire(now, transport)
        if self._let_go_at is None or now < self._let_go_at or step is not None:
            return data, step
        # Where bytes wait, the server has not got our Close yet.
        self._let_go_at = now + PARTING if transport.buffered else None
        return data, Step.LET_GO if self._let_go_at is None else None

    def part(self, now: float) -> None:
        """Leave the end of the transport, whose WebSocket has ended, to the server, and let the WebSocket go if it takes its time.

        RFC 6455 §7.1.1 has the client wait for the server. The transport does, and who waits for the WebSocket need not.
        """
        self.parts = True
        self.limit(now)
        self._let_go_at = now + PARTING

    def refuse(self, now: float, connection: Connection) -> None:
        """Wait for the body of a refusal, whose head has come."""
        self._refused_at.setdefault(connection, now + REFUSAL_WAIT)

    def forget(self, connection: Connection) -> None:
        """Wait no more for the body of a refusal."""
        self._refused_at.pop(connection, None)

    def refused(self, now: float) -> list[Connection]:
        """Give the openings whose refusals are told now, though their bodies have not ended."""
        late = [connection for connection, at in self._refused_at.items() if at <= now]
        for connection in late:
            self.forget(connection)
        return late

    def lose(self) -> None:
        super().lose()
        self._let_go_at = None
