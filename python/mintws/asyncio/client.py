"""Clients: one WebSocket by `connect`, many and ordinary requests on one HTTP/2 connection by `connect_http2`."""

from __future__ import annotations

import asyncio
import socket
import ssl as tls
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from mintws.arguments import explained
from mintws.asyncio.connector import ClientProtocol, Connector, LoopAttempt
from mintws.asyncio.reconnection import Reconnection
from mintws.asyncio.transport import check_loop
from mintws.asyncio.websocket import WebSocket
from mintws.connection import DEFAULT_LIMIT, Connection, Options
from mintws.drivers.addresses import GivenPath
from mintws.drivers.client import (
    Attempt,
    ClientSettings,
    CookieJar,
    GivenHeaders,
    GivenUrl,
    Http2ClientBase,
    Http2Settings,
    OpenedOnce,
    Reach,
    authorized,
    follow_redirects,
    open_by_turns,
)
from mintws.drivers.destination import Destination
from mintws.errors import LocalProtocolError
from mintws.events import Response, UpgradeRequest
from mintws.extensions import Extension
from mintws.limits import STREAM_WINDOW
from mintws.session import (
    PRODUCT,
    RECONNECT,
    REDIRECTS,
    HttpVersion,
    Reconnect,
    Timeouts,
    default_offer,
)
from mintws.url import Url, parse

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: What clients offer that say nothing of extensions: those of one loop share contexts.
_offers: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Extension, ...]] = WeakKeyDictionary()


Opened = TypeVar("Opened", bound=AbstractAsyncContextManager[Any])


class _Opening(OpenedOnce, Generic[Opened]):
    """An opening that is awaited, or entered, once: whoever does so closes what is opened then."""

    #: What was opened for the body of `async with`.
    _opened: Opened | None = None

    def __await__(self) -> Generator[Any, None, Opened]:
        return self._open_once().__await__()

    async def __aenter__(self) -> Opened:
        self._opened = await self._open_once()
        return self._opened

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        assert self._opened is not None
        await self._opened.__aexit__(kind, error, trace)

    async def _open_once(self) -> Opened:
        self._begin()
        return await self._connect()

    async def _connect(self) -> Opened:
        raise NotImplementedError


