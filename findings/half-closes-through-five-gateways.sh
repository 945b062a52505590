#!/usr/bin/env bash
# Surprise: who sends a Close and then ends its half of TCP, to say that nothing follows, may never get the answer.
# nginx takes the end of either half for the end of both, and cuts what the other end still sends, its Close included.
# HAProxy and Node's http-proxy pass a client's half-close on, and cut after a server's. Apache and Go's ReverseProxy
# pass on both, as TCP between the two ends does.
# Versions: nginx 1.22.1, HAProxy 2.6.12 and Apache 2.4.71 of Debian bookworm, http-proxy 1.18.1, Go 1.26.8 (the Go that
# runs this).
# Source: RFC 6455, section 7.1.1, which ends TCP by shutdown(SHUT_WR) first and reads on;
# ngx_http_upstream_process_upgraded of nginx; switchProtocolCopier of net/http/httputil; the rest is observed.
set -euo pipefail

folder=$(mktemp -d)
cleanup() {
    chmod -R u+w "$folder"
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
export GOCACHE="$folder/cache" GOFLAGS=-p=1
timeout 300 apt-get download -qq -o APT::Sandbox::User=root \
    nginx=1.22.1-9+deb12u11 haproxy=2.6.12-1+deb12u4 apache2-bin=2.4.71-1~deb12u1 \
    liblua5.3-0 libapr1 libaprutil1 libnghttp2-14
for package in *.deb; do dpkg-deb -x "$package" unpacked; done
echo '{"private": true}' > package.json
timeout 300 npm install --silent --no-audit --no-fund http-proxy@1.18.1

cat > go.mod <<'GO'
module finding

go 1.24
GO
cat > main.go <<'GO'
// Pass requests from one port on to another.
package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	target := &url.URL{Scheme: "http", Host: "127.0.0.1:" + os.Args[2]}
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], httputil.NewSingleHostReverseProxy(target)))
}
GO
timeout 300 go build -o reverse-proxy .
cat > http-proxy.js <<'JAVASCRIPT'
const [front, back] = process.argv.slice(2).map(Number)
const proxy = require('http-proxy').createProxyServer({ target: `http://127.0.0.1:${back}`, ws: true })
proxy.on('error', () => {})
const server = require('http').createServer()
server.on('upgrade', (request, socket, head) => proxy.ws(request, socket, head))
server.listen(front, '127.0.0.1')
JAVASCRIPT

