"""A stream in memory, which behaves as that of a socket does."""

from __future__ import annotations

import trio

from mintws.drivers.memory import Pipe


class MemoryStream:
    """One end of a connection in memory.

    64 KiB fit between the two ends, as into the buffers of a socket. The address of the peer is empty, as that of a Unix socket which is
    not bound.

    Args:
        incoming: what is read.
        outgoing: what is written.
    """

    peername = ""

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._readers, self._writers = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
        self._closed = False
        incoming.readable = self._readers.unpark_all
        outgoing.writable = self._writers.unpark_all

    async def receive_some(self, max_bytes: int, /) -> bytes:
        """Wait for bytes, and return some; none if the peer has ended its half."""
        await trio.lowlevel.checkpoint()
        while not (self._closed or len(self._incoming) or self._incoming.at_end):
            await self._readers.park()
        self._check_open()
        return self._incoming.read(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview, /) -> None:
        """Write all bytes."""
        await trio.lowlevel.checkpoint()
        with memoryview(data) as rest:
            sent = 0
            while sent < len(rest):
                self._check_open()
                taken = self._outgoing.write(rest[sent:])
                sent += taken
                if not taken:
                    await self._writers.park()

    async def send_eof(self) -> None:
        """End our half."""
        self._outgoing.end()

    async def aclose(self) -> None:
        """End both halves."""
        self._closed = True
        self._outgoing.end()
        self._incoming.abandon()
        for lot in (self._readers, self._writers):
            lot.unpark_all()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("the stream is closed")


def memory_streams() -> tuple[MemoryStream, MemoryStream]:
    """Make a pair of connected streams."""
    there, back = Pipe(), Pipe()
    return MemoryStream(back, there), MemoryStream(there, back)
