#!/usr/bin/env bash
# Surprise: adding a WebSocket server of npm's ws to a Node HTTP server breaks its ordinary pages for clients that offer
# to switch to HTTP/2 in cleartext: `curl --http2 http://...` got the page before, and gets 400 "Invalid Upgrade header"
# now, whatever the path. An 'upgrade' listener has Node hand over every request with an Upgrade field, for whichever
# protocol, instead of passing it to the request handler; and ws answers what is not for it.
# Versions: ws 8.23.0 on the Node that runs this (seen with 20.20.2), any curl with HTTP/2.
# Source: RFC 9110, section 7.8, lets a server ignore an Upgrade field; Node's documentation of the 'upgrade' event says
# that a listener takes all such requests; ws's issue 1673 reports it, and is closed.
set -euo pipefail

folder=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        timeout 5 tail --pid="$server" -f /dev/null || kill -KILL "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
echo '{"private": true}' > package.json
timeout 300 npm install --silent --no-audit --no-fund ws@8.23.0
curl --version | grep HTTP2 > /dev/null

cat > server.js <<'JAVASCRIPT'
const http = require('node:http')
const { WebSocketServer } = require('ws')

const server = http.createServer((request, response) => response.end('the page'))
if (process.argv[2] === 'websockets') new WebSocketServer({ server, path: '/chat' })
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
setTimeout(() => process.exit(1), 60_000)
JAVASCRIPT

ask() { # Write the answer to an ordinary GET of /, which offers to switch to h2c, to the file $1.
    node server.js "$1" > "$1.port" &
    server=$!
    for _ in $(seq 100); do [ -s "$1.port" ] && break; sleep 0.1; done
    curl --silent --max-time 10 --http2 --write-out ' (status %{http_code})' "http://127.0.0.1:$(cat "$1.port")/" > "$1"
    kill "$server"
    timeout 5 tail --pid="$server" -f /dev/null
    server=
}

curl=$(curl --version | sed -n 1p | cut -d' ' -f2)
echo "ws $(node -p 'require("ws/package.json").version'), Node $(node --version), curl $curl"
ask plain
ask websockets
echo "curl --http2, server without WebSockets: $(cat plain)"
echo "curl --http2, with a WebSocketServer at /chat: $(cat websockets)"
[ "$(cat plain)" = "the page (status 200)" ]
[ "$(cat websockets)" = "Invalid Upgrade header (status 400)" ]
