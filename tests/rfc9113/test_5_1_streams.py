"""The states of streams (RFC 9113 §5.1), their numbers (§5.1.1) and how many there are (§5.1.2)."""

from weakref import ref

import h2.events
import h2.stream
import hpack
import pytest
from wire import (
    CLOSE,
    CONNECT,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    H2_PING,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    H2Peer,
    Wire,
    close_payload,
    h2_frame,
    h2_frames,
    masked,
)

from mintws import Binary, Close, Http2, Role, State, Text, UpgradeAccept, UpgradeRequest


def opened_on(role: Role = Role.SERVER):
    peer = H2Peer(role)
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    return peer, stream, conn


def errors(data: bytes) -> list[tuple[int, int, int]]:
    """The RST_STREAM and GOAWAY among some frames: type, stream, code."""
    at = {RST_STREAM: 0, GOAWAY: 4}
    return [
        (kind, number, int.from_bytes(payload[at[kind] :][:4], "big"))
        for kind, _, number, payload in h2_frames(data)
        if kind in at
    ]


@pytest.mark.parametrize(
    "data",
    [h2_frame(DATA, 0, 9, b"x"), h2_frame(RST_STREAM, 0, 9, bytes(4)), h2_frame(WINDOW_UPDATE, 0, 9, b"\0\0\0\1")],
    ids=["DATA", "RST_STREAM", "WINDOW_UPDATE"],
)
@pytest.mark.parametrize("role", list(Role))
def test_frame_on_an_idle_stream_ends_the_connection(role, data):
    # §6.4 says it of RST_STREAM again.
    peer, _, conn = opened_on(role)
    events, reply = peer.http.receive(data)
    assert errors(reply) == [(GOAWAY, 0, 1)]
    assert conn.state is State.CLOSED
    assert "stream" in str(events[-1][1].error)


@pytest.mark.parametrize("number", [2, 4])
def test_reset_of_a_stream_that_a_server_would_open_ends_the_connection(number):
    for role in Role:
        peer, _, _ = opened_on(role)
        _, reply = peer.http.receive(h2_frame(RST_STREAM, 0, number, bytes(4)))
        assert errors(reply) == [(GOAWAY, 0, 1)]


def test_priority_on_an_idle_stream_is_no_fault():
    peer, _, conn = opened_on()
    assert peer.http.receive(h2_frame(PRIORITY, 0, 9, b"\0\0\0\0\x10"))[1] == b""
    assert conn.state is State.OPEN


@pytest.mark.parametrize("headers", [CONNECT, GET, [(":status", "200")]], ids=["CONNECT", "GET", "a response"])
def test_request_of_a_server_ends_the_connection(headers):
    peer, _, conn = opened_on(Role.CLIENT)
    events, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS, 2, peer.h2.encoder.encode(headers)))
    assert errors(reply) == [(GOAWAY, 0, 1)]
    assert {it for it, _ in events} == {conn, None}


@pytest.mark.parametrize("role", list(Role))
def test_data_behind_end_stream_is_stream_closed(role):
    # Half-closed (remote): §5.1, §6.1. The answer to the Close is lost with the stream.
    peer, stream, conn = opened_on(role)
    close = close_payload(1000)
    data = masked(CLOSE, close) if role is Role.SERVER else b"\x88\x02" + close
    _, reply = peer.http.receive(h2_frame(DATA, END_STREAM, stream, data) + h2_frame(DATA, 0, stream, b"more"))
    assert errors(reply) == [(RST_STREAM, stream, 5)]
    assert not peer.http.done
    conn.send(Close(1000))
    assert conn.state is State.CLOSED


def test_headers_behind_end_stream_are_stream_closed():
    peer, stream, _ = opened_on()
    block = peer.h2.encoder.encode([("x", "y")])
    data = h2_frame(DATA, END_STREAM, stream, masked(CLOSE, b"")) + h2_frame(
        HEADERS, END_HEADERS | END_STREAM, stream, block
    )
    _, reply = peer.http.receive(data)
    assert errors(reply) == [(RST_STREAM, stream, 5)]


@pytest.mark.parametrize(
    "behind",
    [
        h2_frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
        h2_frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"),
        h2_frame(RST_STREAM, 0, 1, bytes(4)),
    ],
    ids=["WINDOW_UPDATE", "PRIORITY", "RST_STREAM"],
)
def test_what_may_come_behind_end_stream_is_no_fault(behind):
    # §5.1, §6.9
    peer, stream, _ = opened_on()
    _, reply = peer.http.receive(h2_frame(DATA, END_STREAM, stream, masked(CLOSE, b"")) + behind)
    assert reply == b""
    assert not peer.http.done


