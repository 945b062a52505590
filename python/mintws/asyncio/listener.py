"""Where a server listens, with a server of asyncio's for each socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from mintws.drivers.listener import ListenAddress


class Listener(ListenAddress):
    """Where a server on a loop listens."""

    async def listen(self, protocol: Callable[[], asyncio.BaseProtocol]) -> list[asyncio.Server]:
        """Listen, with a server of asyncio's for each socket.

        Args:
            protocol: makes the protocol of a connection.

        Raises:
            OSError: a host has no address that can be listened on. Nothing is listened on.
        """
        loop = asyncio.get_running_loop()
        servers: list[asyncio.Server] = []
        ours: list[socket.socket] = []
        # Serving them sets one of its own.
        backlogs = [self.backlog_of(sock) for sock in self._socks] or repeat(self.backlog)
        try:
            if self._path is not None:
                servers.append(await loop.create_unix_server(protocol, self._path))
            elif self._socks:
                for sock in self._socks:
                    servers.append(await loop.create_server(protocol, sock=sock))
            else:
                ours = await self.open_sockets(_look_up)
                for sock in ours:
                    servers.append(await loop.create_server(protocol, sock=sock))
            for server, backlog in zip(servers, backlogs, strict=False):
                _set_backlog(server, backlog)
        except BaseException:
            for server in servers:
                server.close()
            for sock in ours:
                sock.close()
            raise
        return servers


async def _look_up(host: str | None, port: int) -> Sequence[Any]:
    loop = asyncio.get_running_loop()
    return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)


def _set_backlog(server: asyncio.Server, backlog: int) -> None:
    # asyncio gets its default, 100, because it also accepts as many in one turn of the loop, and, where no file descriptor is left, logs as
    # many errors.
    for sock in server.sockets:
        with socket.fromfd(sock.fileno(), sock.family, sock.type) as twin:
            twin.listen(backlog)
