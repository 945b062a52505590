"""The closing of one WebSocket: when the peer's Close is answered, and how long to wait for it."""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeAlias

from mintws.connection import Connection, closing
from mintws.events import Close, Failed, State
from mintws.session.driver import Messages, TransportState
from mintws.session.ending import Ending

#: Seconds in which an application may take messages, and answer those that it has taken, before the peer's Close after them is answered.
GRACE = 1.0
#: Seconds after which a WebSocket of which nobody has taken a message, and whose end is awaited, is taken to have no reader.
READER_WAIT = 0.05


class Order(Enum):
    """An order to the driver of a WebSocket.

    Attributes:
        FLUSH: write what was sent on the connection, and look whether the closing handshake is done.
        PING: send a Ping.
        PROBE: ask beneath flow control whether the peer is there (RFC 9113 §6.7).
        KEEP: have messages wait again that `ABANDON` drops.
        ABANDON: drop messages beyond those that may wait, until one is taken; then call `answer`.
        DISCARD: take no more messages than those that wait already.
        ABORT: end the WebSocket without waiting for the peer.
        LOG: log what keeps it from sending.
    """

    FLUSH = auto()
    PING = auto()
    PROBE = auto()
    KEEP = auto()
    ABANDON = auto()
    DISCARD = auto()
    ABORT = auto()
    LOG = auto()


#: What calls of a session order: a Close was sent on the connection, which is flushed as for `Order.FLUSH`; or an `Order`; or nothing.
Ordered: TypeAlias = Close | Order | None


