"""What permessage-deflate costs in memory, by window bits and memory level: resident KiB of a context, and of a connection.

Run it as `python benches/deflate_memory.py`, on Linux with glibc. Each line is measured in processes of its own, over 200 servers'
connections that have sent, and then received, 32 messages of 4 KiB, and is a row of the table in docs/performance.md. What a deflater and
an inflater take is measured on connections that share none, all else on connections that share theirs, and after those are there.
"""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from mintws import Connection, Http1, PerMessageDeflate, Role, Text, UpgradeAccept, UpgradeRequest

COUNT = 200
SETTINGS = [(15, 8), (15, 5), (13, 5), (12, 5), (11, 4), (10, 3), (9, 1)]


def open_pair(willing: PerMessageDeflate) -> tuple[Connection, Connection]:
    client, server = Http1(Role.CLIENT), Http1(Role.SERVER)
    ours = client.open()
    ((theirs, _),), _ = server.receive(ours.send(UpgradeRequest("example.com", extensions=[PerMessageDeflate()])))
    assert isinstance(theirs, Connection)
    client.receive(theirs.send(UpgradeAccept(extensions=[willing])))
    return ours, theirs


def resident() -> float:
    """Give the resident memory of this process without what is free in it, in KiB."""
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def measure(bits: int, level: int, *, share: bool) -> list[float]:
    # Letters as in a text, and enough of them that each window fills.
    letters = random.Random(1)
    messages = [Text("".join(letters.choices("etaoin shrdlu", k=4096))) for _ in range(32)]
    shared = PerMessageDeflate(server_max_window_bits=bits, client_max_window_bits=bits, memory_level=level)
    data = open_pair(shared)[0].send_many(messages)
    for _ in range(20):
        warm = open_pair(shared)[1]
        warm.receive(data)
        warm.send_many(messages)
    pairs = [open_pair(shared if share else replace(shared))[1] for _ in range(COUNT)]
    start = resident()
    for server in pairs:
        for message in messages:
            server.send(message)
    sent = resident()
    for server in pairs:
        server.receive(data)
    received = resident()
    return [(sent - start) / COUNT, (received - sent) / COUNT, (received - start) / COUNT]


def row(bits: int, level: int) -> str:
    def measured(share: str) -> list[float]:
        command = [sys.executable, __file__, str(bits), str(level), share]
        return [float(it) for it in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]

    deflater, inflater, _ = measured("")
    *_, connection = measured("share")
    return f"| {bits} | {level} | {deflater:.0f} | {inflater:.0f} | {connection:.0f} |"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(*measure(int(sys.argv[1]), int(sys.argv[2]), share=bool(sys.argv[3])))
    else:
        print("| window bits | memory level | a deflater | an inflater | a connection |")
        print("|---|---|---|---|---|", flush=True)
        for bits, level in SETTINGS:
            print(row(bits, level), flush=True)
