#!/usr/bin/env bash
# Surprise: what ends a Jakarta WebSocket endpoint, and what both ends are told, depends on the container. After an
# exception in @OnMessage, Tomcat, Undertow and Tyrus go on with the next message, and Jetty closes with 1003,
# "unsupported data". After one in @OnOpen, Undertow and Tyrus hand messages to the endpoint that has not been opened,
# Jetty closes with 1011, and Tomcat with 1002, a protocol error. A client that is idle too long gets 1001 from three,
# and from Tyrus 1000, as if all were done, while the endpoint is told 1006 by all but Jetty. A Close without a code is
# told, and answered, as 1000 by all but Jetty. And after close(4001), which a client answers with 4002, @OnClose is
# told 4001 by all but Jetty, which waits for the answer.
# Versions: Tomcat 11.0.27, Jetty 12.1.14, Undertow 2.3.24, Tyrus 2.2.0 with Grizzly 4.0.2, on Java 17.
# Source: Jakarta WebSocket 2.2, section 5.2.2 (an exception of an endpoint goes to @OnError; what becomes of the
# connection is not said) and the documentation of CloseReason.CloseCodes.NO_STATUS_CODE (1005); RFC 6455, section
# 7.1.5 (1005 is a Close without a code); the rest is observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>jakarta.servlet</groupId>
      <artifactId>jakarta.servlet-api</artifactId>
      <version>6.1.0</version>
    </dependency>
    <dependency>
      <groupId>org.apache.tomcat.embed</groupId>
      <artifactId>tomcat-embed-websocket</artifactId>
      <version>11.0.27</version>
    </dependency>
    <dependency>
      <groupId>org.eclipse.jetty.ee11.websocket</groupId>
      <artifactId>jetty-ee11-websocket-jakarta-server</artifactId>
      <version>12.1.14</version>
    </dependency>
    <dependency>
      <groupId>io.undertow</groupId>
      <artifactId>undertow-websockets-jsr</artifactId>
      <version>2.3.24.Final</version>
    </dependency>
    <dependency>
      <groupId>org.glassfish.tyrus</groupId>
      <artifactId>tyrus-container-grizzly-server</artifactId>
      <version>2.2.0</version>
    </dependency>
  </dependencies>
</project>
XML
timeout 500 mvn --batch-mode --quiet -Dstyle.color=never -Dmaven.repo.local="$folder/repository" \
    dependency:copy-dependencies -DoutputDirectory="$folder/libraries"

cat > Endpoints.java <<'JAVA'
import jakarta.websocket.CloseReason;
import jakarta.websocket.OnClose;
import jakarta.websocket.OnError;
import jakarta.websocket.OnMessage;
import jakarta.websocket.OnOpen;
import jakarta.websocket.Session;
import jakarta.websocket.server.PathParam;
import jakarta.websocket.server.ServerEndpoint;

/** One endpoint, whose path says what it does. */
@ServerEndpoint("/{deed}")
public class Endpoints {
    @OnOpen
    public void open(Session session, @PathParam("deed") String deed) {
        if (deed.equals("open")) {
            throw new IllegalStateException("not here");
        }
        if (deed.equals("idle")) {
            session.setMaxIdleTimeout(1000);
        }
    }

    @OnMessage
    public String message(String message, Session session, @PathParam("deed") String deed) throws Exception {
        if (message.equals("throw")) {
            throw new IllegalStateException("not here");
        }
        if (message.equals("close")) {
            session.close(new CloseReason(CloseReason.CloseCodes.getCloseCode(4001), "done"));
            return null;
        }
        return message;
    }

    @OnError
    public void error(Throwable error) {
    }

    @OnClose
    public void close(CloseReason reason) {
        System.out.println(reason.getCloseCode().getCode());
    }
}
JAVA
mkdir tomcat jetty undertow tyrus
cat > tomcat/Main.java <<'JAVA'
import java.util.Set;
import org.apache.catalina.Context;
import org.apache.catalina.servlets.DefaultServlet;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.websocket.server.WsSci;

