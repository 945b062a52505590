"""When a WebSocket is closed, its Close answered, or given up, on a clock that the tests move (RFC 6455 §7)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mintws import Close, Failed, Http1, LocalProtocolError, Role, State, Text, UpgradeAccept, UpgradeRequest
from mintws.session import GRACE, READER_WAIT, Order, Timeouts, WebSocketSession

TIMEOUT = 10.0
DONE = Close(1000, "done")


class Ends:
    """A WebSocket with its session, and the peer's end of it; messages and transport are what a test says."""

    def __init__(self, **timeouts):
        client, server = Http1(Role.CLIENT), Http1(Role.SERVER)
        self.peer = client.open()
        [(ours, _)], _ = server.receive(self.peer.send(UpgradeRequest("example.com")))
        client.receive(ours.send(UpgradeAccept()))
        self.carrier, self.connection = server, ours
        self.transport = SimpleNamespace(
            lost=False, closing=False, multiplexed=False, heard=0, written=0, unsent=0, is_reading=True
        )
        self.messages = SimpleNamespace(_waiting=0, _taken=0, _paused=False, _awaited=False, _owes_answer=False)
        timeouts = Timeouts(close_timeout=TIMEOUT, **{"ping_interval": None, **timeouts})
        self.session = WebSocketSession(0.0, ours, self.transport, timeouts)

    def receive(self, now, data):
        events, _ = self.carrier.receive(data)
        return self.session.receive_close(now, events[-1][1], self.messages)

    def expire(self, now):
        return self.session.expire(now, self.messages)

    def until(self, end):
        """Give the orders up to a time, each with its time."""
        orders = []
        for _ in range(1000):
            now = self.session.deadline
            if now is None or now > end:
                return orders
            assert self.expire(now - 0.001) is None, "a timer that fires early does nothing"
            ordered = self.expire(now)
            if ordered is not None:
                orders.append((now, ordered))
        raise AssertionError("it does not come to its end")


@pytest.fixture
def ends():
    return Ends()


def test_a_close_is_answered_at_once_where_nothing_is_unread(ends):
    assert ends.receive(1, ends.peer.send(DONE)) == DONE
    assert ends.session.ending.clean
    assert ends.connection.state is State.CLOSED
    assert ends.session.deadline is None


def test_a_close_is_answered_at_once_where_a_reader_waits_though_it_has_not_answered(ends):
    ends.messages._owes_answer = ends.messages._awaited = True
    assert ends.receive(1, ends.peer.send(DONE)) == DONE


@pytest.mark.parametrize("why", ["unread", "unanswered"])
def test_a_close_after_messages_is_answered_after_a_grace(ends, why):
    ends.messages._waiting, ends.messages._owes_answer = int(why == "unread"), why == "unanswered"
    assert ends.receive(1, ends.peer.send(DONE)) is None
    assert ends.until(100) == [(1 + GRACE, DONE)]


@pytest.mark.parametrize("timeout", [0.5, 10.0])
def test_an_application_that_takes_messages_gets_more_time_within_the_close_timeout(timeout):
    ends = Ends()
    ends.session._timeout = timeout
    ends.messages._waiting = 1000
    assert ends.receive(0, ends.peer.send(DONE)) is None
    orders = []
    while (now := ends.session.deadline) is not None:
        ends.messages._taken += 1
        ordered = ends.expire(now)
        if ordered is not None:
            orders.append((now, ordered))
    assert orders == [(timeout - min(GRACE, timeout / 2), DONE)]


def test_an_application_that_stops_taking_messages_gets_no_more_time(ends):
    ends.messages._waiting = 1000
    ends.receive(0, ends.peer.send(DONE))
    for now in (GRACE, 2 * GRACE):
        ends.messages._taken += 1
        assert ends.expire(now) is None
    assert ends.until(100) == [(3 * GRACE, DONE)]


def test_a_close_is_answered_when_the_application_says_so(ends):
    ends.messages._waiting = 1
    ends.receive(0, ends.peer.send(DONE))
    assert ends.session.answer() == DONE
    assert ends.session.answer() is None
    assert ends.session.deadline is None


def test_closing_answers_a_close_that_has_come(ends):
    ends.messages._waiting = 1
    ends.receive(0, ends.peer.send(DONE))
    assert ends.session.close(1, 4000, "other") == DONE


def test_a_fault_is_answered_with_its_code(ends):
    assert ends.receive(0, b"\x81\x02no").code == 1002
    assert (ends.session.ending.code, ends.session.ending.sent.code) == (1002, 1002)


def test_the_loss_of_the_transport_is_answered_to_nobody(ends):
    assert ends.receive(0, b"") is None
    assert (ends.session.ending.code, ends.session.ending.sent) == (1006, None)
    with pytest.raises(LocalProtocolError):
        ends.connection.send(Text("late"))


def test_an_answer_that_nobody_gets_is_none_of_ours(ends):
    ends.messages._waiting = 1
    ends.receive(0, ends.peer.send(DONE))
    ends.transport.lost = True
    assert ends.session.finish(0.1, ends.messages) is Order.FLUSH
    assert not ends.session.ending.clean
    assert ends.session.is_over


def test_a_peer_that_does_not_close_is_given_up(ends):
    assert ends.session.close(5, 4000, "enough") == Close(4000, "enough")
    assert ends.until(100) == [(5 + TIMEOUT, Order.ABORT)]
    assert ends.session.ending.cause == "the peer did not close in time"


def test_a_peer_that_closes_is_not_given_up(ends):
    close = ends.session.close(5)
    assert ends.receive(6, ends.peer.send(close)) is None
    assert ends.session.deadline is None
    assert ends.session.ending.clean


