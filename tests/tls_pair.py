"""Both sides of a TLS connection without a network, their certificates, and a peer that can make any record of TLS 1.3."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import trustme
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from mintws import Role
from mintws.tls import Tls, TlsBuffers, TlsState

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

# Types of content (RFC 8446 §5.1), and of messages of the handshake (§4).
ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23
CLIENT_HELLO, NEW_SESSION_TICKET, CERTIFICATE_REQUEST, KEY_UPDATE = 1, 4, 13, 24

# Alerts (RFC 8446 §6).
WARNING, FATAL = 1, 2
CLOSE_NOTIFY, UNEXPECTED_MESSAGE, BAD_RECORD_MAC, RECORD_OVERFLOW = 0, 10, 20, 22
HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, INTERNAL_ERROR, UNRECOGNIZED_NAME, NO_APPLICATION_PROTOCOL = 40, 47, 80, 112, 120


class Sides(NamedTuple):
    """A client and a server."""

    client: Tls
    server: Tls

    def by_role(self, role: Role) -> tuple[Tls, Tls]:
        """Give the side of a role, and its peer."""
        return (self.client, self.server) if role is Role.CLIENT else (self.server, self.client)


@cache
def authority() -> trustme.CA:
    """An authority that both sides trust."""
    return trustme.CA()


@cache
def certificate() -> trustme.LeafCert:
    return authority().issue_cert("localhost")


def server_context(
    version: ssl.TLSVersion | None = None, *, cert: trustme.LeafCert | None = None, asks: bool = False
) -> ssl.SSLContext:
    """Make a context of a server that speaks one version of TLS, or any; `asks` for a certificate of the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (cert or certificate()).configure_cert(context)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        authority().configure_trust(context)
    return _of_version(context, version)


def client_context(version: ssl.TLSVersion | None = None, *, trusts: trustme.CA | None = None) -> ssl.SSLContext:
    """Make a context of a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    (trusts or authority()).configure_trust(context)
    return _of_version(context, version)


def _of_version(context: ssl.SSLContext, version: ssl.TLSVersion | None) -> ssl.SSLContext:
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def sides(
    client: ssl.SSLContext | None = None,
    server: ssl.SSLContext | None = None,
    *,
    name: str | None = "localhost",
    version: ssl.TLSVersion | None = None,
    buffers: TlsBuffers | None = None,
    **options: Any,
) -> Sides:
    """Make a client and a server that have said nothing yet."""
    return Sides(
        Tls(client or client_context(version), Role.CLIENT, server_hostname=name, buffers=buffers, **options),
        Tls(server or server_context(version), Role.SERVER, buffers=buffers),
    )


def connected(*contexts: ssl.SSLContext, **options: Any) -> Sides:
    """Make a client and a server that have shaken hands."""
    made = sides(*contexts, **options)
    assert shake_hands(made) == (b"", b"")
    assert made.client.state is made.server.state is TlsState.OPEN
    return made


def shake_hands(them: Sides, *, piece: int | None = None) -> tuple[bytes, bytes]:
    """Carry the handshake, and what follows from it; give the plaintext that the client and the server got."""
    return carry(them, upwards=them.client.start(), piece=piece)


def carry(
    them: Sides, *, upwards: bytes = b"", downwards: bytes = b"", piece: int | None = None
) -> tuple[bytes, bytes]:
    """Carry ciphertext until neither side has any to write; give the plaintext that the client and the server got."""
    at_client, at_server = b"", b""
    while upwards or downwards:
        plaintext, reply = feed(them.server, upwards, piece)
        at_server += plaintext
        plaintext, upwards = feed(them.client, downwards + reply, piece)
        downwards = b""
        at_client += plaintext
    return at_client, at_server


def feed(tls: Tls, ciphertext: bytes, piece: int | None = None) -> tuple[bytes, bytes]:
    """Have one side receive ciphertext in pieces of so many bytes, or in one; give what it gave."""
    step = piece or max(len(ciphertext), 1)
    given = [tls.receive(ciphertext[at : at + step]) for at in range(0, len(ciphertext), step)]
    return b"".join(plaintext for plaintext, _ in given), b"".join(reply for _, reply in given)


def records(ciphertext: bytes) -> list[bytes]:
    """Cut ciphertext into records (RFC 8446 §5.1)."""
    found = []
    while ciphertext:
        end = 5 + int.from_bytes(ciphertext[3:5], "big")
        assert end <= len(ciphertext)
        found.append(ciphertext[:end])
        ciphertext = ciphertext[end:]
    return found


def record(kind: int, content: bytes) -> bytes:
    """A record that is not protected."""
    return bytes([kind, 3, 3]) + len(content).to_bytes(2, "big") + content


def message(kind: int, body: bytes) -> bytes:
    """A message of the handshake (RFC 8446 §4)."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


