"""Ordinary requests and responses that we write (RFC 9113 §8.1): checked before HPACK is touched, each answered once."""

import h2.events
import pytest
from wire import CONNECT, GET, GOAWAY, RST_STREAM, H2Peer, h2_frames, masked

from mintws import LocalProtocolError, Role, Text, UpgradeReject
from mintws.events import Request, Response

HOST = ("host", "example.com")


def requested(peer: H2Peer, headers=GET) -> Request:
    """As a client, make a request; give it as the server gathers it."""
    peer.ask(headers, end=True)
    (request,) = [made for _, event in peer.deliver() if (made := peer.http.collect(event))]
    return request


def answers(peer: H2Peer, kind: type = h2.events.ResponseReceived) -> list[dict]:
    return [dict(it.headers) for it in peer.of(kind)]


WRONG = {
    "a line in a value": {"headers": [("x", "a\r\nset-cookie: b")]},
    "a control in a value": {"headers": [("x", "a\0b")]},
    "no ASCII in a value": {"headers": [("x", "\u20ac")]},
    "space around a value": {"headers": [("x", " a")]},
    "space in a name": {"headers": [("a b", "1")]},
    "a line in a name": {"headers": [("x\r\ny", "1")]},
    "no ASCII in a name": {"headers": [("X\u00e9", "1")]},
    "an empty name": {"headers": [("", "1")]},
    "a pseudo-header": {"headers": [(":foo", "1")]},
    "Transfer-Encoding": {"headers": [("Transfer-Encoding", "chunked")]},
    "a wrong Content-Length": {"headers": [("Content-Length", "4")]},
}
RESPONSES = {
    **WRONG,
    "a status of 101": {"status": 101},
    "a status of 99": {"status": 99},
    "a status of 600": {"status": 600},
    "a status of 70,000": {"status": 70_000},
    "a negative status": {"status": -1},
    "a body of a 204": {"status": 204},
}
REQUESTS = {
    **WRONG,
    "a line in the target": {"target": "/\r\nX: y"},
    "space in the target": {"target": "/a b"},
    "an empty target": {"target": ""},
    "a fragment": {"target": "/a#b"},
    "a line in the method": {"method": "G\r\nT"},
    "an empty method": {"method": ""},
    "CONNECT": {"method": "CONNECT"},
    "no Host": {"host": []},
    "two Hosts": {"host": [HOST, HOST]},
    "a line in Host": {"host": [("host", "a\r\nX: y")]},
}
TYPES = {
    "a body of str": {"body": "text"},
    "a body of int": {"body": 5},
    "a value of int": {"headers": [("x", 5)]},
    "a name of bytes": {"headers": [(b"x", "y")]},
}


def response(status=200, headers=(), body=b"hello") -> Response:
    # What cannot be made as a Response cannot be sent either.
    return Response(status, [("x-one", "1"), ("x-two", "2"), *headers], body)


def request(method="POST", target="/", host=(HOST,), headers=(), body=b"hello") -> Request:
    return Request(method, target, (*host, ("x-one", "1"), ("x-two", "2"), *headers), body)


@pytest.mark.parametrize("wrong", RESPONSES.values(), ids=RESPONSES)
def test_wrong_response_is_refused_locally_and_a_right_one_is_sent(wrong):
    peer = H2Peer(Role.SERVER)
    asked = requested(peer)
    with pytest.raises(LocalProtocolError):
        peer.http.respond(asked, response(**wrong))
    assert peer.http.h2.data_to_send() == b""
    peer.hear(peer.http.respond(asked, response()))
    # The peer, a real h2, could not decode this if the first had left something in the table.
    peer.hear(peer.http.respond(requested(peer), response(headers=[("x-three", "3")])))
    assert [answer["x-two"] for answer in answers(peer)] == ["2", "2"]
    assert [peer.data(stream) for stream in (1, 3)] == [b"hello", b"hello"]
    assert not peer.http._streams


@pytest.mark.parametrize("wrong", TYPES.values(), ids=TYPES)
def test_response_of_wrong_types_is_a_type_error_and_a_right_one_is_sent(wrong):
    peer = H2Peer(Role.SERVER)
    asked = requested(peer)
    with pytest.raises(TypeError):
        peer.http.respond(asked, response(**wrong))
    assert peer.http.h2.data_to_send() == b""
    peer.hear(peer.http.respond(asked, response(body=bytearray(b"hello"))))
    peer.hear(peer.http.respond(requested(peer), response(body=memoryview(b"again"))))
    assert [peer.data(stream) for stream in (1, 3)] == [b"hello", b"again"]


