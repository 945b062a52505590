"""The sans-IO cores, each behind the same three functions: an open end, bytes to messages, a message to bytes.

`receiver(role)` gives a function from a chunk to finished Python objects: `str` for text, `bytes` for binary. `sender(role)` gives one from
`str` or `bytes` to the bytes for the transport. What a library cannot do without a socket is given a stand-in made of C functions, so that
nothing is measured that is not its own.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import logging
import socket
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

CLIENT, SERVER = "client", "server"
LIMIT = 1 << 30
#: Holds the largest chunk whole; untouched memory costs nothing.
READ_BUFFER = 1 << 26
KEY = base64.b64encode(bytes(16)).decode()
ACCEPT = base64.b64encode(hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
REQUEST = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
)
ANSWER = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n"
)
Receiver = Callable[[bytes], Any]
Sender = Callable[[Any], Any]


class Peer:
    """A library's core.

    Attributes:
        name: how it is called in the tables.
    """

    name: str
    #: The level of permessage-deflate cannot be chosen: this is it; 0 where there is none, `None` where it can.
    level: int | None = None

    def receiver(self, role: str, kind: str) -> Receiver:
        raise NotImplementedError

    def sender(self, role: str, kind: str) -> Sender:
        raise NotImplementedError

    def deflating(self, role: str, level: int) -> tuple[Receiver, Sender]:
        """Both, with permessage-deflate: windows of 12 bits and memory level 5 where they can be chosen."""
        raise NotImplementedError

    def overhead(self, role: str, chunk: bytes) -> Callable[[], Any] | None:
        """What `receiver` does that is not the library's own, to be measured and taken off."""
        return None


class Mintws(Peer):
    name = "mintws"

    def open(self, role: str, *extensions: Any) -> tuple[Any, Any]:
        from mintws import Http1, Role, UpgradeAccept, UpgradeRequest

        server, client = Http1(Role.SERVER, limit=LIMIT), Http1(Role.CLIENT, limit=LIMIT)
        ask = client.open().send(UpgradeRequest("localhost", extensions=extensions))
        connection = server.receive(ask)[0][0][0]
        assert connection is not None
        client.receive(connection.send(UpgradeAccept(extensions=extensions)))
        return (server, connection) if role is SERVER else (client, client._connection)

    def receiver(self, role: str, kind: str) -> Receiver:
        return self.open(role)[0].receive

    def sender(self, role: str, kind: str) -> Sender:
        from mintws import Binary, Text

        send = self.open(role)[1].send
        return (lambda data: send(Binary(data))) if kind == "binary" else (lambda data: send(Text(data)))

    def many(self, role: str, kind: str) -> Sender:
        from mintws import Binary, Text

        send_many, event = self.open(role)[1].send_many, Binary if kind == "binary" else Text
        return lambda messages: send_many(map(event, messages))

    def vectored(self, role: str, kind: str) -> Sender:
        from mintws import Binary, Text

        send, event = self.open(role)[1].send_vectored, Binary if kind == "binary" else Text
        return lambda data: send(event(data))

    def deflating(self, role: str, level: int) -> tuple[Receiver, Sender]:
        from mintws import PerMessageDeflate, Text

        deflate = PerMessageDeflate(
            server_max_window_bits=12, client_max_window_bits=12, level=level, memory_level=5, threshold=0
        )
        http, connection = self.open(role, deflate)
        return http.receive, lambda data: connection.send(Text(data))


