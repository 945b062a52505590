"""A prompt with history and line editing, which stays whole while messages are printed above it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import in_terminal
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from mintws.cli.output import put, tell
from mintws.cli.signals import Stop

_PROMPT = "> "


class Prompt:
    """An asynchronous iterator over the lines that are typed; it ends at Ctrl-D. Leaving the context removes the prompt.

    The next line can be typed while earlier ones wait to be sent.

    Args:
        stop: is told of Ctrl-C, as if there were no prompt.
    """

    def __init__(self, stop: Stop) -> None:
        # The answers of a terminal that is asked where its cursor is could come after the end, and be taken for typed.
        os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
        bindings = KeyBindings()
        bindings.add("c-c")(_interrupt)
        self._session: PromptSession[str] = PromptSession(_PROMPT, key_bindings=bindings)
        self._stop = stop
        self._typed: asyncio.Queue[str | None] = asyncio.Queue()
        self._typing: asyncio.Future[None] | None = None
        #: Lines for standard error that wait for the prompt to make way.
        self._told: list[str] = []
        self._telling: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Prompt:
        self._typing = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        # What was half typed stays on the screen.
        self._session.app.erase_when_done = not self._session.default_buffer.text
        for task in filter(None, (self._typing, self._telling)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._tell_all()

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        while (line := await self._typed.get()) is not None:
            yield line

    async def put(self, lines: Sequence[str]) -> None:
        """See `Console`."""
        async with in_terminal():
            self._tell_all()
            for line in lines:
                put(line)

    def tell(self, line: str) -> None:
        """See `Console`."""
        self._told.append(line)
        if len(self._told) == 1:
            self._telling = asyncio.ensure_future(self.put(()))

    async def _read(self) -> None:
        line: str | None = ""
        while line is not None:
            try:
                line = await self._session.prompt_async(handle_sigint=False, set_exception_handler=False)
            except (EOFError, OSError):
                # Ctrl-D, or the terminal is gone.
                line = None
            finally:
                # The library took the wakeup descriptor for SIGWINCH.
                self._stop.arm()
            self._typed.put_nowait(line)

    def _tell_all(self) -> None:
        for line in self._told:
            tell(line)
        self._told.clear()


def _interrupt(event: KeyPressEvent) -> None:
    signal.raise_signal(signal.SIGINT)
