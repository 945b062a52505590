"""An echo server without asyncio: blocking sockets, a thread for each, HTTP/1.1 and HTTP/2. `python examples/threads.py [PORT]`."""

import argparse
import socket
import sys
import threading
from typing import Any

from mintws import Binary, Close, Connection, Failed, Http1, Http2, Role, Text, UpgradeAccept, UpgradeRequest
from mintws.events import Response

#: What a client that speaks HTTP/2 without TLS begins with (RFC 9113 §3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def serve(sock: socket.socket) -> None:
    """Serve one client."""
    with sock:
        sock.settimeout(60)
        start = sock.recv(len(PREFACE), socket.MSG_PEEK | socket.MSG_WAITALL)
        http = Http2(Role.SERVER) if start == PREFACE else Http1(Role.SERVER)
        sock.sendall(http.start())
        while not http.done:
            data = sock.recv(65536)
            received = http.receive(data)
            while any(received):
                events, reply = received
                sock.sendall(reply + b"".join(answer(http, connection, event) for connection, event in events))
                received = http.proceed()  # what had to wait for these answers
            if not data:
                break


def answer(http: Any, connection: Connection | None, event: Any) -> bytes:
    """Give the bytes that answer an event."""
    match event:
        case UpgradeRequest() if connection is not None:
            return connection.send(UpgradeAccept())
        case Text() | Binary() | Close() | Failed() if connection is not None:
            return connection.send(event)
        case _ if connection is None and (request := http.collect(event)) is not None:
            return http.respond(request, Response(404))  # type: ignore[no-any-return]
    return b""


def attempt(sock: socket.socket) -> None:
    """Serve one client, whose connection may be lost."""
    try:
        serve(sock)
    except OSError as error:
        print("lost:", error, file=sys.stderr)


def main(port: int) -> None:
    """Serve until Ctrl-C."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        print(f"ws://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        while True:
            threading.Thread(target=attempt, args=listener.accept()[:1], daemon=True).start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, nargs="?", default=8765)
    given = parser.parse_args()
    try:
        main(given.port)
    except (OSError, OverflowError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
