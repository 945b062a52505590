"""Requests and responses (RFC 9113 §8.1-8.3, §8.5): what is malformed, and whom it hurts."""

import h2.events
import pytest
from wire import (
    CONNECT,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    H2_PING,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    H2Peer,
    fault,
    h2_frame,
    h2_frames,
    masked,
)

from mintws import Close, LocalProtocolError, Role, State, Text, UpgradeReject, UpgradeRequest
from mintws.events import MessageEnded, MessageReset, Request, RequestStarted, ResponseStarted


def asked():
    """A client of ours that has asked on stream 1."""
    peer = H2Peer(Role.CLIENT)
    conn = peer.http.open()
    peer.hear(conn.send(UpgradeRequest("example.com")))
    return peer, conn


def head(peer: H2Peer, stream: int, *headers: tuple[str, str], end: bool = False) -> bytes:
    return h2_frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, peer.h2.encoder.encode(list(headers)))


def resets(data: bytes) -> list[tuple[int, int]]:
    return [
        (number, int.from_bytes(payload, "big")) for kind, _, number, payload in h2_frames(data) if kind == RST_STREAM
    ]


MALFORMED = [
    [],
    [("x", "y")],
    [(":status", "403"), ("Upper", "x")],
    [(":status", "403"), ("connection", "close")],
    [(":status", "403"), (":status", "404")],
    [(":status", "403"), (":path", "/")],
    [(":status", "403"), (":foo", "bar")],
    [("x", "y"), (":status", "403")],
    [(":status", "403"), ("x", "a\r\nb")],
    [(":status", "403"), ("x", "a\x00b")],
    [(":status", "403"), ("x", " a")],
    *(
        [(":status", status)]
        for status in ("", "2", "40", "abc", "2xx", "2 0", "200 ", "000", "099", "600", "2000", "1000", "+20")
    ),
]


@pytest.mark.parametrize("headers", MALFORMED, ids=repr)
@pytest.mark.parametrize("end", [True, False])
def test_malformed_response_is_not_taken_for_a_reject(headers, end):
    # §8.1.1: a client must not accept it. §8.3.2: without :status it is malformed.
    peer, conn = asked()
    events, reply = peer.http.receive(head(peer, 1, *headers, end=end))
    assert fault([event for it, event in events if it is conn]).code == 1002
    assert resets(reply) == [(1, 1)]
    assert conn.state is State.CLOSED
    assert not peer.http._streams
    assert not peer.http.done


@pytest.mark.parametrize("header", [("Upper", "x"), ("connection", "x"), (":path", "/"), ("x", "a\nb")])
def test_malformed_interim_response_fails(header):
    peer, conn = asked()
    headers = [header, (":status", "103")] if header[0] == ":path" else [(":status", "103"), header]
    events, reply = peer.http.receive(head(peer, 1, *headers))
    assert fault([event for it, event in events if it is conn]).code == 1002
    assert resets(reply) == [(1, 1)]


def test_interim_response_with_end_stream_opens_nothing():
    # Malformed (§8.1).
    peer, conn = asked()
    events, reply = peer.http.receive(head(peer, 1, (":status", "100"), end=True))
    assert fault([event for it, event in events if it is conn]).section == "RFC 9113 §8.1.1"
    assert conn.state is State.CLOSED
    assert resets(reply) == [(1, 1)]
    assert not peer.http.done


def test_reset_with_no_error_behind_a_response_takes_nothing_from_it():
    # 81 03 ... RST_STREAM 00 00 00 00
    peer, conn = asked()
    data = (
        head(peer, 1, (":status", "403")) + h2_frame(DATA, END_STREAM, 1, b"no") + h2_frame(RST_STREAM, 0, 1, bytes(4))
    )
    events, _ = peer.http.receive(data)
    assert [event for it, event in events if it is conn] == [UpgradeReject(403, body=b"no")]


