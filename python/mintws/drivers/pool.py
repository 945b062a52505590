"""A pool of connections: the openings of WebSockets that share them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Hashable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from mintws.connection import Connection
from mintws.drivers.client import Attempt, ClientSettings, ClientTransport, Reach
from mintws.drivers.destination import Destination
from mintws.drivers.transport import Waiter
from mintws.errors import ConnectError, ExtendedConnectDisabled, LocalProtocolError, PoolClosed
from mintws.events import UpgradeRequest
from mintws.limits import INT31, check_int, check_streams
from mintws.session import ConnectionPool, Http1Origins, HttpVersion, PoolRequest, PoolStep, check_seconds
from mintws.url import Url

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=ClientTransport)
V = TypeVar("V")

#: Seconds after which a connection without WebSockets is closed.
IDLE_TIMEOUT = 60.0


class PooledOpening(Generic[T]):
    """The opening of one WebSocket of a pool. A subclass does what its driver does.

    Args:
        to: where the server is.
        settings: what `connect` is told.
        attempt: what is waited for.
    """

    def __init__(self, to: Destination, settings: ClientSettings, attempt: Attempt) -> None:
        self.url = to.url
        self.attempt = attempt
        timeouts = replace(settings.timeouts, open_timeout=None)
        #: What a connection must have in common with others to be used for it.
        self.route: Hashable = (to.route, timeouts, frozenset(settings.options.items()))
        #: What it waits for.
        self.waiter: Waiter[None] | None = None
        #: The transport that was connected for it, and the connection whose request was sent.
        self.connected: T | None = None
        self.begun: Connection | None = None

    def wake(self) -> None:
        """Let it go on."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def connect(self, http: HttpVersion, streams: dict[str, int | None]) -> None:
        """Set `connected` to a transport; see `Connector.connect` of the driver."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Have `connect` end, which raises `PoolClosed` then, or returns if it has just connected."""
        raise NotImplementedError

    async def wait(self, waiter: Waiter[None]) -> None:
        """Wait for a `Waiter` of the pool."""
        raise NotImplementedError

    async def carry_out(self, transport: T, coroutine: Coroutine[Any, Any, V]) -> V:
        """Carry out a coroutine of a transport."""
        return await coroutine

    def make(self, transport: T, call: Callable[[], None]) -> None:
        """Make a call of a transport."""
        call()


