"""The hot paths of the Python interface, without sockets or clocks: `python benches/paths.py NAME...`; `--list` gives the names.

For counters of instructions and for profilers. The asyncio driver runs on a transport that only counts.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any

from peers import CLIENT, REQUEST, SERVER, Mintws, frame


def receive(count: int, size: int) -> Callable[[int], None]:
    receive = Mintws().receiver(SERVER, "ascii")
    chunk = frame(b"x" * size, "ascii", SERVER) * count

    def run(rounds: int) -> None:
        for _ in range(rounds):
            receive(chunk)

    return run


def send(role: str, size: int) -> Callable[[int], None]:
    send, data = Mintws().sender(role, "ascii"), "x" * size

    def run(rounds: int) -> None:
        for _ in range(rounds):
            send(data)

    return run


class Sink:
    """A transport that takes all."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1

    writelines = write

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    abort = pause_reading = resume_reading = write_eof = close


def driver() -> Callable[[asyncio.AbstractEventLoop], Any]:
    """Give what makes a transport of the asyncio server, whose handler sends each message back."""
    from mintws.asyncio.server import Server, ServerProtocol
    from mintws.session import Timeouts

    async def handler(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)

    return lambda loop: ServerProtocol(loop, Server(handler, Timeouts(None, 1.0, None, None), {}))


def asgi() -> Callable[[asyncio.AbstractEventLoop], Any]:
    """Give what makes a transport of the server for ASGI, whose application sends each message back."""
    from servers import echo_of_asgi

    from mintws.asgi.lifespan import Lifespan
    from mintws.asgi.server import AsgiProtocol, AsgiServer
    from mintws.session import Timeouts

    lifespan = Lifespan(echo_of_asgi, "off", logging.getLogger(__name__))
    return lambda loop: AsgiProtocol(loop, AsgiServer(echo_of_asgi, lifespan, "", Timeouts(None, 1.0, None, None), {}))


def echo(
    make: Callable[[], Callable[[asyncio.AbstractEventLoop], Any]], count: int, size: int
) -> Callable[[int], None]:
    """Chunks of messages through a server that sends each one back."""
    make_protocol = make()

    def run(rounds: int) -> None:
        loop = asyncio.new_event_loop()
        # A clock that stands still: no timer fires, and the loop's own account of time is always the same.
        loop.time = lambda: 0.0  # type: ignore[method-assign]
        chunk = frame(b"x" * size, "ascii", SERVER) * count

        def take(data: bytes) -> None:
            protocol.get_buffer(-1)[: len(data)] = data
            protocol.buffer_updated(len(data))

        def turns(count: int) -> None:
            """Let the loop go round, in no task, as it does when a socket can be read."""
            for _ in range(count):
                loop.call_soon(loop.stop)
                loop.run_forever()

        protocol = make_protocol(loop)
        sink = Sink()
        protocol.connection_made(sink)
        loop.call_soon(take, (REQUEST + "\r\n").encode())
        turns(5)
        for _ in range(rounds):
            loop.call_soon(take, chunk)
            turns(2)
        turns(3)
        assert sink.writes > rounds, sink.writes
        loop.call_soon(protocol.connection_lost, None)
        turns(5)
        loop.close()

    return run


PATHS: dict[str, Callable[[], Callable[[int], None]]] = {
    "Http1.receive 16 B": lambda: receive(1, 16),
    "Http1.receive 64 x 16 B": lambda: receive(64, 16),
    "Connection.send 16 B, client": lambda: send(CLIENT, 16),
    "Connection.send 400 B, server": lambda: send(SERVER, 400),
    "asyncio echo 32 B": lambda: echo(driver, 1, 32),
    "asyncio echo 64 x 32 B": lambda: echo(driver, 64, 32),
    "ASGI echo 64 x 32 B": lambda: echo(asgi, 64, 32),
}

#: What is cheap runs more often, so that the noise of starting is small beside it.
ROUNDS = {
    "asyncio echo 32 B": 1000,
    "asyncio echo 64 x 32 B": 200,
    "ASGI echo 64 x 32 B": 200,
    "Http1.receive 64 x 16 B": 2000,
}


def main() -> None:
    """Run the paths that are named, each as often as its cost asks for; and all of them a little, so that starting is the same."""
    named = sys.argv[1:]
    if named == ["--list"]:
        print("\n".join(PATHS))
        return
    for name, make in PATHS.items():
        run, rounds = make(), ROUNDS.get(name, 20_000)
        run(rounds // 10)
        if name in named:
            run(rounds)


if __name__ == "__main__":
    main()
