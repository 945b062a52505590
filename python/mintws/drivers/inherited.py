"""Sockets that a process manager has opened for this process, as systemd does."""

from __future__ import annotations

import os
import socket
from functools import cache

from mintws.errors import LocalProtocolError

#: The first descriptor that is handed on, after those of the standard streams (sd_listen_fds(3)).
FIRST = 3
#: The name of a socket that was given none.
UNNAMED = "unknown"


def inherited_sockets(name: str | None = None) -> list[socket.socket]:
    """Return the sockets that a process manager has opened for this process, for `serve(sock=...)`.

    They are those of socket activation by systemd (LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES in the environment, which are removed, so that
    no process that this one starts takes them for its own). Each call returns the same sockets.

    Args:
        name: only sockets of this name (FileDescriptorName=); all of them if `None`.

    Raises:
        LocalProtocolError: the environment is malformed.
        OSError: a descriptor is not a socket.
    """
    return [sock for it, sock in _inherited() if name in (None, it)]


@cache
def _inherited() -> tuple[tuple[str, socket.socket], ...]:
    pid, count, names = (os.environ.pop(f"LISTEN_{key}", "") for key in ("PID", "FDS", "FDNAMES"))
    if not count or (pid.isdecimal() and int(pid) != os.getpid()):
        return ()
    if not (pid.isdecimal() and count.isdecimal()):
        raise LocalProtocolError(f"LISTEN_PID and LISTEN_FDS are numbers, not {pid!r} and {count!r}")
    named = names.split(":") if names else [UNNAMED] * int(count)
    if len(named) != int(count):
        raise LocalProtocolError(f"LISTEN_FDNAMES has {len(named)} names for {count} sockets")
    sockets = []
    for i, name in enumerate(named):
        sock = socket.socket(fileno=FIRST + i)
        sock.set_inheritable(False)
        sockets.append((name, sock))
    return tuple(sockets)
