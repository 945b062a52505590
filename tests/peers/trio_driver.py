"""A driver for trio: a stream, a clock, and who is woken; protocol and rules of time stand below."""

from __future__ import annotations

import ssl as tls
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from mintws import (
    Binary,
    Close,
    Connection,
    Failed,
    Http1,
    Http2,
    Ping,
    Pong,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.errors import ConnectError, UpgradeError
from mintws.events import Response
from mintws.extensions import Extension
from mintws.session import (
    WRITE_HIGH,
    ClientSession,
    Due,
    HttpVersion,
    Order,
    Ordered,
    Preface,
    ServerSession,
    Step,
    Timing,
    TransportSession,
    WebSocketSession,
)
from mintws.url import parse

#: How many messages wait for the application before their sender is paused, and at how few it goes on.
HIGH, LOW = 256, 64


class Signal:
    """Something may have changed."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def wake(self) -> None:
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class WebSocket:
    """One open WebSocket."""

    def __init__(self, transport: Transport, connection: Connection) -> None:
        self.connection = connection
        self.session = WebSocketSession(trio.current_time(), connection, transport, transport.session.timing)
        self.ending = self.session.ending
        self.taken = 0
        self.paused = self.awaited = self.owes_answer = False
        self._messages: deque[str | bytes] = deque()
        self._drops: Order | None = None
        self._transport = transport
        self._changed = Signal()
        connection.owner = self
        connection.cork()

    @property
    def waiting(self) -> int:
        return len(self._messages)

    async def recv(self) -> str | bytes:
        """Give the next message, or raise `ConnectionClosed`."""
        await trio.lowlevel.checkpoint()
        while not self._messages:
            if self.session.last is not None or self._transport.left(self):
                self._obey(self.session.answer())
                raise self.ending.exception()
            self.awaited = True
            await self._changed.wait()
            self.awaited = False
        self.taken += 1
        self.owes_answer = True
        if self._drops is Order.ABANDON:
            self._drops = None
        message = self._messages.popleft()
        if len(self._messages) <= LOW:
            self._resume()
        return message

    async def send(self, message: str | bytes | Text | Binary) -> None:
        """Send a message, or a fragment of one, and wait until most of it has gone."""
        await trio.lowlevel.checkpoint()
        event = (
            Text(message) if isinstance(message, str) else Binary(message) if isinstance(message, bytes) else message
        )
        self.owes_answer = False
        self._encode(event)
        while not self._transport.left(self) and (self._transport.full or self.connection.buffered > WRITE_HIGH):
            await self._transport.changed.wait()

    async def ping(self) -> float:
        """Send a Ping, and give the seconds until its Pong has come."""
        answer, answers = trio.open_memory_channel[float](1)
        self._ping(answer)
        async for latency in answers:
            return latency
        raise self.ending.exception()

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, and wait until the peer has done so too."""
        self._obey(self.session.close(trio.current_time(), code, reason))
        self.session.begin_close(trio.current_time(), self)
        self._obey(None)
        try:
            await self._over()
        finally:
            self.session.end_close()

    async def wait_closed(self) -> None:
        """Wait until it has ended."""
        self._obey(self.session.begin_wait(trio.current_time(), self))
        try:
            await self._over()
        finally:
            self._obey(self.session.end_wait())

    def receive(self, event: Any) -> None:
        """Take an event of the connection."""
        now = trio.current_time()
        if isinstance(event, Text | Binary):
            if len(self._messages) >= HIGH and self._drops is not None:
                self.ending.discarded += 1
                return
            self._messages.append(event.data)
            if len(self._messages) >= HIGH:
                self.paused = True
                self.connection.pause()
                self._obey(self.session.pause(now, self))
        elif isinstance(event, Pong):
            for answer, latency in self.session.pings.answer(time.perf_counter(), event.data):
                _tell(answer, latency)
        elif isinstance(event, Close | Failed):
            self._obey(self.session.receive(now, event, self))
            self._transport.check_done(self)
        self._changed.wake()

    def finish(self) -> None:
        """End both ways: the transport is gone, or the stream."""
        self._obey(self.session.finish(trio.current_time(), self))
        for answer in self.session.pings.drop():
            _tell(answer, None)

    def expire(self) -> None:
        self._obey(self.session.expire(trio.current_time(), self))

    def _obey(self, ordered: Ordered) -> None:
        match ordered:
            case Close() | Order.FLUSH:
                self._transport.write(self.connection.flush())
                self._transport.check_done(self)
            case Order.PING:
                self._ping(None)
            case Order.PROBE:
                self._transport.write(self._transport.http.probe())
            case Order.KEEP if self._drops is Order.ABANDON:
                self._drops = None
            case Order.ABANDON | Order.DISCARD:
                self._drops = ordered
                self._resume()
                self._obey(self.session.answer() if ordered is Order.ABANDON else None)
            case Order.ABORT:
                self._transport.abort(self)
        self._transport.session.websockets.schedule(self.session)
        self._transport.changed.wake()
        self._changed.wake()

    def _resume(self) -> None:
        if self.paused:
            self.paused = False
            self.session.resume()
            self._transport.write(self.connection.resume())

    def _encode(self, event: Text | Binary | Ping) -> None:
        if self._transport.closing or self._transport.left(self) or self.connection.state is State.CLOSED:
            raise self.ending.exception()
        self.connection.send(event)
        self._transport.write(self.connection.flush())

    def _ping(self, answer: trio.MemorySendChannel[float] | None) -> None:
        payload = self.session.pings.choose()
        self._encode(Ping(payload))
        self.session.pings.add(time.perf_counter(), answer, payload)

    async def _over(self) -> None:
        while not self.session.is_over:
            await self._changed.wait()


def _tell(answer: trio.MemorySendChannel[float] | None, latency: float | None) -> None:
    if answer is not None:
        if latency is not None:
            answer.send_nowait(latency)
        answer.close()


class Transport:
    """One stream with what it carries, and the tasks that read, write and keep the time.

    Args:
        begun: called with the events of opening handshakes, and connections.
    """

    def __init__(
        self, stream: trio.abc.Stream, session: TransportSession, begun: Callable[[Connection, Any], None]
    ) -> None:
        self.session = session
        self.changed = Signal()
        self.websockets: set[WebSocket] = set()
        self.lost = self.closing = False
        self.heard = self.written = self._sent = 0
        self._begun = begun
        self._output = bytearray()
        self._peer_ended = self._half_closed = False
        #: How the transport is closed, once it is.
        self._last: Step | None = None
        self.half_closes = isinstance(stream, trio.abc.HalfCloseableStream)
        self._stream: Any = stream

    @property
    def http(self) -> Any:
        return self.session.http

    @property
    def multiplexed(self) -> bool:
        return isinstance(self.http, Http2)

    @property
    def unsent(self) -> int:
        return self.written - self._sent

    buffered = unsent

    @property
    def busy(self) -> bool:
        return bool(self.websockets) or self.closing

    @property
    def full(self) -> bool:
        return self.unsent > WRITE_HIGH

    @property
    def is_reading(self) -> bool:
        return self.session.is_reading(self)

    async def run(self) -> None:
        """Carry bytes both ways until the transport is gone."""
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                nursery.start_soon(self._keep_time)
                async with trio.open_nursery() as both:
                    both.start_soon(self._write)
                    await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.lost = self.closing = True
            if self.http is not None:
                self._handle(*self.http.receive(b""))
            for websocket in list(self.websockets):
                websocket.finish()
            self.websockets.clear()
            self.changed.wake()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)

    def speak(self, http: Http1 | Http2) -> None:
        """Begin with the version of HTTP that is spoken."""
        self.session.http = http
        self.write(http.start())

    def write(self, data: bytes) -> None:
        """Write bytes, in the order of the calls."""
        if data and not self.closing:
            self._output += data
            self.written += len(data)
        self.changed.wake()

    def adopt(self, connection: Connection) -> WebSocket:
        """Make the WebSocket of a connection that has opened."""
        websocket = WebSocket(self, connection)
        self.websockets.add(websocket)
        websocket._obey(None)
        return websocket

    def left(self, websocket: WebSocket) -> bool:
        return websocket not in self.websockets

    def check_done(self, websocket: WebSocket) -> None:
        """Let go of a WebSocket whose closing handshake is done, and of the transport if that was all."""
        if websocket.connection.state is State.CLOSED and self.multiplexed and not self.left(websocket):
            self._obey(self.session.sweep_later(trio.current_time(), websocket.connection))
            self._let_go(websocket)
        self._obey(self.session.close_if_done(trio.current_time(), self))

    def abort(self, websocket: WebSocket) -> None:
        """End a WebSocket without a closing handshake."""
        self.write(websocket.connection.abort())
        self._let_go(websocket)
        if not self.multiplexed:
            self._scope.cancel()

    def leave(self) -> None:
        """Take nothing new, and close the transport when what is there has ended."""
        self._obey(self.session.leave(trio.current_time(), self))

    def proceed(self) -> None:
        """Handle what was held until an answer was given."""
        self._handle(*self.http.proceed())

    def _let_go(self, websocket: WebSocket) -> None:
        self.websockets.discard(websocket)
        websocket.finish()

    async def _read(self) -> None:
        preface = Preface()
        while not self._peer_ended:
            while not self.is_reading:
                await self.changed.wait()
            try:
                data = bytes(await self._stream.receive_some(65536))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            self.heard += 1
            if not data:
                self._peer_ended = True
                self.session.receive_eof(self)
            if self.http is None:
                start = preface.receive(data)
                if start is None:
                    continue
                self.speak((Http2 if preface.http2 else Http1)(Role.SERVER))
                data = start
            self._handle(*self.http.receive(data))
            self._obey(self.session.close_if_done(trio.current_time(), self))

    def _handle(self, events: Sequence[tuple[Connection | None, Any]], reply: bytes) -> None:
        self.write(reply)
        replied = len(reply) if self.full else 0
        self.session.receive(trio.current_time(), crowded=False, replied=replied)
        for connection, event in events:
            if connection is None:
                request = self.http.collect(event)
                if request is not None:
                    self.write(self.http.respond(request, Response(404)))
            elif isinstance(connection.owner, WebSocket):
                connection.owner.receive(event)
            else:
                self._begun(connection, event)
        if events:
            self.proceed()

    def _obey(self, due: Due | None) -> None:
        """Do what the session says."""
        if due is None:
            return
        self.write(due.data)
        match due.step:
            case Step.CUT:
                self._scope.cancel()
            case Step.CLOSE | Step.LINGER:
                self.closing, self._last = True, due.step
        self.changed.wake()

    async def _write(self) -> None:
        try:
            while self._output or not (self._last is Step.CLOSE or (self.closing and self._peer_ended)):
                data, self._output = bytes(self._output), bytearray()
                if data:
                    await self._stream.send_all(data)
                    self._sent += len(data)
                    self.session.taken()
                    self.changed.wake()
                elif self._last is Step.LINGER and self.half_closes and not self._half_closed:
                    self._half_closed = True
                    await self._stream.send_eof()
                else:
                    await self.changed.wait()
            await self._stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()

    async def _keep_time(self) -> None:
        while True:
            now = trio.current_time()
            for session in self.session.websockets.due(now):
                session.connection.owner.expire()
            self._obey(self.session.expire(now, self))
            deadline = self.session.deadline
            with trio.move_on_at(float("inf") if deadline is None else deadline):
                await self.changed.wait()


