#!/usr/bin/env bash
# Surprise: with an HttpClient that follows redirects, Java's own WebSocket follows them too, but the second request is
# no handshake: it has the key, the version and the subprotocols, and neither Connection nor Upgrade. So a server
# answers it as a plain GET, with 426 or a page, and the exception tells of that answer and of no redirect. The same
# redirect, that of a missing slash for example, is followed to an open WebSocket by other clients.
# Versions: java.net.http of OpenJDK 17.0.15 (the Java that runs this; 25.0.3 does the same), websockets 17.4 as the
# server and as the other client.
# Source: RFC 6455, section 4.1 (both fields are required; clients may follow redirects); the documentation of
# HttpClient.Redirect; jdk.internal.net.http.HttpRequestImpl, whose newInstanceForRedirection keeps the user's headers,
# while these two are system headers.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check websockets==17.4
cat > Client.java <<'JAVA'
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** Opens a WebSocket by a client that follows redirects; prints "open" or the status of the refusal. */
public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NORMAL).build();
        try {
            client.newWebSocketBuilder()
                .buildAsync(URI.create(arguments[0]), new WebSocket.Listener() {})
                .get(20, TimeUnit.SECONDS)
                .sendClose(WebSocket.NORMAL_CLOSURE, "")
                .get(20, TimeUnit.SECONDS);
            System.out.print("open");
        } catch (ExecutionException error) {
            System.out.print(((WebSocketHandshakeException) error.getCause()).getResponse().statusCode());
        }
        System.exit(0);
    }
}
JAVA

java -version 2>&1 | head -n 1
timeout 120 venv/bin/python - <<'PYTHON'
import http
import subprocess
import threading

import websockets.sync.client
import websockets.sync.server

FIELDS = ("Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version")
requests = []


class Redirecting(websockets.sync.server.ServerConnection):
    """A connection that keeps each request's fields before they are checked, and redirects /chat to /chat/."""

    def handshake(self, process_request=None, *arguments, **options):
        super().handshake(redirect, *arguments, **options)


def redirect(connection, request):
    requests.append((request.path, [name for name in FIELDS if name in request.headers]))
    if request.path == "/chat":
        response = connection.respond(http.HTTPStatus.TEMPORARY_REDIRECT, "")
        response.headers["Location"] = "/chat/"
        return response


def with_java(url):
    client = subprocess.run(["java", "Client.java", url], capture_output=True, text=True, timeout=40, check=True)
    return client.stdout


def with_websockets(url):
    with websockets.sync.client.connect(url):
        return "open"


with websockets.sync.server.serve(list, "127.0.0.1", 0, create_connection=Redirecting) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.socket.getsockname()[1]
    for client, path, end, whole in (
        (with_java, "/chat/", "open", [True]),
        (with_websockets, "/chat", "open", [True, True]),
        (with_java, "/chat", "426", [True, False]),
    ):
        requests.clear()
        told = client(f"ws://127.0.0.1:{port}{path}")
        print(f"{client.__name__.replace('_', ' ')}: {path}: {told}; its requests and their fields:")
        for asked, names in requests:
            print(f"  {asked}: {', '.join(names)}")
        assert (told, [len(names) == len(FIELDS) for _, names in requests]) == (end, whole), "the finding has changed"
    server.shutdown()
PYTHON
