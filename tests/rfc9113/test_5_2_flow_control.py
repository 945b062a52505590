"""Flow control (RFC 9113 §5.2, §6.9): no byte more than the peer gave credit for, and credit for all that came."""

import random

import h2.events
import pytest
from wire import (
    DATA,
    END_HEADERS,
    GET,
    HEADERS,
    PADDED,
    SETTINGS,
    WINDOW_UPDATE,
    H2Peer,
    Pair,
    Wire,
    frame,
    frames_of,
    h2_frame,
    h2_frames,
    masked,
    opened,
)

from mintws import Binary, Close, Failed, Http2, LocalProtocolError, Role, State, Text, UpgradeRequest
from mintws.events import BodyData, MessageReset

INITIAL_WINDOW_SIZE = 4
STREAM, LARGEST, CONNECTION = 262144, 4194304, 16777216


def left_and_credit(peer: H2Peer, stream: int) -> int:
    return sum(peer.http._data_receiver.window(stream))


def agreed(peer: H2Peer, stream: int) -> int:
    """`left_and_credit`, of which what is left is what the peer, a real h2, counts as well: no credit was lost on its way."""
    its = peer.h2.streams[stream] if stream else peer.h2
    assert its.outbound_flow_control_window == peer.http._data_receiver.window(stream)[0]
    return left_and_credit(peer, stream)


def sent(conn, peer: H2Peer, size: int) -> bytes:
    """Send a message of `size` bytes and return the DATA that goes out at once."""
    out = conn.send(Binary(bytes(size)))
    peer.hear(out)
    return b"".join(payload for kind, _, _, payload in h2_frames(out) if kind == DATA)


# What we send.


def test_data_is_cut_to_the_peers_max_frame_size():
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    frames = h2_frames(conn.send(Binary(bytes(40_000))))
    assert [len(payload) for _, _, _, payload in frames] == [16384, 16384, 40_004 - 32768]


def test_larger_max_frame_size_of_the_peer_is_used():
    peer = H2Peer(Role.SERVER, {5: 100_000, INITIAL_WINDOW_SIZE: 1 << 20})
    _, conn = peer.open()
    assert [len(payload) for _, _, _, payload in h2_frames(conn.send(Binary(bytes(50_000))))] == [50_004]


def test_stream_window_is_not_overrun():
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    assert len(sent(conn, peer, 100_000)) == 65535
    assert conn.buffered == 100_000 + 10 - 65535


def test_connection_window_is_not_overrun():
    peer = H2Peer(Role.SERVER)
    conns = [peer.open()[1] for _ in range(3)]
    assert [len(sent(conn, peer, 30_000)) for conn in conns] == [30_004, 30_004, 65535 - 60_008]


def test_what_waits_goes_out_when_the_windows_open():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    sent(conn, peer, 200_000)
    for _ in range(100):
        if not conn.buffered:
            break
        peer.h2.increment_flow_control_window(9000, stream)
        peer.h2.increment_flow_control_window(9000)
        peer.deliver()
    assert conn.buffered == 0
    assert peer.data(stream) == b"\x82\x7f" + (200_000).to_bytes(8, "big") + bytes(200_000)


@pytest.mark.parametrize("only", ["stream", "connection"])
def test_one_window_alone_lets_nothing_pass(only):
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    sent(conn, peer, 100_000)
    before = len(peer.data(stream))
    peer.h2.increment_flow_control_window(5000, stream if only == "stream" else None)
    peer.deliver()
    assert len(peer.data(stream)) == before


def test_messages_that_wait_keep_their_order():
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 0})
    stream, conn = peer.open()
    for i in range(10):
        assert conn.send(Text(str(i))) == b""
    assert conn.buffered == 30
    peer.h2.increment_flow_control_window(1000, stream)
    peer.deliver()
    assert peer.data(stream) == b"".join(b"\x81\x01%d" % i for i in range(10))


def test_window_that_never_opens_holds_what_was_sent_and_says_so():
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 0})
    _, conn = peer.open()
    for _ in range(10):
        conn.send(Binary(bytes(1000)))
    assert conn.buffered == 10_040
    peer.hear(conn.abort())
    assert conn.buffered == 0


def test_setting_that_opens_the_window_lets_go_what_waits():
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 0})
    stream, conn = peer.open()
    conn.send(Text("hello"))
    peer.h2.update_settings({INITIAL_WINDOW_SIZE: 100})
    peer.deliver()
    assert peer.data(stream) == b"\x81\x05hello"


