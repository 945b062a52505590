"""Fan-out: `python benches/fanout.py [--full]`, in microseconds of the server's CPU time for each message that it delivers.

One client keeps 64 messages of 32 B in flight, and the server sends each of them to 20 others, one `send` after the other. The load is
made of prebuilt frames on blocking sockets and has the other core.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import measure

RECEIVERS = 20
IN_FLIGHT = 64
SIZE = 32

Server = Callable[[], Awaitable[None]]
SERVERS = [
    ("mintws", "asyncio"),
    ("mintws", "uvloop"),
    ("picows", "asyncio"),
    ("aiohttp", "asyncio"),
    ("websockets", "asyncio"),
]


def _serving(port: int) -> None:
    print(port, flush=True)


async def mintws() -> None:
    from mintws.asyncio import serve

    receivers: list[Any] = []

    async def handler(websocket: Any) -> None:
        if websocket.request.target != "/send":
            receivers.append(websocket)
            await websocket.wait_closed()
            return
        async for message in websocket:
            for receiver in receivers:
                await receiver.send(message)

    async with serve(handler, "127.0.0.1", 0, extensions=(), ping_interval=None) as server:
        _serving(server.port)
        await server.serve_forever()


async def websockets() -> None:
    from websockets.asyncio.server import serve

    receivers: list[Any] = []

    async def handler(websocket: Any) -> None:
        if websocket.request.path != "/send":
            receivers.append(websocket)
            await websocket.wait_closed()
            return
        async for message in websocket:
            for receiver in receivers:
                await receiver.send(message)

    async with serve(handler, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        _serving(server.sockets[0].getsockname()[1])
        await server.serve_forever()


async def aiohttp() -> None:
    from aiohttp import web

    receivers: list[Any] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        if request.path != "/send":
            receivers.append(websocket)
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


async def picows() -> None:
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
            for receiver in receivers if self.sends else ():
                receiver.send(frame.msg_type, frame.get_payload_as_memoryview())

    server = await ws_create_server(lambda request: FanOut(request.path == b"/send"), "127.0.0.1", 0)
    _serving(server.sockets[0].getsockname()[1])
    await server.serve_forever()


@contextmanager
def running(name: str, loop: str) -> Iterator[Callable[[float], float]]:
    """Start a server and connect to it; give what loads it for some seconds and returns the cost of a message."""
    with ExitStack() as stack:
        command = measure.python("fanout.py", "--serve", name, "--loop", loop)
        server = stack.enter_context(measure.process(*command, core=measure.CORES[0]))
        assert server.stdout is not None
        port = int(server.stdout.readline())
        receivers = [stack.enter_context(_opened(port, "/receive")) for _ in range(RECEIVERS)]
        sender = stack.enter_context(_opened(port, "/send"))
        burst = (bytes([0x81, 0x80 | SIZE]) + bytes(4) + b"x" * SIZE) * IN_FLIGHT
        due = IN_FLIGHT * (2 + SIZE)

        def load(seconds: float) -> float:
            delivered, before = 0, measure.cpu_seconds(server.pid)
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                sender.sendall(burst)
                for receiver in receivers:
                    left = due
                    while left:
                        left -= len(receiver.recv(left)) or sys.exit(f"{name} has closed a connection")
                delivered += IN_FLIGHT * RECEIVERS
            return (measure.cpu_seconds(server.pid) - before) / delivered * 1e6

        load(0.05)
        yield load


def _opened(port: int, target: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 10)
    key = base64.b64encode(os.urandom(16)).decode()
    head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    sock.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    return sock


def run(*, full: bool) -> list[dict[str, Any]]:
    """Measure and print all servers."""
    rounds, seconds = (7, 0.5) if full else (3, 0.3)
    chosen = [it for it in SERVERS if it[1] == "asyncio" or measure.installed("uvloop")]
    with ExitStack() as stack:
        loads = {f"{name} {loop}": stack.enter_context(running(name, loop)) for name, loop in chosen}
        cases = {label: lambda load=load: load(seconds) for label, load in loads.items()}
        results = measure.interleave(cases, rounds)
    scenario = f"1 sender, {RECEIVERS} receivers, {IN_FLIGHT} in flight, {SIZE} B"
    measure.table(
        "fan-out", {scenario: {name: it["min"] for name, it in results.items()}}, "us of CPU a message delivered"
    )
    cpu = {name: {key: round(value, 3) for key, value in it.items()} for name, it in results.items()}
    return [{"part": "fan-out", "scenario": scenario, "cpu_us": cpu}]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--serve", choices=sorted({name for name, _ in SERVERS}))
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    args = parser.parse_args()
    if args.serve is None:
        print(measure.describe(measure.machine()))
        measure.keep("fanout", run(full=args.full), full=args.full)
        return
    serving: Any = globals()[args.serve]()
    if args.loop == "uvloop":
        import uvloop

        uvloop.run(serving)
    else:
        asyncio.run(serving)


if __name__ == "__main__":
    main()
