"""The server's half of the opening handshake (RFC 6455 §4.2): what it reads, what it refuses, what it answers."""

import base64

import h11
import pytest
from wire import ACCEPT, KEY, REQUEST, fault, header_of, masked, said

from mintws import (
    Binary,
    Failed,
    Http1,
    LocalProtocolError,
    PerMessageDeflate,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.events import MessageEnded, Request, RequestStarted, Response

LINES = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(*more: str, start: str = "GET /chat HTTP/1.1", **changes: str | None) -> bytes:
    """Make a request; `changes` name headers with _ for -, and `None` leaves one out."""
    lines = dict(LINES)
    for name, value in changes.items():
        known = next(it for it in lines if it.lower() == name.replace("_", "-").lower())
        if value is None:
            del lines[known]
        else:
            lines[known] = value
    head = [start, *(f"{name}: {value}" for name, value in lines.items()), *more]
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")


def asked(data: bytes, **options):
    http = Http1(Role.SERVER, **options)
    events, reply = http.receive(data)
    return http, events, reply


def taken(data: bytes) -> UpgradeRequest:
    http, events, reply = asked(data)
    assert reply == b""
    ((conn, event),) = events
    assert type(event) is UpgradeRequest
    assert conn.state is State.REQUESTED
    assert conn.send(UpgradeAccept()).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    return event


def refused(data: bytes, status: int):
    http, events, reply = asked(data)
    error = fault([event for _, event in events])
    assert error.status == status
    assert reply.startswith(b"HTTP/1.1 %d " % status)
    # §4.2.2: the connection ends with a refusal, so that nothing behind it is read as a request or as frames.
    assert "close" in header_of(reply, "Connection")
    assert http.done
    assert http.receive(REQUEST + b"\r\n") == ([], b"")
    assert events[-1][0].send(events[-1][1]) == b""
    return error, reply


def test_request_is_read():
    data = request("Sec-WebSocket-Protocol: chat, superchat", "Origin: http://example.com", "Cookie: a=1")
    assert taken(data) == UpgradeRequest(
        "example.com",
        "/chat",
        headers=[("origin", "http://example.com"), ("cookie", "a=1")],
        subprotocols=["chat", "superchat"],
    )


def test_answer_is_the_example_of_the_rfc():
    http, ((conn, _),), _ = asked(request("Sec-WebSocket-Protocol: chat, superchat"))
    assert conn.send(UpgradeAccept(subprotocol="chat")) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
    assert conn.subprotocol == "chat"


@pytest.mark.parametrize(
    "upgrade", ["websocket", "WebSocket", "WEBSOCKET", "h2c, websocket", "websocket,h2c", "foo/1.0, WebSocket"]
)
def test_upgrade_is_a_list_without_case(upgrade):
    taken(request(upgrade=upgrade))


@pytest.mark.parametrize(
    "connection",
    ["Upgrade", "upgrade", "keep-alive, upgrade", "Keep-Alive,UPGRADE", "upgrade , HTTP2-Settings", ", Upgrade,,"],
)
def test_connection_is_a_list_without_case(connection):
    taken(request(connection=connection))


def test_connection_may_stand_on_two_lines():
    taken(request("Connection: keep-alive"))


@pytest.mark.parametrize("name", ["upgrade", "UPGRADE", "UpGrAdE"])
def test_header_names_are_compared_without_case(name):
    taken(request(f"{name}: websocket", upgrade=None))


def test_request_without_connection_upgrade_is_refused():
    refused(request(connection="keep-alive"), 400)
    refused(request(connection=None), 400)


def test_key_without_upgrade_is_refused():
    # A proxy that dropped Upgrade is told so.
    refused(request(upgrade=None), 400)
    refused(request(upgrade="h2c"), 400)


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS", "get"])
def test_method_other_than_get_is_refused(method):
    refused(request(start=f"{method} /chat HTTP/1.1"), 400)


@pytest.mark.parametrize("version", ["0.9", "2.0", "3.7"])
def test_http_version_without_upgrade_is_refused(version):
    refused(request(start=f"GET /chat HTTP/{version}"), 505)


@pytest.mark.parametrize("start", ["GET /chat HTTP/1.0", "POST /chat HTTP/1.0"])
def test_upgrade_over_http_1_0_is_ignored(start):
    # RFC 9110 §7.8: so it is an ordinary request, to be answered as such.
    http, events, reply = asked(request(start=start))
    assert reply == b""
    assert [(conn, type(event)) for conn, event in events] == [(None, RequestStarted), (None, MessageEnded)]
    answer = http.respond(http.collect(events[0][1]) or http.collect(events[1][1]), Response(426))
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert http.done


@pytest.mark.parametrize(
    "key",
    [None, "", "AAAA", KEY[:-1], KEY + "=", KEY[:-2], "dGhlIHNhbXBsZSBub25jZ!==", "=" * 24, "A" * 24, KEY[:-3] + " =="],
)
def test_key_that_is_not_16_bytes_is_refused(key):
    error, _ = refused(request(sec_websocket_key=key), 400)
    assert error.section == "RFC 6455 §4.1"


@pytest.mark.parametrize("size", [13, 19, 1000])
def test_key_of_another_length_is_refused_whose_padding_is_right(size):
    refused(request(sec_websocket_key=base64.b64encode(bytes(size)).decode()), 400)


def test_two_keys_are_refused():
    refused(request(f"Sec-WebSocket-Key: {KEY}"), 400)


@pytest.mark.parametrize("version", [None, "", "0", "8", "12", "14", "013", "13.0", "thirteen", "13, 8"])
def test_other_version_is_refused_with_426_and_13(version):
    # §4.2.2, §4.4: the answer names the versions that the server takes.
    _, reply = refused(request(sec_websocket_version=version), 426)
    assert header_of(reply, "Sec-WebSocket-Version") == "13"
    assert header_of(reply, "Upgrade") == "websocket"


def test_two_versions_are_refused():
    refused(request("Sec-WebSocket-Version: 13"), 400)


def test_no_host_is_refused():
    refused(request(host=None), 400)


@pytest.mark.parametrize("host", ["", "a b", "user@example.com", "caf\u00e9.example", "\xff", "a:b", "[::1"])
def test_host_that_is_none_is_refused(host):
    refused(request(host=host), 400)


def test_two_hosts_are_refused():
    refused(request("Host: example.com"), 400)


def test_target_may_be_an_absolute_uri_whose_host_counts():
    event = taken(request(start="GET http://other.example:81/chat?x=1 HTTP/1.1"))
    assert (event.host, event.target) == ("other.example:81", "/chat?x=1")
    # RFC 9112 §3.2.2: the Host that came is left.
    assert [value for name, value in event.raw_headers if name == b"host"] == [b"other.example:81"]


@pytest.mark.parametrize(
    "target", ["chat", "*", "/a#b", "ftp://example.com/", "/caf\u00e9", "http://user@example.com/"]
)
def test_target_that_is_no_path_is_refused(target):
    refused(request(start=f"GET {target} HTTP/1.1"), 400)


@pytest.mark.parametrize("names", ["a b", "chat, chat", "\x80\xff", ",", "a;b", ""])
def test_subprotocols_that_are_no_list_of_different_tokens_are_refused(names):
    refused(request(f"Sec-WebSocket-Protocol: {names}"), 400)


def test_subprotocols_may_stand_on_many_lines():
    event = taken(request("Sec-WebSocket-Protocol: a,b", "Sec-WebSocket-Protocol: c , d"))
    assert event.subprotocols == ("a", "b", "c", "d")


@pytest.mark.parametrize("body", ["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 1"])
def test_body_on_an_upgrade_is_refused(body):
    refused(request(body) + b"hello", 400)


def test_content_length_of_0_is_no_body():
    taken(request("Content-Length: 0"))


@pytest.mark.parametrize(
    "data",
    [
        b"GET /chat HTTP/1.1\nHost: a\n\x00\n\n",
        request("X: a\x00b"),
        request("X: a\rb"),
        request("No Colon"),
        request("Name : v"),
        b"GET  /chat HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"\x00" * 64,
    ],
)
def test_request_that_is_no_http_is_refused_and_closed(data):
    http, events, reply = asked(data)
    assert fault([event for _, event in events]).code == 1002
    assert reply.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))
    assert http.done
    assert http.receive(b"more") == ([], b"")


