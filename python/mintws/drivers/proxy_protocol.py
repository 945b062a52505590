"""The PROXY protocol on sockets that a driver reads itself."""

from __future__ import annotations

import socket

from mintws.session import ProxyHeaderReader

#: The most bytes that are looked at at a time.
READ_SIZE = 2048


def take_header(sock: socket.socket, reader: ProxyHeaderReader) -> None:
    """Take what has come of a header to a socket that does not block, and no byte that follows it."""
    try:
        data = sock.recv(READ_SIZE, socket.MSG_PEEK)
        if data:
            rest = reader.receive(data)
            sock.recv(len(data) - len(rest or b""))
        else:
            reader.receive_eof()
    except (BlockingIOError, InterruptedError):
        return
    except OSError as error:
        reader.receive_eof(error)
