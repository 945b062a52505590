"""Denial of service (RFC 9113 §10.5): what a peer can make us do for little."""

import h2.events
import hpack
import pytest
from h2.errors import ErrorCodes
from wire import (
    CONNECT,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    H2_CONTINUATION,
    H2_PING,
    HEADERS,
    PONG,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    H2Peer,
    frame,
    h2_frame,
    h2_frames,
    masked,
)

from mintws import Binary, Close, Failed, Http2, Ping, Role, State, Text, UpgradeAccept, UpgradeRequest
from mintws.events import Response
from mintws.http2.flood_guard import WASTED_REQUESTS, FloodGuard

IDLE = {
    "PING": h2_frame(H2_PING, 0, 0, bytes(8)),
    "acknowledged PING": h2_frame(H2_PING, 1, 0, bytes(8)),
    "SETTINGS": h2_frame(SETTINGS, 0, 0),
    "SETTINGS of one": h2_frame(SETTINGS, 0, 0, b"\x00\x04\x00\x01\x00\x00"),
    "PRIORITY": h2_frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"),
    "unknown type": h2_frame(0xBB, 0, 0, b""),
    "WINDOW_UPDATE": h2_frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "WINDOW_UPDATE of a stream": h2_frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
    "empty DATA": h2_frame(DATA, 0, 1),
    "padding": h2_frame(DATA, 8, 1, b"\2\0\0"),
}


def calmed(data: bytes) -> bool:
    """Whether there is a GOAWAY with ENHANCE_YOUR_CALM."""
    return any(kind == GOAWAY and payload[4:8] == b"\0\0\0\x0b" for kind, _, _, payload in h2_frames(data))


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
@pytest.mark.parametrize("one", IDLE.values(), ids=IDLE)
def test_flood_in_one_read_ends_the_connection(role, one):
    peer = H2Peer(role)
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    events, reply = peer.http.receive(one * 50_000)
    assert calmed(reply)
    assert len(events) == 2
    assert len(reply) < 200_000
    assert conn.state is State.CLOSED
    assert [type(event) for it, event in events if it is conn] == [Failed]
    assert peer.http.done
    assert stream


@pytest.mark.parametrize("together", [1, 7, 200, 2000])
@pytest.mark.parametrize("one", IDLE.values(), ids=IDLE)
def test_flood_over_many_reads_ends_the_connection_at_the_same_frame(one, together):
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    borne = 0
    while not peer.http.done:
        assert borne <= 10_000
        borne += together
        events, reply = peer.http.receive(one * together)
    assert borne - together <= 10_000 < borne + 10
    assert calmed(reply)
    assert [it for it, event in events if type(event) is Failed] == [conn, None]


@pytest.mark.parametrize("one", IDLE.values(), ids=IDLE)
def test_5000_such_frames_in_one_read_are_borne(one):
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    _, reply = peer.http.receive(one * 5000)
    assert not calmed(reply)
    assert conn.state is State.OPEN


@pytest.mark.parametrize("who", ["the peer", "we"])
@pytest.mark.parametrize("one", IDLE.values(), ids=IDLE)
def test_such_frames_beside_messages_are_borne_for_ever(one, who):
    # As PINGs of a proxy every few seconds, and a message now and then.
    peer = H2Peer(Role.SERVER, {4: 1 << 20})
    stream, conn = peer.open()
    for _ in range(2000):
        if who == "we":
            data = conn.send(Text("x"))[9:]
        else:
            data = masked(1, b"x")
            peer.http.receive(h2_frame(DATA, 0, stream, data))
        peer.http.receive(one * len(data))
    assert conn.state is State.OPEN