def test_bare_lf_and_obs_fold_do_not_smuggle_a_header():
    # Where a lenient parser takes them, it reads the same headers as the next hop would.
    for data in [request("X: a\n b"), request("X: a\r\n Sec-WebSocket-Protocol: evil")]:
        _, events, reply = asked(data)
        event = events[-1][1]
        if type(event) is UpgradeRequest:
            assert event.subprotocols == ()
            assert all("\n" not in value and "\r" not in value for _, value in event.headers)
        else:
            assert reply.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("value", ["a\x07b", "a\x7fb", "caf\xe9\x1b"])
def test_header_value_with_a_control_character_is_refused(value):
    refused(request(f"X: {value}"), 400)


@pytest.mark.parametrize("cut", [1 << 20, 4096, 1000])
@pytest.mark.parametrize("size", [33_000, 70_000])
def test_head_of_70_kb_is_refused_however_it_is_cut(size, cut):
    http = Http1(Role.SERVER)
    head = request("X: " + "a" * size)
    replies = b"".join(http.receive(head[i : i + cut])[1] for i in range(0, len(head), cut))
    assert replies.startswith(b"HTTP/1.1 431 ")
    assert http.done


@pytest.mark.parametrize("cut", [1 << 20, 4096])
def test_head_of_10000_headers_is_refused_however_it_is_cut(cut):
    http = Http1(Role.SERVER)
    head = request(*["a: b"] * 10_000)
    replies = b"".join(http.receive(head[i : i + cut])[1] for i in range(0, len(head), cut))
    assert replies.startswith(b"HTTP/1.1 431 ")
    assert http.done


