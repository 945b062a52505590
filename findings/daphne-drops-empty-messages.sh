#!/usr/bin/env bash
# Surprise: an application on Daphne cannot send an empty message. ASGI's websocket.send with text "" or bytes b"" is
# accepted, raises nothing, and puts nothing on the wire, although empty messages of the client do arrive. A protocol
# that ends a list with an empty message, or sends an empty value, waits for ever on Daphne and works on Uvicorn.
# The reason of a websocket.close is lost as well: only its code is sent.
# Versions: Daphne 4.2.3, Uvicorn 0.54.0 with websockets 17.4 for comparison.
# Source: RFC 6455, section 5.6 (a message may be empty), and the ASGI specification of websocket.send (one of text and
# bytes must not be None) and websocket.close (reason, a string of the application's choice); else observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 400 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    daphne==4.2.3 uvicorn==0.54.0 websockets==17.4

cd "$folder"
cat > app.py <<'PYTHON'
async def app(scope, receive, send):
    """Answer one message with an empty text, an empty binary and the text "end", and close."""
    await receive()
    await send({"type": "websocket.accept"})
    message = await receive()
    assert message.get("text") == ""
    await send({"type": "websocket.send", "text": ""})
    await send({"type": "websocket.send", "bytes": b""})
    await send({"type": "websocket.send", "text": "end"})
    await send({"type": "websocket.close", "code": 4001, "reason": "later"})
PYTHON

timeout 120 venv/bin/python - <<'PYTHON'
import importlib.metadata
import socket
import subprocess
import time

import websockets
import websockets.sync.client


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def connect(port):
    end = time.monotonic() + 20
    while True:
        try:
            return websockets.sync.client.connect(f"ws://127.0.0.1:{port}/")
        except ConnectionRefusedError:
            assert time.monotonic() < end, "the server does not listen"
            time.sleep(0.1)


def try_out(command):
    """Return the messages that the client gets, and code and reason of the Close."""
    port = free_port()
    with open("log", "w", encoding="ascii") as log:
        server = subprocess.Popen([f"venv/bin/{command[0]}", *command[1:], f"--port={port}"], stdout=log, stderr=log)
    try:
        messages = []
        with connect(port) as client:
            client.send("")
            try:
                while True:
                    messages.append(client.recv(timeout=10))
            except websockets.ConnectionClosed as closed:
                return messages, closed.rcvd.code, closed.rcvd.reason
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


for command, expected in (
    (["uvicorn", "app:app", "--host=127.0.0.1", "--lifespan=off"], (["", b"", "end"], 4001, "later")),
    (["daphne", "app:app", "--bind=127.0.0.1"], (["end"], 4001, "")),
):
    got = try_out(command)
    print(f"{command[0]} {importlib.metadata.version(command[0])}: the application sends '', b'' and 'end', and closes")
    print(f"    with 4001 'later'; the client gets {got[0]}, and a Close with {got[1]} {got[2]!r}")
    assert got == expected, f"{command[0]} behaves differently now"
PYTHON