@pytest.mark.parametrize(("size", "borne"), [(1, 1), (6, 6), (1000, 10)])
def test_each_byte_of_data_makes_up_for_one_such_frame_and_a_data_frame_for_ten(size, borne):
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    pings = masked(PONG, b"") * 20_000
    peer.http.receive(IDLE["PING"] * 10_000)
    for i in range(100):
        peer.http.receive(h2_frame(DATA, 0, stream, pings[size * i : size * (i + 1)]))
        peer.http.receive(IDLE["PING"] * borne)
        assert not peer.http.done
    peer.http.receive(IDLE["PING"])
    assert peer.http.done


def test_each_byte_of_a_body_makes_up_for_one_such_frame_and_a_data_frame_for_ten():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask(GET)
    peer.deliver()
    peer.http.receive(IDLE["PING"] * 9990)
    for size, borne in ((1, 1), (10, 10), (1000, 10)) * 30:
        peer.http.receive(h2_frame(DATA, 0, stream, bytes(size)) + IDLE["PING"] * borne)
        assert not peer.http.done
    peer.http.receive(IDLE["PING"] * 10)
    assert peer.http.done


def test_padding_makes_up_for_nothing():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask(GET)
    peer.deliver()
    peer.http.receive(IDLE["PING"] * 9990)
    peer.http.receive((h2_frame(DATA, 8, stream, b"\x64" + bytes(100)) + IDLE["PING"]) * 30)
    assert peer.http.done


def test_such_frames_beside_ordinary_requests_are_borne_for_ever():
    peer = H2Peer(Role.SERVER)
    for i in range(300):
        events, _ = peer.http.receive(requests(peer, 1, lambda _: b"", GET, end=True, start=2 * i + 1)[0])
        (request,) = [made for _, event in events if (made := peer.http.collect(event))]
        if i % 2:
            peer.http.respond(request, Response(204))
        else:
            peer.http.h2.send_headers(request.stream, [(":status", "204")], end_stream=True)
        peer.http.receive(IDLE["PING"] * 100)
    assert not peer.http.done


def test_old_merits_are_no_credit():
    peer = H2Peer(Role.SERVER)
    stream, _ = peer.open()
    for _ in range(3000):
        peer.http.receive(h2_frame(DATA, 0, stream, masked(1, b"x")))
    peer.http.receive(IDLE["PING"] * 10_001)
    assert peer.http.done


def test_whoever_has_a_clock_can_keep_a_quiet_connection_alive():
    # A day of a peer that sends a PING every ten seconds, and takes back a long poll every minute.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    for _ in range(24 * 60):
        peer.http.receive(IDLE["PING"] * 6)
        peer.http.receive(requests(peer, 1, reset, start=peer.http.h2.highest_inbound_stream_id + 2)[0])
        peer.http.refill()
    assert peer.send(stream, masked(1, b"x")) == [(conn, Text("x"))]


@pytest.mark.parametrize("one", IDLE.values(), ids=IDLE)
def test_a_clock_alone_forgives_no_more_than_60_such_frames_at_a_time(one):
    peer = H2Peer(Role.SERVER)
    peer.open()
    peer.http.receive(one * 9990)
    for _ in range(20):
        peer.http.refill()
        peer.http.receive(one * 60)
    assert not peer.http.done
    peer.http.refill()
    peer.http.receive(one * 75)
    assert peer.http.done


def test_a_clock_alone_forgives_no_more_than_10_wasted_requests_at_a_time():
    peer = H2Peer(Role.SERVER)

    def waste(count):
        for request in requests(peer, count, reset, start=peer.http.h2.highest_inbound_stream_id + 2):
            peer.http.receive(request)

    peer.http.receive(requests(peer, 1, reset)[0])
    waste(511)
    for _ in range(20):
        peer.http.refill()
        waste(10)
    assert not peer.http.done
    waste(1)
    assert peer.http.done


@pytest.mark.parametrize("minutes", [1, 100])
def test_a_clock_forgives_no_flood(minutes):
    guard = FloodGuard()
    for _ in range(WASTED_REQUESTS + 1):
        guard.waste()
    for _ in range(minutes):
        guard.refill()
    assert guard.flood == "a flood of requests that come to nothing"


