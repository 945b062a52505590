"""Responses that are sent in parts (RFC 9113 §8.1), and credit for the requests that they answer."""

import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from wire import GET, GOAWAY, HEADERS, RST_STREAM, H2Peer, h2_frames

from mintws import LocalProtocolError, Role
from mintws.events import Request, RequestStarted

POST = [(":method", "POST"), *GET[1:]]


def begun(peer: H2Peer, headers=GET, *, end: bool = True):
    """As a client, make a request; give its number and what answers it."""
    number = peer.ask(headers, end=end)
    (event,) = [event for _, event in peer.deliver() if isinstance(event, RequestStarted)]
    return number, peer.http.stream_response(event.request)


def ended(peer: H2Peer, number: int) -> bool:
    return bool(peer.of(h2.events.StreamEnded, number))


def test_parts_follow_the_head_and_trailers_the_parts():
    peer = H2Peer(Role.SERVER, response_headers=lambda: (("Server", "tea"),))
    number, response = begun(peer)
    peer.hear(response.send_head(200, [("X-Tea", "mint"), ("Connection", "close"), ("Transfer-Encoding", "chunked")]))
    assert [it.headers for it in peer.of(h2.events.ResponseReceived)] == [
        [(":status", "200"), ("x-tea", "mint"), ("server", "tea")]
    ]
    for part in (b"one", b"", bytearray(b"two"), memoryview(b"three")):
        peer.hear(response.send(part))
    assert peer.data(number) == b"onetwothree"
    assert not ended(peer, number)
    peer.hear(response.send_trailers([("X-Sum", "7"), ("Content-Length", "7"), ("Connection", "close")]))
    (trailers,) = peer.of(h2.events.TrailersReceived, number)
    assert trailers.headers == [("x-sum", "7")]
    assert response.closed
    assert not peer.http._streams


@pytest.mark.parametrize("how", ["head", "part", "empty part", "no trailers"])
def test_the_end_is_said_once(how):
    peer = H2Peer(Role.SERVER)
    number, response = begun(peer)
    peer.hear(response.send_head(200, end=how == "head"))
    match how:
        case "part":
            peer.hear(response.send(b"tea", end=True))
        case "empty part":
            peer.hear(response.send(b"", end=True))
        case "no trailers":
            peer.hear(response.send_trailers([]))
    assert ended(peer, number)
    assert response.closed
    assert response.send(b"more", end=True) == b""


def test_what_the_windows_do_not_let_pass_follows_with_the_trailers():
    peer = H2Peer(Role.SERVER, {SettingCodes.INITIAL_WINDOW_SIZE: 10})
    number, response = begun(peer)
    peer.hear(response.send_head(200))
    peer.hear(response.send(bytes(25)))
    peer.hear(response.send_trailers([("x", "1")]))
    assert (len(peer.data(number)), response.buffered, response.closed) == (10, 15, False)
    peer.h2.increment_flow_control_window(14, number)
    peer.deliver()
    assert (len(peer.data(number)), response.buffered) == (24, 1)
    assert not peer.of(h2.events.TrailersReceived)
    peer.h2.increment_flow_control_window(1, number)
    peer.deliver()
    assert (len(peer.data(number)), response.buffered, response.closed) == (25, 0, True)
    assert peer.of(h2.events.TrailersReceived, number)


def test_interim_responses_come_before_the_head():
    peer = H2Peer(Role.SERVER)
    peer.http.auto_continue = False
    number, response = begun(peer, [*POST, ("expect", "100-continue")], end=False)
    assert not peer.of(h2.events.InformationalResponseReceived)
    peer.hear(response.send_interim(100))
    peer.hear(response.send_interim(103, [("Link", "</a>")]))
    interim = [it.headers for it in peer.of(h2.events.InformationalResponseReceived, number)]
    assert interim == [[(":status", "100")], [(":status", "103"), ("link", "</a>")]]
    for status in (99, 101, 200):
        with pytest.raises(LocalProtocolError):
            response.send_interim(status)
    peer.hear(response.send_head(204, end=True))
    with pytest.raises(LocalProtocolError):
        response.send_interim(100)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (100, []),
        (600, []),
        (-1, []),
        (200, [("x", "a\r\nb: c")]),
        (200, [("a b", "1")]),
        (200, [(":path", "/")]),
        (200, [("Content-Length", "1"), ("Content-Length", "1")]),
        (200, [("Content-Length", "-1")]),
    ],
)
def test_a_head_that_is_not_allowed_writes_nothing(status, headers):
    peer = H2Peer(Role.SERVER)
    _, response = begun(peer)
    for send in (response.check_head, response.send_head):
        with pytest.raises(LocalProtocolError):
            send(status, headers)
    peer.hear(response.send_head(200, [("Content-Length", "0")], end=True))
    assert dict(peer.of(h2.events.ResponseReceived)[0].headers)["content-length"] == "0"


