"""The attributes that the rules of time read of a driver's WebSockets and transports, and what else a transport is to have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from mintws.connection import Connection
from mintws.session.linger import Step


class Messages(Protocol):
    """A driver's WebSocket, and the messages that it has received.

    Attributes:
        connection: its connection.
        waiting: how many messages wait for the application.
        taken: how many the application has taken.
        paused: more wait than the application takes, so that what comes is not decoded.
        awaited: a task waits for the next one.
        owes_answer: the application has taken a message and sent nothing since.
    """

    connection: Connection

    @property
    def waiting(self) -> int: ...
    @property
    def taken(self) -> int: ...
    @property
    def paused(self) -> bool: ...
    @property
    def awaited(self) -> bool: ...
    @property
    def owes_answer(self) -> bool: ...


class TransportState(Protocol):
    """A driver's transport.

    Attributes:
        websockets: the open WebSockets on it.
        lost: it is gone.
        closing: nothing more is written to it.
        half_closes: either half can end by itself, which TLS does not let.
        multiplexed: HTTP/2 is spoken.
        busy: an answer is being made, a WebSocket is open, or nothing more is written.
        is_reading: it is read.
        full: more waits to be written than it likes.
        heard: how many chunks have come.
        written: how many bytes were written to it.
        buffered: how many of them wait in it.
        unsent: how many of them the peer has not taken, as far as is known.
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
    """A driver's transport, with the calls that `DriverTransport` leaves to it."""

    def now(self) -> float:
        """Give the time."""

    def write(self, data: bytes) -> None:
        """Write bytes, in the order of the calls, unless nothing more can be written."""

    def wake(self) -> None:
        """Have the tasks look again that wait for something of the transport."""

    def arm(self) -> None:
        """Have `expire` called at the deadline of the session."""

    def take_step(self, step: Step) -> None:
        """Do what the session orders."""

    def cut(self) -> None:
        """End the transport at once."""

    def go_on(self, events: Sequence[tuple[Connection | None, Any]], reply: bytes) -> None:
        """Write a reply and handle events, which have waited."""
