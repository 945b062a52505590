"""The end of a transport: how long it is still read, and when it is aborted."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

#: Seconds in which data of the peer is still read, and discarded, before the transport is aborted.
LINGER = 2.0
#: Over TLS, where the peer does not see our half-close: seconds of silence after which the peer is considered to have finished.
QUIET = 0.25
#: Seconds that a closed server waits for the end of its transports.
END_WAIT = 1.0


class Step(Enum):
    """An order to the driver of a transport.

    Attributes:
        CLOSE: close the transport after its write buffer is flushed.
        LINGER: flush the write buffer, end our half of the transport if it can be half-closed, and continue to read.
        CUT: abort the transport.
        LET_GO: release the WebSocket, while its transport continues to wait for the server.
    """

    CLOSE = auto()
    LINGER = auto()
    CUT = auto()
    LET_GO = auto()


class Due(NamedTuple):
    """An order to the driver of a transport, whose deadline may have moved.

    Attributes:
        data: bytes to write.
        step: the step to take after that. After `CLOSE` and `LINGER` the driver writes nothing more.
    """

    data: bytes = b""
    step: Step | None = None


class TransportEnd:
    """The time limit for the end of a transport, because the peer may never read or never close.

    Args:
        now: the time.
        timeout: seconds until the transport is aborted.

    Attributes:
        deadline: when to call `expire`; `None` if never again.
    """

    __slots__ = ("_heard", "_quiet_until", "_timeout", "deadline")

    def __init__(self, now: float, timeout: float) -> None:
        self._timeout = timeout
        self.deadline: float | None = now + timeout
        #: The latest time to close a transport that is closed as soon as the peer is silent.
        self._quiet_until: float | None = None
        self._heard = 0

    def linger(self, now: float, heard: int, *, told: bool) -> None:
        """Continue to read before closing: the system would answer data that arrives after the close with a reset.

        Args:
            now: the time.
            heard: the number of chunks received.
            told: whether the peer sees our half-close. If so, the transport is aborted unless the peer ends its half. If not, it is closed
                after a silence.
        """
        end = now + min(LINGER, self._timeout)
        self.deadline = end
        if not told:
            self._quiet_until = end
            self._heard = heard
            self.deadline = now + QUIET if now < end else now

    def expire(self, now: float, heard: int) -> Step | None:
        """Return the step that is due, if any.

        Args:
            now: the time.
            heard: the number of chunks received.
        """
        if self.deadline is None or now < self.deadline:
            return None
        if self._quiet_until is None:
            self.deadline = None
            return Step.CUT
        if heard != self._heard and now < self._quiet_until:
            self._heard = heard
            self.deadline = now + QUIET
            return None
        self._quiet_until = None
        self.deadline = now + self._timeout
        return Step.CLOSE
