"""The output of `mintws demo`: figures of HTTP/1.1 and HTTP/2 side by side, in at most 80 columns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


#: The lines of the table.
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

    def show(self, negotiated: str, columns: Sequence[Figures]) -> None:
        """Print figures side by side, with the negotiated extensions as their heading."""
        put()
        self.title(negotiated)
        self.title(" " * _LABEL + "".join(f"{'HTTP/' + it.http_version:>{_CELL}}" for it in columns))
        for label, cell in _LINES:
            put(f"{label:{_LABEL}}" + "".join(f"{cell(it):>{_CELL}}" for it in columns))
        verdicts = [
            self._colour("32" if it.passed else "31", f"{'yes' if it.passed else 'NO':>{_CELL}}") for it in columns
        ]
        put(f"{'all came back':{_LABEL}}" + "".join(verdicts))

    def _colour(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text
