"""The client's half of the opening handshake (RFC 6455 §4.1) and what it takes for an answer."""

import base64
import re

import pytest
from wire import ACCEPT, ANSWER, accept_of, fault, frame, header_of, said

from mintws import (
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


def asked(request: UpgradeRequest | None = None, **options):
    """A client that has asked with the key of the RFC's example."""
    http = Http1(Role.CLIENT, entropy=lambda n: b"the sample nonce"[:n] if n == 16 else bytes(n), **options)
    conn = http.open()
    head = conn.send(request or UpgradeRequest("example.com", "/chat"))
    assert conn.state is State.REQUESTED
    return http, conn, head


def answered(*lines: bytes, request: UpgradeRequest | None = None, tail: bytes = b""):
    """Give these header lines in a 101 and return what the client says of it."""
    http, conn, _ = asked(request)
    events, reply = http.receive(
        b"HTTP/1.1 101 Switching Protocols\r\n" + b"".join(it + b"\r\n" for it in lines) + b"\r\n" + tail
    )
    assert reply == b""
    return [event for _, event in events], http, conn


UPGRADE, CONNECTION, ACCEPTED = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Accept: " + ACCEPT.encode(),
)


def refused(*lines: bytes, request: UpgradeRequest | None = None):
    events, http, conn = answered(*lines, request=request)
    assert conn.state is State.CLOSED
    assert http.done
    assert conn.send(events[-1]) == b""
    return fault(events)


def test_request_is_the_example_of_the_rfc():
    _, _, head = asked()
    assert head == (
        b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )


def test_request_lists_subprotocols_and_extensions_in_their_order():
    _, _, head = asked(
        UpgradeRequest("example.com", "/", subprotocols=["chat", "superchat"], extensions=[PerMessageDeflate()])
    )
    assert header_of(head, "Sec-WebSocket-Protocol") == "chat, superchat"
    assert header_of(head, "Sec-WebSocket-Extensions") == "permessage-deflate; client_max_window_bits"


def test_request_carries_headers_of_the_caller():
    _, _, head = asked(UpgradeRequest("example.com", "/", headers={"Origin": "https://example.com", "Cookie": "a=1"}))
    assert header_of(head, "Origin") == "https://example.com"
    assert header_of(head, "Cookie") == "a=1"


def test_header_names_are_lower_case_on_request():
    _, _, head = asked(header_case="lower")
    assert b"\r\nsec-websocket-key: " in head
    assert b"\r\nupgrade: websocket\r\n" in head


def test_key_is_16_random_bytes_and_new_each_time():
    keys = set()
    for _ in range(50):
        head = Http1(Role.CLIENT).open().send(UpgradeRequest("example.com"))
        key = header_of(head, "Sec-WebSocket-Key")
        assert len(base64.b64decode(key, validate=True)) == 16
        keys.add(key)
    assert len(keys) == 50


def test_a_connection_carries_one_websocket():
    http, _, _ = asked()
    assert http.can_open is False
    with pytest.raises(LocalProtocolError, match="one WebSocket"):
        http.open()


def test_nothing_is_sent_before_the_answer():
    # A client waits for the answer before it sends further data.
    _, conn, _ = asked()
    with pytest.raises(LocalProtocolError):
        conn.send(Text("early"))
    assert conn.state is State.REQUESTED


@pytest.mark.parametrize(
    "host",
    [
        "",
        "exa mple.com",
        "example.com\r\nX: y",
        "example.com/",
        "user@example.com",
        "ex\u00e4mple.com",
        "[::1",
        "a:b",
        "a:1:2",
        "a:99999",
        "\x00",
    ],
)
def test_host_that_is_none_is_refused_locally(host):
    conn = Http1(Role.CLIENT).open()
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeRequest(host))
    assert conn.state is State.CONNECTING
    assert conn.send(UpgradeRequest("example.com")).startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "host", ["example.com", "example.com:8080", "[::1]", "[::1]:80", "127.0.0.1:1", "xn--exmple-cua.com", "a_b"]
)
def test_host_with_and_without_port_is_written_as_given(host):
    head = Http1(Role.CLIENT).open().send(UpgradeRequest(host))
    assert header_of(head, "Host") == host


@pytest.mark.parametrize(
    "target", ["", "chat", "/a b", "/a\r\nX: y", "/a#b", "/\u00e4", "/\x00", "http://example.com/", "*", "/a\tb"]
)
def test_target_that_is_no_path_is_refused_locally(target):
    conn = Http1(Role.CLIENT).open()
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeRequest("example.com", target))
    assert conn.state is State.CONNECTING


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nY: b"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\x00b"),
        ("X\r\nY", "a"),
        ("X Y", "a"),
        ("", "a"),
        ("X:", "a"),
        ("X", "\u20ac"),
        ("X", " a"),
        ("Host", "b"),
        ("sec-websocket-key", "b"),
        ("Sec-WebSocket-Version", "8"),
        ("Connection", "close"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "5"),
        (":path", "/"),
    ],
)
def test_header_that_would_inject_is_refused_locally(name, value):
    conn = Http1(Role.CLIENT).open()
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeRequest("example.com", headers=[(name, value)]))
    assert conn.state is State.CONNECTING


