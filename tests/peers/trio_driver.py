"""A driver for trio: a stream, a clock, and who is woken; protocol and rules of time stand below."""

from __future__ import annotations

import ssl as tls
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from mintws import Binary, Close, Connection, Failed, Http1, Http2, Ping, Pong, Role, State, Text
from mintws import session as rules
from mintws._core import MessageQueue, ReadyList
from mintws.errors import ConnectError, UpgradeError
from mintws.events import Response, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.extensions import Extension
from mintws.session import Due, Order, Ordered, Step, Timing, TransportSession
from mintws.url import parse

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class WebSocket(MessageQueue):
    """One open WebSocket."""

    def __new__(cls, transport: Transport, connection: Connection) -> WebSocket:
        return super().__new__(cls, transport.ready)

    def __init__(self, transport: Transport, connection: Connection) -> None:
        self.connection = connection
        self.session = rules.WebSocketSession(trio.current_time(), connection, transport, transport.session.timing)
        self.ending = self.session.ending
        self.awaited = self.owes_answer = False
        self._transport = transport
        connection.owner = self
        connection.cork()
        connection._deliver_to(self)

    async def recv(self) -> str | bytes:
        """Give the next message, or raise `ConnectionClosed`."""
        await trio.lowlevel.checkpoint()
        paused = self.paused
        while (event := self._pop()) is None:
            if self.session.last is not None or self._transport.left(self):
                self.obey(self.session.answer())
                raise self.ending.exception()
            try:
                self.awaited = True
                await self._transport.changed.park()
            finally:
                self.awaited = False
        self.owes_answer = True
        if paused and not self.paused:
            self._resume()
        return event.data

    async def send(self, message: str | bytes | Text | Binary) -> None:
        """Send a message, or a fragment of one, and wait until most of it has gone."""
        await trio.lowlevel.checkpoint()
        self.owes_answer = False
        made = {str: Text, bytes: Binary}.get(type(message))
        self._send(message if made is None else made(message))
        while not self._transport.left(self) and (self._transport.full or self.connection.buffered > rules.WRITE_HIGH):
            await self._transport.changed.park()

    async def ping(self) -> float:
        """Send a Ping, and give the seconds until its Pong has come."""
        answer: list[float] = []
        self._ping(answer)
        while not answer:
            if self._transport.left(self):
                raise self.ending.exception()
            await self._transport.changed.park()
        return answer[0]

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, and wait until the peer has done so too."""
        self.obey(self.session.close(trio.current_time(), code, reason))
        self.session.begin_close(trio.current_time(), self)
        self.obey(None)
        try:
            await self._over()
        finally:
            self.session.end_close()

    async def wait_closed(self) -> None:
        """Wait until it has ended."""
        self.obey(self.session.begin_wait(trio.current_time(), self))
        try:
            await self._over()
        finally:
            self.obey(self.session.end_wait())

    def receive(self, event: Any) -> None:
        """Take an event of the connection that is no message."""
        if isinstance(event, Pong):
            for answer, latency in self.session.pings.answer(time.perf_counter(), event.data):
                answer.append(latency)
        elif isinstance(event, Close | Failed):
            self.obey(self.session.receive(trio.current_time(), event, self))
            self._transport.check_done(self)

    def pause(self) -> None:
        """Take no more, since more messages wait than are taken."""
        self.connection.pause()
        self.obey(self.session.pause(trio.current_time(), self))

    def finish(self) -> None:
        """End both ways: the transport is gone, or the stream."""
        self.obey(self.session.finish(trio.current_time(), self))

    def obey(self, ordered: Ordered) -> None:
        """Do what the session orders, and see to its deadline."""
        match ordered:
            case Close() | Order.FLUSH:
                self._transport.write(self.connection.flush())
                self._transport.check_done(self)
            case Order.PING:
                self._ping([])
            case Order.PROBE:
                self._transport.write(self._transport.http.probe())
            case Order.KEEP:
                self._keep()
            case Order.ABANDON:
                if self._abandon():
                    self._resume()
                self.obey(self.session.answer())
            case Order.DISCARD:
                if self._discard():
                    self._resume()
            case Order.ABORT:
                self._transport.abort(self)
        self.ending.discarded = self.discarded
        self._transport.obey(self._transport.session.schedule(self.session))

    def _resume(self) -> None:
        self.session.resume()
        events, reply = self.connection.receive_early()
        self._transport.write(self.connection.resume())
        self._transport.handle(events, reply)

    def _send(self, event: Text | Binary | Ping) -> None:
        if self._transport.closing or self._transport.left(self) or self.connection.state is State.CLOSED:
            raise self.ending.exception()
        self.connection.send(event)
        self._transport.write(self.connection.flush())

    def _ping(self, answer: list[float]) -> None:
        payload = self.session.pings.choose()
        self._send(Ping(payload))
        self.session.pings.add(time.perf_counter(), answer, payload)

    async def _over(self) -> None:
        while not self.session.is_over:
            await self._transport.changed.park()


class Transport:
    """One stream with what it carries, and the tasks that read, write and keep the time.

    Args:
        begun: called with connections that open, and the events of their opening handshakes.
    """

    def __init__(self, stream: Any, session: TransportSession, begun: Callable[[Connection, Any], None]) -> None:
        self.session = session
        self.http: Any = None
        self.ready = ReadyList()
        self.changed = trio.lowlevel.ParkingLot()
        self.websockets: set[WebSocket] = set()
        self.half_closes = isinstance(stream, trio.abc.HalfCloseableStream)
        self.multiplexed = self.lost = False
        self.heard = self.written = self._sent = 0
        self._begun = begun
        self._output = bytearray()
        self._peer_ended = False
        #: How the transport ends, once it does.
        self._last: Step | None = None
        self._stream = stream

    @property
    def unsent(self) -> int:
        return self.written - self._sent

    buffered = unsent

    @property
    def closing(self) -> bool:
        return self.lost or self._last is not None

    @property
    def busy(self) -> bool:
        return bool(self.websockets) or self.closing

    @property
    def full(self) -> bool:
        return self.unsent > rules.WRITE_HIGH

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
                self._scope.cancel()
        finally:
            self.lost = True
            if self.http is not None:
                self.handle(*self.http.receive(b""))
            for websocket in list(self.websockets):
                self._let_go(websocket)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)

    def speak(self, http: Http1 | Http2) -> None:
        """Begin with the version of HTTP that is spoken."""
        self.http = self.session.http = http
        self.multiplexed = isinstance(http, Http2)
        self.write(http.start())

    def write(self, data: bytes) -> None:
        """Write bytes, in the order of the calls."""
        if not self.closing:
            self._output += data
            self.written += len(data)
        self.changed.unpark_all()

    def obey(self, due: Due | None) -> None:
        """Do what the session says."""
        if due is not None:
            self.write(due.data)
            if due.step is Step.CUT:
                self._scope.cancel()
            self._last = due.step or self._last

    def adopt(self, connection: Connection) -> WebSocket:
        """Make the WebSocket of a connection that has opened, and handle what was held until then."""
        websocket = WebSocket(self, connection)
        self.websockets.add(websocket)
        websocket.obey(None)
        self.handle(*self.http.proceed())
        return websocket

    def left(self, websocket: WebSocket) -> bool:
        return websocket not in self.websockets

    def check_done(self, websocket: WebSocket) -> None:
        """Let go of a WebSocket whose closing handshake is done, and of the transport if that was all."""
        if websocket.connection.state is State.CLOSED and self.multiplexed and not self.left(websocket):
            self.obey(self.session.sweep_later(trio.current_time(), websocket.connection))
            self._let_go(websocket)
        self.obey(self.session.close_if_done(trio.current_time(), self))

    def abort(self, websocket: WebSocket) -> None:
        """End a WebSocket without a closing handshake."""
        self.write(websocket.connection.abort())
        self._let_go(websocket)
        if not self.multiplexed:
            self._scope.cancel()

    def handle(self, events: Sequence[tuple[Connection | None, Any]], reply: bytes) -> None:
        """Take what an HTTP connection made of a chunk."""
        self.write(reply)
        self.session.receive(trio.current_time(), crowded=False, replied=len(reply) if self.full else 0)
        for connection, event in events:
            if connection is None:
                request = self.http.collect(event)
                self.write(b"" if request is None else self.http.respond(request, Response(404)))
            elif isinstance(connection.owner, WebSocket):
                connection.owner.receive(event)
            else:
                self._begun(connection, event)
        for queue in self.ready.drain():
            if isinstance(queue, WebSocket) and queue.paused:
                queue.pause()
        if events:
            self.handle(*self.http.proceed())
        self.obey(self.session.close_if_done(trio.current_time(), self))

    def _let_go(self, websocket: WebSocket) -> None:
        self.websockets.discard(websocket)
        websocket.finish()

    async def _read(self) -> None:
        preface = rules.Preface()
        while not self._peer_ended:
            while not self.is_reading:
                await self.changed.park()
            try:
                data = bytes(await self._stream.receive_some(65536))
            except GONE:
                data = b""
            self.heard += 1
            if not data:
                self._peer_ended = True
                self.session.receive_eof(self)
            if self.http is None and (start := preface.receive(data)) is not None:
                self.speak((Http2 if preface.http2 else Http1)(Role.SERVER))
                data = start
            if self.http is not None:
                self.handle(*self.http.receive(data))

    async def _write(self) -> None:
        told = not self.half_closes
        try:
            while self._output or not (self._last is Step.CLOSE or (self.closing and self._peer_ended)):
                if self._output:
                    data, self._output = self._output, bytearray()
                    await self._stream.send_all(data)
                    self._sent += len(data)
                    self.session.taken()
                    self.changed.unpark_all()
                elif self._last is Step.LINGER and not told:
                    told = True
                    await self._stream.send_eof()
                else:
                    await self.changed.park()
            await self._stream.aclose()
        except GONE:
            self._scope.cancel()

    async def _keep_time(self) -> None:
        while True:
            now = trio.current_time()
            for session in self.session.websockets.due(now):
                session.connection.owner.obey(session.expire(now, session.connection.owner))
            self.obey(self.session.expire(now, self))
            deadline = self.session.deadline
            with trio.move_on_at(float("inf") if deadline is None else deadline):
                await self.changed.park()


@asynccontextmanager
async def connect(
    url: str, http: str, host: str, ssl: tls.SSLContext | None, extensions: Sequence[Extension], timing: Timing
) -> AsyncIterator[WebSocket]:
    """Open a WebSocket, over HTTP of version "1.1" or "2"."""
    place = parse(url)
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, place.port)
    if ssl is not None:
        ssl.set_alpn_protocols([{"1.1": "http/1.1", "2": "h2"}[http]])
        stream = trio.SSLStream(stream, ssl, server_hostname=place.server_name, https_compatible=True)
    answers: list[Any] = []
    session = rules.ClientSession(trio.current_time(), timing)
    transport = Transport(stream, session, lambda _, event: answers.append(event))
    client = Http2(Role.CLIENT, scheme="https" if ssl else "http") if http == "2" else Http1(Role.CLIENT)
    async with trio.open_nursery() as nursery:
        transport.speak(client)
        nursery.start_soon(transport.run)
        connection = client.open()
        connection._deliver_to(None)
        transport.write(connection.send(UpgradeRequest(place.authority, place.target, extensions=extensions)))
        while not answers:
            await transport.changed.park()
        match answers[0]:
            case UpgradeReject() as refusal:
                raise UpgradeError(refusal.status, refusal.headers, refusal.body)
            case Failed(error):
                raise ConnectError(str(error)) from error
        websocket = transport.adopt(connection)
        try:
            yield websocket
        finally:
            with trio.CancelScope(shield=True):
                await websocket.close()
            transport.obey(session.leave(trio.current_time(), transport))


@asynccontextmanager
async def serve(
    handler: Callable[[WebSocket], Awaitable[None]],
    ssl: tls.SSLContext | None,
    extensions: Sequence[Extension],
    timing: Timing,
) -> AsyncIterator[int]:
    """Listen on a free port, and give it."""

    async def carry(stream: trio.abc.Stream) -> None:
        if ssl is not None:
            stream = trio.SSLStream(stream, ssl, server_side=True, https_compatible=True)
        session = rules.ServerSession(trio.current_time(), timing)
        async with trio.open_nursery() as handlers:

            def begin(connection: Connection, event: Any) -> None:
                if isinstance(event, Failed):
                    transport.write(connection.send(event))
                elif isinstance(event, UpgradeRequest):
                    transport.write(connection.send(UpgradeAccept(extensions=extensions)))
                    handlers.start_soon(run, transport.adopt(connection))
                    transport.obey(session.limit_requests(trio.current_time(), transport))

            async def run(websocket: WebSocket) -> None:
                await handler(websocket)
                await websocket.close()

            transport = Transport(stream, session, begin)
            transport.obey(session.begin(trio.current_time()))
            await transport.run()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, carry, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