def test_setting_that_shrinks_the_window_below_zero_holds_back():
    # §6.9.2: a window may become negative, and no empty DATA is sent then.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    sent(conn, peer, 60_000)
    peer.h2.update_settings({INITIAL_WINDOW_SIZE: 10})
    peer.deliver()
    heard = len(peer.wrote)
    peer.hear(conn.send(Text("held")))
    assert conn.buffered == 6
    peer.h2.increment_flow_control_window(59_000, stream)
    peer.deliver()
    assert conn.buffered == 6
    assert all(kind != DATA for kind, *_ in h2_frames(peer.wrote[heard:]))
    peer.h2.increment_flow_control_window(2000, stream)
    peer.deliver()
    assert conn.buffered == 0
    assert peer.data(stream).endswith(b"\x81\x04held")


def test_setting_changes_streams_that_are_open():
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 5})
    pairs = [peer.open() for _ in range(3)]
    for _, conn in pairs:
        peer.hear(conn.send(Binary(bytes(10))))
        assert conn.buffered == 7
    peer.h2.update_settings({INITIAL_WINDOW_SIZE: 12})
    peer.deliver()
    assert [conn.buffered for _, conn in pairs] == [0, 0, 0]


def test_setting_that_overflows_a_window_ends_the_connection():
    # §6.9.2
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    update = h2_frame(WINDOW_UPDATE, 0, stream, ((1 << 31) - 1 - 65535).to_bytes(4, "big"))
    size = h2_frame(SETTINGS, 0, 0, b"\x00\x04" + (100_000).to_bytes(4, "big"))
    events, reply = peer.http.receive(update + size)
    assert any(kind == 7 and payload[4:8] == b"\0\0\0\x03" for kind, _, _, payload in h2_frames(reply))
    assert type(events[-1][1]) is Failed
    assert conn.state is State.CLOSED


@pytest.mark.parametrize("size", [1 << 31, (1 << 32) - 1])
def test_initial_window_over_2_31_ends_the_connection(size):
    peer = H2Peer(Role.SERVER)
    _, reply = peer.http.receive(h2_frame(SETTINGS, 0, 0, b"\x00\x04" + size.to_bytes(4, "big")))
    assert any(kind == 7 and payload[4:8] == b"\0\0\0\x03" for kind, _, _, payload in h2_frames(reply))
    assert peer.http.done


def test_increments_up_to_the_largest_window_are_taken():
    # As proxies send: 2^31-1 less the 65535 of the start.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    for number in (0, stream):
        peer.http.receive(h2_frame(WINDOW_UPDATE, 0, number, ((1 << 31) - 1 - 65535).to_bytes(4, "big")))
    assert not peer.http.done
    assert len(conn.send(Binary(bytes(200_000)))) > 200_000


