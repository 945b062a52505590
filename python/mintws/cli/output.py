"""Standard output, which is for results, and standard error, for what is said of them. Either may be closed or full."""

from __future__ import annotations

import os
import sys
from typing import TextIO


class OutputLost(Exception):
    """Standard output takes no more.

    Attributes:
        reason: why; empty if its reader has left, who need not be told.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check() -> None:
    """See that there is a standard output.

    Raises:
        OutputLost: it is closed.
    """
    if sys.stdout is None:
        raise OutputLost("it is closed")


def put(line: str = "") -> None:
    """Write a line to standard output.

    Raises:
        OutputLost: it takes no more; what is written after that goes nowhere.
    """
    check()
    try:
        print(line, flush=True)
    except OSError as error:
        _abandon(sys.stdout)
        raise OutputLost("" if isinstance(error, BrokenPipeError) else error.strerror or str(error)) from None


def tell(line: str) -> None:
    """Say something on standard error; where that takes nothing, nobody is told."""
    if sys.stderr is None:
        # `print` would take standard output instead.
        return
    try:
        print(f"mintws: {line}", file=sys.stderr, flush=True)
    except OSError:
        _abandon(sys.stderr)


def _abandon(stream: TextIO) -> None:
    """Let what is still printed, and what Python flushes at its end, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
