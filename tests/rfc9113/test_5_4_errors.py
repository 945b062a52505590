"""Errors of connections and of streams (RFC 9113 §5.4)."""

import pytest
from wire import (
    DATA,
    END_HEADERS,
    GET,
    GOAWAY,
    H2_PING,
    HEADERS,
    RST_STREAM,
    WINDOW_UPDATE,
    H2Peer,
    h2_frame,
    h2_frames,
    masked,
)

from mintws import Failed, Role, State, Text


def test_goaway_of_an_error_names_the_last_stream():
    # 00 00 08 07 00 00 00 00 00 | 00 00 00 03 | 00 00 00 06
    peer = H2Peer(Role.SERVER)
    peer.open()
    peer.open()
    _, reply = peer.http.receive(h2_frame(H2_PING, 0, 0, b"short"))
    assert reply == b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\x03" + b"\0\0\0\x06"


def test_connection_is_to_be_closed_behind_the_goaway_of_an_error():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    _, reply = peer.http.receive(h2_frame(H2_PING, 0, 0, b"short"))
    assert h2_frames(reply)[-1][0] == GOAWAY
    assert peer.http.done
    assert peer.http.receive(h2_frame(DATA, 0, stream, masked(1, b"x"))) == ([], b"")
    assert conn.abort() == b""


@pytest.mark.parametrize("number", [1, 3])
def test_nothing_follows_the_goaway_of_an_error(number):
    # Credit was due for what came before it, and a Pong.
    peer = H2Peer(Role.SERVER)
    peer.open()
    peer.http.receive(h2_frame(HEADERS, END_HEADERS, 3, peer.h2.encoder.encode(GET)))
    data = h2_frame(DATA, 0, 1, masked(9, b"p")) + h2_frame(DATA, 0, number, bytes(16384)) * 600
    _, reply = peer.http.receive(data + h2_frame(H2_PING, 0, 0, b"short"))
    assert h2_frames(reply)[-1][0] == GOAWAY
    assert peer.http.h2.data_to_send() == b""


def test_one_goaway_is_sent_for_several_errors():
    peer = H2Peer(Role.SERVER)
    peer.open()
    events, reply = peer.http.receive(h2_frame(H2_PING, 0, 0, b"short") + h2_frame(DATA, 0, 0, b"x"))
    assert [kind for kind, *_ in h2_frames(reply)] == [GOAWAY]
    assert [type(event) for it, event in events if it is None] == [Failed]


def test_error_of_a_stream_resets_it_and_hurts_no_other():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    other, fine = peer.open()
    _, reply = peer.http.receive(h2_frame(WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff"))
    assert h2_frames(reply) == [(RST_STREAM, 0, stream, b"\0\0\0\x03")]
    assert conn.state is not State.OPEN
    assert peer.http.receive(h2_frame(DATA, 0, other, masked(1, b"x")))[0] == [(fine, Text("x"))]


@pytest.mark.parametrize("code", [0, 1, 8, 0xBADC0DE])
def test_reset_is_not_answered_with_a_reset(code):
    # §5.4.2; §7: a code that is unknown has no other meaning.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    reset = h2_frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))
    _, reply = peer.http.receive(reset + reset)
    assert reply == b""
    assert conn.state is State.CLOSED
    assert conn.abort() == b""


def test_nothing_follows_our_reset():
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    assert [kind for kind, *_ in h2_frames(conn.abort())] == [RST_STREAM]
    assert conn.abort() == b""
    assert peer.http.h2.data_to_send() == b""


def test_malformed_request_is_protocol_error_of_its_stream():
    # §8.1.1
    peer = H2Peer(Role.SERVER)
    _, conn = peer.open()
    block = peer.h2.encoder.encode([*GET, ("Upper", "x")])
    _, reply = peer.http.receive(h2_frame(HEADERS, END_HEADERS, 3, block))
    assert h2_frames(reply) == [(RST_STREAM, 0, 3, b"\0\0\0\x01")]
    assert conn.state is State.OPEN


def test_after_a_fault_of_the_connection_the_peer_may_still_send():
    for role in Role:
        peer = H2Peer(role)
        peer.http.receive(h2_frame(H2_PING, 0, 0, b"short"))
        assert peer.http.done and peer.http.lingers


def test_a_server_that_leaves_says_whether_the_client_may_still_send():
    peer = H2Peer(Role.SERVER)
    peer.http.shutdown()
    assert peer.http.done and peer.http.lingers
    peer.http.receive(h2_frame(GOAWAY, 0, 0, bytes(8)))
    assert peer.http.done and not peer.http.lingers