@pytest.mark.parametrize("names", [["a b"], ["a,b"], [""], ["a", "a"], ["\u00e4"], ["a\r\nX: y"], ["a;b"]])
def test_subprotocols_are_different_tokens(names):
    conn = Http1(Role.CLIENT).open()
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeRequest("example.com", subprotocols=names))
    assert conn.state is State.CONNECTING


def test_credentials_do_not_stand_in_an_error_message():
    with pytest.raises(LocalProtocolError) as caught:
        Http1(Role.CLIENT).open().send(UpgradeRequest("example.com", headers={"Authorization": "secret\n"}))
    assert "secret" not in str(caught.value)


def test_101_with_the_right_accept_opens():
    events, http, conn = answered(UPGRADE, CONNECTION, ACCEPTED, b"X-More: yes")
    assert events == [UpgradeAccept(headers=[("x-more", "yes")])]
    assert conn.state is State.OPEN
    assert not http.done
    assert conn.response == events[0]


@pytest.mark.parametrize("version", [b"0.9", b"1.0", b"2.0", b"3.7"])
def test_101_of_another_version_than_http_1_1_fails(version):
    # §4.2.2 has "HTTP/1.1 101"; before that there was none (RFC 9110 §15.2).
    http, conn, _ = asked()
    assert fault(said(http.receive(ANSWER.replace(b"HTTP/1.1", b"HTTP/" + version) + b"\r\n"))).code == 1002
    assert conn.state is State.CLOSED
    assert http.done


def test_bytes_in_the_same_read_as_the_101_are_frames():
    # The server may send its first frames at once.
    events, _, _ = answered(UPGRADE, CONNECTION, ACCEPTED, tail=frame(1, b"hi") + frame(9, b"")[:1])
    assert events[1:] == [Text("hi")]


@pytest.mark.parametrize("upgrade", [b"websocket", b"WebSocket", b"WEBSOCKET", b" websocket "])
def test_upgrade_of_the_answer_is_compared_without_case(upgrade):
    events, _, _ = answered(b"Upgrade: " + upgrade, CONNECTION, ACCEPTED)
    assert type(events[0]) is UpgradeAccept


@pytest.mark.parametrize(
    "connection", [b"Upgrade", b"upgrade", b"keep-alive, upgrade", b"UPGRADE,keep-alive", b"\tUpgrade"]
)
def test_connection_of_the_answer_is_a_list_without_case(connection):
    events, _, _ = answered(UPGRADE, b"Connection: " + connection, ACCEPTED)
    assert type(events[0]) is UpgradeAccept


def test_connection_of_the_answer_may_stand_on_two_lines():
    events, _, _ = answered(UPGRADE, b"Connection: keep-alive", b"Connection: Upgrade", ACCEPTED)
    assert type(events[0]) is UpgradeAccept


@pytest.mark.parametrize(
    "lines",
    [
        (CONNECTION, ACCEPTED),
        (b"Upgrade: h2c", CONNECTION, ACCEPTED),
        (b"Upgrade: websocketx", CONNECTION, ACCEPTED),
        (b"Upgrade: websocket, h2c", CONNECTION, ACCEPTED),
        (UPGRADE, UPGRADE, CONNECTION, ACCEPTED),
        (b"Upgrade:", CONNECTION, ACCEPTED),
    ],
)
def test_answer_without_upgrade_websocket_fails(lines):
    assert refused(*lines).code == 1002


@pytest.mark.parametrize(
    "lines",
    [(UPGRADE, ACCEPTED), (UPGRADE, b"Connection: close", ACCEPTED), (UPGRADE, b"Connection: xupgrade", ACCEPTED)],
)
def test_answer_without_connection_upgrade_fails(lines):
    assert refused(*lines).code == 1002


@pytest.mark.parametrize(
    "accept",
    [
        b"",
        b"AAAA",
        ACCEPT.encode()[:-1],
        ACCEPT.encode().lower(),
        ACCEPT.encode() + b"=",
        b"dGhlIHNhbXBsZSBub25jZQ==",
    ],
)
def test_answer_with_another_accept_fails(accept):
    error = refused(UPGRADE, CONNECTION, b"Sec-WebSocket-Accept: " + accept)
    assert (error.args[0], error.section) == ("Sec-WebSocket-Accept must answer the key", "RFC 6455 §4.1")


