"""Extended CONNECT (RFC 8441 §4, §5; RFC 9113 §8.2-8.3, §8.5): what a server takes, what a client takes for a yes."""

import h2.events
import pytest
from h2.errors import ErrorCodes
from wire import CONNECT, DATA, GET, H2Peer, accept_of, fault, frame, h2_frame, masked

from mintws import (
    Failed,
    LocalProtocolError,
    PerMessageDeflate,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.events import BodyData, MessageEnded, Request, RequestStarted, Response


def changed(**changes: str | None) -> list[tuple[str, str]]:
    """The CONNECT of a WebSocket; `changes` name pseudo-headers without their colon, and `None` leaves one out."""
    named = {f":{name}": value for name, value in changes.items()}
    return [(name, named.get(name, value)) for name, value in CONNECT if named.get(name, value) is not None]


def taken(headers) -> UpgradeRequest:
    peer = H2Peer(Role.SERVER)
    peer.ask(headers)
    ((conn, event),) = peer.deliver()
    assert type(event) is UpgradeRequest, event
    assert conn.state is State.REQUESTED
    return event


def refused(headers, status: int | None):
    """Ask, and check that only the stream is hurt: it gets the status and a body that names the rule, or `None`: it is reset."""
    peer = H2Peer(Role.SERVER)
    stream = peer.ask(headers)
    events = peer.deliver()
    answers = peer.of(h2.events.ResponseReceived, stream)
    if status is None:
        assert (events, answers) == ([], [])
        assert [it.error_code for it in peer.of(h2.events.StreamReset, stream)] == [ErrorCodes.PROTOCOL_ERROR]
    else:
        assert [dict(it.headers)[":status"] for it in answers] == [str(status)]
        error = fault([event for _, event in events])
        assert error.status in (status, 426)
        assert error.section.encode() in peer.data(stream)
        assert peer.of(h2.events.StreamEnded, stream)
        assert [it.error_code for it in peer.of(h2.events.StreamReset, stream)] == [ErrorCodes.NO_ERROR]
    assert not peer.http.done
    assert stream not in peer.http._streams
    _, conn = peer.open()
    assert conn.state is State.OPEN


def test_request_is_read():
    event = taken([*CONNECT, ("sec-websocket-protocol", "a, b"), ("origin", "null"), ("x", "y")])
    assert event == UpgradeRequest(
        "example.com", "/chat", headers=[("origin", "null"), ("x", "y")], subprotocols=["a", "b"]
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_scheme_may_be_either(scheme):
    # Proxies say http over TLS.
    taken(changed(scheme=scheme))


@pytest.mark.parametrize("order", [(4, 3, 2, 1, 0), (1, 0, 3, 2, 4), (2, 4, 0, 1, 3)])
def test_pseudo_headers_may_come_in_any_order(order):
    taken([CONNECT[i] for i in order] + CONNECT[5:])


@pytest.mark.parametrize("authority", ["example.com", "example.com:8443", "[::1]:80", "127.0.0.1"])
def test_authority_is_the_host(authority):
    assert taken(changed(authority=authority)).host == authority


def test_host_that_says_the_same_is_no_fault():
    taken([*CONNECT, ("host", "example.com")])


def test_host_that_says_otherwise_is_refused():
    refused([*CONNECT, ("host", "evil.example")], 400)


@pytest.mark.parametrize("protocol", ["webSocket", "WEBSOCKET", "connect-udp", "webtransport", "websocket2", "h2c"])
def test_other_protocol_is_refused_with_501(protocol):
    refused(changed(protocol=protocol), 501)


@pytest.mark.parametrize("missing", ["method", "scheme", "path", "authority"])
def test_missing_pseudo_header_is_refused(missing):
    refused(changed(**{missing: None}), 400)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "GET"),
        ("method", "POST"),
        ("scheme", "ws"),
        ("scheme", "ftp"),
        ("path", "chat"),
        ("path", "*"),
        ("path", "/a#b"),
        ("path", "/a b"),
        ("authority", "user@example.com"),
        ("authority", "a b"),
        ("authority", "a,b c"),
    ],
)
def test_wrong_pseudo_header_is_refused(name, value):
    refused(changed(**{name: value}), 400)


