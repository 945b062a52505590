#!/usr/bin/env bash
# Surprise: a WebSocket of Bun.serve loses messages out of the middle. When more than backpressureLimit waits for a slow
# client, send() drops the message and returns 0, and the connection stays open: later messages, sent when there is room
# again, arrive right after the hole, in an order that looks whole. Over TCP, and with an API that is else a browser's,
# one would expect an exception, a growing buffer or an end. The return value is all that tells of it, or the option
# closeOnBackpressureLimit, which is off, and ends the connection at once where a limit is meant to.
# Versions: Bun 1.4.5 (npm's bun), ws 8.23.0 on the Node that runs this, which buffers without a limit.
# Source: Bun's reference of WebSocketHandler.backpressureLimit, closeOnBackpressureLimit and ServerWebSocketSendStatus.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
timeout 300 npm install --silent --no-audit --no-fund bun@1.4.5 ws@8.23.0

cat > burst.js <<'JAVASCRIPT'
/** Give message number `index`: that number in four bytes, and 100,000 zeros. */
const message = (index) => {
  const data = Buffer.alloc(100_004)
  data.writeUInt32BE(index)
  return data
}
/** Send 200 messages at once. */
export const burst = (websocket) => Array.from({ length: 200 }, (_, index) => websocket.send(message(index)))
/** Send one more, when the client says that it has read on. */
export const later = (websocket) => websocket.send(message(200))
JAVASCRIPT
cat > bun.js <<'JAVASCRIPT'
import { burst, later } from './burst.js'
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch (request, server) {
    return server.upgrade(request) ? undefined : new Response('a WebSocket is needed', { status: 426 })
  },
  websocket: {
    backpressureLimit: 1024 * 1024,
    closeOnBackpressureLimit: process.argv[2] === 'close',
    open: burst,
    message: later
  }
})
console.log(server.port)
JAVASCRIPT
cat > node.js <<'JAVASCRIPT'
import { WebSocketServer } from 'ws'
import { burst, later } from './burst.js'
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
server.on('connection', (websocket) => {
  websocket.on('message', () => later(websocket))
  burst(websocket)
})
server.on('listening', () => console.log(server.address().port))
JAVASCRIPT

timeout 90 python3 - <<'PYTHON'
import socket
import subprocess
import time

BUN = "node_modules/.bin/bun"
SIZE = 100_004


def read(client, length):
    data = b""
    while len(data) < length:
        part = client.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def receive(port):
    """Read nothing for a second, then all; ask for one more when nothing comes. Give the numbers and the end."""
    numbers = []
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += read(client, 1)
        time.sleep(1)
        client.settimeout(2)
        asked = False
        while True:
            try:
                (first,) = read(client, 1)
            except TimeoutError:
                if asked:
                    return numbers, "open"
                asked = True
                client.sendall(b"\x81\x84mask\x00\x00\x00\x00")
                continue
            except (EOFError, ConnectionResetError):
                return numbers, "ended"
            (length,) = read(client, 1)
            if length == 127:
                length = int.from_bytes(read(client, 8), "big")
            try:
                payload = read(client, length)
            except (EOFError, ConnectionResetError):
                return numbers, "ended"
            if first == 0x82:
                assert length == SIZE
                numbers.append(int.from_bytes(payload[:4], "big"))


def run(*command):
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            numbers, end = receive(int(server.stdout.readline()))
        finally:
            server.terminate()
    holes = [(last + 1, number - 1) for last, number in zip(numbers, numbers[1:]) if number != last + 1]
    lost = ", ".join(f"{first} to {last}" for first, last in holes) or "none"
    print(f"{' '.join(command)}: {len(numbers)} of 201 messages, missing in between: {lost}; the connection: {end}")
    return numbers, holes, end


print("Bun", subprocess.run([BUN, "--version"], capture_output=True, text=True, timeout=30).stdout.strip())
assert run("node", "node.js") == (list(range(201)), [], "open"), "the control has failed"
numbers, holes, end = run(BUN, "bun.js")
assert len(holes) == 1 and holes[0][1] == 199 and numbers[-1] == 200 and end == "open", "the finding has changed"
numbers, holes, end = run(BUN, "bun.js", "close")
assert numbers[-1] < 199 and not holes and end == "ended", "the finding has changed"
PYTHON
