"""The rules of one open WebSocket: Pings and Pongs, keepalive, and closing."""

from __future__ import annotations

from mintws.connection import Connection
from mintws.events import Close, State
from mintws.session.closing import Closing, Order, Ordered
from mintws.session.driver import Messages, TransportState
from mintws.session.keepalive import Action, Keepalive, Signs
from mintws.session.pending_pings import PendingPings
from mintws.session.timeouts import Timeouts, earliest

#: Seconds after which a waiting send is logged.
STALL = 5.0


class WebSocketSession(Closing):
    """The rules of one WebSocket that involve time.

    The driver carries out the order that a call returns. The deadline may have moved after it.

    Args:
        now: the time.
        connection, transport: see `Closing`.
        timeouts: timeouts for the peer.

    Attributes:
        pings: the Pings that wait for their Pongs.
        scheduled: when `Deadlines` checks it; `None` if never.
    """

    __slots__ = ("__weakref__", "_keepalive", "_log_at", "pings", "scheduled")

    def __init__(self, now: float, connection: Connection, transport: TransportState, timeouts: Timeouts) -> None:
        super().__init__(connection, transport, timeouts.close_timeout)
        self.pings = PendingPings()
        self.scheduled: float | None = None
        #: When to log that a send waits.
        self._log_at: float | None = None
        interval = timeouts.ping_interval
        self._keepalive = None if interval is None else Keepalive(now, interval, timeouts.ping_timeout)

    @property
    def deadline(self) -> float | None:
        deadline = super().deadline if self._log_at is None else earliest(super().deadline, self._log_at)
        if self._keepalive is None or self._finished or self.connection.state is not State.OPEN:
            return deadline
        return earliest(deadline, self._keepalive.deadline)

    def log_stall(self, now: float | None) -> None:
        """Schedule a log entry for a send that waits from `now` on; `None` cancels it."""
        self._log_at = None if now is None else now + STALL

    def expire(self, now: float, messages: Messages) -> Ordered:
        if self._log_at is not None and self._log_at <= now:
            self._log_at = None
            return Order.LOG
        ordered = super().expire(now, messages)
        if ordered is not None or self._keepalive is None or self._finished or self.connection.state is not State.OPEN:
            return ordered
        due = self._keepalive.deadline
        return None if due is None or now < due else self._keep_alive(self._keepalive, now, messages)

    def _keep_alive(self, keepalive: Keepalive, now: float, messages: Messages) -> Ordered:
        transport = self.transport
        unsent = transport.unsent
        stream = self.connection.carrier.life_signs
        signs = Signs(
            open=not transport.closing,
            heard=transport.heard if stream is None else stream.heard,
            chunks=transport.heard,
            probes_answered=0 if stream is None else stream.probes_answered,
            taken=transport.written - unsent,
            unsent=unsent,
            reading=transport.is_reading,
            shared=stream is not None,
            withheld=stream is not None and (messages._paused or stream.withheld),
            awaits_pong=self.pings.under_way,
        )
        match keepalive.expire(now, signs):
            case Action.PING:
                # An idle connection need not keep compression contexts, which are recreated on demand.
                self.connection.release()
                return Order.PING
            case Action.PROBE:
                return Order.PROBE
            case Action.END:
                self.ending.cause = keepalive.cause
                ordered = self.close(now, 1011, "keepalive ping timeout")
                if not isinstance(ordered, Close):
                    return Order.ABORT
                # Do not wait for the peer's.
                self._end_at = now
                return ordered
        return None
