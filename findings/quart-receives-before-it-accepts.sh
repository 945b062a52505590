#!/usr/bin/env bash
# Surprise: Quart calls ASGI's `receive` a second time while a WebSocket is still undecided, before the handler has run:
# a task of its own takes all events and puts those of the type "websocket.receive" into a queue. So an ASGI server has
# to let that call wait, and answer it with the first message that comes after the accept. One that does not gives
# Quart's handlers no messages, though the handshake is accepted, and nothing says so. Starlette receives once before it
# has accepted, and then when the handler asks.
# Versions: Quart 0.22.0, Starlette 1.10.0.
# Source: quart/asgi.py, ASGIWebsocketConnection; ASGI's specification of WebSockets 2.5, which does not say.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install quart==0.22.0 starlette==1.10.0

cat > main.py <<'PYTHON'
import asyncio
from importlib.metadata import version

from quart import Quart, websocket
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

SCOPE = {
    "type": "websocket",
    "asgi": {"version": "3.0", "spec_version": "2.5"},
    "http_version": "1.1",
    "scheme": "ws",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"localhost")],
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 80),
    "subprotocols": [],
    "state": {},
    "extensions": {},
}
quart = Quart("finding")


@quart.websocket("/")
async def echo_of_quart():
    await asyncio.sleep(0.2)
    await websocket.accept()
    await websocket.send(await websocket.receive())


async def echo_of_starlette(websocket):
    await asyncio.sleep(0.2)
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


async def order(app):
    """Run an application, and give the order of its calls."""
    calls, accepted = [], asyncio.Event()
    events = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]

    async def receive():
        calls.append("receive")
        if len(events) == 1:
            # A message comes when the handshake is done.
            await accepted.wait()
        if events:
            return events.pop(0)
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message):
        calls.append(message["type"].partition(".")[2])
        if message["type"] == "websocket.accept":
            accepted.set()

    await asyncio.wait_for(app(SCOPE, receive, send), 10)
    return calls[: calls.index("accept") + 1]


async def main():
    starlette = Starlette(routes=[WebSocketRoute("/", echo_of_starlette)])
    expected = {"quart": ["receive", "receive", "accept"], "starlette": ["receive", "accept"]}
    for name, app in (("quart", quart), ("starlette", starlette)):
        calls = await order(app)
        print(f"{name} {version(name)}: {', '.join(calls)}")
        assert calls == expected[name], "the finding has changed"


asyncio.run(main())
PYTHON
timeout 60 venv/bin/python main.py
