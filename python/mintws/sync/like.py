"""The part of a WebSocket that functions of an application need, for their annotations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class WebSocketLike(Protocol):
    """An open WebSocket, or a fake of one: what a function should ask for that sends and receives.

    The WebSockets of this driver are such. A function that needs more asks for a protocol of its own, which has this one as a base.
    """

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Wait for the next message and return it."""

    def send(self, message: str | bytes, /) -> None:
        """Send a message."""

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, and wait for the end."""

    def __iter__(self) -> Iterator[str | bytes]:
        """Iterate over messages until the peer closes."""
