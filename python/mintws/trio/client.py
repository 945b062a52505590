"""Clients: one WebSocket by `connect`, many and ordinary requests on one HTTP/2 connection by `connect_http2`."""

from __future__ import annotations

import socket
import ssl as tls
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import trio

from mintws.arguments import explained
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
from mintws.trio.blocks import BlockNursery, raising
from mintws.trio.connector import Connector, TrioClientTransport, within
from mintws.trio.reconnection import Reconnection
from mintws.trio.stream import Stream
from mintws.trio.transport import TrioTransport
from mintws.trio.websocket import WebSocket
from mintws.url import Url, parse

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: What clients offer that say nothing of extensions: those of one run share contexts.
_offers: trio.lowlevel.RunVar[tuple[Extension, ...]] = trio.lowlevel.RunVar("mintws offers")


class _Connected(Protocol):
    """What is opened: a `WebSocket` or an `Http2Client`."""

    @property
    def _protocol(self) -> TrioTransport: ...

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> bool | None: ...


Opened = TypeVar("Opened", bound=_Connected)


class _Opening(OpenedOnce, Generic[Opened]):
    """An opening that is entered, or awaited, once. Its tasks run in the caller's nursery, or in one that lasts as long as the block."""

    _how = "`async with {}(...) as ...`"
    _nursery: trio.Nursery | None
    _opened: Opened

    def __await__(self) -> Generator[Any, None, Opened]:
        return self._open_in_nursery().__await__()

    async def __aenter__(self) -> Opened:
        if self._nursery is not None:
            self._opened = await self._open_in_nursery()
            return self._opened
        self._begin()
        self._tasks = BlockNursery()
        nursery = await self._tasks.open()
        try:
            # The connection lasts until the block has ended, even where that is cancelled.
            self._opened = await self._open(nursery, shield=True)
        except BaseException:
            await self._tasks.close()
            raise
        return self._opened

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            await self._opened.__aexit__(kind, error, trace)
        finally:
            if self._nursery is None:
                self._opened._protocol.cut()
                await self._tasks.close()

    async def _open_in_nursery(self) -> Opened:
        if self._nursery is None:
            name = type(self).__name__
            raise LocalProtocolError(
                f"{name}() needs a nursery for its tasks: write `async with {name}(...)`, or give it one by nursery="
            )
        self._begin()
        return await self._open(self._nursery, shield=False)

    async def _open(self, nursery: trio.Nursery, *, shield: bool) -> Opened:
        raise NotImplementedError


