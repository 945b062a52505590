#!/usr/bin/env bash
# Surprise: the proxy variables of one environment, such as a container's, hold for some WebSocket clients of a program
# and not for others, without a word. HTTPS_PROXY, which everything else takes, is passed over for a wss:// URL by aiohttp
# (with trust_env=True, it wants WSS_PROXY) and by httpx-ws (it wants ALL_PROXY); both connect directly. ALL_PROXY is
# passed over by aiohttp, websockets and websocket-client, and picows takes none of the three. So a program whose requests
# all leave by the proxy may have WebSockets that do not: they fail behind a firewall, or avoid the proxy's log.
# For a ws:// URL, websockets takes HTTPS_PROXY before HTTP_PROXY; and where aiohttp is given WS_PROXY, it opens no tunnel,
# but asks the proxy itself with "GET ws://...", where RFC 6455, section 4.1, has a client ask for a tunnel by CONNECT.
# Versions: aiohttp 3.14.5, websockets 17.4, websocket-client 1.9.2, httpx 0.28.1 with httpx-ws 0.9.0, curl_cffi 0.17.0,
# picows 2.3.1.
# Source: aiohttp/helpers.py, `get_env_proxy_for_url`; websockets/proxy.py, `get_proxy`; websocket/_url.py,
# `get_proxy_info`; httpx/_utils.py, `get_environment_proxies`; picows has the argument `proxy` alone.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install aiohttp==3.14.5 websockets==17.4 websocket-client==1.9.2 \
    httpx==0.28.1 httpx-ws==0.9.0 curl_cffi==0.17.0 picows==2.3.1

cat > client.py <<'PYTHON'
"""Open one URL with one library; print whether the proxy or the server was reached first."""

import asyncio
import os
import socket
import sys
import threading
from contextlib import suppress

LIBRARY, SCHEME, VARIABLE = sys.argv[1:]
reached = []


def listen(name):
    """Listen on a free port, answer what comes with 502, and note its first line."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            client, _ = listener.accept()
            client.settimeout(10)
            with suppress(OSError), client:
                line = client.recv(4096).partition(b"\r\n")[0].decode("latin-1")
                reached.append(name if name == "direct" else line.split(" ")[0] + (" ws:" if " ws:" in line else ""))
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


url = f"{SCHEME}://127.0.0.1:{listen('direct')}/"
for variable in list(os.environ):
    if variable.lower().endswith("_proxy"):
        del os.environ[variable]
os.environ[VARIABLE] = f"http://127.0.0.1:{listen('proxy')}"


async def connect():
    if LIBRARY == "aiohttp":
        import aiohttp

        async with aiohttp.ClientSession(trust_env=True) as session:
            await session.ws_connect(url)
    elif LIBRARY == "websockets":
        import websockets

        await websockets.connect(url)
    elif LIBRARY == "websocket-client":
        import websocket

        websocket.create_connection(url, timeout=10)
    elif LIBRARY == "httpx-ws":
        import httpx
        import httpx_ws

        async with httpx.AsyncClient() as client, httpx_ws.aconnect_ws(url, client):
            pass
    elif LIBRARY == "curl_cffi":
        import curl_cffi

        async with curl_cffi.AsyncSession() as session:
            await session.ws_connect(url)
    else:
        import picows

        await picows.ws_connect(picows.WSListener, url)


# Nothing answers as a WebSocket does.
with suppress(Exception):
    asyncio.run(asyncio.wait_for(connect(), 15))
print(reached[0] if reached else "nothing")
PYTHON

cat > run.py <<'PYTHON'
import subprocess
import sys

CASES = [("wss", "HTTPS_PROXY"), ("wss", "WSS_PROXY"), ("wss", "ALL_PROXY"), ("ws", "HTTPS_PROXY"), ("ws", "WS_PROXY")]
WANTED = {
    "aiohttp": ["direct", "CONNECT", "direct", "direct", "GET ws:"],
    "websockets": ["CONNECT", "CONNECT", "direct", "CONNECT", "CONNECT"],
    "websocket-client": ["CONNECT", "direct", "direct", "direct", "direct"],
    "httpx-ws": ["direct", "direct", "CONNECT", "direct", "direct"],
    "curl_cffi": ["CONNECT", "CONNECT", "CONNECT", "direct", "CONNECT"],
    "picows": ["direct", "direct", "direct", "direct", "direct"],
}
print(f"{'':18}" + "".join(f"{f'{scheme} {variable}':17}" for scheme, variable in CASES))
as_expected = True
for library, wanted in WANTED.items():
    found = []
    for scheme, variable in CASES:
        # Names in capitals, as they are mostly written; those in small letters give the same.
        command = [sys.executable, "client.py", library, scheme, variable]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        found.append((done.stdout.split("\n") or [""])[0].strip())
    print(f"{library:18}" + "".join(f"{it:17}" for it in found))
    as_expected = as_expected and found == wanted
sys.exit(0 if as_expected else 1)
PYTHON
timeout 600 venv/bin/python run.py
