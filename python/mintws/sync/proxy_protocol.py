"""The PROXY protocol on sockets that the background reads."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable

from mintws.drivers.proxy_protocol import take_header
from mintws.session import ProxyHeaderReader
from mintws.sync.background import READ, background


class RelayedSocket:
    """A socket of a trusted proxy, whose first bytes are a PROXY header.

    Args:
        sock: the socket.
        timeout: seconds for the header; `None` is no limit.
        done: called by the background, once, when the header is whole, malformed or late, or when this was cut. It takes the socket by
            `release`, or leaves it to be closed.

    Attributes:
        is_cut: whether `cut` was called.
    """

    attended = None

    def __init__(self, sock: socket.socket, timeout: float | None, done: Callable[[RelayedSocket], None]) -> None:
        self.sock = sock
        self.reader = ProxyHeaderReader()
        self.ended = self.is_cut = self._released = False
        self.expires_at = math.inf if timeout is None else time.monotonic() + timeout
        self._timeout = timeout
        self._done = done
        sock.setblocking(False)

    def start(self) -> None:
        """Begin to read."""
        background().add(self)
        if self._timeout is not None:
            background().schedule(self)

    @property
    def interest(self) -> int:
        return READ

    def fileno(self) -> int:
        return self.sock.fileno()

    def process(self, events: int) -> None:
        if self.ended:
            return
        if events:
            take_header(self.sock, self.reader)
        if self.reader.header is not None or self.reader.fault or self.is_cut:
            self.ended = True
            self._done(self)

    def expire(self) -> None:
        """End what takes too long."""
        self.reader.fault = f"it did not come within {self._timeout:g} s"
        background().watch(self)

    def release(self) -> socket.socket:
        """Give the socket away."""
        self._released = True
        return self.sock

    def close_socket(self) -> bool:
        if not self._released:
            self.sock.close()
        return True

    def cut(self) -> None:
        """End at once."""
        self.is_cut = True
        background().watch(self)
