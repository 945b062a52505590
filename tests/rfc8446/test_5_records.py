"""The record protocol (RFC 8446 §5, RFC 5246 §6): any cut of the ciphertext gives the same plaintext, and a wrong record none."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tls_pair import (
    ALERT,
    APPLICATION_DATA,
    BAD_RECORD_MAC,
    FATAL,
    HANDSHAKE,
    RECORD_OVERFLOW,
    UNEXPECTED_MESSAGE,
    VERSIONS,
    Forged,
    carry,
    connected,
    feed,
    forged,
    record,
    records,
)

from mintws import LocalProtocolError, Role
from mintws.tls import READ_SIZE, RECORD, TlsState

MIB = 1 << 20


@pytest.fixture(params=list(Role), ids=lambda role: role.name)
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Forged:
    return forged(request.param, tmp_path / "keys.log")


def text(size: int) -> bytes:
    return bytes(i * i % 251 for i in range(min(size, 4099))) * (size // 4099 + 1)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", Role)
def test_records_may_be_cut_at_every_place(version: ssl.TLSVersion, role: Role) -> None:
    tls, peer = connected(version=version).by_role(role)
    for size in (0, 1, 30):
        for cut in range(120):
            sent = [text(size)[:size], b"and another"]
            ciphertext = b"".join(map(peer.send, sent))
            (first, _), (second, _) = feed(tls, ciphertext[:cut]), feed(tls, ciphertext[cut:])
            assert first + second == b"".join(sent)
            # A record that is whole does not wait for the next one.
            whole = [it for it in records(ciphertext) if it]
            if sent[0] and cut >= len(whole[0]):
                assert first.startswith(sent[0])
    assert tls.end is None


@given(
    version=st.sampled_from(VERSIONS),
    role=st.sampled_from(Role),
    messages=st.lists(st.integers(0, 70_000), max_size=8),
    pieces=st.lists(st.integers(1, 200_000), max_size=12),
)
def test_any_cut_gives_the_same_plaintext(
    version: ssl.TLSVersion, role: Role, messages: list[int], pieces: list[int]
) -> None:
    tls, peer = connected(version=version).by_role(role)
    sent = [text(size)[:size] for size in messages]
    ciphertext, got = b"".join(map(peer.send, sent)), b""
    for piece in [*pieces, len(ciphertext)]:
        # As a loop gives it: in a buffer that is used again.
        chunk = bytearray(ciphertext[:piece])
        ciphertext = ciphertext[piece:]
        if chunk:
            plaintext, reply = tls.receive(memoryview(chunk))
            got += plaintext
            assert reply == b""
            chunk[:] = bytes(len(chunk))
    assert got == b"".join(sent)
    assert tls.end is None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("piece", [1000, RECORD, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, None])
def test_a_mib_passes(version: ssl.TLSVersion, role: Role, piece: int | None) -> None:
    tls, peer = connected(version=version).by_role(role)
    sent = text(MIB)[:MIB]
    ciphertext = peer.send(memoryview(sent))
    assert all(len(it) <= 5 + RECORD + 256 for it in records(ciphertext))
    assert feed(tls, ciphertext, piece) == (sent, b"")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", Role)
def test_many_messages_come_in_one_piece(version: ssl.TLSVersion, role: Role) -> None:
    tls, peer = connected(version=version).by_role(role)
    ciphertext = b"".join(peer.send(b"%d," % i) for i in range(20_000))
    assert feed(tls, ciphertext) == (b"".join(b"%d," % i for i in range(20_000)), b"")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_sent_is_cut_into_records_of_16_kib(version: ssl.TLSVersion) -> None:
    them = connected(version=version)
    assert them.client.send(b"") == b""
    for size, count in [(1, 1), (RECORD - 1, 1), (RECORD, 1), (RECORD + 1, 2), (3 * RECORD, 3)]:
        sent = text(size)[:size]
        ciphertext = them.client.send(sent)
        assert len(records(ciphertext)) == count
        assert all(it[0] == APPLICATION_DATA for it in records(ciphertext))
        assert carry(them, upwards=ciphertext) == (b"", sent)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("size", [1, 40_000, 300_000])
def test_plaintext_may_be_any_bytes_like_object(kind: type, size: int) -> None:
    them = connected()
    sent = text(size)[:size]
    assert carry(them, upwards=them.client.send(kind(sent))) == (b"", sent)


def test_empty_records_and_padding_are_no_plaintext(side: Forged) -> None:
    # §5.4: of application data a record may be empty.
    data = b"".join(side.peer.protect(APPLICATION_DATA, b"", padding) for padding in (0, 1, 255, 16_000))
    data += side.peer.protect(APPLICATION_DATA, b"here", 1000) + side.peer.protect(APPLICATION_DATA, b"", 3)
    assert feed(side.tls, data + side.peer.protect(APPLICATION_DATA, b"in\0\0")) == (b"herein\0\0", b"")
    assert side.tls.end is None


def test_the_largest_record_is_taken(side: Forged) -> None:
    sent = text(RECORD)[:RECORD]
    data = b"".join(side.peer.protect(APPLICATION_DATA, sent) for _ in range(20))
    assert feed(side.tls, data) == (sent * 20, b"")


def fault(side: Forged, data: bytes, alert: int | None) -> None:
    """A wrong record ends the connection; what came before it is given, and what comes after it is not."""
    before, after = side.peer.protect(APPLICATION_DATA, b"before"), b"\x17\x03\x03\0\x20" + bytes(32)
    plaintext, reply = feed(side.tls, before + data + after)
    assert plaintext == b"before"
    assert type(side.tls.end) is ssl.SSLError and side.tls.end.reason
    assert side.tls.state is TlsState.CLOSED
    if alert is not None:
        assert side.own.unprotect(reply) == (ALERT, bytes([FATAL, alert]))
    assert side.tls.receive(after) == side.tls.receive(b"") == (b"", b"")
    assert side.tls.close() == b""
    with pytest.raises(LocalProtocolError):
        side.tls.send(b"too late")
    assert side.tls._buffers.incoming.pending == side.tls._buffers.outgoing.pending == 0


@pytest.mark.parametrize("at", [5, 10, -17, -16, -1])
def test_a_corrupt_record_is_bad_record_mac(side: Forged, at: int) -> None:
    corrupt = bytearray(side.peer.protect(APPLICATION_DATA, b"a record that somebody has touched"))
    corrupt[at] ^= 1
    plaintext, reply = feed(side.tls, bytes(corrupt))
    assert plaintext == b"" and side.tls.end is not None
    assert side.tls.end.reason == "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
    assert side.own.unprotect(reply) == (ALERT, bytes([FATAL, BAD_RECORD_MAC]))


@given(version=st.sampled_from(VERSIONS), role=st.sampled_from(Role), data=st.data())
def test_any_corrupt_record_ends_the_connection(version: ssl.TLSVersion, role: Role, data: st.DataObject) -> None:
    tls, peer = connected(version=version).by_role(role)
    good, bad = peer.send(b"good"), bytearray(peer.send(b"x" * data.draw(st.integers(1, 40))))
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(1, 255))
    plaintext, reply = feed(tls, good + bytes(bad), data.draw(st.sampled_from([1, 9, None])))
    assert plaintext == b"good"
    waits = tls.end is None
    more, answer = tls.receive(b"")
    assert more == b"" and isinstance(tls.end, ssl.SSLError)
    # A longer length waits for more.
    assert isinstance(tls.end, ssl.SSLEOFError) is waits
    # What is wrong is told to the peer, unless it is taken for no TLS at all.
    if reply + answer:
        assert feed(peer, reply + answer) == (b"", b"")
        assert peer.end is not None and "ALERT" in peer.end.reason


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("order", "taken"), [((0, 2), b"0"), ((0, 1, 1), b"01"), ((0, 2, 1), b"0")])
def test_records_that_are_lost_repeated_or_swapped_are_bad_record_mac(
    version: ssl.TLSVersion, role: Role, order: tuple[int, ...], taken: bytes
) -> None:
    tls, peer = connected(version=version).by_role(role)
    sent = [peer.send(b"%d" % i) for i in range(3)]
    plaintext, reply = feed(tls, b"".join(sent[i] for i in order))
    assert plaintext == taken
    assert tls.end is not None and tls.end.reason == "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
    feed(peer, reply)
    assert peer.end is not None and peer.end.reason.endswith("ALERT_BAD_RECORD_MAC")


def test_more_plaintext_than_a_record_may_have_is_record_overflow(side: Forged) -> None:
    plaintext, reply = feed(side.tls, side.peer.protect(APPLICATION_DATA, bytes(RECORD + 1)))
    assert plaintext == b"" and type(side.tls.end) is ssl.SSLError
    assert side.own.unprotect(reply) == (ALERT, bytes([FATAL, RECORD_OVERFLOW]))


def test_a_record_longer_than_any_is_record_overflow(side: Forged) -> None:
    # It is not waited for.
    fault(side, bytes([APPLICATION_DATA, 3, 3]) + (RECORD + 257).to_bytes(2, "big"), RECORD_OVERFLOW)


@pytest.mark.parametrize("kind", [HANDSHAKE, APPLICATION_DATA, ALERT, 99])
def test_a_record_that_is_not_protected_is_a_fault(side: Forged, kind: int) -> None:
    fault(side, record(kind, b"\1\0" + bytes(30)), None)


@pytest.mark.parametrize("kind", [20, 99, 0])
def test_a_protected_record_of_another_type_is_a_fault(side: Forged, kind: int) -> None:
    assert feed(side.tls, side.peer.protect(APPLICATION_DATA, b"before")) == (b"before", b"")
    plaintext, reply = feed(side.tls, side.peer.protect(kind, b"\1" if kind else b""))
    assert plaintext == b"" and type(side.tls.end) is ssl.SSLError
    assert side.own.unprotect(reply) == (ALERT, bytes([FATAL, UNEXPECTED_MESSAGE]))


@given(
    role=st.sampled_from(Role),
    version=st.sampled_from(VERSIONS),
    pieces=st.lists(st.binary(max_size=400), max_size=5),
    kind=st.sampled_from([None, 20, ALERT, HANDSHAKE, APPLICATION_DATA]),
)
def test_any_bytes_on_an_open_connection_raise_nothing(
    role: Role, version: ssl.TLSVersion, pieces: list[bytes], kind: int | None
) -> None:
    tls, _ = connected(version=version).by_role(role)
    for piece in pieces:
        plaintext, _ = feed(tls, piece if kind is None else record(kind, piece))
        assert plaintext == b""
    tls.receive(b"")
    assert isinstance(tls.end, ssl.SSLError)
    assert tls._buffers.incoming.pending == tls._buffers.outgoing.pending == 0