@pytest.mark.parametrize("wrong", REQUESTS.values(), ids=REQUESTS)
def test_wrong_request_is_refused_locally_and_opens_no_stream(wrong):
    peer = H2Peer(Role.CLIENT)
    with pytest.raises(LocalProtocolError):
        peer.http.request(request(**wrong))
    assert peer.http.h2.data_to_send() == b""
    assert not peer.http._streams
    assert peer.http.h2.open_outbound_streams == 0
    for number in (1, 3):
        stream, data = peer.http.request(request())
        peer.hear(data)
        assert (stream, peer.data(stream)) == (number, b"hello")
    assert [it["x-two"] for it in answers(peer, h2.events.RequestReceived)] == ["2", "2"]


@pytest.mark.parametrize("wrong", TYPES.values(), ids=TYPES)
def test_request_of_wrong_types_is_a_type_error_and_opens_no_stream(wrong):
    peer = H2Peer(Role.CLIENT)
    with pytest.raises(TypeError):
        peer.http.request(request(**wrong))
    assert peer.http.h2.data_to_send() == b""
    assert not peer.http._streams
    _, data = peer.http.request(request())
    assert peer.hear(data)


def test_reject_with_a_body_that_is_none_leaves_the_handshake_as_it_was():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask()
    ((conn, _),) = peer.deliver()
    with pytest.raises(TypeError):
        conn.send(UpgradeReject(403, headers=[("x-one", "1")], body="text"))
    peer.hear(conn.send(UpgradeReject(403, headers=[("x-one", "1")], body=b"no")))
    assert peer.data(stream) == b"no"
    peer.hear(peer.http.respond(requested(peer), response()))


@pytest.mark.parametrize("name", ["Connection", "Keep-Alive", "Upgrade", "TE", "Proxy-Connection"])
def test_header_of_the_connection_is_left_out_of_a_response(name):
    # §8.2.2: so that one answer does for both versions of HTTP.
    peer = H2Peer(Role.SERVER)
    peer.hear(peer.http.respond(requested(peer), response(headers=[(name, "x")])))
    (answer,) = answers(peer)
    assert set(answer) == {":status", "x-one", "x-two", "content-length"}


def collected(peer: H2Peer, number: int, size: int, part: int, **how):
    """As the peer, send a body of so many bytes, in parts, to a loop as the guide has it; give the message, and what is not sent then."""
    while size:
        len_now = min(part, size, 16384, peer.h2.local_flow_control_window(number))
        assert len_now, "no credit came back"
        size -= len_now
        peer.h2.send_data(number, bytes(len_now), end_stream=not size)
        events, reply = peer.http.receive(peer.h2.data_to_send())
        peer.hear(reply)
        made = [it for _, event in events if (it := peer.http.collect(event, **how))]
        more, reply = peer.http.proceed()
        peer.hear(reply)
        assert more == []
        if made:
            return made[0], size
    raise AssertionError("the message is not whole")


def asked_by(role: Role) -> tuple[H2Peer, int]:
    """A peer that is about to send a body: of its request, or of the response to ours."""
    peer = H2Peer(role)
    if role is Role.SERVER:
        return peer, peer.ask([(":method", "POST"), *GET[1:]])
    number, data = peer.http.request(request())
    peer.hear(data)
    peer.h2.send_headers(number, [(":status", "200")])
    return peer, number


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("size", [1, 262_143, 262_145, 700_000, 900_001, 1 << 20])
@pytest.mark.parametrize("part", [16384, 16383, 5003])
def test_body_gets_its_credit_back_as_it_is_collected(role, size, part):
    # The peer always sends all that it may.
    peer, number = asked_by(role)
    made, left = [], size
    while not made:
        had = left
        while now := min(part, left, peer.h2.local_flow_control_window(number)):
            left -= now
            peer.h2.send_data(number, bytes(now), end_stream=not left)
        assert left < had, "no credit came back"
        events, reply = peer.http.receive(peer.h2.data_to_send())
        made = [it for _, event in events if (it := peer.http.collect(event))]
        peer.hear(reply + peer.http.proceed()[1])
    assert made[0].body == bytes(size)


