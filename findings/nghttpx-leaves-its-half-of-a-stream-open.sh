#!/usr/bin/env bash
# Surprise: nghttpx in front of an HTTP/2 backend never ends its half of a WebSocket's stream. The client has closed and
# gone, the backend has answered the Close and ended its half with END_STREAM, and nghttpx sends nothing more: neither
# END_STREAM nor RST_STREAM. Each such stream stays half-closed and counts towards MAX_CONCURRENT_STREAMS, so a backend
# that waits for the other half runs out of streams though no WebSocket is open.
# Versions: nghttpx 1.52.0-1+deb12u3 of Debian bookworm, h2 4.4.1, websockets 17.4.
# Source: RFC 8441, section 5, has the end of the stream stand for the end of TCP; nghttp2's issue 2868 tells of the
# same for CONNECT.
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
timeout 300 apt-get download -qq -o APT::Sandbox::User=root \
    nghttp2-proxy=1.52.0-1+deb12u3 libnghttp2-14=1.52.0-1+deb12u3 libev4 libc-ares2 libjemalloc2
for package in *.deb; do dpkg-deb -x "$package" unpacked; done
export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(echo "$folder"/unpacked/usr/lib/*-linux-gnu)
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check h2==4.4.1 websockets==17.4

ports=$(python3 -c 'import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in listeners))')
read -r front back <<< "$ports"
unpacked/usr/sbin/nghttpx --version
unpacked/usr/sbin/nghttpx --conf=/dev/null --single-process --workers=1 --accesslog-file=/dev/null \
    --frontend="127.0.0.1,$front;no-tls" --backend="127.0.0.1,$back;;proto=h2" 2> nghttpx.log &
gateway=$!

timeout 60 venv/bin/python - "$front" "$back" <<'PYTHON'
import socket
import sys
import threading
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes, Settings
from websockets.sync.client import connect

front, back = map(int, sys.argv[1:])
WEBSOCKETS, PATIENCE = 5, 5
opened, answered, ended = set(), set(), set()


def backend(listener):
    """Accept WebSockets over HTTP/2, answer their Closes and end our half of each stream."""
    connection, _ = listener.accept()
    h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    h2.local_settings = Settings(client=False, initial_values={SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    h2.initiate_connection()
    while True:
        connection.sendall(h2.data_to_send())
        data = connection.recv(65536)
        if not data:
            return
        for event in h2.receive_data(data):
            if isinstance(event, RequestReceived):
                opened.add(event.stream_id)
                h2.send_headers(event.stream_id, [(":status", "200")])
            elif isinstance(event, DataReceived) and event.data[:1] == b"\x88":
                h2.send_data(event.stream_id, b"\x88\x02\x03\xe8", end_stream=True)
                answered.add(event.stream_id)
            elif isinstance(event, StreamEnded | StreamReset):
                ended.add(event.stream_id)


with socket.create_server(("127.0.0.1", back)) as listener:
    threading.Thread(target=backend, args=(listener,), daemon=True).start()
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", front), timeout=5).close()
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    for _ in range(WEBSOCKETS):
        with connect(f"ws://127.0.0.1:{front}/", compression=None, open_timeout=10) as websocket:
            pass
        assert websocket.close_code == 1000
    print(f"{WEBSOCKETS} WebSockets, one after another: all closed with 1000 by the client")
    time.sleep(PATIENCE)
    print(f"streams at the backend: {len(opened)} opened, {len(answered)} answered and ended by the backend")
    print(f"of these nghttpx has ended {len(ended)}, {PATIENCE} s after the last client has gone")
    assert len(opened) == len(answered) == WEBSOCKETS and not ended
PYTHON
