"""Limits of a server: what they count, and which is exceeded."""

from __future__ import annotations

import pytest

from mintws import LocalProtocolError
from mintws.session import Admission, Visit, busy


def entered(admission: Admission, host: str = "192.0.2.1", *, secure: bool = False) -> Visit:
    visit = admission.enter((host, 50000), secure=secure)
    assert isinstance(visit, Visit)
    return visit


def test_without_limits_all_are_taken_and_counted() -> None:
    admission = Admission()
    for _ in range(5):
        entered(admission, secure=True)
    assert all(admission.begin_opening(it) for it in range(3))
    assert (admission.connections, admission.handshakes, admission.is_full) == (5, 8, False)


def test_connections_are_limited_until_one_leaves() -> None:
    admission = Admission(max_connections=2)
    first, _ = entered(admission), entered(admission)
    assert admission.is_full
    assert admission.enter(("192.0.2.2", 1), secure=False) == "max_connections"
    admission.leave(first)
    admission.leave(first)
    assert admission.connections == 1
    entered(admission)


def test_connections_of_an_address_are_limited_and_those_of_others_are_not() -> None:
    admission = Admission(max_connections_per_address=1)
    first = entered(admission)
    assert admission.enter(("192.0.2.1", 2), secure=False) == "max_connections_per_address"
    entered(admission, "192.0.2.2")
    admission.leave(first)
    entered(admission)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_an_ipv6_network_of_64_bits_is_one_client(one: str, other: str, same: bool) -> None:
    admission = Admission(max_connections_per_address=1)
    entered(admission, one)
    assert (admission.enter((other, 1, 0, 0), secure=False) == "max_connections_per_address") is same


@pytest.mark.parametrize("address", ["", "/run/client", None, b"\0name", ("no address", 5)])
def test_what_is_no_ip_address_does_not_count_by_address(address: object) -> None:
    admission = Admission(max_connections_per_address=1)
    for _ in range(3):
        assert isinstance(admission.enter(address, secure=False), Visit)


def test_tls_handshakes_are_limited_until_they_are_done_or_the_connection_ends() -> None:
    admission = Admission(max_handshakes=1)
    first = entered(admission, secure=True)
    assert admission.enter(("192.0.2.1", 2), secure=True) == "max_handshakes"
    entered(admission)
    admission.shaken(first)
    second = entered(admission, secure=True)
    admission.leave(second)
    admission.leave(first)
    entered(admission, secure=True)
    assert admission.handshakes == 1


def test_opening_handshakes_are_limited_beside_those_of_tls() -> None:
    admission = Admission(max_handshakes=1)
    entered(admission, secure=True)
    assert admission.begin_opening("one")
    assert not admission.begin_opening("two")
    admission.openings.discard("one")
    assert admission.begin_opening("two")


def test_what_was_refused_is_not_counted_by_its_address() -> None:
    admission = Admission(max_connections=1)
    first = entered(admission)
    for _ in range(3):
        admission.enter(("192.0.2.9", 1), secure=False)
    admission.leave(first)
    assert admission._by_client == {}


def test_a_client_is_told_when_to_ask_again() -> None:
    answer = busy()
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("name", ["max_connections", "max_connections_per_address", "max_handshakes"])
@pytest.mark.parametrize(("value", "error"), [(0, LocalProtocolError), ("5", TypeError), (True, TypeError)])
def test_a_limit_is_a_positive_number(name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        Admission(**{name: value})  # type: ignore[arg-type]
