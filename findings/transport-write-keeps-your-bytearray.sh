#!/usr/bin/env bash
# Surprise: a bytearray that is handed to transport.write() belongs to the transport until it is written. While asyncio
# of Python 3.11 and before copies what the socket does not take at once, asyncio since 3.12 and uvloop keep the object
# itself: bytes that are changed afterwards go out changed, and the bytearray cannot be resized (BufferError). A buffer
# that is used again for each message works in every test with a fast reader, and spoils the messages of a slow one.
# Versions: uvloop 0.23.0, and asyncio of the python3 that runs this (3.10 and newer).
# Source: CPython's pull request 31871 (zero-copy transport, in 3.12); the documentation of WriteTransport.write names
# neither the copy of before nor that it is gone. Whether users may rely on it was asked in asyncio's pull request 339.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import socket
import sys

import uvloop

SIZE = 8_000_000


def read_all(peer):
    """Return which bytes came."""
    seen, left = set(), SIZE
    while left:
        part = peer.recv(1 << 20)
        left -= len(part)
        seen |= set(part)
    return "".join(sorted(map(chr, seen)))


async def try_out():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, *listener.getsockname())
        peer, _ = listener.accept()
    with peer:
        peer.settimeout(10)
        data = bytearray(b"A" * SIZE)
        transport.write(data)
        data[:] = b"B" * SIZE
        try:
            data.append(0)
            resized = "can be resized"
        except BufferError as error:
            resized = f"BufferError: {error}"
        came = await asyncio.to_thread(read_all, peer)
        transport.close()
        return came, resized


print("Python", sys.version.split()[0], "uvloop", uvloop.__version__)
for name, run, keeps in (("asyncio", asyncio.run, sys.version_info >= (3, 12)), ("uvloop", uvloop.run, True)):
    came, resized = run(try_out())
    print(f"{name}: wrote A, then put B in the same bytearray; the peer read {came!r}; the bytearray: {resized}")
    assert came == ("AB" if keeps else "A"), f"{name} behaves differently now"
    assert resized.startswith("BufferError") == keeps
PYTHON
