"""End to end over sockets: `python benches/echo.py [--full] [--only PART]`, in microseconds of CPU time a message.

Parts: servers, clients, http2, asgi. The figure is what the process under test spends, by the kernel's account; it hardly moves with
what else runs on the machine. The native load generator has the other core. All servers of a scenario run at once and are loaded by
turns.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import measure

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Scenario:
    """What the load does."""

    size: int
    in_flight: int = 1
    connections: int = 1
    streams: int = 0
    deflate: bool = False

    @property
    def label(self) -> str:
        unit, shift = ("MiB", 20) if self.size >= MIB else ("KiB", 10) if self.size >= KIB else ("B", 0)
        parts = [f"{self.size >> shift} {unit}"]
        if self.connections > 1:
            parts.append(f"{self.connections} connections")
        if self.streams:
            parts.append(f"{self.streams} stream{'s' * (self.streams > 1)}")
        parts.append(f"{self.in_flight} in flight" if self.in_flight > 1 else "ping-pong")
        if self.deflate:
            parts.append("deflate")
        return ", ".join(parts)

    @property
    def options(self) -> list[str]:
        options = ["--size", str(self.size), "--in-flight", str(self.in_flight), "--connections", str(self.connections)]
        if self.streams:
            options += ["--http", "2", "--streams", str(self.streams)]
        if self.deflate:
            options.append("--deflate")
        return options


#: Library and loop. The first is the one that the others are compared with.
SERVERS = [
    ("mintws", "asyncio"),
    ("mintws", "uvloop"),
    ("floor", "asyncio"),
    ("floor", "uvloop"),
    ("picows", "asyncio"),
    ("picows", "uvloop"),
    ("picows.websockets", "asyncio"),
    ("picows.websockets", "uvloop"),
    ("aiohttp", "uvloop"),
    ("websockets", "asyncio"),
    ("websockets", "uvloop"),
    ("uvicorn-websockets", "uvloop"),
    ("uvicorn-wsproto", "uvloop"),
    ("hypercorn", "uvloop"),
]
CLIENTS = [
    ("mintws", "asyncio"),
    ("mintws", "uvloop"),
    ("floor", "asyncio"),
    ("picows", "asyncio"),
    ("picows", "uvloop"),
    ("aiohttp", "uvloop"),
    ("websockets", "asyncio"),
    ("websockets", "uvloop"),
    ("websocket-rs", "asyncio"),
    ("websocket-rs", "uvloop"),
]
#: ASGI applications under uvicorn: a bare one, and an endpoint of FastAPI.
ASGI_SERVERS = [
    (name, loop)
    for loop in ("asyncio", "uvloop")
    for name in ("uvicorn-mintws", "uvicorn-websockets", "uvicorn-wsproto", "fastapi-mintws", "fastapi-websockets")
]
ASGI_SCENARIOS = [Scenario(32), Scenario(32, 64), Scenario(KIB, 64)]
ASGI_HTTP2_SERVERS = [
    (name, loop) for loop in ("asyncio", "uvloop") for name in ("uvicorn-mintws", "hypercorn", "fastapi-mintws")
]
ASGI_HTTP2_SCENARIOS = [Scenario(32, streams=50), Scenario(32, 8, streams=50)]
QUICK = [Scenario(32), Scenario(32, 64), Scenario(KIB, 64), Scenario(64 * KIB, 8), Scenario(MIB, 8)]
FULL = [
    *(
        Scenario(size, in_flight)
        for size in (32, KIB, 64 * KIB, MIB)
        for in_flight in (1, 64)
        if size * in_flight <= 64 * MIB
    ),
    Scenario(KIB, 1, 64),
    Scenario(KIB, 16, 64),
    Scenario(KIB, 1, 64, deflate=True),
    Scenario(KIB, 64, deflate=True),
]
HTTP2_SERVERS = [("mintws", "asyncio"), ("mintws", "uvloop"), ("hypercorn", "asyncio"), ("hypercorn", "uvloop")]
HTTP2_QUICK = [
    Scenario(32, streams=1),
    Scenario(32, streams=50),
    Scenario(32, 8, streams=50),
    Scenario(64 * KIB, streams=50),
]
HTTP2_FULL = [
    Scenario(size, in_flight, streams=streams)
    for streams in (1, 50)
    for size, in_flight in ((32, 1), (32, 8), (KIB, 1), (KIB, 8), (64 * KIB, 1))
]
#: What a client sends in each scenario takes about so many seconds, with the slowest.
CLIENT_SCENARIOS = [
    (Scenario(32), 4000),
    (Scenario(32, 64), 16000),
    (Scenario(KIB, 64), 12000),
    (Scenario(64 * KIB, 8), 1000),
]


class EchoServer:
    """A server process."""

    def __init__(self, name: str, loop: str, port: int, pid: int) -> None:
        self.name = name
        self.label = f"{name} {loop}"
        self.port = port
        self.pid = pid


@contextmanager
def running(
    servers: list[tuple[str, str]], *, deflate: bool = False, tls: str | None = None
) -> Iterator[list[EchoServer]]:
    """Start echo servers on the first core; over TLS, if a file with a key and certificates is given."""
    options = [*(["--deflate"] if deflate else []), *(["--tls", tls] if tls else [])]
    with ExitStack() as stack:
        started = []
        for name, loop in servers:
            if not measure.installed("uvloop") and loop == "uvloop":
                continue
            command = measure.python("servers.py", name, "--loop", loop, *options)
            process = stack.enter_context(measure.process(*command, core=measure.CORES[0]))
            assert process.stdout is not None
            started.append((name, loop, process))
        yield [EchoServer(name, loop, int(process.stdout.readline()), process.pid) for name, loop, process in started]  # type: ignore[union-attr]


def load(server: EchoServer, scenario: Scenario, seconds: float) -> tuple[float, float]:
    """Load a server for some seconds: microseconds of its CPU time a message, and messages a second."""
    program = str(measure.TARGET / "release" / "mintws-load")
    options = [
        *scenario.options,
        "--seconds",
        str(seconds),
        "--warm",
        str(2 * scenario.in_flight * scenario.connections),
    ]
    if server.name == "floor":
        options.append("--raw")
    command = [program, "echo", "--address", f"127.0.0.1:{server.port}", "--wait", *options]
    with measure.process(*command, core=measure.CORES[-1], stdin=True) as running:
        assert running.stdin is not None and running.stdout is not None
        if running.stdout.readline() != "ready\n":
            raise RuntimeError(f"{server.label} does not take {scenario.label}")
        before = measure.cpu_seconds(server.pid)
        running.stdin.write("go\n")
        running.stdin.flush()
        done = json.loads(running.stdout.readline() or "{}")
        cpu = measure.cpu_seconds(server.pid) - before
    if not done:
        raise RuntimeError(f"{server.label} failed in {scenario.label}")
    return cpu / done["messages"] * 1e6, done["messages"] / done["seconds"]


def compare(
    part: str, servers: list[tuple[str, str]], scenarios: list[Scenario], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Load all servers in all scenarios."""
    rows, table = [], {}
    for deflate in (False, True):
        chosen = [scenario for scenario in scenarios if scenario.deflate == deflate]
        if not chosen:
            continue
        fitting = [it for it in servers if not deflate or it[0] not in ("floor", "picows")]
        with running(fitting, deflate=deflate) as started:
            for scenario in chosen:
                rates: dict[str, float] = {}

                def case(
                    server: EchoServer, scenario: Scenario = scenario, rates: dict[str, float] = rates
                ) -> Callable[[], float]:
                    def once() -> float:
                        cost, rate = load(server, scenario, seconds)
                        rates[server.label] = max(rate, rates.get(server.label, 0))
                        return cost

                    return once

                results = measure.interleave({server.label: case(server) for server in started}, rounds)
                rows.append(_row(part, scenario, results, rates))
                table[scenario.label] = {name: result["min"] for name, result in results.items()}
    measure.table(part, table, "us of CPU a message; times the first")
    return rows


