"""Which HTTP/2 connection of a pool a WebSocket is opened on, on a clock that the tests move (RFC 9113 §5.1.2, §6.8, §8.7, §9.1)."""

from __future__ import annotations

from random import Random

import pytest

from mintws import ConnectError, ExtendedConnectDisabled
from mintws.session import RETRIES, SILENCE, ConnectionPool, Http1Origins, PoolRequest, PoolStep

WAIT, OPEN, CHECK, CONNECT, FAIL = PoolStep


class Fake:
    """A connection, whose state the test sets."""

    def __init__(self, stream_limit=100):
        self.stream_limit = stream_limit
        self.streams = 0
        self.usable = True
        self.heard = 0


class Driver:
    """What a driver does with a pool."""

    def __init__(self, most=None, streams=None, idle_timeout=60.0):
        self.now = 0.0
        self.learnt = Http1Origins()
        self.pool = ConnectionPool("origin", self.learnt, most, streams, idle_timeout)
        self.woken = []

    def ask(self, count=1):
        """Begin so many openings."""
        asked = []
        for _ in range(count):
            asked.append(PoolRequest(lambda: self.woken.append(True)))
            self.pool.begin(self.now, asked[-1])
        return asked

    def connect(self, request, stream_limit=100):
        """Connect for an opening that was told to."""
        assert request.step is CONNECT
        connection = Fake(stream_limit)
        self.pool.connected(self.now, request, connection)
        return connection

    def begin(self, *requests):
        """Send the requests of openings on their connections."""
        for request in requests:
            assert request.step is OPEN
            request.connection.streams += 1
            self.pool.begun(request)
            self.pool.leave(self.now, request)

    def end(self, connection, count=1):
        """End so many streams."""
        connection.streams -= count
        return self.pool.update(self.now, connection)

    def steps(self, requests):
        return [it.step for it in requests]


def opened(driver, stream_limit=100):
    """Connect, and open a WebSocket."""
    (request,) = driver.ask()
    connection = driver.connect(request, stream_limit)
    driver.begin(request)
    return connection


def test_openings_at_the_same_time_wait_for_one_connection():
    driver = Driver()
    asked = driver.ask(5)
    assert driver.steps(asked) == [CONNECT, WAIT, WAIT, WAIT, WAIT]
    connection = driver.connect(asked[0])
    assert driver.steps(asked) == [OPEN] * 5
    assert {it.connection for it in asked} == {connection}


def test_whoever_waits_is_woken_once_there_is_something_to_do():
    driver = Driver()
    asked = driver.ask(3)
    assert len(driver.woken) == 1
    driver.connect(asked[0])
    assert len(driver.woken) == 1 + 3


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
def test_when_a_connection_is_not_made_the_next_opening_makes_one(ends):
    driver = Driver()
    asked = driver.ask(3)
    driver.pool.leave(driver.now, asked[0])
    assert driver.steps(asked[1:]) == [CONNECT, WAIT]
    connection = driver.connect(asked[1])
    assert asked[2].step is OPEN and asked[2].connection is connection


def test_nobody_waits_for_long_for_a_connection_that_another_opening_makes():
    driver = Driver(most=2)
    asked = driver.ask(2)
    driver.now = 4.9
    asked += driver.ask()
    assert driver.steps(asked) == [CONNECT, WAIT, WAIT]
    driver.now = 5.0
    asked += driver.ask()
    assert driver.steps(asked) == [CONNECT, CONNECT, WAIT, WAIT]
    driver.now = 11.0
    asked += driver.ask()
    assert driver.steps(asked) == [CONNECT, CONNECT, WAIT, WAIT, WAIT]
    driver.connect(asked[1])
    assert driver.steps(asked) == [CONNECT] + [OPEN] * 4


def test_an_opening_that_waits_can_be_cancelled():
    driver = Driver()
    asked = driver.ask(3)
    driver.pool.leave(driver.now, asked[1])
    driver.connect(asked[0])
    assert driver.steps(asked) == [OPEN, WAIT, OPEN]


