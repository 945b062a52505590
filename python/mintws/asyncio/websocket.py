"""One WebSocket as coroutines see it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast
from weakref import ReferenceType

from mintws import _core
from mintws.asyncio import log
from mintws.connection import Connection, Counters
from mintws.errors import ConnectionClosed, LocalProtocolError
from mintws.events import (
    Binary,
    Close,
    Failed,
    Ping,
    Pong,
    PreparedMessage,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.session import CLEAN_CODES, WRITE_HIGH, Ending, Order, Ordered, WebSocketSession

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from mintws.asyncio.link import Link
else:
    # What `typing.get_type_hints` gives: before Python 3.12 there is no class for it.
    Buffer = bytes | bytearray | memoryview

F = TypeVar("F", bound=Callable[..., Any])

#: What is sent as one message.
Message: TypeAlias = str | Buffer | Text | Binary | PreparedMessage | Iterable[Any] | AsyncIterable[Any]

#: A message of more bytes is written without being copied to others.
LARGE = 64 * 1024
#: Bytes of a message in fragments after which other tasks get a turn.
TURN_SIZE = 256 * 1024


class Owner(ReferenceType["WebSocket"]):
    """The owner of a connection: a WebSocket, which holds the connection."""

    __slots__ = ()


def _of_the_core(declared: F) -> F:
    """Have the core's method of the same name seen as the coroutine function that is declared, with its types.

    `inspect` takes what has all attributes of a function for one, and so do `asyncio.iscoroutinefunction`, `help` and mocks.
    """
    method = getattr(_core.WebSocket, declared.__name__)
    seen: Any = functools.update_wrapper(_core.coroutine_method(method), declared)
    seen.__doc__, seen.__annotations__ = method.__doc__, declared.__annotations__
    for name in ("__code__", "__defaults__", "__kwdefaults__"):
        setattr(seen, name, getattr(declared, name))
    return cast("F", seen)


class WebSocket(_core.WebSocket):
    """An open WebSocket.

    `recv` and `send` take and give `str` for text and `bytes` for binary messages. Iterating with `async for` gives messages until the
    peer closes. One task may receive and others send at the same time.

    Attributes:
        connection: the `Connection` beneath, with its request, response, extensions and subprotocol.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_drain",
        "_fragmenting",
        "_link",
        "_session",
        "_traced",
        "connection",
    )

    def __init__(self, link: Any, connection: Connection) -> None:
        self.connection = connection
        # The link imports this module, so its type is none that can be looked up in the signature.
        self._link: Link = link
        self._session = WebSocketSession(link.loop.time(), connection, link, link.timing)
        self._drain: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] | None = None
        #: A message in fragments is being sent; done when it is whole.
        self._fragmenting: asyncio.Future[None] | None = None
        #: Frames are logged.
        self._traced = link.logger.isEnabledFor(logging.DEBUG)
        connection.owner = Owner(self)
        connection.cork()
        connection._deliver_to(self, traced=self._traced)

    def __repr__(self) -> str:
        return f"<WebSocket {self.connection!r}>"

    @property
    def id(self) -> str:
        """Its name in the log: the number of its transport in this process and, over HTTP/2, behind a dot that of its stream."""
        return log.name(self._link, self.connection)

    @property
    def counters(self) -> Counters:
        """How many messages, frames and bytes have passed."""
        return self.connection.counters

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
    def app(self) -> Any:
        """Whatever the application keeps here; what a server's `upgrade` hook has set as `connection.app`, else `None` at first."""
        return self.connection.app

    @app.setter
    def app(self, kept: Any) -> None:
        self.connection.app = kept

    @property
    def http_version(self) -> str:
        """The version of HTTP beneath: "1.1" or "2"."""
        return self.connection.carrier.http_version

    @property
    def ending(self) -> Ending:
        """How it ended, in detail."""
        ending = self._session.ending
        ending.discarded = self.discarded
        return ending

    @property
    def state(self) -> State:
        """Where the connection is: `CLOSED` as soon as nothing more can be sent, though messages may still be there to be received."""
        return State.CLOSED if self._gone() else self.connection.state

    @property
    def close_code(self) -> int | None:
        """The status code with which it ended (RFC 6455 §7.1.5), or `None` while it is open."""
        return self.ending.code if self._session.last is not None or self._gone() else None

    @property
    def close_reason(self) -> str | None:
        """The reason with which it ended, or `None` while it is open."""
        return None if self.close_code is None else self.ending.reason

    @property
    def latency(self) -> float | None:
        """Seconds between the last Ping that was answered and its Pong."""
        return self._session.pings.latency

    @property
    def awaits_pong(self) -> bool:
        """Whether a Ping is under way."""
        return self._session.pings.under_way

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, for its `get_extra_info`."""
        return self._link.transport

    @property
    def written(self) -> int:
        """How many bytes were given to the transport so far, for all WebSockets that share it."""
        return self._link.written

    @property
    def unsent(self) -> int:
        """How many bytes of what was sent the system has not taken yet.

        They wait in a batch, for the peer's flow control, or in the transport, which all WebSockets of an HTTP/2 connection share.
        """
        return self.connection.corked + self.connection.buffered + self._link.buffered

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.discard()
        if error is None:
            await self.close()
        else:
            await self.close(1011 if isinstance(error, Exception) else 1001)

    @_of_the_core
    async def recv(self) -> str | bytes:
        raise NotImplementedError

    @_of_the_core
    async def recv_event(self) -> Text | Binary:
        raise NotImplementedError

    @_of_the_core
    async def send(self, message: Message, *, compress: bool | None = None) -> None:
        raise NotImplementedError

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Write messages together that are sent within `with websocket.batch():`, instead of each by itself.

        They are written when the block ends, and earlier whenever there are 32 KiB of them. Messages that other tasks send meanwhile are
        written with them.
        """
        self._begin_batch()
        try:
            yield
        finally:
            self._end_batch()

    async def send_many(self, messages: Iterable[Any], *, compress: bool | None = None) -> None:
        """Send several messages, and write them together.

        Args:
            messages: any that `send` takes.
            compress: as in `send`, for each of them.

        Raises:
            ConnectionClosed, LocalProtocolError, TypeError: as from `send`; the messages before the one that it concerns were sent.
        """
        with self.batch():
            for message in messages:
                await self.send(message, compress=compress)

    async def ping(self, data: bytes | None = None) -> float:
        """Ask whether the peer is there; wait for its Pong and give the seconds until it came (RFC 6455 §5.5.2).

        Args:
            data: at most 125 bytes, different from those of other Pings under way; chosen if `None`.

        Raises:
            ConnectionClosed: the connection ended before the Pong came.
            LocalProtocolError: a Ping with the same data is under way, or there is too much of it.
        """
        pong: asyncio.Future[float] = self._link.loop.create_future()
        self.send_ping(pong, data)
        try:
            return await pong
        finally:
            # The future holds what it raises, and that this frame.
            del pong

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, and wait until the peer has done so too, at most for the close timeout.

        A client does not wait for a server that takes its time to end the transport: that goes on by itself.

        Closing twice does nothing more. Messages that still come are there to be received; if nobody takes them, they are dropped and
        counted in `ending.discarded`.

        Args:
            code: the status code, 1000-1003, 1007-1014 or 3000-4999; `None` sends none.
            reason: text of at most 123 bytes in UTF-8.

        Raises:
            LocalProtocolError: the code or the reason may not be sent.
        """
        self.begin_close(code, reason)
        self._session.begin_close(self._link.loop.time(), self)
        self._obey(None)
        try:
            await self._over()
        finally:
            self._session.end_close()
            self._obey(None)

    def discard(self) -> None:
        """Take no more messages than those that wait already: later ones are counted in `ending.discarded`."""
        if self._discard():
            self._resume()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, whoever ends it. Then `close_code`, `close_reason` and `state` say how.

        A Close of the peer is answered at once where no message is unread. Unread messages do not stand in its way: if no task receives
        within a moment, or within a second where some have been received before, those beyond what may wait are discarded, and counted
        in `ending.discarded`.
        """
        self._obey(self._session.begin_wait(self._link.loop.time(), self))
        try:
            if not self._link.left(self):
                await self._over()
        finally:
            self._obey(self._session.end_wait())

    # What the link calls.

    def end(self, event: Close | Failed) -> None:
        """Take the peer's Close, or its fault: it is answered when the messages before it have been taken."""
        if isinstance(event, Failed) and event.error.code == 1006 and event.error.__cause__ is None:
            event.error.__cause__ = self._link.error
        self._finish()
        self._obey(self._session.receive(self._link.loop.time(), event, self))
        self.relieve()

    def pong(self, data: bytes) -> None:
        """Take a Pong."""
        for token, latency in self._session.pings.answer(time.perf_counter(), data):
            if token is not None and not token.done():
                token.set_result(latency)

    def relieve(self) -> None:
        """Let senders go on whose bytes have gone, or can no more go."""
        if self._drain is not None and (self._gone() or self._has_room()):
            self._drain.set_result(None)
            self._drain = None
            self._session.log_stall(None)
            self._link.held_up.discard(self)

    def finish(self) -> None:
        """End both ways: the transport is gone, or the stream."""
        ordered = self._session.finish(self._link.loop.time(), self)
        self._suspend()
        self._obey(ordered)
        self._finish()
        self._end_fragments()
        self.relieve()
        for token in self._session.pings.drop():
            if token is not None and not token.done():
                token.set_exception(self.ending.exception())
        log.ended(self._link, self)

    def trace(self, way: Literal["received", "sent"], event: object) -> None:
        """Log a frame, if frames are logged."""
        if self._traced:
            log.frame(self._link, self.connection, way, event)

    def begin_close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a Close without waiting for the peer's; if the peer's has come, answer it."""
        self._check_thread()
        self._obey(self._session.close(self._link.loop.time(), code, reason))

    def send_ping(self, token: asyncio.Future[float] | None = None, data: bytes | None = None) -> None:
        """Send a Ping, whose Pong `token` waits for."""
        pings = self._session.pings
        payload = pings.choose(data)
        self._encode(Ping(payload), None)
        pings.add(time.perf_counter(), token, payload)
        self._post(True)

    def answer(self) -> None:
        """Answer the peer's Close, or its fault, once."""
        self._obey(self._session.answer())

    def expire(self) -> None:
        """Do what is due."""
        self._obey(self._session.expire(self._link.loop.time(), self))

    def _obey(self, ordered: Ordered) -> None:
        """Do what the session orders, and see to its deadline and its end, which may be others by then."""
        match ordered:
            case Close():
                self.trace("sent", ordered)
                self._flush()
            case Order.FLUSH:
                self._flush()
            case Order.PING:
                self.send_ping()
            case Order.PROBE:
                self._link.write(self._link.http.probe())
            case Order.KEEP:
                self._keep()
            case Order.ABANDON:
                if self._abandon():
                    self._resume()
                self.answer()
            case Order.DISCARD:
                self.discard()
            case Order.ABORT:
                self._link.abort(self)
            case Order.LOG:
                log.stalled(self._link, self)
        self._link.schedule(self._session)
        if self._session.is_over and self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def _flush(self) -> None:
        self._post(True)
        self._link.check_done(self)

    # What the core calls.

    def _ended(self, iterating: bool) -> Exception | None:
        """Answer the peer's Close and say what a reader is to be told; `None` ends an iteration."""
        self.answer()
        closed = self.ending.exception()
        return None if iterating and closed.clean and closed.code in CLEAN_CODES else closed

    def _resume(self) -> None:
        self._session.resume()
        # First what has waited: there is no credit for what goes on waiting.
        events: list[Any] = []
        self.connection._deliver_to(self, traced=self._traced)
        self.connection._receive_early(events)
        if self._link.left(self):
            self._suspend()
        # Over HTTP/2 this answers Pings within the bounds of what is kept for them.
        self._link.write(self.connection.resume())
        self._link.go_on(events, self.connection._settle(events))

    def _pause(self) -> None:
        # The core calls this again for each chunk that comes meanwhile.
        self.connection.pause()
        self._obey(self._session.pause(self._link.loop.time(), self))

    def _is_held_back(self) -> bool:
        return self.connection.buffered > WRITE_HIGH

    async def _send(self, message: Any, compress: bool | None) -> None:
        """Send what takes more than to encode it and let it be written."""
        event = _event(message)
        self._has_sent()
        while self._fragmenting is not None and not self._gone():
            await asyncio.shield(self._fragmenting)
        if self.connection.state is not State.CLOSED and self._link.closing:
            # Its loss says why nothing can be sent.
            await asyncio.shield(self._link.gone)
        if event is None:
            await self._send_fragments(message, compress)
            return
        if isinstance(event, (Text, Binary)) and len(event.data) > LARGE:
            self._send_large(event, compress)
        else:
            self._encode(event, compress)
            self._post(False)
        await self._drained()

    async def _drained(self) -> None:
        """Wait until what was sent has mostly gone."""
        while not self._has_room() and not self._gone():
            if self._drain is None:
                self._drain = self._link.loop.create_future()
                self._link.held_up.add(self)
                if self._traced:
                    self._session.log_stall(self._link.loop.time())
                    self._link.schedule(self._session)
            await asyncio.shield(self._drain)

    # Its own parts.

    def _send_large(self, event: Text | Binary, compress: bool | None) -> None:
        """Write a payload without copying it, where that can be."""
        parts = self._encode_by(self.connection.send_vectored, event, compress)
        # Not `writelines`: some releases of Python copy, others forget to say that the transport is full.
        for part in parts:
            self._link.write(part)
        if not parts:
            self._post(True)

    def _encode(self, event: Any, compress: bool | None) -> None:
        self._encode_by(self.connection.send, event, compress)

    def _encode_by(self, encode: Any, event: Any, compress: bool | None) -> Any:
        if self._gone():
            raise self.ending.exception()
        try:
            encoded = encode(event, compress=compress)
        except LocalProtocolError:
            if self.connection.state > State.OPEN:
                raise self.ending.exception() from None
            raise
        self.trace("sent", event)
        return encoded

    async def _send_fragments(self, fragments: Any, compress: bool | None) -> None:
        """Send an iterable as the fragments of one message; a peer that has seen some of it is told if the rest does not come."""
        if self._gone():
            raise self.ending.exception()
        self._fragmenting = self._link.loop.create_future()
        kind: type[Text | Binary] | None = None
        try:
            size = 0
            async for fragment in _fragments(fragments):
                event = _event(fragment)
                if not isinstance(event, (Text, Binary)) or not isinstance(event, kind or object):
                    raise TypeError(f"a message in fragments is of str or of bytes, not {type(fragment).__name__}")
                kind = type(event)
                self._encode(_made(kind, event.data, False), compress)
                self._post(False)
                await self._drained()
                size += len(event.data)
                if size >= TURN_SIZE:
                    size = 0
                    await asyncio.sleep(0)
            if kind is None:
                raise TypeError("an iterable without an element is no message: it would be neither text nor binary")
            self._encode(_made(kind, b"", True), compress)
            self._post(False)
        except BaseException as error:
            if kind is not None and not isinstance(error, ConnectionClosed):
                self.begin_close(1011, "a message was not finished")
            raise
        finally:
            self._end_fragments()

    def _suspend(self) -> None:
        """Have the connection hold this no more, once it has ended, while more messages wait than are taken."""
        if self.paused:
            self.connection._deliver_to(None)

    def _end_fragments(self) -> None:
        """Let messages go on that wait behind one in fragments."""
        if self._fragmenting is not None and not self._link.loop.is_closed():
            self._fragmenting.set_result(None)
            self._fragmenting = None

    async def _over(self) -> None:
        """Wait until it has ended, and what the peer's Close may stand behind is no longer kept."""
        while not self._session.is_over and not self._link.loop.is_closed():
            if self._closed is None or self._closed.done():
                self._closed = self._link.loop.create_future()
            await asyncio.shield(self._closed)

    def _gone(self) -> bool:
        return self._link.closing or self._link.left(self) or self.connection.state is State.CLOSED

    def _has_room(self) -> bool:
        if self._link.multiplexed:
            self._held_back = self._is_held_back()
        return not self._link.full and not self._held_back


def _event(message: Any) -> Text | Binary | PreparedMessage | None:
    """Give the event that a message is sent as; `None` if it may be an iterable of fragments."""
    if isinstance(message, str):
        return Text(message)
    if isinstance(message, (bytes, bytearray, memoryview)):
        return Binary(message)
    return message if isinstance(message, (Text, Binary, PreparedMessage)) else None


def _made(kind: type[Text | Binary], data: Any, fin: bool) -> Text | Binary:
    return kind(data, fin)


def _fragments(message: Any) -> AsyncIterable[Any]:
    if isinstance(message, AsyncIterable):
        return message
    if isinstance(message, Iterable) and not isinstance(message, dict):
        return _iterate(message)
    kind = type(message).__name__
    instead = {
        Ping: ": ping() sends one and waits for its Pong",
        Pong: ": Pings are answered by themselves",
        Close: ": close() sends one and waits for the peer's",
    }.get(type(message), "")
    raise TypeError(f"send() takes str, bytes, Text, Binary, a prepared message or an iterable, not {kind}{instead}")


async def _iterate(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