def clients(scenarios: list[tuple[Scenario, int]], rounds: int) -> list[dict[str, Any]]:
    """Have all clients talk to the native echo server, which has the other core."""
    rows, table = [], {}
    program = str(measure.TARGET / "release" / "mintws-load")
    with measure.process(program, "serve", "--address", "127.0.0.1:0", core=measure.CORES[-1]) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        for scenario, count in scenarios:
            rates: dict[str, float] = {}

            sizes = ["--in-flight", str(scenario.in_flight), "--size", str(scenario.size), "--count", str(count)]

            def case(
                name: str, loop: str, options: list[str] = sizes, rates: dict[str, float] = rates
            ) -> Callable[[], float]:
                command = measure.python("clients.py", name, "--port", port, "--loop", loop, *options)

                def once() -> float:
                    with measure.process(*command, core=measure.CORES[0]) as client:
                        assert client.stdout is not None
                        done = json.loads(client.stdout.readline())
                    rates[f"{name} {loop}"] = max(done["messages"] / done["seconds"], rates.get(f"{name} {loop}", 0))
                    return float(done["cpu"] / done["messages"] * 1e6)

                return once

            cases = {
                f"{name} {loop}": case(name, loop)
                for name, loop in CLIENTS
                if (loop == "asyncio" or measure.installed("uvloop"))
                # It is for Python 3.12 and later, and a client only.
                and (name != "websocket-rs" or measure.installed(name))
            }
            results = measure.interleave(cases, rounds)
            rows.append(_row("clients", scenario, results, rates))
            table[scenario.label] = {name: result["min"] for name, result in results.items()}
    measure.table("clients", table, "us of CPU a message; times the first")
    return rows


def _row(
    part: str, scenario: Scenario, results: dict[str, dict[str, float]], rates: dict[str, float]
) -> dict[str, Any]:
    cpu = {name: {key: round(value, 3) for key, value in result.items()} for name, result in results.items()}
    return {
        "part": part,
        "scenario": scenario.label,
        "cpu_us": cpu,
        "per_second": {k: round(v) for k, v in rates.items()},
    }


def run(*, full: bool, only: str | None = None) -> list[dict[str, Any]]:
    """Measure and print all parts, or one."""
    measure.build_load()
    rounds, seconds = (7, 0.5) if full else (2, 0.2)
    rows: list[dict[str, Any]] = []
    if only in (None, "servers"):
        rows += compare("servers", SERVERS, FULL if full else QUICK, rounds, seconds)
    if only in (None, "clients"):
        rows += clients(CLIENT_SCENARIOS, rounds)
    if only in (None, "http2"):
        rows += compare("http2", HTTP2_SERVERS, HTTP2_FULL if full else HTTP2_QUICK, rounds, seconds)
    if only in (None, "asgi"):
        rows += compare("asgi", ASGI_SERVERS, ASGI_SCENARIOS, rounds, seconds)
        rows += compare("asgi over HTTP/2", ASGI_HTTP2_SERVERS, ASGI_HTTP2_SCENARIOS, rounds, seconds)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=["servers", "clients", "http2", "asgi"])
    args = parser.parse_args()
    print(measure.describe(measure.machine()))
    rows = run(full=args.full, only=args.only)
    if args.only is None:
        measure.keep("echo", rows, full=args.full)


if __name__ == "__main__":
    sys.exit(main())
