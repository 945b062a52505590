"""The rule of keepalive, on a clock that the tests move: when Pings are sent, and which silence ends a WebSocket (RFC 6455 §5.5.2)."""

from __future__ import annotations

import pytest

from mintws.session import FEW, Action, Keepalive, Signs

QUIET = Signs(
    open=True,
    heard=7,
    chunks=7,
    probes_answered=0,
    taken=1000,
    unsent=0,
    reading=True,
    shared=False,
    withheld=False,
    awaits_pong=True,
)
WAITING = QUIET._replace(unsent=FEW + 1)
#: A stream of HTTP/2.
STREAM = QUIET._replace(shared=True)


def actions(keepalive, until, signs):
    """Give the actions up to a time, each with its time; `signs` gives what is known of the peer at a time."""
    done = []
    while (now := keepalive.deadline) is not None and now <= until:
        action = keepalive.expire(now, signs(now))
        if action is not None:
            done.append((now, action))
    return done


@pytest.mark.parametrize("timeout", [None, 3, 20, 500])
def test_pings_are_sent_at_their_interval_whatever_the_timeout(timeout):
    keepalive = Keepalive(100, 20, timeout)
    done = actions(keepalive, 200, lambda now: QUIET._replace(heard=int(now), awaits_pong=False))
    assert done == [(at, Action.PING) for at in (120, 140, 160, 180, 200)]


def test_nothing_is_done_before_its_time():
    keepalive = Keepalive(0, 20, 5)
    assert keepalive.deadline == 20
    assert keepalive.expire(19.9, QUIET) is None
    assert keepalive.expire(20, QUIET) is Action.PING
    assert keepalive.deadline == 25
    assert keepalive.expire(24.9, QUIET) is None
    assert keepalive.deadline == 25


def test_a_clock_that_is_late_sends_one_ping_for_all_that_it_missed():
    keepalive = Keepalive(0, 20, None)
    assert keepalive.expire(90, QUIET) is Action.PING
    assert keepalive.expire(90, QUIET) is None
    assert keepalive.deadline == 110


@pytest.mark.parametrize("timeout", [5, 20])
def test_a_silent_peer_is_left(timeout):
    keepalive = Keepalive(0, 20, timeout)
    assert actions(keepalive, 1000, lambda _: QUIET)[-1] == (20 + timeout, Action.END)
    assert keepalive.cause == f"keepalive: no Pong came within {timeout} s"
    assert keepalive.deadline is None


def test_without_a_timeout_silence_means_nothing():
    done = actions(Keepalive(0, 20, None), 1000, lambda _: QUIET)
    assert {action for _, action in done} == {Action.PING}


def test_a_peer_that_falls_silent_later_is_left():
    keepalive = Keepalive(0, 20, 5)
    done = actions(keepalive, 1000, lambda now: QUIET._replace(heard=min(int(now), 63), awaits_pong=now > 60))
    # The Ping at 60 was followed by a sign of life, so the Pong is waited for once more.
    assert done == [(20, Action.PING), (40, Action.PING), (60, Action.PING), (70, Action.END)]


