"""The closing of one WebSocket: when to answer the peer's Close, and how long to wait for it."""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeAlias

from mintws.connection import Connection, closing
from mintws.events import Close, Failed, State
from mintws.session.close_status import CloseStatus
from mintws.session.driver import Messages, TransportState

#: Seconds for the application to take and answer messages before the peer's Close after them is answered.
GRACE = 1.0
#: Seconds after which a WebSocket is considered to have no reader: its end is awaited, and no message has been taken.
READER_WAIT = 0.05


class Order(Enum):
    """An order to the driver of a WebSocket.

    Attributes:
        FLUSH: write the pending frames, and check whether the closing handshake is done.
        PING: send a Ping.
        PROBE: probe the peer below flow control (RFC 9113 §6.7).
        KEEP: queue again the messages that `ABANDON` drops.
        ABANDON: drop messages above the queue's limit until one is taken; then call `answer`.
        DISCARD: discard all messages received from now on.
        ABORT: end the WebSocket without waiting for the peer.
        LOG: log the reason why a send waits.
    """

    FLUSH = auto()
    PING = auto()
    PROBE = auto()
    KEEP = auto()
    ABANDON = auto()
    DISCARD = auto()
    ABORT = auto()
    LOG = auto()


#: The result of a session's calls: the Close that was sent on the connection, to be flushed as by `Order.FLUSH`; an `Order`; or nothing.
Ordered: TypeAlias = Close | Order | None


