"""Hex dumps, as of xxd, hexdump -C, od, Wireshark and plain digits, to bytes."""

from __future__ import annotations

import re

#: A line without its offset and its column of characters: groups of whole bytes.
_BYTES = re.compile(r"(?:(?:0x|\\x)?(?:[0-9a-f]{2})+[,\s]*)*", re.IGNORECASE)
_OFFSET = re.compile(r"([0-9a-f]{4,16})(:?)(?:\s+|$)", re.IGNORECASE)
#: The column of characters of `hexdump -C` and `od -z`.
_COLUMN = re.compile(r"\s[|>].*[|<]\s*$")


class NotWhole(Exception):
    """The dump leaves bytes out; the text says what to do."""


def parse(data: bytes) -> bytes | None:
    """Parse a hex dump.

    Returns:
        Its bytes, or `None` if `data` is something else.

    Raises:
        NotWhole: repeated lines were left out.
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return None
    parsed = bytearray()
    for line in text.splitlines():
        if line.strip() == "*" and parsed:
            raise NotWhole("the dump leaves out repeated lines, as *: have it show all, by `hexdump -v` or `od -v`")
        found = _parse_line(line.strip(), len(parsed))
        if found is None:
            return None
        parsed += found
    return bytes(parsed) or None


def _parse_line(line: str, before: int) -> bytes | None:
    offset = _OFFSET.match(line)
    # An offset has a colon, or says how many bytes were before.
    numbered = offset is not None and bool(offset[2] or int(offset[1], 16) == before)
    if offset is not None and numbered:
        line = line[offset.end() :]
    plain = _COLUMN.sub("", line)
    if plain == line and numbered:
        # The characters follow after a gap.
        plain = re.split(r"\s{2,}", line, maxsplit=1)[0]
    if not _BYTES.fullmatch(plain):
        return None
    return bytes.fromhex(re.sub(r"0x|\\x|[,\s]", "", plain, flags=re.IGNORECASE))