@pytest.mark.parametrize("double", CONNECT[:5])
def test_repeated_pseudo_header_is_refused(double):
    refused([double, *CONNECT], 400)


def test_unknown_pseudo_header_is_refused():
    refused([(":foo", "bar"), *CONNECT], 400)
    refused([(":status", "200"), *CONNECT], 400)


def test_pseudo_header_behind_an_ordinary_one_is_refused():
    refused([("x", "y"), *CONNECT], 400)
    refused([*CONNECT[:4], CONNECT[5], CONNECT[4]], 400)


@pytest.mark.parametrize(
    "header",
    [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("keep-alive", "x"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
    ],
)
def test_header_of_the_connection_is_refused(header):
    refused([*CONNECT, header], 400)


@pytest.mark.parametrize(
    "header",
    [
        ("Upper", "x"),
        ("a b", "x"),
        ("", "x"),
        ("x\r\ny", "z"),
        ("x", "a\r\nb"),
        ("x", "a\x00b"),
        ("x", "a\nb"),
        ("x", " a"),
        ("x", "a "),
        ("x", "\u00e4\x07"),
    ],
)
def test_header_with_a_character_that_may_not_be_there_is_refused(header):
    refused([*CONNECT, header], 400)


def test_te_trailers_is_taken():
    taken([*CONNECT, ("te", "trailers")])


@pytest.mark.parametrize("version", [None, "12", "013", ""])
def test_other_version_is_refused_and_13_named(version):
    headers = CONNECT[:5] + ([] if version is None else [("sec-websocket-version", version)])
    refused(headers, 400)
    peer = H2Peer(Role.SERVER)
    stream = peer.ask(headers)
    peer.deliver()
    (answer,) = peer.of(h2.events.ResponseReceived, stream)
    assert ("sec-websocket-version", "13") in [tuple(it) for it in answer.headers]


@pytest.mark.parametrize("names", ["a b", "a, a", "", "\x80"])
def test_subprotocols_that_are_no_list_of_different_tokens_are_refused(names):
    refused([*CONNECT, ("sec-websocket-protocol", names)], 400)


@pytest.mark.parametrize("value", [";", "a b", "a; b=", ""])
def test_malformed_extensions_are_refused(value):
    refused([*CONNECT, ("sec-websocket-extensions", value)], 400)


def test_body_is_refused():
    refused([*CONNECT, ("content-length", "5")], 400)


def test_content_length_that_is_no_number_opens_nothing():
    refused([*CONNECT, ("content-length", "x")], None)


def accepts(*headers: tuple[str, str]) -> list[str]:
    """Open a WebSocket with further headers, and give the Sec-WebSocket-Accept of the answer."""
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open(*headers)
    assert conn.state is State.OPEN
    (answer,) = peer.of(h2.events.ResponseReceived, stream)
    return [value for name, value in answer.headers if name == "sec-websocket-accept"]


def test_key_that_a_request_has_is_answered():
    # RFC 6455 §1.3 has this key and its answer.
    assert accepts(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")) == ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
    assert accepts() == []


@pytest.mark.parametrize(
    "keys",
    [["x"], [""], ["dGhlIHNhbXBsZSBub25jZQ"], ["dGhlIHNhbXBsZSBub25jZQ=="] * 2, ["dGhlIHNhbXBsZSBub25jZQ==", "x"]],
)
def test_key_that_is_none_or_not_the_only_one_is_passed_over(keys):
    assert accepts(*(("sec-websocket-key", key) for key in keys)) == []


def test_refusal_answers_no_key():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask([*CONNECT, ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")])
    ((conn, _),) = peer.deliver()
    peer.hear(conn.send(UpgradeReject(403)))
    (answer,) = peer.of(h2.events.ResponseReceived, stream)
    assert "sec-websocket-accept" not in dict(answer.headers)


def test_cookies_that_were_cut_are_joined():
    # RFC 9113 §8.2.3
    event = taken([*CONNECT, ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")])
    assert sorted(event.headers) == [("cookie", "a=1; b=2"), ("x", "y")]


def test_request_that_ends_its_stream_is_refused():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask(end=True)
    events = peer.deliver()
    assert [type(event) for _, event in events] in ([UpgradeRequest, Failed], [Failed])
    assert peer.of(h2.events.StreamReset, stream)
    assert not peer.http.done
    peer.open()


@pytest.mark.parametrize("end", [False, True])
def test_plain_connect_is_refused_with_501_at_once(end):
    # RFC 9110 §9.3.6, RFC 9113 §8.5: as over HTTP/1.1.
    peer = H2Peer(Role.SERVER)
    ws, conn = peer.open()
    stream = peer.ask([(":method", "CONNECT"), (":authority", "example.com:443")], end=end)
    assert peer.deliver() == []
    (answer,) = peer.of(h2.events.ResponseReceived, stream)
    assert dict(answer.headers)[":status"] == "501"
    assert peer.data(stream) == b"CONNECT is for a proxy\n"
    assert peer.of(h2.events.StreamEnded, stream)
    assert [it.error_code for it in peer.of(h2.events.StreamReset, stream)] == [ErrorCodes.NO_ERROR] * (not end)
    assert peer.http.receive(h2_frame(DATA, 0, stream, b"tunnelled")) == ([], b"")
    assert stream not in peer.http._streams
    assert peer.send(ws, masked(1, b"hi")) == [(conn, Text("hi"))]


def test_plain_connect_whose_answer_waits_for_a_window_is_refused():
    peer = H2Peer(Role.SERVER, {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    stream = peer.ask([(":method", "CONNECT"), (":authority", "example.com:443")])
    peer.h2.send_data(stream, b"tunnelled")
    assert peer.deliver() == []
    assert peer.of(h2.events.ResponseReceived, stream) and not peer.data(stream)
    peer.h2.increment_flow_control_window(1000, stream)
    assert peer.deliver() == []
    peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    assert peer.deliver() == []
    assert peer.data(stream) == b"CONNECT is for a proxy\n"
    assert [it.error_code for it in peer.of(h2.events.StreamReset, stream)] == [ErrorCodes.NO_ERROR]


def test_floods_of_plain_connects_end_the_connection():
    # RFC 9113 §10.5
    peer = H2Peer(Role.SERVER)
    events = []
    for _ in range(600):
        if not peer.http.done:
            peer.ask([(":method", "CONNECT"), (":authority", "example.com:443")])
            events += peer.deliver()
    assert [type(event) for _, event in events] == [Failed]


def test_ordinary_request_is_handed_on_beside_a_websocket():
    peer = H2Peer(Role.SERVER)
    ws, _ = peer.open()
    stream = peer.ask([(":method", "POST"), (":scheme", "https"), (":path", "/up"), (":authority", "example.com")])
    peer.h2.send_data(stream, b"body", end_stream=True)
    peer.h2.send_data(ws, masked(1, b"hi"))
    events = peer.deliver()
    assert [type(event) for conn, event in events if conn is None] == [
        RequestStarted,
        BodyData,
        MessageEnded,
    ]
    assert [event for conn, event in events if conn is not None] == [Text("hi")]
    peer.http.h2.send_headers(stream, [(":status", "200")], end_stream=True)
    peer.hear(peer.http.h2.data_to_send())
    assert peer.of(h2.events.ResponseReceived, stream)


BOOKKEEPING = {
    "PING": h2_frame(6, 0, 0, bytes(8)),
    "acknowledged PING": h2_frame(6, 1, 0, bytes(8)),
    "SETTINGS": h2_frame(4, 0, 0),
    "acknowledged SETTINGS": h2_frame(4, 1, 0),
    "WINDOW_UPDATE": h2_frame(8, 0, 0, b"\0\0\0\1"),
    "PRIORITY": h2_frame(2, 0, 1, b"\0\0\0\0\x10"),
    "unknown type": h2_frame(0xBB, 0, 0),
}


@pytest.mark.parametrize("data", BOOKKEEPING.values(), ids=BOOKKEEPING)
@pytest.mark.parametrize("role", list(Role))
def test_what_h2_says_of_the_connection_is_handed_on_to_who_drives_a_stream_by_it(role, data):
    # A caller who has to do with WebSockets, `respond` and `request` alone hears nothing of it.
    peer = H2Peer(role)
    stream, _ = peer.open() if role is Role.SERVER else peer.answer()
    assert peer.http.receive(data)[0] == []
    request = Request("POST", "/", (("host", "example.com"),), bytes(100_000))
    if role is Role.CLIENT:
        number, _ = peer.http.request(request)
        assert peer.http.receive(data)[0] == []
        number = peer.http.h2.get_next_available_stream_id()
        peer.http.h2.send_headers(number, GET)
        assert [it for it, _ in peer.http.receive(data)[0]] == [None]
        peer.http.h2.reset_stream(number)
    else:
        number = peer.ask(GET, end=True)
        peer.deliver()
        assert [it for it, _ in peer.http.receive(data)[0]] == [None]
        peer.http.respond(Request("GET", "/", stream=number), Response(200, body=bytes(100_000)))
        assert number in peer.http._streams
    assert peer.http.receive(data)[0] == []
    assert stream in peer.http._streams


@pytest.mark.parametrize(
    "headers",
    [
        [*GET[:3]],
        [*GET, ("Upper", "x")],
        [*GET, ("connection", "close")],
        [("x", "y"), *GET],
        [*GET, ("x", "a\r\nb")],
        [*GET, (":path", "/b")],
    ],
)
def test_malformed_ordinary_request_hurts_its_stream_alone(headers):
    # RFC 9113 §8.1.1
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    bad = peer.ask(headers, end=True)
    events = peer.deliver()
    assert events == []
    assert peer.of(h2.events.StreamReset, bad)
    assert peer.send(stream, masked(1, b"hi")) == [(conn, Text("hi"))]


# The client's side.


def asked(request: UpgradeRequest | None = None, **options):
    peer = H2Peer(Role.CLIENT, **options)
    conn = peer.http.open()
    peer.hear(conn.send(request or UpgradeRequest("example.com", "/chat")))
    return peer, conn, peer.heard[-1].stream_id


def answered(*headers: tuple[str, str], end: bool = False, request: UpgradeRequest | None = None):
    peer, conn, stream = asked(request)
    peer.h2.send_headers(stream, list(headers), end_stream=end)
    events = [event for it, event in peer.deliver() if it is conn]
    return events, conn, peer, stream


@pytest.mark.parametrize("status", ["200", "201", "204", "299"])
def test_any_2xx_opens(status):
    events, conn, _, _ = answered((":status", status))
    assert events == [UpgradeAccept()]
    assert conn.state is State.OPEN


@pytest.mark.parametrize("status", ["101", "300", "302", "400", "401", "403", "404", "500", "501", "503"])
def test_any_other_status_is_a_reject(status):
    if status == "101":
        # RFC 9113 §8.6 takes 101 away; it opens nothing.
        _, conn, _, _ = answered((":status", status))
        assert conn.state is not State.OPEN
        return
    events, conn, _, _ = answered((":status", status), ("x-why", "because"), end=True)
    assert events == [UpgradeReject(int(status), headers=[("x-why", "because")])]
    assert conn.state is State.CLOSED


def test_reject_has_its_body():
    peer, conn, stream = asked()
    peer.h2.send_headers(stream, [(":status", "403")])
    peer.h2.send_data(stream, b"no ")
    peer.h2.send_data(stream, b"way", end_stream=True)
    assert peer.deliver() == [(conn, UpgradeReject(403, body=b"no way"))]


def test_body_of_a_reject_is_kept_up_to_64_kib_and_the_rest_refused():
    peer, conn, stream = asked()
    peer.h2.send_headers(stream, [(":status", "403")])
    events = []
    for _ in range(6):
        if not peer.of(h2.events.StreamReset, stream):
            events += peer.send(stream, b"x" * 16384)
    assert [(it, event.status, len(event.body)) for it, event in events] == [(conn, 403, 65536)]
    assert peer.of(h2.events.StreamReset, stream)
    assert stream not in peer.http._streams


def test_body_of_a_reject_gets_its_credit_back():
    # To the connection, whose window is for all; its stream ends at 64 KiB.
    peer = H2Peer(Role.CLIENT, {}, window=65535)
    for _ in range(400):
        conn = peer.http.open()
        peer.hear(conn.send(UpgradeRequest("example.com", "/chat")))
        stream = peer.heard[-1].stream_id
        peer.h2.send_headers(stream, [(":status", "403")])
        for _ in range(4):
            peer.h2.send_data(stream, bytes(16000))
            peer.deliver()
        peer.h2.end_stream(stream)
        ((it, reject),) = peer.deliver()
        assert (it, len(reject.body)) == (conn, 64_000)
    assert sum(peer.http._data_receiver.window(0)) == 16 * 1024 * 1024
    assert sum(it.delta for it in peer.of(h2.events.WindowUpdated) if not it.stream_id) > 400 * 64_000 // 2


def test_stream_of_a_reject_gets_credit_for_its_body():
    peer, _, stream = asked(window=65535)
    peer.h2.send_headers(stream, [(":status", "403")])
    for _ in range(3):
        peer.h2.send_data(stream, bytes(16384))
        peer.deliver()
    assert sum(it.delta for it in peer.of(h2.events.WindowUpdated, stream)) >= 32767


def test_body_of_a_reject_that_ends_where_it_is_cut_is_a_reject():
    peer, conn, stream = asked()
    peer.h2.send_headers(stream, [(":status", "403")])
    for _ in range(3):
        peer.send(stream, b"x" * 16384)
    assert peer.send(stream, b"x" * 16384, end_stream=True) == [(conn, UpgradeReject(403, body=b"x" * 65536))]


def test_body_of_a_reject_that_is_reset_is_still_a_reject():
    peer, conn, stream = asked()
    peer.h2.send_headers(stream, [(":status", "403")])
    peer.h2.send_data(stream, b"no")
    peer.h2.reset_stream(stream, 0)
    assert peer.deliver() == [(conn, UpgradeReject(403, body=b"no"))]


def test_2xx_that_ends_the_stream_opens_nothing():
    events, conn, peer, stream = answered((":status", "200"), end=True)
    assert [type(event) for event in events] == [Failed]
    assert fault(events).code == 1006
    assert conn.state is State.CLOSED
    assert stream not in peer.http._streams
    assert peer.h2.open_outbound_streams == 0


@pytest.mark.parametrize(
    "headers",
    [
        [("sec-websocket-accept", accept_of("x")), ("server", "y"), ("via", "z"), ("date", "now")],
        [("content-length", "0")],
        [("sec-websocket-key", "x")],
    ],
)
def test_headers_that_proxies_add_are_no_fault(headers):
    events, _, _, _ = answered((":status", "200"), *headers)
    assert type(events[0]) is UpgradeAccept


@pytest.mark.parametrize(
    "header",
    [
        ("sec-websocket-protocol", "other"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-extensions", ";"),
        ("x", "a\x00b"),
        ("Upper", "x"),
        ("connection", "x"),
        (":foo", "x"),
    ],
)
def test_broken_yes_fails_and_resets_the_stream(header):
    peer, conn, stream = asked()
    peer.h2.send_headers(stream, [header, (":status", "200")] if header[0] == ":foo" else [(":status", "200"), header])
    events = [event for it, event in peer.deliver() if it is conn]
    assert fault(events).code == 1002
    assert conn.state is State.CLOSED
    assert peer.of(h2.events.StreamReset, stream)
    assert not peer.http.done
    peer.answer()


def test_interim_responses_are_skipped():
    peer, conn, stream = asked()
    for status in ("100", "103", "103"):
        peer.h2.send_headers(stream, [(":status", status)])
        assert [event for it, event in peer.deliver() if it is conn] == []
    peer.h2.send_headers(stream, [(":status", "200")])
    assert peer.deliver() == [(conn, UpgradeAccept())]


def test_data_behind_the_2xx_in_one_read_is_frames():
    peer, conn, stream = asked()
    peer.h2.send_headers(stream, [(":status", "200")])
    peer.h2.send_data(stream, frame(1, b"hi"))
    assert peer.deliver() == [(conn, UpgradeAccept()), (conn, Text("hi"))]


def test_data_before_the_2xx_fails():
    # A response begins with HEADERS (RFC 9113 §8.1).
    peer, conn, stream = asked()
    _, other = peer.answer()
    events, _ = peer.http.receive(b"\x00\x00\x03\x00\x00" + stream.to_bytes(4, "big") + b"\x81\x01x")
    assert fault([event for it, event in events if it is conn]).code == 1002
    assert (conn.state, other.state) == (State.CLOSED, State.OPEN)


def test_client_sends_no_data_before_the_2xx():
    _, conn, _ = asked()
    with pytest.raises(LocalProtocolError):
        conn.send(Text("early"))


def test_no_key_is_sent_and_no_accept_needed():
    peer, _, stream = asked(UpgradeRequest("example.com", extensions=[PerMessageDeflate()]))
    (request,) = peer.of(h2.events.RequestReceived, stream)
    names = [name for name, _ in request.headers]
    assert "sec-websocket-key" not in names
    assert "connection" not in names
    assert "upgrade" not in names


def test_scheme_is_that_of_the_url():
    for scheme in ("http", "https"):
        peer = H2Peer(Role.CLIENT, scheme=scheme)
        peer.hear(peer.http.open().send(UpgradeRequest("example.com")))
        assert (":scheme", scheme) in [tuple(it) for it in peer.heard[-1].headers]


def test_two_handshakes_answered_in_reverse_order():
    # What was asked is kept with its stream.
    peer = H2Peer(Role.CLIENT)
    one, two = peer.http.open(), peer.http.open()
    peer.hear(one.send(UpgradeRequest("a.example", "/1", subprotocols=["one"], extensions=[PerMessageDeflate()])))
    first = peer.heard[-1].stream_id
    peer.hear(two.send(UpgradeRequest("b.example", "/2", subprotocols=["two"])))
    second = peer.heard[-1].stream_id
    peer.h2.send_headers(second, [(":status", "200"), ("sec-websocket-protocol", "two")])
    assert [(it, event.subprotocol) for it, event in peer.deliver()] == [(two, "two")]
    peer.h2.send_headers(
        first,
        [(":status", "200"), ("sec-websocket-protocol", "one"), ("sec-websocket-extensions", "permessage-deflate")],
    )
    assert [(it, event.subprotocol) for it, event in peer.deliver()] == [(one, "one")]
    assert (len(one.extensions), len(two.extensions)) == (1, 0)
    peer.h2.send_data(first, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00")
    peer.h2.send_data(second, b"\x81\x01x")
    assert peer.deliver() == [(one, Text("Hello")), (two, Text("x"))]


def test_answers_swapped_between_two_handshakes_fail_both():
    peer = H2Peer(Role.CLIENT)
    conns = [peer.http.open(), peer.http.open()]
    for conn, name in zip(conns, ["one", "two"], strict=True):
        peer.hear(conn.send(UpgradeRequest("a.example", subprotocols=[name])))
    for stream, name in [(1, "two"), (3, "one")]:
        peer.h2.send_headers(stream, [(":status", "200"), ("sec-websocket-protocol", name)])
    events = peer.deliver()
    assert [type(event) for _, event in events if _ is not None] == [Failed, Failed]


def test_two_requests_answered_in_reverse_order():
    peer = H2Peer(Role.SERVER)
    first = peer.ask([*CONNECT, ("sec-websocket-protocol", "one"), ("sec-websocket-extensions", "permessage-deflate")])
    second = peer.ask([*CONNECT, ("sec-websocket-protocol", "two")])
    (one, _), (two, _) = peer.deliver()
    peer.hear(two.send(UpgradeAccept(subprotocol="two", extensions=[PerMessageDeflate()])))
    peer.hear(one.send(UpgradeAccept(subprotocol="one", extensions=[PerMessageDeflate()])))
    answers = {it.stream_id: dict(it.headers) for it in peer.of(h2.events.ResponseReceived)}
    assert answers[first]["sec-websocket-protocol"] == "one"
    assert answers[first]["sec-websocket-extensions"] == "permessage-deflate"
    assert answers[second]["sec-websocket-protocol"] == "two"
    assert "sec-websocket-extensions" not in answers[second]


@pytest.mark.parametrize("status", [300, 403, 404, 503])
def test_reject_is_a_response_that_ends_the_stream(status):
    peer = H2Peer(Role.SERVER)
    stream = peer.ask()
    ((conn, _),) = peer.deliver()
    peer.hear(conn.send(UpgradeReject(status, headers={"X-Why": "because"}, body=b"no")))
    (answer,) = peer.of(h2.events.ResponseReceived, stream)
    assert dict(answer.headers) == {":status": str(status), "x-why": "because", "content-length": "2"}
    assert peer.data(stream) == b"no"
    assert peer.of(h2.events.StreamEnded, stream)
    assert conn.state is State.CLOSED
    assert stream not in peer.http._streams
    assert not peer.http.done


@pytest.mark.parametrize("status", [100, 101, 200, 204, 299, 600])
def test_reject_with_2xx_is_refused_locally(status):
    peer = H2Peer(Role.SERVER)
    peer.ask()
    ((conn, _),) = peer.deliver()
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeReject(status))
    assert conn.state is State.REQUESTED


def test_frames_before_the_answer_are_held_and_come_with_proceed():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask()
    peer.h2.send_data(stream, masked(1, b"early") + masked(9, b"p"))
    ((conn, request),) = peer.deliver()
    assert type(request) is UpgradeRequest
    peer.hear(conn.send(UpgradeAccept()))
    events, reply = peer.http.proceed()
    assert events[0][1] == Text("early")
    peer.hear(reply)
    assert peer.data(stream) == b"\x8a\x01p"


def test_proceed_looks_at_those_that_were_accepted_alone():
    # Else opening WebSockets takes longer the more are open.
    peer = H2Peer(Role.SERVER)
    conns = []
    for i in range(5):
        stream = peer.ask()
        if i != 2:
            peer.h2.send_data(stream, masked(1, b"%d" % i))
        ((conn, _),) = peer.deliver()
        conns.append(conn)
    assert peer.http.proceed() == ([], b"")
    for i in (0, 2, 3):
        peer.hear(conns[i].send(UpgradeAccept()))
    assert peer.http.proceed() == ([(conns[0], Text("0")), (conns[3], Text("3"))], b"")
    assert peer.http.proceed() == ([], b"")
    peer.hear(conns[1].send(UpgradeReject(403)))
    peer.hear(conns[4].send(UpgradeAccept()))
    # What comes now is behind what was held.
    assert peer.send(9, masked(1, b"more")) == [(conns[4], Text("4")), (conns[4], Text("more"))]
    assert peer.http.proceed() == ([], b"")


def test_frames_before_the_answer_are_bounded():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask()
    ((conn, _),) = peer.deliver()
    events = []
    for _ in range(5):
        events += peer.send(stream, bytes(16384))
    assert fault([event for _, event in events]).code == 1009
    assert conn.state is State.CLOSED
    assert conn.undelivered_bytes == 0
    # No answer will come, so the stream is reset.
    assert [it.error_code for it in peer.of(h2.events.StreamReset, stream)] == [ErrorCodes.ENHANCE_YOUR_CALM]
    assert conn.send(events[-1][1]) == b""
    assert not peer.http._streams
    assert peer.http.h2.open_inbound_streams == 0
    peer.open()
