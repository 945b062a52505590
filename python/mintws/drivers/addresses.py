"""Checks of the addresses, sockets and TLS contexts that clients and servers are given."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from itertools import zip_longest
from typing import Any, Literal, TypeAlias

from mintws.errors import LocalProtocolError
from mintws.events import Role
from mintws.limits import check_int
from mintws.session import Proxy, parse_proxy
from mintws.url import ascii_host, ipv6_host

#: The path of a Unix socket as a caller gives it.
GivenPath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

#: Seconds that an address of a name has for itself before the next one is tried too (RFC 8305 §5).
ADDRESS_DELAY = 0.25
#: Seconds after which a Unix socket is tried again whose server has no room yet: Linux does not tell when it has.
UNIX_DELAY = 0.05

#: What the system answers while a connection is made.
_UNDER_WAY = frozenset(
    {
        errno.EINPROGRESS,
        errno.EALREADY,
        errno.EINTR,
        errno.EWOULDBLOCK,
        errno.EAGAIN,
        getattr(errno, "WSAEWOULDBLOCK", 0),
    }
)


def check_context(context: object, role: Role) -> None:
    """Raise for what is no TLS context, or one of the other side, where it is given."""
    makes = f"ssl.create_default_context({'ssl.Purpose.CLIENT_AUTH' if role is Role.SERVER else ''}) makes"
    if context is not None and not isinstance(context, ssl.SSLContext):
        raise TypeError(f"ssl is an ssl.SSLContext, not {context!r}: {makes} one")
    if context is not None and role is Role.CLIENT and context.protocol is ssl.PROTOCOL_TLS_SERVER:
        raise LocalProtocolError(f"ssl is a server's context: {makes} a client's")
    if context is not None and role is Role.SERVER and context.protocol is ssl.PROTOCOL_TLS_CLIENT:
        raise LocalProtocolError(f"ssl is a client's context: {makes} a server's")


def check_socket(sock: object, path: object) -> None:
    """Raise for a socket, or the path of a Unix socket, that can carry no transport, where it is given."""
    if sock is not None and not isinstance(sock, socket.socket):
        raise TypeError(f"sock is a socket.socket, not {sock!r}")
    if sock is not None and sock.type != socket.SOCK_STREAM:
        raise LocalProtocolError("sock is no stream: WebSockets need TCP, or a Unix socket of SOCK_STREAM")
    if path is not None and not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path is that of a Unix socket, not {path!r}")
    if path is not None and not os.fspath(path):
        raise LocalProtocolError("path is empty: it names a Unix socket")


def check_address(
    host: object,
    port: object,
    family: object,
    local_addr: object,
    connected: Mapping[str, object],
) -> None:
    """Raise for an address that is none, or that is given in more than one way.

    Args:
        host, port, family, local_addr: see `connect`.
        connected: the other ways by the names of their arguments, `sock` and `path` among them. What else there is, is only counted.
    """
    if port is not None:
        check_int("port", port, 1, 65535)
    if not isinstance(family, int):
        raise TypeError(f"family is socket.AF_INET or socket.AF_INET6, not {family!r}")
    if family not in (0, socket.AF_INET, socket.AF_INET6):
        raise LocalProtocolError(f"family must be socket.AF_INET or socket.AF_INET6, not {family!r}")
    match local_addr:
        case None:
            pass
        case (str(), int(number)):
            check_int("the port of local_addr", number, 0, 65535)
        case _:
            raise TypeError(f"local_addr is a pair of a host and a port, not {local_addr!r}")
    check_socket(connected["sock"], connected["path"])
    tcp = host is not None or port is not None or family or local_addr is not None
    if sum(it is not None for it in connected.values()) + bool(tcp) > 1:
        *names, last = (f"`{name}`" for name in connected)
        raise LocalProtocolError(
            f"{', '.join(names)} or {last} is given instead of `host`, `port`, `family` and `local_addr`"
        )


def check_proxy(proxy: object, connected: Mapping[str, object]) -> Literal["auto"] | Proxy | None:
    """Give the proxy that was given by its URL, "auto" for that of the environment, or none: what is connected already needs none.

    Args:
        proxy: see `connect`.
        connected: as for `check_address`.

    Raises:
        LocalProtocolError: it is no URL of a proxy, or was given with what is connected already.
        TypeError: it is no `str`.
    """
    own = next((name for name, it in connected.items() if it is not None), None)
    if proxy is None or (proxy == "auto" and own is not None):
        return None
    if own is not None:
        raise LocalProtocolError(f"`{own}` is connected without `proxy`: leave out one of them")
    if proxy == "auto":
        return "auto"
    return proxy if isinstance(proxy, Proxy) else parse_proxy(proxy)  # type: ignore[arg-type]


def alternating(addresses: list[Any]) -> list[Any]:
    """Order the addresses of a name so that their families alternate, beginning with that of the first (RFC 8305 §4)."""
    first = [it for it in addresses if it[0] == addresses[0][0]]
    others = [it for it in addresses if it[0] != addresses[0][0]]
    return [it for pair in zip_longest(first, others) for it in pair if it is not None]


def begin_connect(address: Any, local: list[Any] | None) -> socket.socket:
    """Begin to connect to an address; what this and `end_connect` raise has the text that asyncio's errors have.

    Args:
        address: one of those of `socket.getaddrinfo`.
        local: those to connect from.

    Returns:
        A socket without blocking, to wait for until it is writable.

    Raises:
        OSError: it cannot be connected.
    """
    family, kind, protocol, _, place = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if local is not None:
            _bind(sock, [it[4] for it in local if it[0] == family])
        failed = sock.connect_ex(place)
        if failed and failed not in _UNDER_WAY:
            raise OSError(failed, os.strerror(failed))
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, places: list[Any]) -> None:
    """Bind a socket to the first of these that can be."""
    error = OSError(f"no matching local address with family={sock.family!r} found")
    for place in places:
        try:
            sock.bind(place)
        except OSError as failed:
            why = f"error while attempting to bind on address {place!r}: {(failed.strerror or '').lower()}"
            error = OSError(failed.errno, why)
        else:
            return
    raise error


def end_connect(sock: socket.socket, place: object) -> None:
    """Raise `OSError` if a socket that was being connected to a place, and is writable now, is not connected."""
    failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failed:
        raise OSError(failed, f"Connect call failed {place}")


def try_unix(sock: socket.socket, path: str) -> bool:
    """Try to connect a socket without blocking to the path of a Unix socket.

    Returns:
        Whether it is connected; if not, as many connections as the server lets wait do so: it is tried again after `UNIX_DELAY`.

    Raises:
        OSError: it cannot be connected.
    """
    failed = sock.connect_ex(path)
    if failed in _UNDER_WAY:
        return False
    if failed and failed != errno.EISCONN:
        raise OSError(failed, os.strerror(failed))
    return True


async def connect_unix_by(pause: Callable[[float], Awaitable[object]], path: str) -> socket.socket:
    """Connect to a Unix socket; `pause` waits for so many seconds.

    Raises:
        OSError: nothing listens there.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        while not try_unix(sock, path):
            await pause(UNIX_DELAY)
    except BaseException:
        sock.close()
        raise
    return sock


def no_answer(errors: list[OSError]) -> OSError:
    """Make the error of a name of whose addresses none answers, with the text that asyncio's has."""
    if len(errors) == 1 or len({str(error) for error in errors}) == 1:
        return errors[0]
    why = f"Multiple exceptions: {', '.join(map(str, errors))}"
    code = errors[0].errno
    return OSError(why) if code is None or any(it.errno != code for it in errors) else OSError(code, why)


def ascii_name(argument: str, host: object) -> str:
    """Give a host of the caller's, a name or an address, in ASCII."""
    if not isinstance(host, str):
        raise TypeError(f"{argument} is a str, not {type(host).__name__}")
    try:
        return ipv6_host(host) if ":" in host else ascii_host(host)
    except ValueError as error:
        raise LocalProtocolError(f"{argument} {host!r} {error}") from None
