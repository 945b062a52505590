#!/usr/bin/env bash
# Surprise: Jetty announces WebSockets over HTTP/2 and takes that back when the client's SETTINGS have
# ENABLE_CONNECT_PROTOCOL = 0, which is the default, without a meaning from a client, and what h2, the HTTP/2 library of
# Python, sends by itself. The announcement stands, HTTP/1.1 and ordinary requests work, and each WebSocket of that
# connection is reset with PROTOCOL_ERROR, without an answer. A client that leaves the setting out is served, and so is
# one that sends 1. Hypercorn serves all three.
# Versions: Jetty 12.1.14 on Java 17, h2 4.4.1, Hypercorn 0.18.0.
# Source: RFC 8441, section 3 (a server that gets the parameter is not to do anything about it); Jetty's HTTP2Session,
# whose onSettings puts the peer's value where HTTP2ServerSession.onHeaders looks for its own; Settings of h2, whose
# default for every peer has ENABLE_CONNECT_PROTOCOL = 0 and goes into the first frame.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check h2==4.4.1 hypercorn==0.18.0
cat > pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.eclipse.jetty.http2</groupId>
      <artifactId>jetty-http2-server</artifactId>
      <version>12.1.14</version>
    </dependency>
    <dependency>
      <groupId>org.eclipse.jetty.websocket</groupId>
      <artifactId>jetty-websocket-jetty-server</artifactId>
      <version>12.1.14</version>
    </dependency>
  </dependencies>
</project>
XML
timeout 500 mvn --batch-mode --quiet -Dstyle.color=never -Dmaven.repo.local="$folder/repository" \
    dependency:copy-dependencies -DoutputDirectory="$folder/libraries"
cat > Echo.java <<'JAVA'
import org.eclipse.jetty.http2.server.HTTP2CServerConnectionFactory;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.websocket.api.Callback;
import org.eclipse.jetty.websocket.api.Session;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

/** Echoes texts, over both versions of HTTP, on a free port, which is printed. */
public class Echo {
    public static class Endpoint extends Session.Listener.AbstractAutoDemanding {
        @Override
        public void onWebSocketText(String message) {
            getSession().sendText(message, Callback.NOOP);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Server server = new Server();
        HttpConfiguration configuration = new HttpConfiguration();
        ServerConnector connector = new ServerConnector(
            server, new HttpConnectionFactory(configuration), new HTTP2CServerConnectionFactory(configuration));
        connector.setHost("127.0.0.1");
        server.addConnector(connector);
        server.setHandler(WebSocketUpgradeHandler.from(server, container ->
            container.addMapping("/", (request, response, callback) -> new Endpoint())));
        server.start();
        System.out.println(connector.getLocalPort());
    }
}
JAVA
cat > app.py <<'PYTHON'
async def app(scope, receive, send):
    """Echo texts."""
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
PYTHON

ls libraries | grep jetty-http2-server
timeout 120 venv/bin/python - <<'PYTHON'
import importlib.metadata
import socket
import subprocess
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived, StreamReset
from h2.settings import SettingCodes, Settings

ANNOUNCED = SettingCodes.ENABLE_CONNECT_PROTOCOL
HELLO = b"\x81\x85mask" + bytes(byte ^ key for byte, key in zip(b"hello", b"maskm"))
ECHO = b"\x81\x05hello"


class WithoutSetting(H2Connection):
    """A client that leaves the setting out."""

    def initiate_connection(self):
        del self.local_settings[ANNOUNCED]
        super().initiate_connection()


class WithSetting(H2Connection):
    """A client that sends 1."""

    def initiate_connection(self):
        self.local_settings = Settings(client=True, initial_values={ANNOUNCED: 1})
        super().initiate_connection()


CLIENTS = {"0, as h2 does": H2Connection, "none": WithoutSetting, "1": WithSetting}
RESET = "announced, then reset with PROTOCOL_ERROR"
EXPECTED = {
    "Jetty": {"0, as h2 does": RESET, "none": "echoed", "1": "echoed"},
    "Hypercorn": dict.fromkeys(CLIENTS, "echoed"),
}


def connect(port):
    end = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def ask(port, kind):
    """Open a WebSocket over HTTP/2, send a text, and give what becomes of it."""
    http = kind(H2Configuration(header_encoding="utf-8"))
    http.initiate_connection()
    # What goes out in the first SETTINGS, after the 24 bytes of the preface: pairs of a code and a value.
    first = http.data_to_send()
    payload = first[33 : 33 + int.from_bytes(first[24:27], "big")]
    pairs = {payload[at : at + 2]: int.from_bytes(payload[at + 2 : at + 6], "big") for at in range(0, len(payload), 6)}
    sent = pairs.get(int(ANNOUNCED).to_bytes(2, "big"))
    assert sent == {H2Connection: 0, WithoutSetting: None, WithSetting: 1}[kind], sent
    data, asked = b"", False
    with connect(port) as client:
        client.sendall(first)
        while True:
            received = client.recv(65536)
            assert received, "the server has ended the connection"
            for event in http.receive_data(received):
                if isinstance(event, RemoteSettingsChanged) and not asked:
                    assert http.remote_settings[ANNOUNCED] == 1, "WebSockets are not announced"
                    asked = True
                    fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": "/"}
                    fields |= {":authority": f"127.0.0.1:{port}", "sec-websocket-version": "13"}
                    http.send_headers(1, fields.items())
                elif isinstance(event, StreamReset):
                    return f"announced, then reset with {event.error_code.name}"
                elif isinstance(event, ResponseReceived):
                    assert dict(event.headers)[":status"] == "200", event.headers
                    http.send_data(1, HELLO)
                elif isinstance(event, DataReceived):
                    data += event.data
                    if data == ECHO:
                        return "echoed"
            client.sendall(http.data_to_send())


def run(name, command, port=None):
    with open("log", "w") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server:
        try:
            port = port or int(server.stdout.readline())
            found = {sent: ask(port, kind) for sent, kind in CLIENTS.items()}
        finally:
            server.terminate()
    for sent, outcome in found.items():
        print(f"{name}: the client's ENABLE_CONNECT_PROTOCOL: {sent}: the WebSocket is {outcome}")
    assert found == EXPECTED[name], "the finding has changed"


with socket.create_server(("127.0.0.1", 0)) as listener:
    free_port = listener.getsockname()[1]
print("h2", importlib.metadata.version("h2"), "Hypercorn", importlib.metadata.version("hypercorn"))
run("Hypercorn", ["venv/bin/hypercorn", "--log-level=ERROR", f"--bind=127.0.0.1:{free_port}", "app:app"], free_port)
run("Jetty", ["java", "-cp", "libraries/*", "Echo.java"])
PYTHON
