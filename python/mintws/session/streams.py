"""HTTP/2 streams that one side has ended, and the time limit for the other side."""

from __future__ import annotations

from collections import deque
from weakref import ReferenceType, ref

from mintws.connection import Connection


class ClosedStreams:
    """WebSockets that are closed, but whose streams the peer has not ended (RFC 8441 §5). They are held weakly.

    Args:
        timeout: seconds for the peer to end a stream.
    """

    __slots__ = ("_timeout", "_waiting")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        #: Their deadlines, earliest first.
        self._waiting: deque[tuple[float, ReferenceType[Connection]]] = deque()

    @property
    def deadline(self) -> float | None:
        """When to call `expire`; `None` if never."""
        return self._waiting[0][0] if self._waiting else None

    def add(self, now: float, connection: Connection) -> None:
        self._drop_ended()
        self._waiting.append((now + self._timeout, ref(connection)))

    def expire(self, now: float) -> list[Connection]:
        """Return the WebSockets whose streams are to be reset now."""
        late = []
        self._drop_ended()
        while self._waiting and self._waiting[0][0] <= now:
            connection = self._waiting.popleft()[1]()
            if connection is not None:
                late.append(connection)
            self._drop_ended()
        return late

    def _drop_ended(self) -> None:
        while self._waiting and _has_ended(self._waiting[0][1]):
            self._waiting.popleft()


def _has_ended(reference: ReferenceType[Connection]) -> bool:
    """Whether the peer has ended the stream of a WebSocket too."""
    connection = reference()
    return connection is None or connection.carrier.done


class HalfClosedTimeout:
    """The schedule on which a server resets streams that have ended only on its side (RFC 9113 §8.1).

    Each reset concerns the streams that were present at the previous one, so a stream has between one and two timeouts.

    Args:
        timeout: in seconds; `None` never resets any.

    Attributes:
        deadline: when to call `expire`; `None` if as soon as there is such a stream.
    """

    __slots__ = ("_timeout", "deadline")

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self.deadline: float | None = None

    def expire(self, now: float) -> bool:
        """Return whether a reset is due. Call `wait` after it."""
        if self._timeout is None or (self.deadline is not None and now < self.deadline):
            return False
        self.deadline = None
        return True

    def wait(self, now: float, count: int) -> None:
        """Schedule the next reset if `count`, the number of such streams, is not 0."""
        self.deadline = now + self._timeout if count and self._timeout is not None else None
