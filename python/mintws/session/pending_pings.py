"""Pings that wait for their Pongs."""

from __future__ import annotations

import struct
from typing import Any

from mintws.errors import LocalProtocolError


class PendingPings:
    """Pings that wait for their Pongs (RFC 6455 §5.5.2-5.5.3)."""

    __slots__ = ("_count", "_waiting", "answered_at", "latency")

    def __init__(self) -> None:
        self._count = 0
        self._waiting: dict[bytes, tuple[float, Any]] = {}
        #: Seconds between the last Ping that was answered and its Pong.
        self.latency: float | None = None
        #: When the last Pong was received.
        self.answered_at: float | None = None

    @property
    def under_way(self) -> bool:
        """Whether a Ping waits for its Pong."""
        return bool(self._waiting)

    def choose(self, data: bytes | None = None) -> bytes:
        """Return the payload of a new Ping: `data`, or a generated one.

        Raises:
            LocalProtocolError: a Ping with the same data is pending, so that a Pong would be ambiguous.
            TypeError: `data` is not bytes.
        """
        if data is None:
            while True:
                self._count += 1
                chosen = struct.pack("!Q", self._count)
                if chosen not in self._waiting:
                    return chosen
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"a Ping's data is bytes, not {type(data).__name__}")
        data = bytes(data)
        if data in self._waiting:
            raise LocalProtocolError("a Ping with the same data is under way: give each its own, or none")
        return data

    def add(self, now: float, token: Any, data: bytes) -> None:
        """Add a Ping that was sent, with the `token` that waits for its Pong."""
        self._waiting[data] = (now, token)

    def answer(self, now: float, data: bytes) -> list[tuple[Any, float]]:
        """Return the tokens that a Pong answers, with their latencies: those of its Ping and of all earlier ones (§5.5.3)."""
        if data not in self._waiting:
            return []
        self.answered_at = now
        answered = []
        for waiting in list(self._waiting):
            sent, token = self._waiting.pop(waiting)
            self.latency = now - sent
            answered.append((token, self.latency))
            if waiting == data:
                break
        return answered

    def drop(self) -> list[Any]:
        """Remove all pending Pings and return their tokens."""
        tokens = [token for _, token in self._waiting.values()]
        self._waiting.clear()
        return tokens