@pytest.mark.parametrize("role", list(Role))
def test_acknowledgements_of_our_probes_are_no_idle_frames(role):
    peer = H2Peer(role)
    peer.http.receive(IDLE["PING"] * 9990)
    for _ in range(300):
        peer.hear(peer.http.probe())
        assert peer.deliver() == []
    assert not peer.http.done
    # Nobody has asked for these.
    peer.http.receive(IDLE["acknowledged PING"] * 11)
    assert peer.http.done


@pytest.mark.parametrize("role", list(Role))
def test_a_websocket_that_carries_nothing_but_our_pings_for_a_day_is_borne_without_a_clock(role):
    # Its peer gives credit at once for each, to the stream and to the connection, and sends a PING every ten seconds.
    peer = H2Peer(role)
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    key = bytes(4) if role is Role.SERVER else None
    peer.http.receive(IDLE["PING"] * 9990)
    for _ in range(4320):
        conn.send(Ping(bytes(8)))
        credit = h2_frame(WINDOW_UPDATE, 0, stream, b"\0\0\0\x0a") + h2_frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\x0a")
        pong = h2_frame(DATA, 0, stream, frame(PONG, bytes(8), key=key))
        peer.http.receive(credit + pong + IDLE["PING"] * 2)
    assert conn.state is State.OPEN


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("how", ["END_STREAM", "Close and END_STREAM", "RST_STREAM"])
def test_streams_that_end_are_no_flood(role, how):
    # All of them in one read, again and again.
    peer = H2Peer(role, {3: 10_000}, max_concurrent_streams=10_000)
    close = masked(8, b"\x03\xe8") if role is Role.SERVER else b"\x88\x02\x03\xe8"
    make = {
        "END_STREAM": lambda stream: h2_frame(DATA, END_STREAM, stream),
        "Close and END_STREAM": lambda stream: h2_frame(DATA, 0, stream, close) + h2_frame(DATA, END_STREAM, stream),
        "RST_STREAM": lambda stream: h2_frame(RST_STREAM, 0, stream, b"\0\0\0\x08"),
    }[how]
    opened = [peer.open() if role is Role.SERVER else peer.answer() for _ in range(300)]
    events, _ = peer.http.receive(b"".join(make(stream) for stream, _ in opened))
    assert [it for it, _ in events] == [conn for _, conn in opened]
    assert {type(event) for _, event in events} == {Close if how.startswith("Close") else Failed}
    for conn, event in events:
        conn.send(event)
    assert not peer.http._streams
    assert not peer.http.done


@pytest.mark.parametrize(
    "late",
    [
        h2_frame(DATA, END_STREAM, 1),
        h2_frame(RST_STREAM, 0, 1, bytes(4)),
        h2_frame(HEADERS, END_HEADERS | END_STREAM, 1),
    ],
    ids=["END_STREAM", "RST_STREAM", "HEADERS"],
)
def test_flood_of_ends_of_a_stream_that_has_closed_ends_the_connection(late):
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    conn.abort()
    for _ in range(200):
        peer.http.receive(late * 100)
    assert peer.http.done


@pytest.mark.parametrize(("increment", "borne"), [(1, False), (100, False), (1000, True), (16384, True)])
def test_tiny_increments_of_the_window_are_borne_10_000_times(increment, borne):
    # Each makes a DATA frame of ours.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    credit = increment.to_bytes(4, "big")
    both = h2_frame(WINDOW_UPDATE, 0, stream, credit) + h2_frame(WINDOW_UPDATE, 0, 0, credit)
    for i in range(6000):
        if not peer.http.done and i % 500 == 0:
            conn.send(Binary(bytes(increment * 500 + 65535)))
        peer.http.receive(both)
    assert peer.http.done != borne


