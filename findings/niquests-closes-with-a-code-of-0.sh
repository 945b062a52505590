#!/usr/bin/env bash
# Surprise: close() of a WebSocket of niquests sends a Close with the code 0, which no endpoint may send, and ends TCP
# without waiting for an answer; there is no argument for another code. So three servers of four, which check codes,
# tell their application 1006, a lost connection, for each client that closes; the fourth tells 0. A subscription that
# is to go on after a loss, or an alert on lost clients, goes by that.
# Versions: niquests 3.21.2 with urllib3-future 2.25.904 and wsproto 1.3.2; websockets 17.4, aiohttp 3.14.5, Tornado
# 6.6.1 and ws 8.23.0 (on the Node that runs this) as servers.
# Source: RFC 6455, section 7.4.2 (0 to 999 are not used); WebSocketExtensionFromHTTP.close of urllib3-future, which
# takes no code and gives wsproto's CloseConnection a 0.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check \
    niquests==3.21.2 urllib3-future==2.25.904 wsproto==1.3.2 websockets==17.4 aiohttp==3.14.5 tornado==6.6.1
echo '{"private": true, "type": "module"}' > package.json
timeout 300 npm install --silent --no-audit --no-fund ws@8.23.0

cat > node.js <<'JAVASCRIPT'
import { WebSocketServer } from 'ws'
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
server.on('connection', (websocket) => {
  websocket.on('message', (message) => websocket.send(message.toString()))
  websocket.on('error', () => {})
  websocket.on('close', (code) => console.log(code))
})
server.on('listening', () => console.log(server.address().port))
JAVASCRIPT
cat > with_websockets.py <<'PYTHON'
import websockets.exceptions
import websockets.sync.server


def handle(connection):
    try:
        for message in connection:
            connection.send(message)
    except websockets.exceptions.ConnectionClosed:
        pass
    print(int(connection.close_code), flush=True)


with websockets.sync.server.serve(handle, "127.0.0.1", 0) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
PYTHON
cat > with_aiohttp.py <<'PYTHON'
import asyncio

import aiohttp.web


async def handle(request):
    websocket = aiohttp.web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        if message.type == aiohttp.WSMsgType.TEXT:
            await websocket.send_str(message.data)
    print(websocket.close_code, flush=True)
    return websocket


async def main():
    application = aiohttp.web.Application()
    application.router.add_get("/", handle)
    runner = aiohttp.web.AppRunner(application)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
PYTHON
cat > with_tornado.py <<'PYTHON'
import asyncio

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket


class Handler(tornado.websocket.WebSocketHandler):
    def on_message(self, message):
        self.write_message(message)

    def on_close(self):
        print(self.close_code, flush=True)


async def main():
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    tornado.httpserver.HTTPServer(tornado.web.Application([("/", Handler)])).add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
PYTHON

timeout 90 venv/bin/python - <<'PYTHON'
import base64
import hashlib
import importlib.metadata
import re
import socket
import subprocess
import threading

import niquests

SERVERS = {
    "websockets": (["venv/bin/python", "with_websockets.py"], "1006"),
    "aiohttp": (["venv/bin/python", "with_aiohttp.py"], "1006"),
    "Tornado": (["venv/bin/python", "with_tornado.py"], "0"),
    "ws": (["node", "node.js"], "1006"),
}


def converse(port):
    """Send a text, get it back, and close, as niquests has it."""
    with niquests.Session() as session:
        response = session.get(f"ws://127.0.0.1:{port}/", timeout=10)
        response.raise_for_status()
        response.extension.send_payload("hello")
        assert response.extension.next_payload() == "hello"
        response.extension.close()


def read_close():
    """Give the payload of the Close that niquests sends to a server that only opens and echoes."""
    payloads = []

    def serve(listener):
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as file:
            connection.settimeout(10)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += file.readline()
            (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", head)
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n\x81\x05hello"
            )
            while True:
                first, length = file.read(2)
                mask, payload = file.read(4), file.read(length & 0x7F)
                if first == 0x88:
                    payloads.append(bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)))
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        converse(listener.getsockname()[1])
        server.join(10)
    return payloads


print("niquests", importlib.metadata.version("niquests"))
payloads = read_close()
print(f"the payload of its Close: {payloads}")
assert payloads == [b"\x00\x00"], "the finding has changed"
for name, (command, expected) in SERVERS.items():
    with (
        open("log", "w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            converse(int(server.stdout.readline()))
            told = server.stdout.readline().strip()
        finally:
            server.kill()
    print(f"{name}: its application is told {told}")
    assert told == expected, "the finding has changed"
PYTHON
