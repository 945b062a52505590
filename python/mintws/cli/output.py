"""Standard output, for results, and standard error, for remarks. Either may be closed or full."""

from __future__ import annotations

import os
import sys
from typing import TextIO


class OutputLost(Exception):
    """Standard output cannot be written to.

    Attributes:
        reason: the reason; empty if its reader has left, which is no error.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check() -> None:
    """Check that there is a standard output.

    Raises:
        OutputLost: it is closed.
    """
    if sys.stdout is None:
        raise OutputLost("it is closed")


def put(line: str = "") -> None:
    """Write a line to standard output.

    Raises:
        OutputLost: it cannot be written to. Later output is discarded.
    """
    check()
    try:
        # In one write, which no other output can divide.
        print(f"{line}\n", end="", flush=True)
    except OSError as error:
        _abandon(sys.stdout)
        raise OutputLost("" if isinstance(error, BrokenPipeError) else error.strerror or str(error)) from None


def tell(line: str) -> None:
    """Write a line to standard error, or discard it if that fails."""
    if sys.stderr is None:
        # `print` would use standard output instead.
        return
    try:
        print(f"mintws: {line}\n", end="", file=sys.stderr, flush=True)
    except OSError:
        _abandon(sys.stderr)


def _abandon(stream: TextIO) -> None:
    """Discard later output, and what Python flushes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
