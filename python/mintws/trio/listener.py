"""The sockets that a server listens on."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import trio

from mintws.drivers.listener import ListenAddress, open_unix


class Listener(ListenAddress):
    """Where a server listens; see `ListenAddress`."""

    async def listen(self) -> list[socket.socket]:
        """Listen.

        Raises:
            OSError: a host has no address that can be listened on. Nothing is listened on.
        """
        if self._path is not None:
            sockets = [open_unix(self._path)]
        elif self._socks:
            sockets = self._socks
        else:
            sockets = await self.open_sockets(_look_up)
        try:
            for sock in sockets:
                sock.setblocking(False)
                sock.listen(self.backlog_of(sock))
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return sockets


class NoListener:
    """Where a server listens that is given its connections: nowhere."""

    async def listen(self) -> list[socket.socket]:
        return []


async def _look_up(host: str | None, port: int) -> Sequence[Any]:
    return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
