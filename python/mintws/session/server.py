"""The rules of a server's transport: time limits for requests, responses and streams."""

from __future__ import annotations

from mintws.session.driver import TransportState
from mintws.session.linger import Due, Step
from mintws.session.requests import IdleTimeout, RequestTimeouts, text_response
from mintws.session.streams import HalfClosedTimeout
from mintws.session.timeouts import Timeouts, earliest
from mintws.session.transport import TransportSession, after


class ServerSession(TransportSession):
    """The rules of a server's transport."""

    __slots__ = ("_half_closed", "_idle", "_requests", "_stuck")

    def __init__(self, now: float, timeouts: Timeouts) -> None:
        super().__init__(now, timeouts)
        #: For incomplete bodies and, while nothing is in progress, for the head of the next request.
        self._requests = RequestTimeouts(timeouts.open_timeout)
        self._idle: IdleTimeout | None = None
        #: For a client that does not read a response.
        self._stuck: IdleTimeout | None = None
        self._half_closed = HalfClosedTimeout(timeouts.half_closed_timeout)

    @property
    def deadline(self) -> float | None:
        if self._closed:
            return super().deadline
        stuck = None if self._stuck is None else self._stuck.deadline
        requests = (self._idle or self._requests).deadline
        return earliest(super().deadline, requests, stuck, self._half_closed.deadline)

    def _expire(self, now: float, transport: TransportState) -> Due:
        data, step = super()._expire(now, transport)
        if self._closed:
            return Due(data, step)
        if self._stuck is not None and self._stuck.expire(now, self._untaken(transport)):
            return Due(data, Step.CUT)
        if self._idle is not None:
            if self._idle.expire(now, self._untaken(transport)):
                return after(data, self.close(now, transport))
        elif self.http is not None and (late := self._requests.expire(now, self.http.collecting)):
            slow = text_response(408, "the request took too long", (("Connection", "close"),))
            data += b"".join([self.http.respond(request, slow) for request in late])
            self._limit_requests(now, transport)
        if self._half_closed.deadline is not None or self._has_half_closed:
            data += self._reset_half_closed(now)
        return Due(data, step)

    def begin(self, now: float) -> Due:
        """Wait for the head of the first request."""
        self._idle = IdleTimeout(now, self.timeouts.open_timeout, 0)
        return Due()

    @property
    def awaits_requests(self) -> bool:
        """Whether requests are incomplete, or were at the last call."""
        return self._requests.under_way or (self.http is not None and bool(self.http.collecting))

    def limit_requests(self, now: float, transport: TransportState) -> Due:
        """Set the time limits of incomplete requests or, if nothing is in progress, of the next request."""
        self._limit_requests(now, transport)
        return after(b"", None if self._idle is None else self.close_if_done(now, transport))

    def _limit_requests(self, now: float, transport: TransportState) -> None:
        begun = [] if self.http is None else self.http.collecting
        self._requests.update(now, begun)
        self._idle = None
        if not (begun or transport.busy):
            self._idle = IdleTimeout(now, self.timeouts.idle_timeout, self._untaken(transport))

    def limit_half_closed(self, now: float, transport: TransportState) -> Due | None:
        """Set the time limit for the client to end streams that have ended here."""
        if self._half_closed.deadline is not None or not self._has_half_closed:
            return None
        return after(self._reset_half_closed(now), self.close_if_done(now, transport))

    def _reset_half_closed(self, now: float) -> bytes:
        if self.http is None or not self._half_closed.expire(now):
            return b""
        data = self.http.reset_half_closed()
        self._half_closed.wait(now, self.http.half_closed)
        return data

    @property
    def _has_half_closed(self) -> bool:
        """Whether there are streams that have ended only on our side."""
        return not self._closed and self.http is not None and self.http.half_closed > 0

    def await_room(self, now: float, transport: TransportState) -> Due:
        """Set the time limit for a client that does not read a response. The transport stays open until it has."""
        if self._stuck is None:
            self._stuck = IdleTimeout(now, self.timeouts.idle_timeout, self._untaken(transport))
        return Due()

    def taken(self) -> None:
        super().taken()
        self._stuck = None

    def close_if_done(self, now: float, transport: TransportState) -> Due | None:
        return super().close_if_done(now, transport) if self._stuck is None else None

    def _lingers(self, transport: TransportState) -> bool:
        # A client that sees our half-close may close first (RFC 6455 §7.1.1), so half-close whenever the transport can.
        ends_half = self.http is not None and not self._peer_ended and transport.half_closes
        return ends_half or super()._lingers(transport)

    def _untaken(self, transport: TransportState) -> int:
        """The number of bytes that the client has not taken, including those that its windows hold back."""
        return transport.unsent + (0 if self.http is None else self.http.buffered)
