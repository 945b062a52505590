"""The PROXY protocol, versions 1 and 2, by which a proxy tells the address of its client before all other bytes.

It is specified by HAProxy: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

#: The most bytes of a header of version 1, with its CR LF.
V1_LIMIT = 107
#: The first bytes of version 2, and the bytes before those that its length counts.
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2_FIXED = 16

_V1 = b"PROXY "
_V1_LINE = re.compile(rb"PROXY (TCP[46]) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) ([0-9]{1,5}) ([0-9]{1,5})")
#: Commands of version 2.
_LOCAL, _PROXY = 0, 1
#: Families of version 2 with their lengths of two addresses, and of two ports.
_LENGTHS = {1: 12, 2: 36, 3: 216}
_UNIX_PATH = 108
_STREAM = 1
#: The type of a TLV with a checksum of the header.
_CRC32C = 3


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """The content of a PROXY header.

    Attributes:
        source, destination: the addresses of the client and of the proxy between them, as from `socket.getpeername`; `None` if the header
            has none, because the proxy itself has connected (LOCAL), or does not know them (UNKNOWN).
        tlvs: the type and value of each TLV of version 2, such as 2 for the host name that the client named to TLS.
    """

    source: Any = None
    destination: Any = None
    tlvs: tuple[tuple[int, bytes], ...] = ()


class _MalformedError(Exception):
    """The header is against the specification."""


class ProxyHeaderReader:
    """Reads a header.

    Attributes:
        header: the header, once it is whole.
        ended: whether the connection has ended before the header was whole.
        fault: what is wrong with it; empty if nothing is. Nothing more is read then.
    """

    __slots__ = ("_buffer", "ended", "fault", "header")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.ended = False
        self.header: ProxyHeader | None = None
        self.fault = ""

    @property
    def begun(self) -> bool:
        """Whether a byte has come."""
        return bool(self._buffer)

    def receive(self, data: bytes) -> bytes | None:
        """Take bytes.

        Returns:
            What follows the header, once it is whole; `None` before that, and if it is malformed. Bytes that come later are not part of it.
        """
        if self.fault:
            return None
        if self.header is not None:
            return data
        self._buffer += data
        try:
            size = self._read_v2() if SIGNATURE.startswith(self._buffer[: len(SIGNATURE)]) else self._read_v1()
        except _MalformedError as why:
            self.fault = str(why)
            return None
        return bytes(self._buffer[size:]) if size else None

    def receive_eof(self, error: Exception | None = None) -> None:
        """Take the end of the bytes, and the error that it came by, if there was one."""
        self.ended = True
        self.fault = self.fault or (str(error) if error else "the connection ended before it")

    def _read_v1(self) -> int:
        """Read a header of version 1; return its size, or 0 if it is not whole."""
        buffer = self._buffer
        if not _V1.startswith(buffer[: len(_V1)]):
            raise _MalformedError("there is no header")
        end = buffer.find(b"\r\n", 0, V1_LIMIT)
        if end < 0:
            if len(buffer) >= V1_LIMIT:
                raise _MalformedError(f"the line has more than {V1_LIMIT} bytes")
            return 0
        line = bytes(buffer[:end])
        match = _V1_LINE.fullmatch(line)
        if match is not None:
            version = 4 if match[1] == b"TCP4" else 6
            source, destination = (_text_address(version, match[i], match[i + 2]) for i in (2, 3))
            self.header = ProxyHeader(source, destination)
        elif line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
            self.header = ProxyHeader()
        else:
            raise _MalformedError("the line is malformed")
        return end + 2

    def _read_v2(self) -> int:
        """Read a header of version 2; return its size, or 0 if it is not whole."""
        buffer = self._buffer
        if len(buffer) > len(SIGNATURE) and buffer[12] not in (0x20 | _LOCAL, 0x20 | _PROXY):
            raise _MalformedError(f"version and command 0x{buffer[12]:02x} are unknown")
        if len(buffer) < V2_FIXED:
            return 0
        size = V2_FIXED + int.from_bytes(buffer[14:16], "big")
        if len(buffer) < size:
            return 0
        if buffer[12] == 0x20 | _LOCAL:
            # All that follows is to be discarded, whatever it is.
            self.header = ProxyHeader()
            return size
        family, transport = divmod(buffer[13], 16)
        if family > 3 or transport > 2:
            raise _MalformedError(f"family and transport 0x{buffer[13]:02x} are unknown")
        whole = bytes(buffer[:size])
        addresses = _LENGTHS.get(family, 0)
        if size < V2_FIXED + addresses:
            raise _MalformedError("the addresses are not whole")
        tlvs = _read_tlvs(whole, V2_FIXED + addresses)
        if family and transport == _STREAM:
            self.header = ProxyHeader(*_binary_addresses(family, whole[V2_FIXED : V2_FIXED + addresses]), tlvs)
        else:
            # What is no stream is not what was accepted.
            self.header = ProxyHeader(tlvs=tlvs)
        return size


def _text_address(version: int, host: bytes, port: bytes) -> tuple[Any, ...]:
    try:
        ip: Any = (ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address)(host.decode("ascii"))
    except ValueError:
        raise _MalformedError(f"there is no IPv{version} address") from None
    if int(port) > 65535:
        raise _MalformedError("there is no port")
    return _address(ip, int(port))


def _binary_addresses(family: int, data: bytes) -> tuple[Any, Any]:
    if family == 3:
        return _path(data[:_UNIX_PATH]), _path(data[_UNIX_PATH:])
    ip: Any = ipaddress.IPv4Address if family == 1 else ipaddress.IPv6Address
    size = 4 if family == 1 else 16
    ports = data[2 * size :]
    return (
        _address(ip(data[:size]), int.from_bytes(ports[:2], "big")),
        _address(ip(data[size : 2 * size]), int.from_bytes(ports[2:], "big")),
    )


def _address(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> tuple[Any, ...]:
    return (str(ip), port) if ip.version == 4 else (str(ip), port, 0, 0)


def _path(data: bytes) -> str | bytes:
    """Give the address of a Unix socket, as Python does: an abstract one is bytes."""
    if data.startswith(b"\0"):
        return data.rstrip(b"\0")
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _read_tlvs(header: bytes, at: int) -> tuple[tuple[int, bytes], ...]:
    tlvs = []
    while at < len(header):
        end = at + 3 + int.from_bytes(header[at + 1 : at + 3], "big")
        if at + 3 > len(header) or end > len(header):
            raise _MalformedError("a TLV is not whole")
        kind, value = header[at], header[at + 3 : end]
        if kind == _CRC32C and value != _checksum(header, at + 3, end):
            raise _MalformedError("the checksum is wrong")
        tlvs.append((kind, value))
        at = end
    return tuple(tlvs)


def _checksum(header: bytes, start: int, end: int) -> bytes:
    """Compute the checksum of a header in which it stands from `start` to `end`."""
    return crc32c(header[:start] + bytes(end - start) + header[end:]).to_bytes(4, "big")


def crc32c(data: bytes) -> int:
    """Compute a CRC-32C (RFC 9260 appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _table_entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = [_table_entry(byte) for byte in range(256)]
