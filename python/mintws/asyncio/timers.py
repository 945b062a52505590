"""Timers, and a bound on how long a coroutine is waited for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Late(Exception):
    """Time is up."""


class Interruption:
    """A call that ends what `limited` waits for, as if time was up; it does nothing where nothing is waited for.

    Such a call is forgotten: on one loop nothing can begin to wait while it comes. That of threads, in `mintws.sync`, is kept.

    Attributes:
        end: ends what is waited for now.
    """

    end: Callable[[], object] | None = None

    def __call__(self) -> None:
        end, self.end = self.end, None
        if end is not None:
            end()


def rearm(
    timer: asyncio.Handle | None, loop: asyncio.AbstractEventLoop, deadline: float | None, call: Callable[[], None]
) -> asyncio.Handle | None:
    """Move a timer to a deadline on the loop's clock, where `call` is called; `None` cancels it."""
    if timer is not None:
        timer.cancel()
    return None if deadline is None else loop.call_at(deadline, call)


async def pause(seconds: float) -> None:
    """Wait for so many seconds."""
    await asyncio.sleep(seconds)


if sys.version_info >= (3, 11):

    async def limited(
        work: Coroutine[Any, Any, T], seconds: float | None, interruption: Interruption | None = None
    ) -> T:
        """Wait for a coroutine for so many seconds, or until it is interrupted.

        `asyncio.wait_for` before Python 3.12 leaves a cycle of its frame, its task and what that raises, which keeps what all frames of
        the traceback hold.

        Raises:
            Late: time is up, or it was interrupted.
        """
        try:
            async with asyncio.timeout(seconds) as limit:
                if interruption is not None:
                    interruption.end = partial(limit.reschedule, 0)
                return await work
        except TimeoutError:
            # What is waited for may raise one of its own.
            if limit.expired():
                raise Late from None
            raise
        finally:
            if interruption is not None:
                interruption.end = None

else:

    async def limited(
        work: Coroutine[Any, Any, T], seconds: float | None, interruption: Interruption | None = None
    ) -> T:
        """Wait for a coroutine for so many seconds, or until it is interrupted: `Late`."""
        loop, task, expired = asyncio.get_running_loop(), asyncio.current_task(), False
        assert task is not None

        def expire() -> None:
            nonlocal expired
            if not expired:
                # A task that another call has cancelled stays cancelled.
                expired = not _is_cancelled(task)
                task.cancel()

        timers: list[asyncio.Handle] = [] if seconds is None else [loop.call_later(seconds, expire)]
        if interruption is not None:
            # In the next turn, as `asyncio.timeout` does: the other call may still come in this one.
            interruption.end = lambda: timers.append(loop.call_soon(expire))
        try:
            return await work
        except asyncio.CancelledError:
            if expired:
                raise Late from None
            raise
        finally:
            if interruption is not None:
                interruption.end = None
            for timer in timers:
                timer.cancel()

    def _is_cancelled(task: Any) -> bool:
        """Whether a task was cancelled that has not gone on since, which `Task.cancelling` tells from Python 3.11 on."""
        while task is not None and not task.cancelled():
            if getattr(task, "_must_cancel", False):
                return True
            # What a task waits for is cancelled first, which may be a task that waits itself.
            task = getattr(task, "_fut_waiter", None)
        return task is not None
