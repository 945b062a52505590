"""Tests without a network: a server in memory, with clients of its own, and a pair of connected WebSockets."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from mintws.connection import Options
from mintws.drivers import pair as shared
from mintws.drivers.client import Attempt
from mintws.drivers.destination import Destination
from mintws.drivers.memory import reaching, refused
from mintws.session import Timeouts
from mintws.sync.client import connect, connect_http2
from mintws.sync.connector import Connector
from mintws.sync.listener import ListeningSocket
from mintws.sync.parking import Interruption
from mintws.sync.server import Handler, Server, serve
from mintws.sync.websocket import WebSocket
from mintws.url import Url

__all__ = ["MemoryServer", "pair", "serve_in_memory"]


class serve_in_memory(serve):  # noqa: N801  (used as a function)
    """Serve WebSockets without a network: `with serve_in_memory(handler) as server:`, or `server = serve_in_memory(handler).listen()`.

    `server.connect` and `server.connect_http2` connect to it, by pairs of sockets of the system that have no address. All else is as with
    `serve`: handshakes, hooks, versions of HTTP, and TLS where `ssl` is given.

    Args:
        handler: see `serve`.
        host, port, sock, path, backlog, reuse_port: not used.
        options: these, and all other arguments: see `serve`.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong.
    """

    _server: MemoryServer

    def _make_server(self, handler: Handler, timeouts: Timeouts, options: Options) -> MemoryServer:
        return MemoryServer(handler, timeouts, options)

    def _make_listener(self, *place: Any) -> _MemoryListener:
        return self._server._listener

    def __enter__(self) -> MemoryServer:
        return self.listen()

    def listen(self) -> MemoryServer:
        super().listen()
        return self._server


class MemoryServer(Server):
    """A server in memory, which only its own clients reach.

    Attributes:
        connect: connects to this server: `mintws.sync.connect` with the same arguments. The URL names no place: any host and any port
            lead to this server, in redirects too, and arguments that say how a server is reached are not used. "wss://" needs a server
            with `ssl`.
        connect_http2: the same for `mintws.sync.connect_http2`.
    """

    connect: type[connect]
    connect_http2: type[connect_http2]

    def __init__(self, handler: Handler, timeouts: Timeouts, options: Options) -> None:
        super().__init__(handler, timeouts, options)
        self._listener = _MemoryListener()
        self.connect = reaching(connect, self._reach)
        self.connect_http2 = reaching(connect_http2, self._reach)

    def _reach(self, connector: Connector) -> Connector:
        return _MemoryConnector(connector.destination, self._dial)

    def _dial(self) -> socket.socket:
        accepted = self._listener.accepted
        if self.leaving or accepted is None:
            raise refused()
        ours, theirs = socket.socketpair()
        accepted(theirs)
        return ours


class _MemoryListener:
    """Where a server in memory takes connections.

    Attributes:
        accepted: takes one, once the server listens.
    """

    accepted: Callable[[socket.socket], None] | None = None

    def listen(self, accepted: Callable[[socket.socket], None]) -> list[ListeningSocket]:
        self.accepted = accepted
        return []


class _MemoryConnector(Connector):
    """What reaches a server in memory, by a new pair of sockets each time.

    Args:
        destination: where the client thinks that the server is.
        dial: connects a socket.
    """

    def __init__(self, destination: Destination, dial: Callable[[], socket.socket]) -> None:
        super().__init__(destination)
        self._dial = dial

    def at(self, url: Url) -> Connector:
        return _MemoryConnector(self.destination.at(url), self._dial)

    def to(self, url: Url) -> Connector:
        return _MemoryConnector(self.destination.to(url), self._dial)

    def _open(
        self, attempt: Attempt, deadline: float | None, close_timeout: float, interruption: Interruption | None
    ) -> tuple[socket.socket, bytes]:
        return self._dial(), b""


class pair(shared.pair):  # noqa: N801  (used as a function)
    """Open a pair of connected WebSockets in memory: `with pair() as (client, server):`. Both are closed when it ends.

    Args:
        target: path and query of the request.
        http: the version of HTTP.
        headers: further headers of the request.
        subprotocols, extensions, close_timeout, ping_interval, ping_timeout, options: those of both, as in `connect` and `serve`.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong, or it was entered before.
    """

    _serve = serve_in_memory

    def __enter__(self) -> tuple[WebSocket, WebSocket]:
        self._begin()
        self._block = self._open()
        return self._block.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._block.__exit__(kind, error, trace)

    @contextmanager
    def _open(self) -> Iterator[tuple[WebSocket, WebSocket]]:
        self._opened: queue.SimpleQueue[WebSocket] = queue.SimpleQueue()
        self._over = threading.Event()
        with self._serving, ExitStack() as stack:
            # The server waits for the handler, which the client's opening may have begun though it has failed.
            stack.callback(self._over.set)
            client = stack.enter_context(self._connecting)
            stack.callback(self._over.set)
            yield client, self._opened.get()

    def _handle(self, websocket: WebSocket) -> None:
        self._opened.put(websocket)
        self._over.wait()