class connect(_Opening[WebSocket]):  # noqa: N801  (used as a function)
    """Open a WebSocket: `async with connect(url) as websocket:`, or `websocket = await connect(url, nursery=nursery)`.

    It opens one, as a coroutine does: for another, call it again. `async for websocket in connect(url, nursery=nursery):` opens one after
    another: the next one when the one before has ended, or when the body has.

    Args:
        url: "ws://..." or "wss://..."; a user and a password in it are sent as Basic credentials. Or a function or coroutine function that
            returns one. It is called for each opening, within the open timeout, so that a token in the URL can be a new one.
        http: "1.1", "2", or "auto": what the server chooses by ALPN under TLS, else HTTP/1.1. If it chooses HTTP/2 but takes no WebSockets
            over it, refuses the request as such (400, 405, 421, 426, 501, 505), or is a gateway that gets no answer (502, 504, or 503
            without Retry-After), a new connection with HTTP/1.1 is made, unless `sock` or `stream` was given. Where that helped, the
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
            which all clients of a run share.
        server_hostname: the name that the certificate must have, if not the URL's.
        host, port: where to connect to, if not where the URL says. Where a name has several addresses, the next one is tried too when
            one has not answered after 0.25 s (RFC 8305).
        family: `socket.AF_INET` or `socket.AF_INET6`, to connect to addresses of that family alone.
        local_addr: the host and the port to connect from.
        sock, path, stream: instead of these, a socket that is connected already, the path of a Unix socket, which may be bytes or a
            path object, or a stream that is connected already, such as the tunnel of a proxy, on which nothing is to come before what we
            send. For "wss://" TLS is spoken in it, though it may have TLS of its own; for "ws://" it is used as it is. It has the
            methods of a `trio.abc.Stream`.
        proxy: the URL of a proxy, "http://user:password@proxy.example:3128" or with "https", "socks4", "socks4a", "socks5" or "socks5h",
            that connects to the server; `None` for none. "auto" is that of the environment: `https_proxy` for "wss://", `http_proxy`
            for "ws://", else `all_proxy`, unless `no_proxy` names the server. SOCKS needs the extra `mintws[socks]`.
        proxy_ssl: the TLS context for a proxy "https://"; if `None`, one that checks certificates against those of the system.
        nursery: where its tasks run, until the connection has ended; if `None`, in one that lasts as long as the `async with`.
        open_timeout, close_timeout, ping_interval, ping_timeout: see `Timeouts`.
        cookies: an `http.cookiejar.CookieJar`, whose cookies are sent, unless a Cookie is among the headers, and which keeps those that
            servers set.
        redirects: the redirects to follow, at most; 0 follows none. Another origin gets no `host`, `port` and `server_hostname`, no
            credentials of the URL or of `auth`, and no Authorization and Cookie header. Without TLS none is followed from "wss://". With
            `sock` or `stream` none is, and with `path` none to another origin. Another origin gets the client's certificate in `ssl`, if it
            asks for one.
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
        LocalProtocolError: an argument is wrong, or it was awaited or entered before, or awaited without a nursery.
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
        stream: Stream | None = None,
        proxy: str | None = "auto",
        proxy_ssl: tls.SSLContext | None = None,
        nursery: trio.Nursery | None = None,
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
        opened = {"stream": stream}
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
        self._connector = Connector(to, stream)
        self._nursery = nursery
        if not isinstance(reconnect, Reconnect):
            raise TypeError(f"reconnect is a Reconnect, not {reconnect!r}")
        self._reconnect = reconnect

    def __aiter__(self) -> AsyncIterator[WebSocket]:
        if self._nursery is None:
            raise LocalProtocolError(
                "a client that connects again needs a nursery for its tasks: give it one by nursery="
            )
        self._begin()
        if self._connector.destination.reach is Reach.ONCE:
            raise LocalProtocolError(
                "`sock` and `stream` are connected once: a client that connects again takes neither"
            )
        return Reconnection(self._settings, self._reconnect, partial(self._open, self._nursery, shield=False))

    async def _open(self, nursery: trio.Nursery, *, shield: bool) -> WebSocket:
        attempt = Attempt(self._settings.url)
        opening = partial(self._follow_redirects, attempt, nursery, shield)
        return await within(attempt, self._settings.timeouts.open_timeout, opening)

    async def _follow_redirects(self, attempt: Attempt, nursery: trio.Nursery, shield: bool) -> WebSocket:
        url = await self._settings.fresh_url(attempt)
        connector = self._connector.at(url)
        by_turns = partial(self._open_by_turns, attempt, nursery, shield, connector)
        reach = connector.destination.reach
        return await follow_redirects(self._settings, url, attempt, _default_offer(), reach, by_turns)

    async def _open_by_turns(
        self,
        attempt: Attempt,
        nursery: trio.Nursery,
        shield: bool,
        connector: Connector,
        url: Url,
        request: UpgradeRequest,
    ) -> WebSocket:
        connector, now = connector.to(url), trio.current_time
        choice = connector.destination.choose_version(self._settings.http, connector.learnt, now())
        once = partial(self._open_once, connector, request, nursery=nursery, shield=shield)
        return await open_by_turns(choice, attempt, now, once)

    async def _open_once(
        self,
        connector: Connector,
        request: UpgradeRequest,
        http: HttpVersion,
        attempt: Attempt,
        nursery: trio.Nursery,
        shield: bool,
    ) -> WebSocket:
        settings = self._settings
        transport = await connector.connect(http, settings.timeouts, settings.options, attempt)
        transport.single = True
        await transport.begin_in(nursery, shield=shield)
        try:
            websocket: WebSocket = await transport.open(request, attempt)
        except BaseException:
            transport.cut()
            raise
        return websocket


class connect_http2(_Opening["Http2Client"]):  # noqa: N801  (used as a function)
    """Open an HTTP/2 connection for many WebSockets and ordinary requests: `async with connect_http2(url) as client:`.

    It opens one, as a coroutine does: for another, call it again.

    Args:
        url: "wss://..." or "ws://...", whose path does not matter here; without TLS, HTTP/2 is spoken by prior knowledge.
        auth: a user and a password, as in `connect`; those, or those of the URL, are sent with the opening of each WebSocket.
        user_agent_header: the User-Agent of all requests, unless it is among their headers; `None` leaves it out.
        ssl, server_hostname, host, port, family, local_addr, sock, path, stream, proxy, proxy_ssl, nursery, open_timeout, close_timeout,
            ping_interval, ping_timeout, options: as in `connect`.
        window: what the server may send on one stream before the application takes it, in bytes: 65535 to 2^31-1. One stream is as fast as
            a window for each round trip.
        max_concurrent_streams: how many WebSockets and requests may be open at a time, where that is less than the server takes; further
            ones wait.

    Raises:
        ConnectTimeout: the server did not send its SETTINGS within the open timeout; the message says what was waited for.
        ConnectError: the server cannot be reached, does not choose HTTP/2 by ALPN, or ends the connection; as in `connect`.
        LocalProtocolError: an argument is wrong, or it was awaited or entered before, or awaited without a nursery.
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
        stream: Stream | None = None,
        proxy: str | None = "auto",
        proxy_ssl: tls.SSLContext | None = None,
        nursery: trio.Nursery | None = None,
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
        opened = {"stream": stream}
        to = Destination(
            where, ssl, server_hostname, host, port, family, local_addr, sock, path, opened, proxy, proxy_ssl
        )
        self._connector = Connector(to, stream)
        self._nursery = nursery

    async def _open(self, nursery: trio.Nursery, *, shield: bool) -> Http2Client:
        attempt = Attempt(self._settings.url)
        opening = partial(self._open_once, attempt, nursery, shield)
        return await within(attempt, self._settings.timeouts.open_timeout, opening)

    async def _open_once(self, attempt: Attempt, nursery: trio.Nursery, shield: bool) -> Http2Client:
        transport = await self._connector.connect(
            "2",
            self._settings.timeouts,
            self._settings.options,
            attempt,
            **self._settings.streams,
        )
        await transport.begin_in(nursery, shield=shield)
        await transport.settings(attempt)
        return Http2Client(transport, self._settings)


