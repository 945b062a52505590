"""Fragments (RFC 6455 §5.4)."""

import pytest
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client, close_payload, fault, frames_of, masked, server

from mintws import Binary, Close, LocalProtocolError, Ping, Pong, State, Text


def test_fragments_are_one_message():
    data = masked(TEXT, b"a", fin=False) + masked(CONTINUATION, b"b", fin=False) + masked(CONTINUATION, b"c")
    assert server().receive(data) == [Text("abc")]


def test_message_of_one_empty_first_and_last_fragment_is_empty():
    assert server().receive(masked(BINARY, b"", fin=False) + masked(CONTINUATION, b"")) == [Binary(b"")]


@pytest.mark.parametrize("fin", [True, False])
def test_continuation_with_nothing_to_continue_fails(fin):
    assert server().fails(masked(CONTINUATION, b"a", fin=fin)) == 1002


def test_continuation_after_a_whole_message_fails():
    assert server().fails(masked(TEXT, b"a"), masked(CONTINUATION, b"b")) == 1002


def test_continuation_after_the_last_fragment_fails():
    data = masked(TEXT, b"a", fin=False) + masked(CONTINUATION, b"b") + masked(CONTINUATION, b"c")
    end = server()
    events = end.receive(data)
    assert events[0] == Text("ab")
    assert fault(events).code == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_new_message_within_a_message_fails(opcode, fin):
    assert server().fails(masked(TEXT, b"a", fin=False), masked(opcode, b"b", fin=fin)) == 1002


def test_control_frames_between_fragments_come_at_once():
    end = server()
    assert end.receive(masked(TEXT, b"a", fin=False)) == []
    assert end.receive(masked(PING, b"1")) == [Ping(b"1")]
    assert end.reply == b"\x8a\x011"
    assert end.receive(masked(PONG, b"2")) == [Pong(b"2")]
    assert end.receive(masked(CONTINUATION, b"b", fin=False) + masked(PING, b"3")) == [Ping(b"3")]
    assert end.receive(masked(CONTINUATION, b"c")) == [Text("abc")]


def test_close_between_fragments_ends_the_message():
    end = server()
    assert end.receive(masked(TEXT, b"a", fin=False) + masked(CLOSE, close_payload(1001))) == [Close(1001)]
    assert end.conn.send(Close(1001)) == b"\x88\x02\x03\xe9"


@pytest.mark.parametrize("kind", [Text, Binary])
def test_fragments_are_sent_as_they_are_given(kind):
    conn = client().conn
    opcode = TEXT if kind is Text else BINARY
    data = [b"a", b"", b"c"]
    sent = b"".join(conn.send(kind(it, fin=i == 2)) for i, it in enumerate(data))
    assert frames_of(sent) == [(0, 0, opcode, b"a"), (0, 0, CONTINUATION, b""), (1, 0, CONTINUATION, b"c")]


def test_control_frames_may_be_sent_between_fragments():
    conn = server().conn
    sent = conn.send(Text("a", fin=False)) + conn.send(Ping(b"")) + conn.send(Pong(b"")) + conn.send(Text("b"))
    assert [opcode for _, _, opcode, _ in frames_of(sent)] == [TEXT, PING, PONG, CONTINUATION]


def test_other_type_within_an_unfinished_message_is_refused_locally():
    conn = server().conn
    conn.send(Text("a", fin=False))
    with pytest.raises(LocalProtocolError):
        conn.send(Binary(b"b"))
    assert frames_of(conn.send(Text("c"))) == [(1, 0, CONTINUATION, b"c")]
    assert frames_of(conn.send(Binary(b"d"))) == [(1, 0, BINARY, b"d")]


def test_close_may_be_sent_within_an_unfinished_message_whose_rest_is_not():
    # §6.1: when the state changes, sending is aborted.
    conn = server().conn
    conn.send(Text("a", fin=False))
    assert conn.send(Close(1001)) == b"\x88\x02\x03\xe9"
    for rest in (Text("b", fin=False), Text("c")):
        with pytest.raises(LocalProtocolError):
            conn.send(rest)


