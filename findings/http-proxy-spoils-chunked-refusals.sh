#!/usr/bin/env bash
# Surprise: when a backend refuses a WebSocket with a body in chunks, as Node writes each body whose length it is not
# told, http-proxy (the proxy of many development servers) passes on "Transfer-Encoding: chunked" but not the chunks:
# Node has decoded them, and the bare bytes follow a head that says otherwise. A client that reads the answer finds no
# chunk size, and reports a broken response in place of the 403 and its text. Ordinary requests are passed on right.
# Versions: http-proxy 1.18.1 on the Node that runs this (seen with 20.20.2), h11 0.16.0.
# Source: RFC 9112, section 7.1; a comment in http-proxy-3's pull request 27 suspects it, and that fork mends it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
timeout 300 npm install --silent --no-audit --no-fund http-proxy@1.18.1
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check h11==0.16.0

cat > ask.js <<'JAVASCRIPT'
// Send a request to a proxy in front of a server that answers each with 403, and print the bytes that come back.
const http = require('node:http')
const net = require('node:net')
const { createProxyServer } = require('http-proxy')

const websocket = process.argv[2] === 'websocket'
const backend = http.createServer()
const refuse = (response) => {
  response.writeHead(403, { 'Content-Type': 'text/plain', Connection: 'close' })
  response.write('members ')
  response.end('only')
}
backend.on('request', (request, response) => refuse(response))
backend.on('upgrade', (request, socket) => {
  const response = new http.ServerResponse(request)
  response.assignSocket(socket)
  response.on('finish', () => socket.end())
  refuse(response)
})
backend.listen(0, '127.0.0.1', () => {
  const proxy = createProxyServer({ target: { host: '127.0.0.1', port: backend.address().port } })
  const front = http.createServer((request, response) => proxy.web(request, response))
  front.on('upgrade', (request, socket, head) => proxy.ws(request, socket, head))
  front.listen(0, '127.0.0.1', () => {
    const client = net.connect(front.address().port, '127.0.0.1')
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
    client.write('GET / HTTP/1.1\r\nHost: localhost\r\n' + (websocket ? upgrade : 'Connection: close\r\n') + '\r\n')
    client.on('data', (data) => process.stdout.write(data))
    client.on('close', () => process.exit(0))
  })
})
setTimeout(() => process.exit(1), 20_000)
JAVASCRIPT

cat > read.py <<'PYTHON'
"""Read a response from standard input as a strict HTTP/1.1 client does."""
import sys

import h11

client = h11.Connection(h11.CLIENT)
client.send(h11.Request(method="GET", target="/", headers=[("Host", "localhost")]))
client.send(h11.EndOfMessage())
client.receive_data(sys.stdin.buffer.read())
client.receive_data(b"")
body = b""
try:
    response = client.next_event()
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    print(response.status_code, body.decode())
except h11.RemoteProtocolError as error:
    print(f"{response.status_code}, then {type(error).__name__}: {error}")
PYTHON

echo "http-proxy $(node -p 'require("http-proxy/package.json").version'), Node $(node --version)"
timeout 30 node ask.js request 2>/dev/null > request.txt
timeout 30 node ask.js websocket 2>/dev/null > websocket.txt
echo "--- the answer to a WebSocket's handshake, as it comes out of the proxy:"
cat websocket.txt
echo
echo "---"
request=$(timeout 30 venv/bin/python read.py < request.txt)
websocket=$(timeout 30 venv/bin/python read.py < websocket.txt)
echo "h11 reads the answer to an ordinary request as: $request"
echo "h11 reads the answer to the handshake as: $websocket"
[ "$request" = "403 members only" ]
grep -qi '^transfer-encoding: chunked' websocket.txt
[[ "$websocket" == "403, then RemoteProtocolError"* ]]
