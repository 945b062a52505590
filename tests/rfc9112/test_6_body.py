"""Where the body of a message ends (RFC 9112 §6)."""

import h11
import pytest
from wire import REQUEST, fault, header_of, opened, said

from mintws import Http1, LocalProtocolError, Role, State, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.events import Request, Response


def waiting(method: str = "GET"):
    """A server with a request that waits for its response."""
    http = Http1(Role.SERVER)
    (request,) = filter(None, map(http.collect, said(http.receive(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode()))))
    return http, request


@pytest.mark.parametrize(
    ("method", "response", "written"),
    [
        ("GET", Response(200, body=b"a page"), b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\na page"),
        ("GET", Response(200, {"X": "y"}), b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 0\r\n\r\n"),
        ("GET", Response(200, {"content-length": "1"}, b"a"), b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"),
        ("HEAD", Response(200, body=b"a page"), b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"),
        ("HEAD", Response(200, {"Content-Length": "9"}), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        ("GET", Response(204), b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", Response(304), b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("GET", Response(304, {"Content-Length": "9"}), b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        ("GET", Response(299), b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_response_has_one_right_length_or_none(method, response, written):
    # RFC 9110 §8.6: in answer to a HEAD, and in a 304, it is that of the body that a GET would get.
    http, request = waiting(method)
    assert http.respond(request, response) == written
    assert not http.done


def test_header_names_of_a_response_are_in_lower_case_on_request():
    http = Http1(Role.SERVER, header_case="lower")
    http.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    written = http.respond(Request("GET", "/"), Response(200, {"X-Why": "because"}))
    assert written == b"HTTP/1.1 200 OK\r\nx-why: because\r\ncontent-length: 0\r\n\r\n"


WRONG = [
    Response(99),
    Response(101),
    Response(600),
    Response(-1),
    Response(10**30),
    Response(200, {"Content-Length": "+3"}, b"abc"),
    Response(200, [("Content-Length", "3"), ("Content-Length", "3")], b"abc"),
    Response(200, {"Transfer-Encoding": "chunked"}, b"abc"),
    Response(204, body=b"abc"),
    Response(304, body=b"abc"),
]
WRONG_FOR_GET = [Response(200, {"Content-Length": "1"}, b"abc"), Response(200, {"Content-Length": "5"}, b"abc")]


@pytest.mark.parametrize(
    ("method", "wrong"),
    [*(("GET", it) for it in WRONG + WRONG_FOR_GET), *(("HEAD", it) for it in WRONG)],
)
def test_response_that_is_none_is_refused_locally_and_another_may_follow(method, wrong):
    http, request = waiting(method)
    with pytest.raises(LocalProtocolError):
        http.respond(request, wrong)
    assert not http.done
    assert http.respond(request, Response(500, body=b"oops")).startswith(b"HTTP/1.1 500 ")
    assert said(http.receive(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")) != []


def test_each_request_gets_one_response():
    http, request = waiting()
    http.respond(request, Response(200))
    with pytest.raises(LocalProtocolError, match="each gets one"):
        http.respond(request, Response(200))
    assert not http.done
    assert said(http.receive(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")) != []
    http.respond(request, Response(200))


def test_where_no_request_waits_there_is_no_response():
    request, response = Request("GET", "/"), Response(200)
    fresh, client, upgrading, opened, broken = (Http1(role) for role in (Role.SERVER, Role.CLIENT, *[Role.SERVER] * 3))
    conn = client.open()
    conn.send(UpgradeRequest("example.com"))
    ((asked, _),), _ = upgrading.receive(REQUEST + b"\r\n")
    ((other, _),), _ = opened.receive(REQUEST + b"\r\n")
    other.send(UpgradeAccept())
    broken.receive(b"\x00\r\n\r\n")
    for http in [fresh, client, upgrading, opened, broken]:
        with pytest.raises(LocalProtocolError, match="no ordinary request waits"):
            http.respond(request, response)
    assert said(fresh.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")) != []
    assert type(said(client.receive(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"))[0]) is UpgradeReject
    asked.send(UpgradeAccept())
    assert asked.state is other.state is State.OPEN


@pytest.mark.parametrize(
    "wrong", [(None, Response(200)), ("GET", Response(200)), (Request("GET", "/"), None)], ids=repr
)
def test_what_is_no_request_or_no_response_is_a_type_error(wrong):
    http, request = waiting()
    with pytest.raises(TypeError):
        http.respond(*wrong)
    assert http.respond(request, Response(200)) != b""


@pytest.mark.parametrize("cut", [False, True])
def test_chunk_that_is_none_is_refused_when_its_line_has_come(cut):
    # §7.1
    http = Http1(Role.SERVER)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    events, reply = [], b""
    for chunk in [head, b"2\r\nab\r\nzz", b"\r", b"\n"] if cut else [head + b"2\r\nab\r\nzz\r\n"]:
        assert reply == b""
        more, reply = http.receive(chunk)
        events += more
    assert fault([event for _, event in events]).status == 400
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert http.done


def test_body_that_is_broken_behind_its_response_ends_the_connection_without_another():
    http = Http1(Role.SERVER)
    http.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    http.h11.send(h11.Response(status_code=413, headers=[("Content-Length", "0")]))
    http.h11.send(h11.EndOfMessage())
    events, reply = http.receive(b"zz\r\n")
    assert fault(said((events, reply))).section == "RFC 9112"
    assert reply == b""
    assert http.done


@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_the_limit_is_told_at_once_and_no_more_of_it_kept(chunked):
    http = Http1(Role.SERVER)
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 3000000"
    part = b"1000\r\n" + bytes(4096) + b"\r\n" if chunked else bytes(4096)
    events, _ = http.receive(b"POST / HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n\r\n")
    made, taken = [http.collect(event) for _, event in events], 0
    while not any(made):
        taken += 4096
        made = [http.collect(event) for _, event in http.receive(part)[0]]
    assert taken == (1 << 20) + 4096
    (request,) = filter(None, made)
    assert (request.method, request.body) == ("POST", None)
    assert http.respond(request, Response(413)).startswith(b"HTTP/1.1 413 ")
    # The rest is dropped, and the next request is read.
    while taken < 2_998_272:
        taken += 4096
        assert not any(http.collect(event) for _, event in http.receive(part)[0])
    end = b"0\r\n\r\n" if chunked else bytes(3_000_000 - taken)
    events, _ = http.receive(end + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    (request,) = filter(None, (http.collect(event) for _, event in events))
    assert request.target == "/next"
    assert http.respond(request, Response(204)).startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize(
    ("size", "limit", "kept"), [(10, 10, True), (11, 10, False), (1, 0, False), (3 << 20, None, True)]
)
def test_limit_of_a_body_may_be_chosen(size, limit, kept):
    http = Http1(Role.SERVER)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    (request,) = filter(None, (http.collect(event, limit) for _, event in http.receive(head + bytes(size))[0]))
    assert request.body == (bytes(size) if kept else None)


EXPECT = b"Host: a\r\nExpect: 100-Continue\r\n"


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"POST / HTTP/1.1\r\n" + EXPECT + b"Content-Length: 2\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\n" + EXPECT + b"Transfer-Encoding: chunked\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\n" + EXPECT + b"Content-Length: 0\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\n" + EXPECT + b"\r\n", False),
        (b"POST / HTTP/1.0\r\n" + EXPECT + b"Content-Length: 2\r\n\r\n", False),
        (REQUEST + b"Expect: 100-continue\r\n\r\n", False),
        (REQUEST + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
def test_client_that_waits_with_its_body_is_told_to_go_on(head, told):
    # RFC 9110 §10.1.1. HTTP/1.0 has no interim responses.
    _, reply = Http1(Role.SERVER).receive(head)
    assert reply == (b"HTTP/1.1 100 Continue\r\n\r\n" if told else b"")


@pytest.mark.parametrize("together", [False, True])
def test_client_is_told_to_go_on_once(together):
    http = Http1(Role.SERVER)
    head = b"POST / HTTP/1.1\r\n" + EXPECT + b"Content-Length: 2\r\n\r\n"
    chunks = [head + b"ab"] if together else [head, b"a", b"b"]
    requests, replies = [], b""
    for chunk in chunks:
        events, reply = http.receive(chunk)
        requests += filter(None, (http.collect(event) for _, event in events))
        replies += reply
    assert replies == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert requests[0].body == b"ab"
    assert http.respond(requests[0], Response(200)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        REQUEST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_body_with_two_lengths_is_refused_and_the_connection_closed(head):
    # §6.1: whatever is behind it may be one more request to the next hop, and the body to this one.
    http = Http1(Role.SERVER)
    events, reply = http.receive(head + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert fault(said((events, reply))).status == 400
    assert len(events) == 1
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert header_of(reply, "Connection") == "close"
    assert http.done


def test_refusal_of_a_head_request_with_two_lengths_has_no_body():
    head = b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    _, reply = Http1(Role.SERVER).receive(head)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert reply.endswith(b"\r\n\r\n")


def test_coding_that_is_not_known_is_refused_with_501():
    _, reply = Http1(Role.SERVER).receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 501 ")


@pytest.mark.parametrize("value", [b"+4", b"-4", b"4a", b"", b"4, 5", b"4\r\nContent-Length: 5", b"9" * 40])
def test_length_that_is_none_is_refused(value):
    http = Http1(Role.SERVER)
    events, reply = http.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + value + b"\r\n\r\nabcd")
    assert fault(said((events, reply))).status == 400
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert http.done


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 0),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 4),
        (b"POST / HTTP/1.1\r\nHo", None),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf", 4),
    ],
    ids=["no body", "half a body", "half a head", "HEAD"],
)
def test_request_that_is_not_whole_can_be_refused(data, size):
    # RFC 9110 §15.5.9: the connection is closed behind it.
    http = Http1(Role.SERVER)
    for event in said(http.receive(data)):
        assert http.collect(event) is None
    assert [(request.body, count) for request, count in http.collecting] == ([] if size is None else [(None, size)])
    if size is None:
        answer, body = http.shutdown(), b"the head of the request took too long\n"
    else:
        ((request, _),) = http.collecting
        assert (request.method.encode(), request.target) == (data.split()[0], "/")
        answer, body = http.respond(request, Response(408, {"Connection": "close"}, b"too slow\n")), b"too slow\n"
    assert answer.startswith(b"HTTP/1.1 408 ") and b"\r\nconnection: close\r\n" in answer.lower()
    assert answer.endswith(b"\r\n\r\n" if data.startswith(b"HEAD") else b"\r\n\r\n" + body)
    assert http.done and http.lingers and http.collecting == []
    assert http.shutdown() == b""
    for event in said(http.receive(b"x" * 9)):
        assert http.collect(event) is None
    assert http.proceed() == ([], b"")


def test_nothing_is_refused_where_no_request_has_begun():
    server = Http1(Role.SERVER)
    server.receive(b"\r\n")
    for http, done in ((server, True), (Http1(Role.CLIENT), True), (opened(Http1).wire.server, False)):
        assert http.collecting == []
        assert http.shutdown() == b""
        assert http.done is done