def test_an_opening_that_is_cancelled_before_it_begins_gives_its_stream_back():
    driver = Driver(most=1)
    first, second = driver.ask(2)
    driver.connect(first, stream_limit=1)
    assert driver.steps([first, second]) == [OPEN, WAIT]
    driver.pool.leave(driver.now, first)
    assert second.step is OPEN


def test_another_connection_is_made_where_the_streams_are_used_up():
    driver = Driver()
    connection = opened(driver, stream_limit=2)
    (second,) = driver.ask()
    driver.begin(second)
    assert connection.streams == 2
    (third,) = driver.ask()
    assert third.step is CONNECT


def test_streams_of_openings_that_have_not_begun_are_taken():
    driver = Driver()
    opened(driver, stream_limit=3)
    assert driver.steps(driver.ask(4)) == [OPEN, OPEN, CONNECT, WAIT]


def test_as_many_connections_are_made_as_have_streams_for_all():
    driver = Driver()
    opened(driver, stream_limit=3)
    asked = driver.ask(2 + 7)
    assert driver.steps(asked) == [OPEN, OPEN, CONNECT, WAIT, WAIT, CONNECT, WAIT, WAIT, CONNECT]


def test_as_many_connections_are_made_as_take_the_place_of_those_that_the_server_leaves():
    driver = Driver(most=2)
    asked = driver.ask(4)
    first = driver.connect(asked[0], stream_limit=2)
    second = driver.connect(asked[2], stream_limit=2)
    driver.begin(*asked)
    waiting = driver.ask(5)
    assert driver.steps(waiting) == [WAIT] * 5
    first.usable = second.usable = False
    driver.pool.update(driver.now, first)
    assert driver.steps(waiting) == [CONNECT, WAIT, CONNECT, WAIT, WAIT]


def test_a_limit_of_streams_is_reckoned_with_before_the_first_connection():
    assert Driver(streams=2).steps(Driver(streams=2).ask(4)) == [CONNECT, WAIT, CONNECT, WAIT]


def test_streams_that_have_ended_are_used_again():
    driver = Driver(most=1)
    connection = opened(driver, stream_limit=1)
    (waiting,) = driver.ask()
    assert waiting.step is WAIT
    driver.end(connection)
    assert waiting.step is OPEN


def test_openings_are_served_in_their_order():
    driver = Driver(most=1)
    connection = opened(driver, stream_limit=1)
    asked = driver.ask(3)
    for number in range(3):
        driver.end(connection)
        assert driver.steps(asked[number:]) == [OPEN, WAIT, WAIT][: 3 - number]
        driver.begin(asked[number])


def test_there_are_no_more_connections_than_the_limit():
    driver = Driver(most=2)
    opened(driver, stream_limit=1)
    asked = driver.ask(3)
    assert driver.steps(asked) == [CONNECT, WAIT, WAIT]
    second = driver.connect(asked[0], stream_limit=1)
    assert driver.steps(asked) == [OPEN, WAIT, WAIT]
    driver.begin(asked[0])
    second.usable = False
    driver.pool.update(driver.now, second)
    # It drains, so that another one takes its place.
    assert driver.steps(asked[1:]) == [CONNECT, WAIT]


def test_the_first_connection_is_filled_before_others():
    driver = Driver()
    first = opened(driver, stream_limit=2)
    second = driver.connect(driver.ask(2)[1], stream_limit=2)
    assert second is not first
    driver.end(first)
    (request,) = driver.ask()
    assert request.connection is first


def test_a_connection_that_has_ended_or_that_the_server_leaves_is_used_no_more():
    driver = Driver()
    connection = opened(driver)
    connection.usable = False
    (request,) = driver.ask()
    assert request.step is CONNECT


def test_an_opening_after_goaway_is_made_elsewhere_up_to_a_limit():
    driver = Driver()
    (request,) = driver.ask()
    for _ in range(RETRIES):
        connection = driver.connect(request)
        driver.pool.begun(request)
        connection.usable = False
        assert driver.pool.retry(driver.now, request, request.connection)
    connection = driver.connect(request)
    connection.usable = False
    assert not driver.pool.retry(driver.now, request, request.connection)
    driver.pool.leave(driver.now, request)
    assert driver.pool.empty


