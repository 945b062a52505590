"""Streams of bytes: any with four methods, and that of a socket."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import Any, Protocol

import trio

if sys.platform != "win32":
    import fcntl
    import termios


class Stream(Protocol):
    """A stream of bytes: a `trio.abc.Stream`, or another with these methods.

    A stream whose halves can end apart also has `async send_eof()`. What the methods raise ends the connection.
    """

    async def receive_some(self, max_bytes: int, /) -> bytes | bytearray:
        """Wait for bytes, and return some; none if the peer has ended its half."""

    async def send_all(self, data: bytes | bytearray | memoryview, /) -> None:
        """Write all bytes."""

    async def aclose(self) -> None:
        """End both halves."""


class SocketStream:
    """The stream of a connected socket, which is the stream's from then on.

    trio's own reads a socket once in vain before it waits, and cannot write without letting other tasks run.
    """

    __slots__ = ("send_now", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        #: Writes what the system takes at once, and returns how many bytes that is; raises `BlockingIOError` if it takes none.
        self.send_now = sock.send
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # A socket that is lost already has none.
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def receive_some(self, max_bytes: int, /) -> bytes:
        """Wait for bytes, and return some; none if the peer has ended its half."""
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            try:
                return self.sock.recv(max_bytes)
            except (BlockingIOError, InterruptedError):
                continue

    async def send_all(self, data: bytes | bytearray | memoryview, /) -> None:
        """Write all bytes."""
        with memoryview(data) as rest:
            sent = 0
            while sent < len(rest):
                try:
                    sent += self.send_now(rest[sent:])
                except (BlockingIOError, InterruptedError):
                    await trio.lowlevel.wait_writable(self.sock)

    async def send_eof(self) -> None:
        """End our half."""
        self.sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """End both halves."""
        if self.sock.fileno() != -1:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()

    @property
    def untaken(self) -> int:
        """How many bytes the system still keeps of what was written."""
        if sys.platform == "win32":
            return 0
        try:
            return int.from_bytes(fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return 0


def address_of(stream: Any) -> Any:
    """Return the address of the peer, or `None` if the stream does not tell."""
    sock = stream.sock if isinstance(stream, SocketStream) else getattr(stream, "socket", None)
    try:
        return getattr(stream, "peername", None) if sock is None else sock.getpeername()
    except OSError:
        return None


def end_cause(error: Exception) -> Exception:
    """Return why a stream has ended, given what a method of it raised: what the system said, where that is the cause."""
    cause = error.__cause__
    return cause if isinstance(cause, OSError) and not isinstance(error, OSError) else error


async def aclose_now(stream: Stream) -> None:
    """Close a stream without waiting for anything, as `trio.aclose_forcefully` does; what that raises does not matter any more."""
    with trio.CancelScope(shield=True) as scope:
        scope.cancel()
        with suppress(Exception):
            await stream.aclose()
