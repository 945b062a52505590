"""Lines of standard input, without blocking the event loop or the end of the process."""

from __future__ import annotations

import asyncio
import io
import select
import sys
import threading
from collections.abc import AsyncIterator

#: The bytes of one read, and the number of reads ahead of the consumer.
_READ_SIZE = 64 * 1024
_READ_AHEAD = 8


class Lines:
    """An asynchronous iterator over the lines of standard input, as bytes without their ends.

    A thread reads them, because an event loop cannot wait for files or, on Windows, for consoles. It is a daemon, so that a read that
    never returns does not keep the process alive.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._room = threading.Semaphore(_READ_AHEAD)
        if sys.stdin is None:
            self._chunks.put_nowait(b"")
        else:
            threading.Thread(target=self._read, args=[sys.stdin.fileno()], daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # A line may arrive in many pieces, so join them only once.
        pieces: list[bytes] = []
        while chunk := await self._chunks.get():
            self._room.release()
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                yield b"".join([*pieces, end]).removesuffix(b"\r")
                pieces.clear()
            if rest:
                pieces.append(rest)
        if pieces:
            yield b"".join(pieces)

    def _read(self, descriptor: int) -> None:
        # Do not use `sys.stdin`: the interpreter would wait for its lock at exit.
        with open(descriptor, "rb", buffering=0, closefd=False) as stdin:
            chunk = b"-"
            while chunk:
                self._room.acquire()
                chunk = _read_some(stdin)
                try:
                    self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
                except RuntimeError:
                    # The loop is closed.
                    return


def _read_some(stdin: io.FileIO) -> bytes:
    """Wait for the next bytes; return none after the end or an error."""
    try:
        while (chunk := stdin.read(_READ_SIZE)) is None:
            # Another program that shares the descriptor has made it non-blocking.
            select.select([stdin], [], [])
    except OSError:
        return b""
    return chunk
