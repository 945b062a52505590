"""A client's connection: the addresses of a name are raced (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from aiohappyeyeballs import start_connection

from mintws.asyncio.timers import pause
from mintws.drivers.addresses import ADDRESS_DELAY, connect_unix_by


async def connect_tcp(host: str, port: int, family: int, local_addr: tuple[str, int] | None) -> socket.socket:
    """Connect to the first address of a name that answers, on any loop: uvloop does not race by itself.

    Args:
        host, port: where to connect to.
        family: `socket.AF_INET` or `AF_INET6` for addresses of that family alone, or 0.
        local_addr: the host and port to connect from.

    Raises:
        OSError: the name has no address, or none answers.
    """
    remote = [_scoped(address) for address in await _resolve(host, port, family)]
    local = None if local_addr is None else await _resolve(*local_addr, family)
    try:
        return await start_connection(remote, local_addr_infos=local, happy_eyeballs_delay=ADDRESS_DELAY)
    except OSError as error:
        # Frames of the library hold the errors of all addresses, and wait for the collector with whatever those hold.
        args = error.with_traceback(None).args
    raise OSError(*args)


async def resolve(host: str, port: int, family: int) -> str:
    """Return the first address of a name.

    Args:
        host, port: the server.
        family: as in `connect_tcp`.

    Raises:
        OSError: it has none.
    """
    *_, place = (await _resolve(host, port, family))[0]
    return str(place[0])


async def connect_unix(path: str) -> socket.socket:
    """Connect to a Unix socket: a loop would take one for connected whose server has no room for it.

    Raises:
        OSError: nothing listens there.
    """
    return await connect_unix_by(pause, path)


def hand_over(sock: socket.socket) -> None:
    """Leave a socket to the transport that was made of it.

    uvloop closes the descriptor, but tells the socket only if that happens late enough (0.23): the socket would close it once more
    when it is freed, and with it whatever has the same number by then. So the socket gives it up at once.
    """
    if any(it.__module__.partition(".")[0] == "uvloop" for it in type(asyncio.get_running_loop()).__mro__):
        sock.detach()


async def _resolve(host: str, port: int, family: int) -> list[Any]:
    try:
        # An address is read here, which needs no thread.
        return socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)


def _scoped(address: Any) -> Any:
    """Write the zone of an IPv6 address into its text too, of which alone `uvloop.Loop.sock_connect` makes something."""
    *kind, place = address
    if len(place) == 4 and place[3] and "%" not in place[0]:
        place = (f"{place[0]}%{place[3]}", *place[1:])
    return (*kind, place)
