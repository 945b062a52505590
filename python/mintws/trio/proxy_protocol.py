"""The PROXY protocol on sockets of trio."""

from __future__ import annotations

import socket

import trio

from mintws.drivers.proxy_protocol import take_header
from mintws.session import ProxyHeaderReader


async def read_header(sock: socket.socket, reader: ProxyHeaderReader) -> None:
    """Read a header, and no byte that follows it, until it is whole or malformed."""
    while reader.header is None and not reader.fault:
        await trio.lowlevel.wait_readable(sock)
        take_header(sock, reader)