def test_what_comes_behind_our_reset_is_dropped():
    # It was on its way; header blocks still count (§4.3).
    peer, stream, conn = opened_on()
    conn.abort()
    block = peer.h2.encoder.encode([("x", "a trailer that goes into the table")])
    events, reply = peer.http.receive(
        h2_frame(DATA, 0, stream, masked(1, b"late")) + h2_frame(HEADERS, END_HEADERS | END_STREAM, stream, block)
    )
    assert (events, reply) == ([], b"")
    headers = [*CONNECT, ("x", "a trailer that goes into the table")]
    events, _ = peer.http.receive(h2_frame(HEADERS, END_HEADERS, stream + 2, peer.h2.encoder.encode(headers)))
    assert events[-1][1].headers == (("x", "a trailer that goes into the table"),)


LATE = {
    "DATA": h2_frame(DATA, 0, 1, bytes(100)),
    "empty DATA": h2_frame(DATA, 0, 1),
    "the end": h2_frame(DATA, END_STREAM, 1),
    "padded DATA": h2_frame(DATA, 8, 1, b"\x02xx\0\0"),
    "trailers": h2_frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\x01x\x01y"),
    "HEADERS": h2_frame(HEADERS, END_HEADERS, 1, b"\x40\x01x\x01y"),
    "HEADERS in two": h2_frame(HEADERS, 0, 1, b"\x40\x01x") + h2_frame(9, END_HEADERS, 1, b"\x01y"),
    "WINDOW_UPDATE": h2_frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
    "RST_STREAM": h2_frame(RST_STREAM, 0, 1, bytes(4)),
    "PRIORITY": h2_frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"),
}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
@pytest.mark.parametrize("role", list(Role))
def test_stream_is_reset_once_whatever_still_comes(role, late):
    # §5.4.2; another stream beside it goes on.
    peer, _, conn = opened_on(role)
    stream, other = peer.open() if role is Role.SERVER else peer.answer()
    conn.abort()
    for _ in range(3):
        assert peer.http.receive(late) == ([], b"")
    pong = peer.http.receive(late + h2_frame(H2_PING, 0, 0, bytes(8)) + late)[1]
    assert [kind for kind, *_ in h2_frames(pong)] == [H2_PING]
    hi = masked(1, b"hi") if role is Role.SERVER else b"\x81\x02hi"
    assert peer.http.receive(h2_frame(DATA, 0, stream, hi)) == ([(other, Text("hi"))], b"")


def test_data_behind_our_reset_with_wrong_padding_ends_the_connection():
    # §6.1
    peer, stream, conn = opened_on()
    conn.abort()
    _, reply = peer.http.receive(h2_frame(DATA, 8, stream, b"\x05abc"))
    assert errors(reply) == [(GOAWAY, 0, 1)]


def test_nothing_is_sent_on_a_stream_that_was_reset():
    # §6.4
    peer, stream, conn = opened_on()
    peer.http.receive(h2_frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
    assert peer.http.h2.data_to_send() == b""
    assert conn.send(Text("x")) == b""
    assert conn.send_many([Text("x"), Close(1000)]) == b""
    assert conn.abort() == b""


@pytest.mark.parametrize("size", [0, 100_000])
@pytest.mark.parametrize("role", list(Role))
def test_nothing_is_sent_on_a_stream_that_the_caller_has_reset_by_means_of_h2(role, size):
    peer, stream, conn = opened_on(role)
    peer.hear(conn.send(Binary(bytes(size))))
    peer.http.h2.reset_stream(stream)
    peer.hear(peer.http.h2.data_to_send())
    assert conn.send(Text("x")) == b""
    [(lost, failed)], reply = peer.http.receive(h2_frame(WINDOW_UPDATE, 0, 0, b"\0\x10\0\0"))
    assert lost is conn and failed.error.code == 1006 and reply == b""
    assert peer.http.receive(h2_frame(WINDOW_UPDATE, 0, stream, b"\0\x10\0\0")) == ([], b"")
    assert conn.send(Close(1000)) == conn.send(failed) == conn.abort() == b""
    assert not peer.http._streams


@pytest.mark.parametrize("role", list(Role))
def test_nothing_is_received_on_a_stream_that_the_caller_has_reset_by_means_of_h2(role):
    peer, stream, conn = opened_on(role)
    peer.http.h2.reset_stream(stream)
    peer.hear(peer.http.h2.data_to_send())
    kept = ref(conn)
    [(lost, failed)], reply = peer.http.receive(h2_frame(DATA, 0, stream, b"\x89\0" * 100))
    assert lost is conn and failed.error.code == 1006 and reply == b""
    assert peer.http._data_receiver.window(stream) is None
    assert peer.http.receive(h2_frame(DATA, 0, stream, b"\x89\0" * 100)) == ([], b"")
    del conn, lost
    assert kept() is None


def test_client_opens_odd_streams_each_higher_than_the_last():
    wire = Wire(Http2)
    numbers = []
    for _ in range(5):
        frames = h2_frames(wire.client.open().send(UpgradeRequest("example.com")))
        numbers += [number for kind, _, number, _ in frames if kind == HEADERS]
    assert numbers == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("number", [2, 3, 5])
def test_request_on_an_even_or_used_or_skipped_stream_ends_the_connection(number):
    # 3 has ended; 7 is open, so 5 is closed.
    peer, _, conn = opened_on()
    peer.http.receive(h2_frame(HEADERS, END_HEADERS | END_STREAM, 3, peer.h2.encoder.encode(GET)))
    peer.http.h2.send_headers(3, [(":status", "204")], end_stream=True)
    peer.http.receive(h2_frame(HEADERS, END_HEADERS, 7, peer.h2.encoder.encode(CONNECT)))
    _, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS, number, peer.h2.encoder.encode(CONNECT)))
    assert errors(reply)[-1] in [(GOAWAY, 0, 1), (GOAWAY, 0, 5)]
    assert conn.state is State.CLOSED


