#!/usr/bin/env bash
# Surprise: through mitmproxy, a server that dies looks as if it had said goodbye. When either end of a WebSocket is
# lost, the other end gets a Close with 1000, the code of a finished conversation: mitmproxy notes 1006 for itself and
# asks wsproto to send it, and wsproto sends 1000 for the codes that are never sent. So a client that reconnects after
# 1006 and ends after 1000 stops, and the test of a reconnect that is made by killing the server behind the proxy shows
# nothing.
# Versions: mitmproxy 11.0.2 with wsproto 1.2.0 on Python 3.11, mitmproxy 12.3.1 with wsproto 1.3.2 from 3.12 on.
# Source: RFC 6455, sections 7.1.5 and 7.4.1 (1006 for a connection that was lost, 1000 when the purpose is fulfilled);
# wsproto/frame_protocol.py, FrameProtocol.close with LOCAL_ONLY_CLOSE_REASONS.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
version=$(python3 -c 'import sys; print("12.3.1" if sys.version_info >= (3, 12) else "11.0.2")')
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check "mitmproxy==$version"
venv/bin/pip install --quiet --disable-pip-version-check --target other websockets==17.4
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -E '^(mitmproxy|wsproto) '

PYTHONPATH=other timeout 90 venv/bin/python - <<'PYTHON'
import os
import queue
import socket
import subprocess
import threading
import time

import websockets.sync.client
import websockets.sync.server
from websockets.exceptions import ConnectionClosed


def ended(connection):
    """Give the code of the Close that came, or None if there was none."""
    try:
        connection.recv(timeout=10)
    except ConnectionClosed as closed:
        return closed.rcvd and closed.rcvd.code
    return "a message"


def serve(connection):
    """Do what the path says."""
    path = connection.request.path
    if path == "/dies":
        time.sleep(0.3)
        connection.socket.shutdown(socket.SHUT_RDWR)
    elif path == "/closes":
        connection.close(4001)
    else:
        codes.put(ended(connection))


def connect(port, path):
    end = time.monotonic() + 30
    while True:
        try:
            return websockets.sync.client.connect(f"ws://127.0.0.1:{port}{path}", proxy=None)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def try_out(port):
    with connect(port, "/dies") as client:
        server_dies = ended(client)
    with connect(port, "/closes") as client:
        server_closes = ended(client)
    client = connect(port, "/waits")
    time.sleep(0.3)
    client.socket.shutdown(socket.SHUT_RDWR)
    return server_dies, server_closes, codes.get(timeout=10)


codes = queue.Queue()
with socket.create_server(("127.0.0.1", 0)) as listener:
    front = listener.getsockname()[1]
with websockets.sync.server.serve(serve, "127.0.0.1", 0, ping_interval=None) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    back = server.socket.getsockname()[1]
    command = ["venv/bin/mitmdump", "--quiet", "--listen-host", "127.0.0.1", "--listen-port", str(front)]
    command += ["--mode", f"reverse:http://127.0.0.1:{back}", "--set", "confdir=confdir"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    proxy = subprocess.Popen(command, env=environment)
    try:
        for name, port, expected in (("directly", back, (None, 4001, None)), ("mitmproxy", front, (1000, 4001, 1000))):
            found = try_out(port)
            print(
                f"{name}: the server is lost, its client gets {found[0]}; the server closes with 4001, its client gets"
                f" {found[1]}; the client is lost, its server gets {found[2]}"
            )
            assert found == expected, "the finding has changed"
    finally:
        proxy.terminate()
        try:
            proxy.wait(10)
        except subprocess.TimeoutExpired:
            proxy.kill()
            proxy.wait()
        server.shutdown()
PYTHON
