"""One WebSocket as coroutines see it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from mintws import _core
from mintws.asyncio import log
from mintws.asyncio.transport import LoopTransport
from mintws.connection import Connection
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
)
from mintws.session import CLEAN_CODES, DriverWebSocket, Order, Ordered, Owner, WebSocketSession

if TYPE_CHECKING:
    from typing_extensions import Buffer
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


class WebSocket(_core.WebSocket, DriverWebSocket):
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
        "_protocol",
        "_session",
        "_traced",
        "connection",
    )

    _protocol: LoopTransport

    def __init__(self, protocol: LoopTransport, connection: Connection) -> None:
        self.connection = connection
        self._protocol = protocol
        self._session = WebSocketSession(protocol.loop.time(), connection, protocol, protocol.timeouts)
        self._drain: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] | None = None
        #: A message in fragments is being sent; done when it is whole.
        self._fragmenting: asyncio.Future[None] | None = None
        #: Frames are logged.
        self._traced = protocol.logger.isEnabledFor(logging.DEBUG)
        connection.owner = Owner(self)
        connection.cork()
        connection._deliver_to(self, traced=self._traced)

    def __repr__(self) -> str:
        return f"<WebSocket {self.connection!r}>"

    @property
    def id(self) -> str:
        """Its name in the log: the number of its transport in this process and, over HTTP/2, behind a dot that of its stream."""
        return log.name(self._protocol, self.connection)

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, for its `get_extra_info`."""
        return self._protocol.transport

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
        pong: asyncio.Future[float] = self._protocol.loop.create_future()
        self._send_ping(pong, data)
        try:
            return await pong
        finally:
            # The future holds what it raises, and that this frame.
            del pong

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        try:
            await super().close(code, reason)
        except asyncio.CancelledError:
            self._protocol.let_finish()
            raise

    # What the protocol calls.

    def _receive_event(self, event: Any) -> None:
        self._trace("received", event)
        if isinstance(event, Ping) and self.connection._auto_pong:
            self._trace("sent", Pong(event.data))
        super()._receive_event(event)

    def _end(self, event: Close | Failed) -> None:
        if isinstance(event, Failed) and event.error.code == 1006 and event.error.__cause__ is None:
            event.error.__cause__ = self._protocol.error
        super()._end(event)
        self._wake_senders()

    def _pong(self, data: bytes) -> None:
        """Take a Pong."""
        for token, latency in self._session.pings.answer(time.perf_counter(), data):
            if token is not None and not token.done():
                token.set_result(latency)

    def _wake_senders(self) -> None:
        """Let senders go on whose bytes have gone, or can no more go."""
        if self._drain is not None and (self._gone() or self._has_room()):
            self._drain.set_result(None)
            self._drain = None
            self._session.log_stall(None)
            self._protocol.blocked_senders.discard(self)

    def _end_both(self) -> None:
        self._suspend()
        super()._end_both()
        self._end_fragments()
        self._wake_senders()
        for token in self._session.pings.drop():
            if token is not None and not token.done():
                token.set_exception(self.ending.exception())
        log.ended(self._protocol, self)

    def _trace(self, way: Literal["received", "sent"], event: object) -> None:
        """Log a frame, if frames are logged."""
        if self._traced:
            log.frame(self._protocol, self.connection, way, event)

    def _begin_close(self, code: int | None = 1000, reason: str = "") -> None:
        self._check_thread()
        super()._begin_close(code, reason)

    def _send_ping(self, token: asyncio.Future[float] | None = None, data: bytes | None = None) -> None:
        """Send a Ping, whose Pong `token` waits for."""
        pings = self._session.pings
        payload = pings.choose(data)
        self._encode(Ping(payload), None)
        pings.add(time.perf_counter(), token, payload)
        self._post(True)

    def _obey(self, ordered: Ordered) -> None:
        if isinstance(ordered, Close):
            self._trace("sent", ordered)
        elif ordered is Order.LOG:
            log.stalled(self._protocol, self)
        super()._obey(ordered)
        if self._session.is_over and self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def _flush(self) -> None:
        self._post(True)

    # What the core calls.

    def _ended(self, iterating: bool) -> Exception | None:
        """Answer the peer's Close and say what a reader is to be told; `None` ends an iteration."""
        self._answer()
        closed = self.ending.exception()
        return None if iterating and closed.clean and closed.code in CLEAN_CODES else closed

    def _resume(self) -> None:
        self.connection._deliver_to(self, traced=self._traced)
        super()._resume()
        if self._protocol.left(self):
            self._suspend()

    async def _send(self, message: Any, compress: bool | None) -> None:
        """Send what takes more than to encode it and let it be written."""
        event = _event(message)
        self._has_sent()
        while self._fragmenting is not None and not self._gone():
            await asyncio.shield(self._fragmenting)
        if self.connection.state is not State.CLOSED and self._protocol.closing:
            # Its loss says why nothing can be sent.
            await asyncio.shield(self._protocol.gone)
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
                self._drain = self._protocol.loop.create_future()
                self._protocol.blocked_senders.add(self)
                if self._traced:
                    self._session.log_stall(self._protocol.loop.time())
                    self._protocol.schedule(self._session)
            await asyncio.shield(self._drain)

    # Its own parts.

    def _send_large(self, event: Text | Binary, compress: bool | None) -> None:
        """Write a payload without copying it, where that can be."""
        parts = self._encode_by(self.connection.send_vectored, event, compress)
        # Not `writelines`: some releases of Python copy, others forget to say that the transport is full.
        for part in parts:
            self._protocol.write(part)
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
        self._trace("sent", event)
        return encoded

    async def _send_fragments(self, fragments: Any, compress: bool | None) -> None:
        """Send an iterable as the fragments of one message; a peer that has seen some of it is told if the rest does not come."""
        if self._gone():
            raise self.ending.exception()
        self._fragmenting = self._protocol.loop.create_future()
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
                self._begin_close(1011, "a message was not finished")
            raise
        finally:
            self._end_fragments()

    def _suspend(self) -> None:
        """Have the connection hold this no more, once it has ended, while more messages wait than are taken."""
        if self.paused:
            self.connection._deliver_to(None)

    def _end_fragments(self) -> None:
        """Let messages go on that wait behind one in fragments."""
        if self._fragmenting is not None and not self._protocol.loop.is_closed():
            self._fragmenting.set_result(None)
            self._fragmenting = None

    async def _over(self) -> None:
        """Wait until it has ended, and what the peer's Close may stand behind is no longer kept."""
        while not self._session.is_over and not self._protocol.loop.is_closed():
            if self._closed is None or self._closed.done():
                self._closed = self._protocol.loop.create_future()
            await asyncio.shield(self._closed)

    def _has_room(self) -> bool:
        if self._protocol.multiplexed:
            self._held_back = self._is_held_back()
        return not self._protocol.full and not self._held_back


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
