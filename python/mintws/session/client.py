"""The rules of a client's transport: the wait for its end, and for the bodies of refusals."""

from __future__ import annotations

from mintws.connection import Connection
from mintws.session.bounds import REPLIES_HIGH
from mintws.session.driver import TransportState
from mintws.session.linger import Due, Step
from mintws.session.timeouts import Timeouts, earliest
from mintws.session.transport import TransportSession

#: Seconds that a closed WebSocket waits for the server to end the transport.
PARTING = 0.1
#: Seconds to wait for the body of a refusal after its head.
REFUSAL_WAIT = 1.0
#: Seconds to wait for a sign of life after a PING.
CHECK_WAIT = 2.0


class ClientSession(TransportSession):
    """The rules of a client's transport."""

    __slots__ = ("_check_at", "_idle_until", "_let_go_at", "_parts", "_refused_at")

    def __init__(self, now: float, timeouts: Timeouts) -> None:
        super().__init__(now, timeouts)
        #: Whether its only WebSocket has ended.
        self._parts = False
        #: The time at which the WebSocket stops waiting for the end of the transport.
        self._let_go_at: float | None = None
        #: The deadlines for the bodies of refusals, earliest first.
        self._refused_at: dict[Connection, float] = {}
        #: The deadline for a sign of life, and the time at which an idle connection of a pool is to be closed.
        self._check_at: float | None = None
        self._idle_until: float | None = None

    @property
    def deadline(self) -> float | None:
        refused_at = next(iter(self._refused_at.values()), None)
        return earliest(super().deadline, self._let_go_at, refused_at, self._check_at, self._idle_until)

    def _expire(self, now: float, transport: TransportState) -> Due:
        due = super()._expire(now, transport)
        if self._let_go_at is None or now < self._let_go_at or due.step is not None:
            return due
        # While bytes wait, the server does not have our Close yet.
        self._let_go_at = now + PARTING if transport.buffered else None
        return Due(due.data, Step.LET_GO if self._let_go_at is None else None)

    def part(self, now: float, transport: TransportState) -> Due | None:
        """Wait for the server to end the transport, but release the ended WebSocket soon.

        RFC 6455 §7.1.1 has the client wait for the server. The transport does; a task that awaits the WebSocket need not.
        """
        if self._parts or transport.lost:
            return None
        due = self.leave(now, transport)
        self._parts = True
        self._limit(now)
        self._let_go_at = now + PARTING
        return due

    def _is_provoked(self, transport: TransportState) -> bool:
        # Requests are the client's own.
        return self._replies > REPLIES_HIGH

    def refuse(self, now: float, connection: Connection) -> Due:
        """Wait for the body of a refusal, after its head."""
        self._refused_at.setdefault(connection, now + REFUSAL_WAIT)
        return Due()

    def forget(self, connection: Connection) -> None:
        """Stop waiting for the body of a refusal."""
        self._refused_at.pop(connection, None)

    def refused(self, now: float) -> list[Connection]:
        """Return the connections whose refusals are reported now, although their bodies have not ended."""
        late = [connection for connection, at in self._refused_at.items() if at <= now]
        for connection in late:
            self.forget(connection)
        return late

    def check(self, now: float) -> Due:
        """Ask beneath all WebSockets whether the server is there (PING, RFC 9113 §6.7)."""
        assert self.http is not None
        assert self.http.multiplexed
        self._check_at = now + CHECK_WAIT
        return Due(self.http.probe())

    def end_check(self) -> None:
        """Wait for a sign of life no longer."""
        self._check_at = None

    def is_unanswered(self, now: float) -> bool:
        """Whether no sign of life has come in time."""
        return self._check_at is not None and now >= self._check_at

    def rest(self, until: float | None) -> Due | None:
        """Set the time at which a pool is to be asked whether the connection is still idle; `None` if it is in use."""
        if until == self._idle_until:
            return None
        self._idle_until = until
        return Due()

    def lose(self) -> Due:
        self._let_go_at = self._check_at = self._idle_until = None
        return super().lose()
