"""How long a transport is read after its last byte was written, on a clock that the tests move."""

from __future__ import annotations

import pytest

from mintws.session import Step, TransportEnd
from mintws.session.linger import LINGER, QUIET


def steps(end, chunks):
    """Give the steps with their times; `chunks` gives how many chunks have come by a time."""
    done = []
    for _ in range(1000):
        now = end.deadline
        if now is None:
            return done
        step = end.expire(now, chunks(now))
        if step is not None:
            done.append((now, step))
    raise AssertionError("it does not come to its end")


def test_a_transport_that_is_closed_is_cut_after_the_timeout():
    end = TransportEnd(100, 10)
    assert end.expire(109.9, 0) is None
    assert steps(end, lambda _: 0) == [(110, Step.CUT)]


@pytest.mark.parametrize(("timeout", "cut"), [(10, 100 + LINGER), (0.5, 100.5), (0, 100)])
def test_a_peer_that_was_told_has_a_while_to_end_its_half_whatever_it_sends(timeout, cut):
    end = TransportEnd(100, timeout)
    end.linger(100, 0, told=True)
    assert steps(end, lambda now: int(now * 100)) == [(cut, Step.CUT)]


def test_the_transport_of_a_peer_that_is_quiet_is_closed_soon_and_cut_later():
    end = TransportEnd(100, 10)
    end.linger(100, 7, told=False)
    assert end.expire(100 + QUIET / 2, 7) is None
    assert steps(end, lambda _: 7) == [(100 + QUIET, Step.CLOSE), (110 + QUIET, Step.CUT)]


def test_a_peer_that_goes_on_sending_is_waited_for_until_it_is_quiet():
    end = TransportEnd(100, 10)
    end.linger(100, 7, told=False)
    (closed, _), _ = steps(end, lambda now: 7 + min(int((now - 100) / QUIET), 3))
    assert closed == 100 + 4 * QUIET


@pytest.mark.parametrize(("timeout", "most"), [(10, LINGER), (0.4, 0.4), (0, 0)])
def test_a_peer_that_never_stops_sending_is_closed_all_the_same(timeout, most):
    end = TransportEnd(100, timeout)
    end.linger(100, 7, told=False)
    (closed, step), (cut, _) = steps(end, lambda now: 7 + int(now * 1000))
    assert step is Step.CLOSE
    assert 100 + most <= closed <= 100 + most + QUIET
    assert cut == closed + timeout


def test_with_a_timeout_of_0_nobody_is_waited_for():
    end = TransportEnd(100, 0)
    end.linger(100, 7, told=False)
    assert steps(end, lambda now: 7 + int(now * 1000)) == [(100, Step.CLOSE), (100, Step.CUT)]
