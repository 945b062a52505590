"""The types of frames (RFC 9113 §6), as far as the glue has to do with them; flow control has a file of its own."""

import h2.events
import pytest
from wire import (
    ACK,
    CONNECT,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    H2_CONTINUATION,
    H2_PING,
    HEADERS,
    PADDED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    H2Peer,
    closing,
    h2_frame,
    h2_frames,
    masked,
    opened,
)

from mintws import Binary, Close, Failed, Http2, LocalProtocolError, Role, State, Text, UpgradeRequest
from mintws.events import MessageEnded, MessageReset, Request


def opened_on(role: Role = Role.SERVER):
    peer = H2Peer(role)
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    return peer, stream, conn


def code_of(data: bytes) -> int:
    """The error code of the GOAWAY that ends some frames."""
    kind, _, number, payload = h2_frames(data)[-1]
    assert (kind, number) == (GOAWAY, 0)
    return int.from_bytes(payload[4:8], "big")


def goaways(data: bytes) -> list[int]:
    """The last streams that GOAWAY frames name."""
    return [int.from_bytes(payload[:4], "big") for kind, _, _, payload in h2_frames(data) if kind == GOAWAY]


def setting(*pairs: tuple[int, int]) -> bytes:
    return h2_frame(
        SETTINGS, 0, 0, b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in pairs)
    )


# DATA, §6.1.


def test_padding_is_taken_off_the_data():
    # 02 | 81 80 00 00 00 00 | 00 00
    peer, stream, conn = opened_on()
    data = h2_frame(DATA, PADDED, stream, b"\x02" + masked(1, b"") + b"\0\0")
    assert peer.http.receive(data) == ([(conn, Text(""))], b"")


def test_data_may_be_all_padding():
    peer, stream, conn = opened_on()
    assert peer.http.receive(h2_frame(DATA, PADDED, stream, b"\x03\0\0\0")) == ([], b"")
    assert conn.state is State.OPEN


@pytest.mark.parametrize("payload", [b"\x04\0\0\0", b"\xff\0", b"\x01"])
def test_padding_of_the_whole_frame_or_more_ends_the_connection(payload):
    peer, stream, conn = opened_on()
    _, reply = peer.http.receive(h2_frame(DATA, PADDED, stream, payload))
    assert code_of(reply) == 1
    assert conn.state is State.CLOSED


def test_no_padding_is_sent():
    peer, stream, conn = opened_on()
    frames = h2_frames(conn.send(Binary(bytes(40_000))))
    assert all(kind == DATA and number == stream and not flags & PADDED for kind, flags, number, _ in frames)


def test_data_of_stream_0_is_protocol_error():
    peer, _, _ = opened_on()
    _, reply = peer.http.receive(h2_frame(DATA, 0, 0, b"x"))
    assert code_of(reply) == 1


# HEADERS, §6.2, and CONTINUATION, §6.10.


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_padding_is_taken_off_headers(padding):
    peer, _, _ = opened_on()
    payload = bytes([padding]) + peer.h2.encoder.encode(CONNECT) + bytes(padding)
    ((_, request),), _ = peer.http.receive(h2_frame(HEADERS, END_HEADERS | PADDED, 3, payload))
    assert request == UpgradeRequest("example.com", "/chat")


@pytest.mark.parametrize("payload", [b"\x02\x82", b"\xff\x82\x86", b"\x01", b""])
def test_padding_of_headers_that_leaves_no_room_for_itself_ends_the_connection(payload):
    peer, _, conn = opened_on()
    _, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS | PADDED, 3, payload))
    assert code_of(reply) in ((1,) if payload else (1, 6))
    assert conn.state is State.CLOSED


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("number", [0, 1, 3])
def test_continuation_without_a_block_to_continue_is_protocol_error(role, number):
    peer, _, conn = opened_on(role)
    _, reply = peer.http.receive(h2_frame(H2_CONTINUATION, END_HEADERS, number, b"\x82"))
    assert code_of(reply) == 1
    assert conn.state is State.CLOSED


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("end", ["the peer's reset", "our reset", "both ends", "the peer's end"])
def test_continuation_on_a_stream_that_has_ended_is_protocol_error(role, end):
    # What it says would change the table of HPACK.
    peer, stream, conn = opened_on(role)
    _, other = peer.open() if role is Role.SERVER else peer.answer()
    if end == "the peer's reset":
        peer.h2.reset_stream(stream, 8)
    elif end == "our reset":
        peer.hear(conn.abort())
    else:
        peer.h2.end_stream(stream)
        if end == "both ends":
            conn.send(Close(1000))
    peer.deliver()
    events, reply = peer.http.receive(h2_frame(H2_CONTINUATION, END_HEADERS, stream, b"\x40\x01x\x01y"))
    assert code_of(reply) == 1
    assert events[-1][1].error.section == "RFC 9113 §6.10"
    assert other.state is State.CLOSED


