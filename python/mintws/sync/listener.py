"""Where a server listens: sockets that the background accepts connections from."""

from __future__ import annotations

import errno
import math
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from mintws.drivers.listener import ListenAddress
from mintws.drivers.server import logger
from mintws.sync.background import READ, background
from mintws.sync.transport import run

#: The most connections that are accepted before other work gets a turn.
ACCEPTED_AT_ONCE = 100
#: Seconds to wait when the system has no room for a connection.
PAUSE = 1.0

#: The errors of a system that has no room for a connection.
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener(ListenAddress):
    """Where a server for threads listens."""

    def listen(self, accepted: Callable[[socket.socket], None]) -> list[ListeningSocket]:
        """Listen; `accepted` is called with each connection.

        Raises:
            OSError: a host has no address that can be listened on. Nothing is listened on.
        """
        listening = [ListeningSocket(sock, accepted) for sock in run(self.open_listening(_look_up))]
        for it in listening:
            background().add(it)
        return listening


class ListeningSocket:
    """A socket that listens."""

    attended = None

    def __init__(self, sock: socket.socket, accepted: Callable[[socket.socket], None]) -> None:
        self.sock = sock
        self.ended = False
        self.expires_at = math.inf
        self._accepted = accepted

    @property
    def interest(self) -> int:
        return READ if self.expires_at == math.inf else 0

    def fileno(self) -> int:
        return self.sock.fileno()

    def process(self, events: int) -> None:
        for _ in range(ACCEPTED_AT_ONCE if events else 0):
            if self.ended:
                return
            try:
                sock, _ = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                logger.error("the system has no room for a connection: %s", error)
                self.expires_at = time.monotonic() + PAUSE
                background().schedule(self)
                return
            self._accepted(sock)

    def expire(self) -> None:
        """Accept connections again."""
        self.expires_at = math.inf

    def close_socket(self) -> bool:
        self.sock.close()
        return True

    def cut(self) -> None:
        """Listen no more."""
        self.ended = True
        background().watch(self)


async def _look_up(host: str | None, port: int) -> Sequence[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
