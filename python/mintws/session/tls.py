"""How long the peer of a TLS connection is waited for."""

from __future__ import annotations

from mintws.session.linger import LINGER


class TlsTimeouts:
    """The time that the peer has for the handshake, and for its end of the connection.

    After each call the deadline may be another one.

    Args:
        now: the time.
        handshake_timeout: seconds for the handshake; `None` is without end.
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
        """Wait for nothing: the handshake is done, or the transport is gone."""
        self.deadline = None

    def close(self, now: float) -> None:
        """Wait for the end of the transport: our half has ended."""
        self.deadline = now + self._close_timeout

    def linger(self, now: float) -> None:
        """Wait a while for the end of the transport, and read what still comes, after a fault.

        If it were closed meanwhile, the system would answer with a reset, which may overtake the alert.
        """
        self.deadline = now + min(LINGER, self._close_timeout)

    def expire(self, now: float) -> bool:
        """Say whether time is up: the transport is to be cut."""
        if self.deadline is None or now < self.deadline:
            return False
        self.deadline = None
        return True