class connect(_Opening[WebSocket]):  # noqa: N801  (used as a function)
    """Open a WebSocket: `async with connect(url) as websocket:`, or `websocket = await connect(url)`.

    It opens one, as a coroutine does: for another, call it again. `async for websocket in connect(url):` opens one after another: the next
    one when the one before has ended, or when the body has.

    Args:
        url: "ws://..." or "wss://..."; a user and a password in it are sent as Basic credentials. Or a function or coroutine function that
            returns one. It is called for each opening, within the open timeout, so that a token in the URL can be a new one.
        http: "1.1", "2", or "auto": what the server chooses by ALPN under TLS, else HTTP/1.1. If it chooses HTTP/2 but takes no WebSockets
            over it, refuses the request as such (400, 405, 421, 426, 501, 505), or is a gateway that gets no answer (502, 504, or 503
            without Retry-After), a new connection with HTTP/1.1 is made, unless `sock` or `transport` was given. Where that helped, the
            server is offered HTTP/1.1 alone for the next 300 s.
        headers: further headers of the request, or a function or coroutine function that returns them. It is called for each opening,
            within the open timeout, so that a token in them can be a new one.
        auth: a user and a password, sent as Basic credentials (RFC 7617), unless an Authorization is among the headers. The URL
            has none then.
        subprotocols: the subprotocols to offer, best first.
        extensions: the extensions to offer; permessage-deflate if nothing is said, none if `()`.
        origin: the Origin header.
        user_agent_header: the User-Agent, unless it is among the headers; `None` leaves it out.
        ssl: the TLS context, which keeps the ALPN list that it has; if `None`, one that checks certificates against those of the system,
            which all clients of a loop share.
        server_hostname: the name that the certificate must have, if not the URL's.
        host, port: where to connect to, if not where the URL says. Where a name has several addresses, the next one is tried too when
            one has not answered after 0.25 s (RFC 8305).
        family: `socket.AF_INET` or `socket.AF_INET6`, to connect to addresses of that family alone.
        local_addr: the host and the port to connect from.
        sock, path, transport: instead of these, a socket that is connected already, the path of a Unix socket, which may be bytes or a
            path object, or a transport that is connected already, such as the tunnel of a proxy, on which nothing is to come before what we
            send. For "wss://" TLS is spoken in it, though it may have TLS of its own; for "ws://" it is used as it is.
        proxy: the URL of a proxy, "http://user:password@proxy.example:3128" or with "https", "socks4", "socks4a", "socks5" or "socks5h",
            that connects to the server; `None` for none. "auto" is that of the environment: `https_proxy` for "wss://", `http_proxy`
            for "ws://", else `all_proxy`, unless `no_proxy` names the server. SOCKS needs the extra `mintws[socks]`.
        proxy_ssl: the TLS context for a proxy "https://"; if `None`, one that checks certificates against those of the system.
        open_timeout, close_timeout, ping_interval, ping_timeout: see `Timeouts`.
        cookies: an `http.cookiejar.CookieJar`, whose cookies are sent, unless a Cookie is among the headers, and which keeps those that
            servers set.
        redirects: the redirects to follow, at most; 0 follows none. Another origin gets no `host`, `port` and `server_hostname`, no
            credentials of the URL or of `auth`, and no Authorization and Cookie header. Without TLS none is followed from "wss://". With
            `sock` or `transport` none is, and with `path` none to another origin. Another origin gets the client's certificate in `ssl`, if
            it asks for one.
        reconnect: when `async for` connects again.
        options: see `Options`.

    Raises:
        UpgradeError: the server answered no, or by a redirect that is not followed. The body of its answer is waited for at most a second,
            within the open timeout.
        ExtendedConnectDisabled: `http` is "2", and the server takes no WebSockets over it.
        ProxyError: the proxy did not open a tunnel.
        ConnectTimeout: the server did not answer within the open timeout; the message says what was waited for.
        ConnectError: the server cannot be reached, or the connection ended before the answer; `__cause__` is the error of the
            system or of TLS. The four above are such errors too, and all of them an `OSError`.
        LocalProtocolError: an argument is wrong, or it was awaited or entered before.
    """

    @explained(Connection)
    def __init__(
        self,
        url: GivenUrl,
        *,
        http: HttpVersion = "auto",
        headers: GivenHeaders | Callable[[], GivenHeaders | Awaitable[GivenHeaders]] = (),
        auth: tuple[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        extensions: Sequence[Extension] | None = None,
        origin: str | None = None,
        user_agent_header: str | None = PRODUCT,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        host: str | None = None,
        port: int | None = None,
        family: int = 0,
        local_addr: tuple[str, int] | None = None,
        sock: socket.socket | None = None,
        path: GivenPath | None = None,
        transport: asyncio.Transport | None = None,
        proxy: str | None = "auto",
        proxy_ssl: tls.SSLContext | None = None,
        open_timeout: float | None = 10.0,
        close_timeout: float = 10.0,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        cookies: CookieJar | None = None,
        redirects: int = REDIRECTS,
        reconnect: Reconnect = RECONNECT,
        **options: Unpack[Options],
    ) -> None:
        timeouts = Timeouts(open_timeout, close_timeout, ping_interval, ping_timeout)
        self._settings = ClientSettings(
            url,
            auth,
            http,
            headers,
            subprotocols,
            extensions,
            origin,
            user_agent_header,
            timeouts,
            options,
            redirects,
            cookies,
        )
        opened = {"transport": transport}
        to = Destination(
            self._settings.url,
            ssl,
            server_hostname,
            host,
            port,
            family,
            local_addr,
            sock,
            path,
            opened,
            proxy,
            proxy_ssl,
        )
        self._connector = Connector(to, transport)
        if not isinstance(reconnect, Reconnect):
            raise TypeError(f"reconnect is a Reconnect, not {reconnect!r}")
        self._reconnect = reconnect

    def __aiter__(self) -> AsyncIterator[WebSocket]:
        self._begin()
        if self._connector.destination.reach is Reach.ONCE:
            raise LocalProtocolError(
                "`sock` and `transport` are connected once: a client that connects again takes neither"
            )
        return Reconnection(self._settings, self._reconnect, self._connect)

    async def _connect(self) -> WebSocket:
        attempt = LoopAttempt(self._settings.url)
        return await attempt.within(self._settings.timeouts.open_timeout, self._follow_redirects(attempt))

    async def _follow_redirects(self, attempt: LoopAttempt) -> WebSocket:
        url = await self._settings.fresh_url(attempt)
        connector = self._connector.at(url)
        by_turns = partial(self._connect_by_turns, attempt, connector)
        reach = connector.destination.reach
        return await follow_redirects(self._settings, url, attempt, _default_offer(), reach, by_turns)

    async def _connect_by_turns(
        self, attempt: LoopAttempt, connector: Connector, url: Url, request: UpgradeRequest
    ) -> WebSocket:
        loop = asyncio.get_running_loop()
        connector = connector.to(url)
        learnt = connector.learnt(loop)
        choice = connector.destination.choose_version(self._settings.http, learnt, loop.time())
        return await open_by_turns(choice, attempt, loop.time, partial(self._connect_once, connector, request))

    async def _connect_once(
        self, connector: Connector, request: UpgradeRequest, http: HttpVersion, attempt: Attempt
    ) -> WebSocket:
        settings = self._settings
        protocol = await connector.connect(http, settings.timeouts, settings.options, attempt)
        protocol.single = True
        try:
            websocket: WebSocket = await protocol.open(request, attempt)
        except BaseException:
            protocol.cut()
            raise
        return websocket


class connect_http2(_Opening["Http2Client"]):  # noqa: N801  (used as a function)
    """Open an HTTP/2 connection for many WebSockets and ordinary requests: `async with connect_http2(url) as client:`.

    It opens one, as a coroutine does: for another, call it again.

    Args:
        url: "wss://..." or "ws://...", whose path does not matter here; without TLS, HTTP/2 is spoken by prior knowledge.
        auth: a user and a password, as in `connect`; those, or those of the URL, are sent with the opening of each WebSocket.
        user_agent_header: the User-Agent of all requests, unless it is among their headers; `None` leaves it out.
        ssl, server_hostname, host, port, family, local_addr, sock, path, transport, proxy, proxy_ssl, open_timeout, close_timeout,
            ping_interval, ping_timeout, options: as in `connect`.
        window: what the server may send on one stream before the application takes it, in bytes: 65535 to 2^31-1. One stream is as fast as
            a window for each round trip.
        max_concurrent_streams: how many WebSockets and requests may be open at a time, where that is less than the server takes; further
            ones wait.

    Raises:
        ConnectTimeout: the server did not send its SETTINGS within the open timeout; the message says what was waited for.
        ConnectError: the server cannot be reached, does not choose HTTP/2 by ALPN, or ends the connection; as in `connect`.
        LocalProtocolError: an argument is wrong, or it was awaited or entered before.
    """

    @explained(Connection)
    def __init__(
        self,
        url: str,
        *,
        auth: tuple[str, str] | None = None,
        user_agent_header: str | None = PRODUCT,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        host: str | None = None,
        port: int | None = None,
        family: int = 0,
        local_addr: tuple[str, int] | None = None,
        sock: socket.socket | None = None,
        path: GivenPath | None = None,
        transport: asyncio.Transport | None = None,
        proxy: str | None = "auto",
        proxy_ssl: tls.SSLContext | None = None,
        open_timeout: float | None = 10.0,
        close_timeout: float = 10.0,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        window: int = STREAM_WINDOW,
        max_concurrent_streams: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        timeouts = Timeouts(open_timeout, close_timeout, ping_interval, ping_timeout)
        where = authorized(parse(url), auth)
        self._settings = Http2Settings(where, user_agent_header, timeouts, options, window, max_concurrent_streams)
        opened = {"transport": transport}
        to = Destination(
            where, ssl, server_hostname, host, port, family, local_addr, sock, path, opened, proxy, proxy_ssl
        )
        self._connector = Connector(to, transport)

    async def _connect(self) -> Http2Client:
        attempt = LoopAttempt(self._settings.url)
        return await attempt.within(self._settings.timeouts.open_timeout, self._connect_once(attempt))

    async def _connect_once(self, attempt: LoopAttempt) -> Http2Client:
        protocol = await self._connector.connect(
            "2",
            self._settings.timeouts,
            self._settings.options,
            attempt,
            **self._settings.streams,
        )
        await protocol.settings(attempt)
        return Http2Client(protocol, self._settings)


class Http2Client(Http2ClientBase):
    """One HTTP/2 connection to a server.

    Attributes:
        http: the `Http2` beneath.
        id: its name in the log: the number of its transport in this process.
    """

    def __init__(self, protocol: ClientProtocol, settings: Http2Settings) -> None:
        super().__init__(protocol, settings)
        self._protocol = protocol

    async def __aenter__(self) -> Http2Client:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self.close()

    async def open(
        self,
        target: str = "/",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        extensions: Sequence[Extension] | None = None,
        origin: str | None = None,
    ) -> WebSocket:
        """Open a WebSocket on a stream of its own.

        Args:
            target: path and query.
            headers, subprotocols, extensions, origin: as in `connect`.

        Raises:
            UpgradeError, ExtendedConnectDisabled, ConnectTimeout, LocalProtocolError: as in `connect`.
            ConnectError: the connection has ended, ends before the answer, or takes no new streams: connect again.
        """
        self._check_loop()
        offered = _default_offer() if extensions is None else extensions
        url, request = self._handshake(target, headers, subprotocols, offered, origin)
        attempt = LoopAttempt(url)
        attempt.id = self._protocol.id
        return await attempt.within(self._protocol.timeouts.open_timeout, self._protocol.open(request, attempt))

    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        limit: int | None = DEFAULT_LIMIT,
    ) -> Response:
        """Make an ordinary request and wait for its response.

        Args:
            method: "GET" and so on.
            target: path and query.
            headers: further headers, as pairs or a mapping.
            body: the body.
            limit: the most bytes of the response's body, inclusive: 1 MiB unless it is given; `None` is no limit.

        Raises:
            ResponseTooLarge: the body of the response is longer than `limit`; its stream is reset as soon as that is known.
            LocalProtocolError: the request or `limit` is against a rule. Nothing was sent.
            ConnectError: the connection has ended, or takes no new requests: connect again. This one was not made.
            ConnectionClosed: the connection ended, or the stream was reset, before the response was whole.

        There is no time limit: `asyncio.wait_for` sets one.
        """
        self._check_loop()
        request = self._ordinary(method, target, headers, body, limit)
        return await self._protocol.request(request, limit)

    async def close(self) -> None:
        """Close all WebSockets with 1000, then the connection; it is closed at once if the call is cancelled."""
        if self._protocol.lost:
            return
        check_loop(self._protocol.loop, "client")
        try:
            try:
                await asyncio.gather(*(it.close() for it in list(self._protocol.websockets)), return_exceptions=True)
            finally:
                self._protocol.close()
            await asyncio.shield(self._protocol.gone)
        except asyncio.CancelledError:
            self._protocol.outlive()
            raise

    def _check_loop(self) -> None:
        if not self._protocol.lost:
            check_loop(self._protocol.loop, "client")


def _default_offer() -> tuple[Extension, ...]:
    """Give what the running loop's clients offer that say nothing of extensions."""
    loop = asyncio.get_running_loop()
    offer = _offers.get(loop)
    if offer is None:
        offer = _offers[loop] = default_offer()
    return offer