@asynccontextmanager
async def connect(
    url: str,
    *,
    http: HttpVersion,
    host: str,
    ssl: tls.SSLContext | None,
    extensions: Sequence[Extension],
    timing: Timing,
) -> AsyncIterator[WebSocket]:
    """Open a WebSocket, in "1.1" or "2"."""
    place = parse(url)
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, place.port)
    if ssl is not None:
        ssl.set_alpn_protocols([{"1.1": "http/1.1", "2": "h2"}[http]])
        stream = trio.SSLStream(stream, ssl, server_hostname=place.server_name, https_compatible=True)
    answers: list[Any] = []
    transport = Transport(stream, ClientSession(trio.current_time(), timing), lambda _, event: answers.append(event))
    client = Http2(Role.CLIENT, scheme="https" if ssl else "http") if http == "2" else Http1(Role.CLIENT)
    async with trio.open_nursery() as nursery:
        transport.speak(client)
        nursery.start_soon(transport.run)
        connection = client.open()
        transport.write(connection.send(UpgradeRequest(place.authority, place.target, extensions=extensions)))
        while not answers:
            await transport.changed.wait()
        match answers[0]:
            case UpgradeReject() as refusal:
                raise UpgradeError(refusal.status, refusal.headers, refusal.body)
            case Failed(error):
                raise ConnectError(str(error)) from error
        websocket = transport.adopt(connection)
        transport.proceed()
        try:
            yield websocket
        finally:
            with trio.CancelScope(shield=True):
                await websocket.close()
            transport.leave()


@asynccontextmanager
async def serve(
    handler: Callable[[WebSocket], Awaitable[None]],
    *,
    ssl: tls.SSLContext | None,
    extensions: Sequence[Extension],
    timing: Timing,
) -> AsyncIterator[int]:
    """Listen on a free port, and give it."""

    async def carry(stream: trio.abc.Stream) -> None:
        if ssl is not None:
            stream = trio.SSLStream(stream, ssl, server_side=True, https_compatible=True)
        session = ServerSession(trio.current_time(), timing)
        session.begin(trio.current_time())
        async with trio.open_nursery() as handlers:

            def begin(connection: Connection, event: Any) -> None:
                if isinstance(event, Failed):
                    transport.write(connection.send(event))
                elif isinstance(event, UpgradeRequest):
                    transport.write(connection.send(UpgradeAccept(extensions=extensions)))
                    handlers.start_soon(run, transport.adopt(connection))
                    session.limit_requests(trio.current_time(), transport)

            async def run(websocket: WebSocket) -> None:
                await handler(websocket)
                await websocket.close()

            transport = Transport(stream, session, begin)
            await transport.run()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, carry, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
