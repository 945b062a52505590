"""Buffers that TLS connections share: they are empty between calls, so nothing of one gets into another."""

from __future__ import annotations

import ssl
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tls_pair import VERSIONS, Sides, carry, client_context, connected, feed, records, server_context, sides

from mintws import LocalProtocolError, Role
from mintws.tls import Tls, TlsBuffers, TlsState

CONTEXTS = {version: (client_context(version), server_context(version)) for version in VERSIONS}


def empty(buffers: TlsBuffers) -> bool:
    return buffers.incoming.pending == buffers.outgoing.pending == 0


class Line:
    """A client and a server whose ciphertext is under way until it is delivered in pieces."""

    def __init__(self, number: int, version: ssl.TLSVersion, buffers: TlsBuffers) -> None:
        self.them = sides(*CONTEXTS[version], buffers=buffers)
        self.buffers = buffers
        self.under_way = {self.them.server: self.them.client.start(), self.them.client: b""}
        self.sent: dict[Tls, bytes] = {self.them.client: b"", self.them.server: b""}
        self.got: dict[Tls, bytes] = {self.them.client: b"", self.them.server: b""}
        self.number = number

    def act(self, role: Role, what: str, size: int) -> None:
        tls, peer = self.them.by_role(role)
        match what:
            case "deliver":
                piece, self.under_way[tls] = self.under_way[tls][:size], self.under_way[tls][size:]
                if piece:
                    plaintext, reply = tls.receive(piece)
                    self.got[tls] += plaintext
                    self.under_way[peer] += reply
            case "send" if tls.state is TlsState.OPEN:
                text = (b"%d %s " % (self.number, role.name.encode())) * (size // 8)
                self.sent[tls] += text
                self.under_way[peer] += tls.send(text)
            case "send":
                with pytest.raises(LocalProtocolError):
                    tls.send(b"refused")
            case "close" if tls.state is TlsState.OPEN:
                self.under_way[peer] += tls.close()
        assert empty(self.buffers)


@given(
    versions=st.lists(st.sampled_from(VERSIONS), min_size=2, max_size=4),
    steps=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(Role),
            st.sampled_from(["deliver", "deliver", "send", "close"]),
            st.integers(1, 40_000),
        ),
        max_size=60,
    ),
)
def test_connections_that_share_buffers_never_mix(
    versions: list[ssl.TLSVersion], steps: list[tuple[int, Role, str, int]]
) -> None:
    buffers = TlsBuffers()
    lines = [Line(number, version, buffers) for number, version in enumerate(versions)]
    assert empty(buffers)
    for which, role, what, size in steps:
        lines[which % len(lines)].act(role, what, size)
    # What is still under way arrives, by turns.
    while any(any(line.under_way.values()) for line in lines):
        for line in lines:
            for role in Role:
                line.act(role, "deliver", 5_000)
    for line in lines:
        client, server = line.them
        assert line.got == {client: line.sent[server], server: line.sent[client]}
        for tls in line.them:
            assert tls.end is None or isinstance(tls.end, ssl.SSLZeroReturnError)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "failure", ["corrupt", "no TLS", "transport ended", "sent too late", "closed in the handshake"]
)
def test_a_connection_that_fails_leaves_nothing_for_others(version: ssl.TLSVersion, role: Role, failure: str) -> None:
    buffers = TlsBuffers()
    good = connected(version=version, buffers=buffers)
    tls, peer = connected(version=version, buffers=buffers).by_role(role)
    match failure:
        case "corrupt":
            ciphertext = bytearray(peer.send(b"x" * 50_000) + peer.send(b"y" * 100))
            ciphertext[20_000] ^= 1
            tls.receive(bytes(ciphertext))
        case "no TLS":
            tls.receive(b"GET / HTTP/1.1\r\n\r\n" * 100)
        case "transport ended":
            tls.receive(peer.send(b"x" * 1000)[:500])
            tls.receive(b"")
        case "sent too late":
            tls.close()
            with pytest.raises(LocalProtocolError):
                tls.send(b"x" * 50_000)
        case _:
            them = sides(version=version, buffers=buffers)
            feed(them.server, them.client.start()[:100])
            them.by_role(role)[0].close()
    assert empty(buffers)
    assert carry(good, upwards=good.client.send(b"ask")) == (b"", b"ask")
    assert carry(good, downwards=good.server.send(b"answer")) == (b"answer", b"")


@pytest.mark.parametrize("given", [array("I", range(30_000)), memoryview(array("H", range(10))), array("d", [1.0])])
def test_plaintext_of_wide_items_is_its_bytes(given: array[int]) -> None:
    them = connected()
    assert carry(them, upwards=them.client.send(given)) == (b"", bytes(memoryview(given)))  # type: ignore[arg-type]
    assert empty(them.client._buffers)


@pytest.mark.parametrize("given", ["text", None, 7, [1, 2], memoryview(bytes(10))[::2]])
def test_what_are_no_bytes_is_refused(given: object) -> None:
    them = connected()
    with pytest.raises((TypeError, BufferError)):
        them.client.send(given)  # type: ignore[arg-type]
    assert empty(them.client._buffers)
    assert carry(them, upwards=them.client.send(b"as before")) == (b"", b"as before")


def last_flight(version: ssl.TLSVersion, buffers: TlsBuffers) -> tuple[Tls, Tls, bytes]:
    """Give a side whose handshake ends with what comes, its peer, and that."""
    them = sides(version=version, buffers=buffers)
    _, downwards = feed(them.server, them.client.start())
    _, last = feed(them.client, downwards)
    if version is VERSIONS[1]:
        return them.server, them.client, last
    _, last = feed(them.server, last)
    return them.client, them.server, last


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cut", [0, 3, 40, 1000])
@pytest.mark.parametrize("closes", [True, False])
def test_what_comes_after_the_end_of_the_handshake_is_given_back(
    version: ssl.TLSVersion, cut: int, closes: bool
) -> None:
    # Whoever shakes hands may close, or do anything else, before it is decrypted.
    tls, peer, last = last_flight(version, TlsBuffers())
    extra = peer.send(b"whole") + peer.send(b"cut")
    reply, rest = tls.shake_hands(last + extra[:cut])
    assert rest == extra[:cut] and tls.state is TlsState.OPEN
    assert empty(tls._buffers)
    if closes:
        reply += tls.close()
    feed(peer, reply)
    assert isinstance(peer.end, ssl.SSLZeroReturnError) is closes
    plaintext, _ = tls.receive(rest + extra[cut:] + peer.send(b" more") + peer.close())
    assert plaintext == b"wholecut more"
    assert isinstance(tls.end, ssl.SSLZeroReturnError)


@pytest.mark.parametrize("version", VERSIONS)
def test_records_of_a_large_write_are_joined(version: ssl.TLSVersion) -> None:
    # The fewest writes, and none so large that OpenSSL would keep its size.
    them = connected(version=version)
    pieces = them.client.records.encrypt(bytes(300_000))
    assert sum(len(records(piece)) for piece in pieces) == 19
    assert len(pieces) == 3
    assert feed(them.server, b"".join(pieces)) == (bytes(300_000), b"")


def test_too_little_room_for_plaintext_is_refused_and_leaves_nothing() -> None:
    them: Sides = connected()
    with pytest.raises(ValueError, match="too little room"):
        them.server.records.decrypt(them.client.send(b"x" * 100), memoryview(bytearray(1000)))
    assert empty(them.server._buffers)
