"""The handshake of TLS (RFC 8446 §4.1, RFC 5246 §7.4), without a network."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tls_pair import (
    HANDSHAKE,
    VERSIONS,
    carry,
    client_context,
    connected,
    feed,
    record,
    records,
    server_context,
    shake_hands,
    sides,
)

from mintws import LocalProtocolError, Role
from mintws.tls import Tls, TlsState

NAMES = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}


def alone(role: Role, version: ssl.TLSVersion | None = None) -> Tls:
    """A side that has begun."""
    tls, _ = sides(version=version).by_role(role)
    assert bool(tls.start()) is (role is Role.CLIENT)
    return tls


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("piece", [1, 2, 5, 64, 1000, None])
def test_a_handshake_may_come_in_pieces_of_any_size(version: ssl.TLSVersion, piece: int | None) -> None:
    them = sides(version=version)
    assert shake_hands(them, piece=piece) == (b"", b"")
    for tls in them:
        assert tls.state is TlsState.OPEN and tls.end is None
        assert tls.ssl_object.version() == NAMES[version]
    assert carry(them, upwards=them.client.send(b"ask")) == (b"", b"ask")
    assert carry(them, downwards=them.server.send(b"answer")) == (b"answer", b"")


def test_both_sides_speak_the_newest_version_that_they_have() -> None:
    them = connected()
    assert them.client.ssl_object.version() == them.server.ssl_object.version() == "TLSv1.3"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("size", "piece"), [(1, 1), (20_000, 1), (20_000, None), (300_000, 50_000), (300_000, None)])
def test_plaintext_that_comes_with_the_end_of_the_handshake_is_given(
    version: ssl.TLSVersion, piece: int | None, size: int
) -> None:
    them = sides(version=version)
    text = bytes(range(250)) * (size // 250) + bytes(size % 250)
    upwards, downwards = them.client.start(), b""
    # Whose flight is the last depends on the version; it goes together with plaintext.
    while them.client.state is TlsState.HANDSHAKE and them.server.state is TlsState.HANDSHAKE:
        if upwards:
            (_, downwards), upwards = feed(them.server, upwards), b""
        else:
            (_, upwards), downwards = feed(them.client, downwards), b""
    if them.client.state is TlsState.OPEN:
        assert them.server.state is TlsState.HANDSHAKE
        got, _ = feed(them.server, upwards + them.client.send(text), piece)
    else:
        assert version is ssl.TLSVersion.TLSv1_2
        got, _ = feed(them.client, downwards + them.server.send(text), piece)
    assert got == text


@pytest.mark.parametrize(
    ("client", "server"), [(VERSIONS[0], VERSIONS[1]), (VERSIONS[1], VERSIONS[0])], ids=["older client", "older server"]
)
def test_sides_without_a_common_version_are_told_so(client: ssl.TLSVersion, server: ssl.TLSVersion) -> None:
    them = sides(client_context(client), server_context(server))
    assert shake_hands(them) == (b"", b"")
    assert them.server.end is not None and them.server.end.reason == "UNSUPPORTED_PROTOCOL"
    assert them.client.end is not None and them.client.end.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert them.client.state is them.server.state is TlsState.CLOSED


def test_sides_without_a_common_cipher_suite_are_told_so() -> None:
    client, server = client_context(VERSIONS[0]), server_context(VERSIONS[0])
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    server.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    them = sides(client, server)
    shake_hands(them)
    assert them.server.end is not None and them.server.end.reason == "NO_SHARED_CIPHER"
    assert them.client.end is not None and "HANDSHAKE_FAILURE" in them.client.end.reason
    assert them.client.state is them.server.state is TlsState.CLOSED


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("piece", [1, None])
@pytest.mark.parametrize(
    "plaintext",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\0" * 100,
        record(HANDSHAKE, b"\x02\0\0\x01\0"),
        record(99, b"?" * 100),
    ],
)
def test_what_is_no_tls_ends_the_handshake(role: Role, plaintext: bytes, piece: int | None) -> None:
    tls = alone(role)
    got, _ = feed(tls, plaintext, piece)
    assert got == b""
    assert type(tls.end) is ssl.SSLError and tls.end.reason
    assert tls.state is TlsState.CLOSED
    # Nothing more is taken, or said.
    end = tls.end
    assert tls.receive(plaintext) == (b"", b"") and tls.receive(b"") == (b"", b"") and tls.close() == b""
    assert tls.end is end


@pytest.mark.parametrize("role", Role)
def test_a_transport_that_ends_in_the_handshake_is_told_apart(role: Role) -> None:
    tls = alone(role)
    assert tls.receive(b"") == (b"", b"")
    assert isinstance(tls.end, ssl.SSLEOFError)
    assert tls.state is TlsState.CLOSED


@given(role=st.sampled_from(Role), version=st.sampled_from(VERSIONS), data=st.data())
def test_a_handshake_with_wrong_bytes_ends_with_an_error(
    role: Role, version: ssl.TLSVersion, data: st.DataObject
) -> None:
    """One byte of what a side receives is another, cut anywhere: it says so, or waits until the transport ends; nothing is raised."""
    them = sides(version=version)
    tls, peer = them.by_role(role)
    which, piece = data.draw(st.integers(0, 3)), data.draw(st.sampled_from([None, 1, 7, 300]))
    # How long a flight is, differs by the size of a signature.
    where, mask = data.draw(st.integers(0, 5000)), data.draw(st.integers(1, 255))
    to_peer, to_tls = (tls.start(), b"") if role is Role.CLIENT else (b"", peer.start())
    for flight in range(6):
        if to_peer:
            _, to_tls = feed(peer, to_peer)
        if flight == which and to_tls:
            at = where % len(to_tls)
            to_tls = to_tls[:at] + bytes([to_tls[at] ^ mask]) + to_tls[at + 1 :]
        got, to_peer = feed(tls, to_tls, piece)
        assert got == b""
        to_tls = b""
    tls.receive(b"")
    assert isinstance(tls.end, ssl.SSLError)


@given(
    role=st.sampled_from(Role),
    version=st.sampled_from([*VERSIONS, None]),
    pieces=st.lists(st.binary(max_size=600), max_size=6),
    wrapped=st.booleans(),
)
def test_any_bytes_instead_of_a_handshake_end_it(
    role: Role, version: ssl.TLSVersion | None, pieces: list[bytes], wrapped: bool
) -> None:
    tls = alone(role, version)
    for piece in pieces:
        got, _ = feed(tls, record(HANDSHAKE, piece) if wrapped else piece)
        assert got == b""
    tls.receive(b"")
    assert isinstance(tls.end, ssl.SSLError)
    assert tls.state is TlsState.CLOSED


@pytest.mark.parametrize("version", VERSIONS)
def test_a_side_says_no_more_than_the_handshake_before_it_is_done(version: ssl.TLSVersion) -> None:
    them = sides(version=version)
    hello = them.client.start()
    assert [it[0] for it in records(hello)] == [HANDSHAKE]
    for tls in them:
        with pytest.raises(LocalProtocolError):
            tls.send(b"too early")
    # The calls that failed have left nothing of themselves.
    assert carry(them, upwards=hello) == (b"", b"")
    assert carry(them, upwards=them.client.send(b"in time")) == (b"", b"in time")


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("begun", [True, False])
def test_a_side_that_closes_in_the_handshake_says_nothing(role: Role, begun: bool) -> None:
    them = sides()
    tls, _ = them.by_role(role)
    if begun:
        feed(them.server, them.client.start())
    assert tls.close() == b""
    assert tls.state is TlsState.CLOSED and isinstance(tls.end, ssl.SSLError)
    with pytest.raises(LocalProtocolError):
        tls.send(b"no")
    assert tls.receive(b"\x16\x03\x01\0\x05hello") == (b"", b"")


@pytest.mark.parametrize("version", VERSIONS)
def test_plaintext_passes_both_ways_from_the_handshake_on(version: ssl.TLSVersion) -> None:
    them = sides(version=version)
    upwards, at_client, at_server = them.client.start(), b"", b""
    for i in range(20):
        got, downwards = feed(them.server, upwards)
        at_server += got
        if them.server.state is TlsState.OPEN:
            downwards += them.server.send(b"down%d " % i)
        got, upwards = feed(them.client, downwards)
        at_client += got
        if them.client.state is TlsState.OPEN:
            upwards += them.client.send(b"up%d " % i)
    carry(them, upwards=upwards)
    assert at_client.split()[-1] == b"down19" and at_server.split()[-1] == b"up18"
