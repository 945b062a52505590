#!/usr/bin/env bash
# Surprise: signalrcore, a SignalR client for Python with a WebSocket client of its own, knows no Ping. Its payload goes
# to the parser of hub messages: one of four random bytes, as a server by websockets sends every 20 s, ends the
# connection, and the log has a UnicodeDecodeError or a JSONDecodeError that tells of neither Ping nor WebSocket. An
# empty one does no harm, and gets no Pong either, so that a server which waits for it cuts the client off. A Ping
# between two fragments becomes part of their message. The same hub serves pysignalr, which leaves WebSockets to a
# library.
# Versions: signalrcore 1.0.2, pysignalr 1.3.3 as the control, aiohttp 3.14.5 for the server.
# Source: _recv_frame in signalrcore/transport/websockets/websocket_client.py, which looks for no opcode but Close;
# RFC 6455, sections 5.4 and 5.5.2, against it; websockets' documentation of keepalive and ping().
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
timeout 400 venv/bin/pip install --quiet --disable-pip-version-check signalrcore==1.0.2 pysignalr==1.3.3 aiohttp==3.14.5

cat > run.py <<'PYTHON'
import asyncio
import contextlib
import json
import logging

import aiohttp
from aiohttp import web
from pysignalr.client import SignalRClient
from signalrcore.hub_connection_builder import HubConnectionBuilder

END = "\x1e"
logging.disable(logging.WARNING)


class Errors(logging.Handler):
    """Keeps the last line of each error that is logged."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage().strip().splitlines()[-1])


async def negotiate(request):
    transports = [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]
    return web.json_response({"connectionId": "1", "negotiateVersion": 0, "availableTransports": transports})


def hub(ping, behaviour):
    """Give a hub that sends a message, a Ping, and when its Pong or two seconds have passed another message."""

    async def serve(request):
        websocket = web.WebSocketResponse(autoping=False)
        await websocket.prepare(request)
        await websocket.receive()
        call = json.dumps({"type": 1, "target": "tell", "arguments": ["a message"]}) + END
        await websocket.send_str("{}" + END)
        await websocket.send_str(call)
        await websocket.ping(ping)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                async for message in websocket:
                    if message.type is aiohttp.WSMsgType.PONG:
                        behaviour["Pong"] = message.data == ping
                        break
        with contextlib.suppress(ConnectionError):
            await websocket.send_str(call)
        await asyncio.sleep(4)
        return websocket

    return serve


async def with_signalrcore(url):
    received = []
    client = HubConnectionBuilder().with_url(url, options={"skip_negotiation": True}).build()
    client.on("tell", received.extend)
    await asyncio.to_thread(client.start)
    await asyncio.sleep(8)
    await asyncio.wait_for(asyncio.to_thread(client.stop), 10)
    return received


async def with_pysignalr(url):
    received = []

    async def tell(arguments):
        received.extend(arguments)

    client = SignalRClient(url.replace("ws://", "http://"))
    client.on("tell", tell)
    running = asyncio.create_task(client.run())
    await asyncio.sleep(3)
    running.cancel()
    await asyncio.wait([running], timeout=10)
    return received


async def run(name, client, ping):
    behaviour = {"Pong": False}
    application = web.Application()
    application.router.add_post("/hub/negotiate", negotiate)
    application.router.add_get("/hub", hub(ping, behaviour))
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    errors = Errors()
    logging.getLogger("SignalRCoreClient").addHandler(errors)
    try:
        received = await client(f"ws://127.0.0.1:{runner.addresses[0][1]}/hub")
    finally:
        logging.getLogger("SignalRCoreClient").removeHandler(errors)
        await asyncio.wait_for(runner.cleanup(), 10)
    error = next((line for line in errors.lines if "Error" in line), "none")
    print(f"{name}, Ping {ping}: Pong: {behaviour['Pong']}; messages: {len(received)} of 2; error: {error}")
    return behaviour["Pong"], len(received), error.partition(":")[0]


async def main():
    random = bytes.fromhex("c8c9cacb")
    assert await run("pysignalr", with_pysignalr, random) == (True, 2, "none"), "the control has failed"
    assert await run("signalrcore", with_signalrcore, random) == (False, 1, "UnicodeDecodeError")
    assert await run("signalrcore", with_signalrcore, b"{[}]") == (False, 1, "json.decoder.JSONDecodeError")
    assert await run("signalrcore", with_signalrcore, b"") == (False, 2, "none"), "the finding has changed"


asyncio.run(main())
PYTHON
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -E '^(signalrcore|pysignalr|aiohttp) '
timeout 60 venv/bin/python run.py
