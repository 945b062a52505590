"""What an HTTP/2 connection takes in one turn of a loop is bounded, for a driver that asks for it; the rest is taken in later ones."""

import h2.events
import pytest
from wire import (
    BINARY,
    CLOSE,
    DATA,
    END_STREAM,
    GET,
    GOAWAY,
    H2_PING,
    PING,
    PONG,
    RST_STREAM,
    RSV1,
    SETTINGS,
    WINDOW_UPDATE,
    H2Peer,
    deflated,
    frame,
    h2_frame,
    h2_frames,
    masked,
)

from mintws import Binary, Close, Failed, Ping, Role, State, Text
from mintws.events import RequestStarted, UpgradeAccept
from mintws.extensions import PerMessageDeflate

TURN = 1 << 20
COMPRESSED = ("sec-websocket-extensions", "permessage-deflate")
BOMB = masked(BINARY, deflated(bytes(1 << 20)), rsv=RSV1)


def turns(peer, data):
    """Give the pairs and replies of each turn that `data` takes."""
    inbound = peer.http._data_receiver
    inbound.begin_turn(TURN)
    yield peer.http.receive(data)
    while inbound.behind:
        inbound.begin_turn(TURN)
        yield peer.http._catch_up()


@pytest.mark.parametrize(
    ("one", "most"),
    [
        (h2_frame(H2_PING, 0, 0, bytes(8)), 50),
        (h2_frame(SETTINGS, 0, 0, b"\x00\x04\x00\x01\x00\x00"), 20),
        (h2_frame(0xBB, 0, 0), 50),
        (h2_frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), 50),
    ],
    ids=["PING", "SETTINGS", "unknown", "WINDOW_UPDATE"],
)
def test_frames_beyond_a_turn_wait_for_later_ones(one, most, monkeypatch):
    peer = H2Peer(Role.SERVER)
    peer.open()
    handed = []
    receive_data = peer.http.h2.receive_data
    monkeypatch.setattr(peer.http.h2, "receive_data", lambda data: handed.append(data) or receive_data(data))
    counts = []
    for _ in turns(peer, one * 1000):
        counts.append(len(handed) - sum(counts))
    assert sum(counts) == 1000
    assert 0 < max(counts) <= most


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        # A field that has come before takes a byte.
        ([("x", "y")] * 496, 1),
        ([(f"name-{number}", f"value-{number}") for number in range(496)], 1),
        ([("x", "y")] * 200, 2),
        ([("accept", "text/html"), ("user-agent", "a browser"), ("cookie", "a=1234567890; b=1234567890")] * 5, 4),
    ],
)
def test_header_blocks_beyond_a_turn_wait_for_later_ones(fields, most):
    peer = H2Peer(Role.SERVER)
    for _ in range(100):
        peer.ask([*GET, *fields], end=True)
    requests = [
        sum(isinstance(event, RequestStarted) for _, event in events)
        for events, _ in turns(peer, peer.h2.data_to_send())
    ]
    assert sum(requests) == 100
    assert max(requests) == most


@pytest.mark.parametrize("streams", [1, 10])
def test_messages_are_inflated_a_turn_at_a_time(streams):
    peer = H2Peer(Role.SERVER)
    accept = UpgradeAccept(extensions=[PerMessageDeflate()])
    opened = [peer.open(COMPRESSED, accept=accept)[0] for _ in range(streams)]
    sizes = [
        sum(len(event.data) for _, event in events)
        for events, _ in turns(peer, b"".join(h2_frame(DATA, 0, stream, BOMB * 10) for stream in opened))
    ]
    assert sum(sizes) == streams * 10 << 20
    assert max(sizes) == 1 << 20


def conversation(peer):
    """Give bytes of a client in which much follows much on three streams, and what is to be seen on each."""
    (first, one), (second, two), (third, three) = [peer.open() for _ in range(3)]
    pings = b"".join(masked(PING, i.to_bytes(2, "big")) for i in range(3000))
    data = h2_frame(H2_PING, 0, 0, bytes(8)) * 200
    for at in range(0, len(pings), 16_000):
        data += h2_frame(DATA, 0, first, pings[at : at + 16_000])
    data += h2_frame(DATA, END_STREAM, first, masked(BINARY, b"last") + masked(PING, b"") * 1500)
    data += h2_frame(0xBB, 0, 0) * 100 + h2_frame(DATA, 0, second, masked(1, b"text"))
    data += h2_frame(DATA, 0, second, masked(CLOSE, b"\x03\xe8")) + h2_frame(DATA, END_STREAM, second)
    data += h2_frame(DATA, 0, third, masked(1, b"a") * 1500) * 2 + h2_frame(RST_STREAM, 0, third, b"\0\0\0\x08")
    return data, (one, two, three)