def test_trailers_of_a_reject_are_passed_over():
    peer, conn = asked()
    data = head(peer, 1, (":status", "403")) + h2_frame(DATA, 0, 1, b"no") + head(peer, 1, ("x", "y"), end=True)
    events, _ = peer.http.receive(data)
    assert [event for it, event in events if it is conn] == [UpgradeReject(403, body=b"no")]


def test_trailers_of_a_reject_with_pseudo_headers_are_malformed():
    peer, conn = asked()
    data = head(peer, 1, (":status", "403")) + head(peer, 1, (":status", "200"), end=True)
    events, reply = peer.http.receive(data)
    assert fault([event for it, event in events if it is conn]).code == 1002
    assert resets(reply) == [(1, 1)]


@pytest.mark.parametrize("role", list(Role))
def test_headers_on_an_open_websocket_reset_its_stream(role):
    # §8.5: on a connected stream comes nothing but DATA.
    peer = H2Peer(role)
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    events, reply = peer.http.receive(head(peer, stream, ("x", "y"), end=True))
    # The end of the stream is nobody's any more.
    assert [it for it, _ in events] == [conn]
    error = fault([event for it, event in events if it is conn])
    assert (error.code, error.section) == (1002, "RFC 9113 §8.5")
    assert resets(reply) == [(stream, 1)]
    assert not peer.http._streams
    assert conn.send(events[0][1]) == b""
    _, other = peer.open() if role is Role.SERVER else peer.answer()
    assert other.state is State.OPEN


def test_headers_behind_both_closes_hurt_nothing():
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    conn.send(Close(1000))
    peer.http.receive(h2_frame(DATA, 0, stream, b"\x88\x02\x03\xe8"))
    events, reply = peer.http.receive(head(peer, stream, ("x", "y"), end=True))
    assert not any(it is conn for it, _ in events)
    assert resets(reply) in ([], [(stream, 1)])
    assert not peer.http._streams
    assert not peer.http.done
    peer.answer()


@pytest.mark.parametrize("role", list(Role))
def test_headers_without_end_stream_behind_the_head_reset_their_stream(role):
    # Malformed (§8.1).
    peer = H2Peer(role)
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    _, other = peer.open() if role is Role.SERVER else peer.answer()
    events, reply = peer.http.receive(head(peer, stream, ("x", "y")))
    assert fault([event for it, event in events if it is conn]).section == "RFC 9113 §8.1.1"
    assert resets(reply) == [(stream, 1)]
    assert other.state is State.OPEN


# Content-Length, §8.1.1.

POST = [(":method", "POST"), *GET[1:]]
WRONG_LENGTHS = {
    "too little": (["5"], [b"abc"]),
    "too much": (["5"], [b"abcabc"]),
    "too much in the second": (["5"], [b"abc", b"abc"]),
    "nothing": (["5"], []),
    "nothing, in an empty DATA": (["5"], [b""]),
    "no number": (["x"], [b"abc"]),
    "a sign": (["+3"], [b"abc"]),
    "a list": (["3, 3"], [b"abc"]),
    "two that differ": (["3", "4"], [b"abc"]),
}


def message(peer: H2Peer, stream: int, headers, parts, *, trailers: bool = False) -> bytes:
    """A whole message; without a part it ends with its head."""
    made = head(peer, stream, *headers, end=not parts and not trailers)
    for part in parts:
        end = part is parts[-1] and not trailers
        made += h2_frame(DATA, END_STREAM if end else 0, stream, part)
    return made + (head(peer, stream, ("x", "y"), end=True) if trailers else b"")


