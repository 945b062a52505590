"""4 MiB over a line with a delay: `python benches/delay.py [--round-trip 0.1] [--size 4194304]`, in seconds, each way and HTTP version.

How fast one WebSocket is over HTTP/2 depends on the windows of its flow control (RFC 9113 §5.2); HTTP/1.1 shows what the line lets pass.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import measure

from mintws.asyncio import connect, serve


async def delayed(port: int, delay: float) -> asyncio.Server:
    """Listen, and bring what comes to a port and back, each byte so many seconds later."""
    loop = asyncio.get_running_loop()

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 20):
            loop.call_later(delay, sink.write, data)
        loop.call_later(delay, sink.close)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, back), pipe(onward, writer))

    return await asyncio.start_server(handle, "127.0.0.1", 0)


async def run(round_trip: float, size: int) -> dict[str, dict[str, float]]:
    async def handler(websocket: object) -> None:
        async for message in websocket:  # type: ignore[attr-defined]
            await websocket.send(bytes(size) if message == "down" else "up")  # type: ignore[attr-defined]

    rows: dict[str, dict[str, float]] = {"up": {}, "down": {}}
    async with serve(handler, "127.0.0.1", 0, limit=None, extensions=()) as server:
        line = await delayed(server.port, round_trip / 2)
        url = f"ws://127.0.0.1:{line.sockets[0].getsockname()[1]}/"
        for http in ("1.1", "2"):
            async with connect(url, http=http, limit=None, extensions=()) as websocket:
                for way, message in (("up", bytes(size)), ("down", "down")):
                    began = time.perf_counter()
                    await websocket.send(message)
                    await websocket.recv()
                    rows[way][f"HTTP/{http}"] = time.perf_counter() - began
        line.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--round-trip", type=float, default=0.1)
    parser.add_argument("--size", type=int, default=4 << 20)
    options = parser.parse_args()
    rows = asyncio.run(run(options.round_trip, options.size))
    measure.table(f"{options.size} bytes, {options.round_trip} s", rows, "s; times the first")


if __name__ == "__main__":
    main()
