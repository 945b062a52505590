#!/usr/bin/env bash
# Surprise: axum's server announces WebSockets over HTTP/2 (SETTINGS_ENABLE_CONNECT_PROTOCOL = 1, RFC 8441) for every
# application, WebSockets or not, and a route made by `get(handler)`, as WebSockets have over HTTP/1.1, answers them with
# 405 and `Allow: GET,HEAD`, since their method over HTTP/2 is CONNECT. `any(handler)` takes both. So a client that goes
# by the announcement fails with a server whose WebSocket works over HTTP/1.1, and the 405 names a method that it has no
# use for; the handler is never called, so nothing is logged there.
# Versions: axum 0.8.9 with hyper 1.12.0, h2 for Python 4.4.1.
# Source: the documentation of axum::extract::ws::WebSocketUpgrade (its note on methods); axum::serve, which enables the
# protocol unconditionally; RFC 8441, sections 3 and 4; RFC 9110, section 15.5.6.
set -euo pipefail

folder=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
export CARGO_TARGET_DIR="$folder/target"

python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install h2==4.4.1

mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "routes"
version = "0.0.0"
edition = "2021"

[dependencies]
axum = { version = "=0.8.9", features = ["http2", "ws"] }
hyper = "=1.12.0"
tokio = { version = "1", features = ["macros", "net", "rt"] }

[profile.dev]
debug = false
TOML
cat > src/main.rs <<'RUST'
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get};
use axum::Router;

async fn echo(mut websocket: WebSocket) {
    while let Some(Ok(message)) = websocket.recv().await {
        if websocket.send(message).await.is_err() {
            return;
        }
    }
}

async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo)
}

/// Serves on a free port, which is printed.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let app = Router::new().route("/get", get(upgrade)).route("/any", any(upgrade));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    axum::serve(listener, app).await.unwrap();
}
RUST
timeout 900 cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | grep -E '^(axum|hyper) ' | cut -d' ' -f1,2
target/debug/routes > port &
server=$!
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done

timeout 60 venv/bin/python - "$(cat port)" <<'PYTHON'
import socket
import sys

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes

PORT = int(sys.argv[1])
HEADERS = [("sec-websocket-version", "13")]


def http1(path):
    """Give the status of an upgrade over HTTP/1.1."""
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: Upgrade\r\nUpgrade: websocket"
    fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS)
    with socket.create_connection(("127.0.0.1", PORT), timeout=10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}{key}\r\n\r\n".encode())
        return int(client.recv(65536).split()[1])


def http2(path):
    """Give whether extended CONNECT is announced, and the head of its answer."""
    http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    http.initiate_connection()
    announced = None
    with socket.create_connection(("127.0.0.1", PORT), timeout=10) as client:
        while True:
            client.sendall(http.data_to_send())
            data = client.recv(65536)
            assert data, "the server has ended the connection"
            for event in http.receive_data(data):
                if isinstance(event, h2.events.RemoteSettingsChanged) and announced is None:
                    announced = http.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL)
                    fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": path}
                    http.send_headers(1, [*fields.items(), (":authority", "localhost"), *HEADERS])
                if isinstance(event, h2.events.ResponseReceived):
                    return announced, dict(event.headers)


expected = {"/any": (101, 200, None), "/get": (101, 405, "GET,HEAD")}
for path, statuses in expected.items():
    upgraded = http1(path)
    announced, head = http2(path)
    seen = upgraded, int(head[":status"]), head.get("allow")
    print(f"{path}: HTTP/1.1 {seen[0]}; HTTP/2, announced: {announced}, answer {seen[1]}, allow: {seen[2]}")
    assert announced == 1 and seen == statuses, "the finding has changed"
PYTHON
