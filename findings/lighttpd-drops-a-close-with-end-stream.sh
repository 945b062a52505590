#!/usr/bin/env bash
# Surprise: a WebSocket client over HTTP/2 that ends its stream with the frame of its Close, one DATA frame with
# END_STREAM, as Chromium does and RFC 8441 shows in its example, never closes cleanly through lighttpd: the backend
# sees TCP end without a Close, and the client gets RST_STREAM(INTERNAL_ERROR) instead of the answer. The same Close
# with END_STREAM a moment later is passed on and answered.
# Versions: lighttpd 1.4.69-1 of Debian bookworm, h2 4.4.1.
# Source: RFC 8441, section 5.1, against it; else observed.
set -euo pipefail

folder=$(mktemp -d)
gateway=
cleanup() {
    if [ -n "$gateway" ]; then
        kill "$gateway" 2>/dev/null || true
        timeout 5 tail --pid="$gateway" -f /dev/null || kill -KILL "$gateway" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
timeout 300 apt-get download -qq -o APT::Sandbox::User=root lighttpd=1.4.69-1 libnettle8 libxxhash0
for package in *.deb; do dpkg-deb -x "$package" unpacked; done
export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(echo "$folder"/unpacked/usr/lib/*-linux-gnu)
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check h2==4.4.1

ports=$(python3 -c 'import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in listeners))')
read -r front back <<< "$ports"
cat > lighttpd.conf <<CONF
server.document-root = "$folder"
server.bind = "127.0.0.1"
server.port = $front
server.modules = ("mod_proxy")
proxy.server = ("" => (("host" => "127.0.0.1", "port" => $back)))
proxy.header = ("upgrade" => "enable")
CONF
unpacked/usr/sbin/lighttpd -v
unpacked/usr/sbin/lighttpd -D -f lighttpd.conf -m unpacked/usr/lib/lighttpd 2> lighttpd.log &
gateway=$!

timeout 60 venv/bin/python - "$front" "$back" <<'PYTHON'
import base64
import hashlib
import re
import socket
import sys
import threading
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset

front, back = map(int, sys.argv[1:])


def masked(first, payload):
    data = bytes(byte ^ b"mask"[index % 4] for index, byte in enumerate(payload))
    return bytes([first, 0x80 | len(payload)]) + b"mask" + data


TEXT, CLOSE = masked(0x81, b"hello"), masked(0x88, b"\x03\xe8bye")
REQUEST = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", "/"),
    ("sec-websocket-version", "13"),
]


def backend(listener, seen):
    """Accept one WebSocket, echo its text, and answer its Close."""
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
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        while data := connection.recv(4096):
            seen.append(data)
            if data == TEXT:
                connection.sendall(b"\x81\x05hello")
            elif data == CLOSE:
                connection.sendall(b"\x88\x02\x03\xe8")
                break


def dial():
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", front), timeout=10)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def close(*, together):
    seen, events = [], []
    with socket.create_server(("127.0.0.1", back)) as listener:
        server = threading.Thread(target=backend, args=(listener, seen), daemon=True)
        server.start()
        with dial() as client:
            h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
            h2.initiate_connection()

            def until(*kinds):
                while True:
                    client.sendall(h2.data_to_send())
                    data = client.recv(65536)
                    assert data, "the connection ended"
                    new = h2.receive_data(data)
                    events.extend(new)
                    if any(isinstance(event, kinds) for event in new):
                        return client.sendall(h2.data_to_send())

            until(RemoteSettingsChanged)
            h2.send_headers(1, REQUEST)
            until(ResponseReceived)
            h2.send_data(1, TEXT)
            until(DataReceived)
            h2.send_data(1, CLOSE, end_stream=together)
            client.sendall(h2.data_to_send())
            if not together:
                time.sleep(0.5)
                h2.end_stream(1)
            until(StreamEnded, StreamReset)
        server.join(10)
    answer = b"".join(event.data for event in events if isinstance(event, DataReceived))
    errors = [int(event.error_code) for event in events if isinstance(event, StreamReset) and event.error_code]
    came = CLOSE in seen
    print("a text, its echo, and a Close with END_STREAM", "in the same frame:" if together else "half a second later:")
    print(f"  the Close reached the backend: {came}; the client got {answer!r}; codes of RST_STREAM: {errors}")
    return came, answer, errors


assert close(together=True) == (False, b"\x81\x05hello", [2])
assert close(together=False) == (True, b"\x81\x05hello\x88\x02\x03\xe8", [])
PYTHON
