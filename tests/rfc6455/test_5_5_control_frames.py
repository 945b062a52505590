"""Close, Ping and Pong (RFC 6455 §5.5)."""

import pytest
from wire import CLOSE, PING, PONG, client, close_payload, fault, frame, frames_of, masked, server

from mintws import Close, LocalProtocolError, Ping, Pong, State, Text


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frame_of_126_bytes_fails_with_1002(opcode):
    assert server().fails(b"%c\xfe\x00\x7e" % (0x80 | opcode) + bytes(4) + bytes(126)) == 1002
    assert client().fails(b"%c\x7e\x00\x7e" % (0x80 | opcode) + bytes(126)) == 1002


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frame_of_2_62_bytes_fails_with_1002(opcode):
    assert server().fails(b"%c\xff" % (0x80 | opcode) + (1 << 62).to_bytes(8, "big") + bytes(4)) == 1002


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frame_without_fin_fails_with_1002(opcode):
    assert server().fails(masked(opcode, b"", fin=False)) == 1002


def test_control_frame_of_125_bytes_is_taken():
    assert server().receive(masked(PING, b"x" * 125)) == [Ping(b"x" * 125)]
    assert server().receive(masked(CLOSE, close_payload(1000, "x" * 123))) == [Close(1000, "x" * 123)]


def test_ping_is_answered_with_its_payload():
    end = server()
    assert end.receive(b"\x89\x82\x00\x00\x00\x00hi") == [Ping(b"hi")]
    assert end.reply == b"\x8a\x02hi"


def test_pings_are_answered_in_their_order():
    end = server()
    end.receive(masked(PING, b"1") + masked(PING, b"2") + masked(PING, b"3"))
    assert end.reply == b"\x8a\x011\x8a\x012\x8a\x013"


def test_ping_cut_into_bytes_is_answered():
    end = server()
    data = masked(PING, b"hello")
    assert end.receive(*(data[i : i + 1] for i in range(len(data)))) == [Ping(b"hello")]
    assert end.reply == b"\x8a\x05hello"


def test_pong_that_nobody_asked_for_is_no_fault_and_gets_no_answer():
    end = server()
    assert end.receive(masked(PONG, b"x")) == [Pong(b"x")]
    assert end.reply == b""


def test_ping_is_left_to_the_caller_without_auto_pong():
    end = server(auto_pong=False)
    assert end.receive(masked(PING, b"x")) == [Ping(b"x")]
    assert end.reply == b""
    assert end.conn.send(Pong(b"x")) == b"\x8a\x01x"


def test_ping_after_our_close_is_still_answered():
    # §5.5.2: unless a Close was received already.
    end = server()
    end.conn.send(Close(1000))
    assert end.receive(masked(PING, b"x")) == [Ping(b"x")]
    assert end.reply == b"\x8a\x01x"


def test_ping_after_the_peers_close_is_not_answered():
    end = server()
    assert end.receive(masked(CLOSE, close_payload(1000)) + masked(PING, b"x")) == [Close(1000)]
    assert end.reply == b""


def test_ping_before_the_close_in_one_chunk_is_answered():
    end = server()
    assert end.receive(masked(PING, b"x") + masked(CLOSE, close_payload(1000))) == [Ping(b"x"), Close(1000)]
    assert end.reply == b"\x8a\x01x"
    assert end.conn.send(Close(1000)) == b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("kind", [Ping, Pong])
def test_sending_126_bytes_in_a_control_frame_is_refused_locally(kind):
    conn = server().conn
    with pytest.raises(LocalProtocolError):
        conn.send(kind(b"x" * 126))
    assert len(conn.send(kind(b"x" * 125))) == 127


def test_close_of_one_byte_fails_with_1002():
    assert server().fails(b"\x88\x81\x00\x00\x00\x00\x03") == 1002


def test_close_without_payload_has_no_code():
    end = server()
    assert end.receive(b"\x88\x80\x00\x00\x00\x00") == [Close(None)]
    assert end.conn.send(Close(None)) == b"\x88\x00"


def test_reason_that_is_no_utf8_fails_with_1007():
    assert server().fails(masked(CLOSE, close_payload(1000, b"\xc3\x28"))) == 1007


def test_reason_cut_within_a_character_fails_with_1007():
    assert server().fails(masked(CLOSE, close_payload(1000, b"\xe2\x82"))) == 1007


def test_close_cut_into_bytes_is_read():
    data = masked(CLOSE, close_payload(1000, "adi\u00f3s"))
    assert server().receive(*(data[i : i + 1] for i in range(len(data)))) == [Close(1000, "adi\u00f3s")]


def test_bytes_after_a_close_are_dropped():
    # §5.5.1, §1.4: after receiving a Close, any further data is discarded.
    end = server()
    assert end.receive(masked(CLOSE, close_payload(1000)) + masked(1, b"late") + b"\xff\xff\xff") == [Close(1000)]
    assert end.receive(b"\x83garbage") == []
    assert end.conn.state is State.REMOTE_CLOSING


def test_second_close_is_dropped():
    end = server()
    assert end.receive(masked(CLOSE, close_payload(1000)), masked(CLOSE, close_payload(1002))) == [Close(1000)]


def test_one_close_is_sent():
    conn = server().conn
    conn.send(Close(1000))
    with pytest.raises(LocalProtocolError):
        conn.send(Close(1000))
    end = server()
    end.receive(masked(CLOSE, b""))
    end.conn.send(Close(1000))
    assert end.conn.send(Close(1000)) == b""


@pytest.mark.parametrize("event", [Text("x"), Ping(b""), Close(1000)])
def test_nothing_but_pongs_is_sent_after_our_close(event):
    conn = server().conn
    conn.send(Close(1000))
    with pytest.raises(LocalProtocolError):
        conn.send(event)
    assert conn.state is State.CLOSING


def test_reason_of_124_bytes_is_refused_locally():
    conn = server().conn
    for reason in ["x" * 124, "\u20ac" * 42]:
        with pytest.raises(LocalProtocolError):
            conn.send(Close(1000, reason))
    assert conn.state is State.OPEN
    assert conn.send(Close(1000, "\u20ac" * 41)) == b"\x88\x7d\x03\xe8" + b"\xe2\x82\xac" * 41


def test_reason_without_code_is_refused_locally():
    conn = server().conn
    with pytest.raises(LocalProtocolError):
        conn.send(Close(None, "why"))
    assert conn.state is State.OPEN


def test_reason_with_surrogates_is_refused_locally():
    conn = server().conn
    with pytest.raises(LocalProtocolError):
        conn.send(Close(1000, "\ud800"))
    assert conn.state is State.OPEN


def test_flood_of_pings_in_one_chunk_is_answered_one_by_one():
    end = client()
    assert len(end.receive(frame(PING, b"x") * 5000)) == 5000
    assert len(frames_of(end.reply)) == 5000


def test_fault_behind_pings_leaves_them_answered():
    end = server()
    events = end.receive(masked(PING, b"x") + b"\x83\x80")
    assert fault(events).code == 1002
    assert end.reply == b"\x8a\x01x"
