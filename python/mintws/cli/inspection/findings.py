"""The findings in captured bytes."""

from __future__ import annotations

from typing import NamedTuple

from mintws.cli.rendering import harmless
from mintws.errors import RemoteProtocolError

#: How much of a payload is shown: characters of text, and bytes.
_TEXT_SHOWN = 100
_BYTES_SHOWN = 32


class Finding(NamedTuple):
    """A frame, a head, or a broken rule.

    Attributes:
        offset: where it begins in the bytes of its sender.
        text: what it is.
        broken: whether it breaks a rule.
        within: whether it lies within the finding before: a frame of a WebSocket in DATA of HTTP/2.
    """

    offset: int
    text: str
    broken: bool = False
    within: bool = False

    def __str__(self) -> str:
        mark = "BROKEN: " if self.broken else ""
        return f"{self.offset:>10}  {'  ' if self.within else ''}{mark}{harmless(self.text)}"


def fault(offset: int, error: RemoteProtocolError, *, within: bool = False) -> Finding:
    """Return a finding for a broken rule, with the section that has it."""
    status = f"; HTTP status {error.status}" if error.status is not None else f"; close code {error.code}"
    return Finding(offset, f"{error.args[0]} ({error.section or 'RFC 6455'}{status})", broken=True, within=within)


def shown(data: str | bytes) -> str:
    """Show the beginning of a payload."""
    if isinstance(data, str):
        return repr(data[:_TEXT_SHOWN]) + ("…" if len(data) > _TEXT_SHOWN else "")
    return data[:_BYTES_SHOWN].hex(" ") + (" …" if len(data) > _BYTES_SHOWN else "")


def counted(number: int, things: str = "byte") -> str:
    """Return a number of things, in singular or plural."""
    return f"{number} {things}" if number == 1 else f"{number} {things}s"