class TransportPool(Generic[T]):
    """The transports of a pool, and the openings on them, without the I/O of the driver.

    Args:
        max_connections_per_origin, max_concurrent_streams, window, idle_timeout: see `Pool`.

    Raises:
        LocalProtocolError, TypeError: one of them is wrong.
    """

    def __init__(
        self,
        max_connections_per_origin: int | None,
        max_concurrent_streams: int | None,
        window: int,
        idle_timeout: float | None,
    ) -> None:
        if max_connections_per_origin is not None:
            check_int("max_connections_per_origin", max_connections_per_origin, 1, INT31)
        check_streams(window, max_concurrent_streams)
        if idle_timeout is not None:
            check_seconds("idle_timeout", idle_timeout)
        self._max_connections = max_connections_per_origin
        self._streams = {"window": window, "max_concurrent_streams": max_concurrent_streams}
        self._idle_timeout = idle_timeout
        self._learnt = Http1Origins()
        self._pools: dict[Hashable, ConnectionPool[T]] = {}
        #: The transports that have not ended; those of HTTP/1.1, and those whose SETTINGS have not come, are in no pool of an origin.
        self._transports: dict[T, ConnectionPool[T] | None] = {}
        #: The openings whose transport is being connected.
        self._connecting: set[PooledOpening[T]] = set()
        self._closed = False
        #: Guards all this.
        self._lock: AbstractContextManager[Any] = nullcontext()

    def now(self) -> float:
        """Return the time."""
        raise NotImplementedError

    def new_waiter(self) -> Waiter[None]:
        """Make what an opening waits for."""
        raise NotImplementedError

    async def open(self, opening: PooledOpening[T], request: UpgradeRequest, http: HttpVersion) -> Any:
        """Open a WebSocket, over HTTP/2 on a connection that others use too.

        Raises:
            ConnectError: as from `connect`; `PoolClosed` if the pool is, or is meanwhile.
        """
        self.check_open(opening.url)
        try:
            if http == "2" or (http == "auto" and opening.url.secure):
                websocket = await self._open_shared(opening, request, http)
            else:
                websocket = await self._open_single(opening, request, await self._connect(opening, http))
        except ConnectError as error:
            if self._closed and not isinstance(error, PoolClosed):
                raise closed(opening.url) from error
            raise
        except BaseException:
            transport = opening.connected
            if transport is not None and self._transports.get(transport) is None:
                # A signal came before others could use it, or know of its end.
                transport.cut()
                self._transports.pop(transport, None)
            raise
        if self._closed:
            opening.make(websocket._protocol, websocket._leave)
            raise closed(opening.url)
        return websocket

    def check_open(self, url: Url) -> None:
        """Raise `PoolClosed` if the pool is closed."""
        if self._closed:
            raise closed(url)

    def changed(self, transport: T) -> None:
        """Take a change of a transport; see `Sharing`."""
        now = self.now()
        with self._lock:
            pool = self._transports.get(transport)
            if transport.lost:
                self._transports.pop(transport, None)
            until = None
            if pool is not None:
                until = pool.update(now, transport)
                self._forget_empty(pool)
        if until is not None and until <= now:
            transport.close()
        else:
            transport.rest(until)

    def begin_close(self) -> list[T]:
        """Close the pool for openings: those that wait or connect fail. Return the transports that have not ended."""
        with self._lock:
            self._closed = True
            for pool in list(self._pools.values()):
                pool.fail(PoolClosed("the pool is closed"))
            transports, connecting = list(self._transports), list(self._connecting)
        for opening in connecting:
            opening.interrupt()
        return transports

    def cut(self) -> None:
        """End all transports at once."""
        with self._lock:
            transports = list(self._transports)
        for transport in transports:
            transport.cut()

    async def _open_shared(self, opening: PooledOpening[T], request: UpgradeRequest, http: HttpVersion) -> Any:
        place: PoolRequest[T] = PoolRequest(opening.wake)
        try:
            with self._lock:
                pool = self._pool_of(opening.route)
                pool.begin(self.now(), place)
            return await self._open_at(pool, place, opening, request, http)
        finally:
            used = place.connection
            with self._lock:
                pool = self._pool_of(opening.route)
                pool.leave(self.now(), place)
                self._forget_empty(pool)
            if used is not None:
                opening.make(used, partial(self.changed, used))

    async def _open_at(
        self,
        pool: ConnectionPool[T],
        place: PoolRequest[T],
        opening: PooledOpening[T],
        request: UpgradeRequest,
        http: HttpVersion,
    ) -> Any:
        """Open a WebSocket on a connection of a pool, and on another where the server has not processed the request."""
        attempt = opening.attempt
        while True:
            transport = await self._find(pool, place, opening, http)
            if not transport.multiplexed:
                return await self._open_single(opening, request, transport)
            try:
                begun = partial(self._begun, pool, place, opening)
                return await opening.carry_out(transport, transport.open(request, attempt, begun))
            except ExtendedConnectDisabled as error:
                with self._lock:
                    pool.takes_no_websockets(self.now(), place, error)
                opening.make(transport, transport.close)
                raise
            except ConnectError as error:
                if not attempt.unprocessed or not self._tries_again(error, attempt, pool, place, transport):
                    raise
            except BaseException:
                if opening.begun is not None:
                    # A signal may have come when it had opened.
                    opening.make(transport, partial(transport.drop, opening.begun))
                raise

    def _pool_of(self, route: Hashable) -> ConnectionPool[T]:
        """Return the connections that are made in a way. They are kept while there are any, or openings."""
        pool = self._pools.get(route)
        if pool is None:
            most_streams = self._streams["max_concurrent_streams"]
            pool = self._pools[route] = ConnectionPool(
                route, self._learnt, self._max_connections, most_streams, self._idle_timeout
            )
        return pool

    async def _find(
        self, pool: ConnectionPool[T], place: PoolRequest[T], opening: PooledOpening[T], http: HttpVersion
    ) -> T:
        """Return the transport for an opening, which is one of HTTP/1.1 if the server speaks nothing else."""
        attempt = opening.attempt
        while True:
            # What waits when the pool is closed fails, but nothing that begins to wait later.
            self.check_open(opening.url)
            attempt.awaits = "a connection of the pool"
            await self._wait(place, opening)
            transport = place.connection
            match place.step:
                case PoolStep.FAIL:
                    error = place.error
                    assert error is not None
                    if isinstance(error, PoolClosed):
                        raise closed(opening.url)
                    # Of HTTP/2, so that HTTP/1.1 may be tried.
                    attempt.multiplexed = True
                    raise type(error)(*error.args)
                case PoolStep.CHECK:
                    assert transport is not None
                    attempt.awaits = "a sign of life from the server"
                    alive = await opening.carry_out(transport, transport.check())
                    with self._lock:
                        pool.checked(self.now(), place, alive=alive)
                    if not (alive or transport.websockets):
                        transport.cut()
                case PoolStep.CONNECT:
                    transport = await self._connect(opening, http)
                    if not transport.multiplexed:
                        with self._lock:
                            pool.speaks_http1(self.now(), place)
                    elif not await self._add(transport, pool, place, opening):
                        continue
                    return transport
                case PoolStep.OPEN:
                    assert transport is not None
                    transport.begin_attempt(attempt)
                    attempt.awaits = "the server's answer"
                    return transport

    async def _wait(self, place: PoolRequest[T], opening: PooledOpening[T]) -> None:
        """Wait until there is something to do for an opening."""
        while True:
            with self._lock:
                if place.step is not PoolStep.WAIT:
                    opening.waiter = None
                    return
                opening.waiter = waiter = self.new_waiter()
            await opening.wait(waiter)

    async def _connect(self, opening: PooledOpening[T], http: HttpVersion) -> T:
        with self._lock:
            self.check_open(opening.url)
            self._connecting.add(opening)
        try:
            await opening.connect(http, self._streams)
        finally:
            with self._lock:
                self._connecting.discard(opening)
        transport = opening.connected
        assert transport is not None
        with self._lock:
            if not self._closed:
                self._transports[transport] = None
                transport.pool = self
        if self._closed:
            transport.cut()
            raise closed(opening.url)
        # It may have ended already.
        opening.make(transport, partial(self.changed, transport))
        return transport

    async def _add(
        self, transport: T, pool: ConnectionPool[T], place: PoolRequest[T], opening: PooledOpening[T]
    ) -> bool:
        """Add a transport to the pool of its origin, once it is known how many streams it has, unless it takes no WebSockets.

        Returns:
            Whether the opening has it; if not, the server leaves already, and another connection is tried.
        """
        try:
            await opening.carry_out(transport, transport.settings(opening.attempt))
            if transport.usable:
                with self._lock:
                    self._transports[transport] = pool
                    pool.connected(self.now(), place, transport)
            return True
        except ConnectError as error:
            transport.cut()
            if not transport.http.goaway or not self._tries_again(error, opening.attempt, pool, place, transport):
                raise
            return False
        except BaseException:
            transport.cut()
            raise

    def _tries_again(
        self, error: ConnectError, attempt: Attempt, pool: ConnectionPool[T], place: PoolRequest[T], transport: T
    ) -> bool:
        """Whether an opening goes on with another connection, which is logged: the server has left this one before it saw the request."""
        if self._closed:
            return False
        with self._lock:
            again = pool.retry(self.now(), place, transport)
        if again:
            attempt.log(error, "; another connection is tried")
        return again

    async def _open_single(self, opening: PooledOpening[T], request: UpgradeRequest, transport: T) -> Any:
        """Open a WebSocket on a transport that it has for itself."""
        try:
            transport.single = True
            return await opening.carry_out(transport, transport.open(request, opening.attempt))
        except BaseException:
            transport.cut()
            raise

    def _begun(
        self, pool: ConnectionPool[T], place: PoolRequest[T], opening: PooledOpening[T], connection: Connection
    ) -> None:
        opening.begun = connection
        with self._lock:
            pool.begun(place)

    def _forget_empty(self, pool: ConnectionPool[T]) -> None:
        if pool.empty and self._pools.get(pool.origin) is pool:
            del self._pools[pool.origin]


def closed(url: Url) -> PoolClosed:
    """Make the error of an opening in a pool that is closed."""
    return PoolClosed(f"cannot connect to {url.authority}: the pool is closed; make another one")


def check_shared(reach: Reach, arguments: str) -> None:
    """Raise for what the caller has connected, which no pool can connect again.

    Args:
        reach: which servers can be connected to.
        arguments: the arguments for that.
    """
    if reach is Reach.ONCE:
        raise LocalProtocolError(f"a pool makes its connections itself: it takes no {arguments}")


def with_arguments_of(call: Callable[P, R]) -> Callable[[Callable[..., R]], Callable[Concatenate[Any, P], R]]:
    """Give a method the arguments of another call."""

    def copy(method: Callable[..., R]) -> Callable[Concatenate[Any, P], R]:
        itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        signature = inspect.signature(call)
        method.__signature__ = signature.replace(parameters=[itself, *signature.parameters.values()])  # type: ignore[attr-defined]
        return method

    return copy
