#!/usr/bin/env bash
# Surprise: golang.org/x/net/websocket, the package of the Go project itself, does not put fragmented messages together.
# websocket.Message.Receive returns each frame as if it were a message, so what a peer sent as one message in three
# fragments arrives as three messages. Nor does the package answer a Close: it ends TCP.
# Versions: golang.org/x/net v0.62.0 on the Go that runs this (seen with 1.26.8).
# Source: RFC 6455, sections 5.4 and 5.5.1, against it; Go's issue 16945, open since 2016.
set -euo pipefail

folder=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        timeout 5 tail --pid="$server" -f /dev/null || kill -KILL "$server" 2>/dev/null || true
    fi
    chmod -R u+w "$folder"
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
export GOMODCACHE="$folder/modules" GOCACHE="$folder/cache" GOFLAGS=-p=1

cat > go.mod <<'GO'
module finding

go 1.24
GO
cat > main.go <<'GO'
// Serve WebSockets on a free port, print the port, and print what Receive returns.
package main

import (
	"fmt"
	"net"
	"net/http"

	"golang.org/x/net/websocket"
)

func receive(connection *websocket.Conn) {
	for {
		var message string
		if err := websocket.Message.Receive(connection, &message); err != nil {
			fmt.Println("end:", err)
			return
		}
		fmt.Printf("%q ", message)
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, websocket.Server{Handler: receive}))
}
GO
timeout 300 go get golang.org/x/net/websocket@v0.62.0 2>/dev/null
timeout 300 go build -o server .
./server > output &
server=$!
for _ in $(seq 100); do [ -s output ] && break; sleep 0.1; done

echo "golang.org/x/net $(go list -m -f '{{.Version}}' golang.org/x/net), $(go version | cut -d' ' -f3)"
timeout 30 python3 - "$(head -1 output)" <<'PYTHON'
import os
import socket
import sys

FINAL, CONTINUATION, TEXT, CLOSE = 0x80, 0, 1, 8


def frame(first, payload):
    key = os.urandom(4)
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes([first, 0x80 | len(payload)]) + key + masked


with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as client:
    client.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4096)
    client.sendall(
        frame(FINAL | TEXT, b"whole")
        + frame(TEXT, b"one message ")
        + frame(CONTINUATION, b"in three ")
        + frame(FINAL | CONTINUATION, b"fragments")
        + frame(FINAL | CLOSE, b"\x03\xe8")
    )
    answer = b""
    while part := client.recv(4096):
        answer += part
    print("the server's bytes after our Close:", answer)
    assert answer == b"", "the Close was answered"
PYTHON
sleep 0.2
received=$(tail -n +2 output)
echo "sent: one whole message and one in three fragments; received: $received"
[ "$received" = '"whole" "one message " "in three " "fragments" end: EOF' ]
