"""Threads that wait for a change of what a lock guards."""

from __future__ import annotations

import threading


class Late(Exception):
    """A deadline has passed."""


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
