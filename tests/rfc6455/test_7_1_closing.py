"""Closing the connection (RFC 6455 §7.1): who says what last, when the transport is closed, what a failure says."""

import pytest
from wire import CLOSE, PING, REQUEST, TEXT, client, close_payload, fault, frame, frames_of, masked, server

from mintws import (
    Binary,
    Close,
    Failed,
    Http1,
    LocalProtocolError,
    Ping,
    Pong,
    RemoteProtocolError,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)


def test_closing_begun_here():
    end = server()
    assert end.conn.send(Close(1001, "bye")) == b"\x88\x05\x03\xe9bye"
    assert end.conn.state is State.CLOSING
    assert not end.http.done
    assert end.receive(masked(CLOSE, close_payload(1001))) == [Close(1001)]
    assert end.conn.state is State.CLOSED
    assert end.reply == b""


def test_closing_begun_by_the_peer():
    end = server()
    (close,) = end.receive(masked(CLOSE, close_payload(1000)))
    assert end.reply == b""
    assert end.conn.state is State.REMOTE_CLOSING
    assert not end.http.done
    assert end.conn.send(close) == b"\x88\x02\x03\xe8"
    assert end.conn.state is State.CLOSED


def test_server_closes_the_transport_first():
    # §7.1.1
    end = server()
    (close,) = end.receive(masked(CLOSE, b""))
    end.conn.send(close)
    assert end.http.done


def test_client_waits_for_the_server_to_close_the_transport():
    end = client()
    (close,) = end.receive(b"\x88\x00")
    end.conn.send(close)
    assert end.conn.state is State.CLOSED
    assert not end.http.done
    assert end.receive(b"") == []
    assert end.http.done


def test_client_closes_the_transport_at_once_when_the_server_broke_a_rule():
    end = client()
    (failed,) = end.receive(b"\x83\x00")
    end.conn.send(failed)
    assert end.http.done


def test_both_begin_to_close_at_once():
    end = server()
    end.conn.send(Close(1000))
    assert end.receive(masked(CLOSE, close_payload(1001))) == [Close(1001)]
    assert end.conn.state is State.CLOSED
    assert end.http.done


def test_data_comes_after_our_close():
    end = server()
    end.conn.send(Close(1000))
    assert end.receive(masked(TEXT, b"a") + masked(2, b"b") + masked(CLOSE, b"")) == [
        Text("a"),
        Binary(b"b"),
        Close(None),
    ]


def test_data_may_be_sent_until_our_answer():
    # §5.5.1 ends it at the Close that we send.
    end = server()
    assert end.receive(masked(TEXT, b"a") + masked(CLOSE, close_payload(1000))) == [Text("a"), Close(1000)]
    answers = (
        end.conn.send(Text("A")) + end.conn.send(Ping(b"")) + end.conn.send(Pong(b"")) + end.conn.send(Close(1000))
    )
    assert [opcode for _, _, opcode, _ in frames_of(answers)] == [1, 9, 10, 8]


def test_answer_goes_out_before_the_close_that_a_fault_asks_for():
    end = server()
    events = end.receive(masked(TEXT, b"a") + b"\x83\x80")
    assert events[0] == Text("a")
    assert end.reply == b""
    answers = end.conn.send(Text("A")) + end.conn.send(events[1])
    assert [payload[:2] for _, _, _, payload in frames_of(answers)] == [b"A", b"\x03\xea"]


def test_failure_says_its_code_and_why():
    end = server()
    (failed,) = end.receive(b"\x83\x80")
    ((fin, rsv, opcode, payload),) = frames_of(end.conn.send(failed))
    assert (fin, rsv, opcode, payload[:2]) == (1, 0, CLOSE, b"\x03\xea")
    assert payload[2:].decode() == failed.error.args[0]


def test_failure_is_sent_once():
    end = server()
    (failed,) = end.receive(b"\x83\x80")
    assert end.conn.send(failed) != b""
    assert end.conn.send(failed) == b""


