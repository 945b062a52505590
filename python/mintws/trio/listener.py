"""The sockets that a server listens on."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import trio

from mintws.drivers.listener import ListenAddress


class Listener(ListenAddress):
    """Where a server listens; see `ListenAddress`."""

    async def listen(self) -> list[socket.socket]:
        """Listen.

        Raises:
            OSError: a host has no address that can be listened on. Nothing is listened on.
        """
        if self._path is not None:
            sockets = [_bind_unix(self._path)]
        elif self._socks:
            sockets = self._socks
        else:
            sockets = await self.open_sockets(_look_up)
        for sock in sockets:
            sock.setblocking(False)
            sock.listen(self.backlog_of(sock))
        return sockets


class NoListener:
    """Where a server listens that is given its connections: nowhere."""

    async def listen(self) -> list[socket.socket]:
        return []


def _bind_unix(path: str) -> socket.socket:
    """Bind a Unix socket, in place of one that a process has left there."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.remove(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    return sock


async def _look_up(host: str | None, port: int) -> Sequence[Any]:
    return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