def test_credit_for_each_frame_that_we_send_is_borne_for_ever():
    # Some clients give it at once, to the stream and to the connection.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    credit = h2_frame(WINDOW_UPDATE, 0, stream, b"\0\0\0\3") + h2_frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\3")
    for _ in range(8000):
        assert conn.send(Text("x"))
        peer.http.receive(credit)
    assert conn.state is State.OPEN


def requests(peer: H2Peer, count: int, after, headers=CONNECT, *, end: bool = False, start: int = 1) -> list[bytes]:
    """Make requests on new streams, each with something behind it."""
    made = []
    for number in range(start, start + 2 * count, 2):
        block = peer.h2.encoder.encode(headers)
        made.append(h2_frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), number, block) + after(number))
    return made


def reset(number: int) -> bytes:
    return h2_frame(RST_STREAM, 0, number, b"\0\0\0\x08")


def overflow(number: int) -> bytes:
    return h2_frame(WINDOW_UPDATE, 0, number, b"\x7f\xff\xff\xff")


WASTE = {
    "rapid reset": {"after": reset},
    "rapid reset of GET": {"after": reset, "headers": GET, "end": True},
    "rapid reset of half a POST": {"after": reset, "headers": GET},
    "made to reset by WINDOW_UPDATE": {"after": overflow},
    "made to reset by END_STREAM": {"after": lambda _: b"", "end": True},
    "made to reset by malformed headers": {"after": lambda _: b"", "headers": [*GET, ("Upper", "x")], "end": True},
    "made to reset by trailers": {"after": lambda number: h2_frame(HEADERS, END_HEADERS | END_STREAM, number)},
    "made to reset by HEADERS": {"after": lambda number: h2_frame(HEADERS, END_HEADERS, number)},
    "made to reset by a wrong length": {
        "after": lambda _: b"",
        "headers": [*GET, ("content-length", "5")],
        "end": True,
    },
    "made to reset by too much ahead of the answer": {
        "after": lambda number: h2_frame(DATA, 0, number, bytes(16384)) * 5
    },
    "made to refuse": {"after": lambda _: b"", "headers": CONNECT[:-1]},
    "another protocol": {"after": lambda _: b"", "headers": [CONNECT[0], (":protocol", "x"), *CONNECT[2:]]},
}


@pytest.mark.parametrize("waste", WASTE.values(), ids=WASTE)
@pytest.mark.parametrize("together", [1, 20, 1000])
def test_requests_that_are_reset_end_the_connection_however_they_are_cut(waste, together):
    peer = H2Peer(Role.SERVER)
    made = requests(peer, 1000, **waste)
    replies, seen = b"", 0
    for i in range(0, len(made), together):
        events, reply = peer.http.receive(b"".join(made[i : i + together]))
        replies += reply
        seen += len(events)
    # All at once it is more DATA than there is credit for.
    much = len(b"".join(made)) > 16 * 1024 * 1024 and together == 1000
    assert calmed(replies) != much
    assert peer.http.done
    # Up to three for each that is ordinary.
    assert seen < 1600
    assert not peer.http._streams


@pytest.mark.parametrize("start", [3, 1_000_001])
@pytest.mark.parametrize("step", [2, 1000])
def test_numbers_that_are_passed_over_are_no_requests(start, step):
    peer = H2Peer(Role.SERVER)
    for i in range(513):
        assert not peer.http.done
        peer.http.receive(requests(peer, 1, reset, start=start + step * i)[0])
    assert peer.http.done


def test_requests_above_the_limit_are_refused_512_times():
    peer = H2Peer(Role.SERVER, max_concurrent_streams=10)
    for request in requests(peer, 10, lambda _: b""):
        peer.http.receive(request)
    made = requests(peer, 600, lambda _: b"", GET, end=True, start=21)
    refused = b"".join(peer.http.receive(request)[1] for request in made)
    assert [kind for kind, *_ in h2_frames(refused)] == [RST_STREAM] * 513 + [GOAWAY]
    assert peer.http.done


