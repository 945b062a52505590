"""Python frames of mintws a message over HTTP/2: `python benches/frames.py [--streams 1,50] [--messages 2000] [--source DIRECTORY]`.

An echo of 32 bytes in ping-pong on each of the streams of one connection. Frames are counted by `sys.setprofile`, in the client and in the
server, where their code is of the package mintws: those of h2, hpack, asyncio and of the application are not. What is counted begins when
each stream has had a tenth of the messages, and is even: another run gives the same figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any


class Count:
    """Frames of mintws that were entered, by the names of their functions."""

    def __init__(self) -> None:
        import mintws

        self._package = str(Path(mintws.__file__).parent)
        self.frames: Counter[str] = Counter()

    def begin(self) -> None:
        self.frames.clear()
        sys.setprofile(self._see)

    def end(self) -> None:
        sys.setprofile(None)

    def _see(self, frame: Any, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(self._package):
            self.frames[f"{Path(code.co_filename).name}:{code.co_name}"] += 1


async def serve_echo() -> None:
    """Serve until the standard input ends; count between two lines of it, and print."""
    from mintws.asyncio import serve

    async def echo(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)

    count = Count()
    loop = asyncio.get_running_loop()
    async with serve(echo, "127.0.0.1", 0, extensions=(), ping_interval=None) as server:
        print(server.port, flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if line == "begin\n":
                count.begin()
                print(flush=True)
            else:
                count.end()
                print(json.dumps(count.frames), flush=True)


async def measure(port: int, server: subprocess.Popen[str], streams: int, messages: int) -> tuple[Counter[str], Any]:
    """Give the frames of the client and of the server."""
    from mintws.asyncio import connect_http2

    assert server.stdin is not None and server.stdout is not None

    def tell(line: str) -> str:
        server.stdin.write(line)  # type: ignore[union-attr]
        server.stdin.flush()  # type: ignore[union-attr]
        return server.stdout.readline()  # type: ignore[union-attr]

    async def talk(websocket: Any, times: int) -> None:
        for _ in range(times):
            await websocket.send(b"x" * 32)
            await websocket.recv()

    count = Count()
    async with connect_http2(f"ws://127.0.0.1:{port}", ping_interval=None) as client:
        websockets = [await client.open("/", extensions=()) for _ in range(streams)]
        await asyncio.gather(*(talk(it, messages // 10) for it in websockets))
        tell("begin\n")
        count.begin()
        await asyncio.gather(*(talk(it, messages) for it in websockets))
        count.end()
        return count.frames, json.loads(tell("end\n"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", default="1,50", help="how many, with commas between: 1,50")
    parser.add_argument("--messages", type=int, default=2000, help="on each stream")
    parser.add_argument("--source", type=Path, help="the folder that holds another build of the package mintws")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.source:
        sys.path.insert(0, str(options.source))
    if options.serve:
        asyncio.run(serve_echo())
        return
    source = ["--source", str(options.source)] if options.source else []
    command = [sys.executable, __file__, "--serve", *source]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdin is not None
        port = int(server.stdout.readline())
        for streams in map(int, options.streams.split(",")):
            sides = asyncio.run(measure(port, server, streams, options.messages))
            for side, frames in zip(("client", "server"), sides, strict=True):
                total = streams * options.messages
                print(f"{streams} streams, {side}: {sum(frames.values()) / total:.2f} frames a message")
                for name, times in Counter(frames).most_common(8):
                    print(f"    {times / total:6.2f} {name}")
        server.stdin.close()


if __name__ == "__main__":
    main()
