"""Masking (RFC 6455 §5.1, §5.3, §10.3)."""

import pytest
from wire import Pair, Wire, client, frame, frames_of, masked, server

from mintws import Binary, Close, Http1, Ping, Pong, Role, Text, UpgradeRequest

LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 125, 126, 127, 1000, 4097, 65535, 65536, 70_001]


def test_unmasked_frame_to_a_server_fails_with_1002():
    assert server().fails(b"\x81\x05Hello") == 1002


def test_masked_frame_to_a_client_fails_with_1002():
    assert client().fails(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") == 1002


@pytest.mark.parametrize("opcode", [0x0, 0x1, 0x2, 0x8, 0x9, 0xA])
def test_every_opcode_needs_its_mask(opcode):
    assert server().fails(frame(opcode, b"")) == 1002
    assert client().fails(masked(opcode, b"")) == 1002


def test_wrong_mask_fails_at_the_second_byte():
    # Nothing else of the frame is needed to say so.
    assert server().fails(b"\x82", b"\x7f") == 1002
    assert client().fails(b"\x82", b"\xff") == 1002


def test_example_of_the_rfc_is_unmasked():
    assert server().receive(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") == [Text("Hello")]


@pytest.mark.parametrize("size", LENGTHS)
def test_payload_of_any_length_is_unmasked(size):
    payload = bytes(i * 7 & 0xFF for i in range(size))
    data = frame(2, payload, key=b"\x01\x80\xff\x37")
    assert server().receive(data) == [Binary(payload)]
    half = len(data) // 2
    assert server().receive(data[:half], data[half:]) == [Binary(payload)]
    assert server().receive(data[: half + 1], data[half + 1 :]) == [Binary(payload)]


@pytest.mark.parametrize("size", LENGTHS)
def test_client_masks_what_it_sends(size):
    payload = bytes(i * 7 & 0xFF for i in range(size))
    data = client().conn.send(Binary(payload))
    assert data[1] & 0x80
    assert frames_of(data) == [(1, 0, 2, payload)]


def test_server_masks_nothing():
    end = server()
    for event in [Text("a"), Binary(b"b" * 70_000), Ping(b"c"), Pong(b"d"), Close(1000)]:
        assert not end.conn.send(event)[1] & 0x80


def test_client_masks_control_frames_and_empty_payloads_too():
    end = client()
    for event in [Ping(b""), Pong(b"x"), Text(""), Close(None)]:
        data = end.conn.send(event)
        assert data[1] & 0x80
        assert len(data) >= 6
    end = client()
    end.receive(b"\x89\x00")
    assert end.reply[:2] == b"\x8a\x80"


def test_each_frame_has_a_new_key():
    conn = client().conn
    keys = {conn.send(Text("x"))[2:6] for _ in range(2000)}
    assert len(keys) > 1990


def test_keys_come_from_the_given_entropy_and_differ_between_connections():
    def first_frame(seed: int) -> bytes:
        pair = Pair(Wire(Http1, entropy=lambda n: bytes([seed]) * n), UpgradeRequest("example.com"))
        return pair.client.send(Text("same"))

    assert first_frame(1) == first_frame(1)
    assert first_frame(1) != first_frame(2)


def test_keys_of_two_connections_differ_by_default():
    assert client().conn.send(Text("same")) != client().conn.send(Text("same"))


def test_server_draws_no_entropy():
    drawn = []

    def entropy(n: int) -> bytes:
        drawn.append(n)
        return bytes(n)

    Pair(Wire(Http1, client={}, server={"entropy": entropy}))
    assert drawn == []
    assert Role.SERVER == 1
