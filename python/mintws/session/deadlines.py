"""The earliest deadline of the WebSockets on a transport."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias
from weakref import ReferenceType, ref

from mintws.session.websocket import WebSocketSession

#: The least number of entries at which stale ones are removed.
FEW_ENTRIES = 64

#: The time to check a session, a unique number, and the session.
_Entry: TypeAlias = tuple[float, int, ReferenceType[WebSocketSession]]


class Deadlines:
    """A schedule of sessions by deadline.

    A deadline that moves later, or is cancelled, costs nothing: at most its session is checked once in vain. Sessions are held weakly.
    """

    __slots__ = ("_compact_at", "_heap", "_numbers")

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._numbers = count()
        self._compact_at = FEW_ENTRIES

    @property
    def first(self) -> float | None:
        """When to call `due`: not later than the first deadline; `None` if there is none."""
        while self._heap and _session(self._heap[0]) is None:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def schedule(self, session: WebSocketSession) -> None:
        """Schedule a session, whose deadline may have moved."""
        deadline = session.deadline
        if deadline is None:
            session.scheduled = None
            return
        if session.scheduled is not None and session.scheduled <= deadline:
            return
        if len(self._heap) >= self._compact_at:
            self._heap = [entry for entry in self._heap if _session(entry) is not None]
            heapify(self._heap)
            self._compact_at = max(FEW_ENTRIES, 2 * len(self._heap))
        session.scheduled = deadline
        heappush(self._heap, (deadline, next(self._numbers), ref(session)))

    def due(self, now: float) -> Iterator[WebSocketSession]:
        """Return the sessions whose deadlines have passed, each once. Schedule the others again."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            session = _session(heappop(self._heap))
            if session is None:
                continue
            session.scheduled = None
            deadline = session.deadline
            if deadline is not None and deadline <= now:
                due.append(session)
            else:
                self.schedule(session)
        return iter(due)


def _session(entry: _Entry) -> WebSocketSession | None:
    """Return the session of an entry, or `None` if the entry is stale: the session is gone, or scheduled for another time."""
    at, _, reference = entry
    session = reference()
    return session if session is not None and session.scheduled == at else None
