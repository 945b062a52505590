"""Carry WebSockets between HTTP/1.1 and HTTP/2, so that a suite that speaks HTTP/1.1 alone can test both.

    python conformance/relay.py 1.1 --port 9002 --to 9001     takes Upgrade (RFC 6455 §4), sends extended CONNECT (RFC 8441 §5)
    python conformance/relay.py 2 --port 9002 --to 9001       takes extended CONNECT, sends Upgrade

Frames pass as they are: nothing is answered, joined or checked here, and an end or a reset of one side becomes one of the other. All is
clear text on this machine; HTTP/2 begins by prior knowledge. It stands on `h11` and `h2` alone, not on what is tested.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import signal
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import h11
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

HOST = "127.0.0.1"
#: Headers that belong to one version's handshake (RFC 6455 §4.1, RFC 8441 §5.1), so they are made anew on the other side.
OWN = ("host", "connection", "upgrade", "sec-websocket-key", "sec-websocket-accept", "content-length")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: A key of 16 bytes; no secret (RFC 6455 §4.1).
KEY = base64.b64encode(bytes(16)).decode()
#: From so many bytes that wait to be written on, no more are read on the other side.
HIGH = 1 << 20
#: What may come on a stream before more credit is given: less than the suite's large messages, more than all others.
WINDOW = 256 * 1024
MAX_FRAME_SIZE = 64 * 1024

Headers = list[tuple[str, str]]


class Transport(asyncio.Protocol):
    """A WebSocket over HTTP/1.1: after the handshake its bytes are the transport's."""

    def __init__(self, greet: Callable[[Transport], None] | None = None) -> None:
        #: Of a server: what to do with a request.
        self._greet = greet
        self._h11 = h11.Connection(h11.SERVER if greet else h11.CLIENT)
        self.other: Stream | None = None
        self.transport: asyncio.Transport
        self.headers: Headers = []
        self._switched = False
        #: Nothing more comes; nothing more is sent.
        self._ended = self._ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(HIGH)

    def data_received(self, data: bytes) -> None:
        if self._switched:
            assert self.other
            self.other.write(data)
            return
        self._h11.receive_data(data)
        match self._h11.next_event():
            case h11.Request(headers=headers, target=target) if self._greet:
                self.headers = [(":path", target.decode()), *_text(headers)]
                self._greet(self)
            case h11.InformationalResponse(status_code=101, headers=headers):
                assert self.other
                self.other.answer(200, _kept(_text(headers)))
                self._switch()
            case h11.Response(status_code=status):
                assert self.other
                self.other.answer(status, [])

    def eof_received(self) -> bool:
        self._ended = True
        if self.other:
            self.other.end()
        # The other direction goes on unless it has ended too.
        return not self._ending

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other and (exc or not self._ended):
            self.other.reset()

    def pause_writing(self) -> None:
        if self.other:
            self.other.hold(True)

    def resume_writing(self) -> None:
        if self.other:
            self.other.hold(False)

    def ask(self, host: str, path: str, headers: Headers) -> None:
        """Send a client's handshake."""
        own = [("Host", host), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", KEY)]
        request = h11.Request(method="GET", target=path, headers=own + headers)
        self.transport.write((self._h11.send(request) or b"") + (self._h11.send(h11.EndOfMessage()) or b""))

    def answer(self, status: int, headers: Headers) -> None:
        """Send a server's."""
        if 200 <= status < 300:
            key = dict(self.headers)["sec-websocket-key"].encode()
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
            own = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
            # The request has no body; h11 says so before it lets go of the transport.
            self._h11.next_event()
            response = h11.InformationalResponse(status_code=101, headers=own + headers)
            self.transport.write(self._h11.send(response) or b"")
            self._switch()
        else:
            own = [("Content-Length", "0"), ("Connection", "close")]
            refusal = h11.Response(status_code=status, headers=own)
            self.transport.write((self._h11.send(refusal) or b"") + (self._h11.send(h11.EndOfMessage()) or b""))
            self.transport.close()

    def write(self, data: bytes) -> None:
        """Pass bytes on."""
        self.transport.write(data)

    def end(self) -> None:
        """Pass on that nothing more follows."""
        self._ending = True
        if self._ended:
            self.transport.close()
        elif not self.transport.is_closing():
            # The peer may have broken off, which connection_lost will say.
            with suppress(OSError):
                self.transport.write_eof()

    def reset(self) -> None:
        """Pass on that the other side broke off."""
        if not self.transport.is_closing():
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()

    def hold(self, held: bool) -> None:
        """Read no more, or go on."""
        if not self.transport.is_closing():
            (self.transport.pause_reading if held else self.transport.resume_reading)()

    def _switch(self) -> None:
        self._switched = True
        data, _ = self._h11.trailing_data
        if data and self.other:
            self.other.write(data)


class Stream:
    """A WebSocket over HTTP/2: its bytes are the DATA of a stream."""

    def __init__(self, side: Side, number: int, other: Transport | None = None) -> None:
        self.number = number
        self.other = other
        self._side = side
        self._pending = bytearray()
        #: Nothing more is to be sent; that was said; the peer said so.
        self._ending = self._closed = self._ended = False
        self._held = False
        #: DATA received for which no credit was given back yet.
        self._owed = 0

    def answer(self, status: int, headers: Headers) -> None:
        """Send a server's handshake."""
        lower = [(name.lower(), value) for name, value in headers]
        self._closed = status >= 300
        self._side.h2.send_headers(self.number, [(":status", str(status)), *lower], end_stream=self._closed)
        self._leave()

    def write(self, data: bytes) -> None:
        """Pass bytes on, as the windows let them."""
        self._pending += data
        self.pump()
        if len(self._pending) > HIGH and self.other:
            self.other.hold(True)

    def end(self) -> None:
        """Pass on that nothing more follows."""
        self._ending = True
        self.pump()

    def reset(self) -> None:
        """Pass on that the other side broke off (RFC 8441 §5)."""
        if self._side.streams.pop(self.number, None):
            # Behind a GOAWAY of the peer h2 sends nothing more.
            with suppress(h2.exceptions.ProtocolError):
                self._side.h2.reset_stream(self.number, ErrorCodes.CANCEL)
        self.hold(False)

    def pump(self) -> None:
        """Write what the windows let pass."""
        if self._closed or self.number not in self._side.streams:
            return
        connection = self._side.h2
        while self._pending:
            size = min(connection.local_flow_control_window(self.number), connection.max_outbound_frame_size)
            if size <= 0:
                break
            connection.send_data(self.number, bytes(self._pending[:size]))
            del self._pending[:size]
        if self._ending and not self._pending:
            self._closed = True
            connection.end_stream(self.number)
        if not self._pending and self.other:
            self.other.hold(False)
        self._leave()

    def receive(self, event: h2.events.DataReceived) -> None:
        """Take DATA."""
        assert self.other
        self._owed += event.flow_controlled_length
        self.other.write(event.data)
        self.hold(self._held)

    def receive_end(self) -> None:
        """Take the end of the stream."""
        assert self.other
        self._ended = True
        self.other.end()
        self._leave()

    def hold(self, held: bool) -> None:
        """Give no credit for what was passed on, or go on."""
        self._held = held
        if self._owed and not held:
            self._side.h2.acknowledge_received_data(self._owed, self.number)
            self._owed = 0
        self._side.flush()

    def _leave(self) -> None:
        """Forget the stream if it has ended both ways."""
        if self._closed and self._ended:
            self._side.streams.pop(self.number, None)
        self._side.flush()


class Side(asyncio.Protocol):
    """One HTTP/2 connection and the streams on it."""

    def __init__(self, take: Callable[[Stream, Headers], None] | None = None) -> None:
        client = take is None
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding="latin-1"))
        settings = {SettingCodes.INITIAL_WINDOW_SIZE: WINDOW, SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_SIZE}
        if not client:
            settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self.h2.local_settings = h2.settings.Settings(client=client, initial_values=settings)
        self.h2.max_inbound_frame_size = MAX_FRAME_SIZE
        self.streams: dict[int, Stream] = {}
        self.transport: asyncio.Transport
        #: Of a server: what to do with a request.
        self._take = take
        #: Of a client: whether the server's SETTINGS enable extended CONNECT (RFC 8441 §3).
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(16 * WINDOW)
        self.flush()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self.h2.receive_data(data):
                self._receive(event)
        except h2.exceptions.ProtocolError as error:
            print("the HTTP/2 peer broke a rule:", error, flush=True)
            self.flush()
            self.transport.close()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        for stream in list(self.streams.values()):
            if stream.other:
                stream.other.reset()
        self.streams.clear()

    def open(self, path: str, authority: str, headers: Headers, other: Transport) -> None:
        """Send a client's handshake."""
        pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path)]
        stream = Stream(self, self.h2.get_next_available_stream_id(), other)
        other.other = self.streams[stream.number] = stream
        self.h2.send_headers(stream.number, [*pseudo, (":authority", authority), *headers])
        self.flush()

    def flush(self) -> None:
        """Write what h2 has made."""
        if data := self.h2.data_to_send():
            self.transport.write(data)

    def _receive(self, event: h2.events.Event) -> None:
        number = getattr(event, "stream_id", None)
        match event:
            case h2.events.RemoteSettingsChanged() if self._take is None and not self.ready.done():
                if self.h2.remote_settings.enable_connect_protocol:
                    self.ready.set_result(None)
                else:
                    self.ready.set_exception(ConnectionError("the server does not enable extended CONNECT"))
            case h2.events.RequestReceived(stream_id=number, headers=headers) if self._take:
                self.streams[number] = Stream(self, number)
                self._take(self.streams[number], [(str(name), str(value)) for name, value in headers])
            case h2.events.WindowUpdated(stream_id=0) | h2.events.RemoteSettingsChanged():
                for stream in list(self.streams.values()):
                    stream.pump()
            case _ if number in self.streams:
                self._receive_on(self.streams[number], event)

    def _receive_on(self, stream: Stream, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived(headers=headers):
                assert stream.other
                fields = [(str(name), str(value)) for name, value in headers]
                stream.other.answer(int(dict(fields)[":status"]), _kept(fields))
            case h2.events.DataReceived():
                stream.receive(event)
            case h2.events.WindowUpdated():
                stream.pump()
            case h2.events.StreamEnded():
                stream.receive_end()
            case h2.events.StreamReset():
                del self.streams[stream.number]
                if stream.other:
                    stream.other.reset()


class Outgoing:
    """What comes as Upgrade goes out as extended CONNECT: on one connection, or on one for each."""

    def __init__(self, target: int, *, each: bool) -> None:
        self._target = target
        self._each = each
        self._side: Side | None = None
        self._connecting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def greet(self, incoming: Transport) -> None:
        """Begin to relay a request that came."""
        task = asyncio.create_task(self._open(incoming))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, incoming: Transport) -> None:
        async with self._connecting:
            if self._side is None or self._each or self._side.transport.is_closing():
                loop = asyncio.get_running_loop()
                _, self._side = await loop.create_connection(Side, HOST, self._target)
                await self._side.ready
        fields = dict(incoming.headers)
        self._side.open(fields[":path"], fields["host"], _kept(incoming.headers), incoming)


