#!/usr/bin/env bash
# Surprise: Apache announces MAX_CONCURRENT_STREAMS 100 and ENABLE_CONNECT_PROTOCOL, but of a fresh HTTP/2 connection it
# works on 6 streams at a time. That is no matter for short requests; a WebSocket holds its place until it ends. So the
# seventh WebSocket, and every GET of the page that opened them, waits without an answer, and goes on when one of the
# six has closed. Nothing tells the client that it is not the backend that is slow.
# Versions: apache2-bin 2.4.71-1~deb12u1 of Debian bookworm (mod_http2, mod_proxy_http), h2 4.4.1.
# Source: mod_http2's documentation of H2MaxSessionStreams and H2WebSockets does not mention it; in the module's issue
# 232 its author explains the limit of active requests, which grows with each that succeeds.
set -euo pipefail

folder=$(mktemp -d)
gateway=
cleanup() {
    if [ -n "$gateway" ]; then
        kill "$gateway" 2>/dev/null || true
        timeout 10 tail --pid="$gateway" -f /dev/null || kill -KILL "$gateway" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
timeout 300 apt-get download -qq -o APT::Sandbox::User=root \
    apache2-bin=2.4.71-1~deb12u1 libapr1 libaprutil1 libnghttp2-14
for package in *.deb; do dpkg-deb -x "$package" unpacked; done
export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(echo "$folder"/unpacked/usr/lib/*-linux-gnu)
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check h2==4.4.1

ports=$(python3 -c 'import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in listeners))')
read -r front back <<< "$ports"
for module in mpm_event http2 proxy proxy_http authz_core; do
    echo "LoadModule ${module}_module $folder/unpacked/usr/lib/apache2/modules/mod_$module.so"
done > httpd.conf
cat >> httpd.conf <<CONF
ServerRoot $folder
DefaultRuntimeDir $folder
PidFile $folder/httpd.pid
ErrorLog $folder/error.log
ServerName localhost
Listen 127.0.0.1:$front
User nobody
Group nogroup
Protocols h2c http/1.1
H2WebSockets on
ProxyPass / http://127.0.0.1:$back/ upgrade=websocket
CONF
unpacked/usr/sbin/apache2 -v | sed -n 1p
unpacked/usr/sbin/apache2 -D FOREGROUND -f "$folder/httpd.conf" &
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
from h2.events import RemoteSettingsChanged, ResponseReceived
from h2.settings import SettingCodes

front, back = map(int, sys.argv[1:])
WEBSOCKETS = 10
CLOSE = b"\x88\x80mask"


def serve(connection):
    """Accept a WebSocket and answer its Close, or answer an ordinary request, at once."""
    with connection:
        connection.settimeout(30)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        keys = re.findall(rb"(?i)sec-websocket-key: (\S+)", head)
        if not keys:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            return
        accept = base64.b64encode(hashlib.sha1(keys[0] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        if connection.recv(4096):
            connection.sendall(b"\x88\x00")


def backend(listener):
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def dial():
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", front), timeout=0.2)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def request(method, *fields):
    return [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", "/"), *fields]


with socket.create_server(("127.0.0.1", back), backlog=64) as listener:
    threading.Thread(target=backend, args=(listener,), daemon=True).start()
    with dial() as client:
        h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        h2.initiate_connection()
        announced, answered = {}, []

        def listen(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                client.sendall(h2.data_to_send())
                try:
                    data = client.recv(65536)
                except TimeoutError:
                    continue
                assert data, "the connection ended"
                for event in h2.receive_data(data):
                    if isinstance(event, RemoteSettingsChanged):
                        announced.update({code: change.new_value for code, change in event.changed_settings.items()})
                    elif isinstance(event, ResponseReceived):
                        assert dict(event.headers)[":status"] == "200"
                        answered.append(event.stream_id)

        listen(1)
        print("announced: MAX_CONCURRENT_STREAMS", announced[SettingCodes.MAX_CONCURRENT_STREAMS])
        assert announced[SettingCodes.MAX_CONCURRENT_STREAMS] == 100
        assert announced[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1
        streams = range(1, 2 * WEBSOCKETS, 2)
        for stream in streams:
            h2.send_headers(stream, request("CONNECT", (":protocol", "websocket"), ("sec-websocket-version", "13")))
        get = streams[-1] + 2
        h2.send_headers(get, request("GET"), end_stream=True)
        listen(4)
        print(f"{WEBSOCKETS} WebSockets and a GET asked for at once; after 4 s {len(answered)} of the 11 are answered")
        assert len(answered) == 6 and get not in answered
        h2.send_data(answered[0], CLOSE, end_stream=True)
        listen(4)
        print(f"one of these closed by the client; after 4 s more {len(answered)} are answered")
        assert len(answered) > 6
PYTHON
