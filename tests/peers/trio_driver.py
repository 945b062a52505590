"""A driver for trio: a stream, a clock, and who is woken; protocol and rules of time stand below."""

from __future__ import annotations

import ssl as tls
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from mintws import Binary, Connection, Failed, Http1, Http2, Ping, Role, Text
from mintws import session as rules
from mintws._core import MessageQueue, ReadyList
from mintws.errors import ConnectError, UpgradeError
from mintws.events import UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.extensions import Extension
from mintws.session import DriverTransport, DriverWebSocket, Step, Timeouts, TransportSession
from mintws.url import parse

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class WebSocket(DriverWebSocket, MessageQueue):
    """One open WebSocket."""

    def __new__(cls, protocol: Transport, connection: Connection) -> WebSocket:
        return super().__new__(cls, protocol.ready)

    def __init__(self, protocol: Transport, connection: Connection) -> None:
        self.connection = connection
        self.awaited = self.owes_answer = False
        self._protocol = protocol
        self._session = rules.WebSocketSession(protocol.now(), connection, protocol, protocol._session.timeouts)
        connection.owner = rules.Owner(self)
        connection.cork()
        connection._deliver_to(self)

    async def recv(self) -> str | bytes:
        """Give the next message, or raise `ConnectionClosed`."""
        await trio.lowlevel.checkpoint()
        paused = self.paused
        while (event := self._pop()) is None:
            if paused and not self.paused:
                self._resume()
                paused = self.paused
                continue
            if self._session.last is not None or self._protocol.left(self):
                self._answer()
                raise self.ending.exception()
            try:
                self.awaited = True
                await self._protocol.changed.park()
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
        self._encode(message if made is None else made(message))
        while not self._gone() and (self._protocol.full or self._is_held_back()):
            await self._protocol.changed.park()

    async def ping(self) -> float:
        """Send a Ping, and give the seconds until its Pong has come."""
        answer: list[float] = []
        self._send_ping(answer)
        while not answer:
            if self._protocol.left(self):
                raise self.ending.exception()
            await self._protocol.changed.park()
        return answer[0]

    def _send_ping(self, answer: list[float] | None = None) -> None:
        payload = self._session.pings.choose()
        self._encode(Ping(payload))
        self._session.pings.add(time.perf_counter(), [] if answer is None else answer, payload)

    def _pong(self, data: bytes) -> None:
        for answer, latency in self._session.pings.answer(time.perf_counter(), data):
            answer.append(latency)

    def _encode(self, event: Text | Binary | Ping) -> None:
        if self._gone():
            raise self.ending.exception()
        self.connection.send(event)
        self._flush()

    def _flush(self) -> None:
        self._protocol.write(self.connection.flush())

    async def _over(self) -> None:
        while not self._session.is_over:
            await self._protocol.changed.park()


class Transport(DriverTransport):
    """One stream with what it carries, and the tasks that read, write and keep the time.

    Args:
        begun: called with connections that open, and the events of their opening handshakes.
    """

    def __init__(self, stream: Any, session: TransportSession, begun: Callable[[Connection, Any], None]) -> None:
        self.ready = ReadyList()
        self.changed = trio.lowlevel.ParkingLot()
        self.websockets = set()
        self.half_closes = isinstance(stream, trio.abc.HalfCloseableStream)
        self.multiplexed = self.closing = self.lost = False
        self.heard = self.written = self.unsent = 0
        self.receive_handshake = begun
        self._session = session
        self._stream = stream
        self._output = bytearray()
        self._peer_ended = False
        #: How the transport ends, once it does.
        self._last: Step | None = None

    async def run(self) -> None:
        """Carry bytes both ways until the transport is gone."""
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                nursery.start_soon(self._keep_time)
                async with trio.open_nursery() as both:
                    both.start_soon(self._write)
                    await self._read()
                self.cut()
        finally:
            self.lost = self.closing = True
            self.lose()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)

    def adopt(self, connection: Connection) -> WebSocket:
        """Make the WebSocket of a connection that has opened, and handle what was held until then."""
        websocket = WebSocket(self, connection)
        self.add(websocket)
        self.proceed()
        return websocket

    def receive_ordinary(self, event: Any) -> None:
        request = self.http.collect(event)
        if request is not None:
            self.write(self.http.respond(request, rules.default_response(request, multiplexed=self.multiplexed)))

    def go_on(self, events: Sequence[tuple[Connection | None, Any]], reply: bytes) -> None:
        self.write(reply)
        self._session.receive_chunk(self.now(), crowded=False, replied=len(reply) if self.full else 0)
        self.handle(events)
        for websocket in self.ready.drain():
            if websocket.paused:
                websocket._pause()
        self.close_if_done()
        self.wake()
        if isinstance(self.http, Http2) and self.http._data_receiver.behind:
            self.go_on(*self.http._catch_up())

    def now(self) -> float:
        return trio.current_time()

    def write(self, data: bytes) -> None:
        if data and not self.closing:
            self._output += data
            self.written += len(data)
            self.unsent += len(data)
            self.wake()

    def wake(self) -> None:
        self.changed.unpark_all()

    arm = wake

    def cut(self) -> None:
        self._scope.cancel()

    def take_step(self, step: Step) -> None:
        if step is Step.CUT:
            self.cut()
        else:
            self.closing, self._last = True, step

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
                self._session.receive_eof(self)
            if not self.speaks and (start := preface.receive(data)) is not None:
                self.speak((Http2 if preface.http2 else Http1)(Role.SERVER))
                data = start
            if self.speaks:
                self.go_on(*self.http.receive(data))

    async def _write(self) -> None:
        told = not self.half_closes
        try:
            while self._output or not (self._last is Step.CLOSE or (self.closing and self._peer_ended)):
                if self._output:
                    data, self._output = self._output, bytearray()
                    await self._stream.send_all(data)
                    self.unsent -= len(data)
                    self._session.taken()
                    self.wake()
                elif self._last is Step.LINGER and not told:
                    told = True
                    await self._stream.send_eof()
                else:
                    await self.changed.park()
            await self._stream.aclose()
        except GONE:
            self.cut()

    async def _keep_time(self) -> None:
        while True:
            self.expire()
            deadline = self._session.deadline
            with trio.move_on_at(float("inf") if deadline is None else deadline):
                await self.changed.park()


@asynccontextmanager
async def connect(
    url: str, http: str, host: str, ssl: tls.SSLContext | None, extensions: Sequence[Extension], timeouts: Timeouts
) -> AsyncIterator[WebSocket]:
    """Open a WebSocket, over HTTP of version "1.1" or "2"."""
    place = parse(url)
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, place.port)
    if ssl is not None:
        ssl.set_alpn_protocols([{"1.1": "http/1.1", "2": "h2"}[http]])
        stream = trio.SSLStream(stream, ssl, server_hostname=place.server_name, https_compatible=True)
    answers: list[Any] = []
    session = rules.ClientSession(trio.current_time(), timeouts)
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
            transport.leave()


@asynccontextmanager
async def serve(
    handler: Callable[[WebSocket], Awaitable[None]],
    ssl: tls.SSLContext | None,
    extensions: Sequence[Extension],
    timeouts: Timeouts,
) -> AsyncIterator[int]:
    """Listen on a free port, and give it."""

    async def carry(stream: trio.abc.Stream) -> None:
        if ssl is not None:
            stream = trio.SSLStream(stream, ssl, server_side=True, https_compatible=True)
        session = rules.ServerSession(trio.current_time(), timeouts)
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
