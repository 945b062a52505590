"""Keepalive: Pings at an interval, and the detection of a dead peer."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from mintws.session.bounds import FEW


class Signs(NamedTuple):
    """The state of a peer, as known to a driver, at a deadline of its keepalive.

    Attributes:
        open: whether Pings can be sent.
        heard: the number of chunks received on the transport.
        taken: the number of bytes written to the transport that the peer has taken.
        unsent: the number of those that the peer has not taken.
        reading: whether the transport is read.
        withheld: whether HTTP/2 flow control may hold back the Ping or its Pong.
        awaits_pong: whether a Ping waits for its Pong.
    """

    open: bool
    heard: int
    taken: int
    unsent: int
    reading: bool
    withheld: bool
    awaits_pong: bool


class Action(Enum):
    """An order to the driver: send a Ping, probe the peer below flow control (RFC 9113 §6.7), or end the WebSocket."""

    PING = auto()
    PROBE = auto()
    END = auto()


class Keepalive:
    """The keepalive of one WebSocket (RFC 6455 §5.5.2).

    All received data is a sign of life, because a peer cannot send a Pong in the middle of a frame. Written bytes that the peer takes are
    one too, while many of them precede our Ping. Silence is ignored while the transport is not read because the application takes nothing,
    and right after, when delayed data is still on its way.

    Args:
        now: the time.
        interval: seconds between two Pings.
        timeout: seconds after a Ping in which a sign of life is required; `None` requires none.

    Attributes:
        cause: the reason for `Action.END`.
    """

    __slots__ = ("_heard", "_interval", "_look_at", "_ping_at", "_probed", "_reading", "_taken", "_timeout", "cause")

    def __init__(self, now: float, interval: float, timeout: float | None) -> None:
        self._interval = interval
        self._timeout = timeout
        self._ping_at: float | None = now + interval
        #: When to check for signs of life, and their state when that was set.
        self._look_at: float | None = None
        self._heard = 0
        #: `None` if few bytes waited then, so that only received data counts.
        self._taken: int | None = None
        self._reading = True
        self._probed = False
        self.cause = ""

    @property
    def deadline(self) -> float | None:
        """When to call `expire`; `None` if never again."""
        if self._ping_at is None or self._look_at is None:
            return self._look_at if self._ping_at is None else self._ping_at
        return min(self._ping_at, self._look_at)

    def expire(self, now: float, signs: Signs) -> Action | None:
        """Return the next action that is due, if any. The following deadline may have passed too.

        Args:
            now: the time.
            signs: the state of the peer.
        """
        due = self.deadline
        if due is None or now < due:
            return None
        return self._ping(now, signs) if due == self._ping_at else self._look(now, signs)

    def _ping(self, now: float, signs: Signs) -> Action | None:
        if not signs.open:
            self._ping_at = None
            return None
        self._ping_at = now + self._interval
        if self._look_at is None:
            self._look_later(now, signs)
        return Action.PING

    def _look(self, now: float, signs: Signs) -> Action | None:
        took = self._taken is not None and signs.taken > self._taken
        if signs.heard != self._heard or took or not (signs.reading and self._reading):
            self._look_at = None
            if signs.awaits_pong:
                self._look_later(now, signs)
            return None
        if signs.withheld and not self._probed:
            self._look_later(now, signs, probed=True)
            return Action.PROBE
        if self._taken is None:
            self.cause = f"keepalive: no Pong came within {self._timeout:g} s"
        else:
            self.cause = f"keepalive: the peer takes nothing: {signs.unsent} bytes wait"
        self._ping_at = self._look_at = None
        return Action.END

    def _look_later(self, now: float, signs: Signs, *, probed: bool = False) -> None:
        if self._timeout is not None:
            self._look_at = now + self._timeout
            self._heard = signs.heard
            self._taken = signs.taken if signs.unsent > FEW else None
            self._reading = signs.reading
            self._probed = probed
