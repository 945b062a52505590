"""The sockets that a server listens on."""

from __future__ import annotations

import socket
from collections.abc import Sequence
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
        return await self.open_listening(_look_up)


class NoListener:
    """Where a server listens that is given its connections: nowhere."""

    async def listen(self) -> list[socket.socket]:
        return []


async def _look_up(host: str | None, port: int) -> Sequence[Any]:
    return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
