"""One WebSocket as coroutines see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from mintws.connection import Connection
from mintws.errors import ConnectionClosed, LocalProtocolError
from mintws.events import (
    Binary,
    Close,
    Failed,
    Ping,
    PreparedMessage,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.session import QUEUE_HIGH, QUEUE_LOW, WRITE_HIGH, Ending, Pings

if TYPE_CHECKING:
    from mintws.asyncio.link import Link, Timing

#: Frames that are collected while one chunk is handled are written at this size; larger payloads are not copied into one.
FLUSH_SIZE = 32 * 1024
VECTORED_SIZE = 16 * 1024
#: How long a handler that does not receive may still answer earlier messages before the peer's Close is answered, in seconds.
ANSWER_GRACE = 1.0


class WebSocket:
    """An open WebSocket.

    `recv` and `send` take and give `str` for text and `bytes` for binary messages. Iterating with `async for` gives messages until the
    peer closes. One task may receive and others send at the same time.

    Attributes:
        connection: the `Connection` beneath, with its request, response, extensions and subprotocol.
        ending: how it ended, in detail.
    """

    __slots__ = (
        "__weakref__",
        "_answer_timer",
        "_closed",
        "_discarding",
        "_drain",
        "_inbox",
        "_keepalive",
        "_link",
        "_outbox",
        "_paused",
        "_pings",
        "_waiter",
        "connection",
        "ending",
    )

    def __init__(self, link: Link, connection: Connection) -> None:
        self.connection = connection
        self.ending = Ending()
        self._link = link
        #: Messages that the application has not taken, and behind them the Close or fault that ends them: new ones in `_inbox`, and before
        #: them, the oldest last, those in `_outbox`. Two empty lists take a sixth of the memory of an empty deque.
        self._inbox: list[Any] = []
        self._outbox: list[Any] = []
        self._waiter: Arrival | None = None
        self._drain: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._paused = False
        #: close() was called and nobody takes messages: what still comes is counted and dropped.
        self._discarding = False
        self._pings: Pings | None = None
        self._keepalive: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        connection.owner = self

    def __repr__(self) -> str:
        return f"<WebSocket {self.connection!r}>"

    @property
    def request(self) -> UpgradeRequest | None:
        """The request of the opening handshake."""
        return self.connection.request

    @property
    def response(self) -> UpgradeAccept | UpgradeReject | None:
        """The answer to it."""
        return self.connection.response

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self.connection.subprotocol

    @property
    def http_version(self) -> str:
        """The version of HTTP beneath: "1.1" or "2"."""
        return self.connection.carrier.http_version

    @property
    def state(self) -> State:
        """Where the connection is."""
        return self.connection.state

    @property
    def close_code(self) -> int | None:
        """The status code with which it ended (RFC 6455 §7.1.5), or `None` while it is open."""
        ended = self.ending.received is not None or self.ending.error is not None
        return self.ending.code if ended or self.connection.state is State.CLOSED else None

    @property
    def close_reason(self) -> str | None:
        """The reason with which it ended, or `None` while it is open."""
        return None if self.close_code is None else self.ending.reason

    @property
    def latency(self) -> float | None:
        """Seconds between the last Ping that was answered and its Pong."""
        return self._pings.latency if self._pings else None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, for its `get_extra_info`."""
        return self._link.transport

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.discard()
        if error is None or isinstance(error, ConnectionClosed):
            await self.close()
        else:
            await self.close(1011 if isinstance(error, Exception) else 1001)

    async def recv(self) -> str | bytes:
        """Wait for the next message and give it.

        A call that is cancelled loses no message.

        Raises:
            ConnectionClosed: nothing more comes.
        """
        event = await self.recv_event()
        return event.data

    async def recv_event(self) -> Text | Binary:
        """Wait for the next message, or part of one, as an event; parts are asked for by the option `parts`.

        Raises:
            ConnectionClosed: nothing more comes.
        """
        outbox = self._outbox
        if not outbox:
            while not self._inbox:
                await self._arrival()
            outbox = self._outbox = self._inbox
            self._inbox = []
            outbox.reverse()
        event = outbox[-1]
        if type(event) is Text or type(event) is Binary:
            outbox.pop()
            if self._paused and not self._inbox and len(outbox) <= QUEUE_LOW:
                self._resume()
            return event
        self._answer(event)
        raise self.ending.exception()

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            event = await self.recv_event()
        except ConnectionClosed as closed:
            if closed.clean and closed.code in (1000, 1001):
                raise StopAsyncIteration from None
            raise
        return event.data

    async def send(
        self,
        message: str | bytes | bytearray | memoryview | PreparedMessage | Iterable[Any] | AsyncIterable[Any],
        *,
        compress: bool | None = None,
    ) -> None:
        """Send a message: `str` as text, bytes as binary, a prepared message as it is.

        An iterable of `str` or of bytes, asynchronous or not, is one message in as many fragments. Messages are written together where
        more than one is sent at a time, at once where only one is.

        Args:
            message: what to send.
            compress: whether to compress it, where permessage-deflate was agreed on; `None` leaves it to the extension's threshold.

        Raises:
            ConnectionClosed: nothing more can be sent.
            TypeError: the message is nothing of the kind.
        """
        kind = type(message)
        event: Any
        if kind is str:
            event = Text(message)  # type: ignore[arg-type]
        elif kind is bytes:
            event = Binary(message)  # type: ignore[arg-type]
        elif kind in (Text, Binary, PreparedMessage):
            event = message
        elif isinstance(message, str):
            event = Text(message)
        elif isinstance(message, (bytes, bytearray, memoryview)):
            event = Binary(message)
        else:
            await self._send_fragments(message, compress)
            return
        self._send(event, compress)
        if self._link.full or (self._link.multiplexed and self.connection.buffered > WRITE_HIGH):
            await self._drained()

    async def ping(self, data: bytes | None = None) -> float:
        """Ask whether the peer is there; wait for its Pong and give the seconds until it came (RFC 6455 §5.5.2).

        Args:
            data: at most 125 bytes, different from those of other Pings under way; chosen if `None`.

        Raises:
            ConnectionClosed: the connection ended before the Pong came.
        """
        pong: asyncio.Future[float] = self._link.loop.create_future()
        self._ping(pong, data)
        return await pong

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, and wait until the peer has done so too and the transport is free; at most for the close timeout.

        Closing twice does nothing more.

        Args:
            code: the status code, 1000-1003, 1007-1014 or 3000-4999; `None` sends none.
            reason: text of at most 123 bytes in UTF-8.

        Raises:
            LocalProtocolError: the code or the reason may not be sent.
        """
        self._begin_close(code, reason)
        if self._link.left(self):
            return
        if self._closed is None:
            self._closed = self._link.loop.create_future()
        left = self._left()
        timeout = self._link.timing.close_timeout
        if self._paused and not self._discarding:
            # The peer's Close stands behind messages that wait for a reader. If there is none, they are in its way.
            try:
                await asyncio.wait_for(asyncio.shield(self._closed), min(ANSWER_GRACE, timeout))
                return
            except asyncio.TimeoutError:
                if self._left() >= left:
                    self.discard()
        try:
            await asyncio.wait_for(asyncio.shield(self._closed), timeout)
        except asyncio.TimeoutError:
            self.ending.cause = self.ending.cause or "the peer did not close in time"
            self._link.abort(self)
            await self._closed

    def discard(self) -> None:
        """Take no more messages than those that wait already: later ones are counted in `ending.discarded`."""
        self._discarding = True
        self._resume()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, whoever ends it."""
        if self._link.left(self):
            return
        if self._closed is None:
            self._closed = self._link.loop.create_future()
        await asyncio.shield(self._closed)

    # What the link calls.

    def deliver(self, event: Any) -> None:
        """Take a message."""
        self._inbox.append(event)
        if self._waiter is not None:
            if len(self._inbox) == 1:
                self._link.arrivals.append(self._waiter)
        elif not self._paused and len(self._inbox) + len(self._outbox) >= QUEUE_HIGH:
            if self._discarding:
                self._inbox.pop()
                self.ending.discarded += 1
                return
            self._paused = True
            self.connection.pause()
            self._link.update_reading()

    def end(self, event: Close | Failed) -> None:
        """Take the peer's Close, or its fault: it is answered when the messages before it have been taken."""
        if isinstance(event, Close):
            self.ending.received = event
        else:
            self.ending.error = event.error
        self._inbox.append(event)
        self._stop_keepalive()
        if self._waiter is not None and self._left() == 1:
            self._answer(event)
        elif self.connection.state is State.CLOSED:
            # Nobody is left to answer: what is sent from now on raises.
            self.connection.send(event)
        elif self.connection.state is State.REMOTE_CLOSING:
            self._answer_timer = self._link.loop.call_later(ANSWER_GRACE, self._answer_late, event, ANSWER_GRACE)
        if self._waiter is not None and len(self._inbox) == 1:
            self._link.arrivals.append(self._waiter)
        self.relieve()

    def pong(self, data: bytes) -> None:
        """Take a Pong."""
        if self._pings is None:
            return
        for token, latency in self._pings.answer(self._link.loop.time(), data):
            if token is not None and not token.done():
                token.set_result(latency)

    def relieve(self) -> None:
        """Let senders go on whose bytes have gone, or can no more go."""
        gone = self._link.lost or self.connection.state is State.CLOSED
        if self._drain is not None and (gone or self._has_room()):
            if not self._drain.done():
                self._drain.set_result(None)
            self._drain = None

    def finish(self) -> None:
        """Take note that nothing more goes either way."""
        self._stop_keepalive()
        if self._answer_timer is not None:
            self._answer_timer.cancel()
        self.relieve()
        for token in self._pings.drop() if self._pings else ():
            if token is not None and not token.done():
                token.set_exception(self.ending.exception())
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def start_keepalive(self, timing: Timing) -> None:
        """Send a Ping every so often, and end the connection when its Pong stays away."""
        if timing.ping_interval is not None:
            self._keepalive = self._link.loop.call_later(timing.ping_interval, self._keep_alive, timing)

    def begin_close(self, code: int, reason: str) -> None:
        """Send a Close without waiting for the peer's."""
        self._begin_close(code, reason)

    def fail_keepalive(self, waited: float) -> None:
        """End a connection whose peer does not answer Pings."""
        self.ending.cause = f"keepalive: no Pong came within {waited:g} s"
        if self.connection.state is State.OPEN:
            self._send(Close(1011, "keepalive ping timeout"), None)
            self.ending.sent = Close(1011, "keepalive ping timeout")
            self._link.flush()
        self._link.abort(self)

    # Its own parts.

    def _send(self, event: Any, compress: bool | None) -> None:
        """Encode, and write now or with what follows."""
        link = self._link
        connection = self.connection
        try:
            if (
                (type(event) is Binary or type(event) is Text)
                and len(event.data) >= VECTORED_SIZE
                and not link.multiplexed
            ):
                link.flush()
                link.write(connection.uncork())
                link.write_all(connection.send_vectored(event, compress=compress))
                connection.cork()
                return
            if compress is None:
                connection.send(event)
            else:
                connection.send(event, compress=compress)
        except LocalProtocolError:
            if connection.state > State.OPEN or link.lost:
                raise self.ending.exception() from None
            raise
        if (link.eager and not link.receiving) or connection.corked > FLUSH_SIZE:
            link.eager = False
            link.flush_one(connection)
        else:
            link.flush_soon(connection)

    def _left(self) -> int:
        """How many messages, and the Close or fault behind them, are not taken."""
        return len(self._inbox) + len(self._outbox)

    async def _arrival(self) -> None:
        """Wait until something has come."""
        if self._waiter is not None:
            raise LocalProtocolError("another task is receiving already: messages go to one reader")
        self._waiter = Arrival(self._link.loop)
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _send_fragments(self, fragments: Any, compress: bool | None) -> None:
        """Send an iterable as the fragments of one message."""
        if isinstance(fragments, AsyncIterable):
            source = fragments
        elif isinstance(fragments, Iterable) and not isinstance(fragments, dict):
            source = _iterate(fragments)
        else:
            raise TypeError(
                f"send() takes str, bytes, a prepared message or an iterable, not {type(fragments).__name__}"
            )
        kind: type[Text | Binary] | None = None
        async for fragment in source:
            if kind is None:
                kind = Text if isinstance(fragment, str) else Binary
            event = Text(fragment, False) if kind is Text else Binary(fragment, False)
            self._send(event, compress)
            if not self._has_room():
                await self._drained()
        if kind is None:
            raise TypeError("an iterable without an element is no message: it would be neither text nor binary")
        self._send(Text("") if kind is Text else Binary(b""), compress)

    def _ping(self, token: Any, data: bytes | None) -> None:
        if self._pings is None:
            self._pings = Pings()
        ping = Ping(self._pings.add(self._link.loop.time(), token, data))
        self._send(ping, None)
        self._link.flush()

    def _keep_alive(self, timing: Timing) -> None:
        """Send the next Ping of the keepalive."""
        if self.connection.state is not State.OPEN or self._link.lost:
            return
        # Contexts of compression are made anew when they are needed; an idle connection need not hold them.
        self.connection.release()
        sent = self._link.loop.time()
        self._ping(None, None)
        if timing.ping_timeout is None:
            self.start_keepalive(timing)
        else:
            self._keepalive = self._link.loop.call_later(timing.ping_timeout, self._check_alive, timing, sent)

    def _check_alive(self, timing: Timing, sent: float) -> None:
        answered = self._pings.answered_at if self._pings else None
        # Where the application takes no messages, the Pong may stand behind those that wait: its absence says nothing of the peer.
        if (answered is None or answered < sent) and not self._paused and self._link.http.reading:
            self.fail_keepalive(timing.ping_timeout or 0)
            return
        rest = max(0.0, (timing.ping_interval or 0) - (timing.ping_timeout or 0))
        self._keepalive = self._link.loop.call_later(rest, self._keep_alive, timing)

    def _stop_keepalive(self) -> None:
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None

    def _begin_close(self, code: int | None, reason: str) -> None:
        state = self.connection.state
        if state is State.OPEN:
            close = Close(code, reason)
            self._stop_keepalive()
            self._send(close, None)
            self.ending.sent = close
            self._link.flush()
        elif state is State.REMOTE_CLOSING:
            self._answer(self._inbox[-1] if self._inbox else self._outbox[0])

    def _answer(self, event: Close | Failed) -> None:
        """Answer the peer's Close, or its fault, once."""
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
        if self.connection.state is State.REMOTE_CLOSING:
            self.connection.send(event)
            self.ending.sent = event if isinstance(event, Close) else None
            self._link.flush_one(self.connection)
            self._link.check_done(self)

    def _answer_late(self, event: Close | Failed, waited: float) -> None:
        """Answer for a handler that does not receive; one that has messages left gets more time."""
        if self._left() > 1 and waited < self._link.timing.close_timeout:
            self._answer_timer = self._link.loop.call_later(
                ANSWER_GRACE, self._answer_late, event, waited + ANSWER_GRACE
            )
        else:
            self._answer(event)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            data = self.connection.resume()
            self._link.write(data)
            self._link.update_reading()

    def _has_room(self) -> bool:
        return not self._link.full and self.connection.buffered <= WRITE_HIGH

    async def _drained(self) -> None:
        """Wait until what was sent has mostly gone."""
        while not self._has_room() and not self._link.lost and self.connection.state is not State.CLOSED:
            if self._drain is None:
                self._drain = self._link.loop.create_future()
            await asyncio.shield(self._drain)