class Closing:
    """The closing of one WebSocket (RFC 6455 §7).

    The peer's Close is answered as soon as nothing is to be sent before it: no message is unread, and the application owes no answer.
    Otherwise the application gets a grace period, which is renewed while it takes messages. Messages that nobody takes are dropped if
    they delay the peer's Close and a task awaits the end.

    Args:
        connection: the connection, which is open.
        transport: the driver's transport.
        timeout: seconds for the peer to send its Close after ours, and for the application to take all messages before the answer.

    Attributes:
        connection: the connection.
        ending: the close status.
        last: the peer's Close, or its fault.
    """

    __slots__ = (
        "_awaiting",
        "_closers",
        "_discard_at",
        "_discard_taken",
        "_end_at",
        "_finished",
        "_grace_taken",
        "_grace_until",
        "_taken_before",
        "_timeout",
        "_way_at",
        "_way_is_clear",
        "connection",
        "ending",
        "last",
        "transport",
    )

    def __init__(self, connection: Connection, transport: TransportState, timeout: float) -> None:
        self.connection = connection
        self.transport = transport
        self.ending = CloseStatus()
        self.last: Close | Failed | None = None
        self._timeout = timeout
        self._finished = False
        #: The deadline for the peer's Close if ours was sent; otherwise the time at which the peer's is answered.
        self._end_at: float | None = None
        #: The end of all grace periods, and the number of messages taken when the current one began.
        self._grace_until = 0.0
        self._grace_taken = 0
        #: The number of tasks that await the end, and the number of messages taken when the first of them began to.
        self._awaiting = 0
        self._taken_before = 0
        #: The time at which untaken messages before the peer's Close are dropped, and whether they have been.
        self._way_at: float | None = None
        self._way_is_clear = False
        #: The number of tasks that close it, when to check whether messages are taken, and the number taken when that was set.
        self._closers = 0
        self._discard_at: float | None = None
        self._discard_taken = 0

    @property
    def deadline(self) -> float | None:
        """When to call `expire`; `None` if never."""
        if self._end_at is None and self._way_at is None and self._discard_at is None:
            return None
        return min(it for it in (self._end_at, self._way_at, self._discard_at) if it is not None)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, and no untaken messages are left that could precede the peer's Close."""
        return self._finished and self._way_at is None and self._discard_at is None

    def close(self, now: float, code: int | None = 1000, reason: str = "") -> Ordered:
        """Send a Close, or answer the peer's if it has been received.

        Raises:
            LocalProtocolError: the code or the reason may not be sent; nothing has changed.
        """
        gone = self._finished or self.transport.closing or self.transport.lost
        if self.connection.state is State.OPEN and not gone:
            close = Close(code, reason)
            self.connection.send(close)
            self.ending.sent = close
            self._end_at = now + self._timeout
            return close
        return self.answer()

    def answer(self) -> Ordered:
        """Answer the peer's Close, or its fault, once."""
        if self.connection.state is not State.REMOTE_CLOSING or self.last is None:
            return None
        self._end_at = None
        self.connection.send(self.last)
        if self.transport.lost or (self.transport.multiplexed and self.connection.carrier.done):
            return Order.FLUSH
        self.ending.sent = self.last if isinstance(self.last, Close) else closing(self.last)
        return self.ending.sent

    def receive_close(self, now: float, event: Close | Failed, messages: Messages) -> Ordered:
        """Take the peer's Close, or its fault. It is answered when the messages before it have been taken."""
        self.last = event
        if isinstance(event, Close):
            self.ending.received = event
        else:
            self.ending.error = event.error
        self._end_at = None
        if self.connection.state is State.CLOSED:
            # There is no peer to answer. Later sends raise.
            self.connection.send(event)
            return None
        if self._answers_at_once(messages):
            return self.answer()
        if self.connection.state is State.REMOTE_CLOSING:
            self._give_grace(now, messages)
            return self._make_way(now, messages)
        return None

    def pause(self, now: float, messages: Messages) -> Ordered:
        """Handle a full queue, each time that more is received. The peer's Close may be among the undecoded bytes."""
        ordered = self._make_way(now, messages)
        is_behind = self.connection.state is State.OPEN and self.connection._is_close_waiting()
        if is_behind and self._end_at is None:
            self._give_grace(now, messages)
        return ordered

    def resume(self) -> None:
        """Handle that messages were taken, so that decoding continues."""
        if self.connection.state is State.OPEN:
            self._end_at = None

    def begin_wait(self, now: float, messages: Messages) -> Ordered:
        """Count one more task that awaits the end."""
        if not self._awaiting:
            self._taken_before = messages._taken
        self._awaiting += 1
        return None if self._finished else self._make_way(now, messages)

    def end_wait(self) -> Ordered:
        """Count one task less that awaits the end."""
        self._awaiting -= 1
        if self._awaiting:
            return None
        self._way_is_clear = False
        self._way_at = None
        return Order.KEEP

    def begin_close(self, now: float, messages: Messages) -> None:
        """Count one more task that awaits the closing handshake. Messages that nobody takes meanwhile are discarded."""
        self._closers += 1
        if self._discard_at is None:
            self._look_later(now, messages)

    def end_close(self) -> None:
        """Count one task less that awaits the closing handshake."""
        self._closers -= 1
        if not self._closers:
            self._discard_at = None

    def finish(self, now: float, messages: Messages) -> Ordered:
        """End both directions: the transport or the stream is gone."""
        self._finished = True
        self._end_at = None
        ordered = self._make_way(now, messages) or self.answer()
        if self._closers:
            self._look_later(now, messages)
        return ordered

    def expire(self, now: float, messages: Messages) -> Ordered:
        """Return the next order that is due, if any. The following deadline may have passed too."""
        if self._end_at is not None and self._end_at <= now:
            return self._expire_end(now, messages)
        if self._way_at is not None and self._way_at <= now:
            self._way_at = None
            if self._is_abandoned(messages):
                self._way_is_clear = True
                return Order.ABANDON
        elif self._discard_at is not None and self._discard_at <= now:
            taken, self._discard_at = self._discard_taken, None
            if (messages._waiting or messages._paused) and messages._taken == taken:
                # The peer's Close may follow messages that wait for a reader. If there is none, they block it.
                return Order.DISCARD
            self._look_later(now, messages)
        return None

    def _look_later(self, now: float, messages: Messages) -> None:
        wait = GRACE
        if self._finished:
            # The Close may still follow undecoded messages after a full queue.
            if not (messages._paused and self.connection._is_close_waiting()):
                self._discard_at = None
                return
            wait = GRACE if messages._taken else READER_WAIT
        self._discard_at = now + wait
        self._discard_taken = messages._taken

    def _expire_end(self, now: float, messages: Messages) -> Ordered:
        self._end_at = None
        if self.connection.state is State.CLOSING:
            # The peer has not closed, or nobody has taken the messages before its Close.
            if not self.connection._is_close_waiting():
                self.ending.cause = self.ending.cause or "the peer did not close in time"
            return Order.ABORT
        if messages._waiting and messages._taken != self._grace_taken and now < self._grace_until:
            # The application has taken messages meanwhile, so it gets another grace period.
            self._end_at = now + self._grace
            self._grace_taken = messages._taken
            return None
        # If the peer's Close is still to be decoded, ours is sent.
        return self.close(now)

    @property
    def _grace(self) -> float:
        return min(GRACE, self._timeout / 2)

    def _give_grace(self, now: float, messages: Messages) -> None:
        """Answer the peer's Close after a grace period, even if the application does not take the messages before it."""
        self._end_at = now + self._grace
        self._grace_until = now + self._timeout - self._grace
        self._grace_taken = messages._taken

    def _is_abandoned(self, messages: Messages) -> bool:
        """Whether a task awaits the end, and no message has been taken since."""
        return self._awaiting > 0 and self._taken_before == messages._taken and not messages._awaited

    def _answers_at_once(self, messages: Messages) -> bool:
        """Whether the peer's Close can be answered now."""
        if self._is_abandoned(messages):
            return not messages._waiting or self._way_is_clear
        return not messages._waiting and (messages._awaited or not messages._owes_answer)

    def _make_way(self, now: float, messages: Messages) -> Ordered:
        """If only the end is awaited, answer the peer's Close, or schedule the drop of the messages before it."""
        if not self._is_abandoned(messages):
            return None
        if not (messages._waiting or messages._paused):
            return self.answer()
        if self._way_at is None and not self._way_is_clear:
            self._way_at = now + (GRACE if messages._taken else READER_WAIT)
        return None
