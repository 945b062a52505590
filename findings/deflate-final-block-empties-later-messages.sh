#!/usr/bin/env bash
# Surprise: a sender of permessage-deflate may end a message with a DEFLATE block that has BFINAL set. After one such
# message, three Python servers hand every later compressed message to the application as an empty one: no error, no
# Close, and the connection stays open. The reason is Python's zlib: a decompressobj that has met the final block keeps
# what follows in unused_data and returns b"" from every further decompress(). Uncompressed messages still arrive.
# Versions: websockets 17.4, Tornado 6.6.1 and Autobahn 26.10.2; aiohttp 3.14.5 is shown beside them and is right.
# Source: RFC 7692, sections 7.2.1 and 7.2.3.4, allow the block; Python's documentation of zlib.Decompress.unused_data
# tells what the object does, but not that it does so for WebSockets. npm ws had a fault of this kind (its issue 1669).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    websockets==17.4 tornado==6.6.1 autobahn==26.10.2 aiohttp==3.14.5

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import importlib.metadata
import os
import socket
import zlib

import aiohttp.web
import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket
import websockets.asyncio.server
from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOfferAccept

TEXT, CLOSE = 1, 8


def frame(opcode, payload, *, compressed=False):
    key = os.urandom(4)
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes([0x80 | (0x40 if compressed else 0) | opcode, 0x80 | len(payload)]) + key + masked


def with_final_block(text):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(text) + stream.flush(zlib.Z_FINISH) + b"\x00"


def without(text):
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def talk(port):
    """Send four messages and a Close, and read until the server has ended the connection."""
    request = (
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(request.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        assert b"permessage-deflate" in head
        client.sendall(
            frame(TEXT, with_final_block(b"first"), compressed=True)
            + frame(TEXT, without(b"second"), compressed=True)
            + frame(TEXT, without(b"third"), compressed=True)
            + frame(TEXT, b"fourth, not compressed")
            + frame(CLOSE, b"\x03\xe8")
        )
        answer = head.split(b"\r\n\r\n", 1)[1]
        while part := client.recv(4096):
            answer += part
        return answer


async def serve_websockets(received):
    async def handler(connection):
        async for message in connection:
            received.append(message)

    server = await websockets.asyncio.server.serve(handler, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[1], server.close


async def serve_tornado(received):
    class Handler(tornado.websocket.WebSocketHandler):
        def get_compression_options(self):
            return {}

        def on_message(self, message):
            received.append(message)

    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server = tornado.httpserver.HTTPServer(tornado.web.Application([("/", Handler)]))
    server.add_sockets(sockets)
    return sockets[0].getsockname()[1], server.stop


async def serve_autobahn(received):
    class Protocol(WebSocketServerProtocol):
        def onMessage(self, payload, is_binary):
            received.append(payload.decode())

    factory = WebSocketServerFactory()
    factory.protocol = Protocol
    factory.setProtocolOptions(perMessageCompressionAccept=lambda offers: PerMessageDeflateOfferAccept(offers[0]))
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[1], server.close


async def serve_aiohttp(received):
    async def handler(request):
        response = aiohttp.web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            received.append(message.data)
        return response

    application = aiohttp.web.Application()
    application.router.add_get("/", handler)
    runner = aiohttp.web.AppRunner(application)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner.addresses[0][1], lambda: None


async def main():
    sent = ["first", "second", "third", "fourth, not compressed"]
    blanked = ["first", "", "", "fourth, not compressed"]
    for name, serve, expected in (
        ("websockets", serve_websockets, blanked),
        ("tornado", serve_tornado, blanked),
        ("autobahn", serve_autobahn, blanked),
        ("aiohttp", serve_aiohttp, sent),
    ):
        received = []
        port, stop = await serve(received)
        answer = await asyncio.to_thread(talk, port)
        stop()
        print(f"{name} {importlib.metadata.version(name)}: the application got {received}; Close answered: {answer!r}")
        assert received == expected, f"{name} behaves differently now"
        assert answer == b"\x88\x02\x03\xe8"


asyncio.run(main())
PYTHON
