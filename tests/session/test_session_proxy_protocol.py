"""PROXY headers of versions 1 and 2: what they say, and what is malformed, however the bytes are cut."""

from __future__ import annotations

import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintws import LocalProtocolError
from mintws.session import Networks, ProxyHeader, ProxyHeaderReader
from mintws.session.proxy_protocol import SIGNATURE, crc32c

V4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack("!HH", 50000, 443)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
V6 += struct.pack("!HH", 50000, 443)
UNIX = b"/run/client".ljust(108, b"\0") + b"\0abstract".ljust(108, b"\0")


def v2(rest: bytes, family: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def with_checksum(addresses: bytes, *, wrong: bool = False) -> bytes:
    """Make a header with a checksum, as another implementation of CRC-32C computes it."""
    header = v2(addresses + tlv(3, bytes(4)))
    crc = 0xFFFFFFFF
    for byte in header:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    return header[:-4] + (crc ^ 0xFFFFFFFF ^ wrong).to_bytes(4, "big")


WHOLE = {
    "TCP4": (
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n",
        ProxyHeader(("192.0.2.1", 50000), ("198.51.100.2", 443)),
    ),
    "TCP6": (
        b"PROXY TCP6 2001:DB8::1 2001:db8:0:0::2 50000 443\r\n",
        ProxyHeader(("2001:db8::1", 50000, 0, 0), ("2001:db8::2", 443, 0, 0)),
    ),
    "longest": (
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535".ljust(105, b"x") + b"\r\n",
        ProxyHeader(),
    ),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", ProxyHeader()),
    "v2 IPv4": (v2(V4), ProxyHeader(("192.0.2.1", 50000), ("198.51.100.2", 443))),
    "v2 IPv6": (v2(V6, 0x21), ProxyHeader(("2001:db8::1", 50000, 0, 0), ("2001:db8::2", 443, 0, 0))),
    "v2 unix": (v2(UNIX, 0x31), ProxyHeader("/run/client", b"\0abstract")),
    "v2 datagram": (v2(V4, 0x12), ProxyHeader()),
    "v2 unspecified": (v2(b"", 0x00), ProxyHeader()),
    "v2 LOCAL": (v2(b"", 0x00, 0x20), ProxyHeader()),
    "v2 LOCAL with addresses": (v2(V4, 0x11, 0x20), ProxyHeader()),
    "v2 LOCAL with what is none": (v2(b"abc", 0x00, 0x20), ProxyHeader()),
    "v2 LOCAL of an unknown family": (v2(V4, 0x43, 0x20), ProxyHeader()),
    "v2 TLVs": (
        v2(V4 + tlv(2, b"example.com") + tlv(4, b"")),
        ProxyHeader(("192.0.2.1", 50000), ("198.51.100.2", 443), ((2, b"example.com"), (4, b""))),
    ),
}

MALFORMED = {
    "none": b"GET / HTTP/1.1\r\n",
    "TLS": b"\x16\x03\x01\x02\x00",
    "lower case": b"proxy TCP4 192.0.2.1 198.51.100.2 50000 443\r\n",
    "two spaces": b"PROXY  TCP4 192.0.2.1 198.51.100.2 50000 443\r\n",
    "TCP5": b"PROXY TCP5 192.0.2.1 198.51.100.2 50000 443\r\n",
    "IPv6 as TCP4": b"PROXY TCP4 2001:db8::1 2001:db8::2 50000 443\r\n",
    "IPv4 as TCP6": b"PROXY TCP6 192.0.2.1 198.51.100.2 50000 443\r\n",
    "no address": b"PROXY TCP4 192.0.2.256 198.51.100.2 50000 443\r\n",
    "no port": b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
    "port with a sign": b"PROXY TCP4 192.0.2.1 198.51.100.2 +5000 443\r\n",
    "one port": b"PROXY TCP4 192.0.2.1 198.51.100.2 50000\r\n",
    "too long": b"PROXY UNKNOWN ".ljust(106, b"x") + b"\r\n",
    "UNKNOWNS": b"PROXY UNKNOWNS\r\n",
    "version 1 in binary": v2(V4, 0x11, 0x11),
    "command 2": v2(V4, 0x11, 0x22),
    "family 4": v2(V4, 0x41),
    "transport 3": v2(V4, 0x13),
    "addresses cut": v2(V4[:-1]),
    "TLV cut": v2(V4 + b"\x02\x00\x05ab"),
    "TLV head cut": v2(V4 + b"\x02\x00"),
    "checksum wrong": with_checksum(V4, wrong=True),
    "checksum short": v2(V4 + tlv(3, b"abc")),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_header_is_read_and_what_follows_it_is_kept(name: str, size: int) -> None:
    data, header = WHOLE[name]
    data += b"GET / HTTP/1.1\r\n\r\n"
    reader = ProxyHeaderReader()
    at, rest = 0, None
    while rest is None:
        assert reader.header is None and not reader.fault
        rest = reader.receive(data[at : at + size])
        at += size
    assert reader.header == header
    assert data.endswith(rest + data[at:]) and (rest + data[at:]).startswith(b"GET")
    assert reader.receive(b"more") == b"more"


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("size", [1, 10_000])
def test_a_malformed_header_is_a_fault(name: str, size: int) -> None:
    data = MALFORMED[name]
    reader = ProxyHeaderReader()
    for at in range(0, len(data), size):
        assert reader.receive(data[at : at + size]) is None
    assert reader.fault and reader.header is None
    assert reader.receive(b"PROXY UNKNOWN\r\n") is None


def test_a_checksum_is_checked() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    reader = ProxyHeaderReader()
    assert reader.receive(with_checksum(V4)) == b""
    assert reader.header is not None and reader.header.source == ("192.0.2.1", 50000)


def test_the_longest_header_is_read() -> None:
    reader = ProxyHeaderReader()
    data = v2(V4 + tlv(4, bytes(65535 - len(V4) - 3)))
    assert reader.receive(data + b"x") == b"x"


def test_the_end_before_a_whole_header_is_a_fault() -> None:
    reader = ProxyHeaderReader()
    assert not reader.begun
    reader.receive(b"PROXY ")
    reader.receive_eof()
    assert reader.begun and reader.ended and reader.fault == "the connection ended before it"


@given(st.data())
def test_whatever_comes_is_no_exception(data: st.DataObject) -> None:
    start = data.draw(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x20"]))
    reader = ProxyHeaderReader()
    for part in (start, data.draw(st.binary(max_size=300)), os.urandom(0)):
        rest = reader.receive(part)
        assert rest is None or reader.header is not None


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        (("10.1.2.3", 5), True),
        (("::ffff:10.1.2.3", 5, 0, 0), True),
        (("11.1.2.3", 5), False),
        (("2001:db8::1", 5, 0, 0), True),
        (("2001:db8::2", 5, 0, 0), False),
        ("", True),
        ("/run/x", True),
        (b"\0x", True),
        (None, False),
        (("no address", 5), False),
    ],
)
def test_networks_have_addresses(address: object, inside: bool) -> None:
    assert (address in Networks("here", ["10.0.0.0/8", "2001:db8::1", "unix"])) is inside


def test_without_unix_no_unix_socket_is_trusted() -> None:
    assert "" not in Networks("here", ["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize(
    ("networks", "error"),
    [
        ("10.0.0.0/8", TypeError),
        (5, TypeError),
        ([5], TypeError),
        ([b"\x0a\0\0\x01"], TypeError),
        (["10.0.0.1/8"], LocalProtocolError),
        (["example.com"], LocalProtocolError),
        ([""], LocalProtocolError),
    ],
)
def test_what_is_no_network_is_refused_where_it_is_given(networks: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="here"):
        Networks("here", networks)  # type: ignore[arg-type]
