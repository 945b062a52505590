#!/usr/bin/env bash
# Surprise: which subprotocol a WebSocket gets is a matter of the server's library. Of servers that speak coffee and
# tea, in that order, four give coffee to a client that prefers tea, and two give it tea. To a client that offers only
# milk, two answer 400 and four open without a subprotocol. The other two, npm's ws and Bun, accept milk, or whatever
# else comes first: their default repeats the client's first offer. One of the eight takes TEA for tea. A browser fails
# an opening without a subprotocol that it asked for, so the same mistake is a 400, an error or a WebSocket that talks
# past its peer.
# Versions: websockets 17.4, gorilla/websocket 1.5.3, coder/websocket 1.8.15, gws 1.8.9, aiohttp 3.14.5, faye-websocket
# 0.11.4, ws 8.23.0, Bun 1.4.5.
# Source: RFC 6455, sections 1.9 and 4.2.2 (the server selects one of those that are offered, in the client's order of
# preference, or none); the documentation of gorilla's Upgrader.Subprotocols and of handleProtocols of ws; the rest is
# observed.
set -euo pipefail

folder=$(mktemp -d)
cleanup() {
    chmod -R u+w "$folder"
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
export GOMODCACHE="$folder/modules" GOCACHE="$folder/cache" GOFLAGS=-p=1
echo '{"private": true, "type": "module"}' > package.json
timeout 300 npm install --silent --no-audit --no-fund ws@8.23.0 faye-websocket@0.11.4 bun@1.4.5
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check websockets==17.4 aiohttp==3.14.5

mkdir go
cd go
cat > go.mod <<'GO'
module finding

go 1.24
GO
cat > main.go <<'GO'
// Serve WebSockets of three packages, each on a free port, and print their ports.
package main

import (
	"fmt"
	"net"
	"net/http"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

var subprotocols = []string{"coffee", "tea"}

type events struct {
	gws.BuiltinEventHandler
}

func main() {
	upgrader := gorilla.Upgrader{Subprotocols: subprotocols}
	options := &coder.AcceptOptions{Subprotocols: subprotocols}
	other := gws.NewUpgrader(&events{}, &gws.ServerOption{SubProtocols: subprotocols})
	handlers := []http.HandlerFunc{
		func(answer http.ResponseWriter, request *http.Request) {
			if connection, err := upgrader.Upgrade(answer, request, nil); err == nil {
				connection.ReadMessage()
			}
		},
		func(answer http.ResponseWriter, request *http.Request) {
			if connection, err := coder.Accept(answer, request, options); err == nil {
				connection.Read(request.Context())
			}
		},
		func(answer http.ResponseWriter, request *http.Request) {
			if connection, err := other.Upgrade(answer, request); err == nil {
				connection.ReadLoop()
			}
		},
	}
	for _, handler := range handlers {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Println(listener.Addr().(*net.TCPAddr).Port)
		go http.Serve(listener, handler)
	}
	select {}
}
GO
timeout 300 go get \
    github.com/gorilla/websocket@v1.5.3 github.com/coder/websocket@v1.8.15 github.com/lxzan/gws@v1.8.9 2> ../go.log
timeout 300 go build -o ../go-servers .
cd ..
cat > node.js <<'JAVASCRIPT'
import http from 'node:http'
import FayeWebSocket from 'faye-websocket'
import { WebSocketServer } from 'ws'

const faye = http.createServer()
faye.on('upgrade', (request, socket, head) => new FayeWebSocket(request, socket, head, ['coffee', 'tea']))
const ws = http.createServer()
new WebSocketServer({ server: ws })
faye.listen(0, '127.0.0.1', () => {
  console.log(faye.address().port)
  ws.listen(0, '127.0.0.1', () => console.log(ws.address().port))
})
JAVASCRIPT
cat > bun.js <<'JAVASCRIPT'
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch: (request, server) => server.upgrade(request) ? undefined : new Response('', { status: 426 }),
  websocket: { message () {} }
})
console.log(server.port)
JAVASCRIPT
cat > python.py <<'PYTHON'
import asyncio
import logging

import aiohttp.web
import websockets.asyncio.server

SUBPROTOCOLS = ["coffee", "tea"]
logging.disable()


async def handle(request):
    websocket = aiohttp.web.WebSocketResponse(protocols=SUBPROTOCOLS)
    await websocket.prepare(request)
    await websocket.receive()
    return websocket


async def main():
    async with websockets.asyncio.server.serve(
        lambda connection: connection.wait_closed(), "127.0.0.1", 0, subprotocols=SUBPROTOCOLS
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        application = aiohttp.web.Application()
        application.router.add_get("/", handle)
        runner = aiohttp.web.AppRunner(application)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
PYTHON

timeout 60 python3 - <<'PYTHON'
import re
import socket
import subprocess

OFFERS = ("tea, coffee", "milk", "TEA")
OPEN, REFUSED = None, 400
PROCESSES = {
    ("venv/bin/python", "python.py"): ("websockets", "aiohttp"),
    ("./go-servers",): ("gorilla/websocket", "coder/websocket", "gws"),
    ("node", "node.js"): ("faye-websocket", "ws"),
    ("node_modules/.bin/bun", "bun.js"): ("Bun",),
}
EXPECTED = {
    "websockets": ("coffee", REFUSED, REFUSED),
    "aiohttp": ("tea", OPEN, OPEN),
    "gorilla/websocket": ("coffee", OPEN, OPEN),
    "coder/websocket": ("coffee", OPEN, "TEA"),
    "gws": ("coffee", REFUSED, REFUSED),
    "faye-websocket": ("tea", OPEN, OPEN),
    "ws": ("tea", "milk", "TEA"),
    "Bun": ("tea", "milk", "TEA"),
}


def ask(port, offer):
    """Give the subprotocol of the answer, None if there is none, or the status of a refusal."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Protocol: {offer}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(4096)
            assert part, "there is no whole head"
            head += part
    status = int(head.split()[1])
    chosen = re.search(rb"(?i)\r\nsec-websocket-protocol: *(\S+)", head)
    if status != 101:
        return status
    return chosen and chosen[1].decode()


for command, names in PROCESSES.items():
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ports = [int(process.stdout.readline()) for _ in names]
            found = {name: tuple(ask(port, offer) for offer in OFFERS) for name, port in zip(names, ports)}
        finally:
            process.terminate()
    for name, answers in found.items():
        said = ("no subprotocol" if answer is OPEN else answer for answer in answers)
        print(f"{name}: " + "; ".join(f"{offer} gets {answer}" for offer, answer in zip(OFFERS, said)))
        assert answers == EXPECTED[name], "the finding has changed"
PYTHON