def test_an_opening_after_goaway_comes_before_those_that_wait():
    driver = Driver(most=1)
    connection = opened(driver, stream_limit=2)
    first, second = driver.ask(2)
    driver.pool.begun(first)
    connection.usable = False
    assert driver.pool.retry(driver.now, first, first.connection)
    assert driver.steps([first, second]) == [CONNECT, WAIT]


def test_openings_after_goaway_keep_their_order():
    driver = Driver(most=1)
    asked = driver.ask(4)
    left = driver.connect(asked[0], stream_limit=3)
    for request in asked[:3]:
        driver.pool.begun(request)
    left.usable = False
    assert all(driver.pool.retry(driver.now, request, request.connection) for request in (asked[2], asked[0], asked[1]))
    assert driver.steps(asked) == [WAIT, WAIT, CONNECT, WAIT]
    driver.pool.leave(driver.now, asked[2])
    assert driver.steps(asked) == [CONNECT, WAIT, CONNECT, WAIT]
    driver.connect(asked[0], stream_limit=2)
    assert (asked[1].step, asked[3].step) == (OPEN, WAIT)


def test_a_pool_is_not_empty_while_an_opening_waits_for_the_answer_of_a_server_that_leaves():
    driver = Driver()
    (request,) = driver.ask()
    connection = driver.connect(request)
    driver.pool.begun(request)
    connection.usable = False
    driver.pool.update(driver.now, connection)
    assert not driver.pool.empty
    assert driver.pool.retry(driver.now, request, request.connection)
    driver.pool.leave(driver.now, request)
    assert driver.pool.empty


def test_a_refused_stream_is_opened_on_another_connection_once():
    driver = Driver()
    connection = opened(driver)
    (request,) = driver.ask()
    assert request.connection is connection
    driver.pool.begun(request)
    assert driver.pool.retry(driver.now, request, request.connection)
    other = driver.connect(request)
    assert other is not connection
    driver.pool.begun(request)
    assert not driver.pool.retry(driver.now, request, request.connection)
    assert driver.ask()[0].connection is connection


def test_a_refused_stream_is_an_error_where_there_can_be_no_other_connection():
    driver = Driver(most=1)
    opened(driver)
    (request,) = driver.ask()
    driver.pool.begun(request)
    assert not driver.pool.retry(driver.now, request, request.connection)


def test_an_opening_that_was_refused_keeps_no_other_from_going_on():
    driver = Driver(most=2)
    first = opened(driver, stream_limit=2)
    refused, more = driver.ask(2)
    second = driver.connect(more, stream_limit=1)
    driver.begin(more)
    driver.pool.begun(refused)
    assert driver.pool.retry(driver.now, refused, refused.connection)
    assert refused.step is WAIT
    (other,) = driver.ask()
    assert other.step is OPEN and other.connection is first
    driver.end(second)
    assert refused.step is OPEN and refused.connection is second


def test_a_server_of_http1_gets_a_connection_for_each():
    driver = Driver()
    asked = driver.ask(3)
    driver.pool.speaks_http1(driver.now, asked[0])
    assert driver.steps(asked[1:]) == [CONNECT, CONNECT]
    for request in asked[1:]:
        driver.pool.leave(driver.now, request)
    assert driver.pool.empty
    assert driver.steps(driver.ask(2)) == [CONNECT, CONNECT]
    driver.now += 301
    assert driver.steps(driver.ask(2)) == [CONNECT, WAIT]


def test_that_a_server_speaks_http1_is_forgotten_when_it_speaks_http2():
    driver = Driver()
    (first,) = driver.ask()
    driver.pool.speaks_http1(driver.now, first)
    asked = driver.ask(2)
    driver.connect(asked[1])
    assert driver.steps(driver.ask(2)) == [OPEN, OPEN]


def test_all_that_wait_learn_that_the_server_takes_no_websockets_over_http2():
    driver = Driver()
    asked = driver.ask(3)
    error = ExtendedConnectDisabled("none")
    driver.pool.takes_no_websockets(driver.now, asked[0], error)
    assert [(it.step, it.error) for it in asked[1:]] == [(FAIL, error)] * 2
    for request in asked:
        driver.pool.leave(driver.now, request)
    assert driver.pool.empty