@pytest.mark.parametrize("waste", WASTE.values(), ids=WASTE)
def test_100_requests_that_are_reset_are_borne(waste):
    peer = H2Peer(Role.SERVER)
    for request in requests(peer, 100, **waste):
        peer.http.receive(request)
    assert not peer.http.done
    assert not peer.http._streams
    assert peer.http.h2.open_inbound_streams == 0


def test_resets_after_the_answer_are_borne():
    # So some clients end each WebSocket.
    peer = H2Peer(Role.SERVER)
    for _ in range(1000):
        stream, _ = peer.open()
        peer.h2.reset_stream(stream, 8)
        peer.deliver()
    assert not peer.http.done
    peer.open()


def test_one_reset_in_three_is_borne():
    peer = H2Peer(Role.SERVER)
    for i in range(1500):
        stream = peer.ask()
        ((conn, _),) = peer.deliver()
        if i % 3 == 0:
            peer.h2.reset_stream(stream, 8)
        else:
            peer.hear(conn.send(UpgradeAccept()))
            peer.hear(conn.abort())
        peer.deliver()
    assert not peer.http.done


def test_window_update_of_0_makes_no_resets_without_end():
    peer = H2Peer(Role.SERVER)
    replies = b""
    for request in requests(peer, 1000, lambda number: h2_frame(WINDOW_UPDATE, 0, number, bytes(4))):
        _, reply = peer.http.receive(request)
        replies += reply
    assert peer.http.done
    assert len(replies) < 20_000


def test_interim_responses_without_end_end_the_connection():
    peer = H2Peer(Role.CLIENT)
    conn = peer.http.open()
    peer.hear(conn.send(UpgradeRequest("example.com")))
    interim = h2_frame(HEADERS, END_HEADERS, 1, hpack.Encoder().encode([(":status", "103")]))
    events, reply = peer.http.receive(interim * 100)
    assert (events, reply) == ([], b"")
    _, reply = peer.http.receive(interim * 10_000)
    assert calmed(reply)
    assert conn.state is State.CLOSED


def test_more_streams_than_were_allowed_are_refused():
    peer = H2Peer(Role.SERVER, max_concurrent_streams=10)
    events, reply = peer.http.receive(b"".join(requests(peer, 30, lambda _: b"")))
    assert len([event for it, event in events if it is not None]) <= 10
    assert any(kind in (RST_STREAM, GOAWAY) for kind, *_ in h2_frames(reply))


@pytest.mark.parametrize("payload", [b"", b"\x82"])
def test_continuation_flood_ends_the_connection(payload):
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    _, reply = peer.http.receive(h2_frame(HEADERS, 0, 3, b"") + h2_frame(H2_CONTINUATION, 0, 3, payload) * 10_000)
    assert any(kind == GOAWAY for kind, *_ in h2_frames(reply))
    assert conn.state is State.CLOSED


@pytest.mark.parametrize("size", [1, 16384])
def test_continuation_flood_ends_the_connection_however_it_is_cut(size):
    peer = H2Peer(Role.SERVER)
    data = h2_frame(HEADERS, 0, 1, b"") + h2_frame(H2_CONTINUATION, 0, 1, b"\x82" * size) * 200
    for i in range(0, len(data), 5000):
        peer.http.receive(data[i : i + 5000])
    assert peer.http.done


def test_headers_in_continuations_are_taken():
    peer = H2Peer(Role.SERVER)
    block = peer.h2.encoder.encode(CONNECT)
    data = h2_frame(HEADERS, 0, 1, block[:10]) + h2_frame(H2_CONTINUATION, 0, 1, block[10:20])
    events, _ = peer.http.receive(data + h2_frame(H2_CONTINUATION, END_HEADERS, 1, block[20:]))
    assert len(events) == 1