def test_stream_above_the_limit_is_refused_and_no_other_hurt():
    peer = H2Peer(Role.SERVER, max_concurrent_streams=1)
    stream, conn = peer.open()
    _, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS, 3, peer.h2.encoder.encode(CONNECT)))
    assert errors(reply) == [(RST_STREAM, 3, 7)]
    assert peer.send(stream, masked(1, b"hi")) == [(conn, Text("hi"))]


def test_256_websockets_are_open_at_a_time_and_may_all_be_taken_back():
    # What a page takes back that is left, twice over, is no flood (§10.5).
    peer = H2Peer(Role.SERVER)
    assert peer.h2.remote_settings.max_concurrent_streams == 256
    stream, conn = peer.open()
    for _ in range(2):
        asked = [peer.ask() for _ in range(255)]
        assert len(peer.deliver()) == 255
        assert errors(peer.wrote) == []
        for number in asked:
            peer.h2.reset_stream(number, 8)
        peer.deliver()
    assert peer.send(stream, masked(1, b"hi")) == [(conn, Text("hi"))]


@pytest.mark.parametrize(("servers", "own"), [(1, None), (1, 2), (2, 1)])
def test_client_keeps_to_the_servers_limit_and_to_its_own(servers, own):
    peer = H2Peer(Role.CLIENT, {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: servers}, max_concurrent_streams=own)
    peer.answer()
    assert not peer.http.has_room
    second = peer.http.open()
    assert second.send(UpgradeRequest("example.com")) == b""
    assert len(peer.of(h2.events.RequestReceived)) == 1


@pytest.mark.parametrize("role", list(Role))
def test_opening_a_stream_looks_at_no_other(role, monkeypatch):
    # Else it takes longer the more are open.
    looks = []
    monkeypatch.setattr(h2.stream.H2Stream, "open", property(lambda stream: looks.append(stream) or True))
    http = Http2(role, max_concurrent_streams=1000)
    http.start()
    encoder = hpack.Encoder()
    if role is Role.SERVER:
        http.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(SETTINGS, 0, 0))
        for number in range(1, 401, 2):
            ((conn, _),), _ = http.receive(h2_frame(HEADERS, END_HEADERS, number, encoder.encode(CONNECT)))
            conn.send(UpgradeAccept())
    else:
        http.receive(h2_frame(SETTINGS, 0, 0, b"\x00\x08\x00\x00\x00\x01"))
        for number in range(1, 401, 2):
            http.open().send(UpgradeRequest("example.com"))
            http.receive(h2_frame(HEADERS, END_HEADERS, number, encoder.encode([(":status", "200")])))
    assert len(http.h2.streams) == 200
    assert looks == []


@pytest.mark.parametrize("end", ["reset by us", "reset by the peer", "ended", "refused"])
def test_streams_that_have_ended_are_not_counted(end):
    peer = H2Peer(Role.SERVER, max_concurrent_streams=1)
    for _ in range(5):
        stream = peer.ask(GET, end=end == "ended")
        peer.deliver()
        assert peer.http.h2.open_inbound_streams == 1
        if end == "reset by us":
            peer.http.h2.reset_stream(stream)
        elif end == "reset by the peer":
            peer.h2.reset_stream(stream)
        elif end == "ended":
            peer.http.h2.send_headers(stream, [(":status", "204")], end_stream=True)
        else:
            peer.h2.highest_outbound_stream_id += 2
            block = peer.h2.encoder.encode(GET)
            _, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS, stream + 2, block))
            assert errors(reply) == [(RST_STREAM, stream + 2, 7)]
            peer.http.h2.reset_stream(stream)
        peer.hear(peer.http.h2.data_to_send())
        peer.deliver()
        assert peer.http.h2.open_inbound_streams == len(peer.http.h2.streams) == 0
