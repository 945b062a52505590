#!/usr/bin/env bash
# Surprise: one `new WebSocket("wss://...")` in Deno is two requests where the first is refused. Deno asks over
# HTTP/1.1, and after a failure, be it a plain 401, opens a second connection and asks again by CONNECT over HTTP/2. A
# server counts two failed logins for each, and locks out in half the tries. And if the server has no HTTP/2, the error
# is that of the second try: the application reads of a missing ALPN instead of the 401 that was its answer.
# Versions: Deno 2.9.6 (npm's deno 2.9.6), h2 4.4.1.
# Source: Deno's pull request 21040 made HTTP/2 what it falls back to if HTTP/1.1 fails; that a refusal is a failure
# in that sense is observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
timeout 500 npm install --silent --no-audit --no-fund deno@2.9.6
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check h2==4.4.1 trustme==1.2.1

cat > client.js <<'JAVASCRIPT'
const websocket = new WebSocket(Deno.args[0])
websocket.onerror = (event) => console.log(event.message)
websocket.onclose = () => Deno.exit(0)
setTimeout(() => Deno.exit(1), 15_000)
JAVASCRIPT

export DENO_DIR="$folder/deno" DENO_NO_UPDATE_CHECK=1
timeout 90 venv/bin/python - <<'PYTHON'
import socket
import ssl
import subprocess
import threading

import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from h2.settings import SettingCodes, Settings

DENO = "node_modules/.bin/deno"
authority = trustme.CA()
authority.cert_pem.write_to_path("authority.pem")
certificate = authority.issue_cert("localhost")


def refuse(connection, context, requests):
    """Answer a request with 401, over the HTTP that the client has chosen."""
    try:
        with context.wrap_socket(connection, server_side=True) as tls:
            if tls.selected_alpn_protocol() == "h2":
                refuse_h2(tls, requests)
            elif head := tls.recv(8192):
                requests.append(head.split(b"\r\n")[0].decode())
                tls.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    except OSError:
        pass  # the client went away


def refuse_h2(tls, requests):
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
                requests.append(f"{dict(event.headers)[':method']} / HTTP/2")
                h2.send_headers(event.stream_id, [(":status", "401")], end_stream=True)


def accept(listener, context, requests):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=refuse, args=(connection, context, requests), daemon=True).start()


def connect(*protocols):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols(protocols)
    requests = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener, context, requests), daemon=True).start()
        url = f"wss://localhost:{listener.getsockname()[1]}/"
        client = subprocess.run(
            [DENO, "run", "--no-config", "--allow-net", "--cert", "authority.pem", "client.js", url],
            capture_output=True, text=True, timeout=30, check=True,
        )
    print(f"one WebSocket to a server with {', '.join(protocols)}; requests that it refused with 401: {requests}")
    print("  the application is told:", client.stdout.strip())
    return requests, client.stdout


print(subprocess.run([DENO, "--version"], capture_output=True, text=True, timeout=30).stdout.split(" (")[0])
requests, told = connect("h2", "http/1.1")
assert requests == ["GET / HTTP/1.1", "CONNECT / HTTP/2"] and "401" in told
requests, told = connect("http/1.1")
assert requests == ["GET / HTTP/1.1"] and "401" not in told and "alpn" in told
PYTHON
