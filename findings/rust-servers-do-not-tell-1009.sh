#!/usr/bin/env bash
# Surprise: four WebSocket libraries of Rust bound the size of messages, and none tells a client that has passed the
# bound: 1009 is what RFC 6455 has for it, and what servers of Python and Node answer. tungstenite, fastwebsockets and
# soketto give their application an error and end TCP without a Close, and actix-ws, as its documentation has it, closes
# without a code. So a client sees 1006, a lost connection, for which it connects again, sends the same message, and is
# cut off again; or 1005, an end like any other. What it is about is in the server's log alone, if anywhere.
# Versions: tokio-tungstenite 0.30.0, fastwebsockets 0.10.0, soketto 0.8.1, actix-ws 0.4.0; websockets 17.4 as the
# client and as a server, aiohttp 3.14.5 and ws 8.23.0 (on the Node that runs this) as servers.
# Source: RFC 6455, sections 7.4.1 (1009), 7.1.5 (1005 and 1006) and 7.1.7 (a Close is sent before the connection is
# ended for an error); CloseCode::Size of tungstenite, fastwebsockets and actix-http, which nothing of theirs sends; the
# example of actix_ws::handle, which closes with None.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export CARGO_TARGET_DIR="$folder/target"
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check websockets==17.4 aiohttp==3.14.5
echo '{"private": true, "type": "module"}' > package.json
timeout 300 npm install --silent --no-audit --no-fund ws@8.23.0
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "servers"
version = "0.0.0"
edition = "2021"

[dependencies]
actix-web = { version = "=4.18.1", default-features = false, features = ["macros"] }
actix-ws = "=0.4.0"
fastwebsockets = { version = "=0.10.0", features = ["upgrade"] }
futures-util = { version = "0.3", default-features = false }
hyper = { version = "1", features = ["http1", "server"] }
hyper-util = { version = "0.1", features = ["tokio"] }
soketto = "=0.8.1"
tokio = { version = "1", features = ["macros", "net", "rt"] }
tokio-tungstenite = "=0.30.0"
tokio-util = { version = "0.7", features = ["compat"] }

[profile.dev]
debug = false
TOML
cat > src/main.rs <<'RUST'
use actix_web::{web, App, HttpRequest, HttpServer, Responder};
use futures_util::StreamExt;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// The largest message that each server takes, in bytes.
const LIMIT: usize = 1000;

async fn actix(request: HttpRequest, body: web::Payload) -> actix_web::Result<impl Responder> {
    let (response, session, stream) = actix_ws::handle(&request, body)?;
    let mut stream = stream.max_frame_size(LIMIT).aggregate_continuations();
    actix_web::rt::spawn(async move {
        while let Some(message) = stream.recv().await {
            match message {
                Ok(message) => println!("{message:?}"),
                Err(error) => {
                    println!("{error}");
                    break;
                }
            }
        }
        let _ = session.close(None).await;
    });
    Ok(response)
}

async fn tungstenite(socket: TcpStream) {
    let config = tokio_tungstenite::tungstenite::protocol::WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT));
    let mut stream = tokio_tungstenite::accept_async_with_config(socket, Some(config)).await.unwrap();
    while let Some(message) = stream.next().await {
        match message {
            Ok(message) => println!("{message:?}"),
            Err(error) => println!("{error}"),
        }
    }
}

async fn soketto(socket: TcpStream) {
    let mut server = soketto::handshake::Server::new(socket.compat());
    let key = server.receive_request().await.unwrap().key();
    let accept = soketto::handshake::server::Response::Accept { key, protocol: None };
    server.send_response(&accept).await.unwrap();
    let mut builder = server.into_builder();
    builder.set_max_message_size(LIMIT);
    builder.set_max_frame_size(LIMIT);
    let (_sender, mut receiver) = builder.finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        match receiver.receive_data(&mut message).await {
            Ok(data) => println!("{data:?}"),
            Err(error) => {
                println!("{error}");
                return;
            }
        }
    }
}

