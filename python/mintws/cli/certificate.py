"""A self-signed certificate for loopback, made on the spot.

Python's `ssl` makes none, and a package or a command that does is much to ask for a demonstration. So it is written here: X.509 (RFC 5280)
with ECDSA on P-256 (FIPS 186-4). Big numbers in Python take a time that depends on them: no key for anything but a demonstration.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from datetime import datetime, timedelta, timezone

_Point = tuple[int, int] | None

#: P-256: the field, the order of the group, and the point that generates it.
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

#: The tags of DER (X.690 §8).
_INTEGER, _BITS, _OCTETS, _OID, _UTF8, _TIME, _SEQUENCE, _SET = 0x02, 0x03, 0x04, 0x06, 0x0C, 0x17, 0x30, 0x31
_TRUE = b"\x01\x01\xff"

_COMMON_NAME = b"\x55\x04\x03"
_SUBJECT_ALT_NAME = b"\x55\x1d\x11"
_BASIC_CONSTRAINTS = b"\x55\x1d\x13"
_EXTENDED_KEY_USAGE = b"\x55\x1d\x25"
_SERVER_AUTH = b"\x2b\x06\x01\x05\x05\x07\x03\x01"
_EC_PUBLIC_KEY = b"\x2a\x86\x48\xce\x3d\x02\x01"
_P256 = b"\x2a\x86\x48\xce\x3d\x03\x01\x07"
_ECDSA_SHA256 = b"\x2a\x86\x48\xce\x3d\x04\x03\x02"


def make_certificate(days: int = 7) -> tuple[str, str]:
    """Make a certificate for "localhost", 127.0.0.1 and ::1, valid for `days`; give it and its key, both as PEM."""
    key = 1 + secrets.randbelow(_N - 1)
    public = _multiply(key, _G)
    assert public is not None
    point = b"\x00\x04" + public[0].to_bytes(32, "big") + public[1].to_bytes(32, "big")
    spki = _der(_SEQUENCE, _der(_SEQUENCE, _der(_OID, _EC_PUBLIC_KEY), _der(_OID, _P256)), _der(_BITS, point))
    name = _der(_SEQUENCE, _der(_SET, _der(_SEQUENCE, _der(_OID, _COMMON_NAME), _der(_UTF8, b"localhost"))))
    now = datetime.now(timezone.utc)
    algorithm = _der(_SEQUENCE, _der(_OID, _ECDSA_SHA256))
    body = _der(
        _SEQUENCE,
        _der(0xA0, _integer(2)),
        _integer(1 + secrets.randbits(120)),
        algorithm,
        name,
        _der(_SEQUENCE, _time(now - timedelta(days=1)), _time(now + timedelta(days=days))),
        name,
        spki,
        _der(0xA3, _der(_SEQUENCE, *_extensions())),
    )
    certificate = _der(_SEQUENCE, body, algorithm, _der(_BITS, b"\x00" + _sign(key, body)))
    private = _der(
        _SEQUENCE,
        _integer(1),
        _der(_OCTETS, key.to_bytes(32, "big")),
        _der(0xA0, _der(_OID, _P256)),
        _der(0xA1, _der(_BITS, point)),
    )
    return _pem("CERTIFICATE", certificate), _pem("EC PRIVATE KEY", private)


def _extensions() -> list[bytes]:
    """Say whom the certificate is for, that it signs no others, and what it serves (RFC 5280 §4.2.1)."""
    addresses = [ipaddress.ip_address(it).packed for it in ("127.0.0.1", "::1")]
    names = _der(_SEQUENCE, _der(0x82, b"localhost"), *(_der(0x87, it) for it in addresses))
    return [
        _der(_SEQUENCE, _der(_OID, _SUBJECT_ALT_NAME), _der(_OCTETS, names)),
        _der(_SEQUENCE, _der(_OID, _BASIC_CONSTRAINTS), _TRUE, _der(_OCTETS, _der(_SEQUENCE))),
        _der(_SEQUENCE, _der(_OID, _EXTENDED_KEY_USAGE), _der(_OCTETS, _der(_SEQUENCE, _der(_OID, _SERVER_AUTH)))),
    ]


def _sign(key: int, message: bytes) -> bytes:
    """Sign with ECDSA and SHA-256."""
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    while True:
        nonce = 1 + secrets.randbelow(_N - 1)
        point = _multiply(nonce, _G)
        r = point[0] % _N if point else 0
        s = pow(nonce, -1, _N) * (digest + r * key) % _N
        if r and s:
            return _der(_SEQUENCE, _integer(r), _integer(s))


def _multiply(factor: int, point: _Point) -> _Point:
    """Multiply a point, by doubling and adding."""
    product: _Point = None
    while factor:
        if factor & 1:
            product = _add(product, point)
        point = _add(point, point)
        factor >>= 1
    return product


def _add(a: _Point, b: _Point) -> _Point:
    """Add two points; `None` is the one at infinity."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % _P == 0:
        return None
    if a == b:
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, _P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, _P)
    x = (slope * slope - a[0] - b[0]) % _P
    return x, (slope * (a[0] - x) - a[1]) % _P


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _integer(number: int) -> bytes:
    return _der(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _time(moment: datetime) -> bytes:
    # With two digits of the year, as RFC 5280 §4.1.2.5 wants it until 2049.
    return _der(_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())


def _pem(label: str, der: bytes) -> str:
    lines = base64.encodebytes(der).decode().replace("\n", "")
    wrapped = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    return f"-----BEGIN {label}-----\n{wrapped}\n-----END {label}-----\n"
