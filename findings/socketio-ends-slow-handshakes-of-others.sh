#!/usr/bin/env bash
# Surprise: where a Node server has Socket.IO and a WebSocket endpoint of its own beside it, Socket.IO ends each handshake
# of that other endpoint which is not answered within a second. A second after any upgrade to a path that is not its
# own, it closes the socket if nothing has been written: its guard against handshakes that nobody takes. A login that
# is looked up first, or a backend behind a proxy that is slow to answer, is enough, and the client is told of nothing
# but the end ("socket hang up"); the endpoint's own code is not told either and goes on to answer.
# Versions: socket.io 4.8.4 (engine.io as it comes with it), ws 8.23.0 for the endpoint and the client, on the Node that
# runs this (seen with 20.20.2).
# Source: Server.attach of engine.io's build/server.js; the documentation of engine.io's destroyUpgrade (true unless
# told otherwise) and destroyUpgradeTimeout, which reads as if it were for sockets that no one handles.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
timeout 300 npm install --silent --no-audit --no-fund socket.io@4.8.4 ws@8.23.0

cat > server.js <<'JAVASCRIPT'
// Ask an endpoint beside Socket.IO for WebSockets that it accepts after 0.5 and 1.5 s, and print what comes of each.
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Server } from 'socket.io'
import { WebSocket, WebSocketServer } from 'ws'

const ask = (port, delay) => new Promise((resolve) => {
  const websocket = new WebSocket(`ws://127.0.0.1:${port}/events/${delay}`)
  websocket.on('open', () => { websocket.terminate(); resolve('opened') })
  websocket.on('error', (error) => resolve(error.message))
})

const run = async (name, options) => {
  const server = http.createServer()
  if (options) new Server(server, options)
  const endpoint = new WebSocketServer({ noServer: true })
  let answered = 0
  server.on('upgrade', async (request, socket, head) => {
    if (!request.url.startsWith('/events/')) return
    await sleep(Number(request.url.split('/')[2]))
    answered += 1
    if (socket.writable) endpoint.handleUpgrade(request, socket, head, () => {})
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  const results = await Promise.all([500, 1500].map((delay) => ask(port, delay)))
  await sleep(1000)
  console.log(`${name}: accepted after 0.5 s: ${results[0]}; after 1.5 s: ${results[1]}`)
  server.closeAllConnections()
  server.close()
  return [...results, answered].join()
}

const is = async (result, expected) => {
  if (await result !== expected) { console.log('the finding has changed'); process.exit(1) }
}
await is(run('without Socket.IO', null), 'opened,opened,2')
await is(run('with Socket.IO', {}), 'opened,socket hang up,2')
await is(run('with Socket.IO and destroyUpgrade: false', { destroyUpgrade: false }), 'opened,opened,2')
process.exit(0)
JAVASCRIPT

for package in socket.io engine.io ws; do
    echo "$package $(node -p "require('./node_modules/$package/package.json').version")"
done
echo "Node $(node --version)"
timeout 60 node server.js
