"""How requests follow one another on a connection, and how it ends (RFC 9112 §9)."""

import h11
import pytest
from wire import ANSWER, REQUEST, End, accept_of, closing, cost, fault, frame, header_of, masked, opened, said

from mintws import Http1, LocalProtocolError, Role, State, Text, UpgradeAccept, UpgradeRequest
from mintws.events import BodyData, MessageEnded, Request, RequestStarted, Response, ResponseStarted

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\n\n\r\n0\r\n\r\n"
COUNTED = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n"


def asked(http: Http1, received) -> list[Request]:
    """The ordinary requests that are whole now."""
    return [request for request in map(http.collect, said(received)) if request is not None]


def server(data: bytes):
    """A server that has received bytes, and the requests that it has told of."""
    http = Http1(Role.SERVER)
    return http, asked(http, http.receive(data))


@pytest.mark.parametrize("request_", [GET, CHUNKED, COUNTED], ids=["no body", "chunks", "length"])
@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
def test_pipelined_requests_are_told_of_one_by_one_as_they_are_answered(request_, cut):
    # §9.3.2: the answers go out in the order of the requests.
    data = b"".join(request_ % i for i in range(5))
    http, requests = Http1(Role.SERVER), []
    for i in range(0, len(data), cut):
        requests += asked(http, http.receive(data[i : i + cut]))
    for i in range(5):
        assert [it.target for it in requests] == [f"/{i}"]
        assert not http.done
        http.respond(requests[0], Response(200))
        requests = asked(http, http.proceed())
    assert requests == []