@pytest.mark.parametrize("trailers", [False, True])
@pytest.mark.parametrize(("lengths", "parts"), WRONG_LENGTHS.values(), ids=WRONG_LENGTHS)
def test_wrong_content_length_of_a_request_resets_its_stream_alone(lengths, parts, trailers):
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    headers = [*POST, *(("content-length", length) for length in lengths)]
    events, reply = peer.http.receive(message(peer, 3, headers, parts, trailers=trailers))
    assert resets(reply)[0] == (3, 1)
    assert {it for it, _ in events} <= {None}
    assert MessageEnded not in {type(event) for _, event in events}
    # It is told of where the request was.
    kinds = [type(event) for _, event in events]
    assert kinds == [] or (kinds[0], kinds[-1]) == (RequestStarted, MessageReset)
    assert peer.http.receive(h2_frame(DATA, 0, stream, masked(1, b"hi"))) == ([(conn, Text("hi"))], b"")


@pytest.mark.parametrize("trailers", [False, True])
@pytest.mark.parametrize(("lengths", "parts"), WRONG_LENGTHS.values(), ids=WRONG_LENGTHS)
def test_wrong_content_length_of_a_response_is_not_accepted(lengths, parts, trailers):
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    number, data = peer.http.request(Request("GET", "/", (("host", "example.com"),)))
    peer.hear(data)
    headers = [(":status", "200"), *(("content-length", length) for length in lengths)]
    events, _ = peer.http.receive(message(peer, number, headers, parts, trailers=trailers))
    kinds = [type(event) for _, event in events]
    assert kinds[-1] is MessageReset
    assert MessageEnded not in kinds
    assert [peer.http.collect(event) for _, event in events] == [None] * len(events)
    assert not peer.http.collecting
    assert peer.http.receive(h2_frame(DATA, 0, stream, b"\x81\x02hi")) == ([(conn, Text("hi"))], b"")


@pytest.mark.parametrize("trailers", [False, True])
@pytest.mark.parametrize(("lengths", "parts"), WRONG_LENGTHS.values(), ids=WRONG_LENGTHS)
def test_wrong_content_length_of_a_reject_fails(lengths, parts, trailers):
    peer, conn = asked()
    headers = [(":status", "403"), *(("content-length", length) for length in lengths)]
    events, reply = peer.http.receive(message(peer, 1, headers, parts, trailers=trailers))
    error = fault([event for it, event in events if it is conn])
    assert (error.code, error.section) == (1002, "RFC 9113 §8.1.1")
    assert resets(reply)[0] == (1, 1)
    assert conn.state is State.CLOSED
    assert not peer.http.done


@pytest.mark.parametrize("trailers", [False, True])
@pytest.mark.parametrize(
    ("lengths", "parts"),
    [([], [b"abc"]), (["3"], [b"abc"]), (["3"], [b"a", b"", b"bc"]), (["3", "3"], [b"abc"]), (["0"], [])],
)
def test_right_content_length_or_none_is_taken(lengths, parts, trailers):
    named = [("content-length", length) for length in lengths]
    peer = H2Peer(Role.SERVER)
    events, _ = peer.http.receive(message(peer, 1, [*POST, *named], parts, trailers=trailers))
    (request,) = [made for _, event in events if (made := peer.http.collect(event))]
    assert request.body == b"".join(parts)
    peer, conn = asked()
    events, _ = peer.http.receive(message(peer, 1, [(":status", "403"), *named], parts, trailers=trailers))
    assert events == [(conn, UpgradeReject(403, headers=named, body=b"".join(parts)))]


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200"), ("HEAD", "404"), ("GET", "204"), ("GET", "304")])
@pytest.mark.parametrize("empty", [False, True])
def test_content_length_of_a_response_that_has_no_content_means_nothing(method, status, empty):
    peer = H2Peer(Role.CLIENT)
    number, data = peer.http.request(Request(method, "/", (("host", "example.com"),)))
    peer.hear(data)
    headers = [(":status", status), ("content-length", "100")]
    events, reply = peer.http.receive(message(peer, number, headers, [b""] if empty else []))
    (response,) = [made for _, event in events if (made := peer.http.collect(event))]
    assert (response.status, response.body) == (int(status), b"")
    assert resets(reply) == []