class Picows(Peer):
    """Its parser sits in an asyncio protocol, which is handed its bytes by hand; putting them there is taken off."""

    name = "picows"
    level = 0

    def open(self, role: str, kind: str) -> Any:
        from picows import WSListener
        from picows.picows import WSAutoPingStrategy, WSProtocol

        taken: deque[Any] = deque(maxlen=1)
        take = taken.append

        class Text(WSListener):  # type: ignore[misc]
            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                take(frame.get_payload_as_utf8_text())

        class Binary(WSListener):  # type: ignore[misc]
            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                take(frame.get_payload_as_bytes())

        listener = Binary() if kind == "binary" else Text()

        async def make() -> Any:
            arguments = (lambda *_: listener, logging.getLogger("picows"), True, None, False, 20, 20)
            more = (WSAutoPingStrategy.PING_WHEN_IDLE, True, LIMIT, None, READ_BUFFER)
            server = role is SERVER
            protocol = WSProtocol(
                None if server else "localhost", None if server else "/", not server, *arguments, *more
            )
            transport = Transport()
            protocol.connection_made(transport)
            if server:
                self._feed(protocol, (REQUEST + "\r\n").encode())
            else:
                asked = b"".join(map(bytes, transport.written))
                key = asked.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
                accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
                self._feed(protocol, ANSWER.replace(ACCEPT, accept.decode()).encode() + b"\r\n")
            return protocol

        loop = asyncio.new_event_loop()
        protocol = loop.run_until_complete(make())
        assert protocol.transport.response is not None
        return protocol

    @staticmethod
    def _feed(protocol: Any, data: bytes) -> None:
        protocol.get_buffer(-1)[: len(data)] = data
        protocol.buffer_updated(len(data))

    def receiver(self, role: str, kind: str) -> Receiver:
        protocol = self.open(role, kind)
        get, updated = protocol.get_buffer, protocol.buffer_updated

        def receive(chunk: bytes) -> None:
            size = len(chunk)
            get(-1)[:size] = chunk
            updated(size)

        return receive

    def overhead(self, role: str, chunk: bytes) -> Callable[[], Any]:
        get = self.open(role, "binary").get_buffer

        def put() -> None:
            size = len(chunk)
            get(-1)[:size] = chunk

        return put

    def sender(self, role: str, kind: str) -> Sender:
        from picows import WSMsgType

        protocol = self.open(role, kind)
        self._protocols = [*getattr(self, "_protocols", []), protocol]
        send, what = protocol.transport.send, WSMsgType.BINARY if kind == "binary" else WSMsgType.TEXT
        return lambda data: send(what, data)


class Transport:
    """A transport whose buffer is never empty, so that what is sent becomes `bytes` and no system call."""

    def __init__(self) -> None:
        self.written: deque[Any] = deque(maxlen=8)
        self.write = self.writelines = self.written.append
        self.get_write_buffer_size = functools.partial(int, 1)
        self.is_closing = bool
        self.set_write_buffer_limits = functools.partial(dict)
        self.ends = socket.socketpair()
        self.sock = socket.socket()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.sock if name == "socket" else default

    def get_protocol(self) -> None:
        return None


class Aiohttp(Peer):
    name = "aiohttp"
    level = 1

    def _reader(self, kind: str, compress: bool) -> Receiver:
        from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader
        from aiohttp.base_protocol import BaseProtocol

        loop = asyncio.new_event_loop()
        queue = WebSocketDataQueue(BaseProtocol(loop), LIMIT, loop=loop)
        reader = WebSocketReader(queue, LIMIT, compress, decode_text=kind != "binary")
        feed, read = reader.feed_data, queue.read

        waiting = queue._buffer

        def receive(chunk: bytes) -> None:
            feed(chunk)
            while waiting:
                # A coroutine function, which ends without waiting while messages are there.
                try:
                    read().send(None)
                except StopIteration:
                    pass

        return receive

    def receiver(self, role: str, kind: str) -> Receiver:
        return self._reader(kind, False)

    def _writer(self, role: str, compress: int) -> Callable[..., Any]:
        from aiohttp._websocket.writer import WebSocketWriter
        from aiohttp.base_protocol import BaseProtocol

        loop = asyncio.new_event_loop()
        writer = WebSocketWriter(
            BaseProtocol(loop),
            Transport(),  # type: ignore[arg-type]
            use_mask=role is CLIENT,
            compress=compress,
        )
        return writer.send_frame

    def sender(self, role: str, kind: str, compress: int = 0) -> Sender:
        send = self._writer(role, compress)

        def send_text(text: str) -> None:
            try:
                send(text.encode(), 1).send(None)
            except StopIteration:
                pass

        def send_bytes(data: bytes) -> None:
            try:
                send(data, 2).send(None)
            except StopIteration:
                pass

        return send_bytes if kind == "binary" else send_text

    def deflating(self, role: str, level: int) -> tuple[Receiver, Sender]:
        return self._reader("ascii", True), self.sender(role, "ascii", 12)