@pytest.mark.parametrize("role", list(Role))
def test_body_that_comes_in_one_chunk_with_its_head_gets_its_credit_back(role):
    # As much as the window lets pass, before `collect` has seen anything.
    peer, number = asked_by(role)
    while size := min(16384, peer.h2.local_flow_control_window(number)):
        peer.h2.send_data(number, bytes(size))
    events, reply = peer.http.receive(peer.h2.data_to_send())
    peer.hear(reply)
    assert [made for _, event in events if (made := peer.http.collect(event))] == []
    assert peer.h2.local_flow_control_window(number) == 0
    peer.hear(peer.http.proceed()[1])
    assert peer.h2.local_flow_control_window(number) >= 131_072


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    ("how", "limit"), [({}, 1 << 20), ({"limit": 1000}, 1000), ({"limit": 0}, 0), ({"limit": 5_000_000}, 5_000_000)]
)
def test_body_over_the_limit_is_told_at_once_and_no_more_of_it_kept(role, how, limit):
    peer, number = asked_by(role)
    message, unsent = collected(peer, number, limit + 600_000, 5003, **how)
    assert message.body is None
    assert 600_000 - 5003 <= unsent < 600_000
    # What is on its way brings no second message, and no credit for a third.
    for _ in range(2):
        while size := min(unsent, 16384, peer.h2.local_flow_control_window(number)):
            unsent -= size
            peer.h2.send_data(number, bytes(size), end_stream=not unsent)
        assert [made for _, event in peer.deliver() if (made := peer.http.collect(event))] == []
        peer.hear(peer.http.proceed()[1])
    assert unsent > 600_000 - 262_144 - 5003
    if role is Role.SERVER:
        peer.hear(peer.http.respond(message, Response(413)))
        assert answers(peer)[0][":status"] == "413"
    else:
        peer.hear(peer.http.cancel(number))
        assert [it.error_code for it in peer.of(h2.events.StreamReset)] == [8]


