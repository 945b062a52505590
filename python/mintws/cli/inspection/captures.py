"""Packets that were captured, as pcap or pcapng, to the streams of TCP in them."""

from __future__ import annotations

import io
import logging
from typing import Any

#: How pcap begins, in both orders of bytes and with both resolutions of time, and pcapng.
_MAGIC = (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a")
#: Sequence numbers are modulo 2^32 (RFC 9293 §3.4).
_MODULUS = 1 << 32


class Missing(Exception):
    """`scapy` is not installed; the text says how to install it."""


class Unreadable(Exception):
    """The file is damaged."""


class Half:
    """The bytes that one side of a TCP connection has sent.

    Attributes:
        began: whether it has sent a SYN.
        lost: the number of bytes that are missing after `data`, before more that is there; 0 if nothing is.
    """

    def __init__(self) -> None:
        self.began = False
        self.lost = 0
        self._origin: int | None = None
        self._last = 0
        self._segments: list[tuple[int, bytes]] = []

    def add(self, sequence: int, data: bytes, *, syn: bool) -> None:
        """Take a segment, in any order, perhaps again."""
        if syn:
            self.began = True
            sequence += 1
        if self._origin is None or syn:
            self._origin = sequence
        # Relative to the last one, so that numbers may start again at 0.
        distance = (sequence - self._origin - self._last + _MODULUS // 2) % _MODULUS - _MODULUS // 2
        if data:
            self._last += distance
            self._segments.append((self._last, data))

    def join(self) -> bytes:
        """Return the bytes up to the first that is missing."""
        joined = bytearray()
        start = 0 if self.began else min((it[0] for it in self._segments), default=0)
        for at, data in sorted(self._segments, key=lambda it: it[0]):
            gap = at - start - len(joined)
            if gap > 0:
                self.lost = gap
                break
            joined += data[-gap:] if gap else data
        return bytes(joined)


class TcpStream:
    """One TCP connection.

    Attributes:
        ends: the addresses of both sides, in the order in which they were seen.
        halves: what each of them has sent.
    """

    def __init__(self, ends: tuple[str, str]) -> None:
        self.ends = ends
        self.halves = {end: Half() for end in ends}


def is_capture(data: bytes) -> bool:
    """Check whether these bytes are a file of captured packets."""
    return data.startswith(_MAGIC)


def read_streams(data: bytes) -> list[TcpStream]:
    """Put the TCP connections of a capture together, in the order in which they began.

    Raises:
        Missing: `scapy` is not installed.
        Unreadable: the file is damaged.
    """
    # It warns of interfaces and routes that no file needs.
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    try:
        from scapy.error import Scapy_Exception
        from scapy.layers import inet6, l2  # noqa: F401  (so that they are known)
        from scapy.layers.inet import TCP
        from scapy.utils import PcapReader
    except ImportError:
        raise Missing(
            "to read captured packets takes the package scapy: install mintws[pcap], or scapy itself"
        ) from None
    streams: list[TcpStream] = []
    current: dict[frozenset[str], TcpStream] = {}
    try:
        open_reader: Any = PcapReader
        reader = open_reader(io.BytesIO(data))
        while True:
            try:
                packet = reader.read_packet(stop_dissection_after=TCP)
            except EOFError:
                return streams
            if TCP in packet:
                _take(packet[TCP], streams, current)
    except (Scapy_Exception, ValueError, OSError) as error:
        raise Unreadable(f"the capture cannot be read: {error}") from None


def _take(segment: Any, streams: list[TcpStream], current: dict[frozenset[str], TcpStream]) -> None:
    source, target = (
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        for host, port in ((segment.underlayer.src, segment.sport), (segment.underlayer.dst, segment.dport))
    )
    ends = frozenset((source, target))
    syn = bool(segment.flags.S)
    stream = current.get(ends)
    # A SYN after data begins another connection between the same ends.
    if stream is None or (syn and not segment.flags.A and stream.halves[source].join()):
        stream = current[ends] = TcpStream((source, target))
        streams.append(stream)
    payload = segment.payload
    stream.halves[source].add(segment.seq, getattr(payload, "load", b"") if payload.name == "Raw" else b"", syn=syn)
