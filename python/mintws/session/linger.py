"""The end of a transport: how long what comes is still read, and when it is cut."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

#: How long what the peer still sends is read, and discarded, before the transport is cut, in seconds.
LINGER = 2.0
#: Over TLS, where the peer is not told that our half has ended: the silence after which it sends nothing more, in seconds.
QUIET = 0.25
#: How long a server that is closed waits for its transports to be gone, in seconds.
END_WAIT = 1.0


class Step(Enum):
    """An order to the driver of a transport.

    Attributes:
        CLOSE: close the transport after what was written.
        LINGER: end our half of the transport after what was written, where either half can end by itself; read what comes.
        CUT: end the transport at once.
        LET_GO: let the WebSocket go, whose transport goes on to wait for the server.
    """

    CLOSE = auto()
    LINGER = auto()
    CUT = auto()
    LET_GO = auto()


class Due(NamedTuple):
    """An order to the driver of a transport, whose deadline may have moved.

    Attributes:
        data: bytes to write.
        step: the step to take then. `CLOSE` and `LINGER` have the driver write nothing more.
    """

    data: bytes = b""
    step: Step | None = None


class TransportEnd:
    """The time until a transport is gone: the peer may never read, or never close.

    Args:
        now: the time.
        timeout: seconds until the transport is cut.

    Attributes:
        deadline: when to call `expire`; `None` if never again.
    """

    __slots__ = ("_heard", "_quiet_until", "_timeout", "deadline")

    def __init__(self, now: float, timeout: float) -> None:
        self._timeout = timeout
        self.deadline: float | None = now + timeout
        #: While the transport is to be closed as soon as the peer is quiet: until when at most.
        self._quiet_until: float | None = None
        self._heard = 0

    def linger(self, now: float, heard: int, *, told: bool) -> None:
        """Have the transport read before it is closed: while the peer still sends, the system would answer with a reset.

        Args:
            now: the time.
            heard: how many chunks have come.
            told: the peer sees that our half has ended, and ends its own; then the transport is cut if it does not, else closed when
                nothing has come for a while.
        """
        end = now + min(LINGER, self._timeout)
        self.deadline = end
        if not told:
            self._quiet_until = end
            self._heard = heard
            self.deadline = now + QUIET if now < end else now

    def expire(self, now: float, heard: int) -> Step | None:
        """Give what is to be done now, if anything.

        Args:
            now: the time.
            heard: how many chunks have come.
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
