#!/usr/bin/env bash
# Surprise: when the server of a WebSocket behind Apache ends its connection without a Close, as one that dies does, a
# client over HTTP/1.1 sees TCP end at once, and one over HTTP/2 nothing: its stream is open until it has sent twice.
# The first frame, a Ping of a keepalive for example, is lost without an answer; at the second Apache ends the stream.
# A client that only listens is not told.
# Versions: apache2-bin 2.4.71-1~deb12u1 of Debian bookworm (mod_http2, mod_proxy_http), h2 4.4.1.
# Source: RFC 8441, section 5, has END_STREAM stand for the end of TCP; mod_h2's issue 244 (2023, open) tells of the
# same for FastCGI, and not of WebSockets.
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
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset

front, back = map(int, sys.argv[1:])
SILENCE = 3
PING = b"\x89\x80mask"


def accept(listener):
    """Accept a WebSocket as the server; give its connection."""
    connection, _ = listener.accept()
    connection.settimeout(10)
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", head)
    answer = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + answer + b"\r\n\r\n"
    )
    return connection


def dial():
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", front), timeout=10)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def over_http1(listener):
    """Give the seconds from the end of the server's TCP connection until the client's ends."""
    with dial() as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        server = accept(listener)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        start = time.monotonic()
        server.close()
        assert client.recv(4096) == b""
        return time.monotonic() - start


def over_http2(listener):
    """End the server's TCP connection, then send two Pings; give how the stream ends after each, or None."""
    with dial() as client:
        h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        h2.initiate_connection()

        def listen(kinds, seconds):
            """Give the first event of some kinds; None if none comes."""
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0:
                client.sendall(h2.data_to_send())
                client.settimeout(left)
                try:
                    data = client.recv(65536)
                except TimeoutError:
                    return None
                assert data, "the connection ended"
                for event in h2.receive_data(data):
                    if isinstance(event, kinds):
                        return event

        assert listen(RemoteSettingsChanged, 10).changed_settings
        target = [(":scheme", "http"), (":authority", "localhost"), (":path", "/")]
        request = [(":method", "CONNECT"), (":protocol", "websocket"), *target, ("sec-websocket-version", "13")]
        h2.send_headers(1, request)
        client.sendall(h2.data_to_send())
        server = accept(listener)
        assert dict(listen(ResponseReceived, 10).headers)[":status"] == "200"
        server.close()
        told = [listen((StreamEnded, StreamReset), SILENCE)]
        for _ in range(2):
            h2.send_data(1, PING)
            told.append(listen((StreamEnded, StreamReset), SILENCE))
        return [type(event).__name__ if event else None for event in told]


with socket.create_server(("127.0.0.1", back)) as listener:
    seconds = over_http1(listener)
    print(f"the server ends TCP. Over HTTP/1.1 the client's TCP ends {seconds:.2f} s later")
    told = over_http2(listener)
    print(f"over HTTP/2, {SILENCE} s later: {told[0]}; after a Ping: {told[1]}; after another: {told[2]}")
    assert seconds < 1 and told == [None, None, "StreamEnded"]
PYTHON