def test_failure_after_our_close_says_nothing_more():
    end = server()
    end.conn.send(Close(1000))
    (failed,) = end.receive(b"\x83\x80")
    assert type(failed) is Failed
    assert end.conn.state is State.CLOSED
    assert end.conn.send(failed) == b""
    assert end.http.done


def test_failure_may_be_answered_with_a_close_of_the_callers():
    end = server()
    end.receive(b"\x83\x80")
    assert end.conn.send(Close(1002)) == b"\x88\x02\x03\xea"
    assert end.conn.state is State.CLOSED


def test_failure_with_another_error_is_a_type_error():
    end = server()
    end.receive(b"\x83\x80")
    for wrong in (ValueError("x"), None, "x"):
        with pytest.raises(TypeError):
            end.conn.send(Failed(wrong))
    assert end.conn.state is State.REMOTE_CLOSING


def test_failure_that_nobody_received_may_not_be_sent():
    conn = server().conn
    with pytest.raises(LocalProtocolError):
        conn.send(Failed(RemoteProtocolError("x", code=1002)))
    assert conn.state is State.OPEN


def test_what_comes_after_a_failure_is_dropped():
    end = server()
    events = end.receive(b"\x83\x80" + masked(TEXT, b"a") + masked(PING, b""), masked(CLOSE, b""))
    assert [type(event) for event in events] == [Failed]
    assert end.reply == b""


def test_transport_that_ends_without_close_is_1006():
    # §7.1.5
    end = server()
    error = fault(end.receive(b""))
    assert error.code == 1006
    assert end.conn.state is State.CLOSED
    assert end.http.done


def test_1006_is_never_sent():
    end = server()
    (failed,) = end.receive(b"")
    assert end.conn.send(failed) == b""


@pytest.mark.parametrize(
    "cut", [b"\x81", masked(TEXT, b"abc")[:-1], masked(TEXT, b"a", fin=False), masked(CLOSE, b"ab")[:-1]]
)
def test_transport_that_ends_within_a_message_is_1006(cut):
    end = server()
    assert fault(end.receive(cut, b"")).code == 1006


def test_transport_that_ends_after_our_close_is_1006():
    end = server()
    end.conn.send(Close(1000))
    assert fault(end.receive(b"")).code == 1006


def test_transport_that_ends_after_both_closes_is_clean():
    end = client()
    end.conn.send(Close(1000))
    assert end.receive(b"\x88\x00") == [Close(None)]
    assert end.receive(b"") == []


def test_transport_that_ends_after_the_peers_close_leaves_ours_to_be_sent():
    # The peer may have closed one direction only.
    end = server()
    assert end.receive(masked(CLOSE, close_payload(1000)), b"") == [Close(1000)]
    assert end.conn.send(Close(1000)) == b"\x88\x02\x03\xe8"
    assert end.http.done


def test_end_is_said_once():
    end = server()
    assert len(end.receive(b"", b"", b"")) == 1


def test_nothing_is_sent_when_closed():
    end = server()
    (close,) = end.receive(masked(CLOSE, close_payload(1000)))
    end.conn.send(close)
    for event in [Text("a"), Text("a", fin=False), Binary(b"a"), Ping(b"")]:
        for send in (end.conn.send, end.conn.send_vectored, lambda event: end.conn.send_many([event])):
            with pytest.raises(LocalProtocolError):
                send(event)


@pytest.mark.parametrize("closed_first", ["here", "there"])
def test_every_close_that_comes_may_be_handed_to_send(closed_first):
    # And a Pong for what came before it, where Pings are answered by the caller.
    end = server(auto_pong=False)
    if closed_first == "here":
        end.conn.send(Close(1000))
    ping, close = end.receive(masked(PING, b"p") + masked(CLOSE, close_payload(1000)))
    answer = end.conn.send(Pong(ping.data)) + end.conn.send(close)
    assert answer == (b"" if closed_first == "here" else b"\x8a\x01p\x88\x02\x03\xe8")
    assert end.conn.state is State.CLOSED
    assert end.conn.send(Pong(b"")) + end.conn.send(close) == b""