class Closing:
    """The closing of one WebSocket (RFC 6455 §7).

    The peer's Close is answered as soon as nothing is to be sent before it: no message is unread, and the application owes no answer.
    Otherwise the application gets a time of grace, and another one as long as it takes messages. Messages that nobody takes are dropped
    where they keep the peer's Close from a task that awaits the end.

    Args:
        connection: the connection, which has opened.
        transport: the driver's transport of it.
        timeout: seconds that the peer has for its Close, after ours, and the application for all that it takes before the answer.

    Attributes:
        connection: the same.
        ending: how it ended, or is ending.
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
        self.ending = Ending()
        self.last: Close | Failed | None = None
        self._timeout = timeout
        self._finished = False
        #: Until the peer's Close must have come, where ours was sent; else until the peer's is answered.
        self._end_at: float | None = None
        #: Until when the application gets another time of grace, and how many messages it had taken when the last one began.
        self._grace_until = 0.0
        self._grace_taken = 0
        #: How many tasks await the end, and how many messages had been taken when the first of them began to.
        self._awaiting = 0
        self._taken_before = 0
        #: Messages that nobody takes stand in the way of the peer's Close: until when, and that they do so no more.
        self._way_at: float | None = None
        self._way_is_clear = False
        #: How many tasks close it, when to look whether messages are taken, and how many had been when that was set.
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
        """Whether it has ended, and the peer's Close is no longer looked for behind messages that nobody takes."""
        return self._finished and self._way_at is None and self._discard_at is None

    def close(self, now: float, code: int | None = 1000, reason: str = "") -> Ordered:
        """Send a Close; if the peer's has come, answer it.

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

    def receive(self, now: float, event: Close | Failed, messages: Messages) -> Ordered:
        """Take the peer's Close, or its fault: it is answered when the messages before it have been taken."""
        self.last = event
        if isinstance(event, Close):
            self.ending.received = event
        else:
            self.ending.error = event.error
        self._end_at = None
        if self.connection.state is State.CLOSED:
            # Nobody is left to answer: what is sent from now on raises.
            self.connection.send(event)
            return None
        if self._answers_at_once(messages):
            return self.answer()
        if self.connection.state is State.REMOTE_CLOSING:
            self._give_grace(now, messages)
            return self._make_way(now, messages)
        return None

    def pause(self, now: float, messages: Messages) -> Ordered:
        """Take notice of more messages than the application takes, each time that more comes: the peer's Close may be behind them."""
        ordered = self._make_way(now, messages)
        is_behind = self.connection.state is State.OPEN and self.connection._is_close_waiting()
        if is_behind and self._end_at is None:
            self._give_grace(now, messages)
        return ordered

    def resume(self) -> None:
        """Take notice of messages that were taken, so that what has come is decoded."""
        if self.connection.state is State.OPEN:
            self._end_at = None

    def begin_wait(self, now: float, messages: Messages) -> Ordered:
        """Begin to await the end, in one more task."""
        if not self._awaiting:
            self._taken_before = messages.taken
        self._awaiting += 1
        return None if self._finished else self._make_way(now, messages)

    def end_wait(self) -> Ordered:
        """Await the end in one task less."""
        self._awaiting -= 1
        if self._awaiting:
            return None
        self._way_is_clear = False
        self._way_at = None
        return Order.KEEP

    def begin_close(self, now: float, messages: Messages) -> None:
        """Begin to await the end of a closing handshake, in one more task: what nobody takes meanwhile is discarded."""
        self._closers += 1
        if self._discard_at is None:
            self._look_later(now, messages)

    def end_close(self) -> None:
        """Await the end of a closing handshake in one task less."""
        self._closers -= 1
        if not self._closers:
            self._discard_at = None

    def finish(self, now: float, messages: Messages) -> Ordered:
        """End both ways: the transport is gone, or the stream."""
        self._finished = True
        self._end_at = None
        ordered = self._make_way(now, messages) or self.answer()
        if self._closers:
            self._look_later(now, messages)
        return ordered

    def expire(self, now: float, messages: Messages) -> Ordered:
        """Give the next order that is due, if any; the deadline after it may have passed too."""
        if self._end_at is not None and self._end_at <= now:
            return self._expire_end(now, messages)
        if self._way_at is not None and self._way_at <= now:
            self._way_at = None
            if self._is_abandoned(messages):
                self._way_is_clear = True
                return Order.ABANDON
        elif self._discard_at is not None and self._discard_at <= now:
            taken, self._discard_at = self._discard_taken, None
            if messages.waiting and messages.taken == taken:
                # The peer's Close may stand behind messages that wait for a reader. If there is none, they are in its way.
                return Order.DISCARD
            self._look_later(now, messages)
        return None

    def _look_later(self, now: float, messages: Messages) -> None:
        wait = GRACE
        if self._finished:
            # The Close may still stand behind messages of which more wait than are taken.
            if not (messages.paused and self.connection._is_close_waiting()):
                self._discard_at = None
                return
            wait = GRACE if messages.taken else READER_WAIT
        self._discard_at = now + wait
        self._discard_taken = messages.taken

    def _expire_end(self, now: float, messages: Messages) -> Ordered:
        self._end_at = None
        if self.connection.state is State.CLOSING:
            # The peer has not closed, or nobody has taken what came before its Close.
            if not self.connection._is_close_waiting():
                self.ending.cause = self.ending.cause or "the peer did not close in time"
            return Order.ABORT
        if messages.waiting and messages.taken != self._grace_taken and now < self._grace_until:
            # The application has taken messages meanwhile, so it gets more time.
            self._end_at = now + self._grace
            self._grace_taken = messages.taken
            return None
        # If the peer's Close is still to be decoded, ours is sent.
        return self.close(now)

    @property
    def _grace(self) -> float:
        return min(GRACE, self._timeout / 2)

    def _give_grace(self, now: float, messages: Messages) -> None:
        """Answer the peer's Close in a while, even if the application does not take the messages before it."""
        self._end_at = now + self._grace
        self._grace_until = now + self._timeout - self._grace
        self._grace_taken = messages.taken

    def _is_abandoned(self, messages: Messages) -> bool:
        """Whether a task awaits the end, and none has received since it began to."""
        return self._awaiting > 0 and self._taken_before == messages.taken and not messages.awaited

    def _answers_at_once(self, messages: Messages) -> bool:
        """Whether nothing is to be sent before the peer's Close is answered."""
        if self._is_abandoned(messages):
            return not messages.waiting or self._way_is_clear
        return not messages.waiting and (messages.awaited or not messages.owes_answer)

    def _make_way(self, now: float, messages: Messages) -> Ordered:
        """Where the end is all that is awaited, answer the peer's Close, or soon drop the messages before it."""
        if not self._is_abandoned(messages):
            return None
        if not messages.waiting:
            return self.answer()
        if self._way_at is None and not self._way_is_clear:
            self._way_at = now + (GRACE if messages.taken else READER_WAIT)
        return None