def test_all_that_wait_fail_at_once():
    driver = Driver(most=1)
    opened(driver, stream_limit=1)
    asked = driver.ask(2)
    error = ConnectError("closed")
    driver.pool.fail(error)
    assert [(it.step, it.error) for it in asked] == [(FAIL, error)] * 2


def test_a_connection_that_was_silent_is_checked_before_it_is_used():
    driver = Driver()
    connection = opened(driver)
    driver.now += SILENCE - 0.1
    (request,) = driver.ask()
    assert request.step is OPEN
    driver.begin(request)
    driver.now += 0.1
    first, second = driver.ask(2)
    assert driver.steps([first, second]) == [CHECK, WAIT] and first.connection is connection
    driver.pool.checked(driver.now, first, alive=True)
    assert driver.steps([first, second]) == [OPEN, OPEN]


def test_a_sign_of_life_makes_a_check_needless():
    driver = Driver()
    connection = opened(driver)
    driver.now += SILENCE
    connection.heard += 1
    driver.pool.update(driver.now, connection)
    assert driver.ask()[0].step is OPEN


def test_a_connection_that_does_not_answer_is_replaced():
    driver = Driver(most=1)
    connection = opened(driver)
    driver.now += SILENCE
    first, second = driver.ask(2)
    driver.pool.checked(driver.now, first, alive=False)
    assert driver.steps([first, second]) == [CONNECT, WAIT]
    assert driver.connect(first) is not connection
    assert driver.steps([first, second]) == [OPEN, OPEN]
    # It is closed once its WebSockets have ended.
    assert driver.pool.update(driver.now, connection) is None
    assert driver.end(connection) == driver.now


def test_a_check_that_is_cancelled_is_made_by_the_next():
    driver = Driver()
    opened(driver)
    driver.now += SILENCE
    first, second = driver.ask(2)
    driver.pool.leave(driver.now, first)
    assert second.step is CHECK


def test_a_connection_that_ends_while_it_is_checked_is_replaced():
    driver = Driver()
    connection = opened(driver)
    driver.now += SILENCE
    (request,) = driver.ask()
    connection.usable = False
    assert driver.pool.update(driver.now, connection) is None
    driver.pool.checked(driver.now, request, alive=True)
    assert request.step is CONNECT


def test_an_idle_connection_is_closed_after_a_time():
    driver = Driver(idle_timeout=60.0)
    connection = opened(driver)
    assert driver.pool.update(driver.now, connection) is None
    driver.now = 10.0
    assert driver.end(connection) == 70.0
    driver.now = 20.0
    assert driver.pool.update(driver.now, connection) == 70.0
    driver.now = 70.0
    assert driver.pool.update(driver.now, connection) == 70.0
    assert driver.pool.empty


def test_a_connection_that_is_used_again_is_not_idle():
    driver = Driver(idle_timeout=60.0)
    connection = opened(driver)
    assert driver.end(connection) == 60.0
    driver.now = 59.0
    (request,) = driver.ask()
    assert driver.pool.update(driver.now, connection) is None
    driver.pool.checked(driver.now, request, alive=True)
    driver.begin(request)
    driver.now = 80.0
    assert driver.end(connection) == 140.0


@pytest.mark.parametrize(("timeout", "closes"), [(None, None), (0, 0.0)])
def test_idle_connections_may_stay_or_be_closed_at_once(timeout, closes):
    driver = Driver(idle_timeout=timeout)
    connection = opened(driver)
    assert driver.end(connection) == closes
    assert driver.pool.empty is (closes is not None)


def test_the_limit_of_streams_may_change():
    driver = Driver(most=1)
    connection = opened(driver, stream_limit=1)
    asked = driver.ask(3)
    connection.stream_limit = 3
    driver.pool.update(driver.now, connection)
    assert driver.steps(asked) == [OPEN, OPEN, WAIT]
    connection.stream_limit = 0
    driver.begin(*asked[:2])
    driver.end(connection, 3)
    assert asked[2].step is WAIT


