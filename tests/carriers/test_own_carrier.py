"""`Connection` alone, with a carrier of another program's server."""

import sys

import pytest
from wire import closing, deflated, frames_of, header_of, masked, opened

from mintws import (
    Carrier,
    Close,
    Connection,
    Failed,
    Http1,
    LocalProtocolError,
    PerMessageDeflate,
    Ping,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)

HEADERS = [
    (b"Host", b"example.com"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
]


class Recorder(Carrier):
    """Writes down what it is told to carry; it writes by itself, so it returns nothing."""

    def __init__(self, http_version: str = "1.1") -> None:
        self.http_version = http_version
        self.log = []

    def send_request(self, target, headers):
        self.log.append(("request", target, headers))
        return b""

    def send_response(self, status, headers, body):
        self.log.append(("response", status, dict(headers), body))
        return b""

    def send_data(self, data):
        self.log.append(("data", data))
        return b""

    def send_end(self):
        self.log.append(("end",))
        return b""


def server(http_version: str = "1.1", **options):
    carrier = Recorder(http_version)
    conn = Connection(Role.SERVER, carrier, **options)
    headers = HEADERS
    if http_version == "2":
        headers = [
            (b":method", b"CONNECT"),
            (b":protocol", b"websocket"),
            (b":scheme", b"https"),
            (b":path", b"/chat"),
            (b":authority", b"example.com"),
            (b"sec-websocket-version", b"13"),
        ]
    events, reply = (
        conn.receive_request(headers, target=b"/chat") if http_version == "1.1" else conn.receive_request(headers)
    )
    assert reply == b""
    assert [event for _, event in events] == [UpgradeRequest("example.com", "/chat")]
    conn.send(UpgradeAccept())
    return conn, carrier


@pytest.mark.parametrize("http_version", ["1.1", "2"])
def test_server_of_anothers_carrier(http_version):
    conn, carrier = server(http_version)
    kind, status, headers, body = carrier.log.pop()
    assert (kind, status, body) == ("response", 101 if http_version == "1.1" else 200, None)
    assert ("Sec-WebSocket-Accept" in headers) is (http_version == "1.1")
    events, reply = conn.receive(masked(1, b"hi") + masked(9, b"p"))
    assert events == [(conn, Text("hi")), (conn, Ping(b"p"))]
    assert reply == b""
    assert carrier.log == [("data", b"\x8a\x01p")]
    assert conn.send(Text("yo")) == b""
    assert carrier.log[-1] == ("data", b"\x81\x02yo")


@pytest.mark.parametrize("http_version", ["1.0", "3", "", None])
def test_carrier_speaks_a_version_that_has_a_handshake(http_version):
    with pytest.raises(LocalProtocolError, match=r'http_version of a carrier is "1\.1" or "2"'):
        Connection(Role.CLIENT, Recorder(http_version))


def test_end_is_said_once_behind_both_closes():
    conn, carrier = server()
    ((_, close),), _ = conn.receive(masked(8, b"\x03\xe8"))
    assert ("end",) not in carrier.log
    conn.send(close)
    assert carrier.log[-2:] == [("data", b"\x88\x02\x03\xe8"), ("end",)]
    conn.receive(b"")
    assert carrier.log.count(("end",)) == 1


def test_end_is_said_behind_what_is_corked():
    conn, carrier = server()
    carrier.log.clear()
    conn.cork()
    ((_, close),), _ = conn.receive(masked(8, b"\x03\xe8"))
    conn.send(Text("last"))
    conn.send(close)
    conn.receive(b"late")
    assert carrier.log == []
    conn.flush()
    assert carrier.log == [("data", b"\x81\x04last\x88\x02\x03\xe8"), ("end",)]
    conn.receive(b"")
    assert (conn.uncork(), carrier.log.count(("end",))) == (b"", 1)


def test_carrier_is_let_go_of_when_its_end_is_said():
    conn, carrier = server()
    ((_, close),), _ = conn.receive(masked(8, b"\x03\xe8"))
    before = sys.getrefcount(carrier)
    conn.send(close)
    assert sys.getrefcount(carrier) == before - 1


def test_end_is_said_when_the_peer_answers_our_close():
    conn, carrier = server()
    conn.send(Close(1000))
    assert carrier.log[-1][0] == "data"
    conn.receive(masked(8, b"\x03\xe8"))
    assert carrier.log[-1] == ("end",)


def test_refusal_goes_to_the_carrier_at_once():
    carrier = Recorder()
    conn = Connection(Role.SERVER, carrier)
    events, reply = conn.receive_request(HEADERS[:-1], target=b"/")
    assert type(events[0][1]) is Failed
    assert reply == b""
    ((kind, status, headers, body),) = carrier.log
    assert (kind, status) == ("response", 426)
    assert headers["Sec-WebSocket-Version"] == "13"
    assert body
    assert conn.state is State.CLOSED


def test_reject_goes_to_the_carrier():
    carrier = Recorder("1.1")
    conn = Connection(Role.SERVER, carrier)
    conn.receive_request(HEADERS, target=b"/")
    conn.send(UpgradeReject(403, body=b"no"))
    kind, status, headers, body = carrier.log[-1]
    assert (kind, status, body) == ("response", 403, b"no")
    assert headers["Connection"] == "close"


def test_request_over_http2_that_is_none_is_passed_over():
    conn = Connection(Role.SERVER, Recorder("2"))
    assert conn.receive_request([(b":method", b"GET"), (b":path", b"/")]) == ([], b"")
    assert conn.state is State.CONNECTING


@pytest.mark.parametrize("http_version", ["1.1", "2"])
def test_client_of_anothers_carrier(http_version):
    carrier = Recorder(http_version)
    conn = Connection(Role.CLIENT, carrier)
    conn.send(UpgradeRequest("example.com", "/chat", extensions=[PerMessageDeflate()]))
    kind, target, headers = carrier.log.pop()
    names = dict(headers)
    assert (kind, target) == ("request", "/chat")
    if http_version == "1.1":
        head = opened(Http1).wire  # a server of ours makes the answer
        assert head
        from wire import accept_of

        answer = [
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
            (b"sec-websocket-accept", accept_of(names["Sec-WebSocket-Key"]).encode()),
        ]
    else:
        assert names[":protocol"] == "websocket"
        answer = [(b":status", b"200")]
    events, _ = conn.receive_response([*answer, (b"sec-websocket-extensions", b"permessage-deflate")])
    assert type(events[0][1]) is UpgradeAccept
    events, _ = conn.receive(b"\xc1" + bytes([len(deflated(b"hi"))]) + deflated(b"hi"))
    assert events == [(conn, Text("hi"))]
    conn.send(Text("yo"))
    assert frames_of(carrier.log[-1][1]) == [(1, 0, 1, b"yo")]


def test_frames_before_the_answer_are_held():
    carrier = Recorder()
    conn = Connection(Role.SERVER, carrier)
    conn.receive_request(HEADERS, target=b"/")
    assert conn.receive(masked(1, b"early")) == ([], b"")
    conn.send(UpgradeAccept())
    assert conn.receive_early() == ([(conn, Text("early"))], b"")


def test_nothing_may_be_sent_before_the_request():
    conn = Connection(Role.SERVER, Recorder())
    for event in [Text("x"), UpgradeAccept(), Close(1000)]:
        with pytest.raises(LocalProtocolError):
            conn.send(event)


SAMPLE_ACCEPT = [
    (b"upgrade", b"websocket"),
    (b"connection", b"upgrade"),
    (b"sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
]


def client():
    """A client that has asked with the key of the RFC's example."""
    conn = Connection(Role.CLIENT, Recorder(), entropy=lambda n: b"the sample nonce"[:n] if n == 16 else bytes(n))
    conn.send(UpgradeRequest("example.com"))
    return conn


def test_a_connection_takes_one_request():
    conn, carrier = server()
    before = conn.request, list(carrier.log)
    for headers in [HEADERS, HEADERS[:2]]:
        with pytest.raises(LocalProtocolError, match="one request"):
            conn.receive_request(headers, target=b"/again")
    assert (conn.request, carrier.log, conn.state) == (*before, State.OPEN)
    refused = Connection(Role.SERVER, Recorder())
    refused.receive_request(HEADERS[:2])
    with pytest.raises(LocalProtocolError, match="in CLOSED"):
        refused.receive_request(HEADERS)
    assert refused.request is None


def test_a_client_takes_no_request():
    conn = Connection(Role.CLIENT, Recorder())
    with pytest.raises(LocalProtocolError, match="this is a CLIENT"):
        conn.receive_request(HEADERS)
    assert conn.state is State.CONNECTING


@pytest.mark.parametrize(
    "answer",
    [lambda conn: conn.receive_response(SAMPLE_ACCEPT), lambda conn: conn.receive_rejection(403, (), b"")],
    ids=["response", "rejection"],
)
def test_a_connection_takes_one_answer_to_its_request(answer):
    for conn in [Connection(Role.CLIENT, Recorder()), server()[0]]:
        before = conn.state, conn.response
        with pytest.raises(LocalProtocolError, match="one answer"):
            answer(conn)
        assert (conn.state, conn.response) == before
    conn = client()
    conn.receive_response(SAMPLE_ACCEPT)
    response = conn.response
    conn.send(Text("half of a message", fin=False))
    with pytest.raises(LocalProtocolError, match="one answer"):
        answer(conn)
    assert (conn.state, conn.response) == (State.OPEN, response)


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "example.com")],
        [(b"Host", "example.com")],
        [("Host", b"example.com")],
        {b"Host": b"example.com"},
        {"Host": "example.com"},
        [b"ab"],
        [(b"a", b"b", b"c")],
        "Host",
    ],
    ids=repr,
)
def test_headers_that_are_no_pairs_of_bytes_are_a_type_error(headers):
    for take in [Connection(Role.SERVER, Recorder()).receive_request, client().receive_response]:
        with pytest.raises(TypeError, match="pairs of bytes"):
            take(headers)


