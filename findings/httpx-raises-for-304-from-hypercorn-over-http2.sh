#!/usr/bin/env bash
# Surprise: a conditional request by httpx that is answered 304 Not Modified by an application under Hypercorn raises
# over HTTP/2, where it returns the response over HTTP/1.1: "Expected 6 bytes, received 0". It takes both: Hypercorn ends
# each response by an empty DATA frame, and h2, as a client, holds a 304 to its Content-Length, as if there were a body to
# come. That header is allowed there (RFC 9110, section 8.6), for the length of what is not sent (RFC 9113, section
# 8.1.1). For HEAD h2 makes the exception that it lacks for 304. If head and end come apart, what is raised is h2's own
# InvalidBodyLengthError, which `except httpx.HTTPError` does not catch; if they come together, it is httpx's
# LocalProtocolError, although nothing local was wrong.
# Versions: httpx 0.28.1 with httpcore, h2 4.4.1, Hypercorn 0.18.0.
# Source: h2/stream.py, `_initialize_content_length` and `_track_content_length`; hypercorn/protocol/h2.py.
set -euo pipefail

folder=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        timeout 10 tail --pid="$server" -f /dev/null || kill -KILL "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install 'httpx[http2]==0.28.1' h2==4.4.1 hypercorn==0.18.0

cat > app.py <<'PYTHON'
async def app(scope, receive, send):
    """Serve one resource, which a client may have already."""
    if scope["type"] != "http":
        return
    known = dict(scope["headers"]).get(b"if-none-match") == b'"1"'
    headers = [(b"etag", b'"1"'), (b"content-length", b"6")]
    await send({"type": "http.response.start", "status": 304 if known else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if known or scope["method"] == "HEAD" else b"hello\n"})
PYTHON
port=$(venv/bin/python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/hypercorn --bind "127.0.0.1:$port" app:app 2> log &
server=$!
for _ in $(seq 100); do grep -qs Running log && break; sleep 0.1; done

timeout 60 venv/bin/python - "$port" <<'PYTHON'
import sys
from importlib.metadata import version

import httpx

URL = f"http://127.0.0.1:{sys.argv[1]}/"
KNOWN = {"If-None-Match": '"1"'}
print(*(f"{name} {version(name)}" for name in ("httpx", "httpcore", "h2", "hypercorn")))


def ask(client, method, headers):
    """Give the status, or what is raised."""
    try:
        return str(client.request(method, URL, headers=headers, timeout=10).status_code)
    except Exception as error:
        kinds.add(f"{type(error).__module__}.{type(error).__name__}")
        return str(error).removeprefix("InvalidBodyLengthError: ")


kinds = set()
results = {}
for name, version_of in (("HTTP/1.1", {"http1": True}), ("HTTP/2", {"http1": False, "http2": True})):
    with httpx.Client(**version_of) as client:
        results[name] = [ask(client, "GET", {}), ask(client, "HEAD", {}), ask(client, "GET", KNOWN), ask(client, "GET", {})]
    print(f"{name:10}GET {results[name][0]}; HEAD {results[name][1]}; GET if changed: {results[name][2]}; GET {results[name][3]}")
print("raised:", *sorted(kinds))
wanted = {
    "HTTP/1.1": ["200", "200", "304", "200"],
    "HTTP/2": ["200", "200", "Expected 6 bytes, received 0", "200"],
}
allowed = {"h2.exceptions.InvalidBodyLengthError", "httpx.LocalProtocolError"}
sys.exit(0 if results == wanted and kinds <= allowed else 1)
PYTHON
