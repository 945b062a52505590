"""Timeouts for the peer of a TLS connection."""

from __future__ import annotations

from mintws.session.linger import LINGER


class TlsTimeouts:
    """The time limits for the TLS handshake and for the end of the connection.

    Each call may move the deadline.

    Args:
        now: the time.
        handshake_timeout: seconds for the handshake; `None` is no limit.
        close_timeout: seconds for the peer to end its half when ours has ended.

    Attributes:
        deadline: when to call `expire`; `None` if never.
    """

    __slots__ = ("_close_timeout", "deadline", "handshake_timeout")

    def __init__(self, now: float, handshake_timeout: float | None, close_timeout: float) -> None:
        self.handshake_timeout = handshake_timeout
        self._close_timeout = close_timeout
        self.deadline = None if handshake_timeout is None else now + handshake_timeout

    def stop(self) -> None:
        """Cancel the deadline: the handshake is done, or the transport is gone."""
        self.deadline = None

    def close(self, now: float) -> None:
        """Limit the wait for the end of the transport, after our half has ended."""
        self.deadline = now + self._close_timeout

    def linger(self, now: float) -> None:
        """Limit the time in which the transport is still read after a fault.

        If it were closed while the peer still sends, the system would answer with a reset, which may overtake the alert.
        """
        self.deadline = now + min(LINGER, self._close_timeout)

    def expire(self, now: float) -> bool:
        """Return whether the deadline has passed, so that the transport is to be aborted."""
        if self.deadline is None or now < self.deadline:
            return False
        self.deadline = None
        return True
