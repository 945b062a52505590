"""The life of a WebSocket's stream (RFC 8441 §5): Close and END_STREAM, resets, GOAWAY, the ends that real peers make."""

import h2.events
import h2.settings
import pytest
from h2.errors import ErrorCodes
from wire import (
    CLOSE,
    CONNECT,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    H2_PING,
    HEADERS,
    RST_STREAM,
    WINDOW_UPDATE,
    H2Peer,
    Pair,
    Wire,
    close_payload,
    closing,
    echo,
    fault,
    frame,
    h2_frame,
    h2_frames,
    masked,
    opened,
)

from mintws import (
    Close,
    Failed,
    Http2,
    LocalProtocolError,
    Ping,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.events import MessageReset, Request


def test_closing_begun_by_the_client_ends_the_stream_both_ways():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    ((_, close),) = peer.send(stream, masked(CLOSE, close_payload(1000)))
    assert not peer.of(h2.events.StreamEnded, stream)
    peer.hear(conn.send(close))
    assert peer.data(stream) == b"\x88\x02\x03\xe8"
    assert peer.of(h2.events.StreamEnded, stream)
    peer.h2.end_stream(stream)
    assert peer.deliver() == []
    assert stream not in peer.http._streams
    assert not peer.of(h2.events.StreamReset, stream)


def test_closing_begun_by_the_server_ends_the_stream_both_ways():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.hear(conn.send(Close(1001)))
    assert not peer.of(h2.events.StreamEnded, stream)
    assert peer.send(stream, masked(CLOSE, close_payload(1001)), end_stream=True) == [(conn, Close(1001))]
    assert peer.of(h2.events.StreamEnded, stream)
    assert stream not in peer.http._streams


def left_open(peer: H2Peer) -> int:
    """As the client, open a WebSocket and close it, and never end its stream; return that."""
    stream, conn = peer.open()
    peer.hear(conn.send(Close(1000)))
    assert peer.send(stream, masked(CLOSE, close_payload(1000))) == [(conn, Close(1000))]
    assert peer.of(h2.events.StreamEnded, stream)
    return stream


def test_stream_that_the_client_does_not_end_behind_both_closes_is_reset():
    # With NO_ERROR (RFC 9113 §8.1), as the application's clock has it: nghttpx ends none.
    peer = H2Peer(Role.SERVER)
    _, other = peer.open()
    stream = left_open(peer)
    assert peer.http.half_closed == 1
    assert peer.http.reset_half_closed() == b""
    late = left_open(peer)
    assert h2_frames(peer.http.reset_half_closed()) == [(RST_STREAM, 0, stream, bytes(4))]
    peer.h2.end_stream(late)
    assert peer.deliver() == []
    assert peer.http.reset_half_closed() == b""
    assert (peer.http.half_closed, peer.http.h2.open_inbound_streams) == (0, 1)
    assert other.state is State.OPEN


def test_streams_that_the_client_does_not_end_take_half_of_its_streams_at_most():
    peer = H2Peer(Role.SERVER, max_concurrent_streams=10)
    _, other = peer.open()
    streams = [left_open(peer) for _ in range(30)]
    assert peer.http.half_closed == 5
    assert [it.stream_id for it in peer.of(h2.events.StreamReset)] == streams[:-5]
    assert other.state is State.OPEN


def test_stream_whose_close_waits_for_the_window_is_not_half_closed():
    peer = H2Peer(Role.SERVER, {4: 0})
    stream, conn = peer.open()
    conn.send(Close(1000))
    peer.send(stream, masked(CLOSE, close_payload(1000)))
    assert peer.http.half_closed == 0
    peer.h2.increment_flow_control_window(100, stream)
    peer.deliver()
    assert peer.http.half_closed == 1


def test_client_resets_no_stream_that_the_server_has_not_ended():
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    peer.hear(conn.send(Close(1000)))
    peer.send(stream, frame(CLOSE, close_payload(1000)))
    assert peer.of(h2.events.StreamEnded, stream)
    assert peer.http.half_closed == 0
    assert peer.http.reset_half_closed() == peer.http.reset_half_closed() == b""
    assert stream in peer.http._streams


@pytest.mark.parametrize("together", [True, False])
def test_client_ends_its_stream_when_the_server_has(together):
    # Close and END_STREAM may come in one read or in two.
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    peer.hear(conn.send(Close(1000)))
    peer.h2.send_data(stream, frame(CLOSE, close_payload(1000)))
    if not together:
        peer.deliver()
        assert peer.of(h2.events.StreamEnded, stream)
    peer.h2.end_stream(stream)
    peer.deliver()
    assert conn.state is State.CLOSED
    assert peer.of(h2.events.StreamEnded, stream)
    assert peer.h2.open_outbound_streams == 0
    assert stream not in peer.http._streams


def test_pong_goes_out_before_the_end_when_all_comes_in_one_read():
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    peer.hear(conn.send(Close(1000)))
    before = len(peer.data(stream))
    peer.h2.send_data(stream, frame(9, b"p") + frame(CLOSE, close_payload(1000)), end_stream=True)
    assert peer.deliver() == [(conn, Ping(b"p")), (conn, Close(1000))]
    assert peer.data(stream)[before:][:2] == b"\x8a\x81"
    assert peer.of(h2.events.StreamEnded, stream)


def test_end_stream_on_the_close_frame_leaves_ours_to_be_sent():
    # As Chromium does: half-closed, we still answer.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.h2.send_data(stream, masked(1, b"last") + masked(CLOSE, close_payload(1000)), end_stream=True)
    assert peer.deliver() == [(conn, Text("last")), (conn, Close(1000))]
    assert conn.state is State.REMOTE_CLOSING
    peer.hear(conn.send(Text("answer")))
    peer.hear(conn.send(Close(1000)))
    assert peer.data(stream) == b"\x81\x06answer\x88\x02\x03\xe8"
    assert peer.of(h2.events.StreamEnded, stream)
    assert stream not in peer.http._streams
    peer.open()


def test_end_stream_without_close_is_1006():
    # It is the TCP FIN of HTTP/1.1.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.h2.send_data(stream, masked(1, b"last"), end_stream=True)
    events = [event for _, event in peer.deliver()]
    assert events[0] == Text("last")
    assert fault(events).code == 1006
    assert conn.state is State.CLOSED
    assert peer.of(h2.events.StreamEnded, stream)
    assert stream not in peer.http._streams


def test_end_stream_leaves_what_we_have_sent_to_go_out():
    # It ends what the peer says, not what it hears.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.hear(conn.send(Text("x" * 100_000)))
    peer.h2.end_stream(stream)
    assert fault([event for _, event in peer.deliver()]).code == 1006
    assert not peer.of(h2.events.StreamEnded, stream)
    for number in (None, stream):
        peer.h2.increment_flow_control_window(100_000, number)
    peer.deliver()
    assert peer.data(stream) == b"\x81\x7f" + (100_000).to_bytes(8, "big") + b"x" * 100_000
    assert peer.of(h2.events.StreamEnded, stream)
    assert stream not in peer.http._streams


def test_end_stream_within_a_message_is_1006():
    peer = H2Peer(Role.CLIENT)
    stream, _ = peer.answer()
    peer.h2.send_data(stream, frame(1, b"cut")[:-1], end_stream=True)
    assert fault([event for _, event in peer.deliver()]).code == 1006
    assert stream not in peer.http._streams


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
@pytest.mark.parametrize("code", [ErrorCodes.CANCEL, ErrorCodes.NO_ERROR, ErrorCodes.PROTOCOL_ERROR, 0x1234])
def test_reset_is_1006(role, code):
    # §5: RST_STREAM with CANCEL is the TCP RST.
    peer = H2Peer(role)
    stream, conn = peer.open() if role is Role.SERVER else peer.answer()
    peer.h2.reset_stream(stream, code)
    events = peer.deliver()
    assert [it for it, _ in events] == [conn]
    assert fault([event for _, event in events]).code == 1006
    assert stream not in peer.http._streams
    assert conn.send(Text("x")) == b""
    assert conn.send(events[-1][1]) == b""
    with pytest.raises(LocalProtocolError):
        conn.send(Text("x"))


def test_reset_within_a_message_is_1006_and_hurts_no_other():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    other, fine = peer.open()
    peer.send(stream, masked(1, b"abc", fin=False))
    peer.h2.reset_stream(stream, ErrorCodes.CANCEL)
    assert fault([event for it, event in peer.deliver() if it is conn]).code == 1006
    assert peer.send(other, masked(1, b"hi")) == [(fine, Text("hi"))]


def test_messages_before_a_reset_in_one_read_are_not_lost():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.h2.send_data(stream, masked(1, b"abc"))
    peer.h2.reset_stream(stream, ErrorCodes.CANCEL)
    events = [event for it, event in peer.deliver() if it is conn]
    assert events[0] == Text("abc")
    assert fault(events).code == 1006


@pytest.mark.parametrize("code", [ErrorCodes.NO_ERROR, ErrorCodes.CANCEL])
def test_reset_behind_both_closes_is_clean(code):
    # As servers and gateways do: END_STREAM, then a reset at once.
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    peer.hear(conn.send(Close(1000)))
    peer.h2.send_data(stream, frame(CLOSE, close_payload(1000)))
    peer.h2.reset_stream(stream, code)
    events = [event for it, event in peer.deliver() if it is conn]
    assert events == [Close(1000)]
    assert conn.state is State.CLOSED
    assert stream not in peer.http._streams


def test_reset_behind_the_peers_close_ends_clean():
    # It wants no answer any more; to give one is no fault of ours.
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    peer.h2.send_data(stream, frame(CLOSE, close_payload(1001)))
    peer.h2.reset_stream(stream, ErrorCodes.NO_ERROR)
    assert [event for it, event in peer.deliver() if it is conn] == [Close(1001)]
    peer.hear(conn.send(Close(1001)))
    assert conn.state is State.CLOSED
    assert stream not in peer.http._streams


def test_stream_reset_while_it_is_closed_here_leaves_the_others():
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    other, fine = peer.answer()
    peer.hear(conn.abort())
    assert [it.error_code for it in peer.of(h2.events.StreamReset, stream)] == [ErrorCodes.CANCEL]
    assert conn.state is State.CLOSED
    assert peer.send(other, frame(1, b"x")) == [(fine, Text("x"))]


def test_abort_is_a_reset_with_cancel():
    # §5: an abort is a stream error of type CANCEL.
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.hear(conn.send(Text("a")))
    peer.hear(conn.abort())
    assert [it.error_code for it in peer.of(h2.events.StreamReset, stream)] == [ErrorCodes.CANCEL]
    assert conn.abort() == b""
    assert stream not in peer.http._streams


def test_abort_in_every_state():
    for prepare in [lambda c: None, lambda c: c.send(Close(1000))]:
        pair = opened(Http2)
        prepare(pair.client)
        pair.wire.to_server(pair.client.abort())
        assert pair.server.state is State.CLOSED
    http = Http2(Role.CLIENT)
    http.start()
    conn = http.open()
    assert conn.abort() == b""
    wire = Wire(Http2)
    conn = wire.client.open()
    wire.to_server(conn.send(UpgradeRequest("example.com")))
    wire.to_server(conn.abort())
    assert conn.state is State.CLOSED
    echo(Pair(wire))


def test_server_that_resets_a_request_it_was_not_answered_for():
    peer = H2Peer(Role.SERVER)
    stream = peer.ask()
    ((conn, _),) = peer.deliver()
    peer.h2.reset_stream(stream, ErrorCodes.CANCEL)
    assert fault([event for it, event in peer.deliver() if it is conn]).code == 1006
    for answer in (UpgradeAccept(), UpgradeReject(403), Text("x")):
        assert conn.send(answer) == b""
    assert peer.deliver() == []
    assert stream not in peer.http._streams


@pytest.mark.parametrize("code", [ErrorCodes.REFUSED_STREAM, ErrorCodes.HTTP_1_1_REQUIRED])
def test_request_that_is_refused_by_reset_says_why(code):
    # Drivers try HTTP/1.1 then.
    peer = H2Peer(Role.CLIENT)
    conn = peer.http.open()
    peer.hear(conn.send(UpgradeRequest("example.com")))
    peer.h2.reset_stream(1, code)
    error = fault([event for it, event in peer.deliver() if it is conn])
    assert error.code == 1006
    assert code.name in str(error)


def test_fault_of_the_peer_ends_its_stream_alone():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    other, fine = peer.open()
    ((it, failed),) = peer.send(stream, b"\x83\x80")
    assert it is conn
    peer.hear(conn.send(failed))
    assert peer.data(stream)[:4][-2:] == b"\x03\xea"
    assert peer.of(h2.events.StreamEnded, stream)
    assert peer.send(other, masked(1, b"hi")) == [(fine, Text("hi"))]
    assert not peer.http.done


def test_bytes_that_kill_others_hurt_their_stream_alone():
    # \x80\xff: a continuation of nothing, with a length to come.
    peer = H2Peer(Role.SERVER)
    stream, _ = peer.open()
    other, fine = peer.open()
    peer.send(stream, b"\x80\xff")
    assert peer.send(other, masked(1, b"hi")) == [(fine, Text("hi"))]


def test_data_after_both_closes_is_dropped_but_its_credit_comes_back():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.send(stream, masked(CLOSE, b""))
    peer.hear(conn.send(Close(None)))
    start = sum(peer.http._data_receiver.window(0))
    assert peer.send(stream, masked(1, b"late") * 100) == []
    peer.h2.end_stream(stream)
    assert peer.deliver() == []
    assert sum(peer.http._data_receiver.window(0)) == start
    assert stream not in peer.http._streams


def test_500_closes_leave_nothing_behind():
    wire = Wire(Http2)
    for i in range(500):
        pair = Pair(wire)
        assert pair.to_server(Text(str(i))) == [Text(str(i))]
        closing(pair)
        assert not wire.client._streams
        assert not wire.server._streams
    assert wire.client.h2.open_outbound_streams == 0
    assert wire.server.h2.open_inbound_streams == 0
    assert not wire.client.done


@pytest.mark.parametrize("how", ["reset", "reject", "abort", "fault", "end"])
def test_200_ends_of_any_kind_leave_nothing_behind(how):
    peer = H2Peer(Role.SERVER)
    for _ in range(200):
        if how == "reject":
            stream = peer.ask([*CONNECT[:5]])
            peer.deliver()
            continue
        stream, conn = peer.open()
        if how == "reset":
            peer.h2.reset_stream(stream, ErrorCodes.CANCEL)
            peer.deliver()
        elif how == "abort":
            peer.hear(conn.abort())
        elif how == "fault":
            ((_, failed),) = peer.send(stream, b"\x83")
            peer.hear(conn.send(failed))
            peer.h2.end_stream(stream)
            peer.deliver()
        else:
            peer.h2.end_stream(stream)
            peer.deliver()
    assert not peer.http._streams
    assert peer.http.h2.open_inbound_streams == 0


@pytest.mark.parametrize(
    "limits", [{"server": {"max_concurrent_streams": 2}}, {"client": {"max_concurrent_streams": 2}}]
)
def test_more_handshakes_than_streams_wait_their_turn(limits):
    wire = Wire(Http2, **limits)
    one, two = Pair(wire), Pair(wire)
    conn = wire.client.open()
    assert wire.to_server(conn.send(UpgradeRequest("example.com", "/third"))) == []
    assert conn.state is State.REQUESTED
    (close,) = one.to_server(Close(1000))
    one.to_client(close)
    assert [event.target for _, event in wire.server_said if type(event) is UpgradeRequest] == ["/third"]
    wire.server_said.clear()
    echo(two)


def test_goaway_lets_open_websockets_go_on_to_their_end():
    # RFC 9113 §6.8
    pair = opened(Http2)
    pair.wire.to_client(pair.wire.server.shutdown())
    assert pair.wire.client.can_open is False
    with pytest.raises(LocalProtocolError):
        pair.wire.client.open()
    echo(pair)
    closing(pair)
    assert pair.wire.client.done
    assert pair.wire.server.done


def test_goaway_of_the_client_lets_open_websockets_go_on_to_their_end():
    pair = opened(Http2)
    pair.wire.to_server(pair.wire.client.shutdown())
    echo(pair)
    closing(pair)
    assert pair.wire.client.done
    assert pair.wire.server.done


def test_goaway_of_both_lets_open_websockets_go_on_to_their_end():
    pair = opened(Http2)
    pair.wire.to_client(pair.wire.server.shutdown())
    pair.wire.to_server(pair.wire.client.shutdown())
    echo(pair)
    closing(pair)
    assert pair.wire.client.done
    assert pair.wire.server.done


def test_goaway_loses_streams_above_its_last():
    peer = H2Peer(Role.CLIENT)
    _, seen = peer.answer()
    unseen = peer.http.open()
    peer.hear(unseen.send(UpgradeRequest("example.com")))
    goaway = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + (1).to_bytes(4, "big") + bytes(4)
    events, _ = peer.http.receive(goaway)
    assert fault([event for it, event in events if it is unseen]).code == 1006
    assert seen.state is State.OPEN
    events, _ = peer.http.receive(b"\x00\x00\x03\x00\x00\x00\x00\x00\x01" + frame(1, b"x"))
    assert events == [(seen, Text("x"))]
    assert not peer.http.done
    seen.abort()
    assert peer.http.done


def test_goaway_loses_ordinary_requests_above_its_last():
    # REFUSED_STREAM says that the request may be made again (RFC 9113 §8.7).
    peer = H2Peer(Role.CLIENT)
    _, seen = peer.answer()
    get = Request("GET", "/", (("host", "example.com"),))
    kept, data = peer.http.request(get)
    peer.hear(data)
    lost, data = peer.http.request(get)
    peer.hear(data)
    post, data = peer.http.request(Request("POST", "/", (("host", "example.com"),), bytes(100_000)))
    peer.hear(data)
    by_hand = peer.http.h2.get_next_available_stream_id()
    peer.http.h2.send_headers(by_hand, GET, end_stream=True)
    peer.hear(peer.http.h2.data_to_send())
    events, _ = peer.http.receive(b"\0\0\x08\x07\0\0\0\0\0" + kept.to_bytes(4, "big") + bytes(4))
    assert [type(event) for _, event in events] == [h2.events.ConnectionTerminated] + [MessageReset] * 3
    assert [(event.stream, event.code) for _, event in events[1:]] == [
        (number, ErrorCodes.REFUSED_STREAM) for number in (lost, post, by_hand)
    ]
    assert set(peer.http._streams) == set(peer.http.h2.streams) == {1, kept}
    assert seen.state is State.OPEN
    events, _ = peer.http.receive(
        h2_frame(HEADERS, END_HEADERS | END_STREAM, kept, peer.h2.encoder.encode([(":status", "204")]))
    )
    assert [made.status for _, event in events if (made := peer.http.collect(event))] == [204]


def one_at_a_time(count: int):
    """A client of ours that may have one stream, which carries a WebSocket, and so many handshakes that wait for it."""
    peer = H2Peer(Role.CLIENT, {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    stream, conn = peer.answer()
    # What the peer is said to send by hand it does not know of.
    peer.h2.local_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    peer.h2.local_settings.acknowledge()
    waiting = [peer.http.open() for _ in range(count)]
    for i, it in enumerate(waiting):
        assert it.send(UpgradeRequest("example.com", f"/{i}")) == b""
    return peer, stream, conn, waiting


def asked(peer: H2Peer) -> list[str]:
    """The targets of the requests that the peer has heard, but the first."""
    return [dict(it.headers)[":path"] for it in peer.of(h2.events.RequestReceived)[1:]]


def test_goaway_loses_handshakes_that_wait():
    peer, _, conn, waiting = one_at_a_time(2)
    events, reply = peer.http.receive(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\0\0\0\x01" + bytes(4))
    assert [(it, event.error.code) for it, event in events if type(event) is Failed] == [(it, 1006) for it in waiting]
    assert reply == b""
    assert conn.state is State.OPEN
    # The stream that becomes free is not theirs any more.
    assert [kind for kind, *_ in h2_frames(conn.abort())] == [RST_STREAM]
    assert peer.http.done


END = {
    "abort": lambda peer, stream, conn: conn.abort(),
    "reset": lambda peer, stream, conn: peer.http.receive(h2_frame(RST_STREAM, 0, stream, bytes(4)))[1],
    "both Closes, ours last": lambda peer, stream, conn: (
        peer.http.receive(h2_frame(DATA, END_STREAM, stream, frame(CLOSE, close_payload(1000)))),
        conn.send(Close(1000)),
    )[1],
    "both Closes, theirs last": lambda peer, stream, conn: (
        conn.send(Close(1000))
        + peer.http.receive(h2_frame(DATA, END_STREAM, stream, frame(CLOSE, close_payload(1000))))[1]
    ),
    "END_STREAM": lambda peer, stream, conn: peer.http.receive(h2_frame(DATA, END_STREAM, stream))[1],
    "a fault": lambda peer, stream, conn: peer.http.receive(h2_frame(WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff"))[1],
    "more DATA than there is credit for": lambda peer, stream, conn: peer.http.receive(
        h2_frame(DATA, 0, stream, bytes(16384)) * 17
    )[1],
}


@pytest.mark.parametrize("end", END.values(), ids=END)
def test_handshake_that_waits_goes_out_with_the_bytes_that_free_a_stream(end):
    peer, stream, conn, waiting = one_at_a_time(2)
    peer.hear(end(peer, stream, conn))
    assert asked(peer) == ["/0"]
    peer.hear(waiting[0].abort())
    assert asked(peer) == ["/0", "/1"]
    assert peer.http.h2.open_outbound_streams == 1


def test_handshake_that_waits_goes_out_when_an_ordinary_request_has_ended():
    peer = H2Peer(Role.CLIENT, {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    number, data = peer.http.request(Request("GET", "/", (("host", "example.com"),)))
    peer.hear(data)
    assert peer.http.open().send(UpgradeRequest("example.com", "/0")) == b""
    with pytest.raises(LocalProtocolError):
        peer.http.request(Request("GET", "/", (("host", "example.com"),)))
    peer.h2.send_headers(number, [(":status", "204")], end_stream=True)
    peer.deliver()
    assert asked(peer) == ["/0"]


def test_handshake_queues_behind_those_that_wait():
    peer, _, conn, _ = one_at_a_time(2)
    peer.http.h2.reset_stream(1)
    last = peer.http.open()
    peer.hear(last.send(UpgradeRequest("example.com", "/last")))
    assert asked(peer) == ["/0"]
    assert last.state is State.REQUESTED
    assert conn.abort() == b""


def test_handshake_that_waits_and_is_aborted_is_not_sent():
    peer, _, conn, waiting = one_at_a_time(3)
    assert waiting[0].abort() == waiting[2].abort() == b""
    peer.hear(conn.abort())
    assert asked(peer) == ["/1"]
    assert not peer.http._streams.waiting


def test_handshakes_that_wait_fail_behind_our_goaway():
    # With the next bytes that come, or with the end.
    for data, kinds in [(h2_frame(H2_PING, 1, 0, bytes(8)), 0), (b"", 1)]:
        peer, _, conn, waiting = one_at_a_time(2)
        peer.http.shutdown()
        assert waiting[0].state is State.REQUESTED
        events, _ = peer.http.receive(data)
        failed = [it for it, event in events if type(event) is Failed]
        assert failed[kinds:] == waiting
        assert all(it.state is State.CLOSED for it in waiting)
        assert asked(peer) == []
        conn.abort()
        assert peer.http.done


def test_no_stream_is_begun_when_the_numbers_are_used_up():
    # RFC 9113 §5.1.1: another connection is made.
    peer, _, conn, waiting = one_at_a_time(2)
    early = peer.http.open()
    peer.http.h2.highest_outbound_stream_id = (1 << 31) - 3
    out = h2_frames(conn.abort())
    assert [(kind, number) for kind, _, number, _ in out] == [(RST_STREAM, 1), (HEADERS, (1 << 31) - 1)]
    assert peer.http.can_open is False
    for call in (
        peer.http.open,
        lambda: early.send(UpgradeRequest("example.com")),
        lambda: peer.http.request(Request("GET", "/", (("host", "example.com"),))),
    ):
        with pytest.raises(LocalProtocolError):
            call()
    assert early.state is State.CONNECTING
    events, _ = peer.http.receive(h2_frame(H2_PING, 1, 0, bytes(8)))
    assert [(it, event.error.code) for it, event in events if it is not None] == [(waiting[1], 1006)]
    assert waiting[0].state is State.REQUESTED
    assert not peer.http.done


def test_goaway_within_a_message_leaves_the_message():
    peer = H2Peer(Role.CLIENT)
    stream, conn = peer.answer()
    data = frame(1, b"whole message")
    peer.send(stream, data[:5])
    peer.http.receive(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + stream.to_bytes(4, "big") + bytes(4))
    rest = data[5:]
    events, _ = peer.http.receive(len(rest).to_bytes(3, "big") + b"\x00\x00" + stream.to_bytes(4, "big") + rest)
    assert events == [(conn, Text("whole message"))]


def test_goaway_in_two_steps():
    # A server says 2^31-1 first, so that requests on their way are not lost.
    peer = H2Peer(Role.CLIENT)
    _, conn = peer.answer()
    for last in [(1 << 31) - 1, 1]:
        peer.http.receive(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + last.to_bytes(4, "big") + bytes(4))
    assert conn.state is State.OPEN
    assert conn.send(Text("x")) != b""


def test_requests_after_our_goaway_are_refused():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.http.shutdown()
    late = peer.ask()
    assert [event for it, event in peer.deliver() if it not in (None, conn)] == []
    assert [it.error_code for it in peer.of(h2.events.StreamReset, late)] == [ErrorCodes.REFUSED_STREAM]
    assert peer.send(stream, masked(1, b"hi")) == [(conn, Text("hi"))]


def test_shutdown_without_websockets_is_done():
    wire = Wire(Http2)
    assert not wire.server.done
    assert wire.server.shutdown() != b""
    assert wire.server.done
    assert wire.server.shutdown() == b""


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_transport_that_ends_loses_every_websocket(role):
    peer = H2Peer(role)
    conns = [(peer.open() if role is Role.SERVER else peer.answer())[1] for _ in range(3)]
    events, reply = peer.http.receive(b"")
    assert reply == b""
    assert {it for it, _ in events if it is not None} == set(conns)
    assert all(event.error.code == 1006 for it, event in events if it in conns)
    assert peer.http.done
    assert peer.http.receive(b"") == ([], b"")
    assert peer.http.receive(b"more") == ([], b"")
    for conn in conns:
        assert conn.abort() == b""
        with pytest.raises(LocalProtocolError):
            conn.send(Text("x"))


def test_transport_that_ends_behind_the_peers_close_is_clean():
    peer = H2Peer(Role.SERVER)
    stream, conn = peer.open()
    peer.send(stream, masked(CLOSE, close_payload(1000)))
    events, _ = peer.http.receive(b"")
    assert [event for it, event in events if it is conn] == []
    assert conn.send(Close(1000)) == b""
    assert conn.state is State.CLOSED


def test_close_goes_out_behind_data_that_waits_for_the_window():
    # Never a reset or END_STREAM before what was queued.
    peer = H2Peer(Role.SERVER, {4: 10})
    stream, conn = peer.open()
    peer.hear(conn.send(Text("x" * 100)))
    assert conn.buffered == 92
    peer.send(stream, masked(CLOSE, close_payload(1000)))
    peer.hear(conn.send(Close(1000)))
    assert not peer.of(h2.events.StreamEnded, stream)
    while conn.buffered:
        peer.h2.increment_flow_control_window(7, stream)
        peer.deliver()
    assert peer.data(stream) == b"\x81\x64" + b"x" * 100 + b"\x88\x02\x03\xe8"
    assert peer.of(h2.events.StreamEnded, stream)
    assert not peer.of(h2.events.StreamReset, stream)
