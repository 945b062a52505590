"""Echo servers on trio: `python benches/on_trio.py`, in microseconds of CPU time a message, and as ratios to the floor.

The floor is a loop over a `trio.SocketStream` that writes each chunk as it came: it neither decodes nor makes a frame. The native load
generator has the other core, and loads the servers by turns; the figure is the minimum of all rounds. This file is not called trio.py:
scripts of this folder would import it in place of trio.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import logging
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import measure
import trio

#: The bytes of a text.
SIZE = 32
#: The most that mintws may cost, in times of the floor, and of trio-websocket.
TARGETS = {1: 1.3, 64: 1.6}
OF_TRIO_WEBSOCKET = 0.2


async def floor(stream: Any) -> None:
    """The handshake, then each chunk back with one write: what trio itself costs. The load must be `--raw`."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive_some(65536)
    key = head.lower().index(b"sec-websocket-key:") + 18
    accepted = head[key : head.index(b"\r\n", key)].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(hashlib.sha1(accepted).digest()) + b"\r\n\r\n"
    )
    while data := await stream.receive_some(65536):
        await stream.send_all(data)


async def serve_floor() -> None:
    async def carry(stream: Any) -> None:
        try:
            await floor(stream)
        except trio.BrokenResourceError:
            pass

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(carry, listeners)


async def serve_mintws() -> None:
    from mintws.trio import serve

    async def echo(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)

    async with serve(echo, "127.0.0.1", 0, extensions=(), ping_interval=None) as server:
        print(server.port, flush=True)
        await server.serve_forever()


async def serve_trio_websocket() -> None:
    from trio_websocket import ConnectionClosed, serve_websocket

    async def echo(request: Any) -> None:
        websocket = await request.accept()
        try:
            while True:
                await websocket.send_message(await websocket.get_message())
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, echo, "127.0.0.1", 0, None))
        print(server.port, flush=True)


SERVERS = {"floor": serve_floor, "mintws": serve_mintws, "trio-websocket": serve_trio_websocket}


def load(port: int, pid: int, in_flight: int, seconds: float, *, raw: bool) -> float:
    """Load a server: microseconds of its CPU time a message."""
    program = str(measure.TARGET / "release" / "mintws-load")
    command = [program, "echo", "--address", f"127.0.0.1:{port}", "--wait", "--size", str(SIZE)]
    options = ["--in-flight", str(in_flight), "--seconds", str(seconds), "--warm", str(4 * in_flight)]
    if raw:
        options.append("--raw")
    with measure.process(*command, *options, core=measure.CORES[-1], stdin=True) as running:
        assert running.stdin is not None and running.stdout is not None
        if running.stdout.readline() != "ready\n":
            raise RuntimeError("the server does not answer")
        before = measure.cpu_seconds(pid)
        running.stdin.write("go\n")
        running.stdin.flush()
        done = json.loads(running.stdout.readline())
        return (measure.cpu_seconds(pid) - before) / done["messages"] * 1e6


def compare(rounds: int, seconds: float) -> dict[int, dict[str, float]]:
    """Load all servers, with one message in flight and with many."""
    here = str(Path(__file__))
    table: dict[int, dict[str, float]] = {}
    with ExitStack() as stack:
        servers = {}
        for name in SERVERS:
            if name == "trio-websocket" and not measure.installed(name):
                continue
            command = (sys.executable, here, "--serve", name)
            process = stack.enter_context(measure.process(*command, core=measure.CORES[0]))
            assert process.stdout is not None
            servers[name] = int(process.stdout.readline()), process.pid
        for in_flight in TARGETS:
            cases = {
                name: partial(load, port, pid, in_flight, seconds, raw=name == "floor")
                for name, (port, pid) in servers.items()
            }
            results = measure.interleave(cases, rounds)
            table[in_flight] = {name: result["min"] for name, result in results.items()}
    return table


def run(*, full: bool) -> list[dict[str, Any]]:
    """Measure and print, and return a row for each number in flight."""
    measure.build_load()
    rows = []
    for in_flight, costs in compare(*((7, 0.5) if full else (3, 0.3))).items():
        print(describe(in_flight, costs), flush=True)
        cpu = {name: {"min": round(cost, 3)} for name, cost in costs.items()}
        rows.append({"in_flight": in_flight, "cpu_us": cpu})
    return rows


def describe(in_flight: int, costs: dict[str, float]) -> str:
    """Say what the servers took, and how far that is from the targets."""
    said = f"{in_flight:3} in flight: " + ", ".join(f"{name} {cost:.2f} us" for name, cost in costs.items())
    said += f"; {costs['mintws'] / costs['floor']:.2f} of the floor (target {TARGETS[in_flight]})"
    if "trio-websocket" in costs:
        said += f", {costs['mintws'] / costs['trio-websocket']:.2f} of trio-websocket (target {OF_TRIO_WEBSOCKET})"
    return said


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", choices=SERVERS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    args = parser.parse_args()
    if args.serve:
        logging.disable(logging.CRITICAL)
        trio.run(SERVERS[args.serve])
        return
    measure.build_load()
    print(measure.describe(measure.machine()))
    for in_flight, costs in compare(args.rounds, args.seconds).items():
        print(describe(in_flight, costs), flush=True)


if __name__ == "__main__":
    main()