@pytest.mark.parametrize("limit", [100_000, 20_000])
def test_of_bodies_that_are_too_much_together_the_longest_is_given_up(limit):
    peer = H2Peer(Role.SERVER)
    numbers = [peer.ask(GET) for _ in range(12)]
    given = []

    def gather():
        for _, event in peer.deliver():
            if message := peer.http.collect(event, limit):
                given.append(message)
        peer.hear(peer.http.proceed()[1])
        assert sum(size for _, size in peer.http.collecting) <= 8 * limit

    gather()
    longest = numbers[5]
    for number in numbers:
        for _ in range(10 if number == longest else 9):
            peer.h2.send_data(number, bytes(limit // 10))
        gather()
    assert [(message.stream, message.body) for message in given[:1]] == [(longest, None)]
    kept = {request.stream for request, _ in peer.http.collecting}
    assert len(kept) == 12 - len(given) == 8
    peer.hear(peer.http.respond(given[0], Response(413)))
    for number in kept:
        peer.h2.end_stream(number)
    gather()
    assert {message.stream for message in given if message.body is not None} == kept


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("size", "how"), [(1 << 20, {}), (0, {"limit": 0}), (3_000_001, {"limit": None})])
def test_body_of_the_limit_is_kept(role, size, how):
    peer, number = asked_by(role)
    if size:
        message, _ = collected(peer, number, size, 16384, **how)
    else:
        peer.h2.end_stream(number)
        (message,) = [made for _, event in peer.deliver() if (made := peer.http.collect(event, **how))]
    assert message.body == bytes(size)


def test_who_reads_bodies_by_means_of_h2_acknowledges_them():
    peer, number = asked_by(Role.SERVER)
    peer.deliver()
    for _ in range(16):
        peer.send(number, bytes(16384))
        peer.hear(peer.http.proceed()[1])
    assert peer.h2.local_flow_control_window(number) == 0
    peer.http.h2.acknowledge_received_data(262_144, number)
    peer.hear(peer.http.h2.data_to_send())
    assert peer.h2.local_flow_control_window(number) == 262_144


def test_response_whose_body_was_not_kept_is_refused_locally():
    peer = H2Peer(Role.SERVER)
    with pytest.raises(LocalProtocolError):
        peer.http.respond(requested(peer), response(body=None))


def test_response_to_a_request_that_was_taken_back_is_nothing():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    asked = requested(peer)
    peer.h2.reset_stream(asked.stream, 8)
    peer.deliver()
    assert peer.http.respond(asked, response()) == b""
    assert set(peer.http._streams) == {stream}
    assert peer.send(stream, masked(1, b"hi")) == [(conn, Text("hi"))]
    peer.http.shutdown()
    conn.abort()
    assert peer.http.done


def test_response_behind_the_end_of_the_connection_is_nothing():
    for end in (b"", b"\0\0\0\x06\0\0\0\0\0"):
        peer = H2Peer(Role.SERVER)
        asked = requested(peer)
        _, reply = peer.http.receive(end)
        assert [kind for kind, *_ in h2_frames(reply)] == ([GOAWAY] if end else [])
        assert peer.http.respond(asked, response()) == b""
        assert not peer.http._streams


def test_reset_behind_a_request_in_one_read_leaves_nothing_to_respond_to():
    peer = H2Peer(Role.SERVER)
    for _ in range(50):
        stream = peer.ask(GET, end=True)
        peer.h2.reset_stream(stream, 8)
        events, _ = peer.http.receive(peer.h2.data_to_send())
        (asked,) = [made for _, event in events if (made := peer.http.collect(event))]
        assert peer.http.respond(asked, response()) == b""
    assert not peer.http._streams


@pytest.mark.parametrize("size", [5, 200_000])
def test_second_response_is_refused_locally_and_the_first_goes_out(size):
    peer = H2Peer(Role.SERVER)
    asked = requested(peer)
    peer.hear(peer.http.respond(asked, response(body=bytes(size))))
    with pytest.raises(LocalProtocolError):
        peer.http.respond(asked, response())
    while len(peer.data(asked.stream)) < size:
        for number in (None, asked.stream):
            peer.h2.increment_flow_control_window(65535, number)
        peer.deliver()
    assert peer.data(asked.stream) == bytes(size)
    assert peer.of(h2.events.StreamEnded, asked.stream)
    with pytest.raises(LocalProtocolError):
        peer.http.respond(asked, response())
    assert not peer.http._streams


@pytest.mark.parametrize("number", [0, 2, 5, -1, 1 << 31])
def test_response_to_no_request_is_refused_locally(number):
    peer = H2Peer(Role.SERVER)
    requested(peer)
    with pytest.raises(LocalProtocolError):
        peer.http.respond(Request("GET", "/", stream=number), response())


def test_response_that_h2_was_given_is_the_only_one():
    peer = H2Peer(Role.SERVER)
    asked = requested(peer)
    peer.http.h2.send_headers(asked.stream, [(":status", "200")])
    with pytest.raises(LocalProtocolError):
        peer.http.respond(asked, response())
    peer.http.h2.send_data(asked.stream, b"by hand", end_stream=True)
    peer.hear(peer.http.h2.data_to_send())
    assert peer.data(asked.stream) == b"by hand"


def test_response_and_request_belong_to_their_roles():
    peer = H2Peer(Role.CLIENT)
    number, _ = peer.http.request(request())
    with pytest.raises(LocalProtocolError):
        peer.http.respond(Request("GET", "/", stream=number), response())
    with pytest.raises(LocalProtocolError):
        H2Peer(Role.SERVER).http.request(request())


@pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
def test_client_that_waits_for_100_before_its_content_gets_it_at_once(value):
    # RFC 9110 §10.1.1
    peer = H2Peer(Role.SERVER)
    stream = peer.ask([(":method", "POST"), *GET[1:], ("expect", value)])
    ((_, event),) = peer.deliver()
    assert peer.http.collect(event) is None
    assert [dict(it.headers) for it in peer.of(h2.events.InformationalResponseReceived, stream)] == [{":status": "100"}]
    peer.h2.send_data(stream, b"content", end_stream=True)
    (asked,) = [made for _, event in peer.deliver() if (made := peer.http.collect(event))]
    assert asked.body == b"content"
    peer.hear(peer.http.respond(asked, response()))
    assert peer.data(stream) == b"hello"


@pytest.mark.parametrize(
    ("headers", "end"),
    [
        ([*GET, ("expect", "100-continue")], True),
        ([(":method", "POST"), *GET[1:], ("expect", "a miracle")], False),
        ([(":method", "POST"), *GET[1:]], False),
        ([*CONNECT, ("expect", "100-continue")], False),
    ],
)
def test_no_100_is_sent_where_no_content_is_held_back(headers, end):
    peer = H2Peer(Role.SERVER)
    peer.ask(headers, end=end)
    peer.deliver()
    assert not peer.of(h2.events.InformationalResponseReceived)


def test_client_takes_any_number_of_interim_responses():
    peer = H2Peer(Role.CLIENT)
    number, data = peer.http.request(request(headers=[("Expect", "100-continue")]))
    peer.hear(data)
    for status in ("100", "103", "103"):
        peer.h2.send_headers(number, [(":status", status)])
    peer.h2.send_headers(number, [(":status", "204")], end_stream=True)
    made = [it for _, event in peer.deliver() if (it := peer.http.collect(event))]
    assert [it.status for it in made] == [204]


def uploading(peer: H2Peer) -> int:
    """As the client, begin a request that goes on for long, and have it answered."""
    stream = peer.ask([(":method", "POST"), *GET[1:]])
    peer.deliver()
    peer.hear(peer.http.respond(Request("POST", "/", stream=stream), Response(413)))
    assert peer.of(h2.events.StreamEnded, stream)
    return stream


def test_response_ahead_of_the_end_of_its_request_ends_the_request_too():
    # §8.1: RST_STREAM with NO_ERROR, behind the whole response; not with it, which some clients take for a failure.
    peer = H2Peer(Role.SERVER)
    stream = uploading(peer)
    assert peer.http.half_closed == 1
    assert peer.http.reset_half_closed() == b""
    late = uploading(peer)
    assert h2_frames(peer.http.reset_half_closed()) == [(RST_STREAM, 0, stream, bytes(4))]
    assert h2_frames(peer.http.reset_half_closed()) == [(RST_STREAM, 0, late, bytes(4))]
    assert peer.http.half_closed == peer.http.h2.open_inbound_streams == 0
    assert not peer.http._streams


@pytest.mark.parametrize("end", ["END_STREAM", "RST_STREAM"])
def test_request_that_ends_behind_its_response_is_not_reset(end):
    peer = H2Peer(Role.SERVER)
    stream = uploading(peer)
    peer.http.reset_half_closed()
    if end == "END_STREAM":
        peer.h2.end_stream(stream)
    else:
        peer.h2.reset_stream(stream)
    events = peer.deliver()
    assert [made for _, event in events if (made := peer.http.collect(event))] == []
    assert peer.http.half_closed == 0
    assert peer.http.reset_half_closed() == b""
    assert not peer.http._streams


@pytest.mark.parametrize(("most", "waiting"), [(100, 50), (3, 1), (1, 0)])
def test_half_of_the_streams_may_be_half_closed(most, waiting):
    peer = H2Peer(Role.SERVER, max_concurrent_streams=most)
    streams = [uploading(peer) for _ in range(60)]
    assert peer.http.half_closed == waiting
    assert [it.stream_id for it in peer.of(h2.events.StreamReset)] == streams[: 60 - waiting]
    assert {it.error_code for it in peer.of(h2.events.StreamReset)} == {0}


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_request_that_is_not_whole_can_be_refused(method):
    # RFC 9110 §15.5.9, RFC 9113 §8.1: the response is whole, and nothing more is asked for. Others go on.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    slow = peer.ask([(":method", method), *GET[1:]])
    peer.h2.send_data(slow, b"half")
    for _, event in peer.deliver():
        assert peer.http.collect(event) is None
    ((refused, size),) = peer.http.collecting
    assert (refused.method, refused.body, refused.stream, size) == (method, None, slow, 4)
    slowly = Response(408, {"Connection": "close"}, b"too slow\n")
    peer.hear(peer.http.respond(refused, slowly))
    assert [answer[":status"] for answer in answers(peer)][1:] == ["408"]
    assert b"".join(it.data for it in peer.of(h2.events.DataReceived)) == (b"too slow\n" if method == "POST" else b"")
    assert peer.of(h2.events.StreamEnded, slow) and not peer.of(h2.events.StreamReset)
    peer.hear(peer.http.reset_half_closed() + peer.http.reset_half_closed())
    assert [(it.stream_id, it.error_code) for it in peer.of(h2.events.StreamReset)] == [(slow, 0)]
    assert peer.http.collecting == [] and not peer.http.done
    assert peer.http.respond(refused, slowly) == b""
    peer.hear(conn.send(Text("still here")))
    assert peer.of(h2.events.DataReceived)[-1].stream_id == stream


def test_client_refuses_no_request():
    peer = H2Peer(Role.CLIENT)
    number, data = peer.http.request(Request("GET", "/", (HOST,)))
    peer.hear(data)
    peer.h2.send_headers(number, [(":status", "200")])
    for _, event in peer.deliver():
        peer.http.collect(event)
    assert peer.http.collecting == []
    with pytest.raises(LocalProtocolError, match="a client makes requests"):
        peer.http.respond(Request("GET", "/", (HOST,), stream=number), Response(408))


def test_bytes_that_wait_for_room_are_counted():
    peer = H2Peer(Role.SERVER)
    assert peer.http.buffered == 0
    peer.hear(peer.http.respond(requested(peer), Response(200, body=bytes(100_000))))
    assert peer.http.buffered == 100_000 - 65535
