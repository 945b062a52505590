"""The interface between sessions and a driver's WebSockets and transports."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from mintws.connection import Connection
from mintws.session.linger import Step


class Messages(Protocol):
    """A driver's WebSocket with its received messages.

    Attributes:
        connection: its connection.
        _waiting: the number of messages that wait for the application.
        _taken: the number of messages that the application has taken.
        _paused: whether the queue is full, so that received bytes are not decoded.
        _awaited: whether a task waits for the next message.
        _owes_answer: whether the application has taken a message and sent nothing since.
    """

    connection: Connection

    @property
    def _waiting(self) -> int: ...
    @property
    def _taken(self) -> int: ...
    @property
    def _paused(self) -> bool: ...
    @property
    def _awaited(self) -> bool: ...
    @property
    def _owes_answer(self) -> bool: ...


class TransportState(Protocol):
    """A driver's transport.

    Attributes:
        websockets: the open WebSockets on it.
        lost: whether it is gone.
        closing: whether nothing more is written to it.
        half_closes: whether one half can end by itself, which TLS does not allow.
        multiplexed: whether HTTP/2 is spoken.
        busy: whether an answer is being made, a WebSocket is open, or nothing more is written.
        is_reading: whether it is read.
        full: whether its write buffer is above the high-water mark.
        heard: the number of chunks received.
        written: the number of bytes written to it.
        buffered: the number of these bytes in its write buffer.
        unsent: the number of these bytes that the peer has not taken, as far as is known.
    """

    @property
    def websockets(self) -> Collection[Messages]: ...
    @property
    def lost(self) -> bool: ...
    @property
    def closing(self) -> bool: ...
    @property
    def half_closes(self) -> bool: ...
    @property
    def multiplexed(self) -> bool: ...
    @property
    def busy(self) -> bool: ...
    @property
    def is_reading(self) -> bool: ...
    @property
    def full(self) -> bool: ...
    @property
    def heard(self) -> int: ...
    @property
    def written(self) -> int: ...
    @property
    def buffered(self) -> int: ...
    @property
    def unsent(self) -> int: ...


class Transport(TransportState, Protocol):
    """A driver's transport, with the methods that `DriverTransport` does not implement."""

    def now(self) -> float:
        """Return the time."""

    def write(self, data: bytes) -> None:
        """Write bytes, in the order of the calls. Discard them if nothing more can be written."""

    def wake(self) -> None:
        """Wake the tasks that wait for the transport."""

    def arm(self) -> None:
        """Arm the timer that calls `expire` at the deadline of the session."""

    def take_step(self, step: Step) -> None:
        """Carry out an order of the session."""

    def cut(self) -> None:
        """End the transport at once."""

    def go_on(self, events: Sequence[tuple[Connection | None, Any]], reply: bytes) -> None:
        """Write a deferred reply and handle deferred events."""