class Arrival:
    """What `recv` waits for: a future of asyncio's protocol that wakes its task at once.

    An `asyncio.Future` wakes it in the loop's next turn, which costs another call of the selector for each message that answers
    another. `wake` may only be called where no task runs: in a callback of the transport.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_context", "_done", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._callback: Any = None
        self._context: Context | None = None
        self._done = False
        self._cancelled = False

    def __await__(self) -> Generator[Arrival, None, None]:
        if not self._done:
            self._asyncio_future_blocking = True
            yield self
        self.result()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, callback: Any, *, context: Context | None = None) -> None:
        self._callback, self._context = callback, context

    def remove_done_callback(self, callback: Any) -> int:
        self._callback = None
        return 1

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._cancelled

    def result(self) -> None:
        if self._cancelled:
            raise asyncio.CancelledError

    def cancel(self, msg: Any = None) -> bool:
        if self._done:
            return False
        self._done = self._cancelled = True
        if self._callback is not None:
            self._loop.call_soon(self._callback, self, context=self._context)
        return True

    def wake(self) -> None:
        """Run the task that waits until it waits again."""
        if self._done:
            return
        self._done = True
        if self._callback is None:
            return
        if self._context is None:
            self._callback(self)
        else:
            self._context.run(self._callback, self)


async def _iterate(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
