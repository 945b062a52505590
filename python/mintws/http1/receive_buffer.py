"""The unread bytes of an HTTP/1.1 connection, cut where messages may end."""

from __future__ import annotations

import re

#: The most bytes of a head, or of chunks, that are cut at a time.
PIECE = 16 * 1024

#: The end of a head, and of the last chunk with its trailers (RFC 9112 §2.1, §7.1). A bare LF may end a line (§2.2).
_EMPTY_LINE = re.compile(rb"\n\r?\n")
#: The rest of it, after a piece that ended with its beginning.
_REST_OF_EMPTY_LINE = {b"\n": re.compile(rb"\r?\n"), b"\n\r": re.compile(rb"\n")}
_LEADING_EMPTY_LINES = re.compile(rb"(?:\r?\n)+")


class ReceiveBuffer:
    """Bytes that wait to be parsed.

    The parser gets no byte after the end of its message, so that the rest remains here for the next request or the WebSocket. Each byte is
    examined a bounded number of times, however many messages arrive at once.
    """

    __slots__ = ("_bytes", "_end")

    def __init__(self) -> None:
        self._bytes = bytearray()
        #: The last two bytes that were cut.
        self._end = b""

    def __len__(self) -> int:
        return len(self._bytes)

    def append(self, data: memoryview) -> None:
        """Append received bytes."""
        self._bytes += data

    def skip_empty_lines(self) -> bool:
        """Drop empty lines before a message (RFC 9112 §2.2); return whether other bytes are left."""
        found = _LEADING_EMPTY_LINES.match(self._bytes)
        if found is not None:
            del self._bytes[: found.end()]
        return bool(self._bytes) and self._bytes != b"\r"

    def cut(self, most: int | None) -> bytes:
        """Remove and return the next piece of a message.

        Args:
            most: the remaining bytes of the message; `None` if an empty line ends it, or its next part.

        Returns:
            A piece that does not extend past the end of the message; empty if nothing has been received.
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
        """Remove and return all bytes."""
        taken = bytes(self._bytes)
        self.clear()
        return taken

    def clear(self) -> None:
        """Discard all bytes."""
        self._bytes = bytearray()

    def _lines(self) -> int:
        """Return how many bytes to cut: up to an empty line, which the previous piece may have begun, or a whole piece."""
        begun = self._end if self._end == b"\n\r" else self._end[-1:]
        rest = _REST_OF_EMPTY_LINE.get(begun)
        found = (rest and rest.match(self._bytes)) or _EMPTY_LINE.search(self._bytes, 0, PIECE)
        return PIECE if found is None else found.end()