@pytest.mark.parametrize("cut", [1 << 20, 100])
@pytest.mark.parametrize(("count", "many"), [(500, False), (520, True)])
def test_head_of_more_than_512_lines_is_refused_however_it_is_cut(count, many, cut):
    http = Http1(Role.SERVER)
    head = request(*["a: b"] * count)
    for _ in range(1 if many else 2):
        replies = b"".join(http.receive(head[i : i + cut])[1] for i in range(0, len(head), cut))
        assert replies.startswith(b"HTTP/1.1 431 ") == many
        assert http.done == many
        http = http if many else Http1(Role.SERVER)


def test_lines_of_a_body_do_not_count_as_those_of_a_head():
    http = Http1(Role.SERVER)
    chunks = b"1\r\na\r\n" * 1000 + b"0\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: a\r\n"
    for framing, body in ((b"Transfer-Encoding: chunked", chunks), (b"Content-Length: 1000", b"\n" * 1000)) * 2:
        events, _ = http.receive(head + framing + b"\r\n\r\n" + body)
        (asked,) = [made for _, event in events if (made := http.collect(event))]
        assert http.respond(asked, Response(200)).startswith(b"HTTP/1.1 200 ")
        http.proceed()


def test_head_of_30_kb_is_taken():
    taken(request("X: " + "a" * 30_000))


@pytest.mark.parametrize("cut", [1 << 20, 100])
@pytest.mark.parametrize("most", [1024, 100_000, 1 << 20])
@pytest.mark.parametrize("over", [0, 1])
def test_head_of_more_than_max_header_size_is_refused_however_it_is_cut(most, over, cut):
    http = Http1(Role.SERVER, max_header_size=most)
    head = request("X: " + "a" * (most + over - len(request("X: "))))
    assert len(head) == most + over
    replies = b"".join(http.receive(head[i : i + cut])[1] for i in range(0, len(head), cut))
    assert replies.startswith(b"HTTP/1.1 431 ") == bool(over)
    assert http.done == bool(over)


