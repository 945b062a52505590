#!/usr/bin/env bash
# Surprise: behind @fastify/http-proxy, the plain `websocket.close()` of a page reaches the server as 4005, and a lost
# client as 4006: codes of the range that applications define for themselves. It ends WebSockets itself and sends each
# event's code on, and for 1005 and 1006, which cannot be sent, 3000 more. crossws' createWebSocketProxy, a gateway of
# the same kind, tells the server 1000 where its client closed without a code, where it was lost, and for each code that
# a browser may not send, 1001 for example; of what a server does it makes 1000 where there was no code and 1011 where
# it was lost. A gateway that passes bytes on changes none of them.
# Versions: @fastify/http-proxy 11.6.3 with fastify 5.12.8, crossws 0.4.17, ws 8.23.0; http-proxy-3 2.0.1 for
# comparison.
# Source: RFC 6455, section 7.4 (4000-4999 is for private use by applications); liftErrorCode in the one,
# _normalizeOutgoingCode in the other.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
timeout 300 npm install --silent --no-audit --no-fund \
    @fastify/http-proxy@11.6.3 fastify@5.12.8 crossws@0.4.17 ws@8.23.0 http-proxy-3@2.0.1

cat > finding.js <<'JAVASCRIPT'
import assert from 'node:assert'
import { once } from 'node:events'
import http from 'node:http'
import { readFileSync } from 'node:fs'
import fastify from 'fastify'
import fastifyHttpProxy from '@fastify/http-proxy'
import { createWebSocketProxy } from 'crossws'
import nodeAdapter from 'crossws/adapters/node'
import { createProxyServer } from 'http-proxy-3'
import { WebSocket, WebSocketServer } from 'ws'

const ENDS = {
  'close()': (websocket) => websocket.close(),
  'close(1001)': (websocket) => websocket.close(1001),
  'close(4001)': (websocket) => websocket.close(4001),
  'lost': (websocket) => websocket.terminate()
}
const EXPECTED = {
  'none': { client: [1005, 1001, 4001, 1006], server: [1005, 1001, 4001, 1006] },
  'http-proxy-3': { client: [1005, 1001, 4001, 1006], server: [1005, 1001, 4001, 1006] },
  '@fastify/http-proxy': { client: [4005, 1001, 4001, 4006], server: [4005, 1001, 4001, 4006] },
  'crossws': { client: [1000, 1000, 4001, 1000], server: [1000, 1001, 4001, 1011] }
}

const backend = new WebSocketServer({ port: 0, host: '127.0.0.1' })
await once(backend, 'listening')
const back = `127.0.0.1:${backend.address().port}`

async function listen (server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `127.0.0.1:${server.address().port}`
}

const gateways = { none: back }
const bytes = createProxyServer({ target: `http://${back}`, ws: true })
bytes.on('error', () => {})
const server = http.createServer()
server.on('upgrade', (request, socket, head) => bytes.ws(request, socket, head))
gateways['http-proxy-3'] = await listen(server)
const app = fastify()
app.register(fastifyHttpProxy, { upstream: `http://${back}`, websocket: true })
await app.listen({ port: 0, host: '127.0.0.1' })
gateways['@fastify/http-proxy'] = `127.0.0.1:${app.server.address().port}`
const adapter = nodeAdapter({ hooks: createWebSocketProxy({ target: `ws://${back}/`, WebSocket }) })
const crossws = http.createServer()
crossws.on('upgrade', adapter.handleUpgrade)
gateways.crossws = await listen(crossws)

for (const [name, address] of Object.entries(gateways)) {
  const found = { client: [], server: [] }
  for (const [side, codes] of Object.entries(found)) {
    for (const end of Object.values(ENDS)) {
      const accepted = once(backend, 'connection')
      const client = new WebSocket(`ws://${address}/`, { perMessageDeflate: false })
      const greeted = once(client, 'message')
      const [peer] = await accepted
      peer.on('error', () => {})
      client.on('error', () => {})
      peer.send('hello')
      await greeted
      const [ending, told] = side === 'client' ? [client, peer] : [peer, client]
      const closed = once(told, 'close')
      end(ending)
      codes.push((await closed)[0])
    }
  }
  let version = ''
  if (name !== 'none') {
    version = ' ' + JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version
  }
  console.log(`gateway ${name}${version}: ${Object.keys(ENDS).join(', ')}`)
  console.log(`  of the client are told to the server as ${found.client.join(', ')}`)
  console.log(`  of the server are told to the client as ${found.server.join(', ')}`)
  assert.deepStrictEqual(found, EXPECTED[name], 'the finding has changed')
}
process.exit(0)
JAVASCRIPT
timeout 60 node --no-warnings finding.js
