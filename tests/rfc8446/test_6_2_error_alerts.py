"""Alerts that say what is wrong (RFC 8446 §6.2, RFC 5246 §7.2.2)."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from tls_pair import (
    ALERT,
    APPLICATION_DATA,
    FATAL,
    INTERNAL_ERROR,
    VERSIONS,
    WARNING,
    Forged,
    feed,
    forged,
    record,
    sides,
)

from mintws import LocalProtocolError, Role
from mintws.tls import TlsState

#: As OpenSSL has them; Python 3.11 has no `reason` for the last.
ALERTS = {
    10: "unexpected message",
    20: "bad record mac",
    22: "record overflow",
    40: "handshake failure",
    42: "bad certificate",
    45: "certificate expired",
    46: "certificate unknown",
    48: "unknown ca",
    49: "access denied",
    50: "decode error",
    70: "protocol version",
    80: "internal error",
    109: "missing extension",
    112: "unrecognized name",
    116: "certificate required",
    120: "no application protocol",
}


@pytest.fixture(params=list(Role), ids=lambda role: role.name)
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Forged:
    return forged(request.param, tmp_path / "keys.log")


@pytest.mark.parametrize("level", [WARNING, FATAL])
@pytest.mark.parametrize("number", ALERTS)
def test_an_alert_ends_the_connection_and_is_told(side: Forged, number: int, level: int) -> None:
    # All of these are fatal, whatever level they claim (§6.2).
    data = side.peer.protect(APPLICATION_DATA, b"before") + side.peer.protect(ALERT, bytes([level, number]))
    # No alert answers one.
    assert feed(side.tls, data + side.peer.protect(APPLICATION_DATA, b"after")) == (b"before", b"")
    assert type(side.tls.end) is ssl.SSLError
    assert ALERTS[number] in str(side.tls.end)
    assert side.tls.state is TlsState.CLOSED
    assert side.tls.close() == b""
    with pytest.raises(LocalProtocolError):
        side.tls.send(b"anyone there?")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("number", ALERTS)
def test_an_alert_ends_the_handshake_and_is_told(version: ssl.TLSVersion, role: Role, number: int) -> None:
    them = sides(version=version)
    tls, _ = them.by_role(role)
    hello = them.client.start()
    if role is Role.SERVER:
        feed(them.server, hello)
    assert feed(tls, record(ALERT, bytes([FATAL, number]))) == (b"", b"")
    assert type(tls.end) is ssl.SSLError
    assert ALERTS[number] in str(tls.end)
    assert tls.state is TlsState.CLOSED


def test_an_unknown_alert_ends_the_connection(side: Forged) -> None:
    assert feed(side.tls, side.peer.protect(ALERT, bytes([FATAL, 200]))) == (b"", b"")
    assert type(side.tls.end) is ssl.SSLError
    assert side.tls.state is TlsState.CLOSED


@pytest.mark.parametrize("body", [b"", b"\2", b"\2\x14\2\x14", b"\7\x14"])
def test_an_alert_that_is_none_is_a_fault(side: Forged, body: bytes) -> None:
    plaintext, _ = feed(side.tls, side.peer.protect(ALERT, body))
    assert plaintext == b"" and type(side.tls.end) is ssl.SSLError
    assert side.tls.state is TlsState.CLOSED


def test_warnings_without_end_are_a_fault(side: Forged) -> None:
    data = b"".join(side.peer.protect(ALERT, bytes([WARNING, 90])) for _ in range(1000))
    feed(side.tls, data)
    assert type(side.tls.end) is ssl.SSLError


def test_an_error_holds_no_frames(side: Forged) -> None:
    # It lives as long as the connection, and would hold all that its frames hold.
    feed(side.tls, side.peer.protect(ALERT, bytes([FATAL, INTERNAL_ERROR])))
    assert side.tls.end is not None and side.tls.end.__traceback__ is None
    assert side.tls.end.__context__ is None
