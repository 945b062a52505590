"""Ctrl-C and SIGTERM as an event of the loop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stop:
    """An awaitable Ctrl-C or SIGTERM. The second one of a kind ends the process at once.

    Signals that were ignored when the process started, as by `nohup` and scripts, stay ignored.

    Attributes:
        code: the exit code for the signal: 130 for Ctrl-C, 143 for SIGTERM, 0 before a signal.
    """

    def __init__(self) -> None:
        self.code = 0
        self._loop = asyncio.get_running_loop()
        self._come = asyncio.Event()
        self._seen: set[int] = set()
        # A signal taken by another thread, or just before the loop waits, does not wake the loop. A byte written here does.
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        if os.name == "posix":
            self._loop.add_reader(self._ours, self._ours.recv, 64)
        self.arm()
        # Do not use `loop.add_signal_handler`: Windows has none, and a loop that is stuck in a write would not see the second signal.
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def arm(self) -> None:
        """Have signals wake the loop, also after a library has had them do something else."""
        if os.name == "posix":
            signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)

    def close(self) -> None:
        """Detach from the loop. The next signal ends the process."""
        if os.name == "posix":
            signal.set_wakeup_fd(-1)
            self._loop.remove_reader(self._ours)
        self._ours.close()
        self._theirs.close()

    async def wait(self) -> None:
        """Wait for a signal."""
        await self._come.wait()

    async def bound(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Run a coroutine. At a signal, cancel it, wait for its end, and return `None`."""
        doing = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            doing.cancel()
            stopping.cancel()
            await asyncio.gather(doing, stopping, return_exceptions=True)

    def _handle(self, number: int, frame: Any) -> None:
        if number in self._seen or self._loop.is_closed():
            os._exit(128 + number)
        self._seen.add(number)
        self.code = self.code or 128 + number
        self._loop.call_soon_threadsafe(self._come.set)
