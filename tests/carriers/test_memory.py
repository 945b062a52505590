"""Nothing of a connection outlives those who hold it; what has ended does not even wait for the collector."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from wire import (
    CLOSE,
    DATA,
    GOAWAY,
    H2_PING,
    REQUEST,
    RST_STREAM,
    WINDOW_UPDATE,
    H2Peer,
    Pair,
    close_payload,
    closing,
    frame,
    h2_frame,
    masked,
    opened,
    server,
)

from mintws import (
    Agreed,
    Connection,
    Extension,
    Failed,
    Http1,
    Http2,
    LocalProtocolError,
    Offer,
    Role,
    State,
    Text,
    Transform,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.events import Response


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class Plain(Transform):
    def send(self, data: bytes, *, text: bool) -> tuple[bytes, int]:
        return data, 0

    def receive(self, data: bytes, rsv: int, *, text: bool) -> bytes:
        return data


class Own(Extension):
    """An extension written in Python, which does nothing."""

    name = "plain"

    def offer(self) -> Any:
        return ()

    def accept(self, offer: Any) -> Agreed:
        return Agreed(Offer(self.name), Plain())

    agree = accept


def talk(pair: Pair) -> None:
    assert pair.to_server(Text("hello")) == [Text("hello")]


def close(pair: Pair) -> None:
    talk(pair)
    closing(pair)


@pytest.mark.parametrize("cls", [Http1, Http2])
@pytest.mark.parametrize("extensions", [(), (Own(),)], ids=["plain", "transforms"])
@pytest.mark.parametrize("live", [talk, close], ids=["left open", "closed"])
def test_a_connection_that_nobody_holds_is_gone(cls: Any, extensions: Any, live: Any) -> None:
    pair = opened(cls, extensions, extensions)
    live(pair)
    alive = [weakref.ref(it) for it in (pair.client, pair.server, pair.wire.client, pair.wire.server)]
    if live is close:
        for http, conn in ((pair.wire.client, pair.client), (pair.wire.server, pair.server)):
            http.receive(b"")
            assert (conn.state, conn.carrier.http_version) == (State.CLOSED, "1.1" if cls is Http1 else "2")
        del http, conn
    del pair
    if live is talk:
        gc.collect()
    assert [ref() for ref in alive] == [None] * 4


def test_a_websocket_does_not_keep_the_body_of_an_earlier_request() -> None:
    http = Http1(Role.SERVER)
    body = b"x" * 1_000_000
    events, _ = http.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    (request,) = filter(None, (http.collect(event) for _, event in events))
    assert request.body == body
    http.respond(request, Response(200))
    ((conn, _),), _ = http.receive(REQUEST + b"\r\n")
    conn.send(UpgradeAccept())
    del events, request
    kept = [it for it in gc.get_referents(http) if isinstance(it, bytes | bytearray | tuple)]
    assert sum(map(sys.getsizeof, kept)) < 1000


def test_a_closed_stream_is_forgotten_by_its_http2_connection() -> None:
    pair = opened(Http2)
    close(pair)
    alive = [weakref.ref(pair.client), weakref.ref(pair.server)]
    wire = pair.wire
    wire._forget()
    del pair
    assert [ref() for ref in alive] == [None] * 2
    assert wire.client.can_open


def shut(peer: H2Peer, stream: int, conn: Connection) -> None:
    """Run the closing handshake, begun by the peer."""
    make = masked if peer.http.can_open is False else frame
    for _, event in peer.send(stream, make(CLOSE, close_payload(1000)), end_stream=True):
        peer.hear(conn.send(event))


def fail(peer: H2Peer, stream: int, conn: Connection) -> None:
    """Have the peer break a rule of RFC 6455, and end its stream."""
    ((_, failed),) = peer.send(stream, b"\x83\x00")
    peer.hear(conn.send(failed))
    peer.h2.end_stream(stream)
    peer.deliver()


#: How a stream, or all streams, come to their end.
ENDS = {
    "both Closes": shut,
    "a fault of the WebSocket": fail,
    "END_STREAM": lambda peer, stream, conn: peer.send(stream, b"", end_stream=True),
    "a reset of the peer": lambda peer, stream, conn: peer.http.receive(h2_frame(RST_STREAM, 0, stream, bytes(4))),
    "abort": lambda peer, stream, conn: conn.abort(),
    "a fault of the stream": lambda peer, stream, conn: peer.http.receive(
        h2_frame(WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff") * 2
    ),
    "more DATA than there is credit for": lambda peer, stream, conn: peer.http.receive(
        h2_frame(DATA, 0, stream, bytes(16384)) * 17
    ),
    "a fault of the connection": lambda peer, stream, conn: peer.http.receive(h2_frame(H2_PING, 0, 0, b"short")),
    "the end of the transport": lambda peer, stream, conn: peer.http.receive(b""),
    "a GOAWAY that has not seen it": lambda peer, stream, conn: peer.http.receive(h2_frame(GOAWAY, 0, 0, bytes(8))),
}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("busy", [False, True], ids=["", "with more to send"])
def test_a_websocket_that_has_ended_is_forgotten_by_its_http2_connection(role: Role, end: Any, busy: bool) -> None:
    # Whoever still holds the connection, holds nothing of it.
    peer = H2Peer(role)
    if role is Role.SERVER and end is ENDS["a GOAWAY that has not seen it"]:
        # That of a client is of streams that a server would open.
        end = ENDS["abort"]
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    if busy:
        peer.hear(conn.send(Text("x" * 100_000)))
    end(peer, stream, conn)
    if busy and conn.buffered:
        # What was sent goes out before the stream is ended.
        for number in (0, stream):
            _, reply = peer.http.receive(h2_frame(WINDOW_UPDATE, 0, number, (1 << 20).to_bytes(4, "big")))
        assert reply
    alive = weakref.ref(conn)
    del conn
    assert alive() is None
    assert not peer.http._streams
    assert peer.http.done or not peer.http.h2.streams
    alive = [weakref.ref(it) for it in (peer.http, peer.http.h2)]
    del peer
    assert [ref() for ref in alive] == [None] * 2


REFUSALS = {
    "a reject": lambda conn: conn.send(UpgradeReject(403)),
    "abort": lambda conn: conn.abort(),
    "nothing": lambda conn: None,
}


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS)
def test_a_handshake_that_was_refused_is_forgotten_by_its_http2_connection(refuse: Any) -> None:
    peer = H2Peer(Role.SERVER)
    stream = peer.ask()
    ((conn, _),) = peer.deliver()
    refuse(conn)
    if refuse is REFUSALS["nothing"]:
        peer.http.receive(h2_frame(DATA, 0, stream, bytes(16384)) * 5)
    alive = weakref.ref(conn)
    del conn
    assert alive() is None


def test_a_handshake_that_waited_in_vain_is_forgotten_by_its_http2_connection() -> None:
    peer = H2Peer(Role.CLIENT, {3: 0})
    alive = []
    for end in (lambda conn: conn.abort(), lambda conn: peer.http.shutdown()):
        conn = peer.http.open()
        conn.send(UpgradeRequest("example.com"))
        alive.append(weakref.ref(conn))
        end(conn)
        del conn
    peer.http.receive(h2_frame(H2_PING, 1, 0, bytes(8)))
    assert [ref() for ref in alive] == [None] * 2


ENDS1 = {
    "both Closes": lambda end: end.conn.send(end.receive(masked(CLOSE, close_payload(1000)))[0]),
    "a fault": lambda end: end.conn.send(end.receive(b"\x83\x00")[0]),
    "the end of the transport": lambda end: end.receive(b""),
    "abort": lambda end: end.conn.abort(),
}


@pytest.mark.parametrize("how", ENDS1.values(), ids=ENDS1)
def test_an_http1_connection_that_has_ended_and_that_nobody_holds_is_gone(how: Any) -> None:
    end = server()
    how(end)
    alive = [weakref.ref(end.conn), weakref.ref(end.http)]
    del end
    assert [ref() for ref in alive] == [None] * 2


def refused_by_the_server() -> Http1:
    http = Http1(Role.CLIENT)
    http.open().send(UpgradeRequest("example.com"))
    ((_, reject),), _ = http.receive(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert type(reject) is UpgradeReject
    return http


def answered_wrongly() -> Http1:
    http = Http1(Role.CLIENT)
    http.open().send(UpgradeRequest("example.com"))
    ((_, failed),), _ = http.receive(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert type(failed) is Failed
    return http


def answered_with_what_is_no_http() -> Http1:
    http = Http1(Role.CLIENT)
    http.open().send(UpgradeRequest("example.com"))
    ((_, failed),), _ = http.receive(b"220 mail.example.com\r\n\r\n")
    assert type(failed) is Failed
    return http


def request_that_cannot_be_sent() -> Http1:
    http = Http1(Role.CLIENT)
    conn = http.open()
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeRequest("example.com", headers=[("Upgrade", "h2c")]))
    conn.abort()
    return http


def refused_by_us() -> Http1:
    http = Http1(Role.SERVER)
    ((conn, _),), _ = http.receive(REQUEST + b"\r\n")
    conn.send(UpgradeReject(403))
    return http


def request_that_is_none() -> Http1:
    http = Http1(Role.SERVER)
    ((_, failed),), _ = http.receive(b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: x\r\n\r\n")
    assert type(failed) is Failed
    return http


def left_without_an_answer() -> Http1:
    http = Http1(Role.SERVER)
    http.receive(REQUEST + b"\r\n")
    http.receive(b"")
    return http


def ordinary_requests_only() -> Http1:
    http = Http1(Role.SERVER)
    events, _ = http.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    (request,) = filter(None, (http.collect(event) for _, event in events))
    http.respond(request, Response(200, body=b"a page"))
    return http


@pytest.mark.parametrize(
    "live",
    [
        refused_by_the_server,
        answered_wrongly,
        answered_with_what_is_no_http,
        request_that_cannot_be_sent,
        refused_by_us,
        request_that_is_none,
        left_without_an_answer,
        ordinary_requests_only,
    ],
)
def test_an_http1_connection_without_a_websocket_that_nobody_holds_is_gone(live: Any) -> None:
    alive = weakref.ref(live())
    assert alive() is None
