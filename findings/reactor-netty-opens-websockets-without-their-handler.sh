#!/usr/bin/env bash
# Surprise: a server of Reactor Netty that names its subprotocols opens WebSockets of clients that ask for none, or for
# others, and never calls their handler. The client has an open WebSocket, whose Pings are answered and whose Close is
# too, so that keepalive on both sides is content; its messages are read by nobody, and nothing comes. Other servers
# refuse such a client, or call the handler without a subprotocol. Without protocols() the handler is called for all. It
# is so over HTTP/1.1 and HTTP/2.
# Versions: Reactor Netty 1.3.7 on Java 17, websockets 17.4 (over HTTP/1.1), h2 4.4.1 (over HTTP/2).
# Source: HttpServerOperations.withWebsocketSupport, which leaves the handler out if protocols() is set and
# selectedSubprotocol() is null; neither WebsocketServerSpec nor HttpServerResponse.sendWebsocket says so. RFC 6455,
# section 4.2.2 (the server agrees to one, or to none).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check h2==4.4.1 websockets==17.4
cat > pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.projectreactor.netty</groupId>
      <artifactId>reactor-netty-http</artifactId>
      <version>1.3.7</version>
    </dependency>
  </dependencies>
</project>
XML
timeout 500 mvn --batch-mode --quiet -Dstyle.color=never -Dmaven.repo.local="$folder/repository" \
    dependency:copy-dependencies -DoutputDirectory="$folder/libraries"
cat > Echo.java <<'JAVA'
import org.reactivestreams.Publisher;
import reactor.netty.DisposableServer;
import reactor.netty.http.HttpProtocol;
import reactor.netty.http.server.HttpServer;
import reactor.netty.http.server.WebsocketServerSpec;
import reactor.netty.http.websocket.WebsocketInbound;
import reactor.netty.http.websocket.WebsocketOutbound;

/** Echoes texts on a free port, which is printed; /tea and /any with and without subprotocols of the server. */
public class Echo {
    static Publisher<Void> echo(WebsocketInbound inbound, WebsocketOutbound outbound) {
        return outbound.sendString(inbound.receive().asString());
    }

    public static void main(String[] arguments) {
        WebsocketServerSpec tea = WebsocketServerSpec.builder().protocols("coffee,tea").build();
        DisposableServer server = HttpServer.create()
            .host("127.0.0.1")
            .port(0)
            .protocol(HttpProtocol.HTTP11, HttpProtocol.H2C)
            .http2Settings(settings -> settings.connectProtocolEnabled(true))
            .handle((request, response) -> request.uri().equals("/tea")
                ? response.sendWebsocket(Echo::echo, tea)
                : response.sendWebsocket(Echo::echo))
            .bindNow();
        System.out.println(server.port());
        server.onDispose().block();
    }
}
JAVA

ls libraries | grep reactor-netty-http
timeout 120 venv/bin/python - <<'PYTHON'
import socket
import subprocess

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived
from h2.settings import SettingCodes
from websockets.sync.client import connect

SILENCE = 2
KEY = b"mask"
HELLO = b"\x81\x85mask" + bytes(byte ^ key for byte, key in zip(b"hello", KEY + KEY))
PING = b"\x89\x80mask"
ECHO, PONG = b"\x81\x05hello", b"\x8a\x00"


def http1(port, path, offer):
    """Give the subprotocol, the answer to a text, whether a Ping is answered, and the code of the closing handshake."""
    url = f"ws://127.0.0.1:{port}{path}"
    options = {"subprotocols": [offer]} if offer else {}
    with connect(url, compression=None, ping_interval=None, open_timeout=20, **options) as client:
        client.send("hello")
        try:
            answer = client.recv(SILENCE)
        except TimeoutError:
            answer = None
        alive = client.ping().wait(10)
        client.close(4001)
        return client.subprotocol, answer, alive, client.close_code


def http2(port, path, offer):
    """Give the subprotocol, the answer to a text, and whether a Ping is answered."""
    http = H2Connection(H2Configuration(header_encoding="utf-8"))
    http.initiate_connection()
    chosen, data, asked = None, b"", False
    with socket.create_connection(("127.0.0.1", port), timeout=SILENCE) as client:
        try:
            while True:
                client.sendall(http.data_to_send())
                received = client.recv(65536)
                assert received, "the server has ended the connection"
                for event in http.receive_data(received):
                    if isinstance(event, RemoteSettingsChanged) and not asked:
                        assert http.remote_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1, "it is not announced"
                        asked = True
                        fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": path}
                        fields |= {":authority": f"127.0.0.1:{port}", "sec-websocket-version": "13"}
                        fields |= {"sec-websocket-protocol": offer} if offer else {}
                        http.send_headers(1, fields.items())
                    elif isinstance(event, ResponseReceived):
                        head = dict(event.headers)
                        assert head[":status"] == "200", head
                        chosen = head.get("sec-websocket-protocol")
                        http.send_data(1, HELLO)
                        http.send_data(1, PING)
                    elif isinstance(event, DataReceived):
                        data += event.data
        except TimeoutError:
            return chosen, "hello" if ECHO in data else None, PONG in data


ASKED = (
    ("/any", None, None, "hello"),
    ("/tea", "tea", "tea", "hello"),
    ("/tea", None, None, None),
    ("/tea", "milk", None, None),
)
with open("log", "w") as log, subprocess.Popen(
    ["java", "-cp", "libraries/*", "Echo.java"], stdout=subprocess.PIPE, stderr=log, text=True
) as server:
    try:
        port = int(server.stdout.readline())
        for path, offer, *expected in ASKED:
            for ask in (http1, http2):
                chosen, answer, alive, *code = ask(port, path, offer)
                echoed, ponged = answer or f"no answer for {SILENCE} s", "Pong" if alive else "nothing"
                print(
                    f"{path}, {ask.__name__}, the client offers {offer}: open with {chosen}; "
                    f"to hello: {echoed}; to a Ping: {ponged}"
                )
                assert [chosen, answer] == expected and alive and code in ([], [4001]), "the finding has changed"
    finally:
        server.terminate()
PYTHON
