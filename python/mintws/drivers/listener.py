"""Where a server listens: its sockets, and how many connections wait in them."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from mintws.drivers.addresses import GivenPath, check_socket
from mintws.errors import LocalProtocolError
from mintws.limits import INT31, check_int

#: How many connections wait in the system until they are accepted, if nothing is said: what Linux allows unless it is configured. A client
#: that finds no room asks again after a second.
BACKLOG = 4096
#: How often a port that is free in one family of addresses is looked for in the others.
TRIES = 16

#: The errors of an address whose family this host does not have.
_NO_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
#: Where Linux tells the backlog of a listening socket in its `tcp_info`, as `tcpi_sacked`.
_TCP_INFO_BACKLOG = slice(28, 32)

#: The family of a socket and its address.
_Address: TypeAlias = tuple[int, tuple[Any, ...]]
#: Looks a host name up: what `socket.getaddrinfo` gives for it, a port, SOCK_STREAM and AI_PASSIVE.
LookUp: TypeAlias = Callable[[str | None, int], Awaitable[Sequence[Any]]]


class ListenAddress:
    """Where a server listens.

    Args:
        host, port, sock, path, backlog, reuse_port: see `serve`.

    Raises:
        LocalProtocolError: not exactly one place is named, or a number is out of its range.
        TypeError: an argument has a wrong type.
    """

    def __init__(
        self,
        host: str | Sequence[str] | None,
        port: int | None,
        sock: socket.socket | Sequence[socket.socket] | None,
        path: GivenPath | None,
        backlog: int | None,
        reuse_port: bool,
    ) -> None:
        named = (host is not None or port is not None) + (sock is not None) + (path is not None)
        if named != 1:
            raise LocalProtocolError("say where to listen by one of host and port, sock, and path")
        socks = (sock,) if sock is None or isinstance(sock, socket.socket) else _sockets(sock)
        for it in socks:
            check_socket(it, path)
            if it is not None and it.family in (socket.AF_INET, socket.AF_INET6) and it.getsockname()[1] == 0:
                raise LocalProtocolError(
                    "sock is not bound: the system would choose a port, on all interfaces; call sock.bind() before"
                )
        if not isinstance(reuse_port, bool):
            raise TypeError(f"reuse_port is True or False, not {reuse_port!r}")
        if reuse_port and (sock is not None or path is not None):
            raise LocalProtocolError("reuse_port is for host and port: set SO_REUSEPORT before you bind a socket")
        if reuse_port and not hasattr(socket, "SO_REUSEPORT"):
            raise LocalProtocolError("reuse_port is not for this system: it has no SO_REUSEPORT")
        if backlog is not None:
            check_int("backlog", backlog, 1, INT31)
        if port is not None:
            check_int("port", port, 0, 65535)
        hosts = tuple(host) if isinstance(host, Iterable) and not isinstance(host, str) else (host,)
        if not hosts or not all(isinstance(it, str | None) for it in hosts):
            raise TypeError(f"host is a str, or a sequence of them, not {host!r}")
        for it in hosts:
            if it is not None and "/" in it:
                raise LocalProtocolError(f"host is a name or an address, not a URL or a path: {it!r}")
        self._hosts = hosts
        self._port = port or 0
        self._socks = [it for it in socks if it is not None]
        self._path = None if path is None else os.fsdecode(path)
        self._reuse_port = reuse_port
        self._backlog = backlog

    @property
    def backlog(self) -> int:
        """How many connections wait in the system until they are accepted."""
        return self._backlog or BACKLOG

    def backlog_of(self, sock: socket.socket) -> int:
        """The same for a socket: one of the caller's that listens keeps its own, unless another was asked for."""
        return self._backlog or (_backlog_of(sock) if sock in self._socks else 0) or BACKLOG

    async def open_listening(self, look_up: LookUp) -> list[socket.socket]:
        """Open the sockets of the place, or take those that were given, and listen without blocking.

        Raises:
            OSError: it cannot be listened on. Nothing is listened on.
        """
        if self._path is not None:
            sockets = [_open_unix(self._path)]
        elif self._socks:
            sockets = self._socks
        else:
            sockets = await self.open_sockets(look_up)
        try:
            for sock in sockets:
                sock.setblocking(False)
                sock.listen(self.backlog_of(sock))
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return sockets

    async def open_sockets(self, look_up: LookUp) -> list[socket.socket]:
        """Open the sockets of all hosts, on one port; they listen, with a backlog of the system's.

        Raises:
            OSError: a host has no address that can be listened on. Nothing is listened on.
        """
        hosts = [await _resolve(host, self._port, look_up) for host in self._hosts]
        left = TRIES
        while True:
            left -= 1
            try:
                return self._open_on_one_port(hosts)
            except OSError as error:
                if self._port or error.errno != errno.EADDRINUSE or not left:
                    raise

    def _open_on_one_port(self, hosts: list[list[_Address]]) -> list[socket.socket]:
        """Open the sockets; where any port will do, all take that of the first."""
        opened: dict[_Address, socket.socket] = {}
        port = self._port
        try:
            for addresses in hosts:
                missing: OSError | None = None
                for family, address in addresses:
                    if (family, address) in opened:
                        continue
                    here = (address[0], port, *address[2:])
                    try:
                        sock = socket.create_server(here, family=family, reuse_port=self._reuse_port)
                    except OSError as error:
                        if error.errno not in _NO_FAMILY:
                            raise
                        missing = error
                        continue
                    opened[family, address] = sock
                    port = sock.getsockname()[1]
                if missing is not None and not opened.keys() & set(addresses):
                    raise missing
        except BaseException:
            for sock in opened.values():
                sock.close()
            raise
        return list(opened.values())


def _open_unix(path: str) -> socket.socket:
    """Open a Unix socket, in place of one that a server has left behind; a name that begins with NUL is of no file."""
    with suppress(FileNotFoundError):
        if not path.startswith("\0") and stat.S_ISSOCK(os.stat(path).st_mode):
            os.remove(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    return sock


def port_of(sockets: Sequence[Any]) -> int:
    """Return the port that sockets listen on; 0 for a Unix socket, and for none."""
    name = sockets[0].getsockname() if sockets else None
    return int(name[1]) if isinstance(name, tuple) else 0


def _sockets(socks: Any) -> tuple[Any, ...]:
    """Give the sockets of a sequence."""
    if not isinstance(socks, Iterable) or isinstance(socks, (str, bytes)):
        raise TypeError(f"sock is a socket.socket, or a sequence of them, not {socks!r}")
    given = tuple(socks)
    if not given or None in given:
        raise LocalProtocolError("sock has no socket: was one inherited?")
    return given


async def _resolve(host: str | None, port: int, look_up: LookUp) -> list[_Address]:
    """Give the addresses of a host; those of all interfaces for none. Only a name is looked up."""
    kind = socket.SOCK_STREAM
    try:
        infos = socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST)
    except socket.gaierror:
        infos = list(await look_up(host, port))
    except UnicodeError as error:
        raise LocalProtocolError(f"host {host!r} is no name: {error}") from None
    return [(family, address) for family, _, _, _, address in infos]


def _backlog_of(sock: socket.socket) -> int:
    """The backlog of a socket that listens already, which Linux tells for TCP; 0 if it does not, or nobody tells."""
    try:
        if sys.platform == "linux" and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BACKLOG.stop)
            return int.from_bytes(info[_TCP_INFO_BACKLOG], sys.byteorder)
    except OSError:
        pass
    return 0
