#!/usr/bin/env bash
# Surprise: the debugger of Node, `node --inspect`, is a WebSocket server that knows unfragmented text and Close alone. A
# Ping, an unasked Pong or the first fragment of a message makes it end the connection, without a Close and without a
# word, though all are in RFC 6455. So a client with keepalive loses it with its first Ping, as Python's websockets with
# its defaults after 20 s, which looks like a timeout of something in between. Others that speak the same protocol
# answer Pings: Chromium, where it comes from, Bun and Deno. Deno takes each fragment for a message of its own.
# Versions: Node 26.10.0 (npm's node; 20.20.2 does the same), Chromium 153.0.8010.0 (npm's @sparticuz/chromium 153.0.0),
# Bun 1.4.5, Deno 2.9.6, websockets 17.4 as the client.
# Source: decode_frame_hybi17 in src/inspector_socket.cc of Node; RFC 6455, sections 5.4, 5.5.2 and 5.5.3, against it;
# the documentation of websockets on keepalive (ping_interval is 20 unless told otherwise).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export TMPDIR="$folder" DENO_DIR="$folder/deno" DENO_NO_UPDATE_CHECK=1
echo '{"private": true, "type": "module"}' > package.json
timeout 500 npm install --silent --no-audit --no-fund node@26.10.0 bun@1.4.5 deno@2.9.6 @sparticuz/chromium@153.0.0
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check websockets==17.4

echo 'setInterval(() => {}, 1000)' > idle.js
cat > chromium.js <<'JAVASCRIPT'
import chromium from '@sparticuz/chromium'
console.log(await chromium.executablePath())
JAVASCRIPT

timeout 300 venv/bin/python - <<'PYTHON'
import asyncio
import json
import re
import socket
import subprocess
import threading

import websockets
from websockets.asyncio.client import connect

NODE = "node_modules/node/bin/node"


def command(name):
    """Give the command that starts a program with its debugger on a free port."""
    if name == "Node":
        return [NODE, "--inspect=127.0.0.1:0", "idle.js"]
    if name == "Chromium":
        path = subprocess.run([NODE, "chromium.js"], capture_output=True, text=True, timeout=60, check=True)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        return [path.stdout.strip(), *options, "--remote-debugging-port=0", "--user-data-dir=profile", "about:blank"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    if name == "Bun":
        return ["node_modules/.bin/bun", f"--inspect={address}", "idle.js"]
    return ["node_modules/.bin/deno", "run", f"--inspect={address}", "idle.js"]


async def ask(url, first):
    """Send something first, then a call of the protocol, and give what comes of it."""
    call = json.dumps({"id": 1, "method": "Browser.getVersion" if "/browser/" in url else "Runtime.enable"})
    async with connect(url, ping_interval=None, compression=None, open_timeout=20) as websocket:
        try:
            if first == "a Ping":
                await asyncio.wait_for(await websocket.ping(), 10)
            elif first == "a Pong":
                await websocket.pong()
            await websocket.send([call[:10], call[10:]] if first == "fragments" else call)
            while True:
                answer = json.loads(await asyncio.wait_for(websocket.recv(), 10))
                if "error" in answer:
                    return "taken for two messages"
                if answer.get("id") == 1:
                    return "answered"
        except websockets.ConnectionClosedError as error:
            return "ended with a Close" if error.rcvd else "ended without a Close"


def run(name):
    with subprocess.Popen(command(name), stderr=subprocess.PIPE, text=True) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        try:
            url = next(found.group() for line in process.stderr if (found := re.search(r"ws://[^\s\x1b]+", line)))
            behaviour = {}
            for first in ("nothing", "a Ping", "a Pong", "fragments"):
                behaviour[first] = asyncio.run(ask(url, first))
                print(f"{name}: {first}: {behaviour[first]}")
        finally:
            guard.cancel()
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
    return list(behaviour.values())


for program in (NODE, "node_modules/.bin/bun", "node_modules/.bin/deno"):
    print(program, subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30).stdout.split("\n")[0])
print("websockets", websockets.__version__)
assert run("Node") == ["answered", *["ended without a Close"] * 3], "the finding has changed"
assert run("Deno") == [*["answered"] * 3, "taken for two messages"], "the finding has changed"
assert run("Chromium") == run("Bun") == ["answered"] * 4, "a control has failed"
PYTHON
