"""Keepalive: Pings at an interval, and the detection of a dead peer."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from mintws.session.bounds import FEW


class Signs(NamedTuple):
    """The state of a peer, as known to a driver, at a deadline of its keepalive.

    Attributes:
        open: whether Pings can be sent.
        heard: a count that grows with each sign of life that is the WebSocket's own: over HTTP/2 those of its stream, else the chunks
            received on the transport.
        chunks: the number of chunks received on the transport.
        probes_answered: the number of probes of the transport that were answered.
        taken: the number of bytes written to the transport that the peer has taken.
        unsent: the number of those that the peer has not taken.
        reading: whether the transport is read.
        shared: whether the transport carries other streams too, as over HTTP/2.
        withheld: whether HTTP/2 flow control may hold back the Ping or its Pong.
        awaits_pong: whether a Ping waits for its Pong.
    """

    open: bool
    heard: int
    chunks: int
    probes_answered: int
    taken: int
    unsent: int
    reading: bool
    shared: bool
    withheld: bool
    awaits_pong: bool


class Action(Enum):
    """An order to the driver: send a Ping, probe the peer below flow control (RFC 9113 §6.7), or end the WebSocket."""

    PING = auto()
    PROBE = auto()
    END = auto()


class Keepalive:
    """The keepalive of one WebSocket (RFC 6455 §5.5.2).

    All that comes for the WebSocket is a sign of life, because a peer cannot send a Pong in the middle of a frame. Written bytes that the
    peer takes are one too, while many of them precede our Ping. Silence is ignored while the transport is not read because the application
    takes nothing, and right after, when delayed data is still on its way.

    What comes on a transport that is shared, for others, is no sign of life of this WebSocket. But its Pong may be behind it, so this
    silence gets the timeout once more. While flow control withholds the Ping or the Pong, the answer to a probe is enough.

    Args:
        now: the time.
        interval: seconds between two Pings.
        timeout: seconds after a Ping in which a sign of life is required; `None` requires none.

    Attributes:
        cause: the reason for `Action.END`.
    """

    __slots__ = ("_interval", "_look_at", "_ping_at", "_position", "_probed", "_seen", "_spared", "_timeout", "cause")

    def __init__(self, now: float, interval: float, timeout: float | None) -> None:
        self._interval = interval
        self._timeout = timeout
        self._ping_at: float | None = now + interval
        #: When to check for signs of life, and those that were known when that was set.
        self._look_at: float | None = None
        self._seen: Signs | None = None
        #: The number of bytes written to the transport before the Ping.
        self._position = 0
        #: Whether the transport was probed, and whether the silence got the timeout once more, since the last sign of life.
        self._probed = self._spared = False
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
            self._position = signs.taken + signs.unsent
            self._look_later(now, signs)
        return Action.PING

    def _look(self, now: float, signs: Signs) -> Action | None:
        seen = self._seen
        assert seen is not None
        if self._is_alive(seen, signs):
            self._look_at = None
            if signs.awaits_pong:
                self._look_later(now, signs)
            return None
        if signs.withheld and not self._probed:
            self._look_later(now, signs, probed=True, spared=self._spared)
            return Action.PROBE
        if signs.chunks != seen.chunks and not self._spared:
            self._look_later(now, signs, probed=self._probed, spared=True)
            return None
        if seen.unsent > FEW and signs.taken <= seen.taken:
            self.cause = f"keepalive: the peer takes nothing: {signs.unsent} bytes wait"
        else:
            self.cause = f"keepalive: no Pong came within {self._timeout:g} s"
        self._ping_at = self._look_at = None
        return Action.END

    def _is_alive(self, seen: Signs, signs: Signs) -> bool:
        """Whether there was a sign of life, or none could be, since `seen`."""
        if signs.heard != seen.heard or not (signs.reading and seen.reading):
            return True
        if signs.withheld and signs.probes_answered != seen.probes_answered:
            return True
        takes = seen.unsent > FEW and signs.taken > seen.taken
        # Where others write too, the peer may take what is theirs for ever: that counts until it has the Ping.
        return takes and (not signs.shared or seen.taken < self._position)

    def _look_later(self, now: float, signs: Signs, *, probed: bool = False, spared: bool = False) -> None:
        if self._timeout is not None:
            self._look_at = now + self._timeout
            self._seen = signs
            self._probed = probed
            self._spared = spared