@pytest.mark.parametrize(
    "between",
    [
        h2_frame(H2_PING, 0, 0, bytes(8)),
        h2_frame(DATA, 0, 1, masked(1, b"x")),
        h2_frame(DATA, 0, 3, b"of a stream that has closed"),
        h2_frame(HEADERS, END_HEADERS, 7, b"\x82"),
        h2_frame(H2_CONTINUATION, END_HEADERS, 7, b"\x82"),
        h2_frame(GOAWAY, 0, 0, bytes(8)),
        h2_frame(0xBB, 0, 0),
    ],
)
@pytest.mark.parametrize("continued", [False, True])
def test_frame_within_a_header_block_ends_the_connection(between, continued):
    # §4.3, §6.10
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    peer.open()[1].abort()
    block = peer.h2.encoder.encode(CONNECT)
    begun = h2_frame(HEADERS, 0, 5, block[:10]) + (h2_frame(H2_CONTINUATION, 0, 5, block[10:15]) if continued else b"")
    events, reply = peer.http.receive(begun + between)
    assert any(kind == GOAWAY and payload[4:8] == b"\0\0\0\x01" for kind, _, _, payload in h2_frames(reply))
    assert conn.state is State.CLOSED
    assert all(type(event) is not Text for _, event in events)


def test_hpack_bomb_ends_the_connection():
    # A few bytes that stand for one long header each.
    peer = H2Peer(Role.SERVER)
    encoder = hpack.Encoder()
    first = encoder.encode([("x", "a" * 4000)])
    again = encoder.encode([("x", "a" * 4000)])
    assert len(again) < 5
    _, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS, 1, first + again * 4000))
    assert any(kind == GOAWAY for kind, *_ in h2_frames(reply))
    assert peer.http.done


@pytest.mark.parametrize(
    "headers", [[("x", "a" * 70_000)], [(f"x{i}", "a") for i in range(10_000)]], ids=["70 kB", "10,000"]
)
def test_headers_without_end_are_not_taken(headers):
    peer = H2Peer(Role.SERVER)
    block = peer.h2.encoder.encode([*CONNECT, *headers])
    parts = [block[i : i + 16384] for i in range(0, len(block), 16384)]
    data = h2_frame(HEADERS, 0, 1, parts[0]) + b"".join(h2_frame(H2_CONTINUATION, 0, 1, part) for part in parts[1:])
    events, reply = peer.http.receive(data + h2_frame(H2_CONTINUATION, END_HEADERS, 1))
    assert h2_frames(reply)
    assert all(it is None or type(event) is Failed for it, event in events)


@pytest.mark.parametrize("kind", ["request", "handshake", "trailers"])
@pytest.mark.parametrize(("count", "many"), [(500, False), (513, True)])
def test_header_block_of_more_than_512_fields_ends_the_connection(count, many, kind):
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    fields = [(f"x{i}", "y") for i in range(count)]
    if kind == "trailers":
        stream = peer.ask(GET)
        peer.h2.send_headers(stream, fields, end_stream=True)
    else:
        peer.ask([*(GET if kind == "request" else CONNECT), *fields], end=kind == "request")
    events = [event for it, event in peer.deliver() if it is None and isinstance(event, Failed)]
    ends = peer.of(h2.events.ConnectionTerminated)
    assert [event.error_code for event in ends] == ([ErrorCodes.ENHANCE_YOUR_CALM] if many else [])
    assert [("more than 512 fields" in str(event.error)) for event in events] == [True] * many
    assert conn.state is (State.CLOSED if many else State.OPEN)


@pytest.mark.parametrize(("count", "many"), [(500, False), (513, True)])
def test_answer_of_more_than_512_fields_ends_the_connection(count, many):
    peer = H2Peer(Role.CLIENT)
    conn = peer.http.open()
    peer.hear(conn.send(UpgradeRequest("example.com")))
    peer.h2.send_headers(peer.heard[-1].stream_id, [(":status", "200"), *((f"x{i}", "y") for i in range(count))])
    kinds = [type(event) for it, event in peer.deliver() if it is conn]
    assert kinds == [Failed if many else UpgradeAccept]
    assert peer.http.done == many