def test_request_behind_a_body_that_was_answered_early_is_told_of_in_the_same_call():
    http, _ = server(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    http.h11.send(h11.Response(status_code=413, headers=[("Content-Length", "0")]))
    http.h11.send(h11.EndOfMessage())
    assert http.proceed() == ([], b"")
    events = said(http.receive(b"hello" + REQUEST + b"\r\n"))
    assert [type(it) for it in events] == [BodyData, MessageEnded, UpgradeRequest]


@pytest.mark.parametrize(
    "head",
    [
        GET % 1,
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        REQUEST + b"\r\n",
    ],
    ids=["ordinary", "other protocol", "HTTP/1.0", "websocket"],
)
def test_what_waits_behind_an_unanswered_request_stops_reading_at_64_kib(head):
    http = Http1(Role.SERVER)
    http.receive(head)
    http.receive(b"x" * 65535)
    assert http.reading
    http.receive(b"x")
    assert not http.reading


def test_reading_goes_on_as_what_waits_is_answered():
    request = b"GET /%d HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1000 + b"\r\n\r\n"
    http, requests = server(request % 0)
    for i in range(1, 101):
        assert http.receive(request % i) == ([], b"")
    for answered in range(101):
        assert http.reading is (sum(len(request % i) for i in range(answered + 1, 101)) < 65536)
        http.respond(requests[0], Response(200))
        requests = asked(http, http.proceed())
    assert requests == []


@pytest.mark.parametrize("request_", [GET, CHUNKED, COUNTED], ids=["no body", "chunks", "length"])
def test_h11_holds_nothing_behind_the_message_that_it_reads(request_):
    # So nothing that it holds is copied again for each message, or has to be taken back from it.
    http, requests = server(request_ % 0 * 100)
    for _ in range(100):
        assert http.h11.trailing_data == (b"", False)
        http.respond(requests[0], Response(200))
        requests = asked(http, http.proceed())
    assert http.receive((GET % 1)[:-1]) == ([], b"")
    assert http.h11.trailing_data[0] == (GET % 1)[:-1]


@pytest.mark.parametrize("request_", [GET, CHUNKED], ids=["no body", "chunks"])
def test_a_pipelined_request_costs_the_same_however_many_are_behind_it(request_):
    def answer(count: int) -> None:
        http, requests = server(request_ % 0 * count)
        for _ in range(500):
            http.respond(requests[0], Response(200))
            requests = asked(http, http.proceed())

    assert cost(lambda: answer(64_000)) < 3 * cost(lambda: answer(500))


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"],
)
@pytest.mark.parametrize("tail", [b"\r\n", GET % 2, b"\x00", REQUEST + b"\r\n", b"x" * 100_000])
@pytest.mark.parametrize("later", [False, True])
def test_the_last_request_is_answered_and_what_follows_is_dropped(head, tail, later):
    # §9.6: a server does not process what comes behind a request with "close". HTTP/1.0 closes by itself.
    http, requests = server(head if later else head + tail)
    if later:
        assert http.receive(tail) == ([], b"")
    assert http.reading
    answer = http.respond(requests[0], Response(200, body=b"a page"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"a page")
    assert http.done
    assert http.proceed() == ([], b"")


@pytest.mark.parametrize("how", ["respond", "h11"])
def test_what_is_no_request_behind_a_head_is_refused_with_a_body(how):
    http, requests = server(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    if how == "respond":
        http.respond(requests[0], Response(200, body=b"a page"))
        assert http.proceed() == ([], b"")
    else:
        http.h11.send(h11.Response(status_code=200, headers=[("Content-Length", "6")]))
        http.h11.send(h11.EndOfMessage())
        http.h11.start_next_cycle()
    events, reply = http.receive(b"\x00\r\n\r\n")
    assert fault(said((events, reply))).status == 400
    head, _, body = reply.partition(b"\r\n\r\n")
    assert int(header_of(head, "Content-Length")) == len(body) > 0


@pytest.mark.parametrize(
    "broken", [b"\x00\r\n\r\n", REQUEST + b"Content-Length: 5\r\n\r\n", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"]
)
def test_behind_a_refusal_nothing_is_kept(broken):
    http = Http1(Role.SERVER)
    _, reply = http.receive(broken + b"x" * 100_000)
    assert reply.startswith(b"HTTP/1.1 ")
    assert http.done
    for _ in range(10):
        assert http.receive(b"x" * 100_000) == ([], b"")
        assert http.reading


def test_refusal_does_not_say_again_what_came():
    events, reply = Http1(Role.SERVER).receive(b"<script>" * 1000 + b"\r\n\r\n")
    assert len(reply) < 200
    assert "script" not in str(fault(said((events, reply))))


def test_end_of_the_transport_is_told_once():
    http, requests = server(GET % 1)
    assert said(http.receive(b"")) == []
    assert http.receive(b"") == ([], b"")
    assert not http.done
    assert http.receive(b"late") == ([], b"")
    http.respond(requests[0], Response(200))
    assert http.proceed() == ([], b"")
    assert http.done


def test_end_of_the_transport_comes_behind_the_requests_that_wait():
    http, requests = server(GET % 1 + GET % 2)
    assert http.receive(b"") == ([], b"")
    assert http.receive(GET % 3) == ([], b"")
    http.respond(requests[0], Response(200))
    assert not http.done
    events = said(http.proceed())
    assert [type(it) for it in events] == [RequestStarted, MessageEnded]


def test_shutdown_without_a_request_is_done():
    for role in Role:
        http = Http1(role)
        conn = http.open() if role is Role.CLIENT else None
        assert http.shutdown() == http.shutdown() == b""
        if conn is not None:
            with pytest.raises(LocalProtocolError, match="is ending"):
                conn.send(UpgradeRequest("example.com"))
        assert http.done
        assert not http.can_open
        assert http.receive(GET % 1 if role is Role.SERVER else ANSWER) == ([], b"")


def test_shutdown_lets_the_request_be_answered_and_takes_no_more():
    http, requests = server(GET % 1 + GET % 2)
    http.shutdown()
    assert not http.done
    answer = http.respond(requests[0], Response(200, {"Connection": "Upgrade"}))
    # §9.6: who means to close says so in the last response.
    assert answer.endswith(b"\r\nConnection: close\r\n\r\n")
    assert http.done
    assert http.proceed() == http.receive(GET % 3) == ([], b"")


def test_shutdown_behind_an_answer_takes_no_more():
    http, requests = server(GET % 1 + GET % 2)
    http.respond(requests[0], Response(200))
    http.shutdown()
    assert http.proceed() == ([], b"")
    assert http.done


@pytest.mark.parametrize("early", [False, True])
def test_shutdown_lets_a_websocket_go_on_to_its_end(early):
    http = Http1(Role.SERVER)
    ((conn, _),), _ = http.receive(REQUEST + b"\r\n")
    if early:
        http.shutdown()
    conn.send(UpgradeAccept())
    http.shutdown()
    assert not http.done
    assert said(http.receive(masked(1, b"hi"))) == [Text("hi")]
    conn.send(said(http.receive(masked(8, b"\x03\xe8")))[0])
    assert http.done


def test_shutdown_of_a_client_lets_its_requests_be_answered():
    http = Http1(Role.CLIENT)
    conn = http.open()
    http.h11.send(h11.Request(method="GET", target="/", headers=[("Host", "a"), ("Connection", "close")]))
    http.h11.send(h11.EndOfMessage())
    assert not http.done
    http.shutdown()
    with pytest.raises(LocalProtocolError, match="is ending"):
        conn.send(UpgradeRequest("example.com"))
    assert not http.done
    assert len(said(http.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))) == 2
    assert http.done


def test_shutdown_of_a_client_waits_for_the_server_to_close():
    # RFC 6455 §7.1.1
    pair = opened(Http1)
    closing(pair)
    assert pair.wire.client.shutdown() == b""
    assert not pair.wire.client.done
    pair.wire.client.receive(b"")
    assert pair.wire.client.done


UNASKED = [
    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    ANSWER + b"\r\n",
    b"SSH-2.0-x\r\n",
    b"\r\n\x00",
    b"x" * 100_000,
]


def client(ordinary: bool, opened: bool):
    """A client that has asked for nothing, or has its response; with a WebSocket that is opened and not asked for, or none."""
    http = Http1(Role.CLIENT)
    if ordinary:
        http.h11.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        http.h11.send(h11.EndOfMessage())
        assert len(http.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage\r\n")[0]) == 3
    return http, http.open() if opened else None


@pytest.mark.parametrize("data", UNASKED)
@pytest.mark.parametrize("ordinary", [False, True])
@pytest.mark.parametrize("opened", [False, True])
def test_bytes_that_answer_no_request_fail_a_client(data, ordinary, opened):
    # §9.2: they are no response, and where the next one begins can no longer be told.
    http, conn = client(ordinary, opened)
    events, reply = http.receive(data)
    error = fault(said((events, reply)))
    assert (error.section, error.status) == ("RFC 9112 §9.2", None)
    assert len(events) == 1
    assert reply == b""
    assert http.done
    assert not http.can_open
    with pytest.raises(LocalProtocolError, match="is closed" if opened else "make another"):
        conn.send(UpgradeRequest("example.com")) if opened else http.open()
    assert http.receive(data) == ([], b"")
    assert http.receive(b"") == ([], b"")


@pytest.mark.parametrize("ordinary", [False, True])
def test_empty_lines_that_answer_no_request_are_passed_over(ordinary):
    http, conn = client(ordinary, True)
    for line in [b"\r\n", b"\r", b"\n\r\n", b"\n"]:
        assert http.receive(line) == ([], b"")
    assert not http.done
    assert conn.send(UpgradeRequest("example.com")).startswith(b"GET / ")


@pytest.mark.parametrize("ordinary", [False, True])
@pytest.mark.parametrize("opened", [False, True])
def test_server_that_leaves_before_it_is_asked_leaves_nothing_to_do(ordinary, opened):
    http, conn = client(ordinary, opened)
    events = said(http.receive(b""))
    if opened:
        assert fault(events).code == 1006
        assert conn.state is State.CLOSED
    else:
        assert events == []
    assert http.done
    assert not http.can_open
    with pytest.raises(LocalProtocolError, match="is closed" if opened else "make another"):
        conn.send(UpgradeRequest("example.com")) if opened else http.open()
    assert http.receive(b"") == http.receive(b"late") == ([], b"")


def test_response_with_close_is_the_last_of_a_client():
    # §9.6
    http = Http1(Role.CLIENT)
    http.h11.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    http.h11.send(h11.EndOfMessage())
    assert http.can_open
    conn = http.open()
    with pytest.raises(LocalProtocolError, match="no response yet"):
        conn.send(UpgradeRequest("example.com"))
    events = said(
        http.receive(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    )
    assert [type(it) for it in events] == [ResponseStarted, MessageEnded]
    assert http.done
    with pytest.raises(LocalProtocolError, match="make another"):
        conn.send(UpgradeRequest("example.com"))
    assert conn.state is State.CONNECTING


def test_behind_a_response_with_close_no_websocket_is_opened():
    http = Http1(Role.CLIENT)
    http.h11.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    http.h11.send(h11.EndOfMessage())
    http.receive(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert not http.can_open
    with pytest.raises(LocalProtocolError, match="make another"):
        http.open()


def test_websocket_may_be_asked_for_behind_ordinary_requests():
    http, _ = client(True, False)
    conn = http.open()
    head = conn.send(UpgradeRequest("example.com", "/chat"))
    accept = accept_of(header_of(head, "Sec-WebSocket-Key")).encode()
    answer = ANSWER.replace(header_of(ANSWER, "Sec-WebSocket-Accept").encode(), accept)
    assert said(http.receive(answer + b"\r\n" + frame(1, b"hi"))) == [UpgradeAccept(), Text("hi")]
    assert conn.state is State.OPEN


def test_frames_behind_the_handshake_stay_whole():
    # An empty line is nothing special in them.
    http = Http1(Role.SERVER)
    ((conn, _),), _ = http.receive(REQUEST + b"\r\n" + masked(1, b"\n\n\r\n\r\n") + masked(1, b"\r\n"))
    conn.send(UpgradeAccept())
    assert said(http.proceed()) == [Text("\n\n\r\n\r\n"), Text("\r\n")]
    assert conn.state is State.OPEN


@pytest.mark.parametrize(
    "data", [5, 0, None, "", "abc", [], [71], {}, 1.5, memoryview(b"GxEx")[::2], memoryview(b"ab").cast("H")]
)
def test_what_is_not_bytes_is_a_type_error_at_any_time(data):
    fresh, waiting, ended, opened = (Http1(Role.SERVER) for _ in range(4))
    waiting.receive(GET % 1)
    ended.receive(b"")
    ((conn, _),), _ = opened.receive(REQUEST + b"\r\n")
    conn.send(UpgradeAccept())
    for http in [fresh, waiting, ended, opened]:
        before = http.done
        with pytest.raises(TypeError):
            http.receive(data)
        assert http.done is before
    assert said(fresh.receive(bytearray(GET % 1)))
    assert said(opened.receive(memoryview(masked(1, b"hi")))) == [Text("hi")]


@pytest.mark.parametrize(
    ("data", "lingers"),
    [
        (GET % 1, False),
        (COUNTED % 1, False),
        (GET % 1 + GET[:9] % 2, True),
        (b"GET\r\n\r\n", True),
        (REQUEST, True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", True),
    ],
    ids=["whole", "whole body", "more behind", "no HTTP", "half a head", "half a body"],
)
def test_server_says_whether_the_client_may_still_send_when_it_is_done(data, lingers):
    # §9.6: then the transport is closed in two steps.
    http, requests = server(data)
    for request in requests:
        http.respond(request, Response(200))
    assert http.lingers is lingers
    http.receive(b"")
    assert not http.lingers


def test_websocket_that_has_closed_properly_expects_nothing_more():
    pair = opened(Http1)
    closing(pair)
    assert pair.wire.server.done and not pair.wire.server.lingers and not pair.wire.client.lingers


@pytest.mark.parametrize("role", Role)
def test_the_peer_may_still_send_after_its_fault(role):
    end = End(role)
    end.fails(b"\xff\xff")
    assert end.http.lingers
    end.http.receive(b"")
    assert not end.http.lingers
