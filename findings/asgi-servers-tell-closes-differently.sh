#!/usr/bin/env bash
# Surprise: the code in ASGI's websocket.disconnect depends on the server more than on the client. A clean Close with
# 4001 is 1006, a lost connection, on Hypercorn; a lost connection is 1005, a Close without a code, on Uvicorn and
# Granian; a Close without a code is None on Daphne; and only Uvicorn passes the reason on. The other way round, an
# application that returns without a word ends the WebSocket in four ways: Uvicorn ends TCP, Hypercorn closes with 1011,
# Granian with an empty Close, and Daphne leaves the WebSocket open, with no application at its end.
# Versions: Uvicorn 0.54.0 with websockets 17.4, Hypercorn 0.18.0, Daphne 4.2.3, Granian 2.8.9.
# Source: RFC 6455, section 7.1.5 (1005 is a Close without a code, 1006 no Close); the ASGI specification of
# websocket.disconnect (the code of the Close, 1005 if it had none); Hypercorn's issue 127, open since 2023.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 400 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    uvicorn==0.54.0 websockets==17.4 hypercorn==0.18.0 daphne==4.2.3 granian==2.8.9

cd "$folder"
cat > app.py <<'PYTHON'
import json
import os


async def app(scope, receive, send):
    """Write each websocket.disconnect to a file; return at once for /return."""
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    await receive()
    await send({"type": "websocket.accept"})
    while scope["path"] != "/return":
        message = await receive()
        if message["type"] == "websocket.disconnect":
            with open(os.environ["EVENTS"], "a", encoding="ascii") as file:
                file.write(json.dumps([message["code"], message.get("reason")]) + "\n")
            return
PYTHON

timeout 150 venv/bin/python - <<'PYTHON'
import importlib.metadata
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

CLOSE = 0x88
EVENTS = pathlib.Path("events")


def until(test):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if result := test():
            return result
        time.sleep(0.05)
    raise TimeoutError


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def connect(port):
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=3)
    except ConnectionRefusedError:
        return None


def open_websocket(port, path):
    client = until(lambda: connect(port))
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(4096)
    head, _, rest = data.partition(b"\r\n\r\n")
    assert b" 101 " in head, head
    return client, rest


def frame(first, payload):
    key = os.urandom(4)
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes([first, 0x80 | len(payload)]) + key + masked


def told(port, data):
    """Return code and reason that the application is told when the client sends this, or ends TCP."""
    EVENTS.write_text("")
    client, _ = open_websocket(port, "/")
    with client:
        if data:
            client.sendall(data)
            while client.recv(4096):
                pass
    return tuple(json.loads(until(EVENTS.read_text)))


def after_return(port):
    """Return what the client gets when the application returns."""
    client, data = open_websocket(port, "/return")
    with client:
        try:
            while part := client.recv(4096):
                data += part
        except TimeoutError:
            assert data == b""
            return "nothing for 3 s"
    if data == b"":
        return "end of TCP"
    assert data[0] == CLOSE
    return int.from_bytes(data[2:4], "big") if data[1] else "Close without code"


def try_out(command):
    port = free_port()
    command = [f"venv/bin/{command[0]}"] + [part.replace("PORT", str(port)) for part in command[1:]]
    with open("log", "w", encoding="ascii") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "EVENTS": str(EVENTS)}, start_new_session=True
        )
    try:
        clean = told(port, frame(CLOSE, (4001).to_bytes(2, "big") + b"later"))
        empty = told(port, frame(CLOSE, b""))
        lost = told(port, b"")
        return clean, empty[0], lost[0], after_return(port)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(server.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        server.wait(10)


for command, expected in (
    (["uvicorn", "app:app", "--host=127.0.0.1", "--port=PORT"], ((4001, "later"), 1005, 1005, "end of TCP")),
    (["hypercorn", "app:app", "--bind=127.0.0.1:PORT"], ((1006, None), 1006, 1006, 1011)),
    (["daphne", "app:app", "--bind=127.0.0.1", "--port=PORT"], ((4001, None), None, 1006, "nothing for 3 s")),
    (
        ["granian", "--interface=asgi", "app:app", "--host=127.0.0.1", "--port=PORT"],
        ((4001, None), 1005, 1005, "Close without code"),
    ),
):
    got = try_out(command)
    clean, empty, lost, ended = got
    print(f"{command[0]} {importlib.metadata.version(command[0])}")
    print(f"    the application is told: {clean} of 4001 'later', {empty} of a Close without code, {lost} of TCP's end")
    print(f"    the application returns, and the client gets: {ended}")
    assert got == expected, f"{command[0]} behaves differently now"
PYTHON
