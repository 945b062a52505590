"""Fields (RFC 9110 §5): which names and values pass, in what is sent and in what is received, over both versions of HTTP."""

import pickle
from dataclasses import replace

import hpack
import pytest
from wire import (
    ANSWER,
    CONNECT,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    REQUEST,
    RST_STREAM,
    H2Peer,
    Pair,
    Wire,
    fault,
    h2_frame,
    h2_frames,
    header_of,
    said,
)

from mintws import Http1, Http2, LocalProtocolError, Role, State, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.events import MessageReset, Request, Response

CARRIERS = pytest.mark.parametrize("carrier", [Http1, Http2])
#: Each byte above 0x7F, and text in UTF-8: both are opaque.
OPAQUE = [bytes(range(0x80, 0x100)), "Z\u00fcrich".encode(), b"J\xfcrg", b"\xa0\x85", b"a\t\xe9 b"]
OPAQUES = pytest.mark.parametrize("value", OPAQUE)
CONTROLS = [*range(9), *range(10, 32), 0x7F]

VALUES = {
    "UpgradeRequest": lambda headers: UpgradeRequest("example.com", headers=headers),
    "UpgradeAccept": lambda headers: UpgradeAccept(headers=headers),
    "UpgradeReject": lambda headers: UpgradeReject(403, headers=headers),
    "Request": lambda headers: Request("GET", "/", headers),
    "Response": lambda headers: Response(200, headers),
}


def h2_headers(fields, *, stream: int = 1, end: bool = False) -> bytes:
    """Make HEADERS of pairs of str or bytes."""
    block = hpack.Encoder().encode(fields)
    return h2_frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)


@CARRIERS
@OPAQUES
def test_bytes_above_7f_of_a_handshake_come_as_they_were_sent_and_can_be_sent_again(carrier, value):
    text = value.decode("latin-1")
    pair = Pair(
        Wire(carrier),
        UpgradeRequest("example.com", headers={"cookie": text, "x-city": text}),
        UpgradeAccept(headers={"set-cookie": text}),
    )
    assert pair.request.headers == (("cookie", text), ("x-city", text))
    assert [it for it in pair.request.raw_headers if it[0] in (b"cookie", b"x-city")] == [
        (b"cookie", value),
        (b"x-city", value),
    ]
    assert pair.accept.headers == (("set-cookie", text),)
    again = Pair(Wire(carrier), replace(pair.request, target="/again"), pair.accept)
    assert (again.request.headers, again.accept.headers) == (pair.request.headers, pair.accept.headers)


@CARRIERS
@OPAQUES
def test_bytes_above_7f_of_a_refusal_come_as_they_were_sent(carrier, value):
    text = value.decode("latin-1")
    wire = Wire(carrier)
    conn = wire.client.open()
    wire.to_server(conn.send(UpgradeRequest("example.com")))
    theirs, _ = wire.server_said[-1]
    (refusal,) = wire.to_client(theirs.send(UpgradeReject(401, headers={"www-authenticate": text}, body=b"who?")))
    assert (refusal.status, dict(refusal.headers)["www-authenticate"]) == (401, text)


@OPAQUES
def test_bytes_above_7f_go_over_the_wire_as_they_are(value):
    text = value.decode("latin-1")
    headers = [("X", text)]
    assert b"\r\nX: " + value + b"\r\n" in Http1(Role.CLIENT).open().send(UpgradeRequest("a", headers=headers))
    server = Http1(Role.SERVER)
    ((conn, _),), _ = server.receive(REQUEST + b"X: " + value + b"\r\n\r\n")
    assert b"\r\nX: " + value + b"\r\n" in conn.send(UpgradeAccept(headers=headers))
    server = Http1(Role.SERVER)
    events, _ = server.receive(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + value + b"\r\n\r\n")
    (request,) = [made for _, event in events if (made := server.collect(event))]
    assert dict(request.headers)["x"] == text
    assert b"\r\nX: " + value + b"\r\n" in server.respond(request, Response(200, {"X": text}))


@OPAQUES
def test_bytes_above_7f_of_ordinary_messages_over_http2_come_as_they_were_sent(value):
    text = value.decode("latin-1")
    wire = Wire(Http2)
    _, data = wire.client.request(Request("GET", "/", [("host", "a"), ("x", text)]))
    wire.to_server(data)
    (request,) = [made for _, event in wire.server_said if (made := wire.server.collect(event))]
    assert request.headers == (("host", "a"), ("x", text))
    wire.to_client(wire.server.respond(request, Response(200, request.headers[1:])))
    (response,) = [made for _, event in wire.client_said if (made := wire.client.collect(event))]
    assert dict(response.headers)["x"] == text


@pytest.mark.parametrize("name", ["Host", "Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"])
def test_bytes_above_7f_are_nothing_that_a_handshake_asks_for(name):
    lines = [it for it in REQUEST.split(b"\r\n") if not it.lower().startswith(name.lower().encode() + b":")]
    events, reply = Http1(Role.SERVER).receive(b"\r\n".join(lines) + name.encode() + b": \xe9\r\n\r\n")
    error = fault([event for _, event in events])
    assert error.status in (400, 426)
    assert reply.startswith(b"HTTP/1.1 %d " % error.status)


