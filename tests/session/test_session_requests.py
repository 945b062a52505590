"""How long requests and idle connections of a server may take, on a clock that the tests move."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mintws.events import Request
from mintws.session import FEW, LEAST_RATE, LONGEST_STOP, BodyTimeout, IdleTimeout, RequestTimeouts, default_response


def request(stream):
    return Request("POST", "/", (), b"", stream)


FIRST, SECOND = request(1), request(3)


def test_a_request_has_the_timeout_from_its_head_on():
    timeouts = RequestTimeouts(10)
    assert timeouts.deadline is None
    timeouts.update(100, [(FIRST, 0)])
    assert timeouts.deadline == 110
    assert timeouts.expire(109.9, [(FIRST, 0)]) == []
    assert timeouts.expire(110, [(FIRST, 0)]) == [FIRST]
    assert timeouts.deadline is None


def test_bytes_of_a_body_give_it_more_time_and_time_alone_does_not():
    timeouts = RequestTimeouts(10)
    timeouts.update(100, [(FIRST, 0)])
    timeouts.update(105, [(FIRST, 0)])
    assert timeouts.deadline == 110
    timeouts.update(106, [(FIRST, 3 * LEAST_RATE)])
    assert timeouts.deadline == 113


def test_bytes_that_nobody_told_of_count_when_time_is_up():
    timeouts = RequestTimeouts(10)
    timeouts.update(100, [(FIRST, 0)])
    assert timeouts.expire(110, [(FIRST, LEAST_RATE)]) == []
    assert timeouts.deadline == 111


@pytest.mark.parametrize(("rate", "alive"), [(LEAST_RATE - 1, False), (LEAST_RATE, True)])
def test_a_body_must_come_at_the_least_rate(rate, alive):
    timeouts = RequestTimeouts(10)
    late = []
    for second in range(10_000):
        begun = [(FIRST, second * rate)]
        timeouts.update(second, begun)
        late += timeouts.expire(second, begun)
    assert (late == []) is alive


def test_an_upload_that_begins_beside_a_long_one_has_a_time_limit_of_its_own():
    timeouts = RequestTimeouts(10)
    timeouts.update(100, [(FIRST, 16_000)])
    timeouts.update(105, [(FIRST, 16_000), (SECOND, 0)])
    assert timeouts.deadline == 115
    assert timeouts.expire(115, [(FIRST, 16_000), (SECOND, 0)]) == [SECOND]
    assert timeouts.deadline == 110 + 16_000 / LEAST_RATE


def test_an_upload_that_has_ended_is_waited_for_no_more():
    timeouts = RequestTimeouts(10)
    timeouts.update(100, [(FIRST, 0), (SECOND, 0)])
    assert timeouts.under_way
    timeouts.update(105, [(SECOND, 0)])
    assert timeouts.deadline == 110
    timeouts.update(106, [])
    assert timeouts.deadline is None
    assert not timeouts.under_way


def test_the_next_request_of_a_connection_has_the_whole_timeout():
    timeouts = RequestTimeouts(10)
    # Over HTTP/1.1 all are on one stream.
    timeouts.update(100, [(FIRST, 0)])
    timeouts.update(105, [])
    timeouts.update(200, [(FIRST, 0)])
    assert timeouts.deadline == 210


def test_of_a_body_in_parts_only_the_time_counts_in_which_it_is_waited_for():
    body = BodyTimeout(10)
    assert body.deadline is None
    body.wait(100)
    assert body.deadline == 110
    body.wait(105)
    assert body.deadline == 110
    body.stop(106)
    assert body.deadline is None
    body.wait(200)
    assert body.deadline == 204


def test_bytes_of_a_body_in_parts_give_it_more_time_and_end_the_wait():
    body = BodyTimeout(10)
    body.wait(100)
    body.receive(106, 3 * LEAST_RATE)
    assert body.deadline is None
    body.wait(107)
    assert body.deadline == 107 + 4 + 3


@pytest.mark.parametrize(("rate", "alive"), [(LEAST_RATE - 1, False), (LEAST_RATE, True)])
def test_a_body_in_parts_must_come_at_the_least_rate(rate, alive):
    body = BodyTimeout(10)
    late = False
    for second in range(10_000):
        body.wait(second)
        late = late or body.deadline < second + 1
        body.receive(second + 1, rate)
    assert late is not alive


@pytest.mark.parametrize(("timeout", "most"), [(10, LONGEST_STOP), (600, 600)])
def test_a_body_of_which_much_has_come_may_not_stop_for_ever(timeout, most):
    body = BodyTimeout(timeout)
    body.receive(100, 1 << 40)
    body.wait(100)
    assert body.deadline == 100 + most


def test_a_body_that_is_late_stays_so():
    body = BodyTimeout(10)
    body.wait(100)
    body.stop(200)
    body.wait(300)
    assert body.deadline == 300


def test_without_a_timeout_nothing_is_late():
    body = BodyTimeout(None)
    body.wait(100)
    body.receive(1e9, 0)
    body.wait(1e9)
    assert body.deadline is None
    timeouts = RequestTimeouts(None)
    timeouts.update(100, [(FIRST, 0)])
    assert timeouts.under_way
    assert timeouts.deadline is None
    assert timeouts.expire(1e9, [(FIRST, 0)]) == []
    idle = IdleTimeout(100, None, 0)
    assert idle.deadline is None
    assert not idle.expire(1e9, 0)


def test_a_client_that_asks_for_nothing_is_left():
    idle = IdleTimeout(100, 60, 0)
    assert idle.deadline == 160
    assert not idle.expire(159.9, 0)
    assert idle.expire(160, 0)
    assert idle.deadline is None


def test_a_client_that_takes_its_response_has_another_timeout():
    size = FEW + 200 * LEAST_RATE
    idle = IdleTimeout(100, 60, size)
    assert not idle.expire(160, size - 60 * LEAST_RATE)
    assert idle.deadline == 220
    assert idle.expire(220, size - 60 * LEAST_RATE)


def test_a_response_must_be_taken_at_the_least_rate():
    size = FEW + 200 * LEAST_RATE
    assert IdleTimeout(100, 60, size).expire(160, size - 60 * LEAST_RATE + 1)


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_a_client_that_takes_nothing_is_left_however_short_the_timeout(timeout):
    idle = IdleTimeout(100, timeout, FEW + 1)
    assert idle.expire(101, FEW + 1)
    assert idle.deadline is None


@pytest.mark.parametrize(("waits", "stuck"), [(FEW, True), (FEW + 1, False)])
def test_few_bytes_that_wait_are_no_reason_to_wait_longer(waits, stuck):
    assert IdleTimeout(100, 60, waits).expire(160, 0) is stuck


def test_a_client_that_has_taken_all_has_another_timeout_whatever_the_rate():
    assert not IdleTimeout(100, 600, FEW + 1).expire(700, 0)


@pytest.mark.parametrize(("body", "multiplexed", "status"), [(None, False, 413), (b"", False, 426), (b"", True, 404)])
def test_a_request_that_no_application_answers_has_a_response_of_its_own(body, multiplexed, status):
    # RFC 9110 §15.5.22
    response = default_response(replace(FIRST, body=body), multiplexed=multiplexed)
    assert response.status == status
    assert (("Upgrade", "websocket") in response.headers) == (status == 426)
