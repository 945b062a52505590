"""A driver without I/O and with a clock that the tests move does what a driver of any kind does: the rest is reading and writing."""

from __future__ import annotations

import pytest
from wire import (
    CLOSE,
    DATA,
    GOAWAY,
    H2_PING,
    PONG,
    RST_STREAM,
    WINDOW_UPDATE,
    H2Peer,
    close_payload,
    frame,
    frames_of,
    h2_frame,
    h2_frames,
    opened,
)

from mintws import Binary, Close, Http1, Http2, Ping, Role, State, Text
from mintws._core import MessageQueue, ReadyList
from mintws.session import (
    GRACE,
    READER_WAIT,
    ClientSession,
    DriverTransport,
    DriverWebSocket,
    Owner,
    ServerSession,
    Step,
    Timeouts,
    WebSocketSession,
)
from mintws.session.linger import LINGER

TIMING = Timeouts(close_timeout=5, ping_interval=20, ping_timeout=10)
CARRIERS = pytest.mark.parametrize("cls", [Http1, Http2], ids=["1.1", "2"])
#: More than wait in a queue that is full.
MANY = 300


class Line(DriverTransport):
    """A transport whose bytes, and steps with their times, are kept."""

    def __init__(self, role, http, timeouts=TIMING):
        self.time = 0.0
        self.output = b""
        self.steps = []
        self.ready = ReadyList()
        self.websockets = set()
        self.half_closes = True
        self.closing = self.lost = False
        self.error = None
        self.heard = self.written = self.unsent = 0
        self._session = (ServerSession if role is Role.SERVER else ClientSession)(0.0, timeouts)
        self.http = self._session.http = http
        self.multiplexed = isinstance(http, Http2)
        self.armed = 0

    def now(self):
        return self.time

    def write(self, data):
        self.output += data
        self.written += len(data)

    def wake(self):
        pass

    def arm(self):
        self.armed += 1

    def cut(self):
        self.closing = self.lost = True
        self.steps.append((self.time, Step.CUT))
        self.lose()

    def take_step(self, step):
        if step is Step.CUT:
            self.cut()
        else:
            self.closing = True
            self.steps.append((self.time, step))

    def go_on(self, events, reply):
        self.write(reply)
        self.handle(events)
        for websocket in self.ready.drain():
            if websocket._paused:
                websocket._pause()
        self.close_if_done()

    def hear(self, data):
        self.heard += 1
        self.go_on(*self.http.receive(data))

    def until(self, end):
        """Let the time pass."""
        for _ in range(1000):
            deadline = self._session.deadline
            if deadline is None or deadline > end:
                self.time = end
                return
            self.time = deadline
            self.expire()
        raise AssertionError("it does not come to its end")

    def take_output(self):
        data, self.output = self.output, b""
        return data


class Held(DriverWebSocket, MessageQueue):
    """A WebSocket that nobody takes messages of."""

    _awaited = _owes_answer = False

    def __new__(cls, protocol, connection):
        return super().__new__(cls, protocol.ready)

    def __init__(self, protocol, connection):
        self.connection = connection
        self.pongs = 0
        self._protocol = protocol
        self._session = WebSocketSession(protocol.now(), connection, protocol, protocol._session.timeouts)
        connection.owner = Owner(self)
        connection.cork()
        connection._deliver_to(self)

    def _flush(self):
        self._protocol.write(self.connection.flush())

    def _send_ping(self):
        payload = self._session.pings.choose()
        self.connection.send(Ping(payload))
        self._session.pings.add(self._protocol.now(), None, payload)
        self._flush()

    def _pong(self, data):
        self.pongs += len(self._session.pings.answer(self._protocol.now(), data))


def driven(cls, role=Role.SERVER):
    """Give the transport of one side, a WebSocket on it, and the connections of both sides."""
    pair = opened(cls, (), ())
    ours, theirs = (pair.server, pair.client) if role is Role.SERVER else (pair.client, pair.server)
    line = Line(role, pair.wire.server if role is Role.SERVER else pair.wire.client)
    websocket = Held(line, ours)
    line.add(websocket)
    return line, websocket, theirs, pair


@CARRIERS
def test_a_peer_that_goes_silent_is_pinged_and_then_left(cls):
    line, websocket, _, _ = driven(cls)
    line.until(19.9)
    assert line.take_output() == b""
    line.until(20)
    assert websocket._session.pings.under_way and line.output
    line.until(29.9)
    assert websocket.state is State.OPEN
    line.until(30)
    assert websocket.close_reason == "keepalive: no Pong came within 10 s"
    assert (websocket.close_code, websocket.ending.sent.code) == (1006, 1011)
    assert line.left(websocket)


