"""What all frames have in common (RFC 9113 §4.1-4.3, §5.5): bits without a meaning, unknown types, sizes, header blocks."""

import pytest
from wire import (
    CONNECT,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    H2_CONTINUATION,
    H2_PING,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    H2Peer,
    h2_frame,
    h2_frames,
    masked,
    opened,
)

from mintws import Binary, Failed, Http2, Role, State, Text, UpgradeAccept, UpgradeRequest

RESERVED = 1 << 31


def opened_on(role: Role):
    peer = H2Peer(role)
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    return peer, stream, conn


def code_of(data: bytes) -> int:
    """The error code of the GOAWAY that ends some frames."""
    kind, _, number, payload = h2_frames(data)[-1]
    assert (kind, number) == (GOAWAY, 0)
    return int.from_bytes(payload[4:8], "big")


def test_reserved_bit_is_ignored_on_data():
    # 80 00 00 01 is stream 1.
    peer, stream, conn = opened_on(Role.SERVER)
    assert peer.http.receive(h2_frame(DATA, 0, stream | RESERVED, masked(1, b"hi"))) == ([(conn, Text("hi"))], b"")


def test_reserved_bit_is_ignored_on_ping_and_settings():
    peer, _, conn = opened_on(Role.SERVER)
    _, reply = peer.http.receive(h2_frame(H2_PING, 0, RESERVED, b"12345678") + h2_frame(SETTINGS, 0, RESERVED))
    assert [(kind, flags) for kind, flags, _, _ in h2_frames(reply)] == [(H2_PING, 1), (SETTINGS, 1)]
    assert conn.state is State.OPEN


def test_reserved_bit_is_ignored_on_goaway():
    # The stream goes on to its end (§6.8), as without the bit.
    peer, stream, conn = opened_on(Role.CLIENT)
    peer.http.receive(h2_frame(GOAWAY, 0, RESERVED, stream.to_bytes(4, "big") + bytes(4)))
    assert peer.http.can_open is False
    _, reply = peer.http.receive(h2_frame(H2_PING, 0, 0, b"12345678"))
    assert h2_frames(reply) == [(H2_PING, 1, 0, b"12345678")]
    assert conn.state is State.OPEN
    assert h2_frames(conn.send(Text("x")))[0][0] == DATA


def test_flags_without_a_meaning_are_ignored():
    peer, stream, conn = opened_on(Role.SERVER)
    assert peer.http.receive(h2_frame(DATA, 0xF6, stream, masked(1, b"hi"))) == ([(conn, Text("hi"))], b"")
    _, reply = peer.http.receive(h2_frame(H2_PING, 0xFE, 0, b"12345678"))
    assert h2_frames(reply) == [(H2_PING, 1, 0, b"12345678")]


def test_no_reserved_bit_and_no_flag_without_a_meaning_is_sent():
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    peer.hear(conn.send(Binary(bytes(50_000))))
    peer.hear(conn.abort())
    for kind, flags, number, _ in h2_frames(peer.wrote[24:]):
        assert number in (0, stream)
        assert not flags & ~{DATA: END_STREAM, HEADERS: END_STREAM | END_HEADERS, SETTINGS: 1}.get(kind, 0)


@pytest.mark.parametrize("number", [0, 1, 7, 2])
def test_frame_of_an_unknown_type_is_ignored(number):
    peer, stream, conn = opened_on(Role.SERVER)
    events, reply = peer.http.receive(
        h2_frame(0xBB, 0xFF, number, b"whatever") + h2_frame(DATA, 0, stream, masked(1, b"hi"))
    )
    assert [event for it, event in events if it is conn] == [Text("hi")]
    assert reply == b""


def test_setting_that_is_unknown_is_ignored():
    # §5.5, §6.5.2
    peer, _, conn = opened_on(Role.SERVER)
    _, reply = peer.http.receive(h2_frame(SETTINGS, 0, 0, b"\xba\xba\x00\x00\x00\x01"))
    assert h2_frames(reply) == [(SETTINGS, 1, 0, b"")]
    assert conn.state is State.OPEN


def test_frame_of_16384_bytes_is_taken():
    peer, stream, conn = opened_on(Role.SERVER)
    data = masked(2, bytes(16384 - 8))
    assert len(data) == 16384
    assert peer.http.receive(h2_frame(DATA, 0, stream, data)) == ([(conn, Binary(bytes(16384 - 8)))], b"")


def test_headers_of_more_than_a_frame_are_sent_in_continuations():
    # No HEADERS of more than 16384 bytes, and nothing between them (§4.3).
    peer = H2Peer(Role.CLIENT)
    conn = peer.http.open()
    wide = {f"x-{i}": bytes((i * j) % 89 + 33 for j in range(800)).decode() for i in range(50)}
    frames = h2_frames(conn.send(UpgradeRequest("example.com", headers=wide)))
    assert len(frames) > 1
    assert [kind for kind, *_ in frames] == [HEADERS] + [H2_CONTINUATION] * (len(frames) - 1)
    assert [flags & END_HEADERS for _, flags, _, _ in frames] == [0] * (len(frames) - 1) + [END_HEADERS]
    assert max(len(payload) for *_, payload in frames) <= 16384


