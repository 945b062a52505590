"""The events of ordinary HTTP, which are those of `mintws.events` over both versions."""

import h2.errors
import h11
import pytest
from wire import GET, HEADERS, H2Peer, h2_frame, said

from mintws import Http1, Role
from mintws.events import (
    BodyData,
    MessageEnded,
    MessageReset,
    Request,
    RequestStarted,
    Response,
    ResponseStarted,
)

TRAILERS = (("x-sum", "1"),)
HOST = (("host", "example.com"),)
POST = [(":method", "POST"), *GET[1:]]


def test_request_with_a_body_and_trailers_over_http_1_1():
    http = Http1(Role.SERVER)
    head = b"POST /up HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert said(http.receive(head)) == [
        RequestStarted(Request("POST", "/up", (*HOST, ("transfer-encoding", "chunked")), None))
    ]
    assert said(http.receive(b"3\r\nabc\r\n")) == [BodyData(b"abc")]
    assert said(http.receive(b"0\r\nX-Sum: 1\r\n\r\n")) == [MessageEnded(trailers=TRAILERS)]


def test_request_with_a_body_and_trailers_over_http_2():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask(POST)
    ((_, started),) = peer.deliver()
    assert type(started) is RequestStarted
    assert (started.stream, started.request.method, started.request.body) == (stream, "POST", None)
    ((_, data),) = peer.send(stream, b"abc", pad_length=5)
    assert data == BodyData(b"abc", stream)
    assert data.flow_controlled_len == 9
    peer.h2.send_headers(stream, TRAILERS, end_stream=True)
    assert peer.deliver() == [(None, MessageEnded(stream, TRAILERS))]


def test_response_behind_an_interim_one_over_http_1_1():
    http = Http1(Role.CLIENT)
    http.h11.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    http.h11.send(h11.EndOfMessage())
    events = said(http.receive(b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 Yes\r\nContent-Length: 2\r\n\r\nhi"))
    length = (("content-length", "2"),)
    assert events == [
        ResponseStarted(Response(103, (("link", "a"),), None)),
        ResponseStarted(Response(200, length, None)),
        BodyData(b"hi"),
        MessageEnded(),
    ]
    assert [http.collect(event) for event in events] == [None, None, None, Response(200, length, b"hi")]


def test_response_behind_an_interim_one_over_http_2():
    peer = H2Peer(Role.CLIENT)
    stream, data = peer.http.request(Request("GET", "/", HOST))
    peer.hear(data)
    peer.h2.send_headers(stream, [(":status", "103"), ("link", "a")])
    peer.h2.send_headers(stream, [(":status", "200")])
    peer.h2.send_data(stream, b"hi", end_stream=True)
    events = [event for _, event in peer.deliver()]
    assert events == [
        ResponseStarted(Response(103, (("link", "a"),), None, stream)),
        ResponseStarted(Response(200, (), None, stream)),
        BodyData(b"hi", stream),
        MessageEnded(stream),
    ]
    assert [event.stream for event in events] == [stream] * 4
    assert [peer.http.collect(event) for event in events][-1] == Response(200, (), b"hi", stream)


@pytest.mark.parametrize("by", ["the peer", "us"])
def test_reset_of_a_request(by):
    peer = H2Peer(Role.SERVER)
    stream = peer.ask([*POST, ("content-length", "3")])
    peer.deliver()
    if by == "the peer":
        peer.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        code = h2.errors.ErrorCodes.CANCEL
    else:
        peer.h2.send_data(stream, b"too long")
        code = h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert peer.deliver() == [(None, MessageReset(stream, code))]


def test_trailers_end_what_collect_gathers():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask(POST)
    peer.h2.send_data(stream, b"abc")
    peer.h2.send_headers(stream, TRAILERS, end_stream=True)
    made = [peer.http.collect(event) for _, event in peer.deliver()]
    assert made[:-1] == [None, None] and made[-1].body == b"abc"


def test_trailers_that_are_malformed_end_nothing():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask(POST)
    peer.deliver()
    block = peer.h2.encoder.encode([(":path", "/")])
    assert said(peer.http.receive(h2_frame(HEADERS, 5, stream, block))) == [
        MessageReset(stream, h2.errors.ErrorCodes.PROTOCOL_ERROR)
    ]