def test_after_its_pong_a_peer_may_be_silent_until_the_next_ping():
    # Each Pong comes two seconds after its Ping, and nothing else.
    done = actions(Keepalive(0, 20, 5), 1000, lambda now: QUIET._replace(heard=int(now - 2) // 20, awaits_pong=False))
    assert {action for _, action in done} == {Action.PING}


def test_a_chunk_is_a_sign_of_life_though_the_pong_stays_away():
    done = actions(Keepalive(0, 20, 5), 1000, lambda now: QUIET._replace(heard=int(now)))
    assert {action for _, action in done} == {Action.PING}


def test_what_is_taken_is_a_sign_of_life_while_much_waits():
    done = actions(Keepalive(0, 20, 5), 1000, lambda now: WAITING._replace(taken=int(now)))
    assert {action for _, action in done} == {Action.PING}


def test_what_is_taken_is_none_where_little_waits():
    keepalive = Keepalive(0, 20, 5)
    done = actions(keepalive, 1000, lambda now: QUIET._replace(taken=int(now), unsent=FEW))
    assert done == [(20, Action.PING), (25, Action.END)]


def test_a_peer_that_takes_nothing_is_left():
    keepalive = Keepalive(0, 20, 5)
    assert actions(keepalive, 1000, lambda _: WAITING) == [(20, Action.PING), (25, Action.END)]
    assert keepalive.cause == f"keepalive: the peer takes nothing: {FEW + 1} bytes wait"


def test_silence_counts_from_when_the_transport_was_read_for_a_whole_timeout():
    # What a peer could not send meanwhile comes a moment after it is read again.
    keepalive = Keepalive(0, 20, 5)
    done = actions(keepalive, 130, lambda now: QUIET._replace(reading=now >= 100))
    assert [at for at, action in done if action is Action.END] == [105]


def test_after_the_transport_was_not_read_the_peer_is_asked_anew():
    keepalive = Keepalive(0, 20, 5)
    done = actions(keepalive, 200, lambda now: QUIET._replace(reading=now >= 97, heard=int(now) if now >= 97 else 7))
    assert {action for _, action in done} == {Action.PING}


def test_a_peer_whose_ping_flow_control_withholds_is_probed_beneath_it_once():
    keepalive = Keepalive(0, 20, 5)
    assert actions(keepalive, 1000, lambda _: STREAM._replace(withheld=True)) == [
        (20, Action.PING),
        (25, Action.PROBE),
        (30, Action.END),
    ]


def test_a_peer_that_answers_the_probe_is_alive():
    done = actions(Keepalive(0, 20, 5), 1000, lambda now: STREAM._replace(withheld=True, probes_answered=int(now / 10)))
    assert Action.END not in {action for _, action in done}
    assert Action.PROBE in {action for _, action in done}


def test_an_answer_to_a_probe_is_none_to_a_ping_that_flow_control_does_not_withhold():
    done = actions(Keepalive(0, 20, 5), 1000, lambda now: STREAM._replace(probes_answered=int(now)))
    assert done == [(20, Action.PING), (25, Action.END)]


@pytest.mark.parametrize(
    ("withheld", "done"),
    [
        (False, [(20, Action.PING), (30, Action.END)]),
        (True, [(20, Action.PING), (25, Action.PROBE), (35, Action.END)]),
    ],
)
def test_what_comes_for_other_streams_gives_the_silence_of_one_its_timeout_once_more(withheld, done):
    keepalive = Keepalive(0, 20, 5)
    assert actions(keepalive, 1000, lambda now: STREAM._replace(withheld=withheld, chunks=int(now))) == done
    assert keepalive.cause == "keepalive: no Pong came within 5 s"


def test_a_sign_of_life_of_a_stream_gives_a_later_silence_all_its_time_again():
    keepalive = Keepalive(0, 20, 5)
    signs = lambda now: STREAM._replace(chunks=int(now), heard=min(int(now), 58), awaits_pong=now > 58)  # noqa: E731
    assert actions(keepalive, 1000, signs) == [
        (20, Action.PING),
        (40, Action.PING),
        (60, Action.PING),
        (70, Action.END),
    ]


@pytest.mark.parametrize(("before", "end"), [(FEW + 1, 30), (200_000, 45), (10**9, None)])
def test_what_the_peer_takes_of_other_streams_counts_until_it_has_the_ping(before, end):
    # It takes 10,000 bytes in a second, and no less is written behind the Ping.
    keepalive = Keepalive(0, 20, 5)
    done = actions(keepalive, 1000, lambda now: STREAM._replace(taken=int(now) * 10_000, unsent=before))
    assert [at for at, action in done if action is Action.END] == ([] if end is None else [end])
    assert end is None or keepalive.cause == "keepalive: no Pong came within 5 s"


def test_no_ping_is_sent_where_none_can_be():
    keepalive = Keepalive(0, 20, 5)
    assert keepalive.expire(20, QUIET._replace(open=False)) is None
    assert keepalive.deadline is None