export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(echo "$folder"/unpacked/usr/lib/*-linux-gnu)
timeout 120 python3 - <<'PYTHON'
import base64
import hashlib
import pathlib
import re
import socket
import subprocess
import threading
import time

HERE = pathlib.Path.cwd()
UNPACKED = HERE / "unpacked/usr"
PATIENCE, SILENCE = 10, 2
CLOSE, MASKED_CLOSE = b"\x88\x02\x03\xe8", b"\x88\x82mask\x6e\x89"


def nginx(front, back):
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {HERE}/{kind};" for kind in kinds)
    pathlib.Path("nginx.conf").write_text(
        f"daemon off; master_process off; pid {HERE}/nginx.pid; error_log {HERE}/nginx.log; user root;\n"
        f"events {{}} http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{front}; location / {{\n"
        f"proxy_pass http://127.0.0.1:{back}; proxy_http_version 1.1;\n"
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}}\n"
    )
    return [UNPACKED / "sbin/nginx", "-c", HERE / "nginx.conf", "-e", HERE / "nginx.log"]


def haproxy(front, back):
    pathlib.Path("haproxy.cfg").write_text(
        "defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n"
        f"frontend front\n bind 127.0.0.1:{front}\n default_backend back\nbackend back\n server only 127.0.0.1:{back}\n"
    )
    return [UNPACKED / "sbin/haproxy", "-f", "haproxy.cfg", "-db"]


def apache(front, back):
    modules = ("mpm_event", "proxy", "proxy_http", "authz_core")
    folder = UNPACKED / "lib/apache2/modules"
    pathlib.Path("httpd.conf").write_text(
        "".join(f"LoadModule {name}_module {folder}/mod_{name}.so\n" for name in modules)
        + f"ServerRoot {HERE}\nDefaultRuntimeDir {HERE}\nPidFile {HERE}/httpd.pid\nErrorLog {HERE}/httpd.log\n"
        f"ServerName localhost\nListen 127.0.0.1:{front}\nUser nobody\nGroup nogroup\n"
        f"ProxyPass / http://127.0.0.1:{back}/ upgrade=websocket\n"
    )
    return [UNPACKED / "sbin/apache2", "-D", "FOREGROUND", "-f", HERE / "httpd.conf"]


GATEWAYS = {
    "none": None,
    "nginx": nginx,
    "HAProxy": haproxy,
    "http-proxy": lambda front, back: ["node", "--no-warnings", "http-proxy.js", str(front), str(back)],
    "Apache": apache,
    "ReverseProxy": lambda front, back: ["./reverse-proxy", str(front), str(back)],
}
# Which end half-closes: (whether the other end sees it, whether the other end's Close comes back).
EXPECTED = {
    "none": {"client": (True, True), "server": (True, True)},
    "nginx": {"client": (True, False), "server": (True, False)},
    "HAProxy": {"client": (True, True), "server": (True, False)},
    "http-proxy": {"client": (True, True), "server": (True, False)},
    "Apache": {"client": (True, True), "server": (True, True)},
    "ReverseProxy": {"client": (True, True), "server": (True, True)},
}


def read_to_end(connection, seconds):
    """Give what comes, and whether the end comes, until nothing does for that long."""
    connection.settimeout(seconds)
    data = b""
    try:
        while part := connection.recv(4096):
            data += part
    except TimeoutError:
        return data, False
    except ConnectionError:
        pass
    return data, True


def read_head(connection):
    connection.settimeout(PATIENCE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = connection.recv(1)
        assert part, "there is no whole head"
        head += part
    return head


def accept(listener):
    connection, _ = listener.accept()
    (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", read_head(connection))
    digest = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n"
    )
    return connection


def connect(port):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            break
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    client.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert b" 101 " in read_head(client)
    return client


def half_close(front, listener, side):
    """Send a Close and end that half; the other end reads what comes, then answers; both as small programs would."""
    connections = {}
    server = threading.Thread(target=lambda: connections.update(server=accept(listener)), daemon=True)
    server.start()
    connections["client"] = connect(front)
    server.join(PATIENCE)
    ending, other = connections[side], connections["server" if side == "client" else "client"]
    closes = {"client": MASKED_CLOSE, "server": CLOSE}
    ending.sendall(closes[side])
    ending.shutdown(socket.SHUT_WR)
    data, end_seen = read_to_end(other, SILENCE)
    assert data == closes[side], data
    time.sleep(0.3)
    answer = closes["server" if side == "client" else "client"]
    try:
        other.sendall(answer)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it is cut
    answered = read_to_end(ending, SILENCE)[0]
    for connection in connections.values():
        connection.close()
    assert answered in (b"", answer), answered
    return end_seen, answered == answer


for name, configure in GATEWAYS.items():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        back = front = listener.getsockname()[1]
        gateway = None
        if configure:
            with socket.create_server(("127.0.0.1", 0)) as other:
                front = other.getsockname()[1]
            gateway = subprocess.Popen(configure(front, back))
        try:
            found = {side: half_close(front, listener, side) for side in ("client", "server")}
        finally:
            if gateway:
                gateway.terminate()
                try:
                    gateway.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    gateway.kill()
                    gateway.wait()
    for side, (end_seen, answered) in found.items():
        seen, fate = "sees" if end_seen else "does not see", "comes back" if answered else "is lost"
        print(f"gateway {name}: the {side} half-closes after its Close; the other end {seen} that; its Close {fate}")
    assert found == EXPECTED[name], "the finding has changed"
PYTHON
for program in nginx haproxy apache2; do unpacked/usr/sbin/$program -v 2>&1 | sed -n 1p; done
go version
