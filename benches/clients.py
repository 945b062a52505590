"""Echo clients, one a process: `python benches/clients.py NAME --port P` sends messages to an echo server and prints what they cost.

A line of JSON: how many echoes came, in how many seconds, and how much of them was CPU time of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

LIMIT = 64 * 1024 * 1024
WARM = 200


class Run:
    """One run: how much is sent, and the clocks around it."""

    def __init__(self, port: int, in_flight: int, size: int, count: int) -> None:
        self.port = port
        self.url = f"ws://127.0.0.1:{port}/"
        self.in_flight = in_flight
        self.payload = "x" * size
        self.count = count

    def start(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        seconds, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        print(json.dumps({"messages": self.count, "seconds": seconds, "cpu": cpu}))

    async def talk(self, send: Callable[[str], Awaitable[Any]], recv: Callable[[], Awaitable[Any]]) -> None:
        """Keep so many messages in flight: each echo is followed by a message."""
        for _ in range(WARM):
            await send(self.payload)
            await recv()
        self.start()
        payload = self.payload
        ahead = min(self.in_flight, self.count)
        for _ in range(ahead):
            await send(payload)
        for _ in range(self.count - ahead):
            await recv()
            await send(payload)
        for _ in range(ahead):
            await recv()
        self.stop()


async def mintws(run: Run) -> None:
    from mintws.asyncio import connect

    async with connect(run.url, extensions=(), limit=LIMIT, ping_interval=None) as websocket:
        await run.talk(websocket.send, websocket.recv)


async def websockets(run: Run) -> None:
    from websockets.asyncio.client import connect

    async with connect(run.url, compression=None, max_size=LIMIT, ping_interval=None, proxy=None) as websocket:
        await run.talk(websocket.send, websocket.recv)


async def aiohttp(run: Run) -> None:
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(run.url, compress=0, max_msg_size=LIMIT) as websocket,
    ):
        await run.talk(websocket.send_str, websocket.receive)


async def picows(run: Run) -> None:
    """Its callbacks, which are its fastest interface."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

    class Echoed(WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.done = asyncio.get_running_loop().create_future()
            self.payload = run.payload.encode()
            self.warm = WARM
            self.left = self.owed = 0

        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(WSMsgType.TEXT, self.payload)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            frame.get_payload_as_utf8_text()
            if self.warm:
                self.warm -= 1
                if self.warm == 0:
                    run.start()
                    self.left = self.owed = run.count
                    for _ in range(min(run.in_flight, self.left)):
                        self.left -= 1
                        transport.send(WSMsgType.TEXT, self.payload)
                else:
                    transport.send(WSMsgType.TEXT, self.payload)
                return
            self.owed -= 1
            if self.left:
                self.left -= 1
                transport.send(WSMsgType.TEXT, self.payload)
            elif self.owed == 0:
                run.stop()
                self.done.set_result(None)
                transport.disconnect()

    _, listener = await ws_connect(Echoed, run.url, max_frame_size=LIMIT)
    await listener.done


async def websocket_rs(run: Run) -> None:
    """Its messages are views, made the `str` here that the others give."""
    from websocket_rs import connect

    async with await connect(run.url) as websocket:

        async def send(text: str) -> None:
            websocket.send(text)

        async def recv() -> str:
            return str(await websocket.recv(), "utf-8")

        await run.talk(send, recv)


async def floor(run: Run) -> None:
    """A socket without a loop that sends a frame made before, and counts bytes."""
    from mintws import Connection, Http1, Role, Text, UpgradeAccept, UpgradeRequest

    with socket.create_connection(("127.0.0.1", run.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        http = Http1(Role.CLIENT)
        connection: Connection = http.open()
        sock.sendall(connection.send(UpgradeRequest("127.0.0.1")))
        events, _ = http.receive(sock.recv(65536))
        assert isinstance(events[0][1], UpgradeAccept)
        frame = connection.send(Text(run.payload))
        echo = len(frame) - 4
        run.start()
        left, owed = run.count, run.count * echo
        while owed:
            ready = min(left, run.in_flight)
            left -= ready
            sock.sendall(frame * ready)
            due = ready * echo
            while due:
                due -= len(sock.recv(min(due, 262144)))
            owed -= ready * echo
        run.stop()


CLIENTS: dict[str, Callable[[Run], Any]] = {
    "floor": floor,
    "mintws": mintws,
    "picows": picows,
    "aiohttp": aiohttp,
    "websockets": websockets,
    "websocket-rs": websocket_rs,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CLIENTS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--count", type=int, default=5000)
    args = parser.parse_args()
    running = CLIENTS[args.name](Run(args.port, args.in_flight, args.size, args.count))
    if args.loop == "uvloop":
        import uvloop

        uvloop.run(running)
    else:
        asyncio.run(running)


if __name__ == "__main__":
    main()
