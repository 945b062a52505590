"""Where a user types lines and reads messages."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from mintws.cli.lines import Lines
from mintws.cli.output import put, tell
from mintws.cli.signals import Stop


class Console(Protocol):
    """Lines of input, and output that does not break a line that is being typed."""

    def __aiter__(self) -> AsyncIterator[str | bytes]: ...
    async def put(self, lines: Sequence[str]) -> None:
        """Write lines to standard output.

        Raises:
            OutputLost: as from `put`.
        """

    def tell(self, line: str) -> None:
        """Write a line to standard error."""


class Plain:
    """Standard input and output as they are. A terminal edits lines by itself, and messages break what is being typed."""

    async def __aenter__(self) -> Plain:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if is_terminal(sys.stdin):
            _discard_typed(sys.stdin.fileno())

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        async for line in Lines():
            yield line

    async def put(self, lines: Sequence[str]) -> None:
        """See `Console`."""
        for line in lines:
            put(line)

    def tell(self, line: str) -> None:
        """See `Console`."""
        tell(line)


def open_console(stop: Stop, *, prompts: bool) -> AbstractAsyncContextManager[Console]:
    """Return a prompt if one is wanted and there are a terminal and `prompt_toolkit`, or what there is without."""
    if prompts and is_terminal(sys.stdin) and is_terminal(sys.stdout) and _has_toolkit():
        from prompt_toolkit.utils import is_dumb_terminal

        from mintws.cli.prompt import Prompt

        if not is_dumb_terminal():
            return Prompt(stop)
    return Plain()


def is_terminal(stream: Any) -> bool:
    """Check whether a standard stream is there, and a terminal."""
    return stream is not None and stream.isatty()


def _has_toolkit() -> bool:
    try:
        return importlib.util.find_spec("prompt_toolkit") is not None
    except ValueError:
        # Its place in `sys.modules` has been taken.
        return False


def _discard_typed(descriptor: int) -> None:
    """Discard a line that was not finished. The shell would run it."""
    try:
        import termios
    except ImportError:
        return
    with contextlib.suppress(termios.error):
        termios.tcflush(descriptor, termios.TCIFLUSH)
