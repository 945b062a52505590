"""Fan-out: `python benches/fanout.py [--full] [--only NAME]`, in microseconds of the server's CPU time for each message that it delivers.

- burst: one client keeps 64 messages of 32 B in flight, and the server sends each of them to 20 others, one `send` after the other.
- broadcast: one client sends a message of 1 KiB of text, and the server sends it to 1,000 others at once, by `broadcast` if the library has
  it; without compression, and with permessage-deflate.

The load is made of prebuilt frames on plain sockets and has the other core. All servers run at the same time and are measured in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import resource
import selectors
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import measure

RECEIVERS = 20
IN_FLIGHT = 64
SIZE = 32

MEMBERS = 1000
TEXT_SIZE = 1024

Server = Callable[[bool, bool], Awaitable[None]]
SERVERS = [
    ("mintws", "asyncio"),
    ("mintws", "uvloop"),
    ("picows", "asyncio"),
    ("picows", "uvloop"),
    ("aiohttp", "asyncio"),
    ("websockets", "asyncio"),
]
#: They do not compress what they send.
PLAIN_ONLY = {"picows"}


def _serving(port: int) -> None:
    print(port, flush=True)


async def mintws(at_once: bool, deflate: bool) -> None:
    from mintws.asyncio import broadcast, serve

    receivers: set[Any] = set()

    async def handler(websocket: Any) -> None:
        if websocket.request.target != "/send":
            receivers.add(websocket)
            await websocket.wait_closed()
            return
        async for message in websocket:
            if at_once:
                broadcast(receivers, message)
                continue
            for receiver in receivers:
                await receiver.send(message)

    options: dict[str, Any] = {} if deflate else {"extensions": ()}
    async with serve(handler, "127.0.0.1", 0, ping_interval=None, **options) as server:
        _serving(server.port)
        await server.serve_forever()


async def websockets(at_once: bool, deflate: bool) -> None:
    from websockets.asyncio.server import broadcast, serve

    receivers: set[Any] = set()

    async def handler(websocket: Any) -> None:
        if websocket.request.path != "/send":
            receivers.add(websocket)
            await websocket.wait_closed()
            return
        async for message in websocket:
            if at_once:
                broadcast(receivers, message)
                continue
            for receiver in receivers:
                await receiver.send(message)

    compression = "deflate" if deflate else None
    async with serve(handler, "127.0.0.1", 0, compression=compression, ping_interval=None) as server:
        _serving(server.sockets[0].getsockname()[1])
        await server.serve_forever()


async def aiohttp(at_once: bool, deflate: bool) -> None:
    """It has no `broadcast`, and a `send` for each is the cheapest that it has."""
    from aiohttp import web

    receivers: set[Any] = set()

    async def handler(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(compress=deflate)
        await websocket.prepare(request)
        if request.path != "/send":
            receivers.add(websocket)
        async for message in websocket:
            for receiver in receivers:
                await receiver.send_str(message.data)
        return websocket

    app = web.Application()
    app.router.add_get("/{name:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    _serving(listener.getsockname()[1])
    await asyncio.Event().wait()


async def picows(at_once: bool, deflate: bool) -> None:
    """Its callbacks, which are its fastest interface."""
    from picows import WSFrame, WSListener, WSTransport, ws_create_server

    receivers: list[WSTransport] = []

    class FanOut(WSListener):  # type: ignore[misc]
        def __init__(self, sends: bool) -> None:
            super().__init__()
            self.sends = sends

        def on_ws_connected(self, transport: WSTransport) -> None:
            if not self.sends:
                receivers.append(transport)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if self.sends:
                data = frame.get_payload_as_bytes()
                for receiver in receivers:
                    receiver.send(frame.msg_type, data)

    server = await ws_create_server(lambda request: FanOut(request.path == b"/send"), "127.0.0.1", 0)
    _serving(server.sockets[0].getsockname()[1])
    await server.serve_forever()


@contextmanager
def _running(name: str, loop: str, scenario: str) -> Iterator[tuple[int, int]]:
    """Start a server; give its process and its port."""
    command = measure.python("fanout.py", "--serve", name, "--loop", loop, "--scenario", scenario)
    with measure.process(*command, core=measure.CORES[0]) as server:
        assert server.stdout is not None
        yield server.pid, int(server.stdout.readline())


@contextmanager
def bursts(name: str, loop: str) -> Iterator[Callable[[float], float]]:
    """Connect to a server; give what loads it with bursts for some seconds and returns the cost of a message."""
    with ExitStack() as stack:
        pid, port = stack.enter_context(_running(name, loop, "burst"))
        receivers = [stack.enter_context(_opened(port, "/receive")) for _ in range(RECEIVERS)]
        sender = stack.enter_context(_opened(port, "/send"))
        burst = (bytes([0x81, 0x80 | SIZE]) + bytes(4) + b"x" * SIZE) * IN_FLIGHT
        due = IN_FLIGHT * (2 + SIZE)

        def load(seconds: float) -> float:
            delivered, before = 0, measure.cpu_seconds(pid)
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                sender.sendall(burst)
                for receiver in receivers:
                    left = due
                    while left:
                        left -= len(receiver.recv(left)) or sys.exit(f"{name} has closed a connection")
                delivered += IN_FLIGHT * RECEIVERS
            return (measure.cpu_seconds(pid) - before) / delivered * 1e6

        load(0.05)
        yield load


@contextmanager
def broadcasts(name: str, loop: str, *, deflate: bool) -> Iterator[Callable[[], float]]:
    """Connect to a server; give what has it broadcast one message and returns the cost of each that is delivered."""
    with ExitStack() as stack:
        pid, port = stack.enter_context(_running(name, loop, "deflate" if deflate else "broadcast"))
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(MEMBERS):
            receiver = stack.enter_context(_opened(port, "/receive", deflate=deflate))
            receiver.setblocking(False)
            selector.register(receiver, selectors.EVENT_READ)
        sender = stack.enter_context(_opened(port, "/send"))
        texts = random.Random(7)

        def load() -> float:
            text = _text(texts)
            before = measure.cpu_seconds(pid)
            sender.sendall(b"\x81\xfe" + struct.pack(">H", len(text)) + bytes(4) + text)
            left = MEMBERS
            while left:
                for key, _ in selector.select(10) or sys.exit(f"{name} has not delivered to {left} of {MEMBERS}"):
                    assert isinstance(key.fileobj, socket.socket)
                    frame = key.fileobj.recv(65536) or sys.exit(f"{name} has closed a connection")
                    # So small a frame comes in one piece.
                    assert len(frame) == (2 + frame[1] if frame[1] < 126 else 4 + int.from_bytes(frame[2:4], "big"))
                    left -= 1
            time.sleep(0.01)
            return (measure.cpu_seconds(pid) - before) / MEMBERS * 1e6

        load()
        yield load


def _text(source: random.Random) -> bytes:
    """JSON of 1 KiB, each time another."""
    rows = [
        {"id": i, "name": f"user {source.randrange(1000)}", "price": source.randrange(10_000) / 4} for i in range(40)
    ]
    return json.dumps(rows)[:TEXT_SIZE].encode()


def _opened(port: int, target: str, *, deflate: bool = False) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 10)
    key = base64.b64encode(os.urandom(16)).decode()
    head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    if deflate:
        head += "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    sock.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    if deflate and b"permessage-deflate" not in answer:
        sys.exit("the server does not compress")
    return sock


def run(*, full: bool, only: str = "") -> list[dict[str, Any]]:
    """Measure and print all servers."""
    chosen = [it for it in SERVERS if only in it[0] and (it[1] == "asyncio" or measure.installed("uvloop"))]
    burst_of = f"1 sender, {RECEIVERS} receivers, {IN_FLIGHT} in flight, {SIZE} B"
    rounds, seconds = (7, 0.5) if full else (3, 0.3)
    with ExitStack() as stack:
        loads = {f"{name} {loop}": stack.enter_context(bursts(name, loop)) for name, loop in chosen}
        cases = {label: lambda load=load: load(seconds) for label, load in loads.items()}
        rows = [_row("fan-out", burst_of, measure.interleave(cases, rounds))]
    # Each of the servers, and of the sockets that load them, takes a descriptor.
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    for what, deflate in (("without compression", False), ("permessage-deflate", True)):
        with ExitStack() as stack:
            servers = [it for it in chosen if not (deflate and it[0] in PLAIN_ONLY)]
            at_once = {
                f"{name} {loop}": stack.enter_context(broadcasts(name, loop, deflate=deflate)) for name, loop in servers
            }
            results = measure.interleave(at_once, 60 if full else 25)
        rows.append(_row("broadcast", f"{MEMBERS} receivers, {TEXT_SIZE} B, {what}", results))
    return rows


def _row(part: str, scenario: str, results: dict[str, dict[str, float]]) -> dict[str, Any]:
    measure.table(part, {scenario: {name: it["min"] for name, it in results.items()}}, "us of CPU a message delivered")
    cpu = {name: {key: round(value, 3) for key, value in it.items()} for name, it in results.items()}
    return {"part": part, "scenario": scenario, "cpu_us": cpu}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="more rounds")
    parser.add_argument("--only", default="", help="the servers with this in their names; nothing is kept")
    parser.add_argument("--serve", choices=sorted({name for name, _ in SERVERS}))
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--scenario", choices=["burst", "broadcast", "deflate"], default="burst")
    args = parser.parse_args()
    if args.serve is None:
        print(measure.describe(measure.machine()))
        rows = run(full=args.full, only=args.only)
        if not args.only:
            measure.keep("fanout", rows, full=args.full)
        return
    serving: Any = globals()[args.serve](args.scenario != "burst", args.scenario == "deflate")
    if args.loop == "uvloop":
        import uvloop

        uvloop.run(serving)
    else:
        asyncio.run(serving)


if __name__ == "__main__":
    main()