def test_calls_out_of_order_raise():
    peer = H2Peer(Role.SERVER)
    _, response = begun(peer)
    for send in (lambda: response.send(b"tea"), lambda: response.send_trailers([("x", "1")])):
        with pytest.raises(LocalProtocolError):
            send()
    peer.hear(response.send_head(200))
    for send in (lambda: response.send_head(200), lambda: response.send_trailers([("a b", "1")])):
        with pytest.raises(LocalProtocolError):
            send()


def test_a_request_that_was_taken_back_is_not_answered():
    peer = H2Peer(Role.SERVER)
    number = peer.ask(POST)
    peer.h2.reset_stream(number)
    (event, _) = [event for _, event in peer.deliver()]
    assert peer.http.stream_response(event.request) is None
    number, response = begun(peer, POST, end=False)
    peer.h2.reset_stream(number)
    peer.deliver()
    assert response.closed
    assert response.send_interim(100) + response.send_head(200) + response.send(b"tea", end=True) == b""
    assert response.acknowledge(10) + response.abandon() == b""


def test_a_response_that_was_begun_ends_with_its_connection():
    peer = H2Peer(Role.SERVER)
    _, response = begun(peer)
    peer.hear(response.send_head(200))
    peer.http.receive(b"")
    assert response.closed
    assert response.send(b"tea", end=True) == b""


def test_each_request_has_one_response():
    peer = H2Peer(Role.SERVER)
    number, response = begun(peer)
    peer.hear(response.send_head(200))
    with pytest.raises(LocalProtocolError):
        peer.http.stream_response(Request("GET", "/", stream=number))
    with pytest.raises(LocalProtocolError):
        peer.http.stream_response(Request("GET", "/", stream=number + 2))
    with pytest.raises(LocalProtocolError):
        H2Peer(Role.CLIENT).http.stream_response(Request("GET", "/", stream=1))


@pytest.mark.parametrize("begins", [True, False])
def test_a_response_that_is_abandoned_resets_its_stream(begins):
    peer = H2Peer(Role.SERVER, {SettingCodes.INITIAL_WINDOW_SIZE: 1})
    number, response = begun(peer)
    if begins:
        peer.hear(response.send_head(200))
        peer.hear(response.send(b"tea"))
    data = response.abandon()
    assert [(kind, stream, payload) for kind, _, stream, payload in h2_frames(data)] == [
        (RST_STREAM, number, int(ErrorCodes.INTERNAL_ERROR).to_bytes(4, "big"))
    ]
    peer.hear(data)
    assert response.closed
    assert response.buffered == 0
    assert not peer.http._streams


def test_a_client_gets_credit_where_it_is_acknowledged():
    peer = H2Peer(Role.SERVER, window=65535)
    number, response = begun(peer, POST, end=False)
    for _ in range(4):
        peer.send(number, bytes(16000))
    assert peer.h2.local_flow_control_window(number) == 1535
    peer.hear(response.acknowledge(64000))
    assert peer.h2.local_flow_control_window(number) == 65535


def test_streamed_responses_make_up_for_what_else_a_client_does():
    """RFC 9113 §10.5: whoever is answered may ask again, and ping, for ever."""
    peer = H2Peer(Role.SERVER)
    for _ in range(300):
        _, response = begun(peer)
        peer.hear(response.send_head(200))
        peer.hear(response.send(b"tea", end=True))
        for _ in range(50):
            peer.h2.ping(bytes(8))
        peer.deliver()
    kinds = {kind for kind, *_ in h2_frames(peer.wrote)}
    assert HEADERS in kinds
    assert GOAWAY not in kinds