def test_no_more_connections_are_made_while_the_server_takes_no_streams():
    driver = Driver()
    asked = driver.ask(3)
    connection = driver.connect(asked[0], stream_limit=0)
    assert driver.steps(asked) == [OPEN, WAIT, WAIT]
    driver.begin(asked[0])
    asked += driver.ask()
    driver.end(connection)
    assert driver.steps(asked[1:]) == [WAIT] * 3
    connection.stream_limit = 2
    driver.pool.update(driver.now, connection)
    assert driver.steps(asked[1:]) == [OPEN, OPEN, CONNECT]


@pytest.mark.parametrize("ends", ["is idle", "is silent", "is left"])
def test_a_connection_whose_server_takes_no_streams_is_replaced_when_it(ends):
    driver = Driver(idle_timeout=60.0 if ends == "is silent" else 3.0)
    (request,) = driver.ask()
    connection = driver.connect(request, stream_limit=0)
    driver.begin(request)
    (waits,) = driver.ask()
    driver.end(connection)
    assert waits.step is WAIT
    if ends == "is silent":
        driver.now = SILENCE
        driver.ask()
    else:
        driver.now = 3.0
        connection.usable = ends == "is idle"
        driver.pool.update(driver.now, connection)
    assert waits.step is CONNECT


def test_a_thousand_openings_are_assigned_quickly():
    driver = Driver()
    asked = driver.ask(1000)
    connection = driver.connect(asked[0], stream_limit=100)
    connections = [connection]
    while pending := [it for it in asked if it.step is CONNECT]:
        connections += [driver.connect(it) for it in pending]
    assert driver.steps(asked) == [OPEN] * 1000
    assert len(connections) == 10


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_no_connection_has_too_many_streams_and_no_opening_is_stranded(seed):
    random = Random(seed)
    driver = Driver(random.choice([None, 1, 2, 3]), random.choice([None, 2]), random.choice([0, 1.0, None]))
    pool, asked, connections = driver.pool, [], []

    def look(connection):
        until = pool.update(driver.now, connection)
        if until is not None and until <= driver.now:
            connection.usable = False

    def go_on(request, *, well):
        """Do what is to be done for an opening."""
        connection = request.connection
        if not well and random.random() < 0.3:
            asked.remove(request)
            pool.leave(driver.now, request)
        elif request.step is CONNECT and (well or random.random() < 0.7):
            connections.append(driver.connect(request, random.choice([1, 2, 5])))
        elif request.step is CONNECT:
            asked.remove(request)
            pool.leave(driver.now, request)
        elif request.step is CHECK:
            pool.checked(driver.now, request, alive=well or random.random() < 0.6)
        elif request.step is OPEN and connection.usable and (well or random.random() < 0.7):
            driver.begin(request)
            asked.remove(request)
        elif request.step is OPEN:
            pool.begun(request)
            if not pool.retry(driver.now, request, request.connection):
                asked.remove(request)
                pool.leave(driver.now, request)
        if connection is not None:
            look(connection)

    def check():
        begun = [it for it in asked if it.step in (OPEN, CHECK)]
        for connection in connections:
            taken = sum(it.connection is connection for it in begun)
            assert connection.streams + taken <= connection.stream_limit or not connection.usable
        assert driver.pool.empty or asked or any(it.usable for it in connections)

    for _ in range(400):
        driver.now += random.choice([0, 0, 0.1, 3.0])
        match random.randrange(5):
            case 0:
                asked += driver.ask(random.randrange(4))
            case 1 | 2 if asked:
                go_on(random.choice(asked), well=False)
            case 3 if connections:
                connection = random.choice(connections)
                connection.streams = max(0, connection.streams - 1)
                look(connection)
            case 4 if connections and random.random() < 0.2:
                connection = random.choice(connections)
                connection.usable = False
                look(connection)
        check()
    for _ in range(400):
        for request in list(asked):
            if request in asked and request.step is not WAIT:
                go_on(request, well=True)
        for connection in connections:
            connection.streams = 0
            look(connection)
        check()
    assert asked == []