public class Main {
    public static void main(String[] arguments) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir("tomcat");
        tomcat.setPort(Integer.parseInt(arguments[0]));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        Context context = tomcat.addContext("", null);
        Tomcat.addServlet(context, "default", new DefaultServlet());
        context.addServletMappingDecoded("/", "default");
        context.addServletContainerInitializer(new WsSci(), Set.of(Endpoints.class));
        tomcat.start();
        System.out.println("started");
    }
}
JAVA
cat > jetty/Main.java <<'JAVA'
import org.eclipse.jetty.ee11.servlet.ServletContextHandler;
import org.eclipse.jetty.ee11.websocket.jakarta.server.config.JakartaWebSocketServletContainerInitializer;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

public class Main {
    public static void main(String[] arguments) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(arguments[0]));
        server.addConnector(connector);
        ServletContextHandler handler = new ServletContextHandler("/");
        server.setHandler(handler);
        JakartaWebSocketServletContainerInitializer.configure(
            handler, (context, container) -> container.addEndpoint(Endpoints.class));
        server.start();
        System.out.println("started");
    }
}
JAVA
cat > undertow/Main.java <<'JAVA'
import io.undertow.Undertow;
import io.undertow.servlet.Servlets;
import io.undertow.servlet.api.DeploymentInfo;
import io.undertow.servlet.api.DeploymentManager;
import io.undertow.websockets.jsr.WebSocketDeploymentInfo;

public class Main {
    public static void main(String[] arguments) throws Exception {
        DeploymentInfo deployment = Servlets.deployment()
            .setClassLoader(Main.class.getClassLoader())
            .setContextPath("/")
            .setDeploymentName("finding")
            .addServletContextAttribute(
                WebSocketDeploymentInfo.ATTRIBUTE_NAME, new WebSocketDeploymentInfo().addEndpoint(Endpoints.class));
        DeploymentManager manager = Servlets.defaultContainer().addDeployment(deployment);
        manager.deploy();
        Undertow.builder()
            .addHttpListener(Integer.parseInt(arguments[0]), "127.0.0.1")
            .setHandler(manager.start())
            .build()
            .start();
        System.out.println("started");
    }
}
JAVA
cat > tyrus/Main.java <<'JAVA'
import org.glassfish.tyrus.server.Server;

public class Main {
    public static void main(String[] arguments) throws Exception {
        new Server("127.0.0.1", Integer.parseInt(arguments[0]), "/", null, Endpoints.class).start();
        System.out.println("started");
        Thread.currentThread().join();
    }
}
JAVA

timeout 240 python3 - <<'PYTHON'
import glob
import os
import pathlib
import queue
import re
import socket
import subprocess
import threading
import time

PATIENCE = 20
CLOSE = 0x88
COMMON = ("jakarta.*", "slf4j-*", "asm*")
CONTAINERS = {
    "Tomcat": ("tomcat-embed-core", "tomcat-*"),
    "Jetty": ("jetty-server", "jetty-*", *COMMON),
    "Undertow": ("undertow-core", "undertow-*", "xnio-*", "jboss-*", "wildfly-*", "smallrye-*", *COMMON),
    "Tyrus": ("tyrus-server", "tyrus-*", "grizzly-*", *COMMON),
}
# What the client gets after each deed, and where that is of interest, the code that @OnClose is told.
EXPECTED = {
    "Tomcat": {
        "an exception in @OnMessage": "goes on",
        "an exception in @OnOpen": "closed with 1002",
        "an idle client": (1001, 1006),
        "a Close without a code": (1000, 1000),
        "close(4001), answered with 4002": (4001, 4001),
    },
    "Jetty": {
        "an exception in @OnMessage": "closed with 1003",
        "an exception in @OnOpen": "closed with 1011",
        "an idle client": (1001, 1001),
        "a Close without a code": (None, 1005),
        "close(4001), answered with 4002": (4001, 4002),
    },
    "Undertow": {
        "an exception in @OnMessage": "goes on",
        "an exception in @OnOpen": "goes on",
        "an idle client": (1001, 1006),
        "a Close without a code": (1000, 1000),
        "close(4001), answered with 4002": (4001, 4001),
    },
    "Tyrus": {
        "an exception in @OnMessage": "goes on",
        "an exception in @OnOpen": "goes on",
        "an idle client": (1000, 1006),
        "a Close without a code": (1000, 1000),
        "close(4001), answered with 4002": (4001, 4001),
    },
}


