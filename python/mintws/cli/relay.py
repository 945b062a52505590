"""A relay on loopback that counts the connections and bytes that pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Relay:
    """The counts of a relay.

    Attributes:
        port: where it listens.
        connections: how many it has taken.
        sent, received: the bytes from its clients, and to them.
    """

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.sent = 0
        self.received = 0

    def count(self, size: int, *, sent: bool) -> None:
        """Count bytes."""
        if sent:
            self.sent += size
        else:
            self.received += size


@asynccontextmanager
async def relaying(port: int) -> AsyncIterator[Relay]:
    """Relay connections to a port of this host."""
    relay = Relay()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, sent: bool) -> None:
        try:
            while data := await reader.read(65536):
                relay.count(len(data), sent=sent)
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except (OSError, NotImplementedError):
            writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay.connections += 1
        carried.add(task := asyncio.current_task())
        writers = [writer]
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(onward_writer)
            await asyncio.gather(carry(reader, onward_writer, sent=True), carry(onward_reader, writer, sent=False))
        except (OSError, asyncio.CancelledError):
            # The demonstration ends, and with it whom this is for.
            pass
        finally:
            for one in writers:
                one.close()
            for one in writers:
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await one.wait_closed()
            carried.discard(task)

    carried: set[asyncio.Task[None] | None] = set()
    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=256)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        left = [task for task in carried if task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
