"""When a client connects again, on a clock and with random numbers that the tests choose (RFC 6455 §7.2.3, RFC 9110 §10.2.3)."""

from __future__ import annotations

import ssl

import pytest

from mintws import (
    Close,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    ExtendedConnectDisabled,
    LocalProtocolError,
    PoolClosed,
    ProxyError,
    RemoteProtocolError,
    UpgradeError,
)
from mintws.session import RETRY_AFTER_MOST, Backoff, CloseStatus, Reconnect, retry_after

#: Sun, 06 Nov 1994 08:49:37 GMT.
THEN = 784111777.0
LOST = ConnectionClosed(1006, "the peer left", clean=False)


def backoff(policy=None, random=0.5):
    return Backoff(policy or Reconnect(), lambda: random)


def delays(it, count, error=LOST):
    return [it.failed(0, error, 0).then for _ in range(count)]


def because(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("random", "expected"),
    [
        (0.0, [0, 1, 2, 4, 8, 16, 30, 30]),
        (0.5, [0.5, 1.5, 3, 6, 12, 24, 45, 45]),
        (1.0, [1, 2, 4, 8, 16, 32, 60, 60]),
    ],
)
def test_delays_are_random_and_grow_up_to_a_minute(random, expected):
    assert delays(backoff(random=random), 8) == expected


def test_the_bounds_of_delays_can_be_chosen():
    assert delays(backoff(Reconnect(first=5, longest=12), 1.0), 4) == [5, 10, 12, 12]
    assert delays(backoff(Reconnect(first=0, longest=0), 1.0), 2) == [0, 0]


def test_delays_stay_bounded_after_any_number_of_failures():
    it = backoff(Reconnect(first=1e-9), 1.0)
    assert delays(it, 2000)[-1] == 60


def test_a_connection_that_held_begins_a_new_row():
    it = backoff(random=1.0)
    assert delays(it, 3) == [1, 2, 4]
    it.opened(100)
    assert it.failed(109.9, LOST, 0).then == 8
    it.opened(200)
    failure = it.failed(210, LOST, 0)
    assert (failure.then, failure.attempts) == (1, 1)
    it.opened(300)
    assert it.left(310) == 1
    assert it.left(310) == 2


def test_failures_in_a_row_are_counted():
    it = backoff()
    assert [it.failed(0, LOST, 0).attempts for _ in range(3)] == [1, 2, 3]


def tls(reason):
    """Make an error of OpenSSL's."""
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return because(ConnectError(reason), error)