def test_headers_of_30_kb_are_taken():
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open(("x", "a" * 30_000))
    assert conn.request.headers == (("x", "a" * 30_000),)
    assert not peer.http.done


def test_start_says_the_header_limit():
    (payload,) = [
        payload for kind, flags, _, payload in h2_frames(H2Peer(Role.SERVER).start) if kind == SETTINGS and not flags
    ]
    assert b"\x00\x06\x00\x01\x00\x00" in payload


@pytest.mark.parametrize("size", [16385, 1 << 20, (1 << 24) - 1])
@pytest.mark.parametrize("kind", [DATA, HEADERS, SETTINGS, 0xBB])
def test_frame_over_the_announced_size_ends_the_connection_at_its_header(size, kind):
    # §4.2: FRAME_SIZE_ERROR, without waiting for the payload.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    number = stream if kind in (DATA, HEADERS) else 0
    _, reply = peer.http.receive(size.to_bytes(3, "big") + bytes([kind, 0]) + number.to_bytes(4, "big"))
    assert any(it == GOAWAY and payload[4:8] == b"\0\0\0\x06" for it, _, _, payload in h2_frames(reply))
    assert conn.state is State.CLOSED


@pytest.mark.parametrize(
    "data",
    [
        h2_frame(H2_PING, 0, 0, bytes(7)),
        h2_frame(H2_PING, 0, 1, bytes(8)),
        h2_frame(SETTINGS, 0, 0, bytes(5)),
        h2_frame(SETTINGS, 0, 1),
        h2_frame(SETTINGS, 1, 0, bytes(6)),
        h2_frame(WINDOW_UPDATE, 0, 0, bytes(3)),
        h2_frame(RST_STREAM, 0, 0, bytes(4)),
        h2_frame(RST_STREAM, 0, 1, bytes(3)),
        h2_frame(GOAWAY, 0, 0, bytes(7)),
        h2_frame(GOAWAY, 0, 1, bytes(8)),
        h2_frame(HEADERS, END_HEADERS, 0, b"\x82"),
        h2_frame(HEADERS, END_HEADERS, 2, b"\x82"),
        h2_frame(HEADERS, END_HEADERS, 7, b"\xff\xff\xff\xff\xff\xff"),
        h2_frame(H2_CONTINUATION, END_HEADERS, 1, b"\x82"),
        h2_frame(5, END_HEADERS, 1, b"\0\0\0\x02\x82"),
    ],
    ids=lambda data: data.hex(),
)
def test_broken_frame_ends_the_connection_and_loses_each_websocket(data):
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    _, other = peer.open()
    events, reply = peer.http.receive(data)
    assert any(kind == GOAWAY for kind, *_ in h2_frames(reply))
    assert {it for it, event in events if type(event) is Failed} == {conn, other, None}
    assert peer.http.done
    assert peer.http.receive(h2_frame(H2_PING, 0, 0, bytes(8))) == ([], b"")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"\x00" * 24,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r",
        b"\x16\x03\x01" + bytes(60),
    ],
)
def test_preface_that_is_none_ends_the_connection(data):
    http = Http2(Role.SERVER)
    http.start()
    events, _ = http.receive(data)
    assert type(events[-1][1]) is Failed
    assert http.done


def test_trailers_on_a_websocket_end_it():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.h2.send_headers(stream, [("x", "y")], end_stream=True)
    assert [type(event) for it, event in peer.deliver() if it is conn] == [Failed]
    assert peer.of(h2.events.StreamReset, stream)
    assert stream not in peer.http._streams


def test_second_headers_without_end_are_a_fault_that_opens_nothing():
    peer = H2Peer(Role.SERVER)
    stream, _ = peer.open()
    block = peer.h2.encoder.encode(CONNECT)
    events, _ = peer.http.receive(h2_frame(HEADERS, END_HEADERS, stream, block))
    assert all(type(event) is Failed for _, event in events)
    assert len(peer.http._streams) <= 1