def test_a_wrong_close_changes_nothing(ends):
    with pytest.raises(LocalProtocolError):
        ends.session.close(0, 999)
    assert (ends.connection.state, ends.session.deadline, ends.session.ending.sent) == (State.OPEN, None, None)


@pytest.mark.parametrize("gone", ["lost", "closing"])
def test_a_transport_that_takes_nothing_is_sent_no_close(ends, gone):
    setattr(ends.transport, gone, True)
    assert ends.session.close(0) is None
    assert ends.session.ending.sent is None


@pytest.mark.parametrize(("taken", "wait"), [(0, READER_WAIT), (1, GRACE)])
def test_messages_that_nobody_takes_are_dropped_for_a_task_that_awaits_the_end(ends, taken, wait):
    ends.messages._waiting, ends.messages._taken = 300, taken
    assert ends.session.begin_wait(2, ends.messages) is None
    assert ends.until(100) == [(2 + wait, Order.ABANDON)]
    # The peer's Close is not kept from it by what is still there.
    assert ends.receive(50, ends.peer.send(DONE)) == DONE


@pytest.mark.parametrize("sign", ["_taken", "_awaited"])
def test_messages_are_kept_where_a_reader_shows_itself(ends, sign):
    ends.messages._waiting = 300
    ends.session.begin_wait(0, ends.messages)
    setattr(ends.messages, sign, 1)
    assert ends.until(100) == []


def test_messages_are_kept_again_when_the_last_task_awaits_the_end_no_more(ends):
    ends.messages._waiting = 300
    ends.session.begin_wait(0, ends.messages)
    ends.session.begin_wait(0, ends.messages)
    assert ends.session.end_wait() is None
    assert ends.session.deadline is not None
    assert ends.session.end_wait() is Order.KEEP
    assert ends.session.deadline is None


def test_a_task_that_awaits_the_end_has_a_close_answered_at_once(ends):
    ends.messages._owes_answer, ends.messages._taken = True, 1
    ends.receive(0, ends.peer.send(DONE))
    assert ends.session.begin_wait(0.1, ends.messages) == DONE


def test_the_end_is_told_when_what_is_awaited_behind_messages_can_come_no_more(ends):
    ends.messages._waiting = 3
    ends.session.begin_wait(0, ends.messages)
    ends.receive(0.01, b"")
    ends.session.finish(0.01, ends.messages)
    assert not ends.session.is_over
    assert ends.until(100) == [(READER_WAIT, Order.ABANDON)]
    assert ends.session.is_over


def test_closing_discards_what_nobody_takes(ends):
    ends.session.close(0)
    ends.session.begin_close(0, ends.messages)
    ends.messages._waiting = 5
    assert ends.until(5) == [(GRACE, Order.DISCARD)]
    ends.session.end_close()
    assert ends.session.deadline == TIMEOUT


def test_closing_discards_nothing_while_there_is_a_reader(ends):
    ends.session.close(0)
    ends.session.begin_close(0, ends.messages)
    for now in range(1, 9):
        # It takes what comes, or there is nothing.
        ends.messages._waiting, ends.messages._taken = now % 2, now
        assert ends.expire(now) is None
    ends.session.finish(9, ends.messages)
    assert ends.session.is_over


def test_a_close_that_is_not_decoded_yet_is_given_a_grace(ends, monkeypatch):
    monkeypatch.setattr(type(ends.connection), "_is_close_waiting", lambda _: True)
    ends.messages._waiting, ends.messages._paused = 257, True
    ends.session.pause(0, ends.messages)
    ends.session.pause(0.5, ends.messages)
    assert ends.until(GRACE) == [(GRACE, Close(1000, ""))]
    # Nobody has taken what came before the peer's.
    assert ends.until(100) == [(GRACE + TIMEOUT, Order.ABORT)]
    assert ends.session.ending.cause == ""


def test_a_grace_ends_when_what_has_come_is_decoded(ends, monkeypatch):
    monkeypatch.setattr(type(ends.connection), "_is_close_waiting", lambda _: True)
    ends.messages._waiting, ends.messages._paused = 257, True
    ends.session.pause(0, ends.messages)
    ends.session.resume()
    assert ends.session.deadline is None


@pytest.mark.parametrize(("taken", "wait"), [(0, READER_WAIT), (1, GRACE)])
def test_closing_looks_for_a_close_behind_messages_after_the_end_of_the_transport(ends, monkeypatch, taken, wait):
    monkeypatch.setattr(type(ends.connection), "_is_close_waiting", lambda _: True)
    ends.session.begin_close(0, ends.messages)
    ends.messages._waiting, ends.messages._paused, ends.messages._taken = 257, True, taken
    ends.session.finish(0.1, ends.messages)
    assert not ends.session.is_over
    assert ends.until(100) == [(pytest.approx(0.1 + wait), Order.DISCARD)]
    assert ends.session.is_over


def test_keepalive_ends_a_websocket_without_a_wait():
    ends = Ends(ping_interval=20, ping_timeout=5)
    assert ends.until(21) == [(20, Order.PING)]
    ends.session.pings.add(20, None, b"ping")
    assert ends.until(100) == [(25, Close(1011, "keepalive ping timeout")), (25, Order.ABORT)]
    assert ends.session.ending.reason == "keepalive: no Pong came within 5 s"


def test_keepalive_asks_nothing_once_a_close_was_sent():
    ends = Ends(ping_interval=2, ping_timeout=5)
    ends.session.close(1)
    assert ends.until(100) == [(1 + TIMEOUT, Order.ABORT)]


def test_a_failed_connection_is_told_by_its_error(ends):
    events, _ = ends.carrier.receive(b"\x81\x02no")
    failed = events[-1][1]
    assert isinstance(failed, Failed)
    ends.session.receive_close(0, failed, ends.messages)
    assert ends.session.ending.error is failed.error
