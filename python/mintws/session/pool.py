"""The choice of the HTTP/2 connection on which a WebSocket of a pool is opened."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

from mintws.errors import ConnectError
from mintws.limits import INT31
from mintws.session.version import Http1Origins

#: Seconds without a sign of life after which a connection is checked before a WebSocket is opened on it.
SILENCE = 5.0
#: Seconds after which nobody waits any more for a connection that another opening makes.
CONNECT_WAIT = 5.0
#: How often an opening that the server has not processed is made again, on another connection.
RETRIES = 3


class SharedConnection(Protocol):
    """An HTTP/2 connection, as a pool sees it.

    Attributes:
        usable: whether WebSockets can be opened on it: it has not ended, and neither side has sent GOAWAY.
        streams: the number of streams that are open, or wait to be.
        stream_limit: how many may be open at a time.
        heard: the number of chunks received.
    """

    @property
    def usable(self) -> bool: ...
    @property
    def streams(self) -> int: ...
    @property
    def stream_limit(self) -> int: ...
    @property
    def heard(self) -> int: ...


C = TypeVar("C", bound=SharedConnection)


class PoolStep(Enum):
    """An order to whoever opens a WebSocket.

    Attributes:
        WAIT: wait for another step.
        OPEN: open it on the connection.
        CHECK: check whether the server still answers on the connection, and call `ConnectionPool.checked`.
        CONNECT: connect, and call `connected` or one of the other methods of `ConnectionPool` for what has come of it.
        FAIL: raise the error.
    """

    WAIT = auto()
    OPEN = auto()
    CHECK = auto()
    CONNECT = auto()
    FAIL = auto()


class PoolRequest(Generic[C]):
    """The opening of one WebSocket.

    Args:
        wake: called when the step is another than `WAIT` again.

    Attributes:
        step: what is to be done for it.
        connection: the connection that the step is about.
        error: the error of `FAIL`.
    """

    __slots__ = ("connection", "error", "ordered_at", "refused_by", "retries", "step", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.step = PoolStep.WAIT
        self.connection: C | None = None
        self.error: ConnectError | None = None
        #: The connections whose server has refused its stream.
        self.refused_by: set[C] = set()
        self.retries = 0
        #: When it was last told to do something, after it had waited.
        self.ordered_at = 0.0

    def order(self, step: PoolStep, connection: C | None = None) -> None:
        """Set the next step."""
        self.connection = connection
        self.step = step
        if step is not PoolStep.WAIT:
            self.wake()


class _Member:
    """What is known of a connection.

    Attributes:
        heard: the number of chunks received when that was last looked at.
        heard_at: a time at which the server was there.
        idle_since: when its last stream has ended.
    """

    __slots__ = ("heard", "heard_at", "idle_since")

    def __init__(self, now: float, heard: int) -> None:
        self.heard = heard
        self.heard_at = now
        self.idle_since: float | None = None


class ConnectionPool(Generic[C]):
    """The HTTP/2 connections to one origin, and the openings that wait for one.

    A WebSocket is opened on the first connection that has a free stream, so that the last ones become idle. If there is none, a connection
    is made by whoever needs it, and others wait for it as far as it will have streams for them. While the server
    takes no streams on the newest, and is heard, none is made: that is for a short time (RFC 9113 §6.5.2), and others would have none too.

    Args:
        origin: the origin, with all else that a connection must have in common with others to be used for them.
        learnt: the origins whose servers speak HTTP/1.1 only, where each opening needs a connection of its own.
        max_connections: how many connections there may be, beside those that take no new streams; `None` is no limit.
        max_streams: how many streams of a connection are used, at most; `None` is as many as there are.
        idle_timeout: seconds after which a connection without streams is closed; `None` closes none.

    Attributes:
        origin: the origin, as it was given.
    """

    def __init__(
        self,
        origin: Hashable,
        learnt: Http1Origins,
        max_connections: int | None,
        max_streams: int | None,
        idle_timeout: float | None,
    ) -> None:
        self.origin = origin
        self._learnt = learnt
        self._max_connections = math.inf if max_connections is None else max_connections
        self._idle_timeout = math.inf if idle_timeout is None else idle_timeout
        self._members: OrderedDict[C, _Member] = OrderedDict()
        #: All openings that have not left, in their order, and those of them that wait.
        self._openings: dict[PoolRequest[C], None] = {}
        self._waiting: dict[PoolRequest[C], None] = {}
        #: Those with a step to carry out.
        self._active: set[PoolRequest[C]] = set()
        #: The streams that a new connection will have, which is as many as the last one has.
        self._expected = INT31 if max_streams is None else max(1, max_streams)

    @property
    def empty(self) -> bool:
        """Whether there is neither a connection nor an opening."""
        return not (self._members or self._openings)

    def begin(self, now: float, request: PoolRequest[C]) -> None:
        """Begin an opening, after those that wait already; `leave` ends it."""
        self._openings[request] = None
        self._waiting[request] = None
        self._assign(now)

    def connected(self, now: float, request: PoolRequest[C], connection: C) -> None:
        """Add the connection that was made for an opening, which has its first stream. The server's SETTINGS have come."""
        self._learnt.forget(self.origin)
        self._members[connection] = _Member(now, connection.heard)
        self._expected = max(1, connection.stream_limit)
        request.order(PoolStep.OPEN, connection)
        self._assign(now)

    def speaks_http1(self, now: float, request: PoolRequest[C]) -> None:
        """Record that the connection that was made for an opening is one of HTTP/1.1. All others make one of their own."""
        self._learnt.learn(now, self.origin)
        self.leave(now, request)

    def takes_no_websockets(self, now: float, request: PoolRequest[C], error: ConnectError) -> None:
        """Record that the server speaks HTTP/2, but takes no WebSockets over it: all that wait fail with the error."""
        self.fail(error)
        self.leave(now, request)

    def checked(self, now: float, request: PoolRequest[C], *, alive: bool) -> None:
        """Take the result of a check. A connection whose server does not answer is used for nothing new."""
        connection = request.connection
        assert connection is not None
        member = self._members.get(connection)
        if alive and member is not None:
            member.heard, member.heard_at = connection.heard, now
            request.order(PoolStep.OPEN, connection)
        else:
            self._members.pop(connection, None)
            self._wait_again(request)
        self._assign(now)

    def begun(self, request: PoolRequest[C]) -> None:
        """Record that the connection counts the stream of an opening now."""
        self._active.discard(request)

    def retry(self, now: float, request: PoolRequest[C], connection: C) -> bool:
        """Open a WebSocket elsewhere whose opening the server has not processed (RFC 9113 §8.7); return whether it is tried.

        After a refusal of its stream (REFUSED_STREAM) that is done once, after a GOAWAY up to `RETRIES` times. The connection on which it
        was, or was to be, need not have been `connected`: the server may leave before.
        """
        if connection.usable:
            if request.refused_by:
                return False
            request.refused_by.add(connection)
            others = self._members.keys() - request.refused_by
            if not others and not self._may_connect(now, self._connecting):
                return False
        else:
            self._members.pop(connection, None)
        request.retries += 1
        if request.retries > RETRIES:
            return False
        self._wait_again(request)
        self._assign(now)
        return True

    def leave(self, now: float, request: PoolRequest[C]) -> None:
        """End an opening, whatever has become of it. Another one goes on in its place."""
        self._openings.pop(request, None)
        self._waiting.pop(request, None)
        self._active.discard(request)
        self._assign(now)

    def fail(self, error: ConnectError) -> None:
        """Have all openings that wait fail."""
        for request in list(self._waiting):
            request.error = error
            request.order(PoolStep.FAIL)
            del self._waiting[request]

    def update(self, now: float, connection: C) -> float | None:
        """Take a change of a connection; return when to close it if nothing changes until then: not after `now` is at once.

        Call it when something else than messages was received, a stream has ended, the connection has ended, and at that time.
        """
        member = self._members.get(connection)
        if member is None or not connection.usable:
            self._members.pop(connection, None)
            self._assign(now)
            return now if connection.usable and not connection.streams else None
        if connection.heard != member.heard:
            member.heard, member.heard_at = connection.heard, now
        self._assign(now)
        if connection.streams or any(it.connection is connection for it in self._active):
            member.idle_since = None
            return None
        if member.idle_since is None:
            member.idle_since = now
        closes = member.idle_since + self._idle_timeout
        if now >= closes:
            del self._members[connection]
            self._assign(now)
        return None if closes == math.inf else closes

    @property
    def _connecting(self) -> int:
        """The number of connections that are being made."""
        return sum(it.step is PoolStep.CONNECT for it in self._active)

    def _may_connect(self, now: float, connecting: int) -> bool:
        newest = next(reversed(self._members), None)
        if newest is not None and newest.stream_limit < 1 and not self._is_silent(now, newest):
            return False
        return len(self._members) + connecting < self._max_connections

    def _wait_again(self, request: PoolRequest[C]) -> None:
        """Have an opening wait again, before those that have begun after it."""
        self._active.discard(request)
        self._waiting = {it: None for it in self._openings if it is request or it in self._waiting}
        request.order(PoolStep.WAIT)

    def _assign(self, now: float) -> None:
        """Give the openings that wait what there is for them, first come, first served."""
        if not self._waiting:
            return
        for ended in [it for it in self._members if not it.usable]:
            del self._members[ended]
        taken = Counter(it.connection for it in self._active)
        checked = {it.connection for it in self._active if it.step is PoolStep.CHECK}
        free = {it: it.stream_limit - it.streams - taken[it] for it in self._members}
        connecting = self._connecting
        http1 = self._learnt.known(now, self.origin) and not self._members
        #: The streams that will be there when connections are made, or checked.
        coming = sum(free[it] for it in checked if it is not None and it in free)
        coming += (self._expected - 1) * sum(
            it.step is PoolStep.CONNECT and now - it.ordered_at < CONNECT_WAIT for it in self._active
        )
        for request in list(self._waiting):
            if request.step is not PoolStep.WAIT:
                # A signal has interrupted who was about to wake it.
                request.wake()
                del self._waiting[request]
                continue
            connection = self._choose(now, request, free, checked)
            step = PoolStep.OPEN
            if connection is not None:
                free[connection] -= 1
                if self._is_silent(now, connection):
                    checked.add(connection)
                    coming += free[connection]
                    step = PoolStep.CHECK
            elif http1 or (coming < 1 and self._may_connect(now, connecting)):
                connecting += 1
                coming += self._expected - 1
                step = PoolStep.CONNECT
            elif coming >= 1:
                coming -= 1
                continue
            elif request.refused_by:
                continue
            else:
                # What is not there for this one is not there for the next.
                break
            # In this order, so that nothing is lost where a signal interrupts it.
            request.ordered_at = now
            self._active.add(request)
            request.order(step, connection)
            del self._waiting[request]

    def _choose(self, now: float, request: PoolRequest[C], free: dict[C, int], checked: set[C | None]) -> C | None:
        """Return the first connection with a free stream, of those of which is known that the server is there, if there is one."""
        silent = None
        for connection, streams in free.items():
            if streams < 1 or connection in checked or connection in request.refused_by:
                continue
            if not self._is_silent(now, connection):
                return connection
            silent = silent or connection
        return silent

    def _is_silent(self, now: float, connection: C) -> bool:
        """Whether it is not known that the server is still there."""
        return now - self._members[connection].heard_at >= SILENCE