def test_answers_to_what_came_before_the_end_go_nowhere():
    end = server(auto_pong=False)
    message, ping, failed = end.receive(masked(TEXT, b"a") + masked(PING, b"p"), b"")
    assert failed.error.code == 1006
    assert end.conn.state is State.CLOSED
    answers = [
        message,
        Binary(b"x" * 20_000),
        Text("b", fin=False),
        Text("b"),
        Binary(b"c"),
        Pong(ping.data),
        Ping(b"q"),
        Close(1000),
    ]
    assert [end.conn.send(event) for event in answers] == [b""] * 8
    assert end.conn.send_many(answers) == b""
    assert end.conn.send_vectored(answers[1]) == []
    assert end.conn.corked_bytes == 0
    # The Failed is the last word: who goes on behind it has missed the end.
    assert end.conn.send(failed) == b""
    for event in (message, Ping(b"q")):
        with pytest.raises(LocalProtocolError):
            end.conn.send(event)
    assert end.conn.send(failed) == b""


def test_what_may_not_be_sent_may_not_be_sent_to_nobody():
    end = server()
    end.receive(b"")
    for wrong in [Close(1005), Text("\ud800"), Ping(b"x" * 126), UpgradeRequest("example.com")]:
        with pytest.raises(LocalProtocolError):
            end.conn.send(wrong)


@pytest.mark.parametrize("answer", [UpgradeAccept(), UpgradeReject(403)])
def test_answer_to_a_client_that_has_left_goes_nowhere(answer):
    http = Http1(Role.SERVER)
    ((conn, _),), _ = http.receive(REQUEST + b"\r\n")
    ((_, failed),), _ = http.receive(b"")
    assert conn.send(answer) == b""
    assert conn.response is None
    assert conn.send(Text("hello")) == b""
    assert conn.send(failed) == b""
    assert http.done
    with pytest.raises(LocalProtocolError):
        conn.send(answer)


def test_answer_to_a_client_that_sent_too_much_too_early_goes_nowhere():
    http = Http1(Role.SERVER)
    ((conn, _),), _ = http.receive(REQUEST + b"\r\n")
    ((_, failed),), _ = http.receive(bytes(70_000))
    assert failed.error.code == 1009
    assert conn.send(UpgradeAccept()) + conn.send(failed) == b""


def test_abort_ends_at_once():
    for end in [server(), client()]:
        assert end.conn.abort() == b""
        assert end.conn.state is State.CLOSED
        assert end.http.done
        assert end.receive(frame(TEXT, b"a")) == []
        assert end.conn.abort() == b""


def test_nothing_is_sent_after_an_abort():
    for closing in (b"", b"\x88\x80" + bytes(4)):
        end = server()
        end.receive(masked(TEXT, b"a") + closing)
        end.conn.abort()
        assert end.conn.state is State.CLOSED
        with pytest.raises(LocalProtocolError):
            end.conn.send(Text("a"))


def test_abort_within_the_closing_handshake():
    end = client()
    end.conn.send(Close(1000))
    end.conn.abort()
    assert end.http.done


@pytest.mark.parametrize("what", ["Close", "fault"])
@pytest.mark.parametrize("make", [server, client])
def test_transport_that_ends_before_our_last_word_is_done(make, what):
    # Nobody is left to hear it, but to say it is no mistake.
    end = make()
    write = masked if make is server else frame
    (event,) = end.receive(write(CLOSE, close_payload(1000)) if what == "Close" else write(3))
    assert end.conn.state is State.REMOTE_CLOSING
    assert not end.http.done
    assert end.receive(b"") == []
    assert end.http.done
    end.conn.send(event)
    assert end.conn.state is State.CLOSED
    assert end.http.done
