"""A hostile peer against an echo server: `python benches/hostile.py [CASE ...] [--seconds N] [--rounds N]`.

The server is `mintws.asyncio.serve` with its default arguments, in a process and on a core of its own. For each case of `TURNS` this prints
the longest turn of its loop in CPU time, which no other process of a busy machine lengthens, and the 99th percentile of the time
that 50 good clients wait for an echo of 100 bytes, alone and beside the hostile peer. For each case of `HELD` it prints what the server
holds at most, for each connection and for each byte that was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import select
import selectors
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import hpack
import measure

KIB, MIB = 1024, 1024 * 1024
GOOD_CLIENTS = 50
#: Seconds between two messages of a good client.
PAUSE = 0.05
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE, UNKNOWN = 0, 1, 4, 6, 8, 0xBB
END_HEADERS, END_STREAM = 4, 1
BINARY, PING_FRAME, PONG_FRAME = 2, 9, 10
#: The target of a WebSocket whose messages the server does not receive.
UNREAD = "/unread"
#: Of the server: of a stream and of the connection.
STREAM_WINDOW, CONNECTION_WINDOW = 256 * KIB, 65_535


# The server.


class _Selector(selectors.DefaultSelector):
    """Times the turns of a loop: what runs between two selects."""

    longest = 0.0
    began: float | None = None

    def select(self, timeout: float | None = None) -> Any:
        if self.began is not None:
            self.longest = max(self.longest, time.thread_time() - self.began)
        found = super().select(timeout)
        self.began = time.thread_time()
        return found


def serve() -> None:
    """Print the port; then, for each line that is read, the longest turn since the last one."""
    from mintws.asyncio import serve as serve_echo
    from mintws.events import Response

    selector = _Selector()
    loop = asyncio.SelectorEventLoop(selector)

    def report() -> None:
        if sys.stdin.readline():
            print(json.dumps({"longest": selector.longest}), flush=True)
            selector.longest = 0.0
        else:
            loop.stop()

    async def echo(websocket: Any) -> None:
        if websocket.request.target == UNREAD:
            await asyncio.get_running_loop().create_future()
        async for message in websocket:
            await websocket.send(message)

    async def start() -> Any:
        return await serve_echo(echo, "127.0.0.1", 0, respond=lambda request: Response(404))

    server = loop.run_until_complete(start())
    # What making a server costs, h2's import among it, is no peer's doing.
    selector.longest, selector.began = 0.0, None
    print(server.port, flush=True)
    loop.add_reader(sys.stdin, report)
    loop.run_forever()


class Served:
    """A server that runs."""

    def __init__(self, process: Any) -> None:
        self.process = process
        self.port = int(process.stdout.readline())

    def longest(self) -> float:
        """Give its longest turn, in seconds, since this was called last."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(json.loads(self.process.stdout.readline())["longest"])


@contextmanager
def served() -> Iterator[Served]:
    with measure.process(*measure.python("hostile.py", "--serve"), core=measure.CORES[0], stdin=True) as process:
        yield Served(process)


# What a peer sends.


def frame(opcode: int, payload: bytes = b"", *, rsv: int = 0, fin: bool = True) -> bytes:
    """A WebSocket frame of a client, whose masking key changes nothing."""
    size = len(payload)
    length = (
        bytes([0x80 | size])
        if size < 126
        else struct.pack("!BH" if size < 65536 else "!BQ", 0xFE | (size > 65535), size)
    )
    return bytes([fin << 7 | rsv << 4 | opcode]) + length + bytes(4) + payload


def h2_frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack("!IBI", len(payload) << 8 | kind, flags, stream) + payload


