"""The TLS extension of ASGI: what an application is told of a client's TLS connection."""

from __future__ import annotations

import ssl
from typing import Any

#: Versions of TLS as they stand on the wire (RFC 8446 §4.2.1).
VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}

#: The names that RFC 4514 §3 has for attributes, by those of Python.
ATTRIBUTES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}


def tls_extension(tls: Any) -> dict[str, Any]:
    """Give the `tls` extension of a scope.

    Python does not tell a server which of its certificates it has shown, and gives of the client's the first one only, and only where
    the context has verified it. So `server_cert` is `None`, `client_cert_chain` has at most one entry, and there is no
    `client_cert_error`.

    Args:
        tls: an `ssl.SSLObject` or an `ssl.SSLSocket` whose handshake is done.
    """
    certificate = tls.getpeercert(True)
    cipher = tls.cipher()
    return {
        "server_cert": None,
        "client_cert_chain": [] if certificate is None else [ssl.DER_cert_to_PEM_cert(certificate)],
        "client_cert_name": None if certificate is None else distinguished_name(tls.getpeercert().get("subject", ())),
        "client_cert_error": None,
        "tls_version": VERSIONS.get(tls.version()),
        "cipher_suite": None if cipher is None else _suite(tls.context, cipher[0]),
    }


def distinguished_name(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """Give a subject of `SSLSocket.getpeercert` as text (RFC 4514 §2): the last part first."""
    return ",".join(
        "+".join(f"{ATTRIBUTES.get(name, name)}={_escaped(value)}" for name, value in part)
        for part in reversed(subject)
    )


def _escaped(value: str) -> str:
    """Escape a value (RFC 4514 §2.4)."""
    text = "".join(f"\\{it}" if it in '"+,;<>\\' else "\\00" if it == "\0" else it for it in value)
    if text[:1] in ("#", " "):
        text = f"\\{text}"
    # A blank that is both the first and the last is escaped already.
    return f"{text[:-1]}\\ " if text.endswith(" ") and len(value) > 1 else text


def _suite(context: ssl.SSLContext, name: str) -> int | None:
    """Give the number of a cipher suite, which OpenSSL has in the lower half of its own."""
    return next((it["id"] & 0xFFFF for it in context.get_ciphers() if it["name"] == name), None)