@CARRIERS
def test_a_peer_of_which_anything_comes_is_kept(cls):
    line, websocket, theirs, _ = driven(cls)
    for end in range(5, 200, 5):
        line.until(end)
        line.hear(theirs.send(Text("alive")))
    assert websocket.state is State.OPEN


def shared(role, count=3, **settings):
    """Give the transport of one side, so many WebSockets on it by their streams, and the peer."""
    peer = H2Peer(role, **settings)
    opened = [peer.open() if role is Role.SERVER else peer.answer() for _ in range(count)]
    line = Line(role, peer.http)
    websockets = {stream: Held(line, connection) for stream, connection in opened}
    for websocket in websockets.values():
        line.add(websocket)
    return line, websockets, peer


ROLES = pytest.mark.parametrize("role", list(Role))


@ROLES
@pytest.mark.parametrize("other", ["PING", "acknowledged PING", "WINDOW_UPDATE", "a message on another stream"])
def test_a_stream_that_shows_no_life_is_left_whatever_comes_on_others(role, other):
    line, websockets, _ = shared(role)
    silent, talking = websockets[1], websockets[3]
    mask = {"key": bytes(4)} if role is Role.SERVER else {}
    data = {
        "PING": h2_frame(H2_PING, 0, 0, bytes(8)),
        "acknowledged PING": h2_frame(H2_PING, 1, 0, bytes(8)),
        "WINDOW_UPDATE": h2_frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
        "a message on another stream": h2_frame(DATA, 0, 3, frame(PONG, b"", **mask)),
    }[other]
    for end in range(1, 100):
        line.until(end)
        line.hear(data)
        assert line.left(silent) is (end >= 40)
    assert silent.close_reason == "keepalive: no Pong came within 10 s"
    assert line.left(talking) is (other != "a message on another stream")


@ROLES
@pytest.mark.parametrize("sign", ["DATA", "half a DATA frame", "empty DATA", "WINDOW_UPDATE"])
def test_what_comes_on_a_stream_is_a_sign_of_its_life(role, sign):
    line, websockets, _ = shared(role)
    mask = {"key": bytes(4)} if role is Role.SERVER else {}
    pongs = frame(PONG, b"", **mask) * 20
    whole = h2_frame(DATA, 0, 1, pongs)
    for number, end in enumerate(range(5, 100, 5)):
        line.until(end)
        line.hear(
            {
                "DATA": h2_frame(DATA, 0, 1, pongs[number : number + 1]),
                "half a DATA frame": whole[8 + number : 9 + number] if number else whole[:9],
                "empty DATA": h2_frame(DATA, 0, 1),
                "WINDOW_UPDATE": h2_frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
            }[sign]
        )
    assert [line.left(websocket) for websocket in websockets.values()] == [False, True, True]


@ROLES
def test_a_stream_whose_ping_the_peer_has_no_room_for_lives_by_the_answers_to_probes(role):
    line, websockets, peer = shared(role, settings={4: 0})
    for end in range(1, 200):
        line.until(end)
        peer.hear(line.take_output())
        # h2 acknowledges each PING.
        answers = peer.h2.data_to_send()
        assert end <= 30 or not answers or h2_frame(H2_PING, 1, 0, bytes(8)) in answers
        if answers:
            line.hear(answers)
    assert not any(line.left(websocket) for websocket in websockets.values())
    assert not any(peer.data(stream) for stream in websockets)


@ROLES
def test_a_stream_whose_ping_the_peer_has_no_room_for_is_left_if_no_probe_is_answered(role):
    line, websockets, _ = shared(role, settings={4: 0})
    for end in range(1, 100):
        line.until(end)
        line.hear(h2_frame(H2_PING, 0, 0, bytes(8)))
        assert [line.left(websocket) for websocket in websockets.values()] == [end >= 50] * 3


@ROLES
def test_a_stream_on_which_the_peer_makes_room_for_what_waits_is_alive(role):
    line, websockets, _ = shared(role, settings={4: 1 << 20})
    for websocket in websockets.values():
        websocket.connection.send(Binary(bytes(100_000)))
        websocket._flush()
    assert all(websocket.connection.buffered for websocket in websockets.values())
    for end in range(5, 100, 5):
        line.until(end)
        # Of the window of the connection each gets its share.
        line.hear(h2_frame(WINDOW_UPDATE, 0, 0, (10_000).to_bytes(4, "big")))
        assert not any(line.left(websocket) for websocket in websockets.values())
    line.until(200)
    assert all(line.left(websocket) for websocket in websockets.values())


