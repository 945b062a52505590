#!/usr/bin/env bash
# Surprise: Go's net/http has had WebSockets over HTTP/2 (extended CONNECT, RFC 8441) since 1.24, and a program cannot
# turn them on. They wait for GODEBUG=http2xconnect=1 in the environment that the process starts with. The three other
# places for a GODEBUG setting do not know it: `//go:debug` and a `godebug` line in go.mod fail the build as unknown, and
# os.Setenv in main is accepted and comes too late, since the setting is read while packages are initialized.
# So a Go server takes WebSockets over HTTP/2 on the machine where the variable is set, and not on the next one.
# Versions: Go 1.26.8.
# Source: Go's issue 71128 (why it was turned off), 53208 (the proposal of an API); RFC 8441, section 3.
set -euo pipefail

folder=$(mktemp -d)
server=
end_server() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        timeout 5 tail --pid="$server" -f /dev/null || kill -KILL "$server" 2>/dev/null || true
        server=
    fi
}
cleanup() {
    end_server
    chmod -R u+w "$folder"
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
export GOCACHE="$folder/cache" GOFLAGS=-p=1 GOTOOLCHAIN=local
unset GODEBUG

mkdir plain directive module
printf 'module finding\n\ngo 1.24\n' | tee plain/go.mod directive/go.mod >module/go.mod
printf '\ngodebug http2xconnect=1\n' >>module/go.mod
cat > plain/main.go <<'GO'
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

// Serve HTTP/2 on a free port, which is printed.
func main() {
	if len(os.Args) > 1 {
		os.Setenv("GODEBUG", os.Args[1])
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	panic((&http.Server{Protocols: protocols}).Serve(listener))
}
GO
cp plain/main.go module/main.go
{ echo '//go:debug http2xconnect=1'; cat plain/main.go; } > directive/main.go

go version | cut -d' ' -f3
(cd plain && timeout 300 go build -o ../server .)
for place in directive module; do
    if (cd "$place" && timeout 300 go build -o ../other . 2>../error); then
        echo "http2xconnect was taken from the source: the finding has changed"
        exit 1
    fi
    grep -o 'unknown .*' error
done

# Start the server, and print whether its SETTINGS have ENABLE_CONNECT_PROTOCOL (8), which must be as expected.
announces() {
    local expected=$1
    shift
    : > output
    "$@" > output &
    server=$!
    for _ in $(seq 100); do [ -s output ] && break; sleep 0.1; done
    timeout 30 python3 - "$(head -1 output)" "$expected" <<'PYTHON'
import socket
import sys

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, ENABLE_CONNECT_PROTOCOL = 4, 8

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as client, client.makefile("rb") as answer:
    client.sendall(PREFACE + bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]))
    head = answer.read(9)
    assert head[3] == SETTINGS, head
    payload = answer.read(int.from_bytes(head[:3], "big"))
settings = {
    int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
    for at in range(0, len(payload), 6)
}
told = settings.get(ENABLE_CONNECT_PROTOCOL)
print(f"ENABLE_CONNECT_PROTOCOL: {told}")
assert str(told) == sys.argv[2], "the finding has changed"
PYTHON
    end_server
}
echo "by default"
announces None ./server
echo "os.Setenv in main"
announces None ./server http2xconnect=1
echo "in the environment of the process"
announces 1 env GODEBUG=http2xconnect=1 ./server