# PRIORITY, §6.3.


def test_priority_on_stream_0_is_protocol_error():
    peer, _, _ = opened_on()
    _, reply = peer.http.receive(h2_frame(PRIORITY, 0, 0, b"\0\0\0\0\x10"))
    assert code_of(reply) == 1


#: Frames that are a fault of their stream alone, by the number of that, with the code and the section of the rule.
OF_STREAM = {
    **{
        f"PRIORITY of {size} bytes": (
            lambda number, size=size: h2_frame(PRIORITY, 0, number, bytes(size)),
            6,
            "RFC 9113 §6.3",
        )
        for size in (0, 4, 6)
    },
    "PRIORITY on itself": (
        lambda number: h2_frame(PRIORITY, 0, number, (0x80000000 | number).to_bytes(4, "big") + b"\x10"),
        1,
        "RFC 7540 §5.3.1",
    ),
    "WINDOW_UPDATE of 0": (lambda number: h2_frame(WINDOW_UPDATE, 0, number, bytes(4)), 1, "RFC 9113 §6.9"),
    "WINDOW_UPDATE of 0 and the reserved bit": (
        lambda number: h2_frame(WINDOW_UPDATE, 0, number, b"\x80\0\0\0"),
        1,
        "RFC 9113 §6.9",
    ),
}
OF_STREAMS = pytest.mark.parametrize(("make", "code", "section"), OF_STREAM.values(), ids=OF_STREAM)


@OF_STREAMS
@pytest.mark.parametrize("role", list(Role))
def test_fault_of_a_websockets_stream_hurts_no_other(role, make, code, section):
    peer, stream, conn = opened_on(role)
    other, fine = peer.open() if role is Role.SERVER else peer.answer()
    events, reply = peer.http.receive(make(stream))
    assert h2_frames(reply) == [(RST_STREAM, 0, stream, code.to_bytes(4, "big"))]
    ((it, failed),) = events
    assert (it, failed.error.section) == (conn, section)
    peer.hear(reply)
    assert conn.send(failed) == b""
    assert conn.state is State.CLOSED
    message = masked(1, b"x") if role is Role.SERVER else b"\x81\x01x"
    assert peer.send(other, message) == [(fine, Text("x"))]


@OF_STREAMS
@pytest.mark.parametrize("role", list(Role))
def test_fault_of_an_ordinary_stream_hurts_no_other(role, make, code, section):
    peer, other, fine = opened_on(role)
    if role is Role.SERVER:
        number = peer.ask([(":method", "POST"), *GET[1:]])
        peer.deliver()
    else:
        number, data = peer.http.request(Request("GET", "/", (("host", "a"),)))
        peer.hear(data)
    events, reply = peer.http.receive(make(number))
    assert h2_frames(reply) == [(RST_STREAM, 0, number, code.to_bytes(4, "big"))]
    assert [(it, type(event), event.code) for it, event in events] == [(None, MessageReset, code)]
    peer.hear(reply)
    message = masked(1, b"x") if role is Role.SERVER else b"\x81\x01x"
    assert peer.send(other, message) == [(fine, Text("x"))]


@OF_STREAMS
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("end", ["our reset", "the peer's reset", "both ends"])
def test_fault_of_a_stream_that_has_closed_is_late(role, end, make, code, section):
    peer, stream, conn = opened_on(role)
    _, fine = peer.open() if role is Role.SERVER else peer.answer()
    if end == "our reset":
        peer.hear(conn.abort())
    elif end == "the peer's reset":
        peer.h2.reset_stream(stream, 8)
    else:
        peer.h2.end_stream(stream)
    peer.deliver()
    assert stream not in peer.http.h2.streams
    assert peer.http.receive(make(stream)) == ([], b"")
    assert fine.state is State.OPEN


@OF_STREAMS
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("number", [0, 2, 99])
def test_fault_of_a_stream_that_nobody_has_opened_ends_the_connection(role, make, code, section, number):
    # RST_STREAM is not sent for an idle stream (§6.4).
    peer, _, conn = opened_on(role)
    _, reply = peer.http.receive(make(number))
    assert [kind for kind, *_ in h2_frames(reply)] == [GOAWAY]
    assert code_of(reply) == (code if number else 1)
    assert conn.state is State.CLOSED