@ROLES
def test_a_stream_that_the_application_does_not_read_lives_by_the_answers_to_probes(role):
    line, websockets, peer = shared(role, count=1)
    websocket = websockets[1]
    mask = {"key": bytes(4)} if role is Role.SERVER else {}
    line.hear(h2_frame(DATA, 0, 1, frame(1, b"x", **mask) * MANY))
    assert websocket._paused
    for end in range(1, 200):
        line.until(end)
        peer.hear(line.take_output())
        if answers := peer.h2.data_to_send():
            line.hear(answers)
    assert websocket.state is State.OPEN


@CARRIERS
def test_a_peer_that_does_not_close_is_waited_for_the_close_timeout(cls):
    line, websocket, _, _ = driven(cls)
    websocket._begin_close(4000, "bye")
    line.until(4.9)
    assert not line.left(websocket)
    line.until(5)
    assert line.left(websocket)
    assert websocket.ending.cause == "the peer did not close in time"


@CARRIERS
def test_a_close_is_answered_and_the_transport_is_left_as_its_version_has_it(cls):
    line, websocket, theirs, _ = driven(cls)
    line.hear(theirs.send(Close(4000, "bye")))
    assert websocket.ending.clean and websocket.close_code == 4000
    assert line.steps == ([(0.0, Step.LINGER)] if cls is Http1 else [])
    assert line.left(websocket) is (cls is Http2)
    line.until(100)
    assert line.steps[1:] == ([(LINGER, Step.CUT)] if cls is Http1 else [])


@CARRIERS
def test_a_close_that_stands_behind_messages_that_nobody_takes_is_found_by_who_awaits_the_end(cls):
    line, websocket, theirs, _ = driven(cls)
    for number in range(MANY):
        line.hear(theirs.send(Text(str(number))))
    line.hear(theirs.send(Close(4000)))
    assert websocket._paused and websocket.close_code is None
    websocket._obey(websocket._session.begin_wait(line.now(), websocket))
    line.until(READER_WAIT)
    assert websocket.close_code == 4000
    assert websocket._discarded == MANY - websocket._waiting > 0


@CARRIERS
def test_a_close_that_stands_behind_messages_that_nobody_takes_is_answered_after_a_grace(cls):
    line, websocket, theirs, _ = driven(cls)
    for number in range(MANY):
        line.hear(theirs.send(Text(str(number))))
    line.hear(theirs.send(Close(4000)))
    line.until(GRACE - 0.1)
    assert websocket.ending.sent is None
    line.until(GRACE)
    assert websocket.ending.sent is not None


@CARRIERS
def test_the_end_of_the_transport_ends_all_that_stands_on_it(cls):
    line, websocket, _, _ = driven(cls)
    line.lost = line.closing = True
    line.lose()
    assert line.left(websocket) and websocket.close_code == 1006
    assert line._session.deadline is None


def test_a_stream_that_the_peer_does_not_end_is_reset_and_no_other():
    line, websocket, theirs, pair = driven(Http2, Role.CLIENT)
    websocket._begin_close()
    pair.wire.server.receive(line.take_output())
    answer = theirs.send(Close(1000))
    # Without the end of the stream.
    line.hear(answer[: 9 + 4])
    assert line.left(websocket) and websocket.ending.clean
    line.take_output()
    line.until(4.9)
    assert line.take_output() == b""
    line.until(5)
    assert [kind for kind, *_ in h2_frames(line.take_output())] == [RST_STREAM]
    assert line.steps == []


def test_a_server_that_leaves_says_so_and_closes_when_the_last_websocket_has():
    line, _, theirs, pair = driven(Http2)
    line.leave()
    goaway = line.take_output()
    assert [kind for kind, *_ in h2_frames(goaway)] == [GOAWAY]
    line.hear(theirs.send(Close(1000)))
    assert line.steps == []
    _, end = pair.wire.client.receive(goaway + line.take_output())
    line.hear(end)
    assert line.steps == [(0.0, Step.LINGER)]


def test_every_call_that_moves_the_deadline_arms_the_timer():
    line, websocket, _, _ = driven(Http1)
    armed = line.armed
    websocket._begin_close()
    assert line.armed > armed
    assert [(opcode, payload) for _, _, opcode, payload in frames_of(line.output)] == [(CLOSE, close_payload(1000))]
