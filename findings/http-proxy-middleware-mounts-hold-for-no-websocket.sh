#!/usr/bin/env bash
# Surprise: with http-proxy-middleware mounted at /a and at /b of an Express application, requests go to the one or the
# other, and each WebSocket to both. A mount is a matter of Express, which sees no upgrades: with `ws: true` each
# middleware listens to the server itself and takes whatever comes, for lack of a pathFilter. Both backends answer with
# 101, the second answer and its frames land in the middle of the first's, and the client ends with a broken frame. The
# path differs as well: /a is cut off from the paths of requests, and stays in those of WebSockets. A short try shows
# none of it: a middleware listens from its first ordinary request on, so the WebSockets of /b are right until someone
# has opened a page of /a.
# Versions: http-proxy-middleware 4.2.2 (3.0.11 does the same), express 5.3.0, ws 8.23.0, Node 26.10.0 (npm's node).
# Source: catchUpgradeRequest and handleUpgrade in http-proxy-middleware's dist; its README on pathFilter and on
# WebSockets, which tells of the first request; its issue 463 reports two backends.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
timeout 500 npm install --silent --no-audit --no-fund \
    node@26.10.0 http-proxy-middleware@4.2.2 express@5.3.0 ws@8.23.0

cat > run.js <<'JAVASCRIPT'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { WebSocket, WebSocketServer } from 'ws'

const listen = (server) => new Promise((resolve) => {
  server.listen(0, '127.0.0.1', () => resolve(server.address().port))
})
const log = []
/** Start a backend that logs each WebSocket and greets its client. */
const backend = async (name) => {
  const server = http.createServer((request, response) => response.end(`${name} ${request.url}`))
  new WebSocketServer({ server }).on('connection', (websocket, request) => {
    log.push(`${name} ${request.url}`)
    websocket.on('error', () => {})
    websocket.send(`hello from ${name}`)
  })
  return `http://127.0.0.1:${await listen(server)}`
}
/** Open a WebSocket and give what the client sees of it within a second or two. */
const open = (url) => new Promise((resolve) => {
  const seen = []
  const websocket = new WebSocket(url)
  websocket.on('open', () => sleep(1000).then(() => websocket.close()))
  websocket.on('message', (message) => seen.push(String(message)))
  websocket.on('error', (error) => seen.push(error.message))
  websocket.on('close', (code) => resolve([...seen, code]))
  sleep(5000).then(() => websocket.terminate())
})
/** Run an application to which `use` gives two proxies, and tell where its requests and WebSockets go. */
const run = async (name, use) => {
  const application = express()
  use(application, await backend('A'), await backend('B'))
  const front = `127.0.0.1:${await listen(http.createServer(application))}`
  const results = []
  for (const path of ['/b/x', '/a/x']) {
    const answer = await (await fetch(`http://${front}${path}`)).text()
    log.length = 0
    const seen = await open(`ws://${front}/b/x`)
    const reached = log.sort().join(' and ')
    console.log(`${name}: a request of ${path} reaches ${answer}; then a WebSocket of /b/x reaches ${reached}, ` +
      `and the client sees: ${seen.join(', ')}`)
    results.push({ answer, reached, seen: seen.join() })
  }
  return results
}
const check = (condition) => {
  if (!condition) { console.log('the finding has changed'); process.exit(1) }
}

const mounted = await run('mounted at /a and /b', (application, a, b) => {
  application.use('/a', createProxyMiddleware({ target: a, ws: true }))
  application.use('/b', createProxyMiddleware({ target: b, ws: true }))
})
check(mounted[0].answer === 'B /x' && mounted[0].reached === 'B /b/x' && mounted[0].seen === 'hello from B,1005')
check(mounted[1].answer === 'A /x' && mounted[1].reached === 'A /b/x and B /b/x')
check(/Invalid WebSocket frame.*,1006$/.test(mounted[1].seen))
const filtered = await run('with a pathFilter each', (application, a, b) => {
  application.use(createProxyMiddleware({ target: a, ws: true, pathFilter: '/a' }))
  application.use(createProxyMiddleware({ target: b, ws: true, pathFilter: '/b' }))
})
check(filtered.every((result) => result.reached === 'B /b/x' && result.seen === 'hello from B,1005'))
check(filtered.map((result) => result.answer).join() === 'B /b/x,A /a/x')
process.exit(0)
JAVASCRIPT
node=node_modules/node/bin/node
for package in http-proxy-middleware express ws; do
    echo "$package $($node -p "JSON.parse(fs.readFileSync('node_modules/$package/package.json')).version")"
done
echo "Node $($node --version)"
timeout 60 $node run.js
