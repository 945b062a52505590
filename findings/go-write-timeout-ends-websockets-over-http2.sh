#!/usr/bin/env bash
# Surprise: WriteTimeout of Go's http.Server, which is set on nearly every server and means nothing to a WebSocket over
# HTTP/1.1, since hijacking clears it, ends a WebSocket over HTTP/2 that long after its request, however busy it is: by
# RST_STREAM with INTERNAL_ERROR, without a Close. To the handler it looks as if the client were gone. A handler has to
# take the deadline away by http.ResponseController before its 200, which it never needed.
# Versions: Go 1.26.8 (the Go that runs this), with GODEBUG=http2xconnect=1, without which it takes no RFC 8441; h2
# 4.4.1.
# Source: the documentation of http.Server.WriteTimeout and of http.Hijacker, which tells of deadlines that may be set;
# conn.hijackLocked and http2 serverConn.processHeaders of net/http.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export GOCACHE="$folder/cache" GOFLAGS=-p=1 GODEBUG=http2xconnect=1
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check h2==4.4.1

cat > go.mod <<'GO'
module finding

go 1.24
GO
cat > main.go <<'GO'
// Serve WebSockets that send six messages in three seconds, on a free port, with a WriteTimeout of one second.
package main

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

const message = "\x81\x04tick"

func six(send func() error) {
	for range 6 {
		if err := send(); err != nil {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func handle(answer http.ResponseWriter, request *http.Request) {
	control := http.NewResponseController(answer)
	if request.Method == http.MethodConnect {
		if request.URL.Path == "/no-deadline" {
			if err := control.SetWriteDeadline(time.Time{}); err != nil {
				panic(err)
			}
		}
		answer.WriteHeader(http.StatusOK)
		six(func() error {
			answer.Write([]byte(message))
			return control.Flush()
		})
		return
	}
	connection, buffer, err := control.Hijack()
	if err != nil {
		panic(err)
	}
	defer connection.Close()
	buffer.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
	buffer.WriteString("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	six(func() error {
		buffer.WriteString(message)
		return buffer.Flush()
	})
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{Handler: http.HandlerFunc(handle), Protocols: protocols, WriteTimeout: time.Second}
	panic(server.Serve(listener))
}
GO
timeout 300 go build -o server .
go version

timeout 60 venv/bin/python - <<'PYTHON'
import socket
import subprocess

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes


def http1(port):
    """Count the messages of a WebSocket over HTTP/1.1."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        data = b""
        while part := client.recv(4096):
            data += part
    return data.count(b"tick"), "end of TCP"


def http2(port, path):
    """Count the messages of a WebSocket over HTTP/2; give how its stream ends."""
    http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    http.initiate_connection()
    data = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        while True:
            client.sendall(http.data_to_send())
            part = client.recv(65536)
            assert part, "the server has ended the connection"
            for event in http.receive_data(part):
                if isinstance(event, h2.events.RemoteSettingsChanged):
                    assert http.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL) == 1
                    fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": path}
                    fields |= {":authority": "localhost", "sec-websocket-version": "13"}
                    http.send_headers(1, list(fields.items()))
                elif isinstance(event, h2.events.DataReceived):
                    data += event.data
                elif isinstance(event, h2.events.StreamReset):
                    return data.count(b"tick"), f"RST_STREAM({int(event.error_code)})"
                elif isinstance(event, h2.events.StreamEnded):
                    return data.count(b"tick"), "END_STREAM"


with subprocess.Popen(["./server"], stdout=subprocess.PIPE, text=True) as server:
    try:
        port = int(server.stdout.readline())
        found = {
            "HTTP/1.1": http1(port),
            "HTTP/2": http2(port, "/"),
            "HTTP/2, no deadline": http2(port, "/no-deadline"),
        }
    finally:
        server.terminate()
for name, (messages, end) in found.items():
    print(f"{name}: {messages} of 6 messages in 3 s with a WriteTimeout of 1 s, then {end}")
assert found["HTTP/1.1"] == (6, "end of TCP") and found["HTTP/2, no deadline"] == (6, "END_STREAM")
assert found["HTTP/2"][0] in (2, 3) and found["HTTP/2"][1] == "RST_STREAM(2)", "the finding has changed"
PYTHON
