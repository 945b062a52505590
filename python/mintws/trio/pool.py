"""A pool of connections that WebSockets share."""

from __future__ import annotations

from typing import Any

import trio

from mintws.arguments import explained
from mintws.drivers.client import Attempt, ClientSettings, GivenUrl
from mintws.drivers.pool import IDLE_TIMEOUT, PooledOpening, TransportPool, check_shared, closed, with_arguments_of
from mintws.drivers.transport import Waiter as AnyWaiter
from mintws.errors import LocalProtocolError
from mintws.events import UpgradeRequest
from mintws.limits import STREAM_WINDOW
from mintws.session import HttpVersion
from mintws.trio.blocks import BlockNursery, raising
from mintws.trio.client import connect
from mintws.trio.connector import Connector, TrioClientTransport
from mintws.trio.stream import aclose_now
from mintws.trio.waiter import Waiter
from mintws.trio.websocket import WebSocket


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

    It is closed at the end of the block, or by `close`. Its connections run in a nursery that lasts as long as the block, or in one that is
    given.

    Args:
        max_connections_per_origin: the HTTP/2 connections to one origin, at most; further WebSockets wait for a free stream. Those that the
            server is leaving are not counted. `None` is no limit.
        max_concurrent_streams: the WebSockets on one connection, at most, where that is less than the server takes.
        window: what the server may send on one stream before the application takes it, in bytes; see `connect_http2`.
        idle_timeout: seconds after which an HTTP/2 connection without WebSockets is closed; `None` closes none before the pool is closed.
        nursery: where the tasks of the connections run, for a pool that is used without `async with`.

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
        nursery: trio.Nursery | None = None,
    ) -> None:
        self._transports = _TrioTransports(max_connections_per_origin, max_concurrent_streams, window, idle_timeout)
        self._nursery = nursery
        #: The nursery of the block.
        self._tasks: BlockNursery | None = None

    async def __aenter__(self) -> Pool:
        if self._nursery is None:
            self._tasks = BlockNursery()
            self._nursery = await self._tasks.open()
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            with raising(error):
                await self.close()
        finally:
            tasks, self._tasks = self._tasks, None
            if tasks is not None:
                self._transports.cut()
                await tasks.close()

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
            LocalProtocolError: an argument is wrong, or the pool has no nursery.
        """
        if arguments.get("nursery") is not None:
            raise LocalProtocolError("the connections of a pool run in its own nursery: give Pool() another one")
        if self._nursery is None:
            raise LocalProtocolError(
                "a pool needs a nursery for its tasks: enter it by `async with`, or give it one by nursery="
            )
        # The connections last until the block has ended, even where that is cancelled.
        shield = self._tasks is not None
        return _PooledConnect(self._transports, shield, url, **{**arguments, "nursery": self._nursery})

    async def close(self) -> None:
        """Close all WebSockets of the pool with 1000, then the connections; they are closed at once if the call is cancelled.

        Openings that wait fail with `PoolClosed`, and so do those whose connection is being made.
        """
        transports = self._transports.begin_close()
        # One of HTTP/1.1 ends with its WebSocket.
        shared = [it for it in transports if not it.single]
        for transport in transports:
            transport.fail_openings(closed)
        try:
            async with trio.open_nursery() as nursery:
                for transport in transports:
                    for websocket in list(transport.websockets):
                        nursery.start_soon(websocket.close)
            for transport in shared:
                transport.close()
            for transport in shared:
                await transport.gone.wait()
        except BaseException:
            for transport in shared:
                transport.close()
                transport.cut()
            raise


class _TrioTransports(TransportPool[TrioClientTransport]):
    """The transports of a pool, in one run."""

    def now(self) -> float:
        return trio.current_time()

    def new_waiter(self) -> Waiter[None]:
        return Waiter()


class _PooledConnect(connect):
    """The opening of a WebSocket of a pool."""

    _name = "Pool.connect"

    def __init__(self, transports: _TrioTransports, shield: bool, url: GivenUrl, **arguments: Any) -> None:
        super().__init__(url, **arguments)
        check_shared(self._connector.destination.reach, "`sock` and `stream`")
        self._transports = transports
        self._shield = shield

    async def _open(self, nursery: trio.Nursery, *, shield: bool) -> WebSocket:
        self._transports.check_open(self._settings.url)
        return await super()._open(nursery, shield=self._shield)

    async def _open_once(
        self,
        connector: Connector,
        request: UpgradeRequest,
        http: HttpVersion,
        attempt: Attempt,
        nursery: trio.Nursery,
        shield: bool,
    ) -> WebSocket:
        opening = _TrioOpening(connector, self._settings, attempt, self._transports, nursery, shield)
        websocket: WebSocket = await self._transports.open(opening, request, http)
        return websocket


class _TrioOpening(PooledOpening[TrioClientTransport]):
    """The opening of a WebSocket by a task."""

    def __init__(
        self,
        connector: Connector,
        settings: ClientSettings,
        attempt: Attempt,
        transports: _TrioTransports,
        nursery: trio.Nursery,
        shield: bool,
    ) -> None:
        super().__init__(connector.destination, settings, attempt)
        self._connector = connector
        self._settings = settings
        self._transports = transports
        self._nursery = nursery
        self._shield = shield
        #: What is cancelled when the pool is closed, for each connection that is tried.
        self._connecting = trio.CancelScope()

    async def connect(self, http: HttpVersion, streams: dict[str, int | None]) -> None:
        settings = self._settings
        self._connecting = connecting = trio.CancelScope()
        with connecting:
            transport = await self._connector.connect(
                http, settings.timeouts, settings.options, self.attempt, **streams
            )
        if connecting.cancelled_caught:
            raise closed(self.url)
        try:
            self._transports.check_open(self.url)
        except BaseException:
            await aclose_now(transport.stream)
            raise
        await transport.begin_in(self._nursery, shield=self._shield)
        self.connected = transport

    def interrupt(self) -> None:
        self._connecting.cancel()

    async def wait(self, waiter: AnyWaiter[None]) -> None:
        await waiter  # type: ignore[misc]
