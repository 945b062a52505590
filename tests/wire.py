"""Frames made by hand, and pairs of ends joined without sockets."""

from __future__ import annotations

import base64
import hashlib
import time
import zlib
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings

from mintws import Close, Failed, Http1, Http2, PerMessageDeflate, Role, State, Text, UpgradeAccept, UpgradeRequest

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10
#: Masks nothing, so that a client's frames can be read in the tests.
ZERO_KEY = bytes(4)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\nSec-WebSocket-Version: 13\r\n"
)
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n"
)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    key: bytes | None = None,
    width: int | None = None,
) -> bytes:
    """Make a frame of RFC 6455; `width` is how many bytes the length takes: 0, 2, 8."""
    size = len(payload)
    if width is None:
        width = 0 if size < 126 else 2 if size < 65536 else 8
    first = bytes([(0x80 if fin else 0) | rsv | opcode])
    masked = 0x80 if key is not None else 0
    length = {0: bytes([masked | (size & 127)]), 2: bytes([masked | 126]), 8: bytes([masked | 127])}[width]
    length += size.to_bytes(width, "big") if width else b""
    if key is None:
        return first + length + payload
    return first + length + key + masked_with(key, payload)


def masked_with(key: bytes, payload: bytes) -> bytes:
    """XOR with the masking-key, as §5.3 says it."""
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def masked(opcode: int, payload: bytes = b"", **how: Any) -> bytes:
    """Make a client's frame with a key that masks nothing."""
    return frame(opcode, payload, key=ZERO_KEY, **how)