# RST_STREAM, §6.4.


def test_reset_of_stream_0_is_protocol_error():
    peer, _, _ = opened_on()
    _, reply = peer.http.receive(h2_frame(RST_STREAM, 0, 0, bytes(4)))
    assert code_of(reply) == 1


# SETTINGS, §6.5.


def test_settings_are_acknowledged_at_once_and_in_their_order():
    peer, _, _ = opened_on()
    _, reply = peer.http.receive(setting((4, 70_000)) + h2_frame(H2_PING, 0, 0, b"between!") + setting((4, 80_000)))
    assert [(kind, flags, payload) for kind, flags, _, payload in h2_frames(reply)] == [
        (SETTINGS, ACK, b""),
        (H2_PING, ACK, b"between!"),
        (SETTINGS, ACK, b""),
    ]


def test_last_value_of_a_setting_counts():
    peer, _, conn = opened_on()
    peer.http.receive(setting((5, 20_000), (4, 1 << 20), (5, 30_000)))
    assert [len(payload) for kind, _, _, payload in h2_frames(conn.send(Binary(bytes(50_000))))] == [30_000, 20_004]


def test_acknowledgement_gets_no_answer():
    peer, _, _ = opened_on()
    assert peer.http.receive(h2_frame(SETTINGS, ACK, 0))[1] == b""


def test_settings_on_a_stream_are_protocol_error():
    peer, _, _ = opened_on()
    _, reply = peer.http.receive(h2_frame(SETTINGS, 0, 1))
    assert code_of(reply) == 1


def test_acknowledgement_with_a_payload_ends_the_connection():
    peer, _, _ = opened_on()
    _, reply = peer.http.receive(h2_frame(SETTINGS, ACK, 0, bytes(6)))
    assert code_of(reply) in (1, 6)


@pytest.mark.parametrize(("name", "value"), [(2, 2), (5, 16383), (5, 1 << 24), (5, 0)])
def test_setting_out_of_its_range_is_protocol_error(name, value):
    # ENABLE_PUSH is 0 or 1, MAX_FRAME_SIZE 2^14 to 2^24-1.
    peer, _, conn = opened_on()
    _, reply = peer.http.receive(setting((name, value)))
    assert code_of(reply) == 1
    assert conn.state is State.CLOSED


def test_server_that_sets_enable_push_is_a_fault():
    peer, _, _ = opened_on(Role.CLIENT)
    _, reply = peer.http.receive(setting((2, 1)))
    assert code_of(reply) == 1


@pytest.mark.parametrize("role", list(Role))
def test_largest_max_frame_size_is_used(role):
    peer, _, conn = opened_on(role)
    credit = (1 << 25).to_bytes(4, "big")
    peer.http.receive(setting((5, (1 << 24) - 1), (4, 1 << 25)) + h2_frame(WINDOW_UPDATE, 0, 0, credit))
    head = 10 if role is Role.SERVER else 14
    frames = h2_frames(conn.send(Binary(bytes(1 << 24))))
    assert [len(payload) for _, _, _, payload in frames] == [(1 << 24) - 1, head + 1]


def test_limit_of_0_streams_is_a_limit_like_any_other():
    # It may change; the request waits.
    peer = H2Peer(Role.CLIENT, {3: 0})
    conn = peer.http.open()
    assert conn.send(UpgradeRequest("example.com")) == b""
    _, reply = peer.http.receive(setting((3, 1)))
    assert [kind for kind, *_ in h2_frames(reply)] == [SETTINGS, HEADERS]


def test_start_sets_what_the_rules_allow():
    for role in Role:
        data = Http2(role).start()[24 if role is Role.CLIENT else 0 :]
        payload = h2_frames(data)[0][3]
        values = {
            int.from_bytes(payload[i : i + 2], "big"): int.from_bytes(payload[i + 2 : i + 6], "big")
            for i in range(0, len(payload), 6)
        }
        # ENABLE_PUSH: a client that wants none says 0, and a server may say nothing else.
        assert values.get(2, 0 if role is Role.SERVER else 1) == 0
        assert values[3] >= 100
        assert 1 << 14 <= values.get(5, 1 << 14) < 1 << 24


# PUSH_PROMISE, §6.6, §8.4.


