"""Memory of echo servers: `python benches/memory.py [--full] [--messages N]`, in KiB a connection.

Each connection has sent one message (32 B, or 1 KiB of JSON with permessage-deflate) and got its echo, then lies idle. What a server
holds is what is resident, by the kernel's account, less what it held after a hundred connections that had come and gone.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from typing import Any

import echo
import measure

#: Library, loop, whether with permessage-deflate; the floor and picows' callbacks have none.
SERVERS = [
    ("mintws", "asyncio"),
    ("floor", "asyncio"),
    ("picows", "asyncio"),
    ("picows.websockets", "asyncio"),
    ("aiohttp", "asyncio"),
    ("websockets", "asyncio"),
    ("uvicorn-websockets", "asyncio"),
    ("uvicorn-wsproto", "asyncio"),
    ("hypercorn", "asyncio"),
]
UNCOMPRESSED = ("floor", "picows")


def idle(name: str, loop: str, connections: int, *, deflate: bool = False, size: int = 32, streams: int = 0) -> float:
    """Open connections that each send one message; give KiB for each of them, or for each stream."""
    with echo.running([(name, loop)], deflate=deflate) as servers:
        server = servers[0]
        options = ["--size", str(size), *(["--deflate"] if deflate else []), *(["--raw"] if name == "floor" else [])]
        if streams:
            options += ["--http", "2", "--streams", str(streams)]
        _load(server, ["--connections", "100" if not streams else "5", *options], hold=False)
        time.sleep(0.3)
        before = measure.resident(server.pid)
        after = _load(server, ["--connections", str(connections), *options], hold=True)
    return (after - before) / connections / max(streams, 1) / 1024


def _load(server: echo.EchoServer, options: list[str], *, hold: bool) -> int:
    """Load a server and give its resident bytes at the end, while the connections are still open."""
    program = str(measure.TARGET / "release" / "mintws-load")
    connections, streams = (int(_value(options, name, "1")) for name in ("--connections", "--streams"))
    count = ["--count", str(connections * streams), "--warm", "0"]
    command = [
        program,
        "echo",
        "--address",
        f"127.0.0.1:{server.port}",
        *count,
        *options,
        *(["--hold"] if hold else []),
    ]
    with measure.process(*command, core=measure.CORES[-1], stdin=True) as running:
        assert running.stdin is not None and running.stdout is not None
        if running.stdout.readline() != "ready\n" or not json.loads(running.stdout.readline() or "{}"):
            raise RuntimeError(f"{server.label} does not hold {connections} connections")
        time.sleep(0.2)
        resident = measure.resident(server.pid)
        running.stdin.close()
        running.wait()
        return resident


def _value(options: list[str], name: str, default: str) -> str:
    return options[options.index(name) + 1] if name in options else default


def growth(name: str, loop: str, messages: int) -> tuple[float, float]:
    """Give how many KiB a server grows over so many messages, behind a tenth of them, and how many it had before."""
    program = str(measure.TARGET / "release" / "mintws-load")
    with echo.running([(name, loop)]) as servers:
        server = servers[0]
        options = ["--size", "32", "--in-flight", "64", "--count", str(messages), "--warm", str(messages // 10)]
        command = [program, "echo", "--address", f"127.0.0.1:{server.port}", "--wait", *options]
        with measure.process(*command, core=measure.CORES[-1], stdin=True) as running:
            assert running.stdin is not None and running.stdout is not None
            running.stdout.readline()
            before = measure.resident(server.pid)
            running.stdin.write("go\n")
            running.stdin.flush()
            done = json.loads(running.stdout.readline())
            assert done["messages"] == messages
            return (measure.resident(server.pid) - before) / 1024, before / 1024


def run(*, full: bool, messages: int | None = None) -> list[dict[str, Any]]:
    """Measure and print all."""
    measure.build_load()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    counts = [count for count in ([1000, 10000] if full else [1000]) if count + 200 < min(hard, 65536)]
    rows: list[dict[str, Any]] = []
    table: dict[str, dict[str, float]] = {}
    servers = SERVERS if full else [it for it in SERVERS if it[0] != "uvicorn-wsproto"]
    for connections in counts:
        for deflate in (False, True):
            label = f"{connections} connections, {'deflate' if deflate else 'no deflate'}"
            table[label] = {}
            for name, loop in servers:
                if deflate and (name in UNCOMPRESSED or connections > 1000):
                    continue
                kib = round(idle(name, loop, connections, deflate=deflate, size=1024 if deflate else 32), 2)
                table[label][name] = kib
                rows.append(
                    {"part": "idle", "connections": connections, "deflate": deflate, "server": name, "kib": kib}
                )
    table = {label: row for label, row in table.items() if row}
    for name in ("mintws", "hypercorn"):
        kib = round(idle(name, "asyncio", 10, streams=100), 2)
        table.setdefault("10 x 100 HTTP/2 streams", {})[name] = kib
        rows.append({"part": "idle", "connections": 10, "streams": 100, "deflate": False, "server": name, "kib": kib})
    measure.table("memory", table, "KiB a connection; times the first")
    messages = messages or (10_000_000 if full else 400_000)
    grown, before = growth("mintws", "asyncio", messages)
    print(f"\nmintws grows by {grown:.0f} KiB over {messages:,} messages, from {before:,.0f} KiB")
    rows.append({"part": "growth", "server": "mintws", "messages": messages, "kib": grown, "before": before})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--messages", type=int, help="how many for the growth: 10 million with --full, else 400,000")
    args = parser.parse_args()
    print(measure.describe(measure.machine()))
    measure.keep("memory", run(full=args.full, messages=args.messages), full=args.full)


if __name__ == "__main__":
    sys.exit(main())
