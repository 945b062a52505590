"""Refusals whose bodies are sent in parts, over both versions of HTTP."""

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from wire import CONNECT, REQUEST, RST_STREAM, H2Peer, h2_frames

from mintws import (
    Connection,
    Http1,
    Http2,
    LocalProtocolError,
    Role,
    State,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.connection import Direct


class Asked:
    """A server that was asked for a WebSocket, and a client of ours that has asked."""

    def __init__(self, http: str) -> None:
        kind = Http1 if http == "1.1" else Http2
        self.server, self.client = kind(Role.SERVER), kind(Role.CLIENT)
        self.events = []
        data = self.client.start()
        self.tell(self.server.start())
        if http == "2":
            _, reply = self.server.receive(data)
            self.tell(reply)
            data = b""
        self.asking = self.client.open()
        events, _ = self.server.receive(data + self.asking.send(UpgradeRequest("localhost")))
        ((self.connection, _),) = events

    def tell(self, data: bytes) -> None:
        self.events += [event for _, event in self.client.receive(data)[0]] if data else []


@pytest.fixture(params=["1.1", "2"])
def asked(request):
    return Asked(request.param)


def test_parts_follow_each_other(asked):
    reject = UpgradeReject(418, headers=[("X-Tea", "mint")], body=b"one")
    rest, data = asked.connection.stream_reject(reject)
    assert asked.connection.response == reject
    assert asked.connection.state is State.CLOSED
    asked.tell(data)
    asked.tell(rest.send(b"two"))
    assert asked.events == []
    assert not rest.closed
    assert not asked.server.done
    asked.tell(rest.send(b"three", end=True))
    (got,) = asked.events
    assert (got.status, got.body) == (418, b"onetwothree")
    assert ("x-tea", "mint") in got.headers
    assert rest.closed
    assert rest.send(b"more", end=True) == b""
    # Over HTTP/1.1 bytes that the client means as frames are not to be read as its next request.
    assert asked.server.done is (not asked.server.multiplexed)


@pytest.mark.parametrize("end", ["abandoned", "lost"])
def test_a_refusal_that_is_not_whole_ends_what_it_is_sent_on(asked, end):
    rest, data = asked.connection.stream_reject(UpgradeReject(403, body=b"one"))
    asked.tell(data)
    if end == "lost":
        asked.server.receive(b"")
    data = rest.abandon() if end == "abandoned" else b""
    if asked.server.multiplexed and end == "abandoned":
        assert [(kind, payload) for kind, _, _, payload in h2_frames(data)] == [
            (RST_STREAM, int(ErrorCodes.INTERNAL_ERROR).to_bytes(4, "big"))
        ]
    assert asked.server.done is not (asked.server.multiplexed and end == "abandoned")
    assert rest.send(b"two", end=True) == b"" if asked.server.multiplexed else True


@pytest.mark.parametrize(
    "reject",
    [UpgradeReject(100), UpgradeReject(600), UpgradeReject(403, headers=[("Content-Length", "7")], body=b"one")],
    ids=["interim", "no status", "length"],
)
def test_a_refusal_that_is_not_allowed_sends_nothing(asked, reject):
    with pytest.raises(LocalProtocolError):
        asked.connection.stream_reject(reject)
    asked.tell(asked.connection.send(UpgradeReject(403)))
    assert [event.status for event in asked.events] == [403]


def test_over_http2_a_status_that_accepts_does_not_refuse():
    asked = Asked("2")
    with pytest.raises(LocalProtocolError):
        asked.connection.stream_reject(UpgradeReject(200))


def test_only_what_waits_for_an_answer_is_refused(asked):
    asked.connection.send(UpgradeAccept())
    for connection in (asked.connection, asked.asking):
        with pytest.raises(LocalProtocolError):
            connection.stream_reject(UpgradeReject(403))


def test_what_the_window_of_the_stream_does_not_let_pass_follows():
    peer = H2Peer(Role.SERVER, {SettingCodes.INITIAL_WINDOW_SIZE: 5})
    stream = peer.ask(CONNECT)
    ((connection, _),) = peer.deliver()
    rest, data = connection.stream_reject(UpgradeReject(403, body=b"1234"))
    peer.hear(data)
    peer.hear(rest.send(b"5678"))
    assert (peer.data(stream), rest.buffered) == (b"12345", 3)
    peer.h2.increment_flow_control_window(100, stream)
    peer.deliver()
    assert (peer.data(stream), rest.buffered) == (b"12345678", 0)
    # A client that sends DATA meanwhile hurts nobody.
    peer.send(stream, b"early")
    peer.hear(rest.send(b"9", end=True))
    assert peer.data(stream) == b"123456789"
    peer.hear(peer.http.reset_half_closed() + peer.http.reset_half_closed())
    assert not peer.http._streams


def test_a_carrier_of_ones_own_sends_a_refusal_whole():
    class Own(Direct):
        def send_request(self, target, headers):
            return b""

        def send_response(self, status, headers, body):
            return b"%d" % status

    carrier = Own()
    connection = Connection(Role.SERVER, carrier)
    lines = [tuple(line.split(b": ")) for line in REQUEST.split(b"\r\n")[1:] if line]
    connection.receive_request(lines)
    with pytest.raises(LocalProtocolError):
        connection.stream_reject(UpgradeReject(403))
    assert connection.send(UpgradeReject(403)) == b"403"
