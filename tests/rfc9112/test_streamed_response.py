"""A response that is sent in parts (RFC 9112 §6, §7): how its body is framed, and what is asked for behind it."""

from __future__ import annotations

import gc
import weakref

import h11
import pytest
from wire import REQUEST, header_of, said

from mintws import Failed, Http1, LocalProtocolError, Role, UpgradeRequest
from mintws.events import BodyData, MessageEnded, RequestStarted, Response

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
EXPECTING = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")


def asked(data=GET, **options):
    """Give a server's connection that was asked, and what sends its response."""
    http = Http1(Role.SERVER, **options)
    [started, *_] = said(http.receive(data))
    assert isinstance(started, RequestStarted)
    return http, http.stream_response(started.request)


def read(data, method="GET"):
    """Read a response as a client does: give its head, its body, and its trailers, `None` if it does not end."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    head, body = client.next_event(), b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    return head, body, list(event.headers) if isinstance(event, h11.EndOfMessage) else None


def test_without_a_length_the_body_goes_out_in_chunks_at_once():
    _, response = asked()
    head = response.send_head(200, [("X-A", "1"), ("Transfer-Encoding", "gzip")])
    assert header_of(head, "Transfer-Encoding") == "chunked" and header_of(head, "X-A") == "1"
    assert response.send(b"tea") == b"3\r\ntea\r\n"
    assert response.send(b"") == b""
    assert response.send(memoryview(b"pot"), end=True) == b"3\r\npot\r\n0\r\n\r\n"
    assert response.closed


def test_a_length_that_is_given_stays_and_is_kept_to():
    http, response = asked()
    written = response.send_head(200, [("Content-Length", "6")]) + response.send(b"tea")
    with pytest.raises(LocalProtocolError, match="longer than its Content-Length"):
        response.send(b"pots")
    with pytest.raises(LocalProtocolError, match="shorter than its Content-Length"):
        response.send(b"", end=True)
    with pytest.raises(LocalProtocolError, match="shorter than its Content-Length"):
        response.send_trailers(())
    # Nothing was sent by that: it can still be finished.
    written += response.send(b"pot", end=True)
    assert read(written)[1:] == (b"teapot", [])
    assert header_of(written, "Transfer-Encoding") is None
    assert said(http.receive(GET)) != []


def test_a_response_without_a_body_says_so():
    _, response = asked()
    written = response.send_head(200, end=True)
    assert header_of(written, "Content-Length") == "0" and written.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(status):
    _, response = asked()
    written = response.send_head(status, [("Content-Length", "0")] if status == 204 else [("Content-Length", "7")])
    assert header_of(written, "Content-Length") == (None if status == 204 else "7")
    assert header_of(written, "Transfer-Encoding") is None
    with pytest.raises(LocalProtocolError, match="or the status has none"):
        response.send(b"tea")
    assert response.send(b"", end=True) == b""
    assert response.closed


@pytest.mark.parametrize("headers", [[], [("Content-Length", "6")]], ids=["chunks", "length"])
def test_the_answer_to_a_head_has_the_head_alone(headers):
    http, response = asked(GET.replace(b"GET", b"HEAD"))
    written = response.send_head(200, headers) + response.send(b"tea") + response.send(b"pot", end=True)
    assert written.endswith(b"\r\n\r\n") and written.count(b"\r\n\r\n") == 1
    assert header_of(written, "Content-Length") == (headers[0][1] if headers else None)
    assert [type(it) for it in said(http.receive(GET))] == [RequestStarted, MessageEnded]


def test_trailers_follow_a_body_in_chunks():
    _, response = asked()
    written = response.send_head(200) + response.send(b"tea")
    written += response.send_trailers([("X-Sum", "1"), ("Content-Length", "3"), ("Transfer-Encoding", "chunked")])
    assert read(written)[1:] == (b"tea", [(b"x-sum", b"1")])


def test_trailers_are_left_out_where_they_cannot_be_sent():
    for data, headers in ((GET, [("Content-Length", "3")]), (GET.replace(b"1.1", b"1.0"), [])):
        _, response = asked(data)
        written = response.send_head(200, headers) + response.send(b"tea") + response.send_trailers([("X-Sum", "1")])
        assert written.endswith(b"\r\n\r\ntea")


def test_a_client_of_http_1_0_gets_no_chunks_and_no_interim_responses():
    http, response = asked(GET.replace(b"1.1", b"1.0"))
    assert response.send_interim(103, [("Link", "</a>")]) == b""
    written = response.send_head(200)
    assert header_of(written, "Transfer-Encoding") is None and header_of(written, "Connection") == "close"
    assert response.send(b"tea") + response.send(b"pot", end=True) == b"teapot"
    assert http.done


def test_interim_responses_come_first():
    _, response = asked()
    written = response.send_interim(103, [("Link", "</a>")])
    assert written.startswith(b"HTTP/1.1 103 ") and header_of(written, "Link") == "</a>"
    response.send_head(200)
    with pytest.raises(LocalProtocolError, match="one head"):
        response.send_interim(103)
    with pytest.raises(LocalProtocolError, match="one head"):
        response.send_head(200)
    with pytest.raises(LocalProtocolError, match="one head"):
        response.check_head(200)


@pytest.mark.parametrize("status", [0, 99, 101, 200])
def test_another_status_is_no_interim_response(status):
    with pytest.raises(LocalProtocolError):
        asked()[1].send_interim(status)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (199, ()),
        (600, ()),
        (-1, ()),
        (200, [("X", "a\r\nb: c")]),
        (200, [("Content-Length", "3"), ("Content-Length", "4")]),
        (200, [("Content-Length", "three")]),
    ],
)
def test_a_head_that_is_not_allowed_is_not_written(status, headers):
    _, response = asked()
    for call in (response.check_head, response.send_head):
        with pytest.raises(LocalProtocolError):
            call(status, headers)
    assert read(response.send_head(200, end=True))[0].status_code == 200


def test_a_body_follows_its_head():
    _, response = asked()
    for call in (lambda: response.send(b"tea"), lambda: response.send_trailers(())):
        with pytest.raises(LocalProtocolError, match="begins with its head"):
            call()


def test_a_client_that_expects_it_is_told_to_go_on_when_the_server_wants_the_body():
    # RFC 9110 §10.1.1
    http = Http1(Role.SERVER)
    http.auto_continue = False
    events, reply = http.receive(EXPECTING)
    assert reply == b""
    response = http.stream_response(events[0][1].request)
    assert response.send_interim(100).startswith(b"HTTP/1.1 100 ")
    assert said(http.receive(b"0123456789")) == [BodyData(b"0123456789"), MessageEnded()]
    assert header_of(response.send_head(200), "Connection") is None


def test_the_connection_ends_where_a_client_was_not_told_to_go_on():
    http = Http1(Role.SERVER)
    http.auto_continue = False
    events, _ = http.receive(EXPECTING)
    response = http.stream_response(events[0][1].request)
    assert header_of(response.send_head(413, end=True), "Connection") == "close"
    assert http.done


def test_the_next_request_is_read_when_the_response_is_whole():
    http, response = asked(GET + GET + REQUEST + b"\r\n")
    response.send_head(200)
    assert said(http.proceed()) == []
    response.send(b"tea", end=True)
    [second, _] = said(http.proceed())
    http.stream_response(second.request).send_head(200, end=True)
    assert [type(it) for it in said(http.proceed())] == [UpgradeRequest]


def test_a_body_that_is_not_taken_is_not_read_on():
    big = 1_000_000
    http, response = asked(POST.replace(b"10", b"%d" % big))
    taken = said(http.receive(bytes(65_535)))
    assert http.reading
    taken += said(http.receive(bytes(1)))
    assert not http.reading
    for event in taken:
        response.acknowledge(event.flow_controlled_len)
    assert http.reading
    said(http.receive(bytes(100_000)))
    assert not http.reading
    response.send_head(200, end=True)
    # Whoever answers early wants no more of it.
    assert http.reading


def test_a_body_that_is_collected_is_read_on():
    http = Http1(Role.SERVER)
    said(http.receive(POST.replace(b"10", b"1000000") + bytes(500_000)))
    assert http.reading


def test_a_response_that_is_given_up_ends_the_connection_before_its_end():
    http, response = asked()
    written = response.send_head(200) + response.send(b"tea")
    assert response.abandon() == b"" and response.closed
    assert http.done
    assert response.send(b"pot", end=True) == response.send_trailers(()) == b""
    assert read(written)[1:] == (b"tea", None)


def test_a_client_that_breaks_a_rule_within_its_body_gets_no_more():
    chunked = POST.replace(b"Content-Length: 10", b"Transfer-Encoding: chunked")
    for begun in (False, True):
        http, response = asked(chunked)
        if begun:
            response.send_head(200)
        [failed], reply = http.receive(b"no size\r\n")
        assert isinstance(failed[1], Failed) and reply.startswith(b"" if begun else b"HTTP/1.1 400 ")
        assert response.closed and http.done
        assert (response.send(b"tea") if begun else response.send_head(200)) == b""


def test_the_last_response_of_a_server_that_leaves_says_so():
    http, response = asked()
    http.shutdown()
    assert header_of(response.send_head(200), "Connection") == "close"
    response.send(b"", end=True)
    assert http.done


def test_a_request_has_one_response():
    http, response = asked()
    request = _request()
    response.send_head(200)
    with pytest.raises(LocalProtocolError, match="no ordinary request waits"):
        http.stream_response(request)
    with pytest.raises(LocalProtocolError, match="no ordinary request waits"):
        http.respond(request, Response(200))


def _request():
    [started, _] = said(Http1(Role.SERVER).receive(GET))
    return started.request


def test_it_has_the_headers_that_each_response_has():
    _, response = asked(response_headers=lambda: (("Server", "mint"), ("Date", "today")), header_case="lower")
    written = response.send_head(200, [("Server", "other")])
    assert b"\r\nserver: other\r\n" in written and b"\r\ndate: today\r\n" in written and b"mint" not in written


def test_there_is_none_on_a_client():
    with pytest.raises(LocalProtocolError, match="no ordinary request waits"):
        Http1(Role.CLIENT).stream_response(_request())


def test_what_has_ended_is_freed_without_the_collector():
    gc.disable()
    try:
        http, response = asked()
        response.send_head(200)
        kept = weakref.ref(http), weakref.ref(response)
        del http, response
        assert [it() for it in kept] == [None, None]
    finally:
        gc.enable()
