"""A client's connection: the addresses of a name are raced (RFC 8305)."""

from __future__ import annotations

import socket
from typing import Any

import trio

from mintws.drivers.addresses import (
    ADDRESS_DELAY,
    alternating,
    begin_connect,
    connect_unix_by,
    end_connect,
    no_answer,
)


async def connect_tcp(host: str, port: int, family: int, local_addr: tuple[str, int] | None) -> socket.socket:
    """Connect to the first address of a name that answers.

    Args:
        host, port: where to connect to.
        family: `socket.AF_INET` or `AF_INET6` for addresses of that family alone, or 0.
        local_addr: the host and port to connect from.

    Raises:
        OSError: the name has no address, or none answers.
    """
    local = None if local_addr is None else await _resolve(*local_addr, family)
    errors: list[OSError] = []
    connected: list[socket.socket] = []

    async def attempt(address: Any, failed: trio.Event) -> None:
        try:
            sock = await _connect(address, local)
        except OSError as error:
            errors.append(error.with_traceback(None))
            failed.set()
        else:
            connected.append(sock)
            nursery.cancel_scope.cancel()

    addresses = alternating(await _resolve(host, port, family))
    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(ADDRESS_DELAY):
                    await failed.wait()
    except BaseException:
        for sock in connected:
            sock.close()
        raise
    if connected:
        for sock in connected[1:]:
            sock.close()
        return connected[0]
    raise no_answer(errors)


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
    """Connect to a Unix socket.

    Raises:
        OSError: nothing listens there.
    """
    return await connect_unix_by(trio.sleep, path)


async def _connect(address: Any, local: list[Any] | None) -> socket.socket:
    sock = begin_connect(address, local)
    try:
        await trio.lowlevel.wait_writable(sock)
        end_connect(sock, address[4])
    except BaseException:
        sock.close()
        raise
    return sock


async def _resolve(host: str, port: int, family: int) -> list[Any]:
    return list(await trio.socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM))
