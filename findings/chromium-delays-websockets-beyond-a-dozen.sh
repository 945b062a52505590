#!/usr/bin/env bash
# Surprise: of forty WebSockets that a page opens at once, to a server that answers each at once, a dozen are open in a
# fraction of a second and most others take one to five seconds. Chromium has a throttle for each process of pages: a
# random wait of 1 to 5 s, halved for each handshake fewer than sixteen that is pending (it is the same over HTTP/2). It
# looks as if the server were slow; opening the same forty one after another takes less than the wait of one of them.
# Versions: Chromium 153.0.8010.0 (npm's @sparticuz/chromium 153.0.0), ws 8.23.0 as the server.
# Source: WebSocketPerProcessThrottler of Chromium's network service (CalculateDelay); neither the standard of the
# browsers' WebSocket nor the documentation of the API has it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export TMPDIR="$folder"
echo '{"private": true, "type": "module"}' > package.json
timeout 500 npm install --silent --no-audit --no-fund @sparticuz/chromium@153.0.0 playwright-core@1.64.1 ws@8.23.0

cat > finding.js <<'JAVASCRIPT'
import assert from 'node:assert'
import { once } from 'node:events'
import http from 'node:http'
import chromium from '@sparticuz/chromium'
import { chromium as playwright } from 'playwright-core'
import { WebSocket, WebSocketServer } from 'ws'

const COUNT = 40
const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/html')
  response.end('<!doctype html><title>page</title>')
})
const answered = new WebSocketServer({ server })
answered.on('connection', (websocket) => websocket.on('error', () => {}))
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = `127.0.0.1:${server.address().port}`

/** Open WebSockets, all at once or in turn; give the milliseconds that each took, in ascending order. */
async function open ([address, count, atOnce]) {
  const one = () => new Promise((resolve, reject) => {
    const start = performance.now()
    const websocket = new WebSocket(`ws://${address}/`)
    websocket.onopen = () => resolve(Math.round(performance.now() - start))
    websocket.onerror = reject
  })
  const times = []
  if (atOnce) {
    times.push(...await Promise.all(Array.from({ length: count }, one)))
  } else {
    while (times.length < count) {
      times.push(await one())
    }
  }
  return times.sort((first, second) => first - second)
}

const browser = await playwright.launch({
  executablePath: await chromium.executablePath(),
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking']
})
const found = {}
for (const atOnce of [true, false]) {
  const page = await browser.newPage()
  await page.goto(`http://${address}/`)
  const name = `Chromium ${browser.version()}, ${atOnce ? 'all at once' : 'in turn'}`
  found[atOnce] = await page.evaluate(open, [address, COUNT, atOnce])
  console.log(`${name}: milliseconds of ${COUNT} handshakes: ${found[atOnce].join(' ')}`)
  await page.close()
}
await browser.close()
globalThis.WebSocket = WebSocket
const other = await open([address, COUNT, true])
console.log(`ws 8.23.0, all at once: milliseconds of ${COUNT} handshakes: ${other.join(' ')}`)

const slow = (times) => times.filter((time) => time >= 1000).length
assert(found[true][7] < 1000 && slow(found[true]) >= COUNT / 2, 'the finding has changed')
assert(slow(found[false]) === 0 && slow(other) === 0, 'the control has failed')
process.exit(0)
JAVASCRIPT
timeout 120 node --no-warnings finding.js