class Incoming:
    """What comes as extended CONNECT goes out as Upgrade."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, stream: Stream, headers: Headers) -> None:
        """Begin to relay a request that came."""
        task = asyncio.create_task(self._open(stream, headers))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, stream: Stream, headers: Headers) -> None:
        host, path = f"{HOST}:{self._target}", dict(headers)[":path"]
        loop = asyncio.get_running_loop()
        _, outgoing = await loop.create_connection(Transport, HOST, self._target)
        stream.other, outgoing.other = outgoing, stream
        outgoing.ask(host, path, _kept(headers))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("incoming", choices=["1.1", "2"], help="what is taken; the other is sent")
    parser.add_argument("--to", type=int, required=True, help="the port to connect to")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on")
    parser.add_argument("--fd", type=int, help="or an inherited socket that listens")
    parser.add_argument("--each", action="store_true", help="an HTTP/2 connection for each WebSocket, not one for all")
    parser.add_argument("--limit", type=int, default=0, help="end after so many seconds, whatever happens")
    options = parser.parse_args()
    signal.alarm(options.limit)
    listener = socket.socket(fileno=options.fd) if options.fd else socket.create_server((HOST, options.port))
    loop = asyncio.get_running_loop()
    if options.incoming == "1.1":
        outgoing = Outgoing(options.to, each=options.each)
        server = await loop.create_server(lambda: Transport(outgoing.greet), sock=listener)
    else:
        incoming = Incoming(options.to)
        server = await loop.create_server(lambda: Side(incoming.take), sock=listener)
    await server.serve_forever()


def _text(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _kept(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name not in OWN and not name.startswith(":")]


if __name__ == "__main__":
    asyncio.run(main())
