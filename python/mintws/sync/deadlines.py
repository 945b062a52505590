"""Deadlines of calls, made of their timeouts."""

from __future__ import annotations

import time

from mintws.session import check_seconds


def deadline_after(timeout: float | None) -> float | None:
    """Return the time at which so many seconds have passed; `None` is never.

    Raises:
        LocalProtocolError, TypeError: `timeout` is not a number of seconds.
    """
    if timeout is None:
        return None
    check_seconds("timeout", timeout)
    return time.monotonic() + timeout


def seconds_until(deadline: float | None) -> float | None:
    """Return the seconds until a deadline, at least 0; `None` if there is none."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
