"""A client's connection: the addresses of a name are raced (RFC 8305)."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from typing import Any

from mintws.drivers.addresses import (
    ADDRESS_DELAY,
    UNIX_DELAY,
    alternating,
    begin_connect,
    end_connect,
    no_answer,
    try_unix,
)
from mintws.sync.deadlines import seconds_until
from mintws.sync.parking import Interrupted, Interruption, Late, ended_by

#: Seconds after which a thread that connects looks whether another has ended that: a socket to wake it could be lost to a signal.
LOOK = 0.1


def connect_tcp(
    host: str,
    port: int,
    family: int,
    local_addr: tuple[str, int] | None,
    deadline: float | None,
    interruption: Interruption | None,
) -> socket.socket:
    """Connect to the first address of a name that answers.

    Args:
        host, port: the address to connect to.
        family: `socket.AF_INET` or `AF_INET6` for addresses of that family only, or 0.
        local_addr: the host and port to connect from.
        deadline: when to give up.
        interruption: what may end it before, if there is something.

    Raises:
        Interrupted: another thread has ended it.
        Late: the deadline has passed.
        OSError: the name has no address, or none answers.
    """
    remote = alternating(_resolve(host, port, family, deadline, interruption))
    local = None if local_addr is None else _resolve(*local_addr, family, deadline, interruption)
    racing: dict[socket.socket, Any] = {}
    connected: socket.socket | None = None
    try:
        with selectors.DefaultSelector() as selector:
            connected = _race(selector, racing, deque(remote), local, deadline, interruption)
    except BaseException:
        if connected is not None:
            connected.close()
        raise
    finally:
        for sock in racing:
            sock.close()
    return connected


def resolve(host: str, port: int, family: int, deadline: float | None, interruption: Interruption | None) -> str:
    """Return the first address of a name.

    Args:
        host, port: the server.
        family, deadline, interruption: as in `connect_tcp`.

    Raises:
        Interrupted: another thread has ended it.
        Late: the deadline has passed.
        OSError: it has none.
    """
    *_, place = _resolve(host, port, family, deadline, interruption)[0]
    return str(place[0])


def connect_unix(path: str, deadline: float | None, interruption: Interruption | None) -> socket.socket:
    """Connect to a Unix socket.

    Args:
        path: its path.
        deadline, interruption: as in `connect_tcp`.

    Raises:
        Interrupted: another thread has ended it.
        Late: the deadline has passed.
        OSError: nothing listens there.
    """
    over = threading.Event()
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        with ended_by(interruption, over.set):
            while not try_unix(sock, path):
                left = seconds_until(deadline)
                if left == 0:
                    raise Late
                if over.wait(UNIX_DELAY if left is None else min(UNIX_DELAY, left)):
                    raise Interrupted
        sock.setblocking(True)
    except BaseException:
        sock.close()
        raise
    return sock


def _race(
    selector: selectors.BaseSelector,
    racing: dict[socket.socket, Any],
    addresses: deque[Any],
    local: list[Any] | None,
    deadline: float | None,
    interruption: Interruption | None,
) -> socket.socket:
    """Connect to one of the addresses; the sockets that have not answered are left in `racing`, with their addresses."""
    errors: list[OSError] = []
    next_at = time.monotonic()
    while addresses or racing:
        now = time.monotonic()
        if interruption is not None and interruption.called:
            raise Interrupted
        if deadline is not None and now >= deadline:
            raise Late
        if addresses and (now >= next_at or not racing):
            next_at = now + ADDRESS_DELAY
            address = addresses.popleft()
            try:
                sock = begin_connect(address, local)
                racing[sock] = address[4]
                try:
                    selector.register(sock, selectors.EVENT_WRITE)
                except OSError:
                    del racing[sock]
                    sock.close()
                    raise
            except OSError as error:
                errors.append(error.with_traceback(None))
                next_at = now
            continue
        look_at = None if interruption is None else now + LOOK
        limits = [it for it in (next_at if addresses else None, deadline, look_at) if it is not None]
        for key, _ in selector.select(max(0.0, min(limits) - now) if limits else None):
            sock = key.fileobj  # type: ignore[assignment]
            selector.unregister(sock)
            try:
                end_connect(sock, racing[sock])
                sock.setblocking(True)
            except OSError as error:
                errors.append(error.with_traceback(None))
                sock.close()
                del racing[sock]
                next_at = now
            else:
                del racing[sock]
                return sock
    raise no_answer(errors)


def _resolve(host: str, port: int, family: int, deadline: float | None, interruption: Interruption | None) -> list[Any]:
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
    with ended_by(interruption, done.set):
        if not done.wait(seconds_until(deadline)):
            raise Late
    if interruption is not None and interruption.called:
        raise Interrupted
    thread.join()
    if failed:
        raise failed[0]
    return found
