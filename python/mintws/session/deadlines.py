"""The earliest of the deadlines of many WebSockets that share a transport."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias
from weakref import ReferenceType, ref

from mintws.session.websocket import WebSocketSession

#: How many entries there are at least before those are removed that have become void.
FEW_ENTRIES = 64

#: When a session is to be looked at, a number that no other entry has, and the session.
_Entry: TypeAlias = tuple[float, int, ReferenceType[WebSocketSession]]


class Deadlines:
    """When to look at which session.

    A deadline that moves later, or is called off, costs nothing: its session is looked at in vain, or not at all. Sessions are not kept
    alive.
    """

    __slots__ = ("_compact_at", "_heap", "_numbers")

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._numbers = count()
        self._compact_at = FEW_ENTRIES

    @property
    def first(self) -> float | None:
        """When to call `due`, at the latest at the first deadline; `None` if there is none."""
        while self._heap and _session(self._heap[0]) is None:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def schedule(self, session: WebSocketSession) -> None:
        """See to the deadline of a session, which may have moved."""
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
        """Give the sessions whose deadlines have passed, each once; schedule each again."""
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
    """Give the session of an entry, unless that is void: the session is gone, or has no deadline, or an earlier entry."""
    at, _, reference = entry
    session = reference()
    return session if session is not None and session.scheduled == at else None
