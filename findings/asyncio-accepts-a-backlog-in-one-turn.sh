#!/usr/bin/env bash
# Surprise: the backlog of asyncio's create_server() is not only the kernel's queue. It is also how many connections the
# loop accepts before anything else runs: with backlog=1000, a burst of 300 connections is accepted and set up in one
# turn, while the timers and the open connections wait. Who raises it so that a burst is not lost makes the turn of
# that burst longer. uvloop, for which backlog is the argument of listen() and no more, accepts one connection a turn.
# Versions: uvloop 0.23.0, and asyncio of the python3 that runs this (3.10 and newer).
# Source: CPython's issue 72093 (bpo-27906) brought the loop, in 3.6; the documentation of create_server says only that
# backlog is handed to listen().
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import contextlib
import pathlib
import socket
import sys

import uvloop

CLIENTS = 300


async def largest_turn(backlog):
    """Return how many of the waiting connections were made between two steps of a task that always runs."""
    made = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            made.append(transport)

    server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", 0, backlog=backlog)
    address = server.sockets[0].getsockname()
    turns = []
    with contextlib.ExitStack() as clients:
        for _ in range(min(CLIENTS, backlog)):
            clients.enter_context(socket.create_connection(address, timeout=5))
        while len(made) < min(CLIENTS, backlog):
            before = len(made)
            await asyncio.sleep(0)
            turns.append(len(made) - before)
    for transport in made:
        transport.abort()
    server.close()
    return max(turns)


print("Python", sys.version.split()[0], "uvloop", uvloop.__version__)
assert int(pathlib.Path("/proc/sys/net/core/somaxconn").read_text()) >= CLIENTS, "net.core.somaxconn is too small"
for name, run, expected in (
    ("asyncio", asyncio.run, {10: 10, 100: 100, 1000: CLIENTS}),
    ("uvloop", uvloop.run, {10: 1, 100: 1, 1000: 1}),
):
    for backlog, connections in expected.items():
        largest = run(asyncio.wait_for(largest_turn(backlog), 15))
        print(f"{name}: backlog={backlog}, {min(CLIENTS, backlog)} clients wait: at most {largest} accepted in a turn")
        assert largest == connections, f"{name} behaves differently now"
PYTHON
