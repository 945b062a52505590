"""A transport in memory, which behaves as that of a socket does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mintws.drivers.memory import Pipe

#: The most bytes that are read at a time.
READ_SIZE = 256 * 1024
#: The unwritten bytes above which a protocol is to pause, unless it sets others.
HIGH = 64 * 1024


class MemoryTransport(asyncio.Transport):
    """One end of a connection in memory.

    What is written is read by the other end in a later turn of the loop. 64 KiB fit between the two, as into the buffers of a socket; what
    does not fit waits in the write buffer. The address of the peer is empty, as that of a Unix socket which is not bound.

    Args:
        loop: the loop of both ends.
        incoming: what is read.
        outgoing: what is written.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, incoming: Pipe, outgoing: Pipe) -> None:
        super().__init__({"peername": "", "sockname": ""})
        self._loop = loop
        self._incoming = incoming
        self._outgoing = outgoing
        self._protocol: asyncio.BaseProtocol | None = None
        self._buffer = bytearray()
        self._low, self._high = HIGH // 4, HIGH
        #: The protocol was told to pause writing.
        self._full = False
        self._paused = self._closing = False
        #: Our half, and the peer's, has ended.
        self._eof = self._peer_ended = False
        #: The end is on its way to the protocol.
        self._losing = False
        #: A read, or a write, is due in the next turn of the loop.
        self._reads = self._writes = False
        incoming.readable = self._read_soon
        outgoing.writable = self._write_soon

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """Begin to read for a protocol, after its `connection_made`."""
        self.set_protocol(protocol)
        protocol.connection_made(self)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._read_soon()

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    # Downwards.

    def is_reading(self) -> bool:
        return not (self._paused or self._closing)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._read_soon()

    def _read_soon(self) -> None:
        due = (len(self._incoming) or self._incoming.at_end) and not self._peer_ended
        if due and not self._reads and self.is_reading() and self._protocol is not None:
            self._reads = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._reads = False
        if not self.is_reading():
            return
        protocol: Any = self._protocol
        try:
            if self._incoming.at_end:
                self._peer_ended = True
                if not protocol.eof_received():
                    self.close()
            elif isinstance(protocol, asyncio.BufferedProtocol):
                with memoryview(protocol.get_buffer(-1)) as buffer:
                    data = self._incoming.read(len(buffer))
                    buffer[: len(data)] = data
                protocol.buffer_updated(len(data))
            else:
                protocol.data_received(self._incoming.read(READ_SIZE))
        except Exception as error:
            self._report(error)
            self._lose(error)
        self._read_soon()

    # Upwards.

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        high = (HIGH if low is None else 4 * low) if high is None else high
        low = high // 4 if low is None else low
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be at least low ({low}), and low at least 0")
        self._low, self._high = low, high
        self._tell_room()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data is bytes, a bytearray or a memoryview, not {type(data).__name__}")
        if self._eof:
            raise RuntimeError("write() was called after write_eof()")
        if self._losing:
            return
        self._buffer += data
        self._write()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._closing and not self._eof:
            self._eof = True
            self._write()

    def _write_soon(self) -> None:
        if self._buffer and not self._writes:
            self._writes = True
            self._loop.call_soon(self._write_waiting)

    def _write_waiting(self) -> None:
        self._writes = False
        if not self._losing:
            self._write()

    def _write(self) -> None:
        """Write what there is room for, and end what was to end after it."""
        if self._buffer:
            try:
                del self._buffer[: self._outgoing.write(self._buffer)]
            except ConnectionResetError as error:
                self._lose(error)
        self._tell_room()
        if not self._buffer:
            if self._closing:
                self._lose(None)
            elif self._eof:
                self._outgoing.end()

    def _tell_room(self) -> None:
        """Tell the protocol when the write buffer becomes full, and when it has room again."""
        full = len(self._buffer) > (self._low if self._full else self._high)
        if full is self._full or self._losing:
            return
        self._full = full
        protocol: Any = self._protocol
        call: Callable[[], None] = protocol.pause_writing if full else protocol.resume_writing
        try:
            call()
        except Exception as error:
            self._report(error)

    # Ends.

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._write()

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._losing:
            return
        self._losing = self._closing = True
        self._buffer.clear()
        self._loop.call_soon(self._end, error)

    def _end(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        try:
            if protocol is not None:
                protocol.connection_lost(error)
        finally:
            self._outgoing.end()
            self._incoming.abandon()

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": "a protocol failed on a transport in memory",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )


def memory_transports(loop: asyncio.AbstractEventLoop) -> tuple[MemoryTransport, MemoryTransport]:
    """Make a pair of connected transports, which have no protocols yet."""
    there, back = Pipe(), Pipe()
    return MemoryTransport(loop, back, there), MemoryTransport(loop, there, back)
