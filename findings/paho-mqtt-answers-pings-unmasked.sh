#!/usr/bin/env bash
# Surprise: a server with keepalive cuts off the MQTT clients that are alive. Over WebSockets, paho-mqtt masks its MQTT
# packets and neither of its control frames: the Pong that answers a server's Ping has no mask, which a server must take
# for a protocol error. So the client is closed with 1002 after the first Ping, comes back by itself, and is closed
# again, where a server that never pings, as brokers are often configured, keeps it. Nothing of MQTT is wrong, and the
# client's own error names no cause.
# Versions: paho-mqtt 2.2.0 (Python), websockets 17.4 as the server, websocket-client 1.9.2 as the other client.
# Source: RFC 6455, section 5.1 (a client masks all frames, a server closes upon one without) and 5.5.3; _recv_impl of
# paho.mqtt.client._WebsocketWrapper, which passes 0 as do_masking.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    paho-mqtt==2.2.0 websockets==17.4 websocket-client==1.9.2

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import base64
import hashlib
import importlib.metadata
import queue
import re
import socket
import threading

import paho.mqtt.client
import websocket
import websockets.exceptions
import websockets.sync.server

CONNACK = b"\x20\x02\x00\x00"
PING, PONG, BINARY = 9, 10, 2


def masks(listener, seen):
    """Send CONNACK and a Ping, and keep which frames came back with a mask."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(10)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", head)
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        for payload in (CONNACK, None):
            first, second = connection.recv(2, socket.MSG_WAITALL)
            connection.recv((second & 127) + (4 if second & 128 else 0), socket.MSG_WAITALL)
            seen.put((first & 15, bool(second & 128)))
            if payload:
                connection.sendall(bytes([0x80 | BINARY, len(payload)]) + payload + bytes([0x80 | PING, 0]))


def with_paho(port, *, told=None):
    client = paho.mqtt.client.Client(
        paho.mqtt.client.CallbackAPIVersion.VERSION2, transport="websockets", reconnect_on_failure=False
    )
    if told is not None:
        client.on_disconnect = lambda client, data, flags, reason, properties: told.put(str(reason))
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client.loop_stop


def with_websocket_client(port):
    client = websocket.WebSocketApp(
        f"ws://127.0.0.1:{port}/", subprotocols=["mqtt"], on_open=lambda client: client.send_bytes(b"MQTT")
    )
    threading.Thread(target=client.run_forever, daemon=True).start()
    return client.close


for package, connect, expected in (
    ("paho-mqtt", with_paho, [(BINARY, True), (PONG, False)]),
    ("websocket-client", with_websocket_client, [(BINARY, True), (PONG, True)]),
):
    seen = queue.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=masks, args=(listener, seen), daemon=True).start()
        stop = connect(listener.getsockname()[1])
        frames = [seen.get(timeout=10) for _ in range(2)]
        stop()
    print(package, importlib.metadata.version(package), "opcode and mask of its message and its Pong:", frames)
    assert frames == expected, "the finding has changed"


def serve(connection):
    """Accept MQTT, ping once if the path asks for it, and keep how the connection ends within two seconds."""
    connection.recv(timeout=10)
    connection.send(CONNACK)
    if pings:
        connection.ping()
    try:
        connection.recv(timeout=2)
    except TimeoutError:
        ends.put("still open")
    except websockets.exceptions.ConnectionClosed as closed:
        ends.put((closed.sent.code, closed.sent.reason))


for pings in (False, True):
    ends, told = queue.Queue(), queue.Queue()
    with websockets.sync.server.serve(serve, "127.0.0.1", 0, subprotocols=["mqtt"], ping_interval=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stop = with_paho(server.socket.getsockname()[1], told=told)
        end = ends.get(timeout=15)
        reason = told.get(timeout=10) if pings else None
        stop()
        server.shutdown()
    print(f"websockets 17.4 that pings: {pings}; the connection: {end}; paho-mqtt is told: {reason}")
    assert end[0] == 1002 and "mask" in end[1] if pings else end == "still open", "the finding has changed"
PYTHON
