"""Ctrl-C and SIGTERM as a call in the event loop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any


def on_stop(stop: Callable[[], object]) -> None:
    """Call `stop` in the running loop at Ctrl-C or SIGTERM; the same once more ends the process at once."""
    loop = asyncio.get_running_loop()
    seen: set[int] = set()

    # Not by `loop.add_signal_handler`: Windows has none, and a loop that is stuck in a write would never see the second.
    def handle(number: int, frame: Any) -> None:
        if number in seen or loop.is_closed():
            os._exit(128 + number)
        seen.add(number)
        loop.call_soon_threadsafe(stop)

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
