"""What has come over an HTTP/1.1 connection and is not read yet, cut where its messages may end."""

from __future__ import annotations

import re

#: The most bytes of a head, or of chunks, that are handed on at a time.
PIECE = 16 * 1024

#: What ends a head, and the last chunk with what trails it (RFC 9112 §2.1, §7.1). An LF alone may end a line (§2.2).
_EMPTY_LINE = re.compile(rb"\n\r?\n")
#: What is still to come of it, behind a piece that ended with its beginning.
_REST_OF_EMPTY_LINE = {b"\n": re.compile(rb"\r?\n"), b"\n\r": re.compile(rb"\n")}
_LEADING_EMPTY_LINES = re.compile(rb"(?:\r?\n)+")


class ReceiveBuffer:
    """Bytes that wait to be read.

    What reads them gets none behind the end of its message, so that those are still here for whoever comes next: the next request, or
    the WebSocket. Each byte is looked at a bounded number of times, however many messages come at once.
    """

    __slots__ = ("_bytes", "_end")

    def __init__(self) -> None:
        self._bytes = bytearray()
        #: The last two bytes that were cut.
        self._end = b""

    def __len__(self) -> int:
        return len(self._bytes)

    def append(self, data: memoryview) -> None:
        """Add what has come."""
        self._bytes += data

    def skip_empty_lines(self) -> bool:
        """Drop empty lines ahead of a message (RFC 9112 §2.2), and say whether something else has come."""
        found = _LEADING_EMPTY_LINES.match(self._bytes)
        if found is not None:
            del self._bytes[: found.end()]
        return bool(self._bytes) and self._bytes != b"\r"

    def cut(self, most: int | None) -> bytes:
        """Take the next piece of a message.

        Args:
            most: how many bytes of the message are still to come; `None` if an empty line ends it, or what comes of it next.

        Returns:
            A piece that does not reach over the end of the message; empty if nothing has come.
        """
        end = self._lines() if most is None else most
        if end >= len(self._bytes):
            piece = self.take()
        else:
            piece = bytes(self._bytes[:end])
            del self._bytes[:end]
        self._end = (self._end + piece[-2:])[-2:]
        return piece

    def take(self) -> bytes:
        """Take all."""
        taken = bytes(self._bytes)
        self.clear()
        return taken

    def clear(self) -> None:
        """Forget all."""
        self._bytes = bytearray()

    def _lines(self) -> int:
        """Say how many bytes may be taken: up to an empty line, which the piece before may have begun, or what is here."""
        begun = self._end if self._end == b"\n\r" else self._end[-1:]
        rest = _REST_OF_EMPTY_LINE.get(begun)
        found = (rest and rest.match(self._bytes)) or _EMPTY_LINE.search(self._bytes, 0, PIECE)
        return PIECE if found is None else found.end()