def test_increment_that_overflows_a_stream_resets_it():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    other, fine = peer.open()
    events, reply = peer.http.receive(h2_frame(WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff"))
    assert [(kind, payload) for kind, _, number, payload in h2_frames(reply) if number == stream] == [
        (3, b"\0\0\0\x03")
    ]
    assert [type(event) for it, event in events if it is conn] == [Failed]
    assert events[0][1].error.section == "RFC 9113 §6.9.1"
    assert peer.http.receive(h2_frame(DATA, 0, other, masked(1, b"x")))[0] == [(fine, Text("x"))]


def test_increment_that_overflows_the_connection_ends_it():
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    _, reply = peer.http.receive(h2_frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"))
    assert [(kind, payload[4:8]) for kind, _, _, payload in h2_frames(reply)] == [(7, b"\0\0\0\x03")]
    assert conn.state is State.CLOSED


@pytest.mark.parametrize("role", list(Role))
def test_increment_of_0_for_the_connection_ends_it(role):
    peer = H2Peer(role)
    _, conn = peer.open() if role is Role.SERVER else peer.answer()
    _, reply = peer.http.receive(h2_frame(WINDOW_UPDATE, 0, 0, bytes(4)))
    assert [(kind, payload[4:8]) for kind, _, _, payload in h2_frames(reply)] == [(7, b"\0\0\0\x01")]
    assert conn.state is State.CLOSED


def test_updates_for_closed_streams_are_passed_over():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.hear(conn.abort())
    peer.http.receive(h2_frame(WINDOW_UPDATE, 0, stream, b"\0\0\0\x05"))
    assert not peer.http.done


def test_slow_stream_does_not_hold_up_another():
    peer = H2Peer(Role.SERVER)
    slow, waiting = peer.open()
    fast, quick = peer.open()
    peer.h2.increment_flow_control_window(1 << 20)
    peer.deliver()
    sent(waiting, peer, 1_000_000)
    assert waiting.buffered
    for i in range(100):
        peer.hear(quick.send(Text(str(i))))
    assert quick.buffered == 0
    assert peer.data(fast) == b"".join(b"\x81%c%s" % (len(str(i)), str(i).encode()) for i in range(100))
    assert slow != fast


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("seed", range(3))
def test_100_stalled_streams_are_let_go_in_any_order(role, seed):
    # Each as if it were alone, both ways: what is still stalled neither sends nor gets credit.
    window = 65535
    peer = H2Peer(role, {INITIAL_WINDOW_SIZE: 0}, window=window)
    conns = dict(peer.open() if role is Role.SERVER else peer.answer() for _ in range(100))
    make = masked if role is Role.SERVER else frame
    block = make(2, bytes(10_000))
    for stream, conn in conns.items():
        conn.pause()
        assert conn.send(Text(f"{stream} " * 50)) == b""
        waiting = make(1, str(stream).encode()) + block * 7
        for at in range(0, window, 16384):
            peer.send(stream, waiting[at : min(at + 16384, window)])
        assert peer.h2.local_flow_control_window(stream) == 0
    order = list(conns)
    random.Random(seed).shuffle(order)
    for turn, stream in enumerate(order, 1):
        peer.hear(conns[stream].resume())
        peer.h2.increment_flow_control_window(1000, stream)
        peer.deliver()
        assert [payload.decode() for *_, payload in frames_of(peer.data(stream))] == [f"{stream} " * 50]
        assert peer.h2.local_flow_control_window(stream) == window
        # What was cut off by the window is whole now, and stands where it belongs.
        rest = (make(1, str(stream).encode()) + block * 7)[window:]
        assert peer.send(stream, rest + make(1, b"last")) == [
            (conns[stream], Binary(bytes(10_000))),
            (conns[stream], Text("last")),
        ]
        assert all(not peer.data(it) and not peer.h2.local_flow_control_window(it) for it in order[turn:])
        assert sum(conn.buffered > 0 for conn in conns.values()) == 100 - turn
    assert {agreed(peer, stream) for stream in conns} == {window}
    assert agreed(peer, 0) == CONNECTION


def test_connection_window_is_shared_by_turns():
    # What opens is not taken by the first stream alone.
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 1 << 20})
    pairs = [peer.open() for _ in range(4)]
    for _, conn in pairs:
        sent(conn, peer, 200_000)
    before = [len(peer.data(stream)) for stream, _ in pairs]
    peer.h2.increment_flow_control_window(4 * 16384)
    peer.deliver()
    assert [len(peer.data(stream)) - had for (stream, _), had in zip(pairs, before, strict=True)] == [16384] * 4


@pytest.mark.parametrize("credit", [1, 7, 5000, 16384, 40_000])
def test_connection_window_that_opens_little_by_little_goes_round(credit):
    # A turn begins where the last one ended, whoever still sends.
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 1 << 20})
    pairs = [peer.open() for _ in range(4)]
    for _, conn in pairs:
        sent(conn, peer, 400_000)
    before = [len(peer.data(stream)) for stream, _ in pairs]
    for _ in range(30):
        peer.h2.increment_flow_control_window(credit)
        peer.deliver()
        peer.hear(pairs[0][1].send(Binary(bytes(20))))
    got = [len(peer.data(stream)) - had for (stream, _), had in zip(pairs, before, strict=True)]
    assert sum(got) == 30 * credit
    assert max(got) - min(got) <= 2 * 16384


def test_stream_whose_own_window_is_shut_gives_its_turn_away():
    peer = H2Peer(Role.SERVER)
    (shut, held), (stream, conn) = peer.open(), peer.open()
    peer.h2.increment_flow_control_window(10_000_000, stream)
    peer.deliver()
    sent(held, peer, 100_000)
    sent(conn, peer, 100_000)
    peer.h2.increment_flow_control_window(100_010)
    peer.deliver()
    assert (len(peer.data(shut)), held.buffered) == (65535, 100_010 - 65535)
    assert conn.buffered == 0


# What we receive.


def test_start_announces_the_windows():
    for role in Role:
        data = Http2(role).start()[24 if role is Role.CLIENT else 0 :]
        frames = h2_frames(data)
        settings = frames[0][3]
        assert b"\x00\x04" + STREAM.to_bytes(4, "big") in settings
        assert (WINDOW_UPDATE, 0, 0, (CONNECTION - 65535).to_bytes(4, "big")) in frames


