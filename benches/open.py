"""CPU of a server for WebSockets that are opened and closed in turn: `python benches/open.py [--count 2000] [--against DIRECTORY]`.

The client opens a WebSocket, closes it and opens the next, over HTTP/2 on one connection. The figure is what the server process spends a
WebSocket, in microseconds, by the kernel's account; the least of the rounds. `--against` names the folder that holds another build of the
package mintws, such as `python` of another clone: both servers run at once and are loaded by turns.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import measure


async def serve_nothing() -> None:
    """Serve WebSockets until this process is ended."""
    from mintws.asyncio import serve

    async def handler(websocket: Any) -> None:
        async for _ in websocket:
            pass

    async with serve(handler, "127.0.0.1", 0, extensions=(), ping_interval=None) as server:
        print(server.port, flush=True)
        await server.serve_forever()


async def open_and_close(port: int, count: int, http: str) -> None:
    from mintws.asyncio import connect, connect_http2

    if http == "1.1":
        for _ in range(count):
            await (await connect(f"ws://127.0.0.1:{port}/", http="1.1", extensions=())).close()
        return
    async with connect_http2(f"ws://127.0.0.1:{port}") as client:
        for _ in range(count):
            await (await client.open("/", extensions=())).close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--http", choices=["1.1", "2"], default="2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="the folder that holds another build of the package mintws")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        sys.path.insert(0, str(options.serve))
        asyncio.run(serve_nothing())
        return
    sources = {"this": measure.ROOT / "python"} | ({"against": options.against} if options.against else {})
    with ExitStack() as stack:
        servers: dict[str, tuple[int, int]] = {}
        for name, source in sources.items():
            command = measure.python("open.py", "--serve", str(source))
            process: subprocess.Popen[str] = stack.enter_context(measure.process(*command, core=measure.CORES[0]))
            assert process.stdout is not None
            servers[name] = (int(process.stdout.readline()), process.pid)

        def cost(port: int, pid: int) -> float:
            before = measure.cpu_seconds(pid)
            asyncio.run(open_and_close(port, options.count, options.http))
            return (measure.cpu_seconds(pid) - before) / options.count * 1e6

        cases = {name: lambda it=it: cost(*it) for name, it in servers.items()}
        results = measure.interleave(cases, options.rounds)
    row = {f"HTTP/{options.http}": {name: result["min"] for name, result in results.items()}}
    measure.table("opened and closed", row, "us of the server's CPU; times the first")


if __name__ == "__main__":
    main()
