"""`max_frame` bounds the payload of each frame that is sent: longer messages leave as fragments (RFC 6455 §5.4)."""

import random

import pytest
from carriers.test_own_extensions import CHAINS, RotExtension
from wire import BINARY, CONTINUATION, DATA, PING, PONG, RSV1, TEXT, closing, echo, frames_of, h2_frames, opened

from mintws import Binary, Close, Http1, Http2, PerMessageDeflate, Ping, Pong, PreparedMessage, Text

ALL = PerMessageDeflate(threshold=0)
NOISE = random.Random(7).randbytes(1000)


@pytest.fixture(params=[Http1, Http2])
def carrier(request):
    return request.param


@pytest.fixture(params=["client", "server"])
def role(request):
    return request.param


def sent(conn, data):
    """The frames of a WebSocket in what is to be written, over either version of HTTP."""
    if isinstance(data, list):
        data = b"".join(data)
    if conn.carrier.http_version == "2":
        data = b"".join(payload for kind, _, _, payload in h2_frames(data) if kind == DATA)
    return frames_of(data)


WAYS = {
    "send": lambda conn, event: conn.send(event),
    "send_many": lambda conn, event: conn.send_many([event]),
    "send_vectored": lambda conn, event: conn.send_vectored(event),
    "cork": lambda conn, event: (conn.cork(), conn.send(event), conn.uncork())[-1],
    "prepared": lambda conn, event: conn.send(PreparedMessage(event)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kind", [Text, Binary])
def test_message_leaves_in_frames_of_at_most_so_many_bytes(carrier, role, way, kind):
    pair = opened(carrier, max_frame=4)
    conn, opcode = getattr(pair, role), TEXT if kind is Text else BINARY
    assert sent(conn, way(conn, kind(b"0123456789"))) == [
        (0, 0, opcode, b"0123"),
        (0, 0, CONTINUATION, b"4567"),
        (1, 0, CONTINUATION, b"89"),
    ]
    assert sent(conn, way(conn, kind(b"01234567"))) == [(0, 0, opcode, b"0123"), (1, 0, CONTINUATION, b"4567")]
    assert sent(conn, way(conn, kind(b"0123"))) == [(1, 0, opcode, b"0123")]
    assert sent(conn, way(conn, kind(b""))) == [(1, 0, opcode, b"")]


def test_fragments_are_cut_too(carrier, role):
    pair = opened(carrier, max_frame=2)
    conn = getattr(pair, role)
    said = [conn.send(Text("abc", fin=False)), conn.send(Ping(b"whole")), conn.send(Text("d", fin=False))]
    assert [frame for data in [*said, conn.send(Text(""))] for frame in sent(conn, data)] == [
        (0, 0, TEXT, b"ab"),
        (0, 0, CONTINUATION, b"c"),
        (1, 0, PING, b"whole"),
        (0, 0, CONTINUATION, b"d"),
        (1, 0, CONTINUATION, b""),
    ]


@pytest.mark.parametrize("event", [Ping(b"x" * 125), Pong(b"x" * 125), Close(1000, "x" * 123)], ids=repr)
def test_control_frames_are_never_cut(carrier, role, event):
    pair = opened(carrier, max_frame=1)
    conn = getattr(pair, role)
    ((fin, _, _, payload),) = sent(conn, conn.send(event))
    assert (fin, len(payload)) == (1, 125)


def test_answer_to_a_ping_is_never_cut():
    pair = opened(Http1, max_frame=1)
    _, reply = pair.wire.server.receive(pair.client.send(Ping(b"x" * 125)))
    assert frames_of(reply) == [(1, 0, PONG, b"x" * 125)]


@pytest.mark.parametrize("prepared", [False, True])
def test_bound_is_that_of_the_compressed_message_whose_first_frame_has_rsv1(carrier, role, prepared):
    pair = opened(carrier, [ALL], [ALL], max_frame=100)
    conn = getattr(pair, role)
    carry = pair.wire.to_server if role == "client" else pair.wire.to_client
    make = PreparedMessage if prepared else lambda event: event
    ((fin, rsv, opcode, _),) = sent(conn, data := conn.send(make(Binary(bytes(10_000)))))
    assert (fin, rsv, opcode) == (1, RSV1, BINARY)
    assert carry(data) == [Binary(bytes(10_000))]
    frames = sent(conn, data := conn.send(make(Binary(NOISE))))
    assert [frame[:3] for frame in frames] == [
        (0, RSV1, BINARY),
        *[(0, 0, CONTINUATION)] * (len(frames) - 2),
        (1, 0, CONTINUATION),
    ]
    assert {len(payload) for *_, payload in frames[:-1]} == {100}
    assert len(frames) > 10
    assert carry(data) == [Binary(NOISE)]


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_what_an_extension_of_the_callers_own_makes_is_cut(carrier, role, chain):
    pair = opened(carrier, chain, chain, max_frame=3)
    conn = getattr(pair, role)
    carry = pair.wire.to_server if role == "client" else pair.wire.to_client
    for event in [Text("caf\u00e9"), Binary(NOISE), Text("")]:
        data = conn.send(event)
        assert max(len(payload) for *_, payload in sent(conn, data)) <= 3
        assert carry(data) == [event]
    conn = getattr(opened(carrier, [RotExtension()], [RotExtension()], max_frame=2), role)
    assert sent(conn, conn.send(Text("abc"))) == [(0, 0x20, TEXT, b"bc"), (1, 0, CONTINUATION, b"d")]


def test_each_frame_of_a_client_has_a_new_key():
    pair = opened(Http1, max_frame=8)
    data = pair.client.send(Binary(bytes(8 * 50)))
    assert len({data[at + 2 : at + 6] for at in range(0, len(data), 14)}) == 50


def test_frames_are_counted_and_so_is_one_message(carrier, role):
    pair = opened(carrier, max_frame=100)
    getattr(pair, role).send(Binary(bytes(950)))
    counters = getattr(pair, role).counters
    assert (counters.messages_sent, counters.frames_sent, counters.bytes_sent) == (1, 10, 950)


def test_what_fits_is_shared_and_not_copied_as_without_a_bound():
    pair = opened(Http1, max_frame=1 << 16)
    prepared = PreparedMessage(Text("x" * 1000))
    assert pair.server.send(prepared) is pair.server.send(prepared)
    payload = bytes(1 << 16)
    header, itself = pair.server.send_vectored(Binary(payload))
    assert itself is payload
    assert len(header) == 10
    (copied,) = pair.server.send_vectored(Binary(payload + b"x"))
    assert [len(it[3]) for it in frames_of(copied)] == [1 << 16, 1]


def test_one_end_may_have_a_bound_and_the_other_none(carrier):
    pair = opened(carrier, server={"max_frame": 10})
    assert len(sent(pair.server, pair.server.send(Text("x" * 25)))) == 3
    assert len(sent(pair.client, pair.client.send(Text("x" * 25)))) == 1


def test_connection_goes_on_behind_messages_that_were_cut(carrier):
    pair = opened(carrier, [ALL], [ALL], max_frame=3)
    for _ in range(3):
        echo(pair, "a longer message " * 50)
    closing(pair)
