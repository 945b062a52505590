"""Tests without a network: a server in memory, with clients of its own, and a pair of connected WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mintws.asyncio.client import connect, connect_http2
from mintws.asyncio.connector import ClientProtocol, Connector
from mintws.asyncio.memory import MemoryTransport, memory_transports
from mintws.asyncio.server import Handler, Server, serve
from mintws.asyncio.websocket import WebSocket
from mintws.connection import Options
from mintws.drivers import pair as shared
from mintws.drivers.client import Attempt, unreachable
from mintws.drivers.destination import Destination
from mintws.drivers.memory import reaching, refused
from mintws.errors import ConnectTimeout
from mintws.session import HttpVersion, Timeouts
from mintws.url import Url

__all__ = ["MemoryServer", "pair", "serve_in_memory"]


class serve_in_memory(serve):  # noqa: N801  (used as a function)
    """Serve WebSockets without a network: `async with serve_in_memory(handler) as server:`, or `server = await serve_in_memory(handler)`.

    `server.connect` and `server.connect_http2` connect to it. All else is as with `serve`: handshakes, hooks, versions of HTTP, and TLS
    where `ssl` is given.

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

    def __await__(self) -> Generator[Any, None, MemoryServer]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> MemoryServer:
        await super().__aenter__()
        return self._server


class MemoryServer(Server):
    """A server in memory, which only its own clients reach.

    Attributes:
        connect: connects to this server: `mintws.asyncio.connect` with the same arguments. The URL names no place: any host and any port
            lead to this server, in redirects too, and arguments that say how a server is reached are not used. "wss://" needs a server
            with `ssl`.
        connect_http2: the same for `mintws.asyncio.connect_http2`.
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

    def _dial(self) -> MemoryTransport:
        if self.leaving:
            raise refused()
        return self._listener.dial()


class _MemoryListener:
    """Where a server in memory takes transports."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._make_protocol: Callable[[], asyncio.BaseProtocol]

    async def listen(self, protocol: Callable[[], asyncio.BaseProtocol]) -> list[asyncio.Server]:
        self._loop, self._make_protocol = asyncio.get_running_loop(), protocol
        return []

    def dial(self) -> MemoryTransport:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            raise refused()
        if self._loop is not loop:
            raise RuntimeError("the server in memory belongs to another loop")
        ours, theirs = memory_transports(loop)
        theirs.start(self._make_protocol())
        return ours


class _MemoryConnector(Connector):
    """What reaches a server in memory, by a new transport each time.

    Args:
        destination: where the client thinks that the server is.
        dial: connects a transport.
    """

    def __init__(self, destination: Destination, dial: Callable[[], MemoryTransport]) -> None:
        super().__init__(destination, None)
        self._dial = dial

    def at(self, url: Url) -> Connector:
        return _MemoryConnector(self.destination.at(url), self._dial)

    def to(self, url: Url) -> Connector:
        return _MemoryConnector(self.destination.to(url), self._dial)

    async def connect(
        self, http: HttpVersion, timeouts: Timeouts, options: Options, attempt: Attempt, **streams: int | None
    ) -> ClientProtocol:
        try:
            transport = self._dial()
        except OSError as error:
            raise unreachable(self.destination.url, error, ConnectTimeout) from error
        return await Connector(self.destination, transport).connect(http, timeouts, options, attempt, **streams)


class pair(shared.pair):  # noqa: N801  (used as a function)
    """Open a pair of connected WebSockets in memory: `async with pair() as (client, server):`. Both are closed when it ends.

    Args:
        target: path and query of the request.
        http: the version of HTTP.
        headers: further headers of the request.
        subprotocols, extensions, close_timeout, ping_interval, ping_timeout, options: those of both, as in `connect` and `serve`.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong, or it was entered before.
    """

    _serve = serve_in_memory

    async def __aenter__(self) -> tuple[WebSocket, WebSocket]:
        self._begin()
        self._block = self._open()
        return await self._block.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self._block.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[WebSocket, WebSocket]]:
        self._opened: asyncio.Queue[WebSocket] = asyncio.Queue()
        self._over = asyncio.Event()
        async with self._serving, AsyncExitStack() as stack:
            # The server waits for the handler, which the client's opening may have begun though it has failed.
            stack.callback(self._over.set)
            client = await stack.enter_async_context(self._connecting)
            stack.callback(self._over.set)
            yield client, await self._opened.get()

    async def _handle(self, websocket: WebSocket) -> None:
        self._opened.put_nowait(websocket)
        await self._over.wait()