@pytest.mark.parametrize("end", [b"", b"\x83\x80"], ids=["lost", "fault"])
def test_rest_of_a_message_goes_nowhere_when_the_connection_has_ended(end):
    # §6.1
    peer = server()
    peer.conn.send(Text("a", fin=False))
    (failed,) = peer.receive(end)
    assert (peer.conn.send(failed) == b"") is (end == b"")
    assert peer.conn.state is State.CLOSED
    with pytest.raises(LocalProtocolError):
        peer.conn.send(Text("b"))


def test_receiver_does_not_mind_where_frames_end():
    # Between them or within characters, empty or not: the message is the same, and so is what is handed on in parts.
    text = "a\u00e9\u20ac\U0001f600b".encode()
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            data = (
                masked(TEXT, text[:first], fin=False)
                + masked(CONTINUATION, text[first:second], fin=False)
                + masked(CONTINUATION, text[second:])
            )
            assert server().receive(data) == [Text(text.decode())]
            parts = server(parts=True).receive(data)
            assert "".join(part.data for part in parts) == text.decode()
            assert [part.fin for part in parts] == [False] * (len(parts) - 1) + [True]


def test_parts_are_handed_on_as_they_come():
    end = server(parts=True)
    assert end.receive(masked(BINARY, b"ab", fin=False)) == [Binary(b"ab", fin=False)]
    assert end.receive(masked(CONTINUATION, b"cd")[:-1]) == [Binary(b"c", fin=False)]
    assert end.receive(b"d") == [Binary(b"d")]
    assert end.receive(masked(BINARY, b"whole")) == [Binary(b"whole")]


def test_parts_of_text_end_between_characters():
    end = server(parts=True)
    assert end.receive(masked(TEXT, b"a\xe2\x82", fin=False)) == [Text("a", fin=False)]
    assert end.receive(masked(CONTINUATION, b"\xacb")) == [Text("\u20acb")]


def test_part_comes_before_the_frame_that_follows_it():
    end = server(parts=True)
    ping, first, second = masked(PING, b"p"), masked(BINARY, b"ab", fin=False), masked(CONTINUATION, b"cd", fin=False)
    assert end.receive(first + ping) == [Binary(b"ab", fin=False), Ping(b"p")]
    # The first byte of the next header is there too.
    assert end.receive(second + ping[:1], ping[1:]) == [Binary(b"cd", fin=False), Ping(b"p")]
    assert end.conn.undelivered_bytes == 0
    close = masked(CLOSE, close_payload(1000))
    assert end.receive(second + second + close) == [Binary(b"cd", fin=False)] * 2 + [Close(1000)]


def test_part_comes_before_the_fault_that_follows_it():
    first, failed = server(parts=True).receive(masked(BINARY, b"ab", fin=False) + b"\x83\x80")
    assert first == Binary(b"ab", fin=False)
    assert fault([failed]).code == 1002


def test_part_of_a_large_chunk_has_an_end():
    end = server(parts=True, limit=None)
    events = end.receive(masked(BINARY, bytes(1 << 20), fin=False))
    assert sum(len(event.data) for event in events) == 1 << 20
    assert max(len(event.data) for event in events) <= 128 * 1024
    # What comes in one piece comes whole.
    assert end.receive(masked(CONTINUATION, b""), masked(BINARY, bytes(1 << 20))) == [
        Binary(b""),
        Binary(bytes(1 << 20)),
    ]


def test_limit_holds_for_all_parts_together():
    end = server(parts=True, limit=10)
    assert end.receive(masked(BINARY, b"12345", fin=False)) == [Binary(b"12345", fin=False)]
    assert end.receive(masked(CONTINUATION, b"67890", fin=False)) == [Binary(b"67890", fin=False)]
    assert fault(end.receive(masked(CONTINUATION, b"x"))).code == 1009