def test_client_takes_a_head_of_at_most_max_header_size():
    for size, fails in ((50_000, False), (70_000, True)):
        http = Http1(Role.CLIENT, max_header_size=60_000)
        http.open().send(UpgradeRequest("localhost"))
        events, _ = http.receive(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nX: " + b"a" * size + b"\r\n\r\n")
        assert any(isinstance(event, Failed) for _, event in events) == fails


@pytest.mark.parametrize("wrong", [1023, (1 << 20) + 1, 0, -1])
def test_max_header_size_out_of_its_range_is_refused(wrong):
    with pytest.raises(LocalProtocolError, match="max_header_size must be 1024 to 1048576 bytes"):
        Http1(Role.SERVER, max_header_size=wrong)


def test_head_that_never_ends_holds_at_most_its_limit():
    http = Http1(Role.SERVER)
    replies = b""
    for _ in range(100):
        replies += http.receive(b"X" * 1000)[1]
    assert replies.startswith(b"HTTP/1.1 431 ")
    assert replies.count(b"HTTP/1.1") == 1


def test_head_that_drips_byte_by_byte_is_taken():
    http = Http1(Role.SERVER)
    events = [event for byte in request() for event in said(http.receive(bytes([byte])))]
    assert [type(event) for event in events] == [UpgradeRequest]


def test_transport_that_ends_within_the_head_leaves_nothing_to_do():
    http = Http1(Role.SERVER)
    http.receive(request()[:-2])
    http.receive(b"")
    assert http.done


def test_ordinary_request_is_handed_on_untouched():
    http, events, reply = asked(b"GET /index.html HTTP/1.1\r\nHost: example.com\r\nX: y\r\n\r\n")
    assert reply == b""
    asked_for = Request("GET", "/index.html", (("host", "example.com"), ("x", "y")), None)
    assert events == [(None, RequestStarted(asked_for)), (None, MessageEnded())]
    assert not http.done


def test_websocket_may_follow_ordinary_requests_on_one_connection():
    http, _, _ = asked(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + request())
    http.h11.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
    http.h11.send(h11.EndOfMessage())
    events, _ = http.proceed()
    assert [type(event) for _, event in events] == [UpgradeRequest]


def test_upgrade_to_another_protocol_is_handed_on():
    _, events, reply = asked(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
    assert [conn for conn, _ in events] == [None, None]
    assert reply == b""


def test_frames_before_the_answer_are_held_and_come_with_proceed():
    http, ((conn, _),), _ = asked(request() + masked(1, b"early"))
    assert http.receive(masked(2, b"too")) == ([], b"")
    assert conn.undelivered_bytes > 0
    conn.send(UpgradeAccept())
    assert said(http.proceed()) == [Text("early"), Binary(b"too")]
    assert conn.undelivered_bytes == 0


def test_frames_before_the_answer_come_before_those_after_it():
    http, ((conn, _),), _ = asked(request() + masked(1, b"1"))
    conn.send(UpgradeAccept())
    assert said(http.receive(masked(1, b"2"))) == [Text("1"), Text("2")]


def test_ping_before_the_answer_is_answered_by_proceed():
    http, ((conn, _),), _ = asked(request() + masked(9, b"hi"))
    conn.send(UpgradeAccept())
    _, reply = http.proceed()
    assert reply == b"\x8a\x02hi"


def test_bytes_before_the_answer_are_kept_up_to_64_kib():
    http, ((conn, _),), _ = asked(request() + masked(1, b"early"))
    for _ in range(63):
        assert http.receive(masked(2, bytes(1000))) == ([], b"")
        assert http.reading
    assert http.receive(bytes(65536 - conn.undelivered_bytes)) == ([], b"")
    assert not http.reading
    conn.send(UpgradeAccept())
    assert said(http.proceed())[:64] == [Text("early"), *[Binary(bytes(1000))] * 63]


@pytest.mark.parametrize("together", [False, True])
def test_more_than_64_kib_before_the_answer_are_refused(together):
    # §4.1: a client waits for the answer. The server that has not given its own yet is told by Failed.
    early = bytes(65537)
    if together:
        http, ((conn, _), (_, failed)), reply = asked(request() + early)
    else:
        http, ((conn, _),), _ = asked(request())
        ((_, failed),), reply = http.receive(early)
    assert (failed.error.code, failed.error.status) == (1009, 400)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert header_of(reply, "Connection") == "close"
    assert conn.state is State.CLOSED
    assert conn.undelivered_bytes == 0
    assert http.done
    assert conn.send(failed) == b""
    assert http.receive(early) == ([], b"")


def test_request_pipelined_behind_the_handshake_is_not_read_as_http():
    # After a refusal it must not be taken for a request either.
    http, ((conn, _),), _ = asked(request() + b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n")
    reply = conn.send(UpgradeReject(403, body=b"no"))
    assert reply.startswith(b"HTTP/1.1 403 ")
    assert header_of(reply, "Connection") == "close"
    assert http.proceed() == ([], b"")
    assert http.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == ([], b"")
    assert http.done


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 426, 500, 503])
def test_reject_is_a_response_that_closes(status):
    http, ((conn, _),), _ = asked(request())
    reply = conn.send(UpgradeReject(status, headers={"X-Why": "because"}, body=b"no"))
    assert reply.startswith(b"HTTP/1.1 %d " % status)
    assert reply.endswith(b"\r\n\r\nno")
    assert header_of(reply, "Content-Length") == "2"
    assert header_of(reply, "X-Why") == "because"
    assert "close" in header_of(reply, "Connection")
    assert conn.state is State.CLOSED
    assert http.done


def test_reject_with_426_names_version_and_protocol():
    _, ((conn, _),), _ = asked(request())
    reply = conn.send(UpgradeReject(426))
    assert header_of(reply, "Sec-WebSocket-Version") == "13"
    assert header_of(reply, "Upgrade") == "websocket"


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 1000])
def test_reject_with_a_status_that_is_none_is_refused_locally(status):
    _, ((conn, _),), _ = asked(request())
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeReject(status))
    assert conn.state is State.REQUESTED
    assert conn.send(UpgradeReject(403)).startswith(b"HTTP/1.1 403 Forbidden\r\n")