def masked(first, payload):
    key = os.urandom(4)
    return bytes([first, 0x80 | len(payload)]) + key + bytes(a ^ b for a, b in zip(payload, key * 32))


def text(message):
    return masked(0x81, message.encode())


def open_websocket(port, path):
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read(client, 1)
    assert b" 101 " in head, head
    return client


def read(client, length):
    data = b""
    while len(data) < length:
        part = client.recv(length - len(data))
        assert part, "there is no whole frame"
        data += part
    return data


def frame(client):
    """Give the first byte and the payload of a short frame."""
    first, length = read(client, 2)
    assert length <= 125
    return first, read(client, length)


def code_of(client):
    first, payload = frame(client)
    assert first == CLOSE, (first, payload)
    return int.from_bytes(payload[:2], "big") if payload else None


def answer(client, code):
    """Answer a Close, and wait for the end of TCP."""
    try:
        client.sendall(masked(CLOSE, code.to_bytes(2, "big")))
        while client.recv(4096):
            pass
    except ConnectionError:
        pass  # TCP has ended without waiting for an answer


def after_exception(port, path, message):
    """Send a message, and then another one; give whether that is echoed, or the Close."""
    with open_websocket(port, path) as client:
        client.sendall(text(message) + text("more"))
        first, payload = frame(client)
        if first == CLOSE:
            return f"closed with {int.from_bytes(payload[:2], 'big')}"
        if message == "hello":
            assert payload == b"hello"
            payload = frame(client)[1]
        assert payload == b"more"
        return "goes on"


def try_out(port, codes):
    yield "an exception in @OnMessage", after_exception(port, "/message", "throw")
    codes.get(timeout=PATIENCE)
    yield "an exception in @OnOpen", after_exception(port, "/open", "hello")
    codes.get(timeout=PATIENCE)
    with open_websocket(port, "/idle") as client:
        code = code_of(client)
        time.sleep(1)  # it does not answer, and goes
    yield "an idle client", (code, codes.get(timeout=PATIENCE))
    with open_websocket(port, "/message") as client:
        client.sendall(masked(CLOSE, b""))
        yield "a Close without a code", (code_of(client), codes.get(timeout=PATIENCE))
    with open_websocket(port, "/message") as client:
        client.sendall(text("close"))
        code = code_of(client)
        answer(client, 4002)
        yield "close(4001), answered with 4002", (code, codes.get(timeout=PATIENCE))


def run(name):
    package, *patterns = CONTAINERS[name]
    jars = sorted({jar for pattern in patterns for jar in glob.glob(f"libraries/{pattern}.jar")})
    folder = pathlib.Path(name.lower())
    classpath = ":".join([str(folder), *jars])
    sources = ["Endpoints.java", folder / "Main.java"]
    subprocess.run(["javac", "-proc:none", "-cp", classpath, "-d", folder, *sources], check=True, timeout=60)
    (version,) = {re.fullmatch(rf"libraries/{package}-(.+)\.jar", jar)[1] for jar in jars if f"/{package}-" in jar}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    codes = queue.Queue()
    command = ["java", "-cp", classpath, "Main", str(port)]
    with open("log", "w") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server:
        try:
            assert server.stdout.readline() == "started\n", pathlib.Path("log").read_text()
            reader = threading.Thread(target=lambda: [codes.put(int(line)) for line in server.stdout], daemon=True)
            reader.start()
            found = dict(try_out(port, codes))
        finally:
            server.kill()
    print(name, version)
    for deed, outcome in found.items():
        if isinstance(outcome, tuple):
            outcome = f"the client gets {outcome[0] or 'a Close without a code'}, the endpoint is told {outcome[1]}"
        print(f"    {deed}: {outcome}")
    assert found == EXPECTED[name], "the finding has changed"


for container in CONTAINERS:
    run(container)
PYTHON