def compressed(data: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


#: 1 KiB that is 1 MiB.
BOMB = compressed(bytes(MIB))


class Http1:
    """A WebSocket over HTTP/1.1, or a connection on which ordinary requests are made."""

    def __init__(self, port: int, *, upgrade: bool = True, target: str = "/") -> None:
        self.sent = 0
        self.sock = socket.create_connection(("127.0.0.1", port))
        if upgrade:
            key = base64.b64encode(os.urandom(16)).decode()
            lines = (
                f"GET {target} HTTP/1.1",
                "Host: a",
                "Upgrade: websocket",
                "Connection: Upgrade",
                f"Sec-WebSocket-Key: {key}",
            )
            extension = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
            self.sock.sendall("\r\n".join((*lines, "Sec-WebSocket-Version: 13", extension, "", "")).encode())
            if not self.sock.recv(4096).startswith(b"HTTP/1.1 101"):
                raise OSError("the server does not upgrade")
        self.sock.setblocking(False)

    def send(self, data: bytes, until: float, *, read: bool = True) -> bool:
        """Send all, and take what comes; say whether that was done in time."""
        view = memoryview(data)
        while view:
            now = time.monotonic()
            if now >= until:
                return False
            readable, writable, _ = select.select([self.sock] if read else [], [self.sock], [], until - now)
            if readable:
                self.read()
            if writable:
                size = self.sock.send(view[: 256 * KIB])
                self.sent += size
                view = view[size:]
        return True

    def read(self) -> None:
        if not self.sock.recv(256 * KIB):
            raise OSError("the server has closed")


class Http2(Http1):
    """An HTTP/2 connection that keeps to the server's windows."""

    def __init__(self, port: int, *, window: int = 65_535) -> None:
        super().__init__(port, upgrade=False)
        self._encoder = hpack.Encoder()
        self._streams = itertools.count(1, 2)
        self._unread = b""
        self.windows: dict[int, int] = {0: CONNECTION_WINDOW}
        until = time.monotonic() + 10
        self.send(PREFACE + h2_frame(SETTINGS, payload=struct.pack("!HI", 4, window)), until)

    def open(self, method: str = "CONNECT", headers: tuple[tuple[str, str], ...] = (), target: str = "/") -> int:
        """Begin a request; a CONNECT asks for a WebSocket."""
        self.send(self.request(method, headers, target), time.monotonic() + 10)
        return max(self.windows)

    def request(self, method: str, headers: tuple[tuple[str, str], ...] = (), target: str = "/") -> bytes:
        """The HEADERS of a request on a new stream."""
        stream = next(self._streams)
        self.windows[stream] = STREAM_WINDOW
        if method == "CONNECT":
            headers = ((":protocol", "websocket"), *headers, ("sec-websocket-version", "13"))
            headers = (*headers, ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"))
        pseudo = ((":method", method), (":scheme", "http"), (":path", target), (":authority", "a"))
        block = self._encoder.encode((*pseudo, *headers))
        flags = END_HEADERS | (END_STREAM if method == "GET" else 0)
        return h2_frame(HEADERS, flags, stream, block)

    def send_data(self, stream: int, data: bytes, until: float) -> bool:
        """Send DATA as the windows let it; say whether that was done in time."""
        for at in range(0, len(data), 16 * KIB):
            piece = data[at : at + 16 * KIB]
            while min(self.windows[0], self.windows[stream]) < len(piece):
                if not select.select([self.sock], [], [], max(until - time.monotonic(), 0))[0]:
                    return False
                self.read()
            self.windows[0] -= len(piece)
            self.windows[stream] -= len(piece)
            if not self.send(h2_frame(DATA, 0, stream, piece), until):
                return False
        return True

    def read(self) -> None:
        data = self.sock.recv(256 * KIB)
        if not data:
            raise OSError("the server has closed")
        self._unread += data
        while len(self._unread) >= 9:
            size = int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < 9 + size:
                return
            stream = int.from_bytes(self._unread[5:9], "big")
            if self._unread[3] == WINDOW_UPDATE:
                self.windows[stream] = self.windows.get(stream, 0) + int.from_bytes(self._unread[9:13], "big")
            self._unread = self._unread[9 + size :]


# Cases in which the loop is held: each writes until the time is over, or the server closes.


def _idle_frames(kind: int, payload: bytes = b"") -> Callable[[int, float], None]:
    """Nine frames that do nothing to one byte of DATA, which is of a Pong that nobody asked for."""

    def attack(port: int, until: float) -> None:
        peer = Http2(port)
        stream = peer.open()
        idle, pong = h2_frame(kind, 0, 0, payload) * 9, frame(PONG_FRAME)
        turn = b"".join(h2_frame(DATA, 0, stream, pong[at : at + 1]) + idle for at in range(len(pong)))
        while peer.send(turn * 500, until):
            pass

    return attack


def _header_lists(fields: int) -> Callable[[int, float], None]:
    """Requests of so many fields, each of which is a byte, many in a write."""

    def attack(port: int, until: float) -> None:
        peer = Http2(port)
        while True:
            requests = [peer.request("GET", (("x", "y"),) * fields) for _ in range(50)]
            if not peer.send(b"".join(requests), until):
                return

    return attack


def _header_lists_http1(fields: int) -> Callable[[int, float], None]:
    def attack(port: int, until: float) -> None:
        peer = Http1(port, upgrade=False)
        request = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * fields + b"\r\n"
        while peer.send(request * 50, until):
            pass

    return attack


def _frames(data: bytes, connections: int = 1) -> Callable[[int, float], None]:
    """The same frames for ever, over one connection or many."""

    def attack(port: int, until: float) -> None:
        peers = [Http1(port) for _ in range(connections)]
        left = {peer.sock: memoryview(data) for peer in peers}
        while time.monotonic() < until:
            readable, writable, _ = select.select(left, left, [], 0.1)
            for sock in readable:
                if not sock.recv(256 * KIB):
                    raise OSError("the server has closed")
            for sock in writable:
                left[sock] = left[sock][sock.send(left[sock][: 256 * KIB]) :] or memoryview(data)

    return attack


def _bombs_http2(port: int, until: float) -> None:
    peer = Http2(port)
    stream = peer.open()
    while peer.send_data(stream, frame(BINARY, BOMB, rsv=4), until):
        pass


TURNS: dict[str, Callable[[int, float], None]] = {
    "settings": _idle_frames(SETTINGS, struct.pack("!HI", 4, 65_536)),
    "unknown-frames": _idle_frames(UNKNOWN),
    "http2-pings": _idle_frames(PING, bytes(8)),
    "header-lists": _header_lists(1800),
    "header-lists-500": _header_lists(500),
    "header-lists-http1": _header_lists_http1(1800),
    "header-lists-500-http1": _header_lists_http1(500),
    "bombs": _frames(frame(BINARY, BOMB, rsv=4) * 240),
    "bombs-50": _frames(frame(BINARY, BOMB, rsv=4) * 240, 50),
    "bombs-http2": _bombs_http2,
    "pings": _frames(frame(PING_FRAME) * 43_000),
    "messages": _frames(frame(BINARY) * 43_000),
    "messages-50": _frames(frame(BINARY) * 43_000, 50),
}


# Cases in which memory is held: each gives its connections, which stay open while it is measured.


def _unfinished(port: int, until: float) -> list[Http1]:
    peer = Http2(port)
    for stream in [peer.open() for _ in range(100)]:
        peer.send_data(stream, frame(BINARY, BOMB, rsv=4, fin=False), until)
    return [peer]


def _unfinished_http1(port: int, until: float) -> list[Http1]:
    peers = [Http1(port) for _ in range(100)]
    for peer in peers:
        peer.send(frame(BINARY, BOMB, rsv=4, fin=False), until)
    return peers


def _zero_window(port: int, until: float) -> list[Http1]:
    peer = Http2(port, window=0)
    for stream in [peer.open() for _ in range(100)]:
        peer.send_data(stream, frame(BINARY, BOMB, rsv=4) * 100, until)
    return [peer]


def _unread(messages: bytes, most: float = 1) -> Callable[[int, float], list[Http1]]:
    """Messages for an application that takes none, on 100 streams."""

    def attack(port: int, until: float) -> list[Http1]:
        peer = Http2(port)
        until = min(until, time.monotonic() + most)
        for stream in [peer.open(target=UNREAD) for _ in range(100)]:
            peer.send_data(stream, messages, until)
        return [peer]

    return attack


def _unread_http1(port: int, until: float) -> list[Http1]:
    peers = [Http1(port, target=UNREAD) for _ in range(100)]
    for peer in peers:
        peer.send(frame(BINARY, BOMB, rsv=4) * 5, until)
    return peers


def _bodies(port: int, until: float) -> list[Http1]:
    peer = Http2(port)
    peer.open()
    for stream in [peer.open("POST") for _ in range(99)]:
        peer.send_data(stream, bytes(MIB - KIB), until)
    return [peer]


HELD: dict[str, Callable[[int, float], list[Http1]]] = {
    "unfinished": _unfinished,
    "unfinished-http1": _unfinished_http1,
    "zero-window": _zero_window,
    "unread": _unread(frame(BINARY, BOMB, rsv=4) * 5),
    "unread-small": _unread(frame(BINARY, b"ab") * 30_000, 5),
    "unread-http1": _unread_http1,
    "bodies": _bodies,
}


def attack(case: str, port: int, seconds: float) -> None:
    """Be the hostile peer, again and again if the server does not put up with it; then say what was sent, and wait for a line."""
    until = time.monotonic() + seconds
    if case in HELD:
        try:
            peers = HELD[case](port, until)
        except OSError as error:
            print(json.dumps({"error": repr(error)}), flush=True)
            return
        print(json.dumps({"sent": sum(peer.sent for peer in peers), "connections": len(peers)}), flush=True)
        sys.stdin.readline()
        return
    while time.monotonic() < until:
        try:
            TURNS[case](port, until)
        except OSError:
            time.sleep(0.01)


# What is measured.


@dataclass
class _GoodClient(asyncio.Protocol):
    """Sends a message of 100 bytes every so often, and notes how long its echo takes."""

    waits: list[float] = field(default_factory=list)
    sent: float = 0.0
    left: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.transport.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        if not self.opened.is_set():
            self.opened.set()
            return
        self.left -= len(data)
        if self.left == 0:
            self.waits.append(time.perf_counter() - self.sent)

    def send(self) -> None:
        if self.left == 0:
            self.left, self.sent = 102, time.perf_counter()
            self.transport.write(frame(BINARY, bytes(100)))


async def _good_clients(port: int) -> list[_GoodClient]:
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(_GoodClient, "127.0.0.1", port))[1] for _ in range(GOOD_CLIENTS)]
    await asyncio.gather(*(client.opened.wait() for client in clients))
    return clients


