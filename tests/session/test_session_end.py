"""How a transport is closed: who closes it, what is said last, and whether it is read on, on a clock that the tests move."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from session.test_session_transport import TIMING, open_http1, open_http2, server, transport, until
from wire import GOAWAY, h2_frame, h2_frames

from mintws import Close, Http1, Http2, Role
from mintws.events import Response
from mintws.session import ClientSession, Due, Step
from mintws.session.linger import LINGER, QUIET

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def client(carrier=None):
    session = ClientSession(0.0, TIMING)
    session.http = carrier
    return session


def websocket(connection):
    return SimpleNamespace(connection=connection, _paused=False)


def closed_websocket(role):
    """Give the session of one side whose WebSocket has ended with both Closes, and its transport."""
    asks, answers, theirs, ours = open_http1()
    [(_, close)], _ = answers.receive(theirs.send(Close(1000)))
    asks.receive(ours.send(close))
    if role is Role.CLIENT:
        return client(asks), theirs
    return server(answers), ours


@pytest.mark.parametrize(("half_closes", "step"), [(True, Step.LINGER), (False, Step.CLOSE)])
def test_a_server_closes_first_and_tells_the_client_where_it_can(half_closes, step):
    # RFC 6455 §7.1.1
    session, connection = closed_websocket(Role.SERVER)
    known = transport(half_closes=half_closes, websockets=[websocket(connection)])
    assert session.close_if_done(1, known) == Due(b"", step)
    known.closing = True
    cut = 1 + (LINGER if half_closes else TIMING.close_timeout)
    assert until(session, 100, known) == [(cut, b"", Step.CUT)]


def test_a_client_waits_for_the_server_to_close_for_the_close_timeout():
    # RFC 6455 §7.1.1
    session, connection = closed_websocket(Role.CLIENT)
    known = transport(websockets=[websocket(connection)])
    assert session.close_if_done(1, known) == Due()
    assert session.close_if_done(2, known) is None, "the time that is set stays"
    assert until(session, 100, known) == [(1 + TIMING.close_timeout, b"", Step.CUT)]


@pytest.mark.parametrize("half_closes", [True, False])
def test_after_a_fault_of_the_peer_the_transport_is_read_on(half_closes):
    # RFC 9112 §9.6
    _, http, _, ours = open_http1()
    [(_, failed)], _ = http.receive(b"\x81\x02no")
    ours.send(failed)
    session, known = server(http), transport(half_closes=half_closes)
    assert session.close_if_done(1, known) == Due(b"", Step.LINGER)
    known.closing = True
    steps = until(session, 100, known)
    if half_closes:
        assert steps == [(1 + LINGER, b"", Step.CUT)]
    else:
        assert steps == [(1 + QUIET, b"", Step.CLOSE), (1 + QUIET + TIMING.close_timeout, b"", Step.CUT)]


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_after_a_fault_of_http2_the_transport_is_read_on(role):
    # RFC 9113 §5.4.1
    theirs, ours, _, _ = open_http2()
    http = theirs if role is Role.CLIENT else ours
    http.receive(h2_frame(6, 0, 0, b"x"))
    session = client(http) if role is Role.CLIENT else server(http)
    assert session.close_if_done(1, transport()).step is Step.LINGER


@pytest.mark.parametrize("half_closes", [True, False])
def test_a_peer_that_has_ended_its_half_is_not_read_on(half_closes):
    session, _ = closed_websocket(Role.SERVER)
    known = transport(half_closes=half_closes)
    assert session.receive_eof(known) is half_closes, (
        "our half stays open, where it can, for what is still to be written"
    )
    assert session.close_if_done(1, known) == Due(b"", Step.CLOSE)


def test_our_half_does_not_stay_open_once_the_transport_ends():
    session, known = server(Http1(Role.SERVER)), transport()
    session.close(1, known)
    assert not session.receive_eof(known)


def test_a_request_before_the_end_of_the_clients_half_is_still_answered():
    http = Http1(Role.SERVER)
    session, known = server(http), transport()
    [request] = filter(None, [http.collect(event) for _, event in http.receive(GET)[0]])
    assert session.receive_eof(known)
    http.receive(b"")
    assert session.close_if_done(1, known) is None
    http.respond(request, Response(200))
    assert session.close_if_done(2, known) == Due(b"", Step.CLOSE)


def test_the_last_word_over_http2_is_a_goaway():
    # RFC 9113 §6.8
    _, http, _, _ = open_http2()
    data, step = server(http).close(1, transport())
    assert [kind for kind, *_ in h2_frames(data)] == [GOAWAY] and step is Step.LINGER


def test_the_last_word_to_half_a_head_is_a_408():
    # RFC 9110 §15.5.9
    http = Http1(Role.SERVER)
    http.receive(GET[:10])
    data, step = server(http).close(1, transport())
    assert data.startswith(b"HTTP/1.1 408 ") and step is Step.LINGER


def test_a_transport_that_is_not_spoken_on_yet_is_closed_without_a_word():
    assert server().close(1, transport()) == Due(b"", Step.CLOSE)
    assert server().leave(1, transport()) == Due(b"", Step.CLOSE)
    assert server().close_if_done(1, transport()) is None


@pytest.mark.parametrize("gone", ["closing", "lost"])
def test_a_transport_is_closed_once(gone):
    session, _ = closed_websocket(Role.SERVER)
    known = transport(**{gone: True})
    assert session.close(1, known) is None
    assert session.close_if_done(1, known) is None


def test_a_server_that_leaves_closes_what_carries_nothing_at_once():
    assert server(Http1(Role.SERVER)).leave(1, transport()).step is Step.LINGER


def test_a_server_that_leaves_answers_what_it_was_asked():
    http = Http1(Role.SERVER)
    session = server(http)
    [request] = filter(None, [http.collect(event) for _, event in http.receive(GET)[0]])
    session.limit_requests(1, transport(busy=True))
    assert session.leave(2, transport(busy=True)) == Due()
    assert b"Connection: close" in http.respond(request, Response(200))
    assert session.limit_requests(3, transport()).step is Step.LINGER


def test_a_response_that_the_client_still_takes_is_not_cut_short():
    http = Http1(Role.SERVER)
    session, known = server(http), transport(unsent=1 << 20)
    [request] = filter(None, [http.collect(event) for _, event in http.receive(GET)[0]])
    session.leave(1, known)
    http.respond(request, Response(200))
    session.await_room(1, known)
    assert session.close_if_done(2, known) is None
    session.taken()
    assert session.close_if_done(3, known) == Due(b"", Step.LINGER)


def test_what_comes_while_the_transport_ends_is_read():
    session, known = server(Http1(Role.SERVER)), transport(full=True)
    assert not session.is_reading(known)
    session.close(1, known)
    assert session.is_reading(known)


def test_a_client_that_parts_says_so():
    # RFC 9113 §6.8
    http, _, _, _ = open_http2()
    data, step = client(http).part(1, transport())
    assert [kind for kind, *_ in h2_frames(data)] == [GOAWAY] and step is None


@pytest.mark.parametrize(("made", "frames"), [(Http1, []), (Http2, [6])])
def test_beneath_the_websockets_a_peer_is_asked_by_a_ping_of_http2(made, frames):
    # RFC 9113 §6.7
    http = made(Role.CLIENT)
    http.start()
    assert [kind for kind, *_ in h2_frames(http.probe())] == frames
