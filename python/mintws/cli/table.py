"""The output of `mintws demo`: figures of HTTP/1.1 and HTTP/2 side by side, in at most 80 columns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mintws.cli.output import put

#: The widths of the labels and of the column for each version of HTTP.
_LABEL, _CELL = 30, 22


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one version of HTTP.

    Attributes:
        payload, sent, received: bytes of messages, and of their frames before TLS.
        took: seconds for all messages.
        round_trip: seconds for one small message and its echo.
        page: the result of an ordinary request beside the WebSockets; empty if there was none.
        passed: whether all messages came back unchanged.
    """

    http_version: str
    connections: int
    websockets: int
    messages: int
    payload: int
    sent: int
    received: int
    took: float
    round_trip: float
    page: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Opening:
    """The cost of opening many WebSockets at once, over one version of HTTP.

    Attributes:
        connections: those of TCP, each with a handshake of TLS.
        sent, received: bytes of TCP, those of TLS among them.
        first, last: seconds until the first of them had a message of the server, and until all had.
    """

    http_version: str
    connections: int
    sent: int
    received: int
    first: float
    last: float


T = TypeVar("T", Opening, Figures)

#: The lines of each table.
_OPENING_LINES: tuple[tuple[str, Callable[[Opening], str]], ...] = (
    ("connections of TCP", lambda it: f"{it.connections}"),
    ("handshakes of TLS", lambda it: f"{it.connections}"),
    ("bytes sent, with TLS", lambda it: f"{it.sent:,}"),
    ("bytes received, with TLS", lambda it: f"{it.received:,}"),
    ("first message after", lambda it: f"{it.first * 1e3:,.1f} ms"),
    ("all have a message after", lambda it: f"{it.last * 1e3:,.1f} ms"),
)
_LINES: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("connections of TCP and TLS", lambda it: f"{it.connections}"),
    ("WebSockets", lambda it: f"{it.websockets}"),
    ("messages", lambda it: f"{it.messages:,}"),
    ("bytes of messages", lambda it: f"{it.payload:,}"),
    ("bytes sent", lambda it: f"{it.sent:,} ({it.sent / it.payload:.1%})"),
    ("bytes received", lambda it: f"{it.received:,} ({it.received / it.payload:.1%})"),
    ("time", lambda it: f"{it.took:.2f} s"),
    ("speed there and back", lambda it: f"{it.payload / it.took / 2**20:,.0f} MiB/s"),
    ("a small message and its echo", lambda it: f"{it.round_trip * 1e6:,.0f} us"),
    ("GET /readme beside them", lambda it: it.page or "-"),
)


class Table:
    """Prints the figures, in colours on a terminal."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def title(self, text: str) -> None:
        """Print an emphasized line."""
        put(self._colour("1", text))

    def verdict(self, text: str, passed: bool) -> None:
        """Print the result."""
        put(self._colour("32" if passed else "31", text))

    def show_opening(self, title: str, columns: Sequence[Opening]) -> None:
        """Print what it took to open many, side by side."""
        self._show(title, columns, _OPENING_LINES)

    def show(self, negotiated: str, columns: Sequence[Figures]) -> None:
        """Print figures side by side, with the negotiated extensions as their heading."""
        self._show(negotiated, columns, _LINES)
        verdicts = [
            self._colour("32" if it.passed else "31", f"{'yes' if it.passed else 'NO':>{_CELL}}") for it in columns
        ]
        put(f"{'all came back':{_LABEL}}" + "".join(verdicts))

    def _show(self, title: str, columns: Sequence[T], lines: Sequence[tuple[str, Callable[[T], str]]]) -> None:
        put()
        self.title(title)
        self.title(" " * _LABEL + "".join(f"{'HTTP/' + it.http_version:>{_CELL}}" for it in columns))
        for label, cell in lines:
            put(f"{label:{_LABEL}}" + "".join(f"{cell(it):>{_CELL}}" for it in columns))

    def _colour(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text
