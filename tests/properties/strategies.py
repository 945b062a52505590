"""What the property tests draw: messages, frames, cuts, mutations; and a caller that answers what it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, ZERO_KEY, close_payload, deflated, frame, h2_frame
from wire import REQUEST as HANDSHAKE

from mintws import (
    Binary,
    Close,
    Connection,
    Failed,
    Http1,
    Http2,
    PerMessageDeflate,
    Ping,
    Pong,
    Text,
    UpgradeAccept,
    UpgradeRequest,
)
from mintws.events import Response

payloads = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=300),
    st.builds(lambda byte, size: bytes([byte]) * size, st.integers(0, 255), st.integers(0, 3000)),
)
texts = st.one_of(st.text(max_size=40), st.text("aé€😀", max_size=300))
keys = st.one_of(st.just(ZERO_KEY), st.binary(min_size=4, max_size=4))

deflates = st.builds(
    PerMessageDeflate,
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    server_max_window_bits=st.one_of(st.none(), st.integers(8, 15)),
    client_max_window_bits=st.one_of(st.just(True), st.none(), st.integers(8, 15)),
    level=st.integers(0, 9),
    memory_level=st.integers(1, 9),
    threshold=st.sampled_from([0, 10, 100]),
)


@st.composite
def frames(draw: st.DrawFn, *, masked: bool = True, deflate: bool = False) -> bytes:
    """The frames of one message or control frame, almost always right."""
    key = draw(keys) if masked else None
    kind = draw(st.sampled_from(["whole", "whole", "fragments", "fragments", "control", "close", "odd"]))
    if kind == "control":
        return frame(draw(st.sampled_from([PING, PONG])), draw(st.binary(max_size=125)), key=key)
    if kind == "close":
        if draw(st.integers(0, 3)):
            return b""
        return frame(CLOSE, close_payload(draw(st.integers(990, 1020)), draw(st.binary(max_size=10))), key=key)
    if kind == "odd":
        if draw(st.integers(0, 3)):
            return b""
        return frame(
            draw(st.integers(0, 15)),
            draw(st.binary(max_size=10)),
            fin=draw(st.booleans()),
            rsv=draw(st.sampled_from([0, 0x10, 0x20, 0x40])),
            key=key,
        )
    text = draw(st.booleans())
    opcode = TEXT if text else BINARY
    data = draw(texts).encode() if text else draw(payloads)
    rsv = 0
    if deflate and draw(st.booleans()):
        data, rsv = deflated(data) or b"\x00", 0x40
    if kind == "whole":
        return frame(opcode, data, rsv=rsv, key=key)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    edges = [0, *cuts, len(data)]
    made = b""
    for i in range(len(edges) - 1):
        last = i == len(edges) - 2
        made += frame(
            CONTINUATION if i else opcode, data[edges[i] : edges[i + 1]], fin=last, rsv=0 if i else rsv, key=key
        )
        if not last and draw(st.booleans()):
            made += frame(PING, b"within", key=key)
    return made


def streams(**how: Any) -> st.SearchStrategy[bytes]:
    """Frames behind one another."""
    return st.lists(frames(**how), max_size=6).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with some of them changed, left out or put in."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        place = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["flip", "set", "delete", "insert"])):
            case "flip":
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "set":
                data[place] = draw(st.sampled_from([0, 1, 0x7E, 0x7F, 0x80, 0xFE, 0xFF, 10, 13]))
            case "delete":
                del data[place : place + draw(st.integers(1, 5))]
            case "insert":
                data[place:place] = draw(st.binary(max_size=5))
    return bytes(data)


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in several chunks, none of them empty."""
    if draw(st.booleans()) and len(data) < 400:
        return [data[i : i + 1] for i in range(len(data))]
    edges = sorted({0, len(data), *draw(st.lists(st.integers(0, len(data)), max_size=8))})
    return [data[a:b] for a, b in pairwise(edges)]