class Websockets(Peer):
    name = "websockets"

    def open(self, role: str, *extensions: Any) -> Any:
        from websockets.client import ClientProtocol
        from websockets.protocol import State
        from websockets.server import ServerProtocol
        from websockets.uri import parse_uri

        protocol: Any
        if role is SERVER:
            protocol = ServerProtocol(max_size=LIMIT)
            protocol.receive_data((REQUEST + "\r\n").encode())
            protocol.send_response(protocol.accept(protocol.events_received()[0]))
        else:
            protocol = ClientProtocol(parse_uri("ws://localhost/"), max_size=LIMIT)
            protocol.key = KEY
            protocol.send_request(protocol.connect())
            protocol.receive_data((ANSWER + "\r\n").encode())
            protocol.events_received()
        protocol.data_to_send()
        protocol.extensions = list(extensions)
        assert protocol.state is State.OPEN
        return protocol

    def receiver(self, role: str, kind: str, *extensions: Any) -> Receiver:
        protocol = self.open(role, *extensions)
        feed, events = protocol.receive_data, protocol.events_received
        if kind == "binary":
            return lambda chunk: [feed(chunk), [frame.data for frame in events()]]
        return lambda chunk: [feed(chunk), [frame.data.decode() for frame in events()]]

    def sender(self, role: str, kind: str, *extensions: Any) -> Sender:
        protocol = self.open(role, *extensions)
        text, binary, out = protocol.send_text, protocol.send_binary, protocol.data_to_send
        if kind == "binary":
            return lambda data: [binary(data), b"".join(out())]
        return lambda data: [text(data.encode()), b"".join(out())]

    def deflating(self, role: str, level: int) -> tuple[Receiver, Sender]:
        from websockets.extensions.permessage_deflate import PerMessageDeflate

        def deflate() -> Any:
            return PerMessageDeflate(False, False, 12, 12, {"level": level, "memLevel": 5})

        return self.receiver(role, "ascii", deflate()), self.sender(role, "ascii", deflate())


class Wsproto(Peer):
    name = "wsproto"
    level = 6

    def open(self, role: str, *extensions: Any) -> Any:
        from wsproto import ConnectionType, WSConnection
        from wsproto.events import AcceptConnection, Request

        server, client = WSConnection(ConnectionType.SERVER), WSConnection(ConnectionType.CLIENT)
        ours, theirs = [[kind() for kind in extensions] for _ in "12"]
        server.receive_data(client.send(Request(host="localhost", target="/", extensions=ours)))
        list(server.events())
        client.receive_data(server.send(AcceptConnection(extensions=theirs)))
        list(client.events())
        return server if role is SERVER else client

    def receiver(self, role: str, kind: str, connection: Any = None) -> Receiver:
        connection = connection or self.open(role)
        feed, events = connection.receive_data, connection.events

        def receive(chunk: bytes) -> None:
            feed(chunk)
            for event in events():
                event.data  # noqa: B018

        return receive

    def sender(self, role: str, kind: str, connection: Any = None) -> Sender:
        from wsproto.events import BytesMessage, TextMessage

        send = (connection or self.open(role)).send
        if kind == "binary":
            return lambda data: send(BytesMessage(data=data))
        return lambda data: send(TextMessage(data=data))

    def deflating(self, role: str, level: int) -> tuple[Receiver, Sender]:
        from wsproto.extensions import PerMessageDeflate

        connection = self.open(role, PerMessageDeflate)
        return self.receiver(role, "ascii", connection), self.sender(role, "ascii", connection)


class Copy(Peer):
    """A copy of the same bytes: what memory allows."""

    name = "copy"
    level = 0

    def receiver(self, role: str, kind: str) -> Receiver:
        return lambda chunk: memoryview(chunk).tobytes()

    def sender(self, role: str, kind: str) -> Sender:
        if kind == "binary":
            return lambda data: memoryview(data).tobytes()
        return lambda data: data.encode()


PEERS: tuple[Peer, ...] = (Mintws(), Picows(), Aiohttp(), Websockets(), Wsproto(), Copy())


def masked(payload: bytes, key: bytes) -> bytes:
    """XOR with the masking-key, all at once."""
    size = len(payload)
    pad = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ pad).to_bytes(size, "big")


def frame(payload: bytes, kind: str, role: str, *, rsv1: bool = False) -> bytes:
    """Make the frame that a `role` receives."""
    size = len(payload)
    first = (0xC0 if rsv1 else 0x80) | (2 if kind == "binary" else 1)
    bit = 0x80 if role is SERVER else 0
    if size < 126:
        head = bytes([first, bit | size])
    elif size < 65536:
        head = bytes([first, bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, bit | 127]) + size.to_bytes(8, "big")
    if role is CLIENT:
        return head + payload
    key = b"\x37\xfa\x21\x3d"
    return head + key + masked(payload, key)


def deflated(messages: list[bytes], role: str, level: int) -> list[bytes]:
    """Frames of messages that were compressed one behind the other, with a window of 12 bits."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -12, 5)
    frames = []
    for message in messages:
        data = compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)
        frames.append(frame(data[:-4], "ascii", role, rsv1=True))
    return frames
