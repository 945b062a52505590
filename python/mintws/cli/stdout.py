"""Standard output whose reader has gone."""

from __future__ import annotations

import os
import sys


def abandon() -> None:
    """Let what is still printed, and what Python flushes at its end, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