#: Requests over HTTP/1.1, right and wrong, and what may be between them; not those for a WebSocket.
REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\n\r\n\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\n\n\r\n0\r\nX: y\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    b"\r\n",
    b"\n",
    b"\0",
]
#: The same for a WebSocket.
HANDSHAKES = [
    HANDSHAKE + b"\r\n",
    HANDSHAKE + b"Expect: 100-continue\r\n\r\n",
    HANDSHAKE + b"Content-Length: 2\r\n\r\nab",
    HANDSHAKE.replace(b"1.1", b"1.0") + b"\r\n",
    HANDSHAKE.replace(b"GET", b"HEAD") + b"\r\n",
    HANDSHAKE.replace(b"GET", b"CONNECT") + b"\r\n",
    HANDSHAKE.replace(b"Upgrade\r\n", b"Upgrade, close\r\n") + b"\r\n",
]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Some requests behind one another, and at their end perhaps a WebSocket."""
    before = draw(st.lists(st.sampled_from(REQUESTS), max_size=4))
    return b"".join([*before, *draw(st.sampled_from([[], *([it] for it in HANDSHAKES)])), draw(streams())])


h2_frames_at_random = st.builds(
    h2_frame,
    st.one_of(st.sampled_from(range(10)), st.integers(0, 255)),
    st.one_of(st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x24]), st.integers(0, 255)),
    st.sampled_from([0, 0, 1, 1, 1, 2, 3, 5, 7, (1 << 31) - 1, 1 << 31]),
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [
                bytes(4),
                bytes(5),
                bytes(6),
                bytes(8),
                b"\x00\x04\x00\x00\x00\x00",
                b"\x00\x04\x7f\xff\xff\xff",
                b"\x00\x00\x40\x00",
                b"\x7f\xff\xff\xff",
                b"\x81\x80\x00\x00\x00\x00",
                b"\x82\x87\x84",
                b"\x00\x08\x00\x00\x00\x00",
                b"\x00\x05\x00\x00\x40\x00",
            ]
        ),
    ),
)


class Caller:
    """Drives one end as an application would, which looks at events and at no state.

    It accepts and responds to what is asked, answers Close and Failed, and with `echo` messages and Pings too. It answers at once, or where `prompt` is `False` one thing at a time, by `answer`.
    """

    def __init__(
        self, http: Http1 | Http2, accept: UpgradeAccept | None = None, *, prompt: bool = True, echo: bool = False
    ) -> None:
        self.http = http
        self.accept = accept or UpgradeAccept()
        self.prompt = prompt
        self.answered = (UpgradeRequest, Close, Failed, *((Text, Binary, Ping) if echo else ()))
        self.said: list[Any] = []
        self.wrote = b""
        #: What is not answered yet: an event with its connection, or a request.
        self.owed: deque[tuple[Connection | None, Any]] = deque()

    def receive(self, data: bytes) -> None:
        self._take(self.http.receive(data))

    def answer(self) -> None:
        """Answer what was asked first."""
        conn, event = self.owed.popleft()
        match event:
            case UpgradeRequest():
                self.wrote += conn.send(self.accept)
            case Text() | Binary():
                self.wrote += conn.send(type(event)(event.data))
            case Ping(data):
                self.wrote += conn.send(Pong(data))
            case Close() | Failed():
                self.wrote += conn.send(event)
            case _:
                self.wrote += self.http.respond(event, Response(200, body=b"a page"))
        if conn is None or isinstance(event, UpgradeRequest):
            self._take(self.http.proceed())

    def _take(self, received: tuple[Sequence[tuple[Connection | None, Any]], bytes]) -> None:
        events, reply = received
        self.wrote += reply
        for conn, event in events:
            if conn is None and isinstance(self.http, Http1):
                # A body comes in as many events as there are chunks.
                event = self.http.collect(event)
                if event is None:
                    continue
                self.owed.append((None, event))
            elif conn is not None and isinstance(event, self.answered):
                self.owed.append((conn, event))
            self.said.append(describe(conn, event))
        while self.prompt and self.owed:
            self.answer()


def describe(conn: Connection | None, event: Any) -> Any:
    """An event as something that can be compared."""
    number = getattr(getattr(conn, "carrier", None), "number", None)
    if isinstance(event, Failed):
        # What h11 says of a broken head depends on how much of it is there.
        why = "" if event.error.section == "RFC 9112" else str(event.error)
        return (number, "Failed", event.error.code, event.error.section, why)
    return (number, repr(event))
