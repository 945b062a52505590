"""A client's TCP connection: the addresses of a name are raced (RFC 8305)."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from typing import Any

from mintws.drivers.addresses import ADDRESS_DELAY, alternating, begin_connect, end_connect, no_answer
from mintws.sync.deadlines import seconds_until
from mintws.sync.parking import Late


def connect_tcp(
    host: str, port: int, family: int, local_addr: tuple[str, int] | None, deadline: float | None
) -> socket.socket:
    """Connect to the first address of a name that answers.

    Args:
        host, port: the address to connect to.
        family: `socket.AF_INET` or `AF_INET6` for addresses of that family only, or 0.
        local_addr: the host and port to connect from.
        deadline: when to give up.

    Raises:
        Late: the deadline has passed.
        OSError: the name has no address, or none answers.
    """
    remote = alternating(_resolve(host, port, family, deadline))
    local = None if local_addr is None else _resolve(*local_addr, family, deadline)
    with selectors.DefaultSelector() as selector:
        try:
            return _race(selector, deque(remote), local, deadline)
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]


def resolve(host: str, port: int, family: int, deadline: float | None) -> str:
    """Return the first address of a name.

    Args:
        host, port: the server.
        family, deadline: as in `connect_tcp`.

    Raises:
        Late: the deadline has passed.
        OSError: it has none.
    """
    *_, place = _resolve(host, port, family, deadline)[0]
    return str(place[0])


def _race(
    selector: selectors.BaseSelector, addresses: deque[Any], local: list[Any] | None, deadline: float | None
) -> socket.socket:
    errors: list[OSError] = []
    next_at = time.monotonic()
    while addresses or selector.get_map():
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            raise Late
        if addresses and (now >= next_at or not selector.get_map()):
            next_at = now + ADDRESS_DELAY
            address = addresses.popleft()
            try:
                selector.register(begin_connect(address, local), selectors.EVENT_WRITE, address[4])
            except OSError as error:
                errors.append(error.with_traceback(None))
                next_at = now
            continue
        limits = [it for it in (next_at if addresses else None, deadline) if it is not None]
        for key, _ in selector.select(max(0.0, min(limits) - now) if limits else None):
            sock: socket.socket = key.fileobj  # type: ignore[assignment]
            selector.unregister(sock)
            try:
                end_connect(sock, key.data)
                sock.setblocking(True)
            except OSError as error:
                errors.append(error.with_traceback(None))
                sock.close()
                next_at = now
            else:
                return sock
    raise no_answer(errors)


def _resolve(host: str, port: int, family: int, deadline: float | None) -> list[Any]:
    """Return the addresses of a host. A name is looked up by a thread, because the call of the system cannot be interrupted."""
    try:
        return socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    found: list[Any] = []
    failed: list[OSError] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM))
        except OSError as error:
            failed.append(error.with_traceback(None))
        finally:
            done.set()

    thread = threading.Thread(target=look_up, name="mintws name lookup", daemon=True)
    thread.start()
    if not done.wait(seconds_until(deadline)):
        raise Late
    thread.join()
    if failed:
        raise failed[0]
    return found