class Http2Client(Http2ClientBase):
    """One HTTP/2 connection to a server.

    Attributes:
        http: the `Http2` beneath.
        id: its name in the log: the number of its transport in this process.
    """

    def __init__(self, protocol: TrioClientTransport, settings: Http2Settings) -> None:
        super().__init__(protocol, settings)
        self._protocol = protocol

    async def __aenter__(self) -> Http2Client:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        with raising(error):
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
        offered = _default_offer() if extensions is None else extensions
        url, request = self._handshake(target, headers, subprotocols, offered, origin)
        attempt = Attempt(url)
        attempt.id = self._protocol.id
        opening = partial(self._protocol.open, request, attempt)
        websocket: WebSocket = await within(attempt, self._protocol.timeouts.open_timeout, opening)
        return websocket

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

        There is no time limit: `trio.fail_after` sets one.
        """
        request = self._ordinary(method, target, headers, body, limit)
        return await self._protocol.request(request, limit)

    async def close(self) -> None:
        """Close all WebSockets with 1000, then the connection; it is closed at once if the call is cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                for websocket in list(self._protocol.websockets):
                    nursery.start_soon(websocket.close)
            self._protocol.close()
            await self._protocol.gone.wait()
        except BaseException:
            self._protocol.close()
            self._protocol.cut()
            raise


def _default_offer() -> tuple[Extension, ...]:
    """Give what the clients of this run offer that say nothing of extensions."""
    try:
        return _offers.get()
    except LookupError:
        offer = default_offer()
        _offers.set(offer)
        return offer
