"""How a client reaches its server: the transport, TLS, and the opening handshakes on it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl as tls
import sys
from collections.abc import AsyncGenerator, Awaitable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from mintws.asyncio.protocol import ConnectionProtocol
from mintws.asyncio.tcp import connect_tcp, connect_unix, hand_over, resolve
from mintws.asyncio.timers import Late, limited
from mintws.asyncio.tls import TlsProtocol, default_context, proxy_context, shared_buffers
from mintws.asyncio.tunnel import TunnelProtocol
from mintws.connection import Options
from mintws.drivers.client import CLIENT_SLOTS, Attempt, ClientTransport, unreachable
from mintws.drivers.destination import ALPN, Destination
from mintws.errors import (
    ConnectError,
    ConnectTimeout,
    LocalProtocolError,
)
from mintws.events import (
    Role,
)
from mintws.session import (
    ClientSession,
    Http1Origins,
    HttpVersion,
    Proxy,
    Timeouts,
    TlsTimeouts,
    Tunnel,
    tunnel_to,
)
from mintws.tls import Tls, TlsBuffers, offer
from mintws.url import Url

if TYPE_CHECKING:
    from mintws.http2.connection import Begun

T = TypeVar("T")

if sys.version_info >= (3, 11):
    _ConnectTimeout = ConnectTimeout
else:

    class _ConnectTimeout(ConnectTimeout, asyncio.TimeoutError):
        """The `ConnectTimeout` that is an `asyncio.TimeoutError` too, which is a class of its own there."""


class LoopAttempt(Attempt):
    """An `Attempt` that a task makes."""

    __slots__ = ()

    timeout_error = _ConnectTimeout

    async def within(self, timeout: float | None, opening: Coroutine[Any, Any, T]) -> T:
        """Wait for an opening for so many seconds.

        Raises:
            UpgradeError: time is up, and a refusal has come whose body has not ended.
            ConnectTimeout: time is up.
        """
        try:
            return await limited(opening, timeout)
        except ConnectError as error:
            self.log(error)
            raise
        except Late:
            # A frame that holds what it raises would wait for the collector.
            raise self.late(timeout) from None


#: What was learnt of the versions of HTTP that servers speak, by loop and by TLS context.
_learnt: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakKeyDictionary[tls.SSLContext, Http1Origins]] = (
    WeakKeyDictionary()
)


class Connector:
    """How a server is reached.

    Args:
        destination: where it is.
        transport: a transport that the caller has connected.
    """

    def __init__(self, destination: Destination, transport: asyncio.Transport | None) -> None:
        _check_transport(transport)
        self.destination = destination
        self._transport = transport

    def at(self, url: Url) -> Connector:
        """Return what reaches a URL that the caller has made, in the way that was given."""
        destination = self.destination.at(url)
        return self if destination is self.destination else Connector(destination, self._transport)

    def to(self, url: Url) -> Connector:
        """Return what reaches a URL, the own one or one that a server has redirected to."""
        destination = self.destination.to(url)
        return self if destination is self.destination else Connector(destination, None)

    def learnt(self, loop: asyncio.AbstractEventLoop) -> Http1Origins:
        """Give what the loop has learnt of servers with this context: with another they may answer otherwise; without TLS, nothing."""
        if not self.destination.url.secure:
            return Http1Origins()
        contexts = _learnt.setdefault(loop, WeakKeyDictionary())
        return contexts.setdefault(self.destination.ssl or default_context(loop), Http1Origins())

    async def connect(
        self, http: HttpVersion, timeouts: Timeouts, options: Options, attempt: Attempt, **streams: int | None
    ) -> ClientProtocol:
        """Connect the transport.

        Args:
            streams: arguments of `Http2`.

        Raises:
            ConnectError: the server cannot be reached, or does not speak this version of HTTP.
        """
        loop, to = asyncio.get_running_loop(), self.destination
        protocol = ClientProtocol(loop, timeouts, to.url, http, options, streams)

        def make() -> ClientTls | ClientProtocol:
            if not to.url.secure:
                return protocol
            attempt.begin_tls()
            return ClientTls(shared_buffers(loop), protocol, to.ssl, to.server_hostname, http)

        lowest: ClientTls | ClientProtocol
        try:
            if self._transport is not None:
                lowest = make()
                _give_protocol(self._transport, lowest)
            elif to.path is not None:
                attempt.awaits = "the connection"
                sock = await connect_unix(to.path)
                try:
                    _, lowest = await loop.create_unix_connection(make, sock=sock)
                finally:
                    hand_over(sock)
            elif to.sock is not None:
                _, lowest = await loop.create_connection(make, sock=to.sock)
            elif (proxy := to.proxy) is not None:
                try:
                    tunnel, opened = await self._open_tunnel(proxy, attempt)
                except ConnectError:
                    raise
                except OSError as error:
                    raise self._unreachable(error, proxy) from error
                lowest = make()
                _give_protocol(opened, lowest, tunnel.rest)
            else:
                attempt.awaits = "the TCP connection"
                sock = await connect_tcp(to.host, to.port, to.family, to.local_addr)
                try:
                    _, lowest = await loop.create_connection(make, sock=sock)
                finally:
                    hand_over(sock)
            if isinstance(lowest, ClientTls):
                await lowest.shake_hands()
        except ConnectError:
            raise
        except OSError as error:
            raise protocol.unreachable(error) from error
        try:
            protocol.begin_attempt(attempt)
        except ConnectError:
            protocol.transport.abort()
            raise
        return protocol

    async def _open_tunnel(self, proxy: Proxy, attempt: Attempt) -> tuple[Tunnel, asyncio.Transport]:
        """Open a tunnel through a proxy; return it with its transport, which is not read until its next protocol has it.

        Raises:
            ConnectError: the proxy refuses, or breaks a rule.
            OSError: it cannot be reached, or its transport fails.
        """
        loop, to = asyncio.get_running_loop(), self.destination
        host = to.host
        if not proxy.resolves_names:
            attempt.awaits = "the address of the server"
            host = await resolve(host, to.port, socket.AF_INET if proxy.scheme == "socks4" else to.family)
        tunnel = tunnel_to(proxy, host, to.port)
        attempt.awaits = f"the connection to the proxy {proxy}"
        context, name = None, None
        if proxy.scheme == "https":
            context, name = to.proxy_ssl or proxy_context(loop), proxy.host
        sock = await connect_tcp(proxy.host, proxy.port, to.family, to.local_addr)
        try:
            transport, opening = await loop.create_connection(
                partial(TunnelProtocol, loop, tunnel), sock=sock, ssl=context, server_hostname=name
            )
        finally:
            hand_over(sock)
        attempt.awaits = f"the answer of the proxy {proxy}"
        try:
            await opening.open()
        except BaseException:
            if tunnel.failure is not None:
                attempt.failure = self._unreachable(tunnel.failure, proxy)
            transport.abort()
            raise
        if tunnel.failure is None:
            return tunnel, transport
        transport.abort()
        raise self._unreachable(tunnel.failure, proxy)

    def _unreachable(self, error: Exception, proxy: Proxy) -> ConnectError:
        return unreachable(self.destination.url, error, _ConnectTimeout, proxy)


def _check_transport(transport: Any) -> None:
    """Raise for what is no transport, or one that has ended, where it is given; those of other loops have no class in common."""
    if transport is None:
        return
    if not hasattr(transport, "set_protocol") or not hasattr(transport, "write"):
        raise TypeError(f"transport is an asyncio.Transport, not {transport!r}")
    if transport.is_closing():
        raise LocalProtocolError("transport is closed already: connect another one")


def _give_protocol(transport: asyncio.Transport, protocol: ClientTls | ClientProtocol, rest: bytes = b"") -> None:
    """Have a transport that another protocol has read from go on with ours, which gets what was read for it."""
    transport.pause_reading()
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    while rest:
        buffer = memoryview(protocol.get_buffer(len(rest)))[: len(rest)]
        buffer[:] = rest[: len(buffer)]
        rest = rest[len(buffer) :]
        protocol.buffer_updated(len(buffer))
    if not transport.is_closing():
        transport.resume_reading()


class ClientProtocol(ClientTransport, ConnectionProtocol):
    """A client's transport."""

    __slots__ = (*CLIENT_SLOTS, "_outliving")

    _session: ClientSession

    timeout_error = _ConnectTimeout

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        url: Url,
        http: HttpVersion,
        options: Options,
        streams: dict[str, Any],
    ) -> None:
        super().__init__(loop, ClientSession(loop.time(), timeouts))
        self._begin_client(url, http, options, streams)
        #: Cuts a transport whose end nobody awaits, if the loop ends before.
        self._outliving: AsyncGenerator[None, None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        self.speak_chosen(None if tls is None else tls.selected_alpn_protocol())

    def receive(self, data: bytes | memoryview, begun: Begun | None = None) -> None:
        super().receive(data, begun)
        self.check_received()

    def catch_up(self) -> None:
        super().catch_up()
        self.check_received()

    def outlive(self) -> None:
        """Go on until the transport has ended, though nobody waits for that; a loop that ends before cuts it."""
        if self._outliving is None and not self.lost:
            self._outliving = self._cut_at_loop_end()
            _run(self._outliving.__anext__())

    async def _cut_at_loop_end(self) -> AsyncGenerator[None, None]:
        # A loop closes generators that have begun: also one that began while the loop cancelled its tasks, which leaves a task behind.
        try:
            yield
        finally:
            self._outliving = None
            self.cut()

    def lose(self) -> None:
        super().lose()
        if self._outliving is not None:
            _run(self._outliving.aclose())


def _run(step: Awaitable[None]) -> None:
    """Run a step of a generator that awaits nothing."""
    with contextlib.suppress(StopIteration):
        step.__await__().send(None)


class ClientTls(TlsProtocol):
    """TLS on a client's transport."""

    __slots__ = ("_context", "_next_protocol", "_server_hostname", "_shaken", "_version")

    lingers = False

    def __init__(
        self,
        buffers: TlsBuffers,
        protocol: ClientProtocol,
        context: tls.SSLContext | None,
        server_hostname: str,
        http: HttpVersion,
    ) -> None:
        loop = protocol.loop
        # `Attempt` bounds the time of the handshake.
        super().__init__(buffers, loop, TlsTimeouts(loop.time(), None, protocol.timeouts.close_timeout))
        #: The protocol to be: later it is held as such.
        self._next_protocol: ClientProtocol | None = protocol
        self._context = context
        self._server_hostname = server_hostname
        self._version = http
        self._shaken: asyncio.Future[None] | None = loop.create_future()

    async def shake_hands(self) -> None:
        """Wait until the handshake is done.

        Raises:
            OSError: it was not: what OpenSSL, or the transport, says.
        """
        shaken = self._shaken
        assert shaken is not None
        try:
            await shaken
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            # The future holds what it raises, and that this frame.
            self._shaken = None
            del shaken

    def begin(self) -> Tls:
        protocols = ALPN[self._version]
        name, buffers = self._server_hostname, self._buffers
        if self._context is not None:
            return Tls(self._context, Role.CLIENT, server_hostname=name, alpn=protocols, buffers=buffers)
        # Nobody else has this one, so its list need not be put back.
        context = default_context(self._loop)
        offer(context, protocols)
        return Tls(context, Role.CLIENT, server_hostname=name, buffers=buffers)

    def make(self) -> ClientProtocol:
        protocol, self._next_protocol = self._next_protocol, None
        assert protocol is not None
        return protocol

    def opened(self) -> None:
        if self._shaken is not None and not self._shaken.done():
            self._shaken.set_result(None)

    def failed(self, error: Exception) -> None:
        if self._shaken is not None and not self._shaken.done():
            self._shaken.set_exception(error.with_traceback(None))
            # Whoever waits for it may be gone.
            self._shaken.exception()
