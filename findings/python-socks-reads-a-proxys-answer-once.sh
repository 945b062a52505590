#!/usr/bin/env bash
# Surprise: python-socks takes whatever its first read returns for the whole answer of an HTTP proxy to CONNECT. Where
# the head comes in two segments, the rest of it turns up as the first bytes of the destination; where the destination
# talks first (an HTTP/2 server's SETTINGS, an SMTP greeting) and its bytes share a segment with the head, they are
# lost. With a proxy that writes its head at once and a destination that waits, as in most tests, neither happens.
# Versions: python-socks 3.2.1.
# Source: RFC 9110, section 9.3.6: the tunnel begins after the blank line that ends the head; else observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-socks==3.2.1

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import socket
import threading
import time

from python_socks.sync import Proxy


def proxy(listener, segments):
    """Answer one CONNECT with these segments, and end."""
    connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        for segment in segments:
            connection.sendall(segment)
            time.sleep(0.3)


def tunnel(segments):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=proxy, args=(listener, segments), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Proxy.from_url(url).connect("destination.example", 80, timeout=10) as connection:
            connection.settimeout(10)
            data = b""
            while part := connection.recv(4096):
                data += part
            return data


print("python-socks", importlib.metadata.version("python-socks"))
head, greeting = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy.example\r\n\r\n", b"220 ready\r\n"
for what, segments, expected in (
    ("the head, then the greeting", [head, greeting], greeting),
    ("the head in two segments", [head[:37], head[37:], greeting], head[37:] + greeting),
    ("the head and the greeting in one segment", [head + greeting], b""),
):
    got = tunnel(segments)
    print(f"{what}: the tunnel gives {got!r}")
    assert got == expected
PYTHON