def frames_of(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Cut bytes into frames: FIN, RSV bits, opcode, unmasked payload."""
    cut = []
    while data:
        first, second = data[0], data[1]
        size, at = second & 127, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
        key = ZERO_KEY
        if second & 0x80:
            key, at = data[at : at + 4], at + 4
        assert len(data) >= at + size, "a frame is cut short"
        cut.append((first >> 7, first & 0x70, first & 0xF, masked_with(key, data[at : at + size])))
        data = data[at + size :]
    return cut


def close_payload(code: int, reason: str | bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + (reason.encode() if isinstance(reason, str) else reason)


def deflated(data: bytes, bits: int = 15, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Compress a message by itself, as RFC 7692 §7.2.1 says."""
    maker = zlib.compressobj(wbits=-bits)
    made = maker.compress(data) + maker.flush(flush)
    return made.removesuffix(b"\x00\x00\xff\xff")


def accept_of(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


def header_of(head: bytes, name: str) -> str | None:
    """Find a header in a head of HTTP/1.1."""
    for line in head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")[1:]:
        found, _, value = line.partition(":")
        if found.lower() == name.lower():
            return value.strip()
    return None


def said(received: tuple[list[tuple[Any, Any]], bytes]) -> list[Any]:
    """Keep only the events of what `receive` gave."""
    return [event for _, event in received[0]]


def fault(events: list[Any]) -> Any:
    """Give the error of the `Failed` that ends `events`."""
    assert events, "nothing was said"
    assert isinstance(events[-1], Failed), repr(events)[:500]
    assert sum(isinstance(event, Failed) for event in events) == 1, repr(events)[:500]
    return events[-1].error


def cost(work: Callable[[], Any]) -> float:
    """Give the seconds of the processor that some work takes, at its quickest of several times."""
    taken = []
    for _ in range(5):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


class End:
    """One open WebSocket over HTTP/1.1, whose peer is the test itself."""

    def __init__(self, role: Role, extensions: str = "", willing: Any = None, **options: Any) -> None:
        """Open it; `extensions` is what the peer's header says, `willing` what this end offers or accepts."""
        self.http = Http1(role, **options)
        header = f"Sec-WebSocket-Extensions: {extensions}\r\n".encode() if extensions else b""
        if willing is None:
            willing = [PerMessageDeflate()] if extensions else []
        if role is Role.SERVER:
            ((self.conn, _),), _ = self.http.receive(REQUEST + header + b"\r\n")
            self.head = self.conn.send(UpgradeAccept(extensions=willing))
        else:
            self.conn = self.http.open()
            self.head = self.conn.send(UpgradeRequest("example.com", "/chat", extensions=willing))
            answer = ANSWER.replace(
                ACCEPT.encode(), accept_of(header_of(self.head, "Sec-WebSocket-Key") or "").encode()
            )
            self.http.receive(answer + header + b"\r\n")
        assert self.conn.state is State.OPEN
        self.reply = b""

    def receive(self, *chunks: bytes) -> list[Any]:
        """Give chunks to the end and return all events; what it replies is gathered in `reply`."""
        self.reply = b""
        events = []
        for chunk in chunks:
            more, reply = self.http.receive(chunk)
            events += [event for _, event in more]
            self.reply += reply
        return events

    def fails(self, *chunks: bytes) -> int:
        """Give bytes that break a rule; return the code and check that the Close says it."""
        events = self.receive(*chunks)
        error = fault(events)
        answer = self.conn.send(events[-1])
        assert frames_of(answer)[-1][2:] == (CLOSE, close_payload(error.code, error.args[0]))
        assert self.conn.state is State.CLOSED
        assert self.http.done
        assert self.receive(b"\x00" * 10) == []
        return error.code


def server(extensions: str = "", willing: Any = None, **options: Any) -> End:
    return End(Role.SERVER, extensions, willing, **options)


def client(extensions: str = "", willing: Any = None, **options: Any) -> End:
    return End(Role.CLIENT, extensions, willing, **options)


class Wire:
    """A client and a server, joined without sockets: what one replies, the other receives at once."""

    def __init__(self, cls: type[Http1 | Http2], *, client: Any = None, server: Any = None, **options: Any) -> None:
        self.client = cls(Role.CLIENT, **options, **(client or {}))
        self.server = cls(Role.SERVER, **options, **(server or {}))
        #: What each end has said since bytes were last given to one of them.
        self.client_said: list[tuple[Any, Any]] = []
        self.server_said: list[tuple[Any, Any]] = []
        self._run(self.client.start(), self.server.start())

    def to_server(self, data: bytes) -> list[Any]:
        """Carry bytes and all that follows from them; return what the server says of WebSockets."""
        self._forget()
        self._run(data, b"")
        return [event for conn, event in self.server_said if conn is not None]

    def to_client(self, data: bytes) -> list[Any]:
        """Carry bytes and all that follows from them; return what the client says of WebSockets."""
        self._forget()
        self._run(b"", data)
        return [event for conn, event in self.client_said if conn is not None]

    def _forget(self) -> None:
        self.client_said, self.server_said = [], []

    def _run(self, to_server: bytes, to_client: bytes) -> None:
        for _ in range(100_000):
            if not to_server and not to_client:
                return
            going, to_server = to_server, b""
            if going:
                events, reply = self.server.receive(going)
                self.server_said += events
                to_client += reply
            going, to_client = to_client, b""
            if going:
                events, reply = self.client.receive(going)
                self.client_said += events
                to_server += reply
        raise AssertionError("the two ends never stop answering each other")


class Pair:
    """A `Wire` and one WebSocket over it, open on both ends."""

    def __init__(self, wire: Wire, request: UpgradeRequest | None = None, accept: UpgradeAccept | None = None) -> None:
        self.wire = wire
        self.client = wire.client.open()
        ask = self.client.send(request or UpgradeRequest("example.com", "/chat"))
        wire.to_server(ask)
        self.server, self.request = wire.server_said[-1]
        answers = wire.to_client(self.server.send(accept or UpgradeAccept()))
        self.accept = answers[0]
        assert (self.client.state, self.server.state) == (State.OPEN, State.OPEN)

    def to_server(self, *events: Any, **how: Any) -> list[Any]:
        """Send from the client, return what the server receives."""
        return self.wire.to_server(b"".join(self.client.send(event, **how) for event in events))

    def to_client(self, *events: Any, **how: Any) -> list[Any]:
        """Send from the server, return what the client receives."""
        return self.wire.to_client(b"".join(self.server.send(event, **how) for event in events))


def opened(
    cls: type[Http1 | Http2], offer: Any = (), accept: Any = (), client: Any = None, server: Any = None, **options: Any
) -> Pair:
    """Join two ends and open a WebSocket with these extensions."""
    wire = Wire(cls, client=client, server=server, **options)
    return Pair(wire, UpgradeRequest("example.com", "/chat", extensions=offer), UpgradeAccept(extensions=accept))


CONNECT = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":path", "/chat"),
    (":authority", "example.com"),
    ("sec-websocket-version", "13"),
]
GET = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "example.com")]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, H2_PING, GOAWAY, WINDOW_UPDATE, H2_CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8


