"""The driver for threads beside a bare loop of blocking sockets, and beside other libraries: `python benches/sync.py [--rounds N]`.

CPU of one process for a message that it sends and gets back, in µs, the minimum of interleaved rounds. The other end is native. The bare
loop sends frames that were made before, and only counts the bytes that come back. With several in flight it writes all that it has for what
came together with one system call, as mintws does in a `batch`; without one, each `send` is a system call.

    python benches/sync.py --case NAME --part clients|servers --in-flight N --count N [--port PORT]    one case in this process
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import measure

MESSAGE = "x" * 32
#: A masked frame with the message, and one without a mask.
MASKED = bytes([0x81, 0x80 | 32, 0, 0, 0, 0]) + MESSAGE.encode()
PLAIN = bytes([0x81, 32]) + MESSAGE.encode()

#: What was aimed at: mintws divided by each of these, with one message in flight and with 64.
TARGETS = {"bare loop": (1.15, 1.7), "websocket-client": (0.5, 0.5), "websockets": (0.4, 0.4)}
COUNTS = {1: 20_000, 64: 200_000}


def exchange(send: Callable[[Any], Any], recv: Callable[[], Any], in_flight: int, count: int) -> None:
    """Send messages and receive them back, so many in flight."""
    for _ in range(in_flight):
        send(MESSAGE)
    for _ in range(count - in_flight):
        recv()
        send(MESSAGE)
    for _ in range(in_flight):
        recv()


class Client:
    """A client of a library, connected."""

    def __init__(self, port: int) -> None:
        self.url = f"ws://127.0.0.1:{port}/"

    def run(self, in_flight: int, count: int) -> None:
        raise NotImplementedError


class Bare(Client):
    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.sock.recv(1)

    def run(self, in_flight: int, count: int) -> None:
        frames = [MASKED * number for number in range(in_flight + 1)]
        sock = self.sock
        sock.sendall(frames[in_flight])
        left, sent, rest = count, in_flight, 0
        while left:
            number, rest = divmod(rest + len(sock.recv(65536)), len(PLAIN))
            left -= number
            number = min(number, count - sent)
            if number:
                sent += number
                sock.sendall(frames[number])


class Mintws(Client):
    def __init__(self, port: int) -> None:
        from mintws.sync import connect

        super().__init__(port)
        self.websocket = connect(self.url, extensions=()).open()

    def run(self, in_flight: int, count: int) -> None:
        exchange(self.websocket.send, self.websocket.recv, in_flight, count)


class MintwsBatch(Mintws):
    """As `Mintws`, but what is sent is written when there is nothing to receive."""

    def run(self, in_flight: int, count: int) -> None:
        with self.websocket.batch():
            super().run(in_flight, count)


class WebSocketClient(Client):
    def __init__(self, port: int) -> None:
        import websocket

        super().__init__(port)
        self.websocket = websocket.create_connection(self.url)

    def run(self, in_flight: int, count: int) -> None:
        exchange(self.websocket.send, self.websocket.recv, in_flight, count)


class Websockets(Client):
    def __init__(self, port: int) -> None:
        from websockets.sync.client import connect

        super().__init__(port)
        self.websocket = connect(self.url, compression=None, proxy=None).__enter__()

    def run(self, in_flight: int, count: int) -> None:
        exchange(self.websocket.send, self.websocket.recv, in_flight, count)


CLIENTS = {
    "bare loop": Bare,
    "mintws": Mintws,
    "mintws, batch": MintwsBatch,
    "websocket-client": WebSocketClient,
    "websockets": Websockets,
}


def serve_bare() -> int:
    """Send bytes back as they came: the load sends frames that are not masked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(sock: socket.socket) -> None:
        import hashlib

        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = sock.recv(65536)
        key = next(it for it in head.split(b"\r\n") if it.lower().startswith(b"sec-websocket-key:")).split(b":")[1]
        accept = base64.b64encode(hashlib.sha1(key.strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        while data := sock.recv(65536):
            sock.sendall(data)

    def accept() -> None:
        while True:
            threading.Thread(target=talk, args=listener.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def serve_mintws(batch: bool = False) -> int:
    from mintws.sync import serve

    def echo(websocket: Any) -> None:
        with websocket.batch() if batch else contextlib.nullcontext():
            for message in websocket:
                websocket.send(message)

    return serve(echo, "127.0.0.1", 0, extensions=()).listen().port


def serve_websockets() -> int:
    from websockets.sync.server import serve

    def echo(websocket: Any) -> None:
        for message in websocket:
            websocket.send(message)

    server = serve(echo, "127.0.0.1", 0, compression=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.socket.getsockname()[1])


SERVERS = {
    "bare loop": serve_bare,
    "mintws": serve_mintws,
    "mintws, batch": partial(serve_mintws, batch=True),
    "mintws, HTTP/2": serve_mintws,
    "websockets": serve_websockets,
}


def client_case(name: str, port: int, in_flight: int, count: int) -> None:
    """Run a client in this process and print the µs of CPU for a message."""
    client = CLIENTS[name](port)
    client.run(in_flight, count // 10)
    before = time.process_time()
    client.run(in_flight, count)
    print((time.process_time() - before) / count * 1e6, flush=True)
    os._exit(0)


def measure_client(name: str, port: int, in_flight: int, count: int) -> float:
    words = ["sync.py", "--case", name, "--part", "clients", "--port", str(port)]
    words += ["--in-flight", str(in_flight), "--count", str(count)]
    with measure.process(*measure.python(*words), core=measure.CORES[0]) as running:
        said, _ = running.communicate(timeout=120)
    return float(said)


def measure_server(name: str, load: str, in_flight: int, count: int) -> float:
    with measure.process(
        *measure.python("sync.py", "--case", name, "--part", "servers"), core=measure.CORES[0]
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        words = ["--address", f"127.0.0.1:{port}", "--in-flight", str(in_flight), "--size", "32"]
        words += ["--count", str(count), "--warm", str(count // 10), "--wait", "--hold"]
        if name == "bare loop":
            words.append("--raw")
        if name.endswith("HTTP/2"):
            words += ["--http", "2"]
        with measure.process(load, "echo", *words, core=measure.CORES[-1], stdin=True) as client:
            assert client.stdout is not None and client.stdin is not None
            assert client.stdout.readline().strip() == "ready"
            before = measure.cpu_seconds(server.pid)
            client.stdin.write("\n")
            client.stdin.flush()
            client.stdout.readline()
            spent = measure.cpu_seconds(server.pid) - before
            client.stdin.close()
    return spent / count * 1e6


def run(rounds: int, parts: list[str], scale: float) -> list[dict[str, Any]]:
    """Measure and print, and return a row for each part and number in flight."""
    load = str(measure.build_load() / "mintws-load")
    rows: list[dict[str, Any]] = []
    with measure.process(load, "serve", "--address", "127.0.0.1:0", core=measure.CORES[-1]) as echo:
        assert echo.stdout is not None
        port = int(echo.stdout.readline())
        for part in parts:
            for which, in_flight in enumerate(COUNTS):
                count = int(COUNTS[in_flight] * scale)
                cases: dict[str, Callable[[], float]] = {}
                for name in CLIENTS if part == "clients" else SERVERS:
                    ours = name == "bare loop" or name.startswith("mintws")
                    if not ours and not measure.installed(name):
                        continue
                    few = count if ours else count // (4 if in_flight > 1 else 2)
                    if part == "clients":
                        cases[name] = partial(measure_client, name, port, in_flight, few)
                    else:
                        cases[name] = partial(measure_server, name, load, in_flight, few)
                results = measure.interleave(cases, rounds)
                cpu = {name: {key: round(value, 3) for key, value in it.items()} for name, it in results.items()}
                rows.append({"part": part, "in_flight": in_flight, "cpu_us": cpu})
                found = {name: it["min"] for name, it in results.items()}
                print(
                    f"\n{part}, 32 B, {in_flight} in flight: "
                    + ", ".join(f"{name} {cost:.2f} us" for name, cost in found.items())
                )
                for name, targets in TARGETS.items():
                    if name in found:
                        ratio, batch = (found[it] / found[name] for it in ("mintws", "mintws, batch"))
                        print(
                            f"  mintws / {name}: {ratio:.2f}, by batch {batch:.2f} (aim: {targets[which]})", flush=True
                        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="how many messages, beside the usual")
    parser.add_argument("--part", choices=["clients", "servers"])
    parser.add_argument("--case")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--count", type=int, default=0)
    args = parser.parse_args()
    if args.case is None:
        run(args.rounds, [args.part] if args.part else ["clients", "servers"], args.scale)
    elif args.part == "clients":
        client_case(args.case, args.port, args.in_flight, args.count)
    else:
        print(SERVERS[args.case](), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