def test_window_may_be_chosen():
    peer = H2Peer(Role.SERVER, window=65535)
    stream, _ = peer.open()
    assert peer.http._data_receiver.window(stream) == (65535, 0)
    for wrong in (0, 65534, 1 << 31, -1):
        with pytest.raises(LocalProtocolError):
            Http2(Role.SERVER, window=wrong)


def test_credit_comes_back_as_data_is_taken():
    # The peer, a real h2, would raise if it had none.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    data = masked(2, bytes(16380 - 4))
    for _ in range(2000):
        assert len(peer.send(stream, data)) == 1
    assert agreed(peer, stream) == LARGEST
    assert agreed(peer, 0) == CONNECTION
    assert conn.state is State.OPEN


@pytest.mark.parametrize("role", list(Role))
def test_after_10_000_messages_all_windows_are_what_they_were(role):
    # Those in which we receive, with what is still owed; and those in which we send, as the peer gives back what it got.
    peer = H2Peer(role)
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    make = masked if role is Role.SERVER else frame
    start = len(peer.data(stream))
    for i in range(1000):
        sizes = [(i * 7 + j * 131) % 500 for j in range(10)]
        events = peer.send(stream, b"".join(make(2, bytes(size)) for size in sizes), pad_length=(None, 0, 200)[i % 3])
        assert events == [(conn, Binary(bytes(size))) for size in sizes]
        out = b"".join(conn.send(Binary(bytes(size))) for size in sizes)
        peer.hear(out)
        sent = sum(len(payload) for *_, payload in h2_frames(out))
        for number in (None, stream):
            peer.h2.increment_flow_control_window(sent, number)
    peer.deliver()
    assert len(frames_of(peer.data(stream)[start:])) == 10_000
    assert conn.buffered == 0
    assert agreed(peer, stream) == LARGEST
    assert agreed(peer, 0) == CONNECTION
    assert peer.http.h2.streams[stream].outbound_flow_control_window == 65535
    assert peer.http.h2.outbound_flow_control_window == 65535


def test_credit_goes_back_in_bulk():
    peer = H2Peer(Role.SERVER)
    stream, _ = peer.open()
    for _ in range(1000):
        peer.send(stream, masked(2, bytes(100)))
    assert len(peer.of(h2.events.WindowUpdated, stream)) <= 1


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_padding_counts_and_comes_back(padding):
    # §6.1
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    for _ in range(600):
        assert peer.send(stream, masked(1, b"x" * 300), pad_length=padding) == [(conn, Text("x" * 300))]
    # It was used up once, so it has grown.
    assert agreed(peer, stream) == 4 * STREAM


def test_padding_longer_than_its_frame_ends_the_connection():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    _, reply = peer.http.receive(h2_frame(DATA, PADDED, stream, b"\x05abc"))
    assert any(kind == 7 for kind, *_ in h2_frames(reply))
    assert conn.state is State.CLOSED


def test_paused_stream_gets_no_credit_and_resumed_gets_all():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    conn.pause()
    window = peer.h2.local_flow_control_window(stream)
    assert window == STREAM
    for _ in range(16):
        peer.send(stream, bytes(16384))
    assert not peer.of(h2.events.WindowUpdated, stream)
    assert peer.h2.local_flow_control_window(stream) == 0
    assert left_and_credit(peer, stream) == STREAM
    peer.hear(conn.resume())
    assert [it.delta for it in peer.of(h2.events.WindowUpdated, stream)] == [STREAM]
    assert peer.h2.local_flow_control_window(stream) == STREAM


def test_messages_come_while_paused_as_far_as_the_window_goes():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    conn.pause()
    assert peer.send(stream, masked(1, b"x")) == [(conn, Text("x"))]


def test_pause_and_resume_may_be_repeated():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    for _ in range(5):
        conn.pause()
        conn.pause()
        peer.send(stream, masked(2, bytes(1000)))
        peer.hear(conn.resume())
        peer.hear(conn.resume())
    assert left_and_credit(peer, stream) == STREAM


def round_trips(peer: H2Peer, stream: int, size: int) -> int:
    """How many times a peer that hears of credit once in a round trip has to send so that a message of `size` bytes has come."""
    left = masked(2, bytes(size))
    trips = 0
    while left:
        trips += 1
        room = peer.h2.local_flow_control_window(stream)
        now, left = left[:room], left[room:]
        for start in range(0, len(now), 16384):
            peer.h2.send_data(stream, now[start : start + 16384])
        peer.deliver()
    return trips