@pytest.mark.parametrize(
    "data",
    [
        h2_frame(H2_PING, 0, 0, bytes(7)),
        h2_frame(H2_PING, 0, 0, bytes(9)),
        h2_frame(SETTINGS, 0, 0, bytes(5)),
        h2_frame(WINDOW_UPDATE, 0, 0, bytes(3)),
        h2_frame(WINDOW_UPDATE, 0, 1, bytes(5)),
        h2_frame(RST_STREAM, 0, 1, bytes(3)),
        h2_frame(RST_STREAM, 0, 1, bytes(5)),
        h2_frame(GOAWAY, 0, 0, bytes(7)),
    ],
    ids=lambda data: data.hex(),
)
def test_wrong_size_of_a_frame_is_frame_size_error(data):
    # §4.2, §6.4, §6.5, §6.7, §6.9
    peer, _, conn = opened_on(Role.SERVER)
    _, reply = peer.http.receive(data)
    assert code_of(reply) == 6
    assert conn.state is State.CLOSED


@pytest.mark.parametrize("block", [b"\xff" * 6, b"\xfe", b"\x00\x05ab", b"\x40\x81"])
def test_header_block_that_does_not_decode_ends_the_connection(block):
    peer, _, conn = opened_on(Role.SERVER)
    _, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS, 3, block))
    assert code_of(reply) in (1, 9)
    assert conn.state is State.CLOSED
    assert peer.http.done


@pytest.mark.parametrize("block", [b"\xff" * 5, b"\xff" * 20])
def test_header_block_that_does_not_decode_is_told_in_words(block):
    # hpack shows the address of its buffer.
    peer, *_ = opened_on(Role.SERVER)
    events, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS, 3, block))
    said = "\n".join(str(event.error) for _, event in events if isinstance(event, Failed))
    assert "integer" in said
    assert "memory" not in said
    assert b"memory" not in reply


def test_header_block_of_a_refused_request_is_decoded():
    # What it puts into the table is what the next one refers to.
    peer = H2Peer(Role.SERVER, max_concurrent_streams=1)
    peer.open()
    one, two = ([*CONNECT, ("x", "a value of its own")] for _ in range(2))
    _, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS, 3, peer.h2.encoder.encode(one)))
    assert [kind for kind, *_ in h2_frames(reply)] == [RST_STREAM]
    peer.http.receive(h2_frame(RST_STREAM, 0, 1, bytes(4)))
    events, _ = peer.http.receive(h2_frame(HEADERS, END_HEADERS, 5, peer.h2.encoder.encode(two)))
    assert events[-1][1].headers == (("x", "a value of its own"),)


def table_size(*values: int) -> bytes:
    """SETTINGS frames with one SETTINGS_HEADER_TABLE_SIZE each."""
    return b"".join(h2_frame(SETTINGS, 0, 0, b"\0\x01" + value.to_bytes(4, "big")) for value in values)


def answers(peer: H2Peer, count: int = 3) -> None:
    """Send header blocks that refer to what is in the table; the peer, a real h2, would raise if it were another."""
    for _ in range(count):
        _, conn = peer.open(accept=UpgradeAccept(headers=[("x-one", "of two"), ("x-two", "of two")]))
        peer.hear(conn.abort())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((0,), b"\x20"),
        ((100,), b"\x3f\x45"),
        ((0, 0), b"\x20"),
        ((0, 4096), b"\x20\x3f\xe1\x1f"),
        ((50, 0, 200, 100), b"\x20\x3f\x45"),
        ((0, 65536), b"\x20\x3f\xe1\x1f"),
        ((4096,), b""),
        ((65536,), b""),
        ((0xFFFFFFFF, 4096, 65536), b""),
    ],
)
def test_table_of_another_size_is_told_in_the_next_header_block(values, told):
    # §4.3.1, RFC 7541 §4.2: the smallest size and the last. Ours has at most 4096 bytes.
    peer = H2Peer(Role.SERVER)
    answers(peer)
    for value in values:
        peer.h2.decoder.max_allowed_table_size = value
    peer.http.receive(table_size(*values))
    stream = peer.ask()
    ((conn, _),) = peer.deliver()
    out = conn.send(UpgradeAccept())
    assert h2_frames(out)[0] == (HEADERS, END_HEADERS, stream, told + b"\x88")
    peer.hear(out)
    answers(peer)


def test_table_is_no_larger_than_4096_bytes_whatever_the_peer_allows():
    # Each header that is sent is looked for in all of it.
    peer = H2Peer(Role.SERVER)
    peer.http.receive(table_size(0xFFFFFFFF))
    for i in range(500):
        _, conn = peer.open(accept=UpgradeAccept(headers=[("x", f"value {i}")]))
        peer.hear(conn.abort())
    assert peer.http.h2.encoder.header_table._current_size <= 4096
    assert peer.http.h2.encoder.header_table_size == 4096


def test_sizes_of_the_table_that_are_set_again_and_again_are_not_kept():
    peer = H2Peer(Role.SERVER)
    for value in range(1, 150):
        peer.http.receive(table_size(value, 150 + value))
    assert peer.http.h2.encoder.table_size_changes == [1, 299]


def test_data_is_cut_to_16384_bytes_until_settings_say_more():
    pair = opened(Http2)
    sizes = [len(payload) for kind, _, _, payload in h2_frames(pair.client.send(Binary(bytes(40_000)))) if kind == DATA]
    assert max(sizes) == 16384