def shown(events, connections):
    """Give the events of each connection."""
    return [[repr(event) for it, event in events if it is connection] for connection in connections]


@pytest.mark.parametrize("cut", [1 << 20, 5000, 777])
def test_nothing_is_lost_and_the_order_on_each_stream_stays(cut):
    whole = H2Peer(Role.SERVER)
    data, connections = conversation(whole)
    expected = shown(whole.http.receive(data)[0], connections)
    assert [len(events) for events in expected] == [3000 + 1 + 1500 + 1, 2, 3001]
    peer = H2Peer(Role.SERVER)
    data, connections = conversation(peer)
    events, most = [], 0
    for at in range(0, len(data), cut):
        for pairs, reply in turns(peer, data[at : at + cut]):
            most = max(most, len(pairs))
            events += pairs
            peer.hear(reply)
    assert shown(events, connections) == expected
    assert most < 2100
    answered = b"".join(it.data for it in peer.heard if isinstance(it, h2.events.DataReceived) and it.stream_id == 1)
    assert answered.startswith(frame(PONG, b"\0\0") + frame(PONG, b"\0\1"))


def test_bytes_that_come_while_others_wait_are_taken_after_those():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.http._data_receiver.begin_turn(TURN)
    events, _ = peer.http.receive(h2_frame(H2_PING, 0, 0, bytes(8)) * 100 + h2_frame(DATA, 0, stream, masked(1, b"1")))
    assert events == []
    assert peer.http._data_receiver.behind
    taken = turns(peer, h2_frame(DATA, 0, stream, masked(1, b"2")))
    assert [pair for events, _ in taken for pair in events] == [(conn, Text("1")), (conn, Text("2"))]


def test_the_end_of_the_transport_comes_after_what_waits():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.http._data_receiver.begin_turn(TURN)
    peer.http.receive(h2_frame(H2_PING, 0, 0, bytes(8)) * 1000 + h2_frame(DATA, 0, stream, masked(1, b"last")))
    assert peer.http._data_receiver.behind
    events, _ = peer.http.receive(b"")
    assert [(it, type(event)) for it, event in events] == [(conn, Text), (conn, Failed)]
    assert peer.http.done
    assert not peer.http._data_receiver.behind


def test_what_waits_is_dropped_when_the_connection_has_failed():
    peer = H2Peer(Role.SERVER)
    peer.open()
    taken = list(turns(peer, h2_frame(H2_PING, 0, 0, bytes(7)) + h2_frame(H2_PING, 0, 0, bytes(8)) * 1000))
    assert len(taken) == 1
    assert any(kind == GOAWAY for kind, *_ in h2_frames(taken[0][1]))
    assert peer.http.done


def test_a_flood_ends_the_connection_however_many_turns_it_takes():
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    taken = list(turns(peer, h2_frame(H2_PING, 0, 0, bytes(8)) * 20_000))
    assert len(taken) > 200
    assert any(kind == GOAWAY and data[4:8] == b"\0\0\0\x0b" for kind, _, _, data in h2_frames(taken[-1][1]))
    assert conn.state is State.CLOSED


def test_frames_before_the_answer_to_the_handshake_are_taken_in_turns_too():
    peer = H2Peer(Role.SERVER)
    peer.http._data_receiver.begin_turn(TURN)
    stream = peer.ask()
    ((conn, _),) = peer.deliver()
    pings = masked(PING, b"") * 3000
    peer.http.receive(h2_frame(DATA, 0, stream, pings[:16_384]) + h2_frame(DATA, 0, stream, pings[16_384:]))
    peer.http.receive(h2_frame(DATA, 0, stream, masked(BINARY, b"last")))
    conn.send(UpgradeAccept())
    events = list(peer.http.proceed()[0])
    assert 0 < len(events) < 3000
    while peer.http._data_receiver.behind:
        peer.http._data_receiver.begin_turn(TURN)
        events += peer.http._catch_up()[0]
    assert [event for _, event in events] == [Ping(b"")] * 3000 + [Binary(b"last")]


def test_who_asks_for_no_turns_gets_all_at_once():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    data = h2_frame(H2_PING, 0, 0, bytes(8)) * 5000 + h2_frame(DATA, 0, stream, masked(1, b"") * 2700) * 8
    events, reply = peer.http.receive(data + h2_frame(DATA, 0, stream, masked(CLOSE, b"\x03\xe8")))
    assert [type(event) for it, event in events if it is conn] == [Text] * 8 * 2700 + [Close]
    assert len([kind for kind, *_ in h2_frames(reply) if kind == H2_PING]) == 5000
    assert not peer.http._data_receiver.behind
