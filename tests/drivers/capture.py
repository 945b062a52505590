"""Captured packets, for tests of the command line."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import PcapWriter


def packets(
    client: bytes, server: bytes, *, ipv6: bool = False, size: int = 100, first: int = 2**32 - 150
) -> list[Ether]:
    """One TCP connection, whose sequence numbers pass 2^32."""
    address = IPv6(src="::1", dst="::1") if ipv6 else IP(src="127.0.0.1", dst="127.0.0.1")
    made = [Ether() / address / TCP(sport=50000, dport=80, seq=first, flags="S")]
    made.append(Ether() / address / TCP(sport=80, dport=50000, seq=first, flags="SA"))
    for ports, data in (((50000, 80), client), ((80, 50000), server)):
        for at in range(0, len(data), size):
            sequence = (first + 1 + at) % 2**32
            tcp = TCP(sport=ports[0], dport=ports[1], seq=sequence, flags="A")
            made.append(Ether() / address / tcp / Raw(data[at : at + size]))
    return made


def capture(made: Sequence[Ether], writer: type = PcapWriter) -> bytes:
    """Packets as a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "packets"
        with writer(str(file)) as writing:
            writing.write_header(None)
            for packet in made:
                writing.write(packet)
        return file.read_bytes()
