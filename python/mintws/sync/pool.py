"""A pool of connections that WebSockets share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from mintws.arguments import explained
from mintws.drivers.client import Attempt, ClientSettings
from mintws.drivers.pool import IDLE_TIMEOUT, PooledOpening, TransportPool, check_shared, closed, with_arguments_of
from mintws.drivers.transport import Waiter
from mintws.drivers.websocket import LoggedWebSocket
from mintws.events import UpgradeRequest
from mintws.limits import STREAM_WINDOW
from mintws.session import HttpVersion
from mintws.sync.background import background
from mintws.sync.client import connect
from mintws.sync.connector import ClientSocket, Connector
from mintws.sync.deadlines import seconds_until
from mintws.sync.parking import Interrupted, Interruption, Late, park
from mintws.sync.transport import run
from mintws.sync.websocket import WebSocket

V = TypeVar("V")


class Pool:
    """A pool of connections, for WebSockets that share them: `with Pool() as pool:`. Threads may share it.

    WebSockets to the same origin share HTTP/2 connections, if the server takes WebSockets over HTTP/2; else each has a connection of its
    own. An origin is a scheme, a host and a port. Connections are shared if they are made in the same way too: with the same TLS context,
    `server_hostname`, `host`, `port`, `family`, `local_addr`, `path` and proxy, and with the same options and timeouts, but for
    `open_timeout`.

    A further connection is made where the streams of the others are used up. Openings that need one at the same time wait for the same. One
    that the server says that it has not processed is made again, on another connection: after a GOAWAY up to three times, after a
    REFUSED_STREAM once. Before a connection is used from which nothing has come for 5 s, the server is asked by a PING whether it is there;
    after 2 s without an answer another one is made.

    It is closed at the end of the block, or by `close`.

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
        self._transports = _ThreadTransports(max_connections_per_origin, max_concurrent_streams, window, idle_timeout)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None or isinstance(error, Exception):
            self.close()
            return
        # Whoever ends the program does not want to wait for the servers.
        for transport in self._transports.begin_close():
            transport.make(partial(_begin_close, transport, 1001))
            if not transport.single:
                transport.make(transport.close)

    @with_arguments_of(connect)
    def connect(self, url: str | Callable[[], str], **arguments: Any) -> connect:
        """Open a WebSocket on a connection of the pool, in all ways of `connect`: entered, by `open`, or one after another by `for`.

        The WebSocket is closed as always, which does not close its connection.

        Args:
            url, arguments: as of `connect`, but for what is connected already. With `http="auto"`, the default, HTTP/2 is spoken over TLS
                alone; `http="2"` speaks it without TLS too.

        Raises:
            PoolClosed: the pool is closed, or was closed meanwhile.
            ConnectError: as from `connect`.
            LocalProtocolError: an argument is wrong.
        """
        return _PooledConnect(self._transports, url, **arguments)

    def close(self) -> None:
        """Close all WebSockets of the pool with 1000, then the connections. A call that is interrupted leaves the rest to the background.

        Openings that wait fail with `PoolClosed`, and so do those whose connection is being made.
        """
        transports = self._transports.begin_close()
        # One of HTTP/1.1 ends with its WebSocket.
        shared = [it for it in transports if not it.single]
        try:
            # All Closes go out before the first answer is waited for.
            for transport in transports:
                transport.make(partial(_begin_close, transport, 1000))
            for transport in transports:
                transport.carry_out_all(LoggedWebSocket.close(it) for it in list(transport.websockets))
        finally:
            for transport in shared:
                transport.make(transport.close)
        for transport in shared:
            transport.wait(transport.parking, partial(getattr, transport, "lost"), None)
        background().join()


def _begin_close(transport: ClientSocket, code: int) -> None:
    """Fail the openings on a transport, and begin to close its WebSockets."""
    transport.fail_openings(closed)
    for websocket in list(transport.websockets):
        websocket._begin_close(code)


class _ThreadWaiter:
    """A `Waiter` for one thread."""

    def __init__(self) -> None:
        self._place = threading.Lock()
        self._place.acquire()

    def done(self) -> bool:
        return not self._place.locked()

    def set_result(self, result: None, /) -> None:
        # One step, which no signal interrupts.
        self._place.release()

    def set_exception(self, error: BaseException, /) -> None:
        raise NotImplementedError

    def wait(self, deadline: float | None) -> None:
        """Wait for the result.

        Raises:
            Late: the deadline has passed.
        """
        if not park(self._place, seconds_until(deadline)):
            raise Late


class _ThreadTransports(TransportPool[ClientSocket]):
    """The transports of a pool, which threads share.

    The lock of a transport may be held when that of the pool is taken, and never the other way round.
    """

    def __init__(
        self, max_connections: int | None, max_streams: int | None, window: int, idle_timeout: float | None
    ) -> None:
        super().__init__(max_connections, max_streams, window, idle_timeout)
        self._lock = threading.RLock()

    def now(self) -> float:
        return time.monotonic()

    def new_waiter(self) -> _ThreadWaiter:
        return _ThreadWaiter()


class _PooledConnect(connect):
    """The opening of a WebSocket of a pool."""

    _name = "Pool.connect"

    def __init__(self, transports: _ThreadTransports, url: str | Callable[[], str], **arguments: Any) -> None:
        super().__init__(url, **arguments)
        check_shared(self._connector.destination.reach, "`sock`")
        self._transports = transports

    def _connect(self) -> WebSocket:
        self._transports.check_open(self._settings.url)
        return super()._connect()

    def _connect_once(
        self,
        connector: Connector,
        request: UpgradeRequest,
        http: HttpVersion,
        attempt: Attempt,
        deadline: float | None,
    ) -> WebSocket:
        opening = _ThreadOpening(connector, self._settings, attempt, deadline)
        websocket: WebSocket = run(self._transports.open(opening, request, http))
        return websocket


class _ThreadOpening(PooledOpening[ClientSocket]):
    """The opening of a WebSocket by a thread, whose coroutines block."""

    def __init__(
        self, connector: Connector, settings: ClientSettings, attempt: Attempt, deadline: float | None
    ) -> None:
        super().__init__(connector.destination, settings, attempt)
        self._connector = connector
        self._settings = settings
        self._deadline = deadline
        self._interruption = Interruption()

    async def connect(self, http: HttpVersion, streams: dict[str, int | None]) -> None:
        timeouts, options = self._settings.timeouts, self._settings.options
        try:
            self.connected = self._connector.connect(
                http, timeouts, options, self.attempt, self._deadline, self._interruption, **streams
            )
        except Interrupted:
            raise closed(self.url) from None

    def interrupt(self) -> None:
        self._interruption()

    async def wait(self, waiter: Waiter[None]) -> None:
        assert isinstance(waiter, _ThreadWaiter)
        waiter.wait(self._deadline)

    async def carry_out(self, transport: ClientSocket, coroutine: Coroutine[Any, Any, V]) -> V:
        return transport.carry_out(coroutine, self._deadline)

    def make(self, transport: ClientSocket, call: Callable[[], None]) -> None:
        transport.make(call)
