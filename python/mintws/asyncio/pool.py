"""A pool of connections that WebSockets share."""

from __future__ import annotations

import asyncio
from typing import Any

from mintws.arguments import explained
from mintws.asyncio.client import connect
from mintws.asyncio.connector import ClientProtocol, Connector
from mintws.asyncio.timers import Interruption, Late, limited
from mintws.asyncio.websocket import WebSocket
from mintws.drivers.client import Attempt, ClientSettings, GivenUrl
from mintws.drivers.pool import IDLE_TIMEOUT, PooledOpening, TransportPool, check_shared, closed, with_arguments_of
from mintws.drivers.transport import Waiter
from mintws.errors import LocalProtocolError
from mintws.events import UpgradeRequest
from mintws.limits import STREAM_WINDOW
from mintws.session import HttpVersion


class Pool:
    """A pool of connections, for WebSockets that share them: `async with Pool() as pool:`.

    WebSockets to the same origin share HTTP/2 connections, if the server takes WebSockets over HTTP/2; else each has a connection of its
    own. An origin is a scheme, a host and a port. Connections are shared if they are made in the same way too: with the same TLS context,
    `server_hostname`, `host`, `port`, `family`, `local_addr`, `path` and proxy, and with the same options and timeouts, but for
    `open_timeout`.

    A further connection is made where the streams of the others are used up. Openings that need one at the same time wait for the same. One
    that the server says that it has not processed is made again, on another connection: after a GOAWAY up to three times, after a
    REFUSED_STREAM once. Before a connection is used from which nothing has come for 5 s, the server is asked by a PING whether it is there;
    after 2 s without an answer another one is made.

    A pool belongs to one loop. It is closed at the end of the block, or by `close`.

    Args:
        max_connections_per_origin: the HTTP/2 connections to one origin, at most; further WebSockets wait for a free stream. Those that the
            server is leaving are not counted. `None` is no limit.
        max_concurrent_streams: the WebSockets on one connection, at most, where that is less than the server takes.
        window: what the server may send on one stream before the application takes it, in bytes; see `connect_http2`.
        idle_timeout: seconds after which an HTTP/2 connection without WebSockets is closed; `None` closes none before the pool is closed.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong.
    """

    @explained()
    def __init__(
        self,
        *,
        max_connections_per_origin: int | None = None,
        max_concurrent_streams: int | None = None,
        window: int = STREAM_WINDOW,
        idle_timeout: float | None = IDLE_TIMEOUT,
    ) -> None:
        self._transports = _LoopTransports(max_connections_per_origin, max_concurrent_streams, window, idle_timeout)

    async def __aenter__(self) -> Pool:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self.close()

    @with_arguments_of(connect)
    def connect(self, url: GivenUrl, **arguments: Any) -> connect:
        """Open a WebSocket on a connection of the pool, in all ways of `connect`: entered, awaited, or one after another by `async for`.

        The WebSocket is closed as always, which does not close its connection.

        Args:
            url, arguments: as of `connect`, but for what is connected already. With `http="auto"`, the default, HTTP/2 is spoken over TLS
                alone; `http="2"` speaks it without TLS too.

        Raises:
            PoolClosed: the pool is closed, or was closed meanwhile.
            ConnectError: as from `connect`.
            LocalProtocolError: an argument is wrong, or the pool belongs to another loop.
        """
        return _PooledConnect(self._transports, url, **arguments)

    async def close(self) -> None:
        """Close all WebSockets of the pool with 1000, then the connections; they are closed at once if the call is cancelled.

        Openings that wait fail with `PoolClosed`, and so do those whose connection is being made.

        Raises:
            LocalProtocolError: the pool belongs to another loop.
        """
        self._transports.check_loop()
        transports = self._transports.begin_close()
        # One of HTTP/1.1 ends with its WebSocket.
        shared = [it for it in transports if not it.single]
        for transport in transports:
            transport.fail_openings(closed)
        try:
            try:
                closing = (it.close() for transport in transports for it in list(transport.websockets))
                await asyncio.gather(*closing, return_exceptions=True)
            finally:
                for transport in shared:
                    transport.close()
            for transport in shared:
                await asyncio.shield(transport.gone)
        except asyncio.CancelledError:
            for transport in shared:
                transport.outlive()
            raise


class _LoopTransports(TransportPool[ClientProtocol]):
    """The transports of a pool, on one loop."""

    _loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def new_waiter(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def check_loop(self) -> None:
        """Raise if the pool is used by another loop than before."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise LocalProtocolError("the pool belongs to another event loop: make one for each loop")


class _PooledConnect(connect):
    """The opening of a WebSocket of a pool."""

    _name = "Pool.connect"

    def __init__(self, transports: _LoopTransports, url: GivenUrl, **arguments: Any) -> None:
        super().__init__(url, **arguments)
        check_shared(self._connector.destination.reach, "`sock` and `transport`")
        self._transports = transports

    async def _connect(self) -> WebSocket:
        self._transports.check_loop()
        self._transports.check_open(self._settings.url)
        return await super()._connect()

    async def _connect_once(
        self, connector: Connector, request: UpgradeRequest, http: HttpVersion, attempt: Attempt
    ) -> WebSocket:
        opening = _LoopOpening(connector, self._settings, attempt)
        websocket: WebSocket = await self._transports.open(opening, request, http)
        return websocket


class _LoopOpening(PooledOpening[ClientProtocol]):
    """The opening of a WebSocket by a task."""

    def __init__(self, connector: Connector, settings: ClientSettings, attempt: Attempt) -> None:
        super().__init__(connector.destination, settings, attempt)
        self._connector = connector
        self._settings = settings
        self._interruption = Interruption()

    async def connect(self, http: HttpVersion, streams: dict[str, int | None]) -> None:
        timeouts, options = self._settings.timeouts, self._settings.options
        connecting = self._connector.connect(http, timeouts, options, self.attempt, **streams)
        try:
            self.connected = await limited(connecting, None, self._interruption)
        except Late:
            raise closed(self.url) from None

    def interrupt(self) -> None:
        self._interruption()

    async def wait(self, waiter: Waiter[None]) -> None:
        await waiter  # type: ignore[misc]
