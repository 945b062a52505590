#!/usr/bin/env bash
# Surprise: the headers of an ASGI "websocket.accept" never reach the client on two servers of four: a session cookie that
# an application sets when it accepts a WebSocket works on uvicorn and Hypercorn, and is dropped without an error by
# Granian and Daphne, while the subprotocol of the same event arrives everywhere. The scope differs as silently: Granian
# gives ports as str where the specification says int, and Daphne's WebSocket scope has no http_version.
# Versions: uvicorn 0.54.0 (with websockets 17.4), Hypercorn 0.18.0, Granian 2.8.9, Daphne 4.2.3.
# Source: the ASGI specification of HTTP and WebSocket, "Accept - send event" (headers, since version 2.1) and "WebSocket
# Connection Scope" (client and server ports, http_version); what the servers do is observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check \
    uvicorn==0.54.0 websockets==17.4 hypercorn==0.18.0 granian==2.8.9 daphne==4.2.3

cat > application.py <<'PYTHON'
import json
import os


async def app(scope, receive, send):
    """Accept with a subprotocol and a cookie; write down what the scope says."""
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    port = (scope.get("client") or [None, None])[1]
    with open(os.environ["SCOPE"], "w", encoding="ascii") as file:
        json.dump([type(port).__name__, "http_version" in scope], file)
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "tea", "headers": [(b"set-cookie", b"session=1")]})
    await receive()
PYTHON

timeout 150 venv/bin/python - <<'PYTHON'
import importlib.metadata
import json
import os
import pathlib
import socket
import subprocess
import time

SCOPE = pathlib.Path("scope")
SERVERS = {
    "uvicorn": ["uvicorn", "application:app", "--host", "127.0.0.1", "--port", "PORT", "--ws", "websockets-sansio"],
    "hypercorn": ["hypercorn", "application:app", "--bind", "127.0.0.1:PORT"],
    "granian": ["granian", "application:app", "--interface", "asgi", "--host", "127.0.0.1", "--port", "PORT"],
    "daphne": ["daphne", "-b", "127.0.0.1", "-p", "PORT", "application:app"],
}
EXPECTED = {
    "uvicorn": (True, True, "int", True),
    "hypercorn": (True, True, "int", True),
    "granian": (True, False, "str", True),
    "daphne": (True, False, "int", False),
}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def connect(port):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise TimeoutError


def try_out(command):
    port = free_port()
    command = [f"venv/bin/{command[0]}"] + [part.replace("PORT", str(port)) for part in command[1:]]
    with open("log", "w", encoding="ascii") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "SCOPE": str(SCOPE)})
    try:
        with connect(port) as client:
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Protocol: tea\r\n\r\n"
            )
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
        lines = head.lower().split(b"\r\n")
        assert b" 101 " in lines[0], head
        port_type, has_version = json.loads(SCOPE.read_text())
        return b"sec-websocket-protocol: tea" in lines, b"set-cookie: session=1" in lines, port_type, has_version
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


for name, command in SERVERS.items():
    found = try_out(command)
    subprotocol, cookie, port_type, has_version = found
    print(
        f"{name} {importlib.metadata.version(name)}: subprotocol {'arrives' if subprotocol else 'is lost'},"
        f" cookie {'arrives' if cookie else 'is lost'}, ports are {port_type},"
        f" http_version {'is there' if has_version else 'is missing'}"
    )
    assert found == EXPECTED[name], f"{name} behaves differently now"
PYTHON
