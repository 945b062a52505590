"""The whole chat on one machine: Redis, three servers behind HAProxy, and a crowd that counts what it hears.

`python crowd.py [--clients 1000]`. When half of all is said, one server is killed. At the end each client must have heard everything that
was said in its room, once and in order.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from chat_client import Member
from redis.asyncio import Redis

HERE = Path(__file__).parent
#: Members of a room, at most.
ROOM = 100
#: Seconds for each step of the way, such as opening all clients.
PATIENCE = 60.0


class Client:
    """A member, and what it has heard and said."""

    def __init__(self, url: str, number: int) -> None:
        self.number = number
        self.room = f"/rooms/{number // ROOM}"
        self.heard: list[str] = []
        #: The ids of what it has said, which were acknowledged.
        self.said: list[str] = []
        http: Any = "2" if number % 2 else "1.1"
        self.member = Member(f"{url}{self.room}?name={number}", lambda message: self.heard.append(message["id"]), http)

    async def say(self, count: int, pause: float) -> None:
        """Say something now and then."""
        for number in range(count):
            await asyncio.sleep(pause)
            self.said.append(await self.member.say(f"{number} of {self.number}"))


@contextlib.asynccontextmanager
async def running(*command: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program, and end it with the block."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except asyncio.TimeoutError:
                process.kill()
                await process.wait()


async def listening(port: int) -> None:
    """Wait until something listens on a port."""
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise TimeoutError(f"nothing listens on port {port}")


def free_ports(count: int) -> list[int]:
    """Give ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


async def until(holds: Any, what: str) -> None:
    """Wait until something holds."""
    for _ in range(int(PATIENCE / 0.05)):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"after {PATIENCE:g} s: {what}")


async def run(clients: int, count: int) -> dict[str, Any]:
    """Run it all, and give what came of it. At SIGTERM it is cancelled, which ends the programs."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    redis_port, public, *ports = free_ports(5)
    url = f"redis://127.0.0.1:{redis_port}"
    redis = ["redis-server", "--bind", "127.0.0.1", "--port", str(redis_port), "--save", ""]
    redis += ["--appendonly", "yes", "--appendfsync", "always"]
    environment = {"CHAT_PORT": str(public)} | {f"CHAT_SERVER_{n}": str(port) for n, port in enumerate(ports, 1)}
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        await stack.enter_async_context(running(*redis, "--dir", folder))
        await listening(redis_port)
        servers = []
        for port in ports:
            server = [sys.executable, str(HERE / "chat_server.py"), "--port", str(port), "--redis", url]
            servers.append(await stack.enter_async_context(running(*server)))
        await asyncio.gather(*map(listening, ports))
        await stack.enter_async_context(running("haproxy", "-db", "-f", str(HERE / "haproxy.cfg"), **environment))
        await listening(public)
        streams = await stack.enter_async_context(Redis.from_url(url, decode_responses=True))
        crowd = [Client(f"ws://127.0.0.1:{public}", number) for number in range(clients)]
        members = asyncio.gather(*(client.member.run() for client in crowd))
        try:
            return await watch(crowd, count, servers[1], streams)
        finally:
            members.cancel()
            await asyncio.gather(members, return_exceptions=True)


async def watch(crowd: list[Client], count: int, doomed: asyncio.subprocess.Process, streams: Any) -> dict[str, Any]:
    """Have the crowd speak, kill a server midway, and count what each has heard."""
    begun = time.perf_counter()
    await until(lambda: all(client.member.present for client in crowd), "not all clients got in")
    opened = time.perf_counter() - begun
    # Somebody speaks every 2 ms.
    pause = 0.002 * len(crowd)
    speaking = asyncio.gather(*(client.say(count, pause * (0.5 + client.number / len(crowd))) for client in crowd))
    half = len(crowd) * count // 2
    await until(lambda: sum(len(client.said) for client in crowd) >= half, "half was not acknowledged")
    doomed.kill()
    killed = time.perf_counter()
    await asyncio.wait_for(speaking, PATIENCE)
    rooms = {client.room: [it for it, _ in await streams.xrange(f"room:{client.room}")] for client in crowd[::ROOM]}
    with contextlib.suppress(TimeoutError):
        await until(lambda: all(len(client.heard) >= len(rooms[client.room]) for client in crowd), "")
    ended = time.perf_counter()
    # What comes twice may come later.
    await asyncio.sleep(0.5)
    said = [it for client in crowd for it in client.said]
    return {
        "clients": len(crowd),
        "rooms": len(rooms),
        "acknowledged": len(said),
        "in_streams": sum(map(len, rooms.values())),
        "heard": sum(len(client.heard) for client in crowd),
        "missed": sum(len(set(rooms[client.room]) - set(client.heard)) for client in crowd),
        "doubled": sum(len(client.heard) - len(set(client.heard)) for client in crowd),
        "in_other_order": sum(client.heard != sorted(client.heard, key=rooms[client.room].index) for client in crowd),
        "reconnected": sum(client.member.connections > 1 for client in crowd),
        "seconds": {"open": opened, "until the kill": killed - begun - opened, "to the end": ended - killed},
    }


def main() -> None:
    """Print the counts; fail if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=2, help="what each client says")
    given = parser.parse_args()
    if given.clients < 1 or given.messages < 1:
        parser.error("--clients and --messages must be 1 or more")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        counts = asyncio.run(run(given.clients, given.messages))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("interrupted")
    print(json.dumps(counts, indent=2))
    if counts["missed"] or counts["doubled"] or counts["in_other_order"] or not counts["reconnected"]:
        sys.exit("something was lost, came twice, or nobody had to come again")


if __name__ == "__main__":
    main()