def test_content_of_a_response_that_has_none_resets_its_stream():
    peer = H2Peer(Role.CLIENT)
    number, data = peer.http.request(Request("HEAD", "/", (("host", "example.com"),)))
    peer.hear(data)
    events, _ = peer.http.receive(message(peer, number, [(":status", "200")], [b"abc"]))
    assert [type(event) for _, event in events] == [ResponseStarted, MessageReset]


@pytest.mark.parametrize("length", ["0", "5", "1000000"])
def test_content_length_of_the_2xx_means_nothing(length):
    # RFC 9110 §9.3.6
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer(("content-length", length))
    assert peer.http.receive(h2_frame(DATA, 0, stream, b"\x81\x02hi")) == ([(conn, Text("hi"))], b"")
    conn.send(Close(1000))
    events, reply = peer.http.receive(h2_frame(DATA, END_STREAM, stream, b"\x88\x02\x03\xe8"))
    assert events == [(conn, Close(1000))]
    assert h2_frames(reply) == [(DATA, END_STREAM, stream, b"")]
    assert not peer.http.done


@pytest.mark.parametrize("headers", MALFORMED, ids=repr)
def test_malformed_ordinary_response_resets_its_stream(headers):
    peer = H2Peer(Role.CLIENT)
    number, data = peer.http.request(Request("GET", "/", (("host", "example.com"),)))
    peer.hear(data)
    events, reply = peer.http.receive(head(peer, number, *headers))
    assert [(it, type(event)) for it, event in events] == [(None, MessageReset)]
    assert resets(reply) == [(number, 1)]
    assert not peer.http._streams


def test_malformed_response_that_ends_the_stream_is_not_reset():
    # Both sides have ended it (§5.1): nothing is sent on a stream that has closed.
    peer = H2Peer(Role.CLIENT)
    number, data = peer.http.request(Request("GET", "/", (("host", "example.com"),)))
    peer.hear(data)
    events, reply = peer.http.receive(head(peer, number, (":status", "200"), ("Upper", "x"), end=True))
    assert [type(event) for _, event in events] == [MessageReset]
    assert reply == b""
    assert not peer.http._streams


@pytest.mark.parametrize(
    "broken",
    [
        lambda peer: head(peer, 1, (":status", "100"), end=True),
        lambda peer: head(peer, 1, (":status", "403")) + head(peer, 1, (":status", "103")),
        lambda peer: h2_frame(DATA, 0, 1, b"x"),
    ],
    ids=["interim with END_STREAM", "interim behind the response", "DATA before the response"],
)
def test_what_comes_behind_a_malformed_response_is_dropped(broken):
    # §5.1: it was on its way when the stream was reset.
    peer, conn = asked()
    _, reply = peer.http.receive(broken(peer))
    assert resets(reply) == [(1, 1)]
    late = head(peer, 1, (":status", "200")) + h2_frame(DATA, 0, 1, b"x") + head(peer, 1, ("x", "y"), end=True)
    assert peer.http.receive(late) == ([], b"")
    assert conn.state is State.CLOSED
    assert not peer.http.done


@pytest.mark.parametrize("header", [(":path", "/"), ("Upper", "x"), ("x", "a\nb")])
def test_malformed_trailers_of_an_ordinary_request_reset_its_stream(header):
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    peer.http.receive(head(peer, 3, *GET))
    events, reply = peer.http.receive(head(peer, 3, header, end=True))
    assert [type(event) for _, event in events] == [MessageReset]
    assert resets(reply) == [(3, 1)]
    assert conn.state is State.OPEN


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.com", "example.com"),
        ("example.com", "Example.Com"),
        ("example.com:{port}", "example.com"),
        ("example.com", "example.com:{port}"),
        ("example.com:", "example.com"),
        ("[::1]:{port}", "[::1]"),
    ],
)
def test_host_that_is_the_authority_by_the_rules_of_the_scheme_is_no_fault(scheme, host, authority):
    # §8.3.1
    port = {"http": 80, "https": 443}[scheme]
    host, authority = host.format(port=port), authority.format(port=port)
    peer = H2Peer(Role.SERVER)
    headers = [(":method", "GET"), (":scheme", scheme), (":path", "/"), (":authority", authority), ("host", host)]
    events, reply = peer.http.receive(head(peer, 1, *headers, end=True))
    (request,) = [made for _, event in events if (made := peer.http.collect(event))]
    assert request.headers == (("host", authority),)
    assert resets(reply) == []


