"""Ctrl-C and SIGTERM as a call in the event loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any


def on_stop(stop: Callable[[], object]) -> None:
    """Call `stop` in the running loop at the first Ctrl-C or SIGTERM; the second ends the process at once."""
    loop = asyncio.get_running_loop()

    # Not by `loop.add_signal_handler`: Windows has none.
    def first(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop)

    signal.signal(signal.SIGINT, first)
    signal.signal(signal.SIGTERM, first)
