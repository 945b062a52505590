"""A client's transport: whose end its WebSocket does not wait for, and refusals whose bodies are awaited."""

from __future__ import annotations

from mintws.connection import Connection
from mintws.session.driver import TransportState
from mintws.session.linger import Due, Step
from mintws.session.timing import Timing, earliest
from mintws.session.transport import TransportSession

#: How long a WebSocket that has ended waits for the server to end the transport too, in seconds.
PARTING = 0.1
#: How long the body of a refusal is waited for once its head has come, in seconds.
REFUSAL_WAIT = 1.0


class ClientSession(TransportSession):
    """The rules of a client's transport."""

    __slots__ = ("_let_go_at", "_parts", "_refused_at")

    def __init__(self, now: float, timing: Timing) -> None:
        super().__init__(now, timing)
        #: The one WebSocket on it has ended.
        self._parts = False
        #: Until when the WebSocket waits for the end of the transport.
        self._let_go_at: float | None = None
        #: Until when the bodies of refusals may come, the first to end first.
        self._refused_at: dict[Connection, float] = {}

    @property
    def deadline(self) -> float | None:
        return earliest(super().deadline, self._let_go_at, next(iter(self._refused_at.values()), None))

    def _expire(self, now: float, transport: TransportState) -> Due:
        due = super()._expire(now, transport)
        if self._let_go_at is None or now < self._let_go_at or due.step is not None:
            return due
        # Where bytes wait, the server has not got our Close yet.
        self._let_go_at = now + PARTING if transport.buffered else None
        return Due(due.data, Step.LET_GO if self._let_go_at is None else None)

    def part(self, now: float, transport: TransportState) -> Due | None:
        """Leave the end of the transport, whose WebSocket has ended, to the server, and let the WebSocket go if it takes its time.

        RFC 6455 §7.1.1 has the client wait for the server. The transport does, and who waits for the WebSocket need not.
        """
        if self._parts or transport.lost:
            return None
        due = self.leave(now, transport)
        self._parts = True
        self._limit(now)
        self._let_go_at = now + PARTING
        return due

    def refuse(self, now: float, connection: Connection) -> Due:
        """Wait for the body of a refusal, whose head has come."""
        self._refused_at.setdefault(connection, now + REFUSAL_WAIT)
        return Due()

    def forget(self, connection: Connection) -> None:
        """Wait no more for the body of a refusal."""
        self._refused_at.pop(connection, None)

    def refused(self, now: float) -> list[Connection]:
        """Give the openings whose refusals are told now, though their bodies have not ended."""
        late = [connection for connection, at in self._refused_at.items() if at <= now]
        for connection in late:
            self.forget(connection)
        return late

    def lose(self) -> Due:
        self._let_go_at = None
        return super().lose()