@pytest.mark.parametrize(
    "hosts", [["evil.example"], ["example.com:81"], ["example.com:443"], [""], ["example.com", "example.com"], ["\xe4"]]
)
def test_host_that_is_another_than_the_authority_is_malformed(hosts):
    peer = H2Peer(Role.SERVER)
    headers = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.com")]
    events, reply = peer.http.receive(head(peer, 1, *headers, *(("host", host) for host in hosts), end=True))
    assert (events, resets(reply)) == ([], [(1, 1)])


def test_cookies_of_an_ordinary_request_are_joined():
    # §8.2.3; h2 puts them last.
    peer = H2Peer(Role.SERVER)
    headers = [*GET, ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3"), ("cookie", "d=4")]
    events, _ = peer.http.receive(head(peer, 1, *headers, end=True))
    (request,) = [made for _, event in events if (made := peer.http.collect(event))]
    assert request.headers == (("host", "example.com"), ("x", "y"), ("cookie", "a=1; b=2; c=3; d=4"))


def test_goaway_names_all_that_the_application_has_seen():
    # §8.7, be it answered or not.
    peer = H2Peer(Role.SERVER)
    peer.http.receive(head(peer, 1, *GET, end=True) + head(peer, 3, *CONNECT) + head(peer, 5, *GET))
    assert h2_frames(peer.http.shutdown())[-1][3][:4] == b"\0\0\0\x05"
    peer = H2Peer(Role.SERVER)
    peer.http.receive(head(peer, 1, *GET, end=True) + head(peer, 3, *CONNECT) + head(peer, 5, *GET))
    _, reply = peer.http.receive(h2_frame(H2_PING, 0, 0, b"short"))
    assert h2_frames(reply)[-1][3][:4] == b"\0\0\0\x05"


def test_host_without_an_authority_is_the_host():
    peer = H2Peer(Role.SERVER)
    events, _ = peer.http.receive(head(peer, 1, *GET[:3], ("host", "example.com"), end=True))
    (request,) = [made for _, event in events if (made := peer.http.collect(event))]
    assert request.headers == (("host", "example.com"),)


@pytest.mark.parametrize("role", list(Role))
def test_trailers_of_an_ordinary_message_without_end_stream_reset_its_stream(role):
    # §8.1
    peer = H2Peer(role)
    _, conn = peer.open() if role is Role.SERVER else peer.answer()
    if role is Role.SERVER:
        number, start = 3, [*GET]
    else:
        (number, data), start = peer.http.request(Request("GET", "/", (("host", "a"),))), [(":status", "200")]
        peer.hear(data)
    peer.http.receive(head(peer, number, *start))
    events, reply = peer.http.receive(head(peer, number, ("x", "y")))
    assert [type(event) for _, event in events] == [MessageReset]
    assert resets(reply) == [(number, 1)]
    assert conn.state is State.OPEN


def test_priority_told_in_headers_means_nothing():
    # §5.3.2: it is deprecated. Chromium tells one.
    peer = H2Peer(Role.SERVER)
    block = b"\0\0\0\0\xff" + peer.h2.encoder.encode(GET)
    events, _ = peer.http.receive(h2_frame(HEADERS, END_HEADERS | END_STREAM | 0x20, 1, block))
    assert [type(event) for _, event in events] == [RequestStarted, MessageEnded]
    block = b"\0\0\0\0\xff" + peer.h2.encoder.encode([*GET, ("Upper", "x")])
    events, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS | 0x20, 3, block))
    assert (events, resets(reply)) == ([], [(3, 1)])


