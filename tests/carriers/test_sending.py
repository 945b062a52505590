"""The ways to send: many at once, in two pieces, corked, prepared."""

import pytest
from wire import frames_of, h2_frame, opened

from mintws import (
    Binary,
    Close,
    Http1,
    Http2,
    LocalProtocolError,
    PerMessageDeflate,
    Ping,
    Pong,
    PreparedMessage,
    State,
    Text,
)

TAKEOVER = PerMessageDeflate(threshold=0)
ALONE = PerMessageDeflate(threshold=0, server_no_context_takeover=True, client_no_context_takeover=True)
NARROW = PerMessageDeflate(threshold=0, server_max_window_bits=9, client_max_window_bits=9)
EXTENSIONS = {"plain": [], "takeover": [TAKEOVER], "alone": [ALONE], "narrow": [NARROW]}


@pytest.fixture(params=[Http1, Http2])
def carrier(request):
    return request.param


@pytest.fixture(params=EXTENSIONS)
def pair(request, carrier):
    extensions = EXTENSIONS[request.param]
    return opened(carrier, extensions, extensions)


def ways(pair):
    """For each end: its connection, and how its bytes get to the other."""
    return [(pair.client, pair.wire.to_server), (pair.server, pair.wire.to_client)]


def test_send_many_is_send_of_each(pair):
    events = [Text("a"), Ping(b"b"), Binary(b"c" * 1000), Text("d", fin=False), Pong(b"e"), Text("f"), Close(1000)]
    for conn, carry in ways(pair):
        if conn.state is State.OPEN:
            received = carry(conn.send_many(events))
            assert received == [Text("a"), Ping(b"b"), Binary(b"c" * 1000), Pong(b"e"), Text("df"), Close(1000)]
            assert conn.state is State.CLOSING


MIXED = {
    "messages": [Text("a"), Binary(b"b" * 70_000), Text("c" * 300)],
    "control": [Ping(b"a"), Text("b"), Pong(b"c"), Close(1000, "d")],
    "fragments": [Text("a"), Binary(b"b", fin=False), Ping(b"c"), Binary(b"d"), Text("e")],
    "prepared": [Text("a"), Ping(b"b"), PreparedMessage(Text("c")), Text("d")],
}


@pytest.mark.parametrize("extensions", EXTENSIONS.values(), ids=EXTENSIONS)
@pytest.mark.parametrize("events", MIXED.values(), ids=MIXED)
def test_send_many_gives_the_bytes_of_send_of_each(events, extensions):
    one, many = (opened(Http1, extensions, extensions, entropy=lambda n: bytes(range(n))).client for _ in range(2))
    assert many.send_many(events) == b"".join(one.send(event) for event in events)


def test_send_many_of_none_is_empty(pair):
    for conn, _ in ways(pair):
        assert conn.send_many([]) == b""
        assert conn.send_many(iter([Text("x")])) != b""


WRONG = [
    [Text("a"), Close(1000), Text("b")],
    [Text("a" * 1000), Ping(b"x" * 126)],
    [Text("a" * 1000), Close(1005)],
    [Text("a" * 1000), Text("\ud800")],
    [Text("a" * 1000, fin=False), Binary(b"b")],
    [Binary(b"a" * 1000), Close(1000, "x" * 124)],
]


@pytest.mark.parametrize("events", WRONG, ids=lambda events: repr(events[-1])[:20])
def test_send_many_sends_all_or_nothing(pair, events):
    for conn, carry in ways(pair):
        assert carry(conn.send(Text("before " * 20))) == [Text("before " * 20)]
        with pytest.raises(LocalProtocolError):
            conn.send_many(events)
        assert conn.state is State.OPEN
        # Neither the fragments nor the deflate contexts have moved.
        assert carry(conn.send(Binary(b"after" * 20))) == [Binary(b"after" * 20)]
        assert carry(conn.send(Text("before " * 20))) == [Text("before " * 20)]


@pytest.mark.parametrize("wrong", [5, "text", None])
def test_send_many_of_what_is_no_event_is_a_type_error(pair, wrong):
    for conn, carry in ways(pair):
        with pytest.raises(TypeError):
            conn.send_many([Text("a"), wrong])
        assert carry(conn.send(Text("b"))) == [Text("b")]


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 100_000])
@pytest.mark.parametrize("kind", [Text, Binary])
def test_send_vectored_is_send(pair, size, kind):
    event = kind("x" * size) if kind is Text else kind(b"x" * size)
    for conn, carry in ways(pair):
        pieces = conn.send_vectored(event)
        assert carry(b"".join(pieces)) == [event]
        assert carry(conn.send(event)) == [event]
        assert carry(b"".join(conn.send_vectored(event))) == [event]