def test_accept_with_a_subprotocol_not_asked_for_is_refused_locally():
    _, ((conn, _),), _ = asked(request("Sec-WebSocket-Protocol: chat"))
    for name in ["other", "CHAT", "", "chat\r\nX: y"]:
        with pytest.raises(LocalProtocolError):
            conn.send(UpgradeAccept(subprotocol=name))
    assert conn.state is State.REQUESTED
    assert header_of(conn.send(UpgradeAccept(subprotocol="chat")), "Sec-WebSocket-Protocol") == "chat"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nSet-Cookie: b"),
        ("X", "a\rb"),
        ("X\n", "a"),
        ("Connection", "close"),
        ("Sec-WebSocket-Accept", "x"),
        ("Content-Length", "1"),
        ("X", "\u20ac"),
    ],
)
@pytest.mark.parametrize(
    "answer", [lambda headers: UpgradeAccept(headers=headers), lambda headers: UpgradeReject(403, headers=headers)]
)
def test_answer_with_a_header_that_would_inject_is_refused_locally(name, value, answer):
    _, ((conn, _),), _ = asked(request())
    with pytest.raises(LocalProtocolError):
        conn.send(answer([(name, value)]))
    assert conn.state is State.REQUESTED
    assert conn.send(UpgradeAccept()).startswith(b"HTTP/1.1 101 ")


def test_two_answers_are_refused_locally():
    _, ((conn, _),), _ = asked(request())
    conn.send(UpgradeAccept())
    for again in [UpgradeAccept(), UpgradeReject(403)]:
        with pytest.raises(LocalProtocolError):
            conn.send(again)
    assert conn.state is State.OPEN


def test_client_that_leaves_before_the_answer_is_lost_with_1006():
    http, ((conn, _),), _ = asked(request())
    assert fault(said(http.receive(b""))).code == 1006
    assert conn.state is State.CLOSED
    assert http.done


def test_origin_null_absent_and_any_are_handed_on():
    assert dict(taken(request("Origin: null")).headers)["origin"] == "null"
    assert "origin" not in dict(taken(request()).headers)
    assert dict(taken(request("Origin: http://example.com:81")).headers)["origin"] == "http://example.com:81"


def test_server_opens_none_itself():
    http = Http1(Role.SERVER)
    assert http.can_open is False
    with pytest.raises(LocalProtocolError):
        http.open()


def test_extension_is_answered_only_if_it_was_offered():
    _, ((conn, _),), _ = asked(request())
    assert header_of(conn.send(UpgradeAccept(extensions=[PerMessageDeflate()])), "Sec-WebSocket-Extensions") is None
    assert conn.extensions == ()


def test_refusal_of_a_head_request_has_no_body():
    _, reply = refused(request(start="HEAD /chat HTTP/1.1"), 400)
    assert reply.endswith(b"\r\n\r\n")