@pytest.mark.parametrize("name", ["sec-websocket-protocol", "sec-websocket-extensions"])
@CARRIERS
def test_bytes_above_7f_are_no_subprotocol_and_no_extension(carrier, name):
    if carrier is Http1:
        events, _ = Http1(Role.SERVER).receive(REQUEST + name.encode() + b": \xe9\r\n\r\n")
    else:
        peer = H2Peer(Role.SERVER)
        events, _ = peer.http.receive(h2_headers([*CONNECT, (name.encode(), b"\xe9")]))
    assert fault([event for _, event in events]).status == 400


def test_key_that_is_none_is_passed_over_over_http2_whatever_its_bytes():
    peer = H2Peer(Role.SERVER)
    ((conn, _),) = peer.deliver(h2_headers([*CONNECT, (b"sec-websocket-key", b"\xff")]))
    assert conn.state is State.REQUESTED


@pytest.mark.parametrize("byte", CONTROLS)
def test_control_character_in_a_handshake_is_refused(byte):
    bad = bytes([byte])
    events, reply = Http1(Role.SERVER).receive(REQUEST + b"X: a" + bad + b"b\r\n\r\n")
    if byte == 10:
        # It ends the line, and what follows is none.
        assert reply.startswith(b"HTTP/1.1 400 ")
    else:
        assert fault([event for _, event in events]).status == 400
    events, _ = H2Peer(Role.SERVER).http.receive(h2_headers([*CONNECT, (b"x", b"a" + bad + b"b")]))
    assert fault([event for _, event in events]).status == 400


@pytest.mark.parametrize("byte", CONTROLS)
def test_control_character_in_an_ordinary_request_is_refused(byte):
    value = b"a" + bytes([byte]) + b"b"
    http = Http1(Role.SERVER)
    events, reply = http.receive(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + value + b"\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert [made for _, event in events if (made := http.collect(event))] == []
    events, reply = H2Peer(Role.SERVER).http.receive(h2_headers([*GET, (b"x", value)], end=True))
    assert (events, [it[0] for it in h2_frames(reply)]) == ([], [RST_STREAM])
    events, reply = H2Peer(Role.SERVER).http.receive(h2_headers([*GET[:-1], (b":authority", value)], end=True))
    assert (events, [it[0] for it in h2_frames(reply)]) == ([], [RST_STREAM])


@pytest.mark.parametrize("byte", CONTROLS)
def test_of_an_ordinary_response_a_header_with_a_control_character_is_left_out(byte):
    peer = H2Peer(Role.CLIENT)
    stream, data = peer.http.request(Request("GET", "/", [("host", "a")]))
    peer.hear(data)
    fields = [(b":status", b"200"), (b"x", b"a" + bytes([byte]) + b"b"), (b"y", b"\xe9")]
    events, _ = peer.http.receive(h2_headers(fields, stream=stream, end=True))
    if byte in b"\0\r\n":
        # With these the response is malformed (RFC 9113 §8.2.1).
        assert [type(event) for _, event in events] == [MessageReset]
    else:
        (response,) = [made for _, event in events if (made := peer.http.collect(event))]
        assert response.headers == (("y", "\xe9"),)


@CARRIERS
def test_header_of_a_refusal_with_a_control_character_is_left_out_and_the_refusal_holds(carrier):
    if carrier is Http1:
        http = Http1(Role.CLIENT)
        http.open().send(UpgradeRequest("example.com"))
        events = said(http.receive(b"HTTP/1.1 403 No\r\nX: a\x1b[31m\r\nY: b\xe9\r\nContent-Length: 0\r\n\r\n"))
    else:
        peer = H2Peer(Role.CLIENT)
        peer.hear(peer.http.open().send(UpgradeRequest("example.com")))
        fields = [(b":status", b"403"), (b"x", b"a\x1b[31m"), (b"y", b"b\xe9"), (b"content-length", b"0")]
        events = [event for _, event in peer.deliver(h2_headers(fields, end=True))]
    assert events == [UpgradeReject(403, headers=[("y", "b\xe9"), ("content-length", "0")])]


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nb: c"),
        ("X", "a\nb"),
        ("X", "a\0"),
        ("X", "\x1b[31m"),
        ("X", "\x7f"),
        ("X", " a"),
        ("X", "a\t"),
        ("X", "\u20ac"),
        ("X", "\u0100"),
        ("X", "\ud800"),
        ("X\ud800", "a"),
        ("X Y", "a"),
        ("X:", "a"),
        ("X\n", "a"),
        ("", "a"),
        ("\u00e4", "a"),
        (":path", "/"),
    ],
)
def test_malformed_header_is_refused_where_it_is_given(kind, name, value):
    with pytest.raises(LocalProtocolError) as raised:
        VALUES[kind]([("A", "b"), (name, value)])
    assert repr(value)[1:-1] not in str(raised.value) or len(value) < 3, "it may be a secret"


