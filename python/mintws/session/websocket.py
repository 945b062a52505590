"""One open WebSocket beside its messages: Pings and Pongs, keepalive, and closing."""

from __future__ import annotations

from mintws.connection import Connection
from mintws.events import Close, State
from mintws.session.closing import Beneath, Closing, Messages, Order, Ordered
from mintws.session.keepalive import Action, Keepalive, Signs
from mintws.session.pings import Pings
from mintws.session.timing import Timing


class WebSocketSession(Closing):
    """The rules of time of one WebSocket.

    Whatever a call orders, the driver does; then the deadline may be another one.

    Args:
        now: the time.
        connection, transport: see `Closing`.
        timing: how long to wait for the peer.

    Attributes:
        pings: the Pings that wait for their Pongs.
        scheduled: when `Deadlines` calls it; `None` if never.
    """

    __slots__ = ("_keepalive", "pings", "scheduled")

    def __init__(self, now: float, connection: Connection, transport: Beneath, timing: Timing) -> None:
        super().__init__(connection, transport, timing.close_timeout)
        self.pings = Pings()
        self.scheduled: float | None = None
        interval = timing.ping_interval
        self._keepalive = None if interval is None else Keepalive(now, interval, timing.ping_timeout)

    @property
    def deadline(self) -> float | None:
        deadline = super().deadline
        if self._keepalive is None or self.connection.state is not State.OPEN:
            return deadline
        silence = self._keepalive.deadline
        return silence if deadline is None else deadline if silence is None else min(deadline, silence)

    def expire(self, now: float, messages: Messages) -> Ordered:
        ordered = super().expire(now, messages)
        if ordered is not None or self._keepalive is None or self.connection.state is not State.OPEN:
            return ordered
        due = self._keepalive.deadline
        return None if due is None or now < due else self._keep_alive(self._keepalive, now, messages)

    def _keep_alive(self, keepalive: Keepalive, now: float, messages: Messages) -> Ordered:
        transport = self.transport
        unsent = transport.unsent
        signs = Signs(
            open=not transport.closing,
            heard=transport.heard,
            taken=transport.written - unsent,
            unsent=unsent,
            reading=transport.is_reading,
            withheld=transport.multiplexed and bool(messages.paused or self.connection.buffered),
            awaits_pong=self.pings.under_way,
        )
        match keepalive.expire(now, signs):
            case Action.PING:
                # Contexts of compression are made anew when they are needed; an idle connection need not hold them.
                self.connection.release()
                return Order.PING
            case Action.PROBE:
                return Order.PROBE
            case Action.END:
                self.ending.cause = keepalive.cause
                ordered = self.close(now, 1011, "keepalive ping timeout")
                if not isinstance(ordered, Close):
                    return Order.ABORT
                # Without a wait for the peer's.
                self._end_at = now
                return ordered
        return None
