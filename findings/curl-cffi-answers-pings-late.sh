#!/usr/bin/env bash
# Surprise: a WebSocket of curl_cffi that waits in `recv()` answers no Ping until a message comes; the Pong goes out
# then, seconds or hours late. A server that ends connections whose Pong is missing, as the keepalive of many
# libraries does after 20 to 40 s, cuts off every client that only listens. The Close with which the server says so
# comes out of `recv()` like a message: its code and reason as bytes, with the flag 8.
# Versions: curl_cffi 0.17.0, websockets 17.4.
# Source: RFC 6455, section 5.5.2, has an endpoint answer a Ping as soon as is practical; else observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check curl_cffi==0.17.0 websockets==17.4

cat > client.py <<'PYTHON'
"""Print each thing that `recv()` gives."""
import asyncio
import sys

from curl_cffi import AsyncSession


async def main():
    async with AsyncSession() as session:
        websocket = await session.ws_connect(sys.argv[1])
        for _ in range(2):
            print("  recv() gave", await asyncio.wait_for(websocket.recv(), 20), flush=True)
        await websocket.close()


asyncio.run(main())
PYTHON

timeout 60 venv/bin/python - <<'PYTHON'
import asyncio
import sys
import time
from importlib.metadata import version

from websockets.asyncio.server import serve

SILENCE = 4.0
times = {}


async def handler(connection):
    """Send a Ping, nothing for a while, then a message and a Close."""
    start = time.monotonic()
    pong = await connection.ping()
    pong.add_done_callback(lambda _: times.setdefault("pong", time.monotonic() - start))
    await asyncio.sleep(SILENCE)
    times["message"] = time.monotonic() - start
    assert not pong.done()
    await connection.send("at last")
    await asyncio.wait_for(asyncio.shield(pong), 10)
    await connection.close(1011, "keepalive ping timeout")


async def main():
    print("curl_cffi", version("curl_cffi"))
    async with serve(handler, "127.0.0.1", 0, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        command = [sys.executable, "client.py", f"ws://127.0.0.1:{port}/"]
        client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await asyncio.wait_for(client.communicate(), 40)
    print(f"a Ping at 0.0 s, a message at {times['message']:.1f} s; the Pong came at {times['pong']:.1f} s; the client:")
    print(out.decode(), end="")
    assert times["pong"] >= times["message"] >= SILENCE
    assert b"(b'at last', 1)" in out and b"(b'\\x03\\xf3keepalive ping timeout', 8)" in out


asyncio.run(main())
PYTHON
