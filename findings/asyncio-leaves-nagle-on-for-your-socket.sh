#!/usr/bin/env bash
# Surprise: asyncio sets TCP_NODELAY on its connections since Python 3.6, but not on those of a socket that was made
# without a protocol number. It looks at sock.proto, which is 0 for socket.socket(), socket.create_server() and all that
# such a listener accepts, and 6 only for sockets that getaddrinfo() led to. So a server that is given a listening socket,
# to share it between processes say, has Nagle's algorithm on: an answer in two small writes may wait for a delayed
# acknowledgement. uvicorn is such a server with --workers and --reload, and is none without them. uvloop sets the option
# on all TCP sockets; so the same program answers at once there.
# Versions: asyncio of the python3 that runs this (3.10 and newer), uvloop 0.23.0, uvicorn 0.54.0.
# Source: asyncio's documentation of create_server() and of its changes in 3.6 ("the socket option TCP_NODELAY is set by
# default for all TCP connections"); the rest is observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0 uvicorn==0.54.0

cat > "$folder/main.py" <<'PYTHON'
import asyncio
import logging
import socket
import sys

import uvicorn
import uvloop


async def application(scope, receive, send):
    pass


def bound_by_uvicorn():
    # What uvicorn does before it starts workers, or a process that it may start again.
    logging.disable(logging.CRITICAL)
    sock = uvicorn.Config(application, host="127.0.0.1", port=0).bind_socket()
    sock.listen()
    return sock


LISTENERS = {
    "a host and a port": lambda: {"host": "127.0.0.1", "port": 0},
    "socket.create_server()": lambda: {"sock": socket.create_server(("127.0.0.1", 0))},
    "uvicorn's with --workers": lambda: {"sock": bound_by_uvicorn()},
}


async def nodelay(place):
    """TCP_NODELAY of a connection that a server accepts which listens there."""
    accepted = asyncio.get_running_loop().create_future()

    def serve(reader, writer):
        sock = writer.get_extra_info("socket")
        accepted.set_result(bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
        writer.close()

    server = await asyncio.start_server(serve, **place)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        return await asyncio.wait_for(accepted, 10)
    finally:
        writer.close()
        server.close()


print("Python", sys.version.split()[0], "uvloop", uvloop.__version__, "uvicorn", uvicorn.__version__)
for name, run, expected in (("asyncio", asyncio.run, [True, False, False]), ("uvloop", uvloop.run, [True] * 3)):
    found = [run(nodelay(place())) for place in LISTENERS.values()]
    for place, is_set in zip(LISTENERS, found):
        print(f"{name:8} {place:26} TCP_NODELAY is {'set' if is_set else 'not set'}")
    assert found == expected, f"{name} behaves differently now"
PYTHON
timeout 60 "$folder/venv/bin/python" "$folder/main.py"