def test_send_vectored_does_not_copy_a_large_payload():
    pair = opened(Http1)
    data = b"x" * 100_000
    header, payload = pair.server.send_vectored(Binary(data))
    assert payload is data
    assert header == b"\x82\x7f" + (100_000).to_bytes(8, "big")
    header, payload = pair.server.send_vectored(Text("\u20ac" * 20_000))
    assert bytes(payload) == ("\u20ac" * 20_000).encode()
    assert memoryview(payload).readonly


@pytest.mark.parametrize("size", [10, 20_000, 300_000])
@pytest.mark.parametrize("kind", [bytearray, memoryview])
@pytest.mark.parametrize("way", ["send", "send_vectored", "send_many", "cork"])
def test_data_that_is_changed_while_it_is_sent_goes_out_as_it_was(pair, size, kind, way):
    # RFC 6455 §10.3: who sees the masking-key of the first bytes must not choose the others by it. Over HTTP/2 the last of
    # the three is larger than the windows, so that much of it waits.
    for conn, carry in ways(pair):
        data = bytearray(b"a" * size)
        event = Binary(kind(data))
        if way == "cork":
            conn.cork()
            pieces = [conn.send(event)]
        elif way == "send_vectored":
            pieces = conn.send_vectored(event)
        else:
            pieces = [conn.send(event) if way == "send" else conn.send_many([event])]
        data[:] = b"b" * size
        if way == "cork":
            pieces.append(conn.uncork())
        assert carry(b"".join(pieces)) == [Binary(b"a" * size)]


def test_send_vectored_of_fragments_and_control_frames(pair):
    for conn, carry in ways(pair):
        pieces = []
        for event in [Text("a" * 20_000, fin=False), Ping(b"p"), Text("b" * 20_000)]:
            pieces += conn.send_vectored(event)
        assert carry(b"".join(pieces)) == [Ping(b"p"), Text("a" * 20_000 + "b" * 20_000)]


def test_send_vectored_checks_as_send_does(pair):
    for conn, carry in ways(pair):
        with pytest.raises(LocalProtocolError):
            conn.send_vectored(Close(1005))
        with pytest.raises(LocalProtocolError):
            conn.send_vectored(Text(b"\xff" * 20_000))
        carry(b"".join(conn.send_vectored(Close(1000))))
        with pytest.raises(LocalProtocolError):
            conn.send_vectored(Binary(bytes(20_000)))
        break


def test_corked_events_wait_for_flush(pair):
    for conn, carry in ways(pair):
        conn.cork()
        assert conn.send(Text("a")) == b""
        assert conn.send_many([Binary(b"b"), Ping(b"c")]) == b""
        assert conn.send_vectored(Text("d")) == []
        assert conn.corked_bytes > 0
        assert carry(conn.flush()) == [Text("a"), Binary(b"b"), Ping(b"c"), Text("d")]
        assert conn.corked_bytes == 0
        assert conn.flush() == b""
        assert conn.send(Text("e")) == b""
        assert carry(conn.uncork()) == [Text("e")]
        assert carry(conn.send(Text("f"))) == [Text("f")]


def test_large_payload_takes_what_is_corked_with_it():
    conn, large = opened(Http1).server, b"x" * 20_000
    conn.cork()
    conn.send(Text("a"))
    with pytest.raises(LocalProtocolError):
        conn.send_vectored(Text(b"\xff" * 20_000))
    assert conn.corked_bytes == 3
    corked, header, payload = conn.send_vectored(Binary(large))
    assert (corked, header[:2], payload is large) == (b"\x81\x01a", b"\x82\x7e", True)
    assert (conn.corked_bytes, conn.flush()) == (0, b"")
    # It is corked still.
    assert (conn.send(Text("b")), conn.corked_bytes) == (b"", 3)
    assert len(conn.send_vectored(Binary(large))) == 3
    assert len(conn.send_vectored(Binary(large))) == 2


