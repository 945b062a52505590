"""The frame header (RFC 6455 §5.2)."""

import pytest
from wire import PING, PONG, TEXT, client, close_payload, frame, frames_of, masked, server

from mintws import Binary, Ping, Text


def test_examples_of_section_5_7():
    assert client().receive(b"\x81\x05\x48\x65\x6c\x6c\x6f") == [Text("Hello")]
    assert client().receive(b"\x01\x03\x48\x65\x6c", b"\x80\x02\x6c\x6f") == [Text("Hello")]
    end = client()
    assert end.receive(b"\x89\x05\x48\x65\x6c\x6c\x6f") == [Ping(b"Hello")]
    assert frames_of(end.reply) == [(1, 0, PONG, b"Hello")]
    assert client().receive(b"\x82\x7e\x01\x00" + bytes(256)) == [Binary(bytes(256))]
    assert client().receive(b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(65536)) == [Binary(bytes(65536))]


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f" + (65536).to_bytes(8, "big")),
    ],
)
def test_length_is_written_in_its_shortest_form(size, header):
    assert server().conn.send(Binary(bytes(size)))[: len(header)] == header


@pytest.mark.parametrize("size", [0, 1, 125])
def test_16_bit_length_that_7_bits_hold_fails(size):
    assert server().fails(masked(TEXT, b"a" * size, width=2)) == 1002


@pytest.mark.parametrize("size", [0, 125, 126, 65535])
def test_64_bit_length_that_16_bits_hold_fails(size):
    assert server().fails(masked(TEXT, b"a" * size, width=8)) == 1002


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1])
def test_length_with_its_highest_bit_fails_with_1002(length):
    assert server(limit=None).fails(b"\x82\xff" + length.to_bytes(8, "big")) == 1002


@pytest.mark.parametrize("length", [1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1])
def test_length_over_the_limit_fails_with_1009_before_any_payload(length):
    assert server().fails(b"\x82\xff" + length.to_bytes(8, "big") + bytes(4)) == 1009


@pytest.mark.parametrize("length", [1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1])
def test_announced_length_is_not_allocated(length):
    end = server(limit=None)
    assert end.receive(b"\x82\xff" + length.to_bytes(8, "big") + bytes(4) + b"abc") == []
    assert end.conn.undelivered_bytes <= 64


@pytest.mark.parametrize("rsv", [0x40, 0x20, 0x10, 0x70])
@pytest.mark.parametrize("opcode", [0x1, 0x2, 0x8, 0x9, 0xA])
def test_rsv_bit_without_extension_fails(rsv, opcode):
    assert server().fails(masked(opcode, b"", rsv=rsv)) == 1002
    assert client().fails(frame(opcode, b"", rsv=rsv)) == 1002


@pytest.mark.parametrize("rsv", [0x40, 0x20, 0x10])
def test_rsv_bit_on_a_continuation_fails(rsv):
    assert server().fails(masked(TEXT, b"a", fin=False), masked(0, b"b", rsv=rsv)) == 1002


@pytest.mark.parametrize("rsv", [0x20, 0x10, 0x60])
def test_rsv2_and_rsv3_fail_with_deflate_too(rsv):
    assert server("permessage-deflate").fails(masked(TEXT, b"\x00", rsv=rsv)) == 1002


@pytest.mark.parametrize("opcode", [0x8, 0x9, 0xA])
def test_rsv1_on_a_control_frame_fails_with_deflate_too(opcode):
    assert server("permessage-deflate").fails(masked(opcode, b"", rsv=0x40)) == 1002


def test_rsv1_on_a_continuation_fails_with_deflate_too():
    assert server("permessage-deflate").fails(masked(TEXT, b"a", fin=False), masked(0, b"b", rsv=0x40)) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF])
@pytest.mark.parametrize("fin", [True, False])
def test_reserved_opcode_fails(opcode, fin):
    assert server().fails(masked(opcode, b"", fin=fin)) == 1002
    assert client().fails(frame(opcode, b"", fin=fin)) == 1002


@pytest.mark.parametrize("first", [b"\x83", b"\xf1", b"\xc9", b"\x8b", b"\x80"])
def test_wrong_first_byte_fails_before_the_second_comes(first):
    assert server().fails(first) == 1002


STREAM = (
    masked(TEXT, "h\u00e9llo".encode())
    + masked(2, bytes(range(200)))
    + masked(PING, b"p")
    + masked(TEXT, b"\xe2\x82", fin=False)
    + masked(PONG, b"q" * 125)
    + masked(0, b"\xac", fin=True)
    + frame(2, b"z" * 70_000, key=b"\xde\xad\xbe\xef")
    + masked(8, close_payload(1000, "bye"))
)


def test_bytes_one_by_one_say_the_same():
    whole, single = server(), server()
    expected = whole.receive(STREAM)
    assert single.receive(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == expected
    assert single.reply == whole.reply


@pytest.mark.parametrize("cut", range(1, 520))
def test_every_cut_in_two_says_the_same(cut):
    whole, halves = server(), server()
    assert halves.receive(STREAM[:cut], STREAM[cut:]) == whole.receive(STREAM)
    assert halves.reply == whole.reply


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_kind_of_bytes_is_received(kind):
    assert server().receive(kind(masked(TEXT, b"a"))) == [Text("a")]


@pytest.mark.parametrize("wrong", ["text", 5, None, [1, 2]])
def test_what_is_not_bytes_is_a_type_error(wrong):
    end = server()
    with pytest.raises(TypeError):
        end.http.receive(wrong)
    assert end.receive(masked(TEXT, b"a")) == [Text("a")]


def test_memoryview_with_holes_is_a_type_error():
    with pytest.raises(TypeError):
        server().http.receive(memoryview(masked(TEXT, b"abcd"))[::2])
