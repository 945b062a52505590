#!/usr/bin/env bash
# Surprise: a server may agree to permessage-deflate without what the client asked for. A client with little memory that
# offers a window of 1 KiB (server_max_window_bits=10) is answered by gorilla/websocket with no word of it, and one that
# offers server_no_context_takeover gets a plain permessage-deflate from Tornado. Both accept an offer that was not
# made, and the client has to fail the opening. coder/websocket and Bun decline such a window, as they may, and go on
# without compression; the others keep it. And an offer with a parameter that a server does not know, followed by a
# plain one to fall back to, as the RFC has it for new parameters, ends in 400 by ws and Autobahn and in 500 by Tornado.
# Versions: gorilla/websocket 1.5.3, coder/websocket 1.8.15, Tornado 6.6.1, Autobahn 26.10.2, ws 8.23.0, Bun 1.4.5,
# aiohttp 3.14.5, websockets 17.4.
# Source: RFC 7692, sections 5.1 (fallback), 7.1 (an offer with an unknown parameter is declined), 7.1.1.1 and 7.1.2.1
# (who accepts the offer includes the parameter).
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
timeout 300 npm install --silent --no-audit --no-fund ws@8.23.0 bun@1.4.5
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check \
    websockets==17.4 aiohttp==3.14.5 tornado==6.6.1 autobahn==26.10.2

mkdir go
cd go
cat > go.mod <<'GO'
module finding

go 1.24
GO
cat > main.go <<'GO'
// Serve WebSockets with compression of two packages, each on a free port, and print their ports.
package main

import (
	"fmt"
	"net"
	"net/http"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
)

func main() {
	upgrader := gorilla.Upgrader{EnableCompression: true}
	options := &coder.AcceptOptions{CompressionMode: coder.CompressionContextTakeover}
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
timeout 300 go get github.com/gorilla/websocket@v1.5.3 github.com/coder/websocket@v1.8.15 2> ../go.log
timeout 300 go build -o ../go-servers .
cd ..
cat > node.js <<'JAVASCRIPT'
import { WebSocketServer } from 'ws'

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: true })
server.on('listening', () => console.log(server.address().port))
JAVASCRIPT
cat > bun.js <<'JAVASCRIPT'
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch: (request, server) => server.upgrade(request) ? undefined : new Response('', { status: 426 }),
  websocket: { perMessageDeflate: true, message () {} }
})
console.log(server.port)
JAVASCRIPT
cat > python.py <<'PYTHON'
import asyncio
import logging

import aiohttp.web
import tornado.web
import tornado.websocket
import websockets.asyncio.server
from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept

logging.disable()


async def handle(request):
    websocket = aiohttp.web.WebSocketResponse()
    await websocket.prepare(request)
    await websocket.receive()
    return websocket


class Handler(tornado.websocket.WebSocketHandler):
    def get_compression_options(self):
        return {}


def accept(offers):
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(offer)


async def main():
    async with websockets.asyncio.server.serve(
        lambda connection: connection.wait_closed(), "127.0.0.1", 0, compression="deflate"
    ) as server:
        application = aiohttp.web.Application()
        application.router.add_get("/", handle)
        runner = aiohttp.web.AppRunner(application)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        tornado.httpserver.HTTPServer(tornado.web.Application([("/", Handler)])).add_sockets(sockets)
        factory = WebSocketServerFactory()
        factory.protocol = WebSocketServerProtocol
        factory.setProtocolOptions(perMessageCompressionAccept=accept)
        autobahn = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        for listener in (server.sockets[0], sockets[0], autobahn.sockets[0]):
            print(listener.getsockname()[1], flush=True)
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
PYTHON

timeout 60 venv/bin/python - <<'PYTHON'
import re
import socket
import subprocess

import websockets.exceptions
import websockets.sync.client
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

OFFERS = {
    "server_max_window_bits": "permessage-deflate; server_max_window_bits=10",
    "server_no_context_takeover": "permessage-deflate; server_no_context_takeover",
    "later": "permessage-deflate; later=1, permessage-deflate",
}
PROCESSES = {
    ("venv/bin/python", "python.py"): ("websockets", "Tornado", "Autobahn", "aiohttp"),
    ("./go-servers",): ("gorilla/websocket", "coder/websocket"),
    ("node", "node.js"): ("ws",),
    ("node_modules/.bin/bun", "bun.js"): ("Bun",),
}
KEPT, DECLINED, IGNORED = "kept", "declined", "agreed without it"
EXPECTED = {
    "websockets": (KEPT, KEPT, DECLINED),
    "Tornado": (KEPT, IGNORED, "500"),
    "Autobahn": (KEPT, KEPT, "400"),
    "aiohttp": (KEPT, KEPT, DECLINED),
    "gorilla/websocket": (IGNORED, KEPT, DECLINED),
    "coder/websocket": (DECLINED, KEPT, DECLINED),
    "ws": (KEPT, KEPT, "400"),
    "Bun": (DECLINED, KEPT, DECLINED),
}


def ask(port, name, offer):
    """Give what became of the offer's parameter, or the status of a refusal."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Extensions: {offer}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(4096)
            assert part, "there is no whole head"
            head += part
    status = head.split()[1].decode()
    if status != "101":
        return status
    answer = re.search(rb"(?i)\r\nsec-websocket-extensions: *(.*)\r\n", head)
    if answer and name.encode() in answer[1]:
        return KEPT
    # Without its parameter, an offer that stands alone was not accepted; one with a fallback was declined for that.
    return IGNORED if answer and "," not in offer else DECLINED


def open_with(port, **parameters):
    """Give how the client of websockets, which asks for these parameters, takes the answer."""
    extensions = [ClientPerMessageDeflateFactory(**parameters)]
    try:
        with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/", extensions=extensions, compression=None):
            return "open"
    except websockets.exceptions.NegotiationError:
        return "NegotiationError"


for command, names in PROCESSES.items():
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ports = dict(zip(names, [int(process.stdout.readline()) for _ in names]))
            found = {name: tuple(ask(port, *offer) for offer in OFFERS.items()) for name, port in ports.items()}
            for server, parameters in (
                ("gorilla/websocket", {"server_max_window_bits": 10}),
                ("Tornado", {"server_no_context_takeover": True}),
            ):
                if server in ports:
                    ends = open_with(ports[server]), open_with(ports[server], **parameters)
                    print(f"client of websockets to {server}: plain offer: {ends[0]}; with {parameters}: {ends[1]}")
                    assert ends == ("open", "NegotiationError"), "the finding has changed"
        finally:
            process.terminate()
    for name, answers in found.items():
        print(f"{name}: " + "; ".join(f"{offer}: {answer}" for offer, answer in zip(OFFERS, answers)))
        assert answers == EXPECTED[name], "the finding has changed"
PYTHON
