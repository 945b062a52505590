"""Compressed messages (RFC 7692 §7.2): what is inflated, what is sent, what stands between fragments."""

import itertools
import pickle
import zlib
from copy import copy, deepcopy
from dataclasses import FrozenInstanceError, replace
from random import Random

import pytest
from wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    TEXT,
    client,
    close_payload,
    deflated,
    fault,
    frame,
    frames_of,
    masked,
    opened,
    server,
)

from mintws import Binary, Close, Http1, PerMessageDeflate, Ping, Pong, PreparedMessage, Role, Text, _core

PMD = PerMessageDeflate
ENDS = {
    "server": lambda extra="": server("permessage-deflate" + extra),
    "client": lambda extra="": client("permessage-deflate" + extra),
}
ONES = {"server": masked, "client": frame}


@pytest.fixture(params=["server", "client"])
def receiver(request):
    """An end with permessage-deflate, and how its peer makes frames."""
    return ENDS[request.param](), ONES[request.param]


def test_examples_of_section_7_2_3():
    hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00"
    assert client("permessage-deflate").receive(b"\xc1\x07" + hello) == [Text("Hello")]
    assert client("permessage-deflate").receive(b"\x41\x03\xf2\x48\xcd", b"\x80\x04\xc9\xc9\x07\x00") == [Text("Hello")]
    # §7.2.3.2: with takeover the second refers to the first.
    assert (
        client("permessage-deflate").receive(b"\xc1\x07" + hello, b"\xc1\x05\xf2\x00\x11\x00\x00")
        == [Text("Hello")] * 2
    )
    # §7.2.3.3: a block without compression.
    assert client("permessage-deflate").receive(b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00") == [
        Text("Hello")
    ]
    # §7.2.3.4: a block with BFINAL.
    assert client("permessage-deflate").receive(b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00") == [Text("Hello")]
    # §7.2.3.5: two blocks.
    assert client("permessage-deflate").receive(b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00") == [
        Text("Hello")
    ]
    # §7.2.3.6: an empty message.
    assert client("permessage-deflate").receive(b"\xc1\x01\x00") == [Text("")]


def test_messages_without_rsv1_are_as_they_are(receiver):
    end, make = receiver
    assert end.receive(make(TEXT, b"plain"), make(TEXT, deflated(b"packed"), rsv=RSV1), make(BINARY, b"\xff")) == [
        Text("plain"),
        Text("packed"),
        Binary(b"\xff"),
    ]


@pytest.mark.parametrize("size", [0, 1, 100, 65535, 65536, 1 << 20])
def test_message_of_any_size_is_inflated(receiver, size):
    end, make = receiver
    payload = (b"abcdefgh" * (size // 8 + 1))[:size]
    data = make(BINARY, deflated(payload) or b"\x00", rsv=RSV1)
    assert end.receive(data) == [Binary(payload)]
    step = max(1, len(data) // 50)
    assert end.receive(*(data[i : i + step] for i in range(0, len(data), step))) == [Binary(payload)]


def test_message_cut_into_fragments_anywhere(receiver):
    end, make = receiver
    data = deflated(b"Hello Hello Hello, fragments")
    for cut in range(len(data) + 1):
        assert end.receive(make(TEXT, data[:cut], fin=False, rsv=RSV1) + make(CONTINUATION, data[cut:])) == [
            Text("Hello Hello Hello, fragments")
        ]


def test_message_that_comes_byte_by_byte(receiver):
    end, make = receiver
    data = make(TEXT, deflated(b"Hello Hello Hello"), rsv=RSV1)
    assert end.receive(*(data[i : i + 1] for i in range(len(data)))) == [Text("Hello Hello Hello")]


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("kind", [PING, PONG, CLOSE])
@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("place", range(1, 4))
def test_control_frame_between_compressed_fragments(takeover, kind, role, place):
    extra = "" if takeover else "; server_no_context_takeover; client_no_context_takeover"
    end, make = ENDS[role](extra), ONES[role]
    data = deflated(b"Hello Hello Hello, " * 20)
    cuts = [0, 3, 6, 9, len(data)]
    parts = [
        make(CONTINUATION if i else TEXT, data[a:b], fin=b == len(data), rsv=0 if i else RSV1)
        for i, (a, b) in enumerate(itertools.pairwise(cuts))
    ]
    payload = close_payload(1000) if kind == CLOSE else b"control"
    parts.insert(place, make(kind, payload))
    events = end.receive(*parts)
    message = Text("Hello Hello Hello, " * 20)
    expected = {PING: [Ping(b"control"), message], PONG: [Pong(b"control"), message], CLOSE: [Close(1000)]}[kind]
    assert events == expected
    if kind != CLOSE:
        assert end.receive(make(TEXT, deflated(b"next"), rsv=RSV1)) == [Text("next")]


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("kind", [Ping(b"x"), Pong(b"x"), Close(1000)])
@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_control_frame_sent_between_compressed_fragments(takeover, kind, role):
    pmd = PMD(threshold=0, server_no_context_takeover=not takeover, client_no_context_takeover=not takeover)
    pair = opened(Http1, [pmd], [pmd])
    send = pair.to_server if role is Role.CLIENT else pair.to_client
    assert send(Text("Hello Hello", fin=False)) == []
    assert send(kind) == [kind]
    if type(kind) is not Close:
        assert send(Text(" Hello")) == [Text("Hello Hello Hello")]
        assert send(Text("Hello Hello Hello")) == [Text("Hello Hello Hello")]


@pytest.mark.parametrize(
    "data", [b"\xff", b"\x07", b"\xf2\x48\xcd", b"\x00\x05\x00\x00\x00hello\x00", bytes(10) + b"\xff", b"\x06garbage"]
)
def test_corrupt_data_fails_with_1007(data):
    assert server("permessage-deflate").fails(masked(TEXT, data, rsv=RSV1)) == 1007
    bytewise = masked(TEXT, data, rsv=RSV1)
    assert server("permessage-deflate").fails(*(bytewise[i : i + 1] for i in range(len(bytewise)))) == 1007


def test_message_that_stops_within_a_block_fails():
    data = deflated(b"Hello Hello Hello" * 10)
    for cut in range(1, len(data) - 1):
        assert server("permessage-deflate").fails(masked(BINARY, data[:cut], rsv=RSV1)) == 1007


def test_inflated_text_that_is_no_utf8_fails_with_1007():
    assert server("permessage-deflate").fails(masked(TEXT, deflated(b"\xff"), rsv=RSV1)) == 1007
    assert server("permessage-deflate").fails(masked(TEXT, deflated(b"a\xe2\x82"), rsv=RSV1)) == 1007


def test_compressed_text_that_is_utf8_before_inflating_only():
    # RSV1 decides whether bytes are text yet.
    assert server("permessage-deflate").receive(masked(TEXT, deflated("caf\u00e9".encode()), rsv=RSV1)) == [
        Text("caf\u00e9")
    ]


def finished(data: bytes) -> bytes:
    """Compress with BFINAL set, and the byte 0 that §7.2.3.4 puts behind."""
    return deflated(data, flush=zlib.Z_FINISH) + b"\x00"


def test_message_after_one_with_bfinal_is_inflated(receiver):
    end, make = receiver
    for i in range(5):
        text = f"message {i} " * 10
        assert end.receive(make(TEXT, finished(text.encode()), rsv=RSV1)) == [Text(text)]
        assert end.receive(make(TEXT, deflated(text.encode()), rsv=RSV1)) == [Text(text)]


def test_bfinal_without_the_byte_behind_is_taken(receiver):
    end, make = receiver
    data = deflated(b"Hello", flush=zlib.Z_FINISH)
    assert end.receive(make(TEXT, data, rsv=RSV1), make(TEXT, deflated(b"next"), rsv=RSV1)) == [
        Text("Hello"),
        Text("next"),
    ]


def test_window_is_kept_behind_bfinal(receiver):
    # The window is the messages before, not the blocks.
    end, make = receiver
    text = b"a long text that is to be found again in the second message"
    again = zlib.compressobj(wbits=-15, zdict=text)
    second = again.compress(text) + again.flush(zlib.Z_SYNC_FLUSH)
    assert len(second) < 20
    assert (
        end.receive(
            make(BINARY, finished(text), rsv=RSV1), make(BINARY, second.removesuffix(b"\x00\x00\xff\xff"), rsv=RSV1)
        )
        == [Binary(text)] * 2
    )


def test_blocks_behind_bfinal_belong_to_the_message(receiver):
    end, make = receiver
    data = deflated(b"one ", flush=zlib.Z_FINISH) + deflated(b"two")
    for cut in range(len(data) + 1):
        assert end.receive(make(TEXT, data[:cut], fin=False, rsv=RSV1), make(CONTINUATION, data[cut:])) == [
            Text("one two")
        ]


def test_empty_message_with_and_without_its_byte(receiver):
    end, make = receiver
    assert end.receive(make(TEXT, b"\x00", rsv=RSV1)) == [Text("")]
    assert end.receive(make(TEXT, b"", rsv=RSV1)) == [Text("")]
    assert end.receive(make(TEXT, b"", fin=False, rsv=RSV1), make(CONTINUATION, b"\x00")) == [Text("")]
    assert end.receive(make(TEXT, deflated(b"next"), rsv=RSV1)) == [Text("next")]


@pytest.mark.parametrize("limit", [10, 1000, 65536, 200_000])
@pytest.mark.parametrize("more", [-1, 0, 1, 1_000_000])
def test_bomb_fails_at_the_limit_exactly(limit, more):
    # The limit is that of the inflated size, inside the inflater.
    packed = deflated(bytes(limit + more))
    whole = masked(BINARY, packed, rsv=RSV1)
    third = len(packed) // 3
    parts = [masked(BINARY, packed[:third], fin=False, rsv=RSV1), masked(CONTINUATION, packed[third:])]
    for chunks in [[whole], parts, [whole[i : i + 1] for i in range(min(len(whole), 500))] + [whole[500:] or b""]]:
        end = server("permessage-deflate", limit=limit)
        chunks = [it for it in chunks if it]
        if more > 0:
            assert end.fails(*chunks) == 1009
        else:
            assert end.receive(*chunks) == [Binary(bytes(limit + more))]


def test_bomb_of_1_gib_is_stopped_early():
    packed = deflated(bytes(1 << 20), flush=zlib.Z_FULL_FLUSH) + b"\x00\x00\xff\xff"
    packed *= 1024
    end = server("permessage-deflate", limit=None)
    limited = server("permessage-deflate", limit=1 << 20)
    assert limited.fails(masked(BINARY, packed[:-4], rsv=RSV1)) == 1009
    assert limited.conn.undelivered_bytes == 0
    assert end.receive(masked(BINARY, deflated(bytes(1 << 22)), rsv=RSV1)) == [Binary(bytes(1 << 22))]


def test_bomb_of_empty_blocks_is_bounded():
    # Input that inflates to nothing is counted as it comes.
    end = server("permessage-deflate", limit=1000)
    end.receive(masked(BINARY, b"", fin=False, rsv=RSV1))
    block = b"\x00\x00\x00\xff\xff" * 1000
    for _ in range(100):
        events = end.receive(masked(CONTINUATION, block, fin=False))
        if events:
            break
    assert fault(events).code == 1009


def test_final_blocks_without_end_fail_with_1009():
    # Each makes the inflater begin anew. 256 bytes a block and 64 KiB for all: a limit of 1 MiB lets 4352 of them pass.
    allowed = ((1 << 20) + 65536) // 256
    for block in (b"\x03\x00", b"\x4b\x04\x00"):
        end = server("permessage-deflate")
        for _ in range(2):
            assert [len(it.data) for it in end.receive(masked(BINARY, block * allowed, rsv=RSV1))] in ([0], [allowed])
        assert end.fails(masked(BINARY, block * (allowed + 1), rsv=RSV1)) == 1009


def test_bomb_in_parts_fails_at_the_limit():
    end = server("permessage-deflate", limit=100_000, parts=True)
    packed = deflated(bytes(100_001))
    data = masked(BINARY, packed, rsv=RSV1)
    events = end.receive(*(data[i : i + 7] for i in range(0, len(data), 7)))
    assert fault(events).code == 1009
    assert sum(len(event.data) for event in events[:-1]) <= 100_000


@pytest.mark.parametrize("cut", [1000, 65536, 1 << 30])
def test_part_has_an_end_however_much_is_inflated(cut):
    end = server("permessage-deflate", limit=None, parts=True)
    data = masked(BINARY, deflated(bytes(1 << 24)), rsv=RSV1)
    events = end.receive(*(data[i : i + cut] for i in range(0, len(data), cut)))
    assert [event.fin for event in events] == [False] * (len(events) - 1) + [True]
    assert max(len(event.data) for event in events) <= 128 * 1024
    assert sum(len(event.data) for event in events) == 1 << 24


def test_parts_of_a_compressed_message_are_its_text():
    end = server("permessage-deflate", parts=True)
    text = "".join(chr(0x20AC + i % 50) for i in range(5000))
    data = masked(TEXT, deflated(text.encode()), rsv=RSV1)
    events = end.receive(*(data[i : i + 13] for i in range(0, len(data), 13)))
    assert len(events) > 1
    assert [event.fin for event in events] == [False] * (len(events) - 1) + [True]
    assert "".join(event.data for event in events) == text


@pytest.mark.parametrize("bits", range(8, 16))
@pytest.mark.parametrize("direction", ["client", "server"])
def test_sender_keeps_to_the_agreed_window(bits, direction):
    name = f"{direction}_max_window_bits"
    pmd = PMD(**{name: bits}, threshold=0)
    pair = opened(Http1, [pmd], [pmd])
    conn = pair.client if direction == "client" else pair.server
    inflater = zlib.decompressobj(wbits=-bits)
    for message in [bytes(range(256)) * 20, b"x" * 700, bytes(range(200)) * 9, b"y" + bytes(255) + b"y" + bytes(300)]:
        ((_, rsv, _, payload),) = frames_of(conn.send(Binary(message)))
        assert rsv == RSV1
        assert inflate_from_window(inflater, payload + b"\x00\x00\xff\xff") == message


def inflate_from_window(inflater, data: bytes) -> bytes:
    """Inflate with one byte of room at a time, so that only the window can be referred to."""
    made = inflater.decompress(data, 1)
    while inflater.unconsumed_tail:
        made += inflater.decompress(inflater.unconsumed_tail, 1)
    while more := inflater.decompress(b"", 1):
        made += more
    return made


def test_window_of_8_bits_is_told_from_one_of_10():
    # The check itself: a deflater of 10 bits does refer farther back.
    maker = zlib.compressobj(wbits=-10)
    data = maker.compress(bytes(range(256)) + b"z" * 44 + bytes(range(256))) + maker.flush(zlib.Z_SYNC_FLUSH)
    inflate_from_window(zlib.decompressobj(wbits=-10), data)
    with pytest.raises(zlib.error):
        inflate_from_window(zlib.decompressobj(wbits=-8), data)


@pytest.mark.parametrize("bits", range(8, 16))
def test_receiver_keeps_the_window_that_was_agreed(bits):
    # A server that may refer back so far is understood.
    end = client(f"permessage-deflate; server_max_window_bits={bits}", [PMD(server_max_window_bits=bits)])
    maker = zlib.compressobj(wbits=-max(bits, 9))
    for i in range(20):
        message = bytes([i]) * 10 + bytes(range(i, 250)) * 3
        data = maker.compress(message) + maker.flush(zlib.Z_SYNC_FLUSH)
        assert end.receive(frame(BINARY, data.removesuffix(b"\x00\x00\xff\xff"), rsv=RSV1)) == [Binary(message)]


def reference(bits: int) -> bytes:
    """Make a message that is the three bytes which stand `1 << bits` bytes before it (RFC 1951 §3.2.5, §3.2.6)."""
    # A block of fixed codes: 257 is three bytes. The distance is the last that its code stands for, all of whose extra bits are 1.
    codes = "0" + "10" + "0000001" + f"{2 * bits - 1:05b}" + "1" * (bits - 2) + "0000000"
    # The header of the empty block whose end is left out, and zeros up to a whole byte.
    codes += "000"
    codes += "0" * (-len(codes) % 8)
    return int(codes[::-1], 2).to_bytes(len(codes) // 8, "little")


def stored(data: bytes) -> bytes:
    """Make a message of one block without compression."""
    size = len(data)
    return b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data + b"\x00"


@pytest.mark.parametrize("bits", range(8, 16))
@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("meanwhile", ["nothing", "plain", "release", "others"])
def test_message_may_refer_to_the_first_byte_of_the_agreed_window(bits, role, named, meanwhile):
    # §7.2.2: without the parameter it is 32 KiB. What happens between two messages takes nothing away, least of all other connections.
    peer = "client" if role == "server" else "server"
    extra, wish = (
        (f"; {peer}_max_window_bits={bits}", PMD(**{f"{peer}_max_window_bits": bits})) if named else ("", PMD())
    )
    header = "permessage-deflate" + extra
    make, end = ONES[role], (server if role == "server" else client)(header, [wish])
    window = Random(bits).randbytes(1 << bits)
    assert end.receive(make(BINARY, stored(b"before" + window), rsv=RSV1)) == [Binary(b"before" + window)]
    if meanwhile == "plain":
        end.receive(make(BINARY, bytes(1 << 16)))
    elif meanwhile == "release":
        end.conn.release()
    elif meanwhile == "others":
        for other in [(server if role == "server" else client)(header, [wish]) for _ in range(20)]:
            assert other.receive(make(TEXT, deflated(b"Hello"), rsv=RSV1)) == [Text("Hello")]
    assert end.receive(make(BINARY, reference(bits), rsv=RSV1)) == [Binary(window[:3])]


def test_reference_is_what_zlib_takes_for_one():
    # The message itself, read by another library.
    for bits in range(9, 16):
        window = Random(bits).randbytes(1 << bits)
        inflater = zlib.decompressobj(wbits=-bits)
        assert inflate_from_window(inflater, stored(window) + b"\0\0\xff\xff") == window
        assert inflate_from_window(inflater, reference(bits) + b"\0\0\xff\xff") == window[:3]


@pytest.mark.parametrize("others", [0, 20])
def test_what_the_agreed_window_has_lost_may_not_be_referred_to(others):
    # It must not depend on other connections, which share the contexts.
    willing = [PMD()]
    make = "permessage-deflate; client_max_window_bits=9"
    end = server(make, willing)
    maker = zlib.compressobj(wbits=-15)
    first = Random(1).randbytes(200)
    for message in (first + Random(2).randbytes(2000), first):
        data = maker.compress(message) + maker.flush(zlib.Z_SYNC_FLUSH)
        events = end.receive(masked(BINARY, data.removesuffix(b"\x00\x00\xff\xff"), rsv=RSV1))
        for other in [server(make, willing) for _ in range(others)]:
            assert other.receive(masked(TEXT, deflated(b"Hello"), rsv=RSV1)) == [Text("Hello")]
    assert fault(events).code == 1007


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_with_takeover_a_message_refers_to_the_one_before(role):
    pair = opened(Http1, [PMD(threshold=0)], [PMD(threshold=0)])
    conn = pair.client if role is Role.CLIENT else pair.server
    text = Text("a text that comes twice, said with few bytes the second time")
    assert len(conn.send(text)) > len(conn.send(text)) + 20


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_without_takeover_each_message_stands_alone(role):
    pmd = PMD(threshold=0, server_no_context_takeover=True, client_no_context_takeover=True)
    pair = opened(Http1, [pmd], [pmd])
    conn = pair.client if role is Role.CLIENT else pair.server
    for text in ["Hello Hello Hello"] * 3 + ["", "x"]:
        ((_, _, _, payload),) = frames_of(conn.send(Text(text)))
        assert zlib.decompressobj(wbits=-15).decompress(payload + b"\x00\x00\xff\xff") == text.encode()


def test_peer_without_takeover_that_refers_back_fails():
    # §7.1.1.1: what it promised not to do.
    end = client("permessage-deflate; server_no_context_takeover", [PMD()])
    end.receive(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00")
    assert end.fails(b"\xc1\x05\xf2\x00\x11\x00\x00") == 1007


def test_threshold_leaves_short_messages_as_they_are():
    pair = opened(Http1, [PMD(threshold=10)], [PMD(threshold=10)])
    assert [frames_of(pair.server.send(Binary(b"x" * size)))[0][1] for size in (0, 9, 10, 100)] == [0, 0, RSV1, RSV1]


def test_compress_decides_for_one_message():
    pair = opened(Http1, [PMD(threshold=10)], [PMD(threshold=10)])
    assert frames_of(pair.server.send(Text("x"), compress=True))[0][1] == RSV1
    assert frames_of(pair.server.send(Text("x" * 100), compress=False))[0][1] == 0
    assert frames_of(pair.server.send(Text("x" * 100)))[0][1] == RSV1


def test_compress_without_the_extension_changes_nothing():
    conn = server().conn
    assert conn.send(Text("x"), compress=True) == b"\x81\x01x"


def test_only_the_first_fragment_has_rsv1():
    pair = opened(Http1, [PMD(threshold=0)], [PMD(threshold=0)])
    sent = [
        pair.server.send(Text("abc" * 50, fin=False)),
        pair.server.send(Text("", fin=False)),
        pair.server.send(Text("abc" * 50)),
    ]
    assert [(rsv, opcode) for data in sent for _, rsv, opcode, _ in frames_of(data)] == [(RSV1, TEXT), (0, 0), (0, 0)]


def test_messages_that_do_not_shrink_keep_the_contexts_in_step():
    # What was compressed is sent, whatever its size: to drop it would part the two windows.
    pair = opened(Http1, [PMD(threshold=0)], [PMD(threshold=0)])
    for i in range(20):
        noise = bytes(i * j * 7919 >> 3 & 0xFF for j in range(300))
        for message in [Binary(noise), Text(f"text {i} " * 20)]:
            assert pair.to_server(message) == [message]
            assert pair.to_client(message) == [message]


def test_uncompressed_messages_between_compressed_ones_leave_the_window():
    pair = opened(Http1, [PMD(threshold=0)], [PMD(threshold=0)])
    for i in range(10):
        message = Text("Hello Hello Hello " * 5)
        assert pair.to_server(message, compress=i % 2 == 0) == [message]


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_release_frees_the_contexts_and_both_sides_go_on(role):
    pair = opened(Http1, [PMD(threshold=0)], [PMD(threshold=0)])
    sender, receiver = (pair.client, pair.server) if role is Role.CLIENT else (pair.server, pair.client)
    send = pair.to_server if role is Role.CLIENT else pair.to_client
    message = Text("Hello Hello Hello " * 5)
    assert send(message) == [message]
    receiver.release()
    assert send(message) == [message]
    sender.release()
    assert send(message) == [message]
    send(Text("first half ", fin=False))
    receiver.release()
    sender.release()
    assert send(Text("second half")) == [Text("first half second half")]
    assert send(message) == [message]


def tiny(capacity: int, **parameters) -> PerMessageDeflate:
    """Give a PerMessageDeflate whose connections share this many contexts."""
    pmd = PMD(threshold=0, **parameters)
    object.__setattr__(pmd, "pool", _core.Pool(capacity))
    return pmd


@pytest.mark.parametrize("capacity", [0, 1, 2])
@pytest.mark.parametrize("takeover", [True, False])
def test_connections_that_share_contexts_do_not_mix(capacity, takeover):
    # All say nearly the same, and the peers share contexts too: with each other, not with these.
    none = {"client_no_context_takeover": not takeover, "server_no_context_takeover": not takeover}
    ours, theirs = tiny(capacity, **none), tiny(capacity, **none)
    pairs = [opened(Http1, [ours], [theirs]) for _ in range(5)]
    random = Random(capacity)
    sent = "Hello Hello Hello "
    for i in range(300):
        pair = random.choice(pairs)
        send = random.choice([pair.to_server, pair.to_client])
        message = Text(f"{sent * random.randrange(5)}{i} {random.random()}")
        match random.randrange(8):
            case 0:
                assert send(PreparedMessage(message)) == [message]
            case 1:
                send(Text("first half ", fin=False))
                other = pairs[(pairs.index(pair) + 1) % len(pairs)]
                assert other.to_server(message) == [message]
                assert send(message) == [Text("first half " + message.data)]
            case 2:
                pair.client.release()
                pair.server.release()
            case _:
                assert send(message) == [message]


def test_connections_that_end_within_a_message_leave_the_others_alone():
    pmd = tiny(1)
    kept = opened(Http1, [pmd], [pmd])
    for i in range(5):
        message = Text(f"Hello Hello Hello {i}")
        assert kept.to_server(message) == [message]
        gone = opened(Http1, [pmd], [pmd])
        gone.to_server(Text("Hello Hello", fin=False))
        assert kept.to_client(message) == [message]


def test_equal_parameters_are_equal_and_contexts_are_the_object_s_own():
    ours = PMD(level=3)
    made = [PMD(level=3), replace(ours), pickle.loads(pickle.dumps(ours)), deepcopy(ours)]
    for other in made:
        assert other == ours
        assert hash(other) == hash(ours)
        assert repr(other) == repr(ours)
        assert other.pool is not ours.pool
    assert copy(ours).pool is ours.pool
    assert "pool" not in repr(ours)
    with pytest.raises(FrozenInstanceError):
        ours.pool = _core.Pool()


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("memory_level", [1, 5, 9])
def test_every_level_is_understood(level, memory_level):
    pmd = PMD(level=level, memory_level=memory_level, threshold=0)
    pair = opened(Http1, [pmd], [pmd])
    for message in [Binary(bytes(range(256)) * 300), Binary(b""), Binary(b"x" * 70_000)]:
        assert pair.to_server(message) == [message]


def test_data_goes_with_its_empty_block_left_out():
    # §7.2.1: the last four bytes, 00 00 ff ff, are removed.
    pair = opened(Http1, [PMD(threshold=0)], [PMD(threshold=0)])
    for text in ["Hello", "", "a" * 5000]:
        ((_, _, _, payload),) = frames_of(pair.server.send(Text(text)))
        assert not payload.endswith(b"\x00\x00\xff\xff")
        assert payload