def test_window_that_is_used_up_and_taken_grows():
    # A window of 256 KiB that stays one would take 16 round trips.
    peer = H2Peer(Role.SERVER, limit=None)
    stream, _ = peer.open()
    assert round_trips(peer, stream, 4 << 20) <= 4
    # 4 MiB are the most.
    assert round_trips(peer, stream, 8 << 20) <= 3
    assert agreed(peer, stream) == LARGEST


def test_window_of_a_stream_whose_messages_are_not_taken_stays():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    for _ in range(20):
        conn.pause()
        for _ in range(12):
            peer.send(stream, masked(2, bytes(16376)))
        peer.hear(conn.resume())
    assert agreed(peer, stream) == STREAM


def test_windows_of_all_streams_grow_by_8_mib_together_and_leave_it_to_others_when_they_close():
    peer = H2Peer(Role.SERVER, limit=None)
    opened = [peer.open() for _ in range(5)]
    for stream, _ in opened:
        round_trips(peer, stream, 3 << 20)
    grown = [agreed(peer, stream) for stream, _ in opened]
    assert sum(grown) == 5 * STREAM + (8 << 20)
    assert max(grown) == LARGEST
    for _, conn in opened:
        peer.hear(conn.abort())
    peer.deliver()
    stream, _ = peer.open()
    round_trips(peer, stream, 3 << 20)
    assert agreed(peer, stream) == LARGEST


@pytest.mark.parametrize("window", [65535, 8 << 20])
def test_window_that_was_asked_for_is_where_it_begins(window):
    peer = H2Peer(Role.SERVER, window=window, limit=None)
    stream, _ = peer.open()
    assert peer.h2.local_flow_control_window(stream) == window
    round_trips(peer, stream, 5 << 20)
    assert agreed(peer, stream) == max(window, LARGEST)


def test_paused_stream_gives_the_connection_its_credit_at_once():
    peer = H2Peer(Role.SERVER)
    paused, slow = peer.open()
    other, fine = peer.open()
    slow.pause()
    for _ in range(15):
        peer.send(paused, bytes(16384))
    for _ in range(1100):
        peer.send(other, masked(2, bytes(16376)))
    assert left_and_credit(peer, 0) == CONNECTION
    assert fine.state is State.OPEN