async def _talk(clients: list[_GoodClient], seconds: float) -> float:
    """Have good clients talk for so long, and give the 99th percentile of the seconds that each waited for each echo."""
    loop = asyncio.get_running_loop()
    for client in clients:
        client.waits.clear()
    until = loop.time() + seconds
    while loop.time() < until:
        for client in clients:
            client.send()
            await asyncio.sleep(PAUSE / GOOD_CLIENTS)
    # An echo that has not come yet is late too.
    waits = [time.perf_counter() - client.sent for client in clients if client.left]
    waits += itertools.chain.from_iterable(client.waits for client in clients)
    return sorted(waits)[int(len(waits) * 0.99)]


@contextmanager
def _attacking(case: str, port: int, seconds: float) -> Iterator[Any]:
    command = measure.python("hostile.py", "--attack", case, "--port", str(port), "--seconds", str(seconds))
    with measure.process(*command, core=measure.CORES[-1], stdin=True) as process:
        yield process


async def _alone_and_beside(case: str, port: int, seconds: float) -> tuple[float, float]:
    clients = await _good_clients(port)
    await _talk(clients, 0.2)
    alone = await _talk(clients, seconds)
    with _attacking(case, port, seconds + 1):
        await asyncio.sleep(1)
        return alone, await _talk(clients, seconds)