RETRIED = [
    *map(
        tls, ["TLSV1_ALERT_INTERNAL_ERROR", "SSLV3_ALERT_UNEXPECTED_MESSAGE", "TLSV1_ALERT_USER_CANCELLED", "UNKNOWN"]
    ),
    because(ConnectError("refused"), ConnectionRefusedError(111, "refused")),
    because(ConnectError("TLS broke off"), ssl.SSLEOFError(8, "EOF")),
    because(ConnectError("left"), RemoteProtocolError("left", code=1006)),
    ConnectError("the connection has ended"),
    ConnectTimeout("late"),
    *[UpgradeError(status) for status in (429, 500, 502, 503, 504, 599)],
    *[ProxyError("no", status=status) for status in (429, 502, 503, 1, 3, 4, 5, 6, 91)],
    *[ConnectionClosed(code) for code in (1001, 1006, 1011, 1012, 1013, 1014)],
]
STOPPED = [ConnectionClosed(code) for code in (1000, 1005, 3000, 4000, 4999)]
NOT_VERIFIED = ssl.SSLCertVerificationError(1, "wrong certificate")
#: As OpenSSL's has it.
NOT_VERIFIED.verify_code = 18
RAISED = [
    *map(
        tls,
        [
            "WRONG_VERSION_NUMBER",
            "TLSV1_ALERT_PROTOCOL_VERSION",
            "UNSUPPORTED_PROTOCOL",
            "SSLV3_ALERT_HANDSHAKE_FAILURE",
            "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            "TLSV1_ALERT_UNKNOWN_CA",
            "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        ],
    ),
    because(ConnectError("another name"), NOT_VERIFIED),
    because(ConnectError("no key"), RemoteProtocolError("no key")),
    because(ConnectError("too many redirects"), UpgradeError(302)),
    ExtendedConnectDisabled("no WebSockets"),
    PoolClosed("closed"),
    *[UpgradeError(status) for status in (200, 301, 400, 401, 403, 404, 426, 499, 600)],
    *[ProxyError("no", status=status) for status in (403, 407, 2, 7, 8, 92, 93, None)],
    *[ConnectionClosed(code) for code in (1002, 1003, 1007, 1008, 1009, 1010, 1015, 2999)],
]


def named(error):
    return f"{error!r} {getattr(error, 'status', '')}"


@pytest.mark.parametrize("error", RETRIED, ids=named)
def test_what_may_pass_is_tried_again(error):
    assert backoff().failed(0, error, 0).then == 0.5


@pytest.mark.parametrize("error", STOPPED, ids=repr)
def test_a_close_that_was_meant_ends_the_loop(error):
    assert backoff().failed(0, error, 0).then == "stop"


LEFT = RemoteProtocolError("the peer left without a Close", code=1006)


@pytest.mark.parametrize("code", [1000, 3000, 4999, None])
@pytest.mark.parametrize("end", [{"error": LEFT}, {"cause": "no Close came"}, {"received": Close(1012)}], ids=str)
def test_a_close_of_ours_that_was_meant_ends_the_loop_however_the_peer_ends(code, end):
    closed = CloseStatus(sent=Close(code), **end).exception()
    assert closed.code in (1006, 1012)
    assert backoff().failed(0, closed, 0).then == "stop"


def test_other_closes_of_ours_do_not_end_the_loop():
    answer = Close(1012)
    for status in (CloseStatus(sent=Close(1011), error=LEFT), CloseStatus(sent=answer, received=answer)):
        assert backoff().failed(0, status.exception(), 0).then == 0.5


class Group(Exception):
    """What has the form of an exception group, which Python has from 3.11 on."""

    def __init__(self, *exceptions):
        super().__init__("a group")
        self.exceptions = exceptions


def test_a_group_is_of_a_status_whose_exceptions_it_has_alone():
    status, other = CloseStatus(), CloseStatus()
    own = status.exception()
    assert status.is_of(own)
    assert status.is_of(Group(own, Group(status.exception(), own)))
    for error in (None, KeyboardInterrupt(), other.exception(), ConnectionClosed(1000), Group(own, ValueError())):
        assert not status.is_of(error)
    assert not status.is_of(Group(Group(own), other.exception()))


@pytest.mark.parametrize("error", RAISED, ids=named)
def test_what_will_not_pass_is_raised(error):
    failure = backoff().failed(0, error, 0)
    assert (failure.then, failure.error) == ("raise", error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("99999999999999999999999999999", RETRY_AFTER_MOST),
        ("Sun, 06 Nov 2994 08:50:37 GMT", RETRY_AFTER_MOST),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("\u0663", None),
        ("soon", None),
        ("Sun, 99 Nov 99999999999 08:50:37 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after((("Retry-After", value),), THEN) == seconds


def test_a_date_is_compared_with_the_servers_clock_where_it_tells_it():
    headers = (("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"), ("date", "Sun, 06 Nov 1994 08:50:30 GMT"))
    assert retry_after(headers, THEN + 1000) == 7
    assert retry_after((), THEN) is None


def test_retry_after_is_kept_and_a_longer_delay_too():
    busy = UpgradeError(503, (("retry-after", "20"),))
    assert delays(backoff(random=0.25), 1, busy) == [20.25]
    assert delays(backoff(random=1.0), 7, busy) == [21, 21, 21, 21, 21, 32, 60]
    assert (
        backoff(random=0.0).failed(0, UpgradeError(429, (("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"),)), THEN).then
        == 60
    )


@pytest.mark.parametrize(("answer", "then"), [(None, 0.5), (0, 0), (7.5, 7.5), ("stop", "stop"), ("raise", "raise")])
def test_the_hook_decides(answer, then):
    it = backoff()
    assert it.settle(it.failed(0, LOST, 0), answer) == then


@pytest.mark.parametrize("answer", [-1, "retry", True, float("nan"), object()])
def test_what_is_no_answer_of_the_hook_is_refused(answer):
    it = backoff()
    with pytest.raises((LocalProtocolError, TypeError), match="decide"):
        it.settle(it.failed(0, LOST, 0), answer)


def test_a_first_delay_of_0_does_not_grow_and_is_refused():
    with pytest.raises(LocalProtocolError, match=r"^first is 0, .*: give it seconds, or longest=0 too"):
        Reconnect(first=0)


@pytest.mark.parametrize(
    "wrong", [{"first": -1}, {"first": 61}, {"longest": 0}, {"held": None}, {"first": "1"}, {"decide": 1}]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises((LocalProtocolError, TypeError)):
        Reconnect(**wrong)