def test_vectored_while_corked_is_in_order(pair):
    events = [
        Text("a"),
        Binary(b"b" * 20_000),
        Text("c" * 20_000),
        Text("d", fin=False),
        Text("e" * 20_000),
        Ping(b"f"),
    ]
    for conn, carry in ways(pair):
        conn.cork()
        pieces = [piece for event in events for piece in conn.send_vectored(event)]
        received = carry(b"".join([*pieces, conn.uncork()]))
        assert received == [*events[:3], Text("d" + "e" * 20_000), Ping(b"f")]


def test_flush_without_cork_is_empty(pair):
    for conn, _ in ways(pair):
        assert conn.flush() == b""
        assert conn.uncork() == b""


def test_cork_twice_is_cork_once(pair):
    for conn, carry in ways(pair):
        conn.cork()
        conn.send(Text("a"))
        conn.cork()
        assert carry(conn.uncork()) == [Text("a")]


def test_wrong_event_while_corked_leaves_the_rest(pair):
    for conn, carry in ways(pair):
        conn.cork()
        conn.send(Text("a" * 100))
        with pytest.raises(LocalProtocolError):
            conn.send(Close(1005))
        with pytest.raises(LocalProtocolError):
            conn.send_many([Text("lost"), Ping(b"x" * 126)])
        conn.send(Text("b"))
        assert carry(conn.uncork()) == [Text("a" * 100), Text("b")]


def test_corked_close_goes_out_last_and_ends_the_stream(pair):
    conn, carry = ways(pair)[0]
    conn.cork()
    conn.send(Text("a"))
    conn.send(Close(1000))
    assert conn.state is State.CLOSING
    assert carry(conn.uncork()) == [Text("a"), Close(1000)]
    assert pair.to_client(Close(1000)) == [Close(1000)]
    assert pair.client.state is pair.server.state is State.CLOSED
    if pair.wire.client.__class__ is Http2:
        assert not pair.wire.client._streams
        assert not pair.wire.server._streams


def test_corked_answer_to_a_close_ends_the_stream():
    pair = opened(Http2)
    (close,) = pair.to_server(Close(1000))
    pair.server.cork()
    assert pair.server.send(Text("last")) == b""
    pair.server.send(close)
    assert pair.server.state is State.CLOSED
    assert pair.wire.to_client(pair.server.uncork()) == [Text("last"), Close(1000)]
    assert not pair.wire.client._streams
    assert not pair.wire.server._streams


@pytest.mark.parametrize("end", ["nothing", "a frame", "the end of the stream", "a crossing Close"])
def test_end_of_the_stream_waits_for_what_is_corked(end):
    # Whatever comes in the meantime, it goes out behind the frames.
    pair = opened(Http2)
    number = pair.server.carrier.number
    pair.server.cork()
    if end == "a crossing Close":
        pair.server.send(Text("last"))
        pair.server.send(Close(1000))
        pair.to_server(Close(1000))
    else:
        (close,) = pair.to_server(Close(1000))
        pair.server.send(Text("last"))
        pair.server.send(close)
    meanwhile = {"a frame": h2_frame(0, 0, number, b"x"), "the end of the stream": h2_frame(0, 1, number)}.get(end, b"")
    if meanwhile:
        pair.wire.server.receive(meanwhile)
    assert pair.server.state is State.CLOSED
    assert pair.wire.to_client(pair.server.flush()) == [Text("last"), Close(1000)]
    assert pair.server.flush() == b""
    assert not pair.wire.server._streams


def test_transport_is_not_done_while_frames_are_corked():
    pair = opened(Http1)
    (close,) = pair.to_server(Close(1000))
    pair.server.cork()
    pair.server.send(Text("last"))
    pair.server.send(close)
    assert not pair.wire.server.done
    assert pair.wire.to_client(pair.server.uncork()) == [Text("last"), Close(1000)]
    assert pair.wire.server.done


@pytest.mark.parametrize("end", ["lost", "abort"])
def test_what_is_corked_goes_nowhere_when_the_peer_is_lost(carrier, end):
    pair = opened(carrier)
    pair.server.cork()
    pair.server.send(Text("last"))
    pair.server.send(Close(1000))
    if end == "lost":
        pair.wire.server.receive(b"")
    else:
        pair.server.abort()
    assert (pair.server.corked_bytes, pair.server.flush()) == (0, b"")
    assert pair.wire.server.done is (carrier is Http1 or end == "lost")


