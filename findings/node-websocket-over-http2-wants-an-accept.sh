#!/usr/bin/env bash
# Surprise: the WebSocket of Node 26 uses HTTP/2 by itself where the server announces RFC 8441, and then fails each
# connection whose 200 has no Sec-WebSocket-Accept, though that RFC does away with the field. A server that keeps to it
# gets error and close 1006 from Node, with no second try over HTTP/1.1. It opens as soon as the server answers the key
# as it would over HTTP/1.1.
# Versions: Node 26.10.0 (npm's node 26.10.0, with undici 8), h2 4.4.1.
# Source: RFC 8441, section 5, against it; undici's issue 5681 and its pull request 5774, closed without a merge.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
timeout 500 npm install --silent --no-audit --no-fund node@26.10.0
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check h2==4.4.1 trustme==1.2.1

cat > client.js <<'JAVASCRIPT'
const websocket = new WebSocket(process.argv[2])
websocket.onopen = () => { console.log('open'); process.exit(0) }
websocket.onerror = () => console.log('error')
websocket.onclose = (event) => { console.log('close', event.code); process.exit(0) }
setTimeout(() => process.exit(1), 15_000)
JAVASCRIPT

timeout 90 venv/bin/python - <<'PYTHON'
import base64
import hashlib
import os
import socket
import ssl
import subprocess
import threading

import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from h2.settings import SettingCodes, Settings

NODE = "node_modules/node/bin/node"
authority = trustme.CA()
authority.cert_pem.write_to_path("authority.pem")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("localhost").configure_cert(context)
context.set_alpn_protocols(["h2", "http/1.1"])


def serve(connection, requests, *, answer_key):
    """Accept extended CONNECT, with or without an answer to the key."""
    with context.wrap_socket(connection, server_side=True) as tls:
        if tls.selected_alpn_protocol() != "h2":
            requests.append("a request over HTTP/1.1")
            return
        h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        h2.local_settings = Settings(client=False, initial_values={SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        h2.initiate_connection()
        while True:
            tls.sendall(h2.data_to_send())
            data = tls.recv(65536)
            if not data:
                return
            for event in h2.receive_data(data):
                if isinstance(event, RequestReceived):
                    fields = dict(event.headers)
                    key = fields.get("sec-websocket-key")
                    requests.append(f"{fields[':method']} {fields[':protocol']}, with a key: {key is not None}")
                    response = [(":status", "200")]
                    if answer_key:
                        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
                        response.append(("sec-websocket-accept", base64.b64encode(digest).decode()))
                    h2.send_headers(event.stream_id, response)


def accept(listener, requests, options):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, requests), kwargs=options, daemon=True).start()


def connect(*, answer_key):
    requests = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = {"answer_key": answer_key}
        threading.Thread(target=accept, args=(listener, requests, options), daemon=True).start()
        client = subprocess.run(
            [NODE, "--no-warnings", "client.js", f"wss://localhost:{listener.getsockname()[1]}/"],
            env={**os.environ, "NODE_EXTRA_CA_CERTS": "authority.pem"},
            capture_output=True, text=True, timeout=30, check=True,
        )
    print(f"the server answers the key: {answer_key}; it got {requests}; Node says {client.stdout.split()}")
    return requests, client.stdout.split()


ask = "`${process.version}, undici ${process.versions.undici}`"
print("Node", subprocess.run([NODE, "-p", ask], capture_output=True, text=True, timeout=30).stdout.strip())
once = ["CONNECT websocket, with a key: True"]
assert connect(answer_key=False) == (once, ["error", "close", "1006"])
assert connect(answer_key=True) == (once, ["open"])
PYTHON
