"""A server of TLS 1.2 that asks for another handshake on an open connection (RFC 5246 §7.4.1.1)."""

from __future__ import annotations

import hmac
import ssl
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tls_pair import (
    ALERT,
    APPLICATION_DATA,
    CLIENT_HELLO,
    HANDSHAKE,
    VERSIONS,
    WARNING,
    carry,
    client_context,
    feed,
    message,
    records,
    server_context,
    sides,
)

from mintws.tls import Tls, TlsState

HELLO_REQUEST, NO_RENEGOTIATION = 0, 100


class Keys:
    """The records of one side from the end of its handshake on, with AES-256-GCM (RFC 5288 §3)."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._aead, self._salt = AESGCM(key), salt
        # Finished was the first.
        self._sequence = 1

    def protect(self, kind: int, content: bytes) -> bytes:
        explicit, known = self._next(kind, len(content))
        protected = explicit + self._aead.encrypt(self._salt + explicit, content, known)
        return bytes([kind, 3, 3]) + len(protected).to_bytes(2, "big") + protected

    def unprotect(self, record: bytes) -> tuple[int, bytes]:
        _, known = self._next(record[0], len(record) - 5 - 8 - 16)
        return record[0], self._aead.decrypt(self._salt + record[5:13], record[13:], known)

    def _next(self, kind: int, size: int) -> tuple[bytes, bytes]:
        number = self._sequence.to_bytes(8, "big")
        self._sequence += 1
        return number, number + bytes([kind, 3, 3]) + size.to_bytes(2, "big")


class Forged(NamedTuple):
    """An open client, with the keys that its server writes with, and its own."""

    tls: Tls
    server: Keys
    own: Keys


def forged(client: ssl.SSLContext, log: Path) -> Forged:
    server = server_context(VERSIONS[0])
    server.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    server.keylog_filename = str(log)
    them = sides(client, server)
    hello = them.client.start()
    _, answer = feed(them.server, hello)
    carry(them, downwards=answer)
    assert them.client.state is TlsState.OPEN
    # "CLIENT_RANDOM", that, and the master secret.
    secret = bytes.fromhex(log.read_text().split()[-1])
    # Behind the headers of the record and of the message, and the version.
    seed = b"key expansion" + answer[11:43] + hello[11:43]
    block, a = b"", seed
    while len(block) < 72:
        a = hmac.digest(secret, a, "sha384")
        block += hmac.digest(secret, a + seed, "sha384")
    return Forged(them.client, Keys(block[32:64], block[68:72]), Keys(block[:32], block[64:68]))


def test_a_client_that_takes_no_renegotiation_says_so_and_goes_on(tmp_path: Path) -> None:
    context = client_context(VERSIONS[0])
    context.options |= ssl.OP_NO_RENEGOTIATION
    side = forged(context, tmp_path / "keys.log")
    asked = side.server.protect(HANDSHAKE, message(HELLO_REQUEST, b""))
    plaintext, reply = feed(side.tls, asked + side.server.protect(APPLICATION_DATA, b"as before"))
    assert plaintext == b"as before" and side.tls.end is None
    assert side.own.unprotect(reply) == (ALERT, bytes([WARNING, NO_RENEGOTIATION]))
    assert side.own.unprotect(side.tls.send(b"all right")) == (APPLICATION_DATA, b"all right")


def test_nothing_is_sent_while_the_client_shakes_hands_again(tmp_path: Path) -> None:
    side = forged(client_context(VERSIONS[0]), tmp_path / "keys.log")
    plaintext, reply = feed(side.tls, side.server.protect(HANDSHAKE, message(HELLO_REQUEST, b"")))
    assert plaintext == b"" and side.tls.end is None
    [begun] = records(reply)
    kind, hello = side.own.unprotect(begun)
    assert (kind, hello[0]) == (HANDSHAKE, CLIENT_HELLO)
    with pytest.raises(ssl.SSLWantReadError):
        side.tls.send(b"not now")
    assert side.tls._buffers.outgoing.pending == 0
    # What the server has sent before it knows is given.
    assert feed(side.tls, side.server.protect(APPLICATION_DATA, b"meanwhile"))[0] == b"meanwhile"
