"""The earliest deadline of many WebSockets, on a clock that the tests move."""

from __future__ import annotations

import gc
import random

from mintws.session import Deadlines
from mintws.session.deadlines import FEW_ENTRIES


class Session:
    """Something with a deadline."""

    def __init__(self, deadline):
        self.deadline = deadline
        self.scheduled = None


def test_without_a_deadline_there_is_nothing_to_wait_for():
    deadlines = Deadlines()
    deadlines.schedule(Session(None))
    assert deadlines.first is None
    assert list(deadlines.due(1e9)) == []


def test_the_earliest_comes_first_and_each_that_is_due_once():
    deadlines, sessions = Deadlines(), [Session(at) for at in (5, 3, 9, 3)]
    for session in sessions:
        deadlines.schedule(session)
    assert deadlines.first == 3
    assert list(deadlines.due(2.9)) == []
    due = list(deadlines.due(5))
    assert {*due} == {sessions[0], sessions[1], sessions[3]} and len(due) == 3
    assert deadlines.first == 9


def test_a_deadline_that_moves_later_is_looked_at_in_vain_and_then_met():
    deadlines, session = Deadlines(), Session(3)
    deadlines.schedule(session)
    session.deadline = 7
    deadlines.schedule(session)
    assert deadlines.first == 3
    assert list(deadlines.due(3)) == []
    assert deadlines.first == 7
    assert list(deadlines.due(7)) == [session]


def test_a_deadline_that_moves_earlier_is_met():
    deadlines, session = Deadlines(), Session(7)
    deadlines.schedule(session)
    session.deadline = 3
    deadlines.schedule(session)
    assert deadlines.first == 3
    assert list(deadlines.due(3)) == [session]
    # Its later entry is void.
    session.deadline = 9
    deadlines.schedule(session)
    assert deadlines.first == 9
    assert list(deadlines.due(8)) == []


def test_a_deadline_that_is_called_off_is_none():
    deadlines, session = Deadlines(), Session(3)
    deadlines.schedule(session)
    session.deadline = None
    deadlines.schedule(session)
    assert deadlines.first is None


def test_a_session_that_is_gone_is_not_kept_and_not_waited_for():
    deadlines, session = Deadlines(), Session(3)
    deadlines.schedule(session)
    gc.disable()
    try:
        del session
        assert deadlines.first is None
    finally:
        gc.enable()


def test_sessions_that_have_ended_leave_few_entries():
    deadlines, first = Deadlines(), Session(1)
    deadlines.schedule(first)
    for at in range(10_000):
        deadlines.schedule(Session(100 + at))
    assert len(deadlines._heap) <= FEW_ENTRIES
    assert deadlines.first == 1


def test_every_deadline_is_met_whatever_moves():
    chance = random.Random(7)
    deadlines, sessions = Deadlines(), [Session(None) for _ in range(50)]
    for now in range(500):
        for session in chance.sample(sessions, 5):
            session.deadline = chance.choice([None, now + chance.randrange(1, 40)])
            deadlines.schedule(session)
        expected = {session for session in sessions if session.deadline is not None and session.deadline <= now}
        first = deadlines.first
        assert first is None or not expected or first <= now
        assert set(deadlines.due(now)) == expected
        for session in expected:
            session.deadline = None
            deadlines.schedule(session)