@pytest.mark.parametrize("role", list(Role))
def test_push_ends_the_connection(role):
    # A client has said that it wants none; to a server nobody may push.
    peer, stream, _ = opened_on(role)
    promise = b"\0\0\0\x02" + peer.h2.encoder.encode(
        [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a")]
    )
    _, reply = peer.http.receive(h2_frame(PUSH_PROMISE, END_HEADERS, stream, promise))
    assert code_of(reply) == 1


# PING, §6.7.


@pytest.mark.parametrize("role", list(Role))
def test_ping_is_answered_with_its_payload(role):
    peer, _, _ = opened_on(role)
    _, reply = peer.http.receive(b"\x00\x00\x08\x06\x00\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08")
    assert reply == b"\x00\x00\x08\x06\x01\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"


def test_ping_is_answered_before_data_that_waits():
    # SHOULD: before any other frame.
    peer = H2Peer(Role.SERVER, {4: 0})
    stream, conn = peer.open()
    conn.send(Text("held"))
    update = h2_frame(8, 0, stream, b"\0\0\0\x64")
    _, reply = peer.http.receive(update + h2_frame(H2_PING, 0, 0, b"12345678"))
    assert [kind for kind, *_ in h2_frames(reply)] == [H2_PING, DATA]


def test_acknowledged_ping_gets_no_answer():
    peer, _, _ = opened_on()
    assert peer.http.receive(h2_frame(H2_PING, ACK, 0, bytes(8)))[1] == b""


def test_ping_on_a_stream_is_protocol_error():
    peer, _, _ = opened_on()
    _, reply = peer.http.receive(h2_frame(H2_PING, 0, 1, bytes(8)))
    assert code_of(reply) == 1


# GOAWAY, §6.8.


def goaway(last: int, code: int, debug_data: bytes = b"") -> bytes:
    return h2_frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + debug_data)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    ("code", "debug_data", "told"),
    [
        (11, b"too many pings", "GOAWAY(ENHANCE_YOUR_CALM): too many pings"),
        (0, b"", "GOAWAY(NO_ERROR)"),
        (0xBEEF, b"", "GOAWAY(48879)"),
        (2, "für heute".encode(), "GOAWAY(INTERNAL_ERROR): für heute"),
        (2, b"a\r\nb\x1b[2Jc\0\xff", "GOAWAY(INTERNAL_ERROR): a\ufffd\ufffdb\ufffd[2Jc\ufffd\ufffd"),
        (2, b"x" * 16000, "GOAWAY(INTERNAL_ERROR): " + "x" * 120),
    ],
    ids=["debug data", "none", "an unknown code", "UTF-8", "no text", "too much"],
)
def test_goaway_is_told_of_a_websocket_that_is_lost_with_the_transport(role, code, debug_data, told):
    peer, stream, conn = opened_on(role)
    # It goes on until then.
    events, _ = peer.http.receive(goaway(stream, code, debug_data))
    assert conn.state is State.OPEN
    events, _ = peer.http.receive(b"")
    ((it, failed),) = events
    who = "client" if role is Role.SERVER else "server"
    assert (it, failed.error.code) == (conn, 1006)
    assert failed.error.args[0] == f"the {who} ended the connection: {told}"


def test_goaway_is_told_of_websockets_that_the_server_has_not_seen():
    peer, stream, conn = opened_on(Role.CLIENT)
    unseen = peer.http.open()
    peer.hear(unseen.send(UpgradeRequest("example.com")))
    events, _ = peer.http.receive(goaway(stream, 11, b"too many"))
    (error,) = [event.error for it, event in events if it is unseen]
    assert "GOAWAY(ENHANCE_YOUR_CALM): too many" in str(error)
    assert conn.state is State.OPEN


def test_goaway_is_told_of_handshakes_that_wait():
    peer = H2Peer(Role.CLIENT, {3: 0})
    conn = peer.http.open()
    conn.send(UpgradeRequest("example.com"))
    events, _ = peer.http.receive(goaway(0, 1, b"no more"))
    (error,) = [event.error for it, event in events if it is conn]
    assert "GOAWAY(PROTOCOL_ERROR): no more" in str(error)


@pytest.mark.parametrize("role", list(Role))
def test_last_goaway_is_told(role):
    peer, stream, _ = opened_on(role)
    peer.http.receive(goaway((1 << 31) - 1, 0) + goaway(stream, 13))
    ((_, failed),) = peer.http.receive(b"")[0]
    assert "GOAWAY(HTTP_1_1_REQUIRED)" in str(failed.error)