@pytest.mark.parametrize("part", ["method", "target", "http_version"])
def test_request_line_is_bytes(part):
    conn = Connection(Role.SERVER, Recorder())
    with pytest.raises(TypeError, match="are bytes"):
        conn.receive_request(HEADERS, **{part: "1.1"})
    assert conn.state is State.CONNECTING


def test_abort_of_a_carrier_without_one_says_nothing():
    conn, carrier = server()
    assert conn.abort() == b""
    assert conn.state is State.CLOSED
    assert conn.buffered == 0
    conn.pause()
    assert conn.resume() == b""


def test_carrier_that_cannot_respond_leaves_the_connection_as_it_was():
    class Failing(Recorder):
        failures = 1

        def send_response(self, status, headers, body):
            if self.failures:
                self.failures -= 1
                raise OSError("gone")
            return super().send_response(status, headers, body)

    carrier = Failing()
    conn = Connection(Role.SERVER, carrier)
    conn.receive_request(HEADERS, target=b"/")
    with pytest.raises(OSError, match="gone"):
        conn.send(UpgradeAccept(extensions=[PerMessageDeflate()]))
    assert (conn.state, conn.response) == (State.REQUESTED, None)
    # What comes is still early.
    assert conn.receive(masked(1, b"early")) == ([], b"")
    conn.send(UpgradeAccept())
    assert conn.receive_early() == ([(conn, Text("early"))], b"")
    assert [kind for kind, *_ in carrier.log] == ["response"]


