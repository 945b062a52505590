#!/usr/bin/env bash
# Surprise: over TLS, `await writer.drain()` after a write of any size returns at once, though nothing of it has reached
# a peer that does not read, and get_write_buffer_size() is 0. The transport of TLS counts only what it has kept back
# itself: it hands each write, encrypted, to the transport of TCP below while that is not full, and what waits there is
# counted nowhere. Only the next write waits. So flow control is late by one write, be it of 20 MB, and a program that
# asks how much is unsent before it drops a slow client is told nothing; the same program is right without TLS.
# Versions: CPython 3.11, 3.12 and 3.13 (asyncio), uvloop 0.23.0.
# Source: the documentation of asyncio.WriteTransport.get_write_buffer_size (the size of the output buffer that the
# transport uses) and of asyncio.StreamWriter.drain; asyncio/sslproto.py, _get_write_buffer_size and _process_outgoing.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0 trustme==1.2.1

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import platform
import socket
import ssl

import trustme
import uvloop

SIZE = 20_000_000
authority = trustme.CA()
serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("localhost").configure_cert(serving)
trusting = ssl.create_default_context()
authority.configure_trust(trusting)


async def wait(awaitable, seconds):
    try:
        await asyncio.wait_for(awaitable, seconds)
    except asyncio.TimeoutError:
        return "waits"
    return "returns"


async def write(*, tls):
    """Write twice to a peer that does not read; give what is counted and what drain() does after each."""
    ready, done = asyncio.Event(), asyncio.Event()

    async def hold(reader, writer):
        writer.transport.pause_reading()
        ready.set()
        await done.wait()
        writer.transport.abort()

    server = await asyncio.start_server(hold, "127.0.0.1", 0, ssl=serving if tls else None)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection(
        "localhost", port, family=socket.AF_INET, ssl=trusting if tls else None
    )
    await ready.wait()
    seen = []
    for _ in range(2):
        writer.write(bytes(SIZE))
        seen.append((writer.transport.get_write_buffer_size(), await wait(writer.drain(), 1)))
    done.set()
    writer.transport.abort()
    server.close()
    return seen


for runner in (asyncio.run, uvloop.run):
    for tls in (False, True):
        seen = runner(write(tls=tls))
        name = f"Python {platform.python_version()}, {runner.__module__.split('.')[0]}, {'TLS' if tls else 'TCP'}"
        print(f"{name}: after each of two writes of {SIZE} bytes, (bytes counted, drain): {seen}")
        (first, first_drain), (second, second_drain) = seen
        assert second_drain == "waits" and second > SIZE / 2, "the control has failed"
        if tls:
            assert (first, first_drain) == (0, "returns"), "the finding has changed"
        else:
            assert first > SIZE / 2 and first_drain == "waits", "the control has failed"
PYTHON