def test_answer_without_an_accept_fails_and_says_so():
    error = refused(UPGRADE, CONNECTION)
    assert (error.args[0], error.section) == ("Sec-WebSocket-Accept is missing", "RFC 6455 §4.1")


def test_accept_with_space_around_it_opens():
    events, _, _ = answered(UPGRADE, CONNECTION, b"Sec-WebSocket-Accept:  " + ACCEPT.encode() + b" ")
    assert type(events[0]) is UpgradeAccept


def test_two_accepts_fail():
    # §11.3.3: it must not appear more than once.
    assert refused(UPGRADE, CONNECTION, ACCEPTED, ACCEPTED).section == "RFC 6455 §11.3"


@pytest.mark.parametrize("name", [b"chat2", b"CHAT", b"", b"chat, superchat", b"\x80\xff", b"chat\x00"])
def test_subprotocol_that_was_not_asked_for_fails(name):
    request = UpgradeRequest("example.com", "/chat", subprotocols=["chat", "superchat"])
    assert refused(UPGRADE, CONNECTION, ACCEPTED, b"Sec-WebSocket-Protocol: " + name, request=request).code == 1002


def test_subprotocol_when_none_was_asked_for_fails():
    assert refused(UPGRADE, CONNECTION, ACCEPTED, b"Sec-WebSocket-Protocol: chat").code == 1002