def h2_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Make a frame of HTTP/2 (RFC 9113 §4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def h2_frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Cut bytes into frames of HTTP/2: type, flags, stream, payload."""
    cut = []
    while data:
        size = int.from_bytes(data[:3], "big")
        assert len(data) >= 9 + size, "a frame is cut short"
        cut.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]))
        data = data[9 + size :]
    return cut


class H2Peer:
    """An `Http2` of ours with a real `h2` connection as its peer, which checks all that we write."""

    def __init__(
        self, role: Role, settings: dict[int, int] | None = None, *, quiet: bool = False, **options: Any
    ) -> None:
        """Join them: `role` is ours, `settings` the peer's; a `quiet` peer has not sent its SETTINGS yet."""
        self.http = Http2(role, **options)
        config = h2.config.H2Configuration(
            client_side=role is Role.SERVER,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        if role is Role.CLIENT:
            settings = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1, **(settings or {})}
        if settings is not None:
            mine = h2.settings.Settings(
                client=role is Role.SERVER, initial_values={**dict(self.h2.local_settings), **settings}
            )
            self.h2.local_settings = mine
        #: What the peer was told, and the bytes in which it was.
        self.heard: list[Any] = []
        self.wrote = b""
        self.h2.initiate_connection()
        self.start = self.http.start()
        self.hear(self.start)
        if not quiet:
            self.deliver()

    def hear(self, data: bytes) -> list[Any]:
        """Give the peer what we wrote."""
        self.wrote += data
        events = self.h2.receive_data(data)
        self.heard += events
        return events

    def deliver(self, more: bytes = b"") -> list[Any]:
        """Give us what the peer has to send, and `more`; return our pairs. What we reply, the peer hears."""
        events = []
        while going := self.h2.data_to_send() + more:
            more = b""
            others, reply = self.http.receive(going)
            events += others
            self.hear(reply)
        return events

    def ask(self, headers: Any = CONNECT, *, end: bool = False) -> int:
        """As a client, open a stream; it is sent with the next `deliver`."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, list(headers), end_stream=end)
        return stream

    def open(self, *headers: tuple[str, str], accept: UpgradeAccept | None = None) -> tuple[int, Any]:
        """As a client, open a WebSocket; return the stream and our connection."""
        stream = self.ask([*CONNECT, *headers])
        ((conn, _),) = self.deliver()
        self.hear(conn.send(accept or UpgradeAccept()))
        assert conn.state is State.OPEN
        return stream, conn

    def answer(self, *headers: tuple[str, str], request: UpgradeRequest | None = None) -> tuple[int, Any]:
        """As a server, accept a WebSocket that we open; return the stream and our connection."""
        conn = self.http.open()
        self.hear(conn.send(request or UpgradeRequest("example.com", "/chat")))
        stream = self.heard[-1].stream_id
        self.h2.send_headers(stream, [(":status", "200"), *headers])
        self.deliver()
        assert conn.state is State.OPEN
        return stream, conn

    def send(self, stream: int, data: bytes, **how: Any) -> list[Any]:
        """Send DATA; return our pairs."""
        self.h2.send_data(stream, data, **how)
        return self.deliver()

    def of(self, kind: type, stream: int | None = None) -> list[Any]:
        """What the peer has heard of one type, on one stream."""
        return [it for it in self.heard if isinstance(it, kind) and stream in (None, getattr(it, "stream_id", None))]

    def data(self, stream: int) -> bytes:
        """All DATA that the peer has heard on a stream."""
        return b"".join(it.data for it in self.of(h2.events.DataReceived, stream))


def closing(pair: Pair) -> None:
    """Run the closing handshake, begun by the client."""
    (close,) = pair.to_server(Close(1000))
    pair.to_client(close)
    assert (pair.client.state, pair.server.state) == (State.CLOSED, State.CLOSED)


def echo(pair: Pair, text: str = "still here") -> None:
    """Check that messages pass both ways."""
    assert pair.to_server(Text(text)) == [Text(text)]
    assert pair.to_client(Text(text)) == [Text(text)]