@pytest.mark.parametrize("when", ["before the request", "before the answer", "after"])
def test_pause_of_a_client_holds_whenever_it_comes(when):
    peer = H2Peer(Role.CLIENT)
    conn = peer.http.open()
    if when == "before the request":
        conn.pause()
    peer.hear(conn.send(UpgradeRequest("example.com")))
    if when == "before the answer":
        conn.pause()
    peer.h2.send_headers(1, [(":status", "200")])
    peer.deliver()
    if when == "after":
        conn.pause()
    for _ in range(STREAM // 16384):
        peer.send(1, frame(2, bytes(16380)))
    assert not peer.of(h2.events.WindowUpdated, 1)
    assert peer.h2.local_flow_control_window(1) == 0
    peer.hear(conn.resume())
    assert peer.h2.local_flow_control_window(1) == STREAM


def test_pause_that_was_taken_back_before_the_answer_holds_nothing_back():
    peer = H2Peer(Role.CLIENT)
    conn = peer.http.open()
    conn.pause()
    assert conn.resume() == b""
    peer.hear(conn.send(UpgradeRequest("example.com")))
    peer.h2.send_headers(1, [(":status", "200")])
    peer.deliver()
    for _ in range(STREAM // 16384):
        peer.send(1, frame(2, bytes(16380)))
    assert peer.of(h2.events.WindowUpdated, 1)


def test_pause_before_the_handshake_and_after_the_end_does_nothing():
    peer = H2Peer(Role.CLIENT)
    conn = peer.http.open()
    conn.pause()
    assert conn.resume() == b""
    stream, conn = peer.answer()
    peer.hear(conn.abort())
    conn.pause()
    peer.hear(conn.resume())
    assert stream not in peer.http._streams


def test_data_over_the_stream_window_resets_the_stream():
    # §5.2.2, §6.9.1: FLOW_CONTROL_ERROR.
    peer = H2Peer(Role.SERVER, window=65535)
    stream, conn = peer.open()
    other, fine = peer.open()
    conn.pause()
    data = h2_frame(DATA, 0, stream, masked(2, bytes(16376)))
    over = b""
    for _ in range(5):
        _, reply = peer.http.receive(data)
        over += reply
    said = [(kind, payload) for kind, _, number, payload in h2_frames(over) if number == stream]
    assert said == [(3, b"\0\0\0\x03")]
    assert conn.state is not State.OPEN
    assert peer.http.receive(h2_frame(DATA, 0, other, masked(1, b"x")))[0] == [(fine, Text("x"))]


def test_data_of_an_ordinary_request_over_the_stream_window_resets_its_stream():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    post = [(":method", "POST"), *GET[1:]]
    events, reply = peer.http.receive(
        h2_frame(HEADERS, END_HEADERS, 3, peer.h2.encoder.encode(post)) + h2_frame(DATA, 0, 3, bytes(16384)) * 17
    )
    assert [type(event) for _, event in events[-2:]] == [BodyData, MessageReset]
    assert [(kind, number, payload) for kind, _, number, payload in h2_frames(reply)] == [(3, 3, b"\0\0\0\x03")]
    assert peer.send(stream, masked(1, b"hi")) == [(conn, Text("hi"))]


def test_data_over_the_connection_window_ends_the_connection():
    peer = H2Peer(Role.SERVER, window=(1 << 31) - 1)
    stream, conn = peer.open()
    left, _ = peer.http._data_receiver.window(0)
    block = h2_frame(DATA, 0, stream, masked(2, bytes(16376)))
    # Credit comes only with a reply, so one chunk can use up all of the window.
    events, reply = peer.http.receive(block * (left // 16384 + 1))
    assert any(kind == 7 and payload[4:8] == b"\0\0\0\x03" for kind, _, _, payload in h2_frames(reply))
    assert type(events[-1][1]) is Failed
    assert conn.state is not State.OPEN
    assert peer.http.done


def credit(data: bytes, number: int = 0) -> int:
    """The sum of the WINDOW_UPDATE frames of a stream, or of the connection."""
    return sum(
        int.from_bytes(payload, "big")
        for kind, _, it, payload in h2_frames(data)
        if (kind, it) == (WINDOW_UPDATE, number)
    )


@pytest.mark.parametrize("padding", [0, 200])
def test_data_of_a_reset_stream_gives_its_credit_back(padding):
    # It still counts for the connection (§6.9), with its padding (§6.1).
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    conn.abort()
    late = h2_frame(DATA, PADDED, stream, bytes([padding]) + bytes(16383))
    given = sum(credit(peer.http.receive(late)[1]) for _ in range(3000))
    assert given + peer.http._data_receiver.window(0)[1] == 3000 * 16384
    assert left_and_credit(peer, 0) == CONNECTION


def test_data_of_an_ordinary_request_gives_the_connection_its_credit_at_once():
    # Its stream gets none before the application has taken it.
    peer = H2Peer(Role.SERVER)
    post = [(":method", "POST"), *GET[1:]]
    given, body = 0, h2_frame(DATA, 0, 0, bytes(16384))
    for i in range(100):
        number = 2 * i + 1
        peer.http.receive(h2_frame(HEADERS, END_HEADERS, number, peer.h2.encoder.encode(post)))
        body = h2_frame(DATA, 0, number, bytes(16384))
        replies = b"".join(peer.http.receive(body)[1] for _ in range(16))
        assert credit(replies, number) == 0
        given += credit(replies)
    assert given + peer.http._data_receiver.window(0)[1] == 100 * STREAM
    peer.http.h2.acknowledge_received_data(STREAM, 1)
    assert credit(peer.http.h2.data_to_send(), 1) == STREAM
    assert peer.http._data_receiver.window(0)[0] > CONNECTION // 4


def test_websockets_and_ordinary_requests_share_one_window_of_the_connection():
    # What the peer, a real h2, may send never shrinks to less than half.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    upload = peer.ask([(":method", "POST"), *GET[1:]])
    ((_, head),) = peer.deliver()
    peer.http.collect(head)
    lowest = CONNECTION
    for i in range(3000):
        turn = (stream, upload)[i // 500 % 2]
        for it, event in peer.send(turn, masked(2, bytes(16376)) if turn == stream else bytes(16384)):
            if it is None:
                peer.http.collect(event, limit=None)
        peer.hear(peer.http.proceed()[1])
        lowest = min(lowest, peer.h2.outbound_flow_control_window)
    assert lowest >= CONNECTION // 2 - 16384
    assert left_and_credit(peer, 0) == CONNECTION
    assert conn.state is State.OPEN


def test_ordinary_data_over_the_connection_window_ends_the_connection():
    peer = H2Peer(Role.SERVER, window=(1 << 31) - 1)
    _, conn = peer.open()
    peer.http.receive(h2_frame(HEADERS, END_HEADERS, 3, peer.h2.encoder.encode([(":method", "POST"), *GET[1:]])))
    events, reply = peer.http.receive(h2_frame(DATA, 0, 3, bytes(16384)) * (CONNECTION // 16384 + 1))
    assert h2_frames(reply)[-1][3][4:8] == b"\0\0\0\x03"
    assert events[-1][1].error.section == "RFC 9113 §6.9.1"
    assert conn.state is not State.OPEN


def test_data_of_a_stream_that_never_was_ends_the_connection():
    peer = H2Peer(Role.SERVER)
    _, reply = peer.http.receive(h2_frame(DATA, 0, 5, b"x"))
    assert any(kind == 7 for kind, *_ in h2_frames(reply))
    assert peer.http.done


def test_data_of_stream_0_ends_the_connection():
    peer = H2Peer(Role.SERVER)
    _, reply = peer.http.receive(h2_frame(DATA, 0, 0, b"x"))
    assert any(kind == 7 for kind, *_ in h2_frames(reply))


def test_large_messages_pass_both_ways_through_small_windows():
    pair = opened(Http2, limit=None, window=65535)
    message = Binary(bytes(range(256)) * 8192)
    assert pair.to_server(message) == [message]
    assert pair.to_client(message) == [message]
    assert pair.client.buffered == pair.server.buffered == 0


def test_both_sides_send_much_at_once():
    wire_pair = opened(Http2, limit=None)
    data = Binary(bytes(3_000_000))
    up, down = wire_pair.client.send(data), wire_pair.server.send(data)
    wire_pair.wire._forget()
    wire_pair.wire._run(up, down)
    assert [event for _, event in wire_pair.wire.server_said] == [data]
    assert [event for _, event in wire_pair.wire.client_said] == [data]


@pytest.mark.parametrize("role", list(Role))
def test_frames_that_are_not_data_pass_while_the_windows_are_shut(role):
    # §5.2.1, §6.9: those of the peer, whose stream has used up its credit, and ours, who have none left for stream and connection.
    peer = H2Peer(role, {INITIAL_WINDOW_SIZE: 1 << 20})
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    conn.pause()
    for _ in range(STREAM // 16384):
        peer.send(stream, bytes(16384))
    assert peer.h2.local_flow_control_window(stream) == 0
    peer.hear(conn.send(Binary(bytes(200_000))))
    assert peer.http.h2.outbound_flow_control_window == 0
    # PING and SETTINGS, and their acknowledgements.
    _, reply = peer.http.receive(h2_frame(6, 0, 0, b"12345678") + h2_frame(SETTINGS, 0, 0))
    assert [(kind, flags) for kind, flags, _, _ in h2_frames(reply)] == [(6, 1), (SETTINGS, 1)]
    # HEADERS of another stream, both ways, and RST_STREAM.
    _, other = peer.open() if role is Role.SERVER else peer.answer()
    assert other.state is State.OPEN
    assert [kind for kind, *_ in h2_frames(conn.abort())] == [3]


def test_close_of_a_stream_whose_window_is_shut_is_held_too():
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 0})
    stream, conn = peer.open()
    assert conn.send(Close(1000)) == b""
    peer.h2.increment_flow_control_window(4, stream)
    peer.deliver()
    assert peer.data(stream) == b"\x88\x02\x03\xe8"


def pings(start: int, count: int, size: int = 125) -> bytes:
    """Pings of a client, numbered."""
    return b"".join(masked(9, number.to_bytes(4, "big") + bytes(size - 4)) for number in range(start, start + count))


def test_pongs_do_not_pile_up_for_a_peer_that_gives_no_window():
    # The newest answers for all (RFC 6455 §5.5.3).
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 0})
    stream, conn = peer.open()
    for i in range(300):
        assert len(peer.send(stream, pings(100 * i, 100))) == 100
        assert conn.buffered < 10_000
    peer.h2.increment_flow_control_window(100_000, stream)
    peer.deliver()
    pongs = frames_of(peer.data(stream))
    assert {opcode for _, _, opcode, _ in pongs} == {10}
    assert int.from_bytes(pongs[-1][3][:4], "big") == 29_999
    assert conn.buffered == 0


def test_each_of_a_few_pongs_waits_for_the_window():
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 0})
    stream, conn = peer.open()
    for i in range(30):
        peer.send(stream, pings(i, 1))
    assert conn.buffered == 30 * 127
    peer.h2.increment_flow_control_window(100_000, stream)
    peer.deliver()
    assert [int.from_bytes(payload[:4], "big") for *_, payload in frames_of(peer.data(stream))] == list(range(30))


def test_pongs_that_wait_keep_their_place_between_messages_and_before_the_close():
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 0})
    stream, conn = peer.open()
    peer.send(stream, pings(0, 2))
    conn.send(Text("one"))
    peer.send(stream, pings(2, 2))
    conn.send(Text("two"))
    peer.send(stream, pings(4, 1) + masked(8, b"\x03\xe8"))
    conn.send(Close(1000))
    peer.h2.increment_flow_control_window(100_000, stream)
    peer.deliver()
    frames = frames_of(peer.data(stream))
    assert [payload[:4] for *_, payload in frames] == [
        *(number.to_bytes(4, "big") for number in (0, 1)),
        b"one",
        *(number.to_bytes(4, "big") for number in (2, 3)),
        b"two",
        (4).to_bytes(4, "big"),
        b"\x03\xe8",
    ]
    assert peer.of(h2.events.StreamEnded, stream)


