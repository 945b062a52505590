"""Messages as lines of text."""

from __future__ import annotations

import json
import re

#: Characters that could move a terminal's cursor, or worse.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: The tokens of JSON (RFC 8259 §2): strings, structure, and the other literals.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
_INDENT = "  "


def harmless(text: str) -> str:
    """Escape control characters."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def hexadecimal(data: bytes) -> str:
    """Show a binary message."""
    return f"binary, {len(data)} bytes: {data.hex(' ')}"


def indented(text: str) -> str:
    """Indent a text that is JSON; return any other as it is.

    Only space between tokens changes, so numbers of any precision, repeated names and the order of names stay.
    """
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    lines = [""]
    depth = 0
    before = ""
    for token in _TOKENS.findall(text):
        closes = token in ("]", "}")
        depth -= closes
        if (closes and before not in ("[", "{")) or before == "," or (before in ("[", "{") and not closes):
            lines.append(_INDENT * depth)
        lines[-1] += ": " if token == ":" else token
        depth += token in ("[", "{")
        before = token
    return "\n".join(lines)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON (RFC 8259 §6)")
