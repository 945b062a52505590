"""What is due on a transport, and when it is read, on a clock that the tests move."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mintws import Close, Http1, Http2, Role, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.events import Response
from mintws.session import (
    PARTING,
    REFILL_INTERVAL,
    REFUSAL_WAIT,
    REPLIES_HIGH,
    UNDECODED_HIGH,
    ClientSession,
    Due,
    ServerSession,
    Step,
    Timeouts,
)
from mintws.session.linger import LINGER

TIMING = Timeouts(open_timeout=10, close_timeout=5, idle_timeout=60, half_closed_timeout=0.2)


def transport(**known):
    state = {"heard": 0, "buffered": 0, "unsent": 0, "busy": False, "full": False, "websockets": []}
    return SimpleNamespace(**{**state, "closing": False, "lost": False, "half_closes": True, **known})


def server(carrier=None):
    session = ServerSession(0.0, TIMING)
    session.http = carrier
    return session


def until(session, end, known=None):
    """Give what is written, and the steps, up to a time."""
    done, known = [], known or transport()
    for _ in range(1000):
        now = session.deadline
        if now is None or now > end:
            return done
        assert session.expire(now - 0.001, known) == Due(), "a timer that fires early does nothing"
        data, step = session.expire(now, known)
        if data or step is not None:
            done.append((now, data, step))
        known.closing = known.closing or step in (Step.CLOSE, Step.LINGER)
        if step is Step.CUT:
            return done
    raise AssertionError("it does not come to its end")


def test_a_client_that_asks_for_nothing_has_the_open_timeout():
    session = server()
    assert session.deadline is None
    session.begin(2)
    assert until(session, 100) == [(12, b"", Step.CLOSE), (17, b"", Step.CUT)]


def test_a_connection_that_carries_nothing_any_more_has_the_idle_timeout():
    session = server(Http1(Role.SERVER))
    session.begin(0)
    session.limit_requests(3, transport())
    assert until(session, 100) == [(63, b"", Step.LINGER), (63 + LINGER, b"", Step.CUT)]


def test_a_connection_that_is_busy_is_not_idle():
    session = server(Http1(Role.SERVER))
    session.begin(0)
    session.limit_requests(3, transport(busy=True))
    assert session.deadline is None


def test_a_body_that_does_not_come_is_answered_with_408():
    http = Http1(Role.SERVER)
    events, _ = http.receive(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nx")
    assert [http.collect(event) for _, event in events] == [None, None]
    session = server(http)
    session.limit_requests(1, transport())
    (at, data, step), *_ = until(session, 50)
    assert at == pytest.approx(11, abs=0.01) and step is Step.LINGER
    assert data.startswith(b"HTTP/1.1 408 ") and data.endswith(b"the request took too long\n")


def test_a_client_that_takes_nothing_of_a_response_is_cut():
    session = server(Http1(Role.SERVER))
    known = transport(unsent=1 << 20, busy=True)
    session.await_room(1, known)
    assert until(session, 100, known) == [(61, b"", Step.CUT)]


def test_a_client_that_takes_a_response_is_not_cut():
    session = server(Http1(Role.SERVER))
    session.await_room(1, transport(unsent=1 << 20, busy=True))
    assert until(session, 100, transport(unsent=1 << 19, busy=True)) == []
    session.taken()
    assert session.deadline is None


def open_http1():
    """Open a WebSocket over HTTP/1.1; give both carriers and both connections."""
    client, http = Http1(Role.CLIENT), Http1(Role.SERVER)
    theirs = client.open()
    [(ours, _)], _ = http.receive(theirs.send(UpgradeRequest("x")))
    client.receive(ours.send(UpgradeAccept()))
    return client, http, theirs, ours


def open_http2(answer=True):
    """Open a WebSocket over HTTP/2; give both carriers and both connections."""
    client, http = Http2(Role.CLIENT), Http2(Role.SERVER)
    hello = client.start()
    client.receive(http.start())
    theirs = client.open()
    _, reply = http.receive(hello)
    client.receive(reply)
    events, _ = http.receive(theirs.send(UpgradeRequest("x")))
    [ours] = [connection for connection, event in events if isinstance(event, UpgradeRequest)]
    if answer:
        client.receive(ours.send(UpgradeAccept()))
    return client, http, theirs, ours


def test_a_stream_that_the_client_leaves_open_is_reset():
    _, http, theirs, ours = open_http2()
    session = server(http)
    assert session.limit_half_closed(0, transport()) is None
    # The client's Close comes, and not the end of its stream.
    [(_, close)], _ = http.receive(theirs.send(Close(1000))[: 9 + 8])
    ours.send(close)
    assert session.limit_half_closed(1, transport()) == Due()
    assert session.limit_half_closed(1.1, transport()) is None
    done = until(session, 100)
    # RST_STREAM, NO_ERROR
    assert [(data[3], data[9:13]) for _, data, _ in done] == [(3, bytes(4))]
    assert 1.2 <= done[0][0] <= 1.4 + 1e-9
    assert session.deadline is None


@pytest.mark.parametrize("ended", [False, True])
def test_a_stream_that_the_server_does_not_end_is_reset_after_the_close_timeout(ended):
    client, http, theirs, ours = open_http2()
    session = ClientSession(0.0, TIMING)
    session.http = client
    [(_, close)], _ = http.receive(theirs.send(Close(1000)))
    answer = ours.send(close)
    client.receive(answer if ended else answer[:-9])
    session.sweep_later(1, theirs)
    done = until(session, 100)
    assert [(at, data[3]) for at, data, _ in done] == ([] if ended else [(6, 3)])


def test_a_transport_that_was_closed_is_cut_after_the_close_timeout():
    session = server(Http1(Role.SERVER))
    session.begin(0)
    known = transport(half_closes=False)
    assert session.close(2, known) == Due(b"", Step.CLOSE)
    known.closing = True
    assert until(session, 100, known) == [(7, b"", Step.CUT)]


def test_a_transport_that_is_lost_is_waited_for_no_more():
    session = server(Http1(Role.SERVER))
    session.begin(0)
    session.close(2, transport())
    session.lose()
    assert session.deadline is None


def parted(now):
    """Make the session of a client whose WebSocket has ended now."""
    session = ClientSession(0.0, TIMING)
    session.http, *_ = open_http1()
    assert session.part(now, transport()) == Due()
    assert session.part(now + 1, transport()) is None
    return session


def test_a_websocket_is_let_go_while_its_transport_waits_for_the_server():
    session = parted(1)
    assert until(session, 100) == [(1 + PARTING, b"", Step.LET_GO), (6, b"", Step.CUT)]


def test_a_websocket_whose_close_still_waits_to_be_written_is_not_let_go():
    session = parted(1)
    assert session.expire(1 + PARTING, transport(buffered=6)) == Due()
    assert session.deadline == pytest.approx(1 + 2 * PARTING)
    assert session.expire(session.deadline, transport()) == (b"", Step.LET_GO)


def test_a_refusal_is_told_though_its_body_does_not_end():
    client, _, theirs, ours = open_http2(answer=False)
    client.receive(ours.send(UpgradeReject(503, body=b"x"))[:-1])
    assert theirs.refusal is not None
    session = ClientSession(0.0, TIMING)
    session.refuse(1, theirs)
    session.refuse(1.5, theirs)
    assert session.deadline == 1 + REFUSAL_WAIT
    assert session.refused(1.9) == []
    assert session.refused(2) == [theirs]
    assert session.deadline is None


def test_a_refusal_that_is_whole_is_forgotten():
    _, _, theirs, _ = open_http2(answer=False)
    session = ClientSession(0.0, TIMING)
    session.refuse(1, theirs)
    session.forget(theirs)
    assert session.deadline is None


@pytest.mark.parametrize(("now", "times"), [(REFILL_INTERVAL - 1, 0), (REFILL_INTERVAL, 1)])
def test_frames_that_do_nothing_are_forgiven_in_time(monkeypatch, now, times):
    refilled = []
    monkeypatch.setattr(Http2, "refill", lambda _: refilled.append(1))
    session = server(Http2(Role.SERVER))
    session.receive_chunk(now, crowded=False, replied=0)
    session.receive_chunk(now, crowded=False, replied=0)
    assert len(refilled) == times


def test_a_peer_that_takes_nothing_and_makes_us_write_is_not_read():
    http = Http1(Role.SERVER)
    session, websockets = server(http), [SimpleNamespace(_paused=False, connection=None)]
    assert not session.receive_chunk(0, crowded=False, replied=REPLIES_HIGH)
    assert session.is_reading(transport(websockets=websockets, full=True))
    assert session.receive_chunk(0, crowded=False, replied=1)
    assert not session.is_reading(transport(websockets=websockets, full=True))
    assert session.is_reading(transport(websockets=websockets))
    session.taken()
    assert session.is_reading(transport(websockets=websockets, full=True))
    # What is no WebSocket is answered by a server; a client's requests are its own.
    assert not session.is_reading(transport(full=True))
    client = ClientSession(0.0, TIMING)
    client.http = Http2(Role.CLIENT)
    assert client.is_reading(transport(full=True))


@pytest.mark.parametrize(("held", "reading"), [(UNDECODED_HIGH - 1, True), (UNDECODED_HIGH, False)])
def test_behind_messages_that_wait_a_little_more_is_read(held, reading):
    http = SimpleNamespace(reading=False)
    session = server(http)
    websockets = [SimpleNamespace(_paused=True, connection=SimpleNamespace(undelivered_bytes=held))]
    assert session.receive_chunk(0, crowded=False, replied=0)
    assert session.is_reading(transport(websockets=websockets)) is reading


def test_an_answered_request_leaves_the_connection_idle():
    http = Http1(Role.SERVER)
    [(_, event)], _ = http.receive(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
    session = server(http)
    assert http.collect(event) is None
    session.limit_requests(0, transport())
    assert session.awaits_requests
    events, _ = http.receive(b"x")
    request = next(filter(None, [http.collect(event) for _, event in events]))
    http.respond(request, Response(200))
    session.limit_requests(1, transport())
    assert not session.awaits_requests
    assert session.deadline == 1 + TIMING.idle_timeout