async fn fastwebsockets(socket: TcpStream) {
    let service = hyper::service::service_fn(|mut request: hyper::Request<hyper::body::Incoming>| async move {
        let (response, upgraded) = fastwebsockets::upgrade::upgrade(&mut request)?;
        tokio::task::spawn_local(async move {
            let mut websocket = upgraded.await.unwrap();
            websocket.set_max_message_size(LIMIT);
            let mut websocket = fastwebsockets::FragmentCollector::new(websocket);
            loop {
                match websocket.read_frame().await {
                    Ok(frame) => println!("{:?} {}", frame.opcode, frame.payload.len()),
                    Err(error) => {
                        println!("{error}");
                        return;
                    }
                }
            }
        });
        Ok::<_, fastwebsockets::WebSocketError>(response)
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    let _ = connection.with_upgrades().await;
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let name = std::env::args().nth(1).unwrap();
    if name == "actix-ws" {
        let server = HttpServer::new(|| App::new().route("/", web::get().to(actix)));
        return server.workers(1).listen(listener)?.run().await;
    }
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (socket, _) = listener.accept().await?;
        match name.as_str() {
            "tungstenite" => actix_web::rt::spawn(tungstenite(socket)),
            "soketto" => actix_web::rt::spawn(soketto(socket)),
            _ => actix_web::rt::spawn(fastwebsockets(socket)),
        };
    }
}
RUST
timeout 900 cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | grep -E '^(actix-ws|fastweb|soketto|tokio-tung)' | cut -d' ' -f1,2
cat > node.js <<'JAVASCRIPT'
import { WebSocketServer } from 'ws'
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, maxPayload: 1000 })
server.on('connection', (websocket) => websocket.on('error', (error) => console.log(error.message)))
server.on('listening', () => console.log(server.address().port))
JAVASCRIPT
cat > with_websockets.py <<'PYTHON'
import websockets.sync.server

with websockets.sync.server.serve(list, "127.0.0.1", 0, max_size=1000) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
PYTHON
cat > with_aiohttp.py <<'PYTHON'
import asyncio

import aiohttp.web


async def handle(request):
    websocket = aiohttp.web.WebSocketResponse(max_msg_size=1000)
    await websocket.prepare(request)
    async for message in websocket:
        pass
    return websocket


async def main():
    application = aiohttp.web.Application()
    application.router.add_get("/", handle)
    runner = aiohttp.web.AppRunner(application)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
PYTHON

timeout 90 venv/bin/python - <<'PYTHON'
import subprocess

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

TOO_LONG = bytes(1001)
SERVERS = {
    "websockets": (["venv/bin/python", "with_websockets.py"], 1009),
    "aiohttp": (["venv/bin/python", "with_aiohttp.py"], 1009),
    "ws": (["node", "node.js"], 1009),
    "tungstenite": (["target/debug/servers", "tungstenite"], 1006),
    "fastwebsockets": (["target/debug/servers", "fastwebsockets"], 1006),
    "soketto": (["target/debug/servers", "soketto"], 1006),
    "actix-ws": (["target/debug/servers", "actix-ws"], 1005),
}

for name, (command, expected) in SERVERS.items():
    with (
        open("log", "w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            port = int(server.stdout.readline())
            with connect(f"ws://127.0.0.1:{port}/", compression=None, open_timeout=20) as client:
                client.send(TOO_LONG)
                try:
                    message = client.recv(20)
                    raise AssertionError(f"{name} has sent {message!r}")
                except ConnectionClosed:
                    pass
                code, reason = client.close_code, client.close_reason
        finally:
            server.kill()
    print(f"{name}: a message of {len(TOO_LONG)} bytes, with a bound of 1000: the client gets {code} {reason}")
    assert code == expected, "the finding has changed"
PYTHON