class Protection:
    """The records of one side of a TLS 1.3 connection from the end of the handshake on (RFC 8446 §5.2, §7).

    Python's `ssl` makes no KeyUpdate and nothing wrong. This makes what one side, or a wrong one, would write, and reads what one has
    written: the next record is the first of its application data.

    Args:
        secret: the first traffic secret of the side.
        cipher: the cipher suite that was agreed on.
    """

    _SUITES: ClassVar = {
        "TLS_AES_128_GCM_SHA256": (AESGCM, 16, SHA256),
        "TLS_AES_256_GCM_SHA384": (AESGCM, 32, SHA384),
        "TLS_CHACHA20_POLY1305_SHA256": (ChaCha20Poly1305, 32, SHA256),
    }

    def __init__(self, secret: bytes, cipher: str) -> None:
        self._aead, self._key_size, self._hash = self._SUITES[cipher]
        self._use(secret)

    def protect(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        """Make a record."""
        plaintext = content + bytes([kind]) + bytes(padding)
        head = bytes([APPLICATION_DATA, 3, 3]) + (len(plaintext) + 16).to_bytes(2, "big")
        return head + self._key.encrypt(self._nonce(), plaintext, head)

    def unprotect(self, taken: bytes) -> tuple[int, bytes]:
        """Give the type and the content of a record."""
        plaintext = self._key.decrypt(self._nonce(), taken[5:], taken[:5]).rstrip(b"\0")
        return plaintext[-1], plaintext[:-1]

    def update(self) -> None:
        """Go on with the next keys, as after a KeyUpdate (§7.2)."""
        self._use(self._expand(b"traffic upd", len(self._secret)))

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key = self._aead(self._expand(b"key", self._key_size))
        self._iv = int.from_bytes(self._expand(b"iv", 12), "big")
        self._sequence = 0

    def _expand(self, label: bytes, size: int) -> bytes:
        info = size.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0"
        return HKDFExpand(self._hash(), size, info).derive(self._secret)

    def _nonce(self) -> bytes:
        nonce = (self._iv ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return nonce


class Forged(NamedTuple):
    """One side of an open TLS 1.3 connection, with the keys of both: those that its peer writes with, and its own."""

    tls: Tls
    peer: Protection
    own: Protection


def forged(role: Role, log: Path, **contexts: ssl.SSLContext) -> Forged:
    """Connect by TLS 1.3, and give the side of a role with the keys, which are written to the file `log`."""
    server = contexts.get("server") or server_context(ssl.TLSVersion.TLSv1_3)
    # Without tickets the first record of the server is its application data too.
    server.num_tickets = 0
    server.keylog_filename = str(log)
    them = connected(contexts.get("client") or client_context(ssl.TLSVersion.TLSv1_3), server)
    secrets = {
        line.split()[0]: bytes.fromhex(line.split()[2]) for line in log.read_text().splitlines() if line[0] != "#"
    }
    chosen = them.client.ssl_object.cipher()
    assert chosen is not None
    client, other = (Protection(secrets[f"{side}_TRAFFIC_SECRET_0"], chosen[0]) for side in ("CLIENT", "SERVER"))
    tls, _ = them.by_role(role)
    return Forged(tls, other, client) if role is Role.CLIENT else Forged(tls, client, other)
