"""Certificates of both sides, and what each is told of those that do not hold (RFC 8446 §4.4, RFC 5246 §7.4)."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone

import pytest
import trustme
from tls_pair import (
    VERSIONS,
    Sides,
    authority,
    carry,
    client_context,
    connected,
    feed,
    server_context,
    shake_hands,
    sides,
)

from mintws import LocalProtocolError
from mintws.tls import TlsState

#: Why a certificate does not hold, as OpenSSL numbers it.
HAS_EXPIRED, NOT_YET_VALID, UNKNOWN_ISSUER, WRONG_NAME, WRONG_ADDRESS = 10, 9, 20, 62, 64


def refused_by_the_client(them: Sides, code: int, alert: str) -> None:
    assert shake_hands(them) == (b"", b"")
    assert isinstance(them.client.end, ssl.SSLCertVerificationError)
    assert them.client.end.verify_code == code
    assert type(them.server.end) is ssl.SSLError
    assert them.server.end.reason.endswith(alert)
    assert them.client.state is them.server.state is TlsState.CLOSED


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("name", "code"), [("example.com", WRONG_NAME), ("127.0.0.1", WRONG_ADDRESS)])
def test_a_certificate_for_another_name_is_refused(version: ssl.TLSVersion, name: str, code: int) -> None:
    refused_by_the_client(sides(version=version, name=name), code, "ALERT_BAD_CERTIFICATE")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("days", "code", "alert"), [(-1, HAS_EXPIRED, "EXPIRED"), (2, NOT_YET_VALID, "CERTIFICATE")])
def test_a_certificate_of_another_time_is_refused(version: ssl.TLSVersion, days: int, code: int, alert: str) -> None:
    begin = datetime.now(timezone.utc) + timedelta(days=days - 1)
    cert = authority().issue_cert("localhost", not_before=begin, not_after=begin + timedelta(days=1))
    refused_by_the_client(sides(client_context(version), server_context(version, cert=cert)), code, alert)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_of_an_unknown_authority_is_refused(version: ssl.TLSVersion) -> None:
    client = client_context(version, trusts=trustme.CA())
    refused_by_the_client(sides(client, server_context(version)), UNKNOWN_ISSUER, "ALERT_UNKNOWN_CA")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_checks_nothing_takes_any_certificate(version: ssl.TLSVersion) -> None:
    client = client_context(version, trusts=trustme.CA())
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    connected(client, server_context(version), name="example.com")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("piece", [1, None])
def test_a_client_gives_its_certificate(version: ssl.TLSVersion, piece: int | None) -> None:
    client = client_context(version)
    authority().issue_cert("me@example.com").configure_cert(client)
    them = sides(client, server_context(version, asks=True))
    shake_hands(them, piece=piece)
    assert them.client.state is them.server.state is TlsState.OPEN
    told = them.server.ssl_object.getpeercert()
    assert told is not None and told["subjectAltName"] == (("email", "me@example.com"),)
    assert carry(them, upwards=them.client.send(b"it is me")) == (b"", b"it is me")


def learns_after_its_handshake(them: Sides, server_error: str, alert: str) -> None:
    """The client of TLS 1.3 is done when it has sent its certificate; the server judges it then."""
    _, downwards = feed(them.server, them.client.start())
    _, upwards = feed(them.client, downwards)
    assert them.client.state is TlsState.OPEN and them.client.end is None
    early = them.client.send(b"hello")
    got, downwards = feed(them.server, upwards + early)
    assert got == b""
    assert them.server.end is not None and them.server.end.reason == server_error
    assert feed(them.client, downwards) == (b"", b"")
    assert them.client.end is not None and them.client.end.reason.endswith(alert)
    assert them.client.state is them.server.state is TlsState.CLOSED
    with pytest.raises(LocalProtocolError):
        them.client.send(b"anyone there?")


def learns_in_its_handshake(them: Sides, server_error: str, alert: str) -> None:
    assert shake_hands(them) == (b"", b"")
    assert them.server.end is not None and them.server.end.reason == server_error
    assert them.client.end is not None and them.client.end.reason.endswith(alert)
    assert them.client.state is them.server.state is TlsState.CLOSED


def test_a_client_without_a_certificate_is_refused_in_the_handshake_of_tls_1_2() -> None:
    them = sides(client_context(VERSIONS[0]), server_context(VERSIONS[0], asks=True))
    learns_in_its_handshake(them, "PEER_DID_NOT_RETURN_A_CERTIFICATE", "HANDSHAKE_FAILURE")


def test_a_client_without_a_certificate_is_refused_after_its_handshake_of_tls_1_3() -> None:
    them = sides(client_context(VERSIONS[1]), server_context(VERSIONS[1], asks=True))
    learns_after_its_handshake(them, "PEER_DID_NOT_RETURN_A_CERTIFICATE", "CERTIFICATE_REQUIRED")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_of_a_client_from_an_unknown_authority_is_refused(version: ssl.TLSVersion) -> None:
    client = client_context(version)
    trustme.CA().issue_cert("me@example.com").configure_cert(client)
    them = sides(client, server_context(version, asks=True))
    learns = learns_in_its_handshake if version is VERSIONS[0] else learns_after_its_handshake
    learns(them, "CERTIFICATE_VERIFY_FAILED", "ALERT_UNKNOWN_CA")
    assert isinstance(them.server.end, ssl.SSLCertVerificationError)
    assert them.server.end.verify_code == UNKNOWN_ISSUER


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_is_not_asked_twice(version: ssl.TLSVersion) -> None:
    # A server that wants a certificate, but needs none.
    server = server_context(version, asks=True)
    server.verify_mode = ssl.CERT_OPTIONAL
    them = connected(client_context(version), server)
    assert them.server.ssl_object.getpeercert() is None
