#!/usr/bin/env bash
# Surprise: a page that opens ten WebSockets at once asks for them one after another. Over HTTP/1.1 Chromium holds the
# next handshake back until the one before is answered, for each address that it connects to, whatever the paths. So a
# server that looks up a session for 0.2 s before its 101 serves the tenth after two seconds, though it could take them
# all at once, and a handshake that takes long holds up all others of its page. Other clients, and Chromium itself over
# HTTP/2, ask for all at once.
# Versions: Chromium 153.0.8010.0 (npm's @sparticuz/chromium 153.0.0), ws 8.23.0 as the other client, h2 4.4.1.
# Source: RFC 6455, section 4.1, item 2 (no more than one connection to an address in the state CONNECTING), which few
# clients keep to; net::WebSocketEndpointLockManager of Chromium; RFC 8441 has no such rule.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export TMPDIR="$folder"
echo '{"private": true, "type": "module"}' > package.json
timeout 500 npm install --silent --no-audit --no-fund @sparticuz/chromium@153.0.0 playwright-core@1.64.1 ws@8.23.0
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check h2==4.4.1 trustme==1.2.1

cat > chromium.js <<'JAVASCRIPT'
import chromium from '@sparticuz/chromium'
import { chromium as playwright } from 'playwright-core'

const [url, count] = process.argv.slice(2)
const browser = await playwright.launch({
  executablePath: await chromium.executablePath(),
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--ignore-certificate-errors']
})
const page = await browser.newPage()
await page.goto(url)
const opened = await page.evaluate((count) => {
  const open = (index) => new Promise((resolve, reject) => {
    const websocket = new WebSocket(`${location.origin.replace('http', 'ws')}/${index}`)
    websocket.onopen = resolve
    websocket.onerror = reject
  })
  return Promise.all(Array.from({ length: count }, (_, index) => open(index))).then(() => true)
}, Number(count))
console.log('Chromium', browser.version())
await browser.close()
process.exit(opened ? 0 : 1)
JAVASCRIPT
cat > other.js <<'JAVASCRIPT'
import { readFileSync } from 'node:fs'
import { WebSocket } from 'ws'

const [url, count] = process.argv.slice(2)
const open = () => new Promise((resolve, reject) => {
  const websocket = new WebSocket(url.replace('http', 'ws'))
  websocket.onopen = resolve
  websocket.onerror = reject
})
await Promise.all(Array.from({ length: Number(count) }, open))
console.log('ws', JSON.parse(readFileSync('node_modules/ws/package.json')).version)
process.exit(0)
JAVASCRIPT

timeout 150 venv/bin/python - <<'PYTHON'
import asyncio
import base64
import contextlib
import hashlib
import re
import ssl
import time

import h2.config
import h2.connection
import h2.events
import trustme
from h2.settings import SettingCodes, Settings

COUNT, LOOKUP = 10, 0.2
PAGE = b"<!doctype html><title>page</title>"


class Server:
    """A server that needs a while for each handshake, and counts how many it is at."""

    def __init__(self):
        self.pending = self.most = 0
        self.first = self.last = None

    async def look_up(self):
        self.first = self.first or time.monotonic()
        self.pending += 1
        self.most = max(self.most, self.pending)
        await asyncio.sleep(LOOKUP)
        self.pending -= 1
        self.last = time.monotonic()

    async def http1(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            if key := re.search(rb"(?i)sec-websocket-key: (\S+)", head):
                await self.look_up()
                digest = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
                fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + digest
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n\r\n")
                await reader.read()
            else:
                fields = f"Content-Type: text/html\r\nContent-Length: {len(PAGE)}\r\nConnection: close"
                writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode() + PAGE)
        writer.close()

    async def http2(self, reader, writer):
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        http.local_settings = Settings(client=False, initial_values={SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        http.initiate_connection()
        tasks = []

        async def accept(stream):
            await self.look_up()
            http.send_headers(stream, [(":status", "200")])
            writer.write(http.data_to_send())

        with contextlib.suppress(ConnectionError):
            writer.write(http.data_to_send())
            while data := await reader.read(65536):
                for event in http.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        if dict(event.headers)[":method"] == "CONNECT":
                            tasks.append(asyncio.create_task(accept(event.stream_id)))
                        else:
                            http.send_headers(event.stream_id, [(":status", "200"), ("content-type", "text/html")])
                            http.send_data(event.stream_id, PAGE, end_stream=True)
                writer.write(http.data_to_send())
        writer.close()


async def count(script, *, http2):
    """Give how many handshakes there were at a time, and seconds from the first request to the last answer."""
    counting = Server()
    context = None
    if http2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        context.set_alpn_protocols(["h2"])
    server = await asyncio.start_server(counting.http2 if http2 else counting.http1, "127.0.0.1", 0, ssl=context)
    url = f"http{'s' if http2 else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    client = await asyncio.create_subprocess_exec("node", "--no-warnings", script, url, str(COUNT), stdout=-1)
    try:
        output, _ = await asyncio.wait_for(client.communicate(), 45)
    except BaseException:
        client.terminate()
        raise
    server.close()
    assert client.returncode == 0, output
    seconds = counting.last - counting.first
    name = f"{output.decode().strip()} over HTTP/{'2' if http2 else '1.1'}"
    print(f"{name}: of {COUNT} handshakes of {LOOKUP} s, at most {counting.most} at a time, {seconds:.1f} s for all")
    return counting.most, seconds


most, seconds = asyncio.run(count("chromium.js", http2=False))
assert most == 1 and seconds >= COUNT * LOOKUP, "the finding has changed"
most, _ = asyncio.run(count("chromium.js", http2=True))
assert most > COUNT / 2, "the control has failed"
most, _ = asyncio.run(count("other.js", http2=False))
assert most > COUNT / 2, "the control has failed"
PYTHON
