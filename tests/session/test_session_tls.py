"""How long the peer of a TLS connection is waited for, by a clock of the tests."""

from __future__ import annotations

import pytest

from mintws.session import TlsTimeouts
from mintws.session.linger import LINGER


def test_a_handshake_may_take_as_long_as_its_timeout() -> None:
    timeouts = TlsTimeouts(100.0, 10.0, 5.0)
    assert timeouts.deadline == 110.0
    assert not timeouts.expire(109.9)
    assert timeouts.deadline == 110.0
    assert timeouts.expire(110.0)
    assert timeouts.deadline is None
    assert not timeouts.expire(200.0)


def test_a_handshake_without_a_timeout_may_take_for_ever() -> None:
    timeouts = TlsTimeouts(100.0, None, 5.0)
    assert timeouts.deadline is None
    assert not timeouts.expire(1e9)


def test_nothing_is_waited_for_while_plaintext_passes_and_when_the_transport_is_gone() -> None:
    timeouts = TlsTimeouts(100.0, 10.0, 5.0)
    timeouts.stop()
    assert timeouts.deadline is None
    timeouts.close(200.0)
    timeouts.stop()
    assert timeouts.deadline is None
    assert not timeouts.expire(1e9)


def test_the_peer_has_the_close_timeout_to_end_its_half() -> None:
    timeouts = TlsTimeouts(100.0, 10.0, 5.0)
    timeouts.stop()
    timeouts.close(200.0)
    assert timeouts.deadline == 205.0
    assert not timeouts.expire(204.9)
    assert timeouts.expire(205.0)


@pytest.mark.parametrize("close_timeout", [0.5, 60.0])
def test_after_a_fault_the_transport_is_read_for_a_while_and_never_longer_than_the_close_timeout(
    close_timeout: float,
) -> None:
    timeouts = TlsTimeouts(100.0, 10.0, close_timeout)
    timeouts.linger(101.0)
    assert timeouts.deadline == 101.0 + min(LINGER, close_timeout)
    assert timeouts.expire(101.0 + min(LINGER, close_timeout))
