"""RSV1 and the frames of compressed messages (RFC 7692 §6.1), and how a compressed message is cut (§7.2.1)."""

import zlib

import pytest
from wire import BINARY, RSV1, TEXT, client, deflated, frame, frames_of, masked, opened, server

from mintws import Binary, Close, Http1, PerMessageDeflate, Ping, Pong, Role, Text

ALL = PerMessageDeflate(threshold=0)


def sender(role: Role):
    pair = opened(Http1, [ALL], [ALL])
    return pair.client if role is Role.CLIENT else pair.server


@pytest.mark.parametrize("role", list(Role))
def test_control_frames_are_sent_without_rsv1(role):
    conn = sender(role)
    for event in [Ping(b"x" * 100), Pong(b"x" * 100), Close(1000, "x" * 100)]:
        ((_, rsv, _, payload),) = frames_of(conn.send(event))
        assert rsv == 0
        assert payload.endswith(b"x" * 100)


@pytest.mark.parametrize(("event", "opcode"), [(Text("Hello"), TEXT), (Binary(b"Hello"), BINARY)])
def test_opcode_is_that_of_the_message(event, opcode):
    # c1 07 f2 48 cd c9 c9 07 00
    ((fin, rsv, sent, _),) = frames_of(sender(Role.SERVER).send(event))
    assert (fin, rsv, sent) == (1, RSV1, opcode)


@pytest.mark.parametrize("opcode", [0x0, 0x8, 0x9, 0xA])
def test_rsv1_on_a_control_frame_or_a_later_fragment_fails(opcode):
    for end, make in [(server("permessage-deflate"), masked), (client("permessage-deflate"), frame)]:
        end.receive(make(TEXT, b"a", fin=False))
        assert end.fails(make(opcode, b"", rsv=RSV1)) == 1002


def test_payload_of_compressed_text_need_be_no_utf8_in_any_frame():
    data = deflated("\u20ac\u20ac caf\u00e9".encode())
    assert b"\xff" in data or not data.isascii()
    cut = [
        masked(TEXT if i == 0 else 0, data[i : i + 1], fin=i == len(data) - 1, rsv=0 if i else RSV1)
        for i in range(len(data))
    ]
    assert server("permessage-deflate").receive(*cut) == [Text("\u20ac\u20ac caf\u00e9")]


def test_fragments_that_are_not_the_last_keep_their_empty_block():
    # §7.2.1: 00 00 ff ff is left out at the end of the message alone.
    conn = sender(Role.SERVER)
    sent = [
        frames_of(conn.send(Text(text, fin=fin)))[0][3]
        for text, fin in [("Hel", False), ("lo, ", False), ("Hello", True)]
    ]
    assert [payload.endswith(b"\x00\x00\xff\xff") for payload in sent] == [True, True, False]
    assert zlib.decompressobj(wbits=-15).decompress(b"".join(sent) + b"\x00\x00\xff\xff") == b"Hello, Hello"


def test_last_fragment_without_data_is_an_empty_block():
    # §7.2.3.6
    conn = sender(Role.SERVER)
    sent = [frames_of(conn.send(Text(text, fin=fin)))[0][3] for text, fin in [("Hello", False), ("", True)]]
    assert sent[1] == b"\x00"
    assert zlib.decompressobj(wbits=-15).decompress(b"".join(sent) + b"\x00\x00\xff\xff") == b"Hello"


def test_no_final_block_is_sent():
    # A bit that some receivers take for the end of all.
    conn = sender(Role.SERVER)
    for message in [b"", b"Hello", b"x" * 100_000, bytes(range(256)) * 100]:
        ((_, _, _, payload),) = frames_of(conn.send(Binary(message)))
        inflater = zlib.decompressobj(wbits=-15)
        inflater.decompress(payload + b"\x00\x00\xff\xff")
        assert not inflater.eof
        conn = sender(Role.SERVER)


@pytest.mark.parametrize(("answer", "payloads"), [("", 2), ("; client_no_context_takeover", 1)])
def test_client_does_without_takeover_where_the_answer_says_so_unasked(answer, payloads):
    # §7.1.1.2: that parameter each client must support.
    conn = client(f"permessage-deflate{answer}", [ALL]).conn
    assert len({frames_of(conn.send(Text("Hello Hello")))[0][3] for _ in range(2)}) == payloads


def test_client_keeps_what_it_offered_though_the_answer_is_silent():
    # §7.1.1.2, §7.1.2.2: both are promises of the client.
    end = client(
        "permessage-deflate",
        [PerMessageDeflate(client_no_context_takeover=True, client_max_window_bits=9, threshold=0)],
    )
    sent = [frames_of(end.conn.send(Text("Hello Hello")))[0][3] for _ in range(2)]
    assert sent[0] == sent[1]
    far = bytes(range(200)) * 2 + bytes(i * 7 & 255 for i in range(600)) + bytes(range(200))
    ((_, _, _, payload),) = frames_of(end.conn.send(Binary(far)))
    inflater = zlib.decompressobj(wbits=-9)
    made = inflater.decompress(payload + b"\x00\x00\xff\xff", 1)
    while inflater.unconsumed_tail:
        made += inflater.decompress(inflater.unconsumed_tail, 1)
    assert made + inflater.flush() == far