def test_two_subprotocols_on_two_lines_fail():
    request = UpgradeRequest("example.com", "/chat", subprotocols=["chat", "superchat"])
    lines = (b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Protocol: superchat")
    assert refused(UPGRADE, CONNECTION, ACCEPTED, *lines, request=request).code == 1002


def test_subprotocol_that_was_asked_for_is_agreed():
    request = UpgradeRequest("example.com", "/chat", subprotocols=["chat", "superchat"])
    events, _, conn = answered(UPGRADE, CONNECTION, ACCEPTED, b"Sec-WebSocket-Protocol: superchat", request=request)
    assert events[0].subprotocol == conn.subprotocol == "superchat"


def test_no_subprotocol_in_the_answer_is_no_fault():
    request = UpgradeRequest("example.com", "/chat", subprotocols=["chat"])
    events, _, conn = answered(UPGRADE, CONNECTION, ACCEPTED, request=request)
    assert conn.subprotocol is None


def test_extension_that_was_not_offered_fails():
    answer = b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"
    error = refused(UPGRADE, CONNECTION, ACCEPTED, answer)
    assert error.section == "RFC 6455 §9.1"
    # Servers leave parameters out that were asked for.
    assert "the answer is permessage-deflate; server_no_context_takeover" in str(error)


@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 x"])
def test_interim_responses_before_the_101_are_skipped(status):
    http, conn, _ = asked()
    interim = b"HTTP/1.1 " + status + b"\r\nLink: </a>\r\n\r\n"
    assert http.receive(interim) == ([], b"")
    assert conn.state is State.REQUESTED
    assert said(http.receive(interim + ANSWER + b"\r\n")) == [UpgradeAccept()]


def test_interim_responses_without_end_fail():
    http, conn, _ = asked()
    events = said(http.receive(b"HTTP/1.1 100 Continue\r\n\r\n" * 33))
    assert fault(events).code == 1002
    assert http.done


def test_32_interim_responses_are_borne():
    http, _, _ = asked()
    assert said(http.receive(b"HTTP/1.1 100 Continue\r\n\r\n" * 32 + ANSWER + b"\r\n")) == [UpgradeAccept()]


@pytest.mark.parametrize("status", [200, 204, 301, 302, 400, 401, 403, 404, 407, 426, 500, 503])
def test_any_status_but_101_is_a_reject(status):
    http, conn, _ = asked()
    body = b"" if status == 204 else b"no"
    events = said(
        http.receive(b"HTTP/1.1 %d X\r\nX-Why: because\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
    )
    (reject,) = events
    assert (type(reject), reject.status, reject.body) == (UpgradeReject, status, body)
    assert ("x-why", "because") in reject.headers
    assert conn.state is State.CLOSED
    assert http.done


def test_body_of_a_reject_may_come_in_chunks():
    http, _, _ = asked()
    data = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    events = [event for byte in data for event in said(http.receive(bytes([byte])))]
    assert events == [UpgradeReject(403, headers=[("transfer-encoding", "chunked")], body=b"abc")]


def test_body_of_a_reject_may_end_with_the_transport():
    http, _, _ = asked()
    assert said(http.receive(b"HTTP/1.1 403 Forbidden\r\n\r\nno")) == []
    assert said(http.receive(b"")) == [UpgradeReject(403, body=b"no")]


def test_body_of_a_reject_that_is_cut_short_is_still_a_reject():
    http, _, _ = asked()
    events = said(http.receive(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nno")) + said(http.receive(b""))
    assert [(type(it), it.status, it.body) for it in events] == [(UpgradeReject, 403, b"no")]


@pytest.mark.parametrize("chunks", [b"2\r\nab\r\nzz\r\n", b"2\r\nabc\r\n", b"2\r\nab\r\n0\r\nX Y: z\r\n\r\n"])
def test_body_of_a_reject_that_is_broken_is_still_a_reject(chunks):
    http, _, _ = asked()
    head = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nTransfer-Encoding: chunked\r\n\r\n"
    ((conn, reject),), _ = http.receive(head + chunks)
    assert (reject.status, reject.body) == (401, b"ab")
    assert ("www-authenticate", "Basic") in reject.headers
    assert conn.state is State.CLOSED
    assert http.done


@pytest.mark.parametrize("size", [65535, 65536, 65537, 1_000_000])
def test_body_of_a_reject_is_kept_up_to_64_kib(size):
    http, _, _ = asked()
    events = said(http.receive(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size))
    assert [len(it.body) for it in events] == [min(size, 65536)]
    assert http.done


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 \r\n\r\n",
        b"HTTP/1.1 abc No\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\x00b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n no: fold\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nNo Colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nName : v\r\n\r\n",
        b"HTTP/2.0 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
    ],
)
def test_answer_that_is_no_http_fails(data):
    http, conn, _ = asked()
    events = said(http.receive(data)) + said(http.receive(b""))
    assert type(events[0]) is Failed
    assert len(events) == 1
    # Nothing was answered.
    assert events[0].error.status is None
    assert conn.state is State.CLOSED
    assert http.done


@pytest.mark.parametrize("value", [b"a\x00b", b"a\x07b", b"a\x7fb", b"caf\xe9\x1b"])
def test_header_value_with_a_character_that_may_not_be_there_fails(value):
    assert refused(UPGRADE, CONNECTION, ACCEPTED, b"X: " + value).code == 1002


def test_obs_fold_in_the_answer_is_one_space_or_a_fault():
    # RFC 9112 §5.2 leaves a user agent to replace it.
    events, _, conn = answered(UPGRADE, CONNECTION, ACCEPTED, b"X: a\r\n b")
    assert type(events[0]) is Failed or events[0].headers == (("x", "a b"),)


def test_transport_that_ends_before_the_answer_fails_with_1006():
    http, conn, _ = asked()
    assert fault(said(http.receive(b""))).code == 1006
    assert conn.state is State.CLOSED
    assert http.done


def test_transport_that_ends_within_the_answer_fails_with_1006():
    http, _, _ = asked()
    assert said(http.receive(ANSWER)) == []
    assert fault(said(http.receive(b""))).code == 1006
    assert http.done


@pytest.mark.parametrize("cut", [1 << 20, 4096, 1000])
def test_head_of_70_kb_fails_however_it_is_cut(cut):
    http, conn, _ = asked()
    head = ANSWER + b"X: " + b"a" * 70_000 + b"\r\n\r\n"
    events = [event for i in range(0, len(head), cut) for event in said(http.receive(head[i : i + cut]))]
    assert fault(events).code == 1002
    assert conn.state is State.CLOSED


@pytest.mark.parametrize("cut", [1 << 20, 4096])
def test_head_of_10000_headers_fails_however_it_is_cut(cut):
    http, conn, _ = asked()
    head = ANSWER + b"a: b\r\n" * 10_000 + b"\r\n"
    events = [event for i in range(0, len(head), cut) for event in said(http.receive(head[i : i + cut]))]
    assert fault(events).code == 1002


def test_head_of_30_kb_opens():
    events, _, _ = answered(UPGRADE, CONNECTION, ACCEPTED, b"X: " + b"a" * 30_000)
    assert type(events[0]) is UpgradeAccept


def test_head_that_drips_byte_by_byte_opens():
    http, _, _ = asked()
    events = [event for byte in ANSWER + b"\r\n" for event in said(http.receive(bytes([byte])))]
    assert events == [UpgradeAccept()]


def test_redirect_is_handed_to_the_caller_untouched():
    # Whether to follow, and what headers to drop then, is not decided below the drivers.
    http, _, _ = asked()
    (reject,) = said(http.receive(b"HTTP/1.1 302 Found\r\nLocation: ws://evil.example/\r\nContent-Length: 0\r\n\r\n"))
    assert ("location", "ws://evil.example/") in reject.headers


def test_the_accept_of_any_key_is_its_hash_with_the_guid():
    for _ in range(20):
        http = Http1(Role.CLIENT)
        head = http.open().send(UpgradeRequest("example.com"))
        key = header_of(head, "Sec-WebSocket-Key")
        assert re.fullmatch(r"[A-Za-z0-9+/]{22}==", key)
        assert said(http.receive(ANSWER.replace(ACCEPT.encode(), accept_of(key).encode()) + b"\r\n")) == [
            UpgradeAccept()
        ]
