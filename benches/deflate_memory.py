"""What permessage-deflate costs in memory: resident KiB of one deflater and one inflater, by window bits and memory level.

Run it as `python benches/deflate_memory.py`, on Linux with glibc. Each line is measured in a process of its own, over 200 servers'
connections that have sent, and then received, 32 messages of 4 KiB, and is a row of the table in docs/guide.md.
"""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
from pathlib import Path

from mintws import Connection, Http1, PerMessageDeflate, Role, Text, UpgradeAccept, UpgradeRequest

COUNT = 200
SETTINGS = [(15, 8), (15, 5), (13, 5), (12, 5), (11, 4), (10, 3), (9, 1)]


def open_pair(bits: int, level: int) -> tuple[Connection, Connection]:
    willing = PerMessageDeflate(server_max_window_bits=bits, client_max_window_bits=bits, memory_level=level)
    client, server = Http1(Role.CLIENT), Http1(Role.SERVER)
    ours = client.open()
    ((theirs, _),), _ = server.receive(ours.send(UpgradeRequest("example.com", extensions=[PerMessageDeflate()])))
    assert isinstance(theirs, Connection)
    client.receive(theirs.send(UpgradeAccept(extensions=[willing])))
    return ours, theirs


def resident() -> float:
    """Give the resident memory of this process, in KiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def measure(bits: int, level: int) -> None:
    # Letters as in a text, and enough of them that each window fills.
    letters = random.Random(1)
    messages = [Text("".join(letters.choices("etaoin shrdlu", k=4096))) for _ in range(32)]
    client, warm = open_pair(bits, level)
    data = client.send_many(messages)
    warm.receive(data)
    warm.send_many(messages)
    pairs = [open_pair(bits, level)[1] for _ in range(COUNT)]
    start = resident()
    for server in pairs:
        for message in messages:
            server.send(message)
    sent = resident()
    for server in pairs:
        server.receive(data)
    received = resident()
    for server in pairs:
        server.release()
    ctypes.CDLL(None).malloc_trim(0)
    released = resident()
    print(
        f"| {bits} | {level} | {(sent - start) / COUNT:.0f} | {(received - sent) / COUNT:.0f} | {(released - start) / COUNT:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]), int(sys.argv[2]))
    else:
        print(
            "| window bits | memory level | deflater | inflater | both, after `release()` |\n|---|---|---|---|---|",
            flush=True,
        )
        for bits, level in SETTINGS:
            subprocess.run([sys.executable, __file__, str(bits), str(level)], check=True)
