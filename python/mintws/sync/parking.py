"""Threads that wait for a change of what a lock guards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext


class Late(Exception):
    """A deadline has passed."""


class Interrupted(Exception):
    """Another thread has ended a wait."""


class Interruption:
    """A call by which another thread ends what a thread waits for, now or later: it may come just before that begins to wait.

    Attributes:
        called: whether it was called.
    """

    __slots__ = ("_end", "called")

    def __init__(self) -> None:
        self.called = False
        self._end: Callable[[], object] | None = None

    @contextmanager
    def by(self, end: Callable[[], object]) -> Iterator[None]:
        """Have a call of `end` end what the block waits for. It may come when that has just ended.

        Raises:
            Interrupted: it was to end before.
        """
        # In this order, which is the other way round where it is called: one of the two threads sees what the other has done.
        self._end = end
        try:
            if self.called:
                raise Interrupted
            yield
        finally:
            self._end = None

    def __call__(self) -> None:
        self.called = True
        end = self._end
        if end is not None:
            end()


def ended_by(interruption: Interruption | None, end: Callable[[], object]) -> AbstractContextManager[None]:
    """Have a call of `end` end what the block waits for, if there is an interruption; see `Interruption.by`."""
    return nullcontext() if interruption is None else interruption.by(end)


class Parking:
    """Threads that wait until they are woken. `enter`, `leave` and `wake` are called under the lock, `park` without it."""

    __slots__ = ("_parked",)

    def __init__(self) -> None:
        self._parked: list[threading.Lock] = []

    def __bool__(self) -> bool:
        return bool(self._parked)

    def enter(self) -> threading.Lock:
        """Announce that the calling thread is going to wait; return the place where it does."""
        place = threading.Lock()
        place.acquire()
        self._parked.append(place)
        return place

    def leave(self, place: threading.Lock) -> None:
        """Announce that a thread waits no more."""
        if place in self._parked:
            self._parked.remove(place)

    def wake(self) -> None:
        """Wake all of them."""
        parked, self._parked = self._parked, []
        for place in parked:
            place.release()


def park(place: threading.Lock, seconds: float | None) -> bool:
    """Wait to be woken, for at most so many seconds; return whether that happened."""
    return place.acquire(timeout=-1 if seconds is None else min(max(0.0, seconds), threading.TIMEOUT_MAX))