def turns(case: str, seconds: float) -> dict[str, float]:
    """Measure a case of `TURNS` once, in milliseconds."""
    with served() as server:
        alone, beside = asyncio.run(_alone_and_beside(case, server.port, seconds))
        return {"turn": server.longest() * 1000, "alone": alone * 1000, "beside": beside * 1000}


async def _warm(port: int) -> None:
    await _talk(await _good_clients(port), 0.2)


def held(case: str, seconds: float) -> dict[str, float]:
    """Measure a case of `HELD` once: in KiB a connection, and bytes for each byte that was sent."""
    with served() as server:
        asyncio.run(_warm(server.port))
        before = most = measure.resident(server.process.pid)
        with _attacking(case, server.port, seconds + 10) as process:
            while not select.select([process.stdout], [], [], 0.02)[0]:
                most = max(most, measure.resident(server.process.pid))
            said = json.loads(process.stdout.readline())
            if "error" in said:
                raise RuntimeError(f"{case}: {said['error']}")
            until = time.monotonic() + 1
            while time.monotonic() < until:
                most = max(most, measure.resident(server.process.pid))
                time.sleep(0.02)
        held = most - before
    sent = said["sent"]
    return {"held": held / said["connections"] / KIB, "sent": sent / said["connections"] / KIB, "ratio": held / sent}


def run(cases: list[str], seconds: float, rounds: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for case in cases:
        runs = [(turns if case in TURNS else held)(case, seconds) for _ in range(rounds)]
        best = {key: min(run[key] for run in runs) for key in runs[0]}
        rows.append({"case": case, **best})
        if case in TURNS:
            print(
                f"{case:20} longest turn {best['turn']:7.1f} ms   p99 alone {best['alone']:6.1f} ms, beside {best['beside']:7.1f} ms",
                flush=True,
            )
        else:
            print(
                f"{case:20} held {best['held']:9.0f} KiB a connection that sent {best['sent']:7.0f}: {best['ratio']:7.1f} B for a byte",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"of {', '.join([*TURNS, *HELD])}; all if none is named"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each measurement takes")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many holds")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
    elif args.attack:
        attack(args.attack, args.port, args.seconds)
    else:
        cases = args.cases or [*TURNS, *HELD]
        if unknown := set(cases) - {*TURNS, *HELD}:
            parser.error(f"no such case: {', '.join(sorted(unknown))}")
        print(measure.describe(measure.machine()))
        run(cases, args.seconds, args.rounds)


if __name__ == "__main__":
    sys.exit(main())