@pytest.mark.parametrize("kind", ["UpgradeRequest", "UpgradeAccept"])
@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Version",
        "sec-websocket-protocol",
        "Sec-WebSocket-Extensions",
    ],
)
def test_header_that_the_handshake_writes_is_refused_where_it_is_given(kind, name):
    with pytest.raises(LocalProtocolError, match=name):
        VALUES[kind]({name: "x"})


def test_characters_that_are_no_bytes_are_refused_with_what_to_do():
    with pytest.raises(LocalProtocolError, match=r'value\.encode\(\)\.decode\("latin-1"\)'):
        UpgradeRequest("a", headers={"X-Place": "\u0141\u00f3d\u017a"})
    value = "\u0141\u00f3d\u017a".encode().decode("latin-1")
    pair = Pair(Wire(Http1), UpgradeRequest("a", headers={"X-Place": value}))
    assert dict(pair.request.raw_headers)[b"x-place"].decode() == "\u0141\u00f3d\u017a"


def test_raw_headers_are_all_that_came_in_order():
    head = (
        b"GET / HTTP/1.1\r\nX-First: 1\r\nHOST: example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        b"cookie:  a=\xfc \r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"X-First: 2\r\nSec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: x; y\r\n\r\n"
    )
    (request,) = said(Http1(Role.SERVER).receive(head))
    assert request.raw_headers == (
        (b"x-first", b"1"),
        (b"host", b"example.com"),
        (b"connection", b"keep-alive, Upgrade"),
        (b"upgrade", b"websocket"),
        (b"cookie", b"a=\xfc"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"x-first", b"2"),
        (b"sec-websocket-protocol", b"a, b"),
        (b"sec-websocket-extensions", b"x; y"),
    )


@pytest.mark.parametrize("host", [[], [(b"host", b"EXAMPLE.com")]])
def test_raw_headers_over_http2_have_the_authority_as_host_and_no_pseudo_headers(host):
    peer = H2Peer(Role.SERVER)
    fields = [(b"cookie", b"a=1"), *host, (b"x", b"\xfc"), (b"cookie", b"b=2")]
    ((_, request),) = peer.deliver(h2_headers([*CONNECT, *fields]))
    assert request.raw_headers == (
        (b"host", b"example.com"),
        (b"sec-websocket-version", b"13"),
        (b"cookie", b"a=1"),
        (b"x", b"\xfc"),
        (b"cookie", b"b=2"),
    )
    assert dict(request.headers)["cookie"] == "a=1; b=2"


def test_raw_headers_are_part_of_no_comparison_and_of_nothing_that_is_sent():
    pair = Pair(Wire(Http1), UpgradeRequest("a", raw_headers=[(b"x", b"1")]))
    assert b"x" not in dict(pair.request.raw_headers)
    assert pair.request == UpgradeRequest("a") == pickle.loads(pickle.dumps(pair.request))
    assert pickle.loads(pickle.dumps(pair.request)).raw_headers == pair.request.raw_headers
    assert pair.client.request.raw_headers == ((b"x", b"1"),)
    assert "raw_headers" not in repr(pair.request)


@pytest.mark.parametrize("given", [[], [(b":a", b"b:c"), (b"a", b""), (b"a", b"\xff\x85")]])
def test_raw_headers_are_a_sequence_of_pairs(given):
    raw = UpgradeRequest("a", raw_headers=given).raw_headers
    assert (len(raw), list(raw), raw) == (len(given), given, tuple(given))
    assert raw == UpgradeRequest("b", raw_headers=raw).raw_headers
    assert hash(raw) == hash(tuple(given))
    assert raw != UpgradeRequest("a", raw_headers=[(b"b", b"c")]).raw_headers
    assert repr(raw) == f"RawHeaders({tuple(given)!r})"
    assert (raw[-1:], raw[1:]) == (tuple(given[-1:]), tuple(given[1:]))
    with pytest.raises(IndexError):
        raw[len(given)]


def test_raw_headers_are_well_formed():
    with pytest.raises(LocalProtocolError):
        UpgradeRequest("a", raw_headers=[(b"x", b"a\nb")])


@pytest.mark.parametrize("wrong", [5, [("a", "b")], [b"ab"], [(b"a",)], {"a": "b"}])
def test_raw_headers_are_pairs_of_bytes(wrong):
    with pytest.raises(TypeError, match="pairs of bytes"):
        UpgradeRequest("a", raw_headers=wrong)


def test_answer_with_bytes_above_7f_opens():
    http = Http1(Role.CLIENT, entropy=lambda count: b"the sample nonce"[:count].ljust(count, b"\0"))
    head = http.open().send(UpgradeRequest("example.com"))
    assert header_of(head, "Sec-WebSocket-Key") == "dGhlIHNhbXBsZSBub25jZQ=="
    (accept,) = said(http.receive(ANSWER + b"Set-Cookie: city=Z\xfcrich\r\n\r\n"))
    assert accept == UpgradeAccept(headers=[("set-cookie", "city=Z\xfcrich")])