def test_pongs_go_out_while_corked(pair):
    pair.server.cork()
    pair.to_server(Ping(b"p"))
    assert [event for _, event in pair.wire.client_said] == [Pong(b"p")]
    pair.wire.client_said.clear()
    pair.server.uncork()


MESSAGES = [
    Text(""),
    Text("x"),
    Text("caf\u00e9 " * 100),
    Binary(b""),
    Binary(bytes(range(256)) * 10),
    Binary(b"z" * 100_000),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: repr(message)[:20])
@pytest.mark.parametrize("compress", [None, True, False])
def test_prepared_message_arrives_as_its_event(pair, message, compress):
    prepared = PreparedMessage(message)
    for conn, carry in ways(pair):
        for _ in range(3):
            assert carry(conn.send(prepared, compress=compress)) == [message]
            # What is compressed after it must not refer to what the peer's window has lost.
            assert carry(conn.send(Text("between " * 20))) == [Text("between " * 20)]
            assert carry(conn.send(Text("between " * 20))) == [Text("between " * 20)]


def test_one_prepared_message_serves_all_connections(carrier):
    message = Text("news " * 200)
    prepared = PreparedMessage(message, level=9)
    for extensions in EXTENSIONS.values():
        pair = opened(carrier, extensions, extensions)
        for conn, carry in ways(pair):
            assert carry(conn.send(prepared)) == [message]


def test_prepared_message_is_compressed_where_it_was_agreed():
    prepared = PreparedMessage(Text("news " * 200))
    sizes = {name: len(opened(Http1, it, it).server.send(prepared)) for name, it in EXTENSIONS.items()}
    assert sizes["plain"] == 4 + 1000
    assert all(sizes[name] < 100 for name in ("takeover", "alone", "narrow"))


def test_prepared_frame_of_a_server_is_the_same_each_time():
    prepared = PreparedMessage(Binary(b"x" * 1000))
    one, two = (opened(Http1).server for _ in range(2))
    assert one.send(prepared) == two.send(prepared)
    client = opened(Http1).client
    assert client.send(prepared)[2:] != client.send(prepared)[2:]
    assert frames_of(client.send(prepared)) == frames_of(one.send(prepared))


def test_prepared_message_within_a_message_is_refused_locally(pair):
    prepared = PreparedMessage(Text("x"))
    for conn, carry in ways(pair):
        carry(conn.send(Text("a", fin=False)))
        with pytest.raises(LocalProtocolError):
            conn.send(prepared)
        with pytest.raises(LocalProtocolError):
            conn.send_many([Text("b", fin=False), prepared])
        assert carry(conn.send(Text("b"))) == [Text("ab")]


def test_prepared_messages_in_send_many_and_corked(pair):
    prepared = PreparedMessage(Text("prepared"))
    for conn, carry in ways(pair):
        assert carry(conn.send_many([Text("a"), prepared, prepared])) == [Text("a"), Text("prepared"), Text("prepared")]
        conn.cork()
        conn.send(prepared)
        conn.send(Text("b"))
        assert carry(conn.uncork()) == [Text("prepared"), Text("b")]
        assert carry(b"".join(conn.send_vectored(prepared))) == [Text("prepared")]


@pytest.mark.parametrize("wrong", [Ping(b""), Close(1000), "text", b"bytes", None])
def test_prepared_message_of_anything_else_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        PreparedMessage(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PreparedMessage(Text("a", fin=False)),
        lambda: PreparedMessage(Text(b"\xff")),
        lambda: PreparedMessage(Text("\ud800")),
        lambda: PreparedMessage(Text("a"), level=10),
        lambda: PreparedMessage(Text("a"), level=-1),
        lambda: PreparedMessage(Text("a"), level=256),
        lambda: PreparedMessage(Text("a"), level=1 << 100),
    ],
)
def test_prepared_message_that_is_wrong_is_refused_locally(make):
    with pytest.raises(LocalProtocolError):
        make()


@pytest.mark.parametrize("level", ["6", 6.0, True])
def test_level_that_is_no_number_is_a_type_error(level):
    with pytest.raises(TypeError):
        PreparedMessage(Text("a"), level=level)


def test_prepared_message_that_is_too_late_is_refused_locally(pair):
    conn = pair.client
    conn.send(Close(1000))
    with pytest.raises(LocalProtocolError):
        conn.send(PreparedMessage(Text("x")))
