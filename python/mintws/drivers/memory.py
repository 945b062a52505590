"""Connections in memory: bytes on their way, bounded as the buffers of a socket are, and clients of a server in memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from mintws.errors import LocalProtocolError

T = TypeVar("T")

#: The most bytes that are on their way in one direction.
CAPACITY = 64 * 1024


class Pipe:
    """Bytes on their way from a writer to a reader.

    Attributes:
        readable: called when there are bytes to read, or the end.
        writable: called when there is room, or the reader has gone.
    """

    __slots__ = ("_abandoned", "_bytes", "_ended", "readable", "writable")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ended = self._abandoned = False
        self.readable: Callable[[], object] = _nothing
        self.writable: Callable[[], object] = _nothing

    def __len__(self) -> int:
        return len(self._bytes)

    @property
    def at_end(self) -> bool:
        """Whether all bytes are read, and no more will be written."""
        return self._ended and not self._bytes

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write what there is room for, and return how many bytes that is.

        Raises:
            BrokenPipeError: the writer has ended it.
            ConnectionResetError: the reader has gone.
        """
        if self._ended:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if self._abandoned:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        with memoryview(data) as given:
            taken = given[: CAPACITY - len(self._bytes)]
            size = len(taken)
            self._bytes += taken
            taken.release()
        if size:
            self.readable()
        return size

    def read(self, most: int) -> bytes:
        """Read at most so many bytes; none if there are none."""
        data = bytes(self._bytes[:most])
        del self._bytes[:most]
        if data:
            self.writable()
        return data

    def end(self) -> None:
        """Write no more: the reader gets what is on its way, and then the end."""
        self.writable = _nothing
        if not self._ended:
            self._ended = True
            self.readable()

    def abandon(self) -> None:
        """Read no more: the writer gets an error."""
        self.readable = _nothing
        self._bytes.clear()
        if not self._abandoned:
            self._abandoned = True
            self.writable()


def refused() -> ConnectionRefusedError:
    """Make the error of a server that does not listen."""
    return ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def reaching(kind: type[T], change: Callable[[Any], Any]) -> type[T]:
    """Make a subclass of a driver's `connect` or `connect_http2` that reaches servers in another way.

    Args:
        kind: the class.
        change: gets the connector that an opening has made of its arguments, and returns the one that it is to have.
    """

    @wraps(kind.__init__)
    def init(self: Any, *args: Any, **given: Any) -> None:
        kind.__init__(self, *args, **given)
        self._connector = change(self._connector)

    return type(kind.__name__, (kind,), {"__init__": init, "__doc__": kind.__doc__})


def url_of(target: str) -> str:
    """Return the URL of a path and query of a server in memory.

    Raises:
        LocalProtocolError: it does not begin with "/".
    """
    if not isinstance(target, str):
        raise TypeError(f"target is path and query, a str, not {target!r}")
    if not target.startswith("/"):
        raise LocalProtocolError(f'target is path and query, and begins with "/", not {target!r}')
    return f"ws://localhost{target}"


def _nothing() -> None:
    """Call nobody."""