def test_pong_that_waits_goes_out_before_the_end_of_the_stream():
    peer = H2Peer(Role.SERVER, {INITIAL_WINDOW_SIZE: 0})
    stream, conn = peer.open()
    conn.send(Close(1000))
    peer.send(stream, masked(9, b"p") + masked(8, b"\x03\xe8"), end_stream=True)
    assert conn.state is State.CLOSED
    assert not peer.of(h2.events.StreamEnded, stream)
    for _ in range(7):
        peer.h2.increment_flow_control_window(1, stream)
        peer.deliver()
    assert peer.data(stream) == b"\x88\x02\x03\xe8\x8a\x01p"
    assert peer.of(h2.events.StreamEnded, stream)
    assert not peer.http._streams


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("credit", [1, 100, 1000])
def test_pongs_that_are_left_out_take_no_message_with_them(role, credit):
    # Whatever is cut, wherever the window ends.
    peer = H2Peer(role, {INITIAL_WINDOW_SIZE: 5})
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    make = masked if role is Role.SERVER else frame
    sent = []
    for i in range(40):
        ping = make(9, bytes(125))
        peer.send(stream, ping * 50)
        sent.append(Text(f"message {i}"))
        peer.hear(conn.send(sent[-1]))
        peer.h2.increment_flow_control_window(credit, stream)
        peer.deliver()
        peer.send(stream, ping * 50)
    peer.send(stream, make(8, b"\x03\xe8"))
    peer.hear(conn.send(Close(1000)))
    for number in (None, stream):
        peer.h2.increment_flow_control_window(10_000_000, number)
    peer.deliver()
    frames = frames_of(peer.data(stream))
    assert [payload.decode() for _, _, opcode, payload in frames if opcode == 1] == [it.data for it in sent]
    assert frames[-1][2] == 8
    assert {len(payload) for _, _, opcode, payload in frames if opcode == 10} == {125}
    assert peer.of(h2.events.StreamEnded, stream)


def test_empty_data_frames_are_no_messages():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    assert peer.send(stream, b"") == []
    assert peer.send(stream, masked(1, b"x")) == [(conn, Text("x"))]


def test_frames_cut_anywhere_by_data_frames_are_messages():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    data = masked(1, b"hello") + masked(2, b"w" * 200)
    events = [event for i in range(len(data)) for event in peer.send(stream, data[i : i + 1])]
    assert events == [(conn, Text("hello")), (conn, Binary(b"w" * 200))]


def test_http2_frames_cut_anywhere_say_the_same():
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    data = (
        h2_frame(DATA, 0, stream, frame(1, b"one"))
        + h2_frame(6, 0, 0, b"12345678")
        + h2_frame(DATA, 0, stream, frame(1, b"two"))
    )
    for cut in range(1, len(data)):
        one, _ = peer.http.receive(data[:cut])
        two, _ = peer.http.receive(data[cut:])
        assert [event for it, event in one + two if it is conn] == [Text("one"), Text("two")]


def test_50_websockets_share_a_connection():
    wire = Wire(Http2)
    pairs = [Pair(wire) for _ in range(50)]
    for i, pair in enumerate(pairs):
        assert pair.to_server(Text(str(i))) == [Text(str(i))]
