#!/usr/bin/env bash
# Surprise: OkHttp ends a WebSocket by itself, cleanly, when more than 16 MiB would wait to be sent. A message of 16 MiB
# and a byte is never sent, even as the first of an idle connection, nor is the second of two that are over 8 MiB each.
# There is no exception and no onFailure: send() returns false, the server gets a Close with 1001, as from a page that
# is left, and the application a normal onClosed. The limit is no option.
# Versions: OkHttp 5.5.1 on Java 17, websockets 17.4.
# Source: the documentation of okhttp3.WebSocket.send (messages that would overflow the buffer are rejected and trigger
# a graceful shutdown); MAX_QUEUE_SIZE and CLOSE_CLIENT_GOING_AWAY of okhttp3.internal.ws.RealWebSocket.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check websockets==17.4
cat > pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>com.squareup.okhttp3</groupId>
      <artifactId>okhttp-jvm</artifactId>
      <version>5.5.1</version>
    </dependency>
  </dependencies>
</project>
XML
timeout 500 mvn --batch-mode --quiet -Dstyle.color=never -Dmaven.repo.local="$folder/repository" \
    dependency:copy-dependencies -DoutputDirectory="$folder/libraries"
cat > Client.java <<'JAVA'
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;
import okio.ByteString;

/** Sends a message of each size given, in turn, and prints what send() returns and how the WebSocket ends. */
public class Client {
    public static void main(String[] arguments) throws InterruptedException {
        CountDownLatch ended = new CountDownLatch(1);
        List<ByteString> messages = new ArrayList<>();
        for (int index = 1; index < arguments.length; index++) {
            messages.add(ByteString.of(new byte[Integer.parseInt(arguments[index])]));
        }
        Request request = new Request.Builder().url("ws://127.0.0.1:" + arguments[0] + "/").build();
        new OkHttpClient().newWebSocket(request, new WebSocketListener() {
            @Override
            public void onOpen(WebSocket websocket, Response response) {
                for (ByteString message : messages) {
                    System.out.print("send: " + websocket.send(message) + "; ");
                }
            }

            @Override
            public void onMessage(WebSocket websocket, String message) {
                websocket.close(1000, null);
            }

            @Override
            public void onClosed(WebSocket websocket, int code, String reason) {
                System.out.print("onClosed " + code);
                ended.countDown();
            }

            @Override
            public void onFailure(WebSocket websocket, Throwable error, Response response) {
                System.out.print("onFailure " + error);
                ended.countDown();
            }
        });
        System.exit(ended.await(20, TimeUnit.SECONDS) ? 0 : 1);
    }
}
JAVA

ls libraries | grep okhttp
timeout 120 venv/bin/python - <<'PYTHON'
import queue
import subprocess
import threading

import websockets.sync.server

LIMIT = 16 * 1024 * 1024
ends = queue.Queue()


def serve(connection):
    """Receive to the end; say so after a message of 16 MiB."""
    sizes = []
    for message in connection:
        sizes.append(len(message))
        if len(message) == LIMIT:
            connection.send("got it")
    ends.put((sizes, connection.close_code))


def run(port, *sizes):
    command = ["java", "-cp", "libraries/*", "Client.java", str(port), *map(str, sizes)]
    client = subprocess.run(command, capture_output=True, text=True, timeout=40, check=True)
    received, code = ends.get(timeout=10)
    print(f"messages of {sizes} bytes: {client.stdout}; the server got {received} and a Close with {int(code)}")
    return client.stdout, received, int(code)


with websockets.sync.server.serve(serve, "127.0.0.1", 0, compression=None, max_size=None) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.socket.getsockname()[1]
    assert run(port, LIMIT) == ("send: true; onClosed 1000", [LIMIT], 1000)
    assert run(port, LIMIT + 1) == ("send: false; onClosed 1001", [], 1001)
    told, _, code = run(port, LIMIT // 2 + 1, LIMIT // 2 + 1)
    assert told.startswith("send: true; send: false; onClosed 1001") and code == 1001
    server.shutdown()
PYTHON
