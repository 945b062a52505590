#!/usr/bin/env bash
# Surprise: the answer to a server's Close says nothing of what the client understood. Of nine Python clients that get a
# Close with 4001, eight tell the application that code. Yet three echo it, four answer 1000 whatever they got, and two
# never answer and end TCP. So a server that waits for its own code, or takes an answer of 1000 for a client that closed
# by itself, or a missing answer for a lost connection, is wrong about most of them.
# Versions: websockets 17.4, trio-websocket 0.12.2, Tornado 6.6.1, aiohttp 3.14.5, websocket-client 1.9.2,
# Autobahn 26.10.2, httpx-ws 0.9.0, simple-websocket 1.1.0, niquests 3.21.2.
# Source: RFC 6455, section 5.5.1: an endpoint that has not sent a Close must answer with one, and typically echoes the
# code; Autobahn documents its option echoCloseCodeReason; the rest is observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 400 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    websockets==17.4 trio-websocket==0.12.2 tornado==6.6.1 aiohttp==3.14.5 websocket-client==1.9.2 autobahn==26.10.2 \
    httpx-ws==0.9.0 httpx==0.28.1 simple-websocket==1.1.0 niquests==3.21.2

timeout 120 "$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import base64
import hashlib
import importlib.metadata
import re
import socket
import threading
import time

import aiohttp
import httpx
import httpx_ws
import niquests
import simple_websocket
import tornado.websocket
import trio
import trio_websocket
import websocket
import websockets.sync.client
from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

CODE, REASON = 4001, "later"


def exactly(connection, length):
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def serve(listener, answers):
    """Accept one WebSocket, close it with 4001 when it is idle, and keep what comes back."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(10)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", head)
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        time.sleep(0.3)
        payload = CODE.to_bytes(2, "big") + REASON.encode()
        connection.sendall(bytes([0x88, len(payload)]) + payload)
        try:
            first, second = exactly(connection, 2)
            key = exactly(connection, 4)
            answer = bytes(byte ^ key[index % 4] for index, byte in enumerate(exactly(connection, second & 127)))
        except (EOFError, ConnectionResetError):
            answers.append("no answer")
        else:
            assert first == 0x88
            answers.append(int.from_bytes(answer[:2], "big"))


def with_websockets(port):
    with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/") as client:
        try:
            client.recv(timeout=10)
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code


def with_trio_websocket(port):
    async def main():
        async with trio_websocket.open_websocket_url(f"ws://127.0.0.1:{port}/") as client:
            try:
                await client.get_message()
            except trio_websocket.ConnectionClosed as closed:
                return closed.reason.code

    return trio.run(main)


def with_tornado(port):
    async def main():
        client = await tornado.websocket.websocket_connect(f"ws://127.0.0.1:{port}/")
        await asyncio.wait_for(client.read_message(), 10)
        return client.close_code

    return asyncio.run(main())


def with_aiohttp(port):
    async def main():
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/") as client:
            return (await client.receive(timeout=10)).data

    return asyncio.run(main())


def with_websocket_client(port):
    codes = []
    client = websocket.WebSocketApp(f"ws://127.0.0.1:{port}/", on_close=lambda client, code, reason: codes.append(code))
    client.run_forever()
    return codes[0]


def with_autobahn(port):
    async def main():
        closed = asyncio.get_running_loop().create_future()

        class Protocol(WebSocketClientProtocol):
            def onClose(self, clean, code, reason):
                closed.set_result(code)

        factory = WebSocketClientFactory(f"ws://127.0.0.1:{port}/")
        factory.protocol = Protocol
        await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", port)
        return await asyncio.wait_for(closed, 10)

    return asyncio.run(main())


def with_httpx_ws(port):
    with httpx.Client() as session, httpx_ws.connect_ws(f"http://127.0.0.1:{port}/", session) as client:
        try:
            client.receive(timeout=10)
        except httpx_ws.WebSocketDisconnect as closed:
            return closed.code


def with_simple_websocket(port):
    client = simple_websocket.Client(f"ws://127.0.0.1:{port}/")
    try:
        client.receive(timeout=10)
    except simple_websocket.ConnectionClosed as closed:
        return closed.reason


def with_niquests(port):
    with niquests.Session() as session:
        # It reports the end of the WebSocket as None, without the code.
        return session.get(f"ws://127.0.0.1:{port}/").extension.next_payload()


for package, use, told, expected in (
    ("websockets", with_websockets, CODE, CODE),
    ("trio-websocket", with_trio_websocket, CODE, CODE),
    ("tornado", with_tornado, CODE, CODE),
    ("aiohttp", with_aiohttp, CODE, 1000),
    ("websocket-client", with_websocket_client, CODE, 1000),
    ("autobahn", with_autobahn, CODE, 1000),
    ("httpx-ws", with_httpx_ws, CODE, 1000),
    ("simple-websocket", with_simple_websocket, CODE, "no answer"),
    ("niquests", with_niquests, None, "no answer"),
):
    answers = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener, answers), daemon=True)
        server.start()
        seen = use(listener.getsockname()[1])
        server.join(15)
    version = importlib.metadata.version(package)
    print(f"{package:16} {version:8} application told: {seen}, server answered: {answers[0]}")
    assert (seen, answers) == (told, [expected]), f"{package} behaves differently now"
PYTHON