@pytest.mark.parametrize("role", list(Role))
def test_code_of_a_reset_is_told(role):
    peer, stream, conn = opened_on(role)
    ((it, failed),), _ = peer.http.receive(h2_frame(RST_STREAM, 0, stream, (11).to_bytes(4, "big")))
    assert it is conn
    assert "ENHANCE_YOUR_CALM" in str(failed.error)


def test_no_stream_is_opened_behind_a_goaway():
    peer, _, _ = opened_on(Role.CLIENT)
    asked = peer.http.open()
    peer.http.receive(h2_frame(GOAWAY, 0, 0, b"\x7f\xff\xff\xff" + bytes(4)))
    with pytest.raises(LocalProtocolError):
        peer.http.open()
    with pytest.raises(LocalProtocolError):
        asked.send(UpgradeRequest("example.com"))
    assert peer.http.h2.data_to_send() == b""


def test_goaway_on_a_stream_is_protocol_error():
    peer, _, _ = opened_on()
    _, reply = peer.http.receive(h2_frame(GOAWAY, 0, 1, bytes(8)))
    assert code_of(reply) == 1


@pytest.mark.parametrize(
    "broken",
    [h2_frame(H2_PING, 0, 0, b"short"), h2_frame(RST_STREAM, 0, 99, bytes(4))],
    ids=["found by h2", "found here"],
)
def test_later_goaway_names_no_later_stream(broken):
    # Stream 3 was refused, so that the client may ask again elsewhere.
    peer, _, _ = opened_on()
    assert goaways(peer.http.shutdown()) == [1]
    peer.http.receive(h2_frame(HEADERS, END_HEADERS, 3, peer.h2.encoder.encode(CONNECT)))
    _, reply = peer.http.receive(broken)
    assert goaways(reply) == [1]
    assert code_of(reply) in (1, 6)


def test_header_blocks_behind_our_goaway_are_decoded():
    peer = H2Peer(Role.SERVER)
    post = peer.ask([(":method", "POST"), *GET[1:]])
    peer.deliver()
    stream, conn = peer.open()
    peer.h2.highest_outbound_stream_id = 5
    peer.http.shutdown()
    for number in (5, 7):
        block = peer.h2.encoder.encode([*CONNECT, ("x", f"value {number} for the table")])
        _, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS, number, block))
        assert h2_frames(reply) == [(RST_STREAM, 0, number, b"\0\0\0\x07")]
    assert peer.send(stream, masked(1, b"hi")) == [(conn, Text("hi"))]
    # Trailers of a stream that goes on refer to what was put into the table: it begins with entry 62.
    trailers = peer.h2.encoder.encode([("x", "value 7 for the table"), ("x", "value 5 for the table")])
    assert trailers == b"\xbe\xbf"
    handed, _ = peer.http.receive(h2_frame(HEADERS, END_HEADERS | END_STREAM, post, trailers))
    trailers = (("x", "value 7 for the table"), ("x", "value 5 for the table"))
    assert handed == [(None, MessageEnded(post, trailers))]


def test_data_behind_our_goaway_counts_for_the_connection():
    peer, _, conn = opened_on()
    peer.http.shutdown()
    peer.http.receive(h2_frame(HEADERS, END_HEADERS, 3, peer.h2.encoder.encode(CONNECT)))
    given = 0
    for _ in range(1200):
        _, reply = peer.http.receive(h2_frame(DATA, 0, 3, bytes(16384)))
        given += sum(
            int.from_bytes(payload, "big") for kind, _, number, payload in h2_frames(reply) if (kind, number) == (8, 0)
        )
    left, owed = peer.http._data_receiver.window(0)
    assert given + owed == 1200 * 16384
    assert left + owed == 16 * 1024 * 1024
    assert conn.state is State.OPEN


def test_goaway_is_answered_by_one_before_the_end():
    # SHOULD: `shutdown` gives it, for whoever closes the transport.
    pair = opened(Http2)
    pair.wire.to_client(pair.wire.server.shutdown())
    closing(pair)
    assert pair.wire.client.done
    assert goaways(pair.wire.client.shutdown()) == [0]


def test_end_of_a_connection_for_an_error_is_told_to_the_caller():
    peer, _, conn = opened_on()
    events, _ = peer.http.receive(h2_frame(H2_PING, 0, 0, b"short"))
    assert [it for it, event in events if type(event) is Failed] == [conn, None]
    assert not peer.of(h2.events.ConnectionTerminated)