def test_trailers_of_an_ordinary_request_are_handed_on():
    peer = H2Peer(Role.SERVER)
    peer.http.receive(head(peer, 1, *GET))
    events, _ = peer.http.receive(head(peer, 1, ("x", "y"), end=True))
    assert [type(event) for _, event in events] == [MessageEnded]


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Upgrade",
        "Keep-Alive",
        "Proxy-Connection",
        "Transfer-Encoding",
        "TE",
        "Host",
        ":path",
        "HTTP2-Settings",
    ],
)
def test_header_of_the_connection_is_refused_locally(name):
    # §8.2.2; §8.3.1: a Host could differ from :authority.
    peer = H2Peer(Role.CLIENT)
    conn = peer.http.open()
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeRequest("example.com", headers=[(name, "x")]))
    assert conn.state is State.CONNECTING


def test_header_names_are_sent_in_lower_case():
    peer = H2Peer(Role.CLIENT)
    peer.hear(peer.http.open().send(UpgradeRequest("example.com", headers={"X-Mixed-Case": "Value"})))
    (request,) = peer.of(h2.events.RequestReceived)
    assert ("x-mixed-case", "Value") in [tuple(it) for it in request.headers]


def test_only_data_and_management_are_sent_on_an_open_websocket():
    # §8.5
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.wrote = b""
    peer.send(stream, masked(9, b"p"))
    peer.hear(conn.send(Text("x" * 100_000)))
    for _ in range(15):
        peer.send(stream, masked(2, bytes(16_000)))
    peer.hear(conn.send(Close(1000)))
    assert {kind for kind, _, number, _ in h2_frames(peer.wrote) if number == stream} <= {DATA, 8, RST_STREAM}


def test_stream_that_was_refused_was_not_seen_by_the_application():
    # §8.7: REFUSED_STREAM says that the request may be made again.
    peer = H2Peer(Role.SERVER, max_concurrent_streams=1)
    peer.open()
    events, reply = peer.http.receive(head(peer, 3, *GET, end=True))
    assert resets(reply) == [(3, 7)]
    assert events == []
    _, reply = peer.http.receive(h2_frame(H2_PING, 0, 0, bytes(8)))
    assert [kind for kind, *_ in h2_frames(reply)] == [H2_PING]


@pytest.mark.parametrize(
    ("ended_by", "unprocessed"),
    [
        (h2_frame(RST_STREAM, 0, 1, (7).to_bytes(4, "big")), True),
        (h2_frame(RST_STREAM, 0, 1, (8).to_bytes(4, "big")), False),
        (h2_frame(GOAWAY, 0, 0, bytes(8)), True),
        (h2_frame(GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4)), False),
        (b"", False),
    ],
    ids=["REFUSED_STREAM", "CANCEL", "GOAWAY below it", "GOAWAY", "the end"],
)
def test_a_client_knows_which_request_was_not_processed(ended_by, unprocessed):
    # §8.7: it may be made again.
    peer, connection = asked()
    peer.http.receive(ended_by)
    assert connection.carrier.unprocessed is unprocessed


def test_a_request_that_was_never_sent_was_not_processed():
    peer, _ = asked()
    peer.http.receive(h2_frame(SETTINGS, 0, 0, (3).to_bytes(2, "big") + (1).to_bytes(4, "big")))
    assert (peer.http.streams, peer.http.stream_limit) == (1, 1)
    waiting = peer.http.open()
    waiting.send(UpgradeRequest("example.com"))
    assert (peer.http.streams, waiting.carrier.number) == (2, 0)
    peer.http.receive(b"")
    assert waiting.carrier.unprocessed
