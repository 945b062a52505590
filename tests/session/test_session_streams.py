"""How long streams may stay that one side has ended, on a clock that the tests move."""

from __future__ import annotations

import pytest

from mintws.session import ClosedStreams, HalfClosedTimeout


class Stream:
    """As much of a `Connection` as is looked at: it is its own carrier."""

    done = False

    @property
    def carrier(self):
        return self


def test_a_stream_that_the_peer_does_not_end_is_reset_after_the_timeout():
    streams = ClosedStreams(10)
    assert streams.deadline is None
    first, second = Stream(), Stream()
    streams.add(100, first)
    streams.add(103, second)
    assert streams.deadline == 110
    assert streams.expire(109.9) == []
    assert streams.expire(110) == [first]
    assert streams.deadline == 113
    assert streams.expire(113) == [second]
    assert streams.deadline is None


def test_a_late_clock_gives_all_that_are_late():
    streams = ClosedStreams(10)
    late = [Stream() for _ in range(3)]
    for at, stream in enumerate(late):
        streams.add(100 + at, stream)
    last = Stream()
    streams.add(150, last)
    assert streams.expire(155) == late
    assert streams.deadline == 160


@pytest.mark.parametrize("how", ["ended", "freed"])
def test_a_stream_that_is_gone_is_not_reset(how):
    streams = ClosedStreams(10)
    gone, kept = Stream(), Stream()
    streams.add(100, kept)
    streams.add(101, gone)
    streams.add(102, kept)
    if how == "ended":
        gone.done = True
    del gone
    assert streams.expire(200) == [kept, kept]
    assert streams.deadline is None


def test_streams_that_have_ended_do_not_heap_up():
    streams = ClosedStreams(10)
    for at in range(1000):
        streams.add(at / 1000, Stream())
    assert len(streams._waiting) == 1


def test_half_closed_streams_are_looked_at_once_in_the_timeout():
    half_closed = HalfClosedTimeout(0.5)
    assert half_closed.deadline is None
    assert half_closed.expire(100)
    half_closed.wait(100, 1)
    assert half_closed.deadline == 100.5
    assert not half_closed.expire(100.4)
    assert half_closed.deadline == 100.5
    assert half_closed.expire(100.5)
    half_closed.wait(100.5, 0)
    assert half_closed.deadline is None
    assert half_closed.expire(100.6)


def test_without_a_timeout_half_closed_streams_stay():
    half_closed = HalfClosedTimeout(None)
    assert not half_closed.expire(1e9)
    half_closed.wait(1e9, 5)
    assert half_closed.deadline is None