def test_error_of_the_carrier_within_receive_loses_no_event():
    class Failing(Recorder):
        failing = False

        def send_data(self, data):
            if self.failing:
                raise OSError("gone")
            return super().send_data(data)

    carrier = Failing()
    conn = Connection(Role.SERVER, carrier)
    conn.receive_request(HEADERS, target=b"/")
    conn.send(UpgradeAccept())
    carrier.failing = True
    for data in (masked(1, b"a") + masked(9, b"p"), masked(1, b"b") + masked(9, b"q")):
        with pytest.raises(OSError, match="gone"):
            conn.receive(data)
    events, reply = conn.receive(b"")
    assert [event for _, event in events[:-1]] == [Text("a"), Ping(b"p"), Text("b"), Ping(b"q")]
    assert (events[-1][1].error.code, reply) == (1006, b"")


def test_error_of_the_carrier_is_raised():
    class Failing(Recorder):
        def send_data(self, data):
            raise OSError("gone")

    carrier = Failing()
    conn = Connection(Role.SERVER, carrier)
    conn.receive_request(HEADERS, target=b"/")
    conn.send(UpgradeAccept())
    with pytest.raises(OSError, match="gone"):
        conn.send(Text("x"))


def test_pair_of_ours_agrees():
    closing(opened(Http1))
    assert header_of(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "a") == "b"
