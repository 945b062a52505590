#!/usr/bin/env bash
# Surprise: a server on actix-ws gets the end of a connection ahead of the messages that came before it. While a handler
# is busy with a message, the client sends some more, closes and leaves; the handler's next recv() is an error, an
# incomplete payload, and the messages, and the Close with its code, come after that, to whoever asks again. The loop of
# its documentation, `while let Some(Ok(message))`, ends at the error, so all that was received and not yet read is
# lost, where other servers deliver it and then the end. A handler that is not busy gets everything in order.
# Versions: actix-ws 0.4.0 with actix-web 4.18.1, tokio-tungstenite 0.30.0.
# Source: poll_next of actix_ws::MessageStream, which reads all that has come before it decodes, and gives an error of
# the payload at once, with the bytes ahead of it in its buffer; the example of actix_ws::handle.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export CARGO_TARGET_DIR="$folder/target"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "servers"
version = "0.0.0"
edition = "2021"

[dependencies]
actix-web = { version = "=4.18.1", default-features = false, features = ["macros"] }
actix-ws = "=0.4.0"
futures-util = { version = "0.3", default-features = false }
tokio = { version = "1", features = ["macros", "net", "rt", "time"] }
tokio-tungstenite = "=0.30.0"

[profile.dev]
debug = false
TOML
cat > src/main.rs <<'RUST'
use std::time::Duration;

use actix_web::{web, App, HttpRequest, HttpServer, Responder};
use actix_ws::Message;
use futures_util::StreamExt;
use tokio_tungstenite::tungstenite;

/// Tells what has come, and is busy with it for a while.
async fn work(what: String) {
    println!("{what}");
    tokio::time::sleep(Duration::from_secs(1)).await;
}

async fn actix(request: HttpRequest, body: web::Payload) -> actix_web::Result<impl Responder> {
    let (response, session, mut stream) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        while let Some(message) = stream.recv().await {
            match message {
                Ok(Message::Text(text)) => work(text.to_string()).await,
                Ok(Message::Close(reason)) => work(format!("Close {}", u16::from(reason.unwrap().code))).await,
                Ok(_) => {}
                Err(_) => println!("error"),
            }
        }
        let _ = session.close(None).await;
        println!("end");
    });
    Ok(response)
}

async fn tungstenite(listener: tokio::net::TcpListener) {
    let (socket, _) = listener.accept().await.unwrap();
    let mut stream = tokio_tungstenite::accept_async(socket).await.unwrap();
    while let Some(message) = stream.next().await {
        match message {
            Ok(tungstenite::Message::Text(text)) => work(text.to_string()).await,
            Ok(tungstenite::Message::Close(frame)) => work(format!("Close {}", u16::from(frame.unwrap().code))).await,
            Ok(_) => {}
            Err(_) => println!("error"),
        }
    }
    println!("end");
}

/// Serves by the library that is named, on a free port, which is printed; a line for all that comes.
#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    if std::env::args().nth(1).as_deref() == Some("actix-ws") {
        let server = HttpServer::new(|| App::new().route("/", web::get().to(actix)));
        return server.workers(1).listen(listener)?.run().await;
    }
    listener.set_nonblocking(true)?;
    tungstenite(tokio::net::TcpListener::from_std(listener)?).await;
    Ok(())
}
RUST
timeout 900 cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | grep -E '^(actix-w|tokio-tung)' | cut -d' ' -f1,2

timeout 90 python3 - <<'PYTHON'
import queue
import socket
import subprocess
import threading

PATIENCE = 15


def frame(first, payload):
    return bytes([first, 0x80 | len(payload)]) + b"mask" + bytes(a ^ b for a, b in zip(payload, b"mask" * 32))


def text(message):
    return frame(0x81, message.encode())


CLOSE = frame(0x88, (4001).to_bytes(2, "big"))


def open_websocket(port):
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    client.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = client.recv(1)
        assert part, "there is no whole head"
        head += part
    assert b" 101 " in head, head
    return client


def told(library, busy):
    """Give what a server is told of a client that sends four texts and a Close, and leaves."""
    lines = queue.Queue()
    command = ["target/debug/servers", library]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            port = int(server.stdout.readline())
            reader = threading.Thread(target=lambda: [lines.put(line.strip()) for line in server.stdout], daemon=True)
            reader.start()
            found = []
            with open_websocket(port) as client:
                for index in range(1, 5):
                    client.sendall(text(str(index)))
                    if index == 1 or not busy:
                        found.append(lines.get(timeout=PATIENCE))
                client.sendall(CLOSE)
                if not busy:
                    found.append(lines.get(timeout=PATIENCE))
            while not found or found[-1] != "end":
                found.append(lines.get(timeout=PATIENCE))
        finally:
            server.kill()
    print(f"{library}, {'busy' if busy else 'idle'}: {', '.join(found)}")
    return found


ORDERLY = ["1", "2", "3", "4", "Close 4001"]
for busy in (False, True):
    assert told("tungstenite", busy)[:5] == ORDERLY, "the control has failed"
found = told("actix-ws", busy=False)
assert found[:5] == ORDERLY, "the finding has changed"
found = told("actix-ws", busy=True)
assert found[:-1] == ["1", "error", "2", "3", "4", "Close 4001"], "the finding has changed"
PYTHON
