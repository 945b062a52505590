#!/usr/bin/env bash
# Surprise: a python-socketio application takes no WebSocket over HTTP/2, on any ASGI server, though the server and the
# application's other WebSockets do. python-engineio tells a WebSocket by the Upgrade and Connection headers of its
# request, also where ASGI has handed it a scope of the type "websocket"; over HTTP/2 there are none (RFC 8441,
# section 5). It says "Invalid websocket upgrade", which the ASGI server makes a 403. Clients that begin with long
# polling stay with it and show no error: moving a site from HTTP/1.1 to HTTP/2 takes its Socket.IO back to polling. A
# wrapper that adds both headers to such scopes is enough.
# Versions: python-engineio 4.15.1, python-socketio 5.18.1, Hypercorn 0.18.0, h2 4.4.1.
# Source: engineio/async_server.py, `handle_request`; RFC 8441, section 5; RFC 9113, section 8.2.2.
set -euo pipefail

folder=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        timeout 10 tail --pid="$server" -f /dev/null || kill -KILL "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install \
    python-engineio==4.15.1 python-socketio==5.18.1 hypercorn==0.18.0 h2==4.4.1

cat > app.py <<'PYTHON'
import socketio

sockets = socketio.ASGIApp(socketio.AsyncServer(async_mode="asgi"))


async def app(scope, receive, send):
    """Serve Socket.IO; below /added, with the headers that HTTP/2 lacks."""
    if scope["type"] == "websocket" and scope["path"].startswith("/added"):
        headers = [*scope["headers"], (b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        scope = {**scope, "headers": headers, "path": scope["path"].removeprefix("/added")}
    await sockets(scope, receive, send)
PYTHON
port=$(venv/bin/python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/hypercorn --bind "127.0.0.1:$port" app:app 2> log &
server=$!
for _ in $(seq 100); do grep -q Running log && break; sleep 0.1; done

timeout 60 venv/bin/python - "$port" <<'PYTHON'
import socket
import sys
from importlib.metadata import version

import h2.config
import h2.connection
import h2.events

PORT = int(sys.argv[1])
ADDRESS = "127.0.0.1", PORT
HEADERS = [("sec-websocket-version", "13")]
PATH = "/socket.io/?EIO=4&transport=websocket"


def http1(path):
    """Give the status of a WebSocket's handshake over HTTP/1.1."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{PORT}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *(f"{name}: {value}" for name, value in HEADERS),
    ]
    with socket.create_connection(ADDRESS, timeout=10) as client:
        client.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        return int(client.recv(65536).split()[1])


def http2(path):
    """Give the status of a WebSocket's handshake over HTTP/2."""
    http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    http.initiate_connection()
    asked = False
    with socket.create_connection(ADDRESS, timeout=10) as client:
        while True:
            client.sendall(http.data_to_send())
            data = client.recv(65536)
            assert data, "the server has ended the connection"
            for event in http.receive_data(data):
                if isinstance(event, h2.events.RemoteSettingsChanged) and not asked:
                    asked = True
                    fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": path}
                    http.send_headers(1, [*fields.items(), (":authority", f"127.0.0.1:{PORT}"), *HEADERS])
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers)[":status"])


print(*(f"{name} {version(name)}" for name in ("python-engineio", "python-socketio", "hypercorn", "h2")), sep=", ")
seen = {"HTTP/1.1": http1(PATH), "HTTP/2": http2(PATH), "HTTP/2, headers added": http2("/added" + PATH)}
for way, status in seen.items():
    print(f"{way}: {status}")
assert list(seen.values()) == [101, 403, 200], "the finding has changed"
PYTHON
grep -o "Invalid websocket upgrade" log
