"""How each side says that it sends no more (RFC 8446 §6.1, RFC 5246 §7.2.1)."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from tls_pair import (
    ALERT,
    APPLICATION_DATA,
    CLOSE_NOTIFY,
    FATAL,
    VERSIONS,
    WARNING,
    Forged,
    carry,
    connected,
    feed,
    forged,
    records,
    sides,
)

from mintws import LocalProtocolError, Role
from mintws.tls import Tls, TlsState

USER_CANCELED = 90


@pytest.fixture(params=[(version, role) for version in VERSIONS for role in Role], ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[Tls, Tls]:
    """One side and its peer, in each version and role."""
    version, role = request.param
    return connected(version=version).by_role(role)


@pytest.fixture(params=list(Role), ids=lambda role: role.name)
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Forged:
    return forged(request.param, tmp_path / "keys.log")


def test_close_notify_is_an_alert_of_its_own(side: Forged) -> None:
    [sent] = records(side.tls.close())
    assert side.own.unprotect(sent) == (ALERT, bytes([WARNING, CLOSE_NOTIFY]))
    assert side.tls.state is TlsState.CLOSED and side.tls.end is None


@pytest.mark.parametrize("piece", [1, None])
def test_close_notify_ends_what_the_peer_sends(pair: tuple[Tls, Tls], piece: int | None) -> None:
    tls, peer = pair
    assert feed(tls, peer.send(b"last words") + peer.close(), piece) == (b"last words", b"")
    assert isinstance(tls.end, ssl.SSLZeroReturnError)
    # The end of the transport, and what comes all the same, change nothing.
    end = tls.end
    assert tls.receive(b"") == tls.receive(b"\x17\x03\x03\0\1x") == (b"", b"")
    assert tls.end is end and tls.state is TlsState.OPEN


def test_what_the_peer_does_not_wait_for_can_still_be_sent(pair: tuple[Tls, Tls]) -> None:
    # Each side ends its own half (RFC 8446); a peer of TLS 1.2 gets what it has not asked for any more.
    tls, peer = pair
    feed(tls, peer.close())
    assert feed(peer, tls.send(b"an answer")) == (b"an answer", b"")
    assert peer.end is None
    assert feed(peer, tls.close()) == (b"", b"")
    assert isinstance(peer.end, ssl.SSLZeroReturnError)
    assert tls.state is peer.state is TlsState.CLOSED


def test_what_comes_after_our_close_notify_is_given(pair: tuple[Tls, Tls]) -> None:
    tls, peer = pair
    under_way = peer.send(b"under way")
    assert len(records(tls.close())) == 1
    assert feed(tls, under_way + peer.send(b", and more")) == (b"under way, and more", b"")
    assert tls.state is TlsState.CLOSED and tls.end is None
    assert feed(tls, peer.close()) == (b"", b"")
    assert isinstance(tls.end, ssl.SSLZeroReturnError)


def test_close_notifies_may_cross(pair: tuple[Tls, Tls]) -> None:
    tls, peer = pair
    ours, theirs = tls.close(), peer.close()
    assert feed(tls, theirs) == feed(peer, ours) == (b"", b"")
    assert isinstance(tls.end, ssl.SSLZeroReturnError) and isinstance(peer.end, ssl.SSLZeroReturnError)


def test_nothing_is_sent_after_our_close_notify(pair: tuple[Tls, Tls]) -> None:
    tls, peer = pair
    closed = tls.close()
    with pytest.raises(LocalProtocolError):
        tls.send(b"one more thing")
    assert tls.close() == b""
    assert feed(peer, closed) == (b"", b"")
    assert isinstance(peer.end, ssl.SSLZeroReturnError)
    # The call that failed has broken nothing.
    assert feed(tls, peer.send(b"all right")) == (b"all right", b"")


@pytest.mark.parametrize("sent", [b"", b"whole"])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("cut", [0, 10])
def test_a_transport_that_ends_without_close_notify_is_told_apart(
    pair: tuple[Tls, Tls], sent: bytes, closed: bool, cut: int
) -> None:
    # Something may be missing, though no record is cut.
    tls, peer = pair
    if closed:
        tls.close()
    plaintext, _ = feed(tls, peer.send(sent) + peer.send(b"a record that is cut")[:cut])
    assert plaintext == sent
    assert tls.end is None
    assert tls.receive(b"") == (b"", b"")
    assert isinstance(tls.end, ssl.SSLEOFError) and not isinstance(tls.end, ssl.SSLZeroReturnError)
    assert "close_notify" in str(tls.end)


@pytest.mark.parametrize("notified", [True, False])
def test_close_notify_is_sent_to_a_peer_that_has_ended_its_half_of_the_transport(
    pair: tuple[Tls, Tls], notified: bool
) -> None:
    # Whatever the peer has said: it may read on.
    tls, peer = pair
    if notified:
        feed(tls, peer.close())
    assert tls.receive(b"") == (b"", b"")
    assert feed(peer, tls.send(b"an answer") + tls.close()) == (b"an answer", b"")
    assert isinstance(peer.end, ssl.SSLZeroReturnError)
    assert tls.state is TlsState.CLOSED


def test_a_close_notify_that_is_cut_is_none(pair: tuple[Tls, Tls]) -> None:
    tls, peer = pair
    assert feed(tls, peer.close()[:-1]) == (b"", b"")
    tls.receive(b"")
    assert isinstance(tls.end, ssl.SSLEOFError)


@pytest.mark.parametrize("version", VERSIONS)
def test_close_notify_may_come_with_the_end_of_the_handshake(version: ssl.TLSVersion) -> None:
    # The side that is done first closes at once: in TLS 1.2 the server, in TLS 1.3 the client.
    them = sides(version=version)
    _, downwards = feed(them.server, them.client.start())
    _, last = feed(them.client, downwards)
    tls, peer = them.server, them.client
    if version is VERSIONS[0]:
        _, last = feed(them.server, last)
        tls, peer = them.client, them.server
    assert tls.state is TlsState.HANDSHAKE
    plaintext, _ = feed(tls, last + peer.send(b"bye") + peer.close())
    assert plaintext == b"bye"
    assert tls.state is TlsState.OPEN
    assert isinstance(tls.end, ssl.SSLZeroReturnError)


@pytest.mark.parametrize("version", VERSIONS)
def test_both_sides_close_in_turn(version: ssl.TLSVersion) -> None:
    them = connected(version=version)
    assert carry(them, upwards=them.client.send(b"up") + them.client.close()) == (b"", b"up")
    assert carry(them, downwards=them.server.send(b"down") + them.server.close()) == (b"down", b"")
    for tls in them:
        assert tls.state is TlsState.CLOSED and isinstance(tls.end, ssl.SSLZeroReturnError)


def test_a_fatal_close_notify_is_one_too(side: Forged) -> None:
    # The level of an alert means nothing in TLS 1.3 (§6).
    feed(side.tls, side.peer.protect(ALERT, bytes([FATAL, CLOSE_NOTIFY])))
    assert isinstance(side.tls.end, ssl.SSLZeroReturnError)


def test_user_canceled_is_no_end(side: Forged) -> None:
    data = side.peer.protect(ALERT, bytes([WARNING, USER_CANCELED])) + side.peer.protect(
        APPLICATION_DATA, b"still here"
    )
    assert feed(side.tls, data) == (b"still here", b"")
    assert side.tls.end is None
    feed(side.tls, side.peer.protect(ALERT, bytes([WARNING, CLOSE_NOTIFY])))
    assert isinstance(side.tls.end, ssl.SSLZeroReturnError)
