"""Clients: one WebSocket by `connect`, many and ordinary requests on one HTTP/2 connection by `connect_http2`."""

from __future__ import annotations

import socket
import ssl as tls
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mintws.arguments import explained
from mintws.connection import DEFAULT_LIMIT, Connection, Options
from mintws.drivers.addresses import GivenPath
from mintws.drivers.client import (
    Attempt,
    ClientSettings,
    CookieJar,
    GivenHeaders,
    Http2ClientBase,
    Http2Settings,
    OpenedOnce,
    Reach,
    authorized,
    follow_redirects,
    open_by_turns,
)
from mintws.drivers.destination import Destination
from mintws.drivers.websocket import LoggedWebSocket
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
from mintws.sync.background import background
from mintws.sync.connector import ClientSocket, Connector, within
from mintws.sync.deadlines import deadline_after, seconds_until
from mintws.sync.parking import Late
from mintws.sync.reconnection import Reconnection
from mintws.sync.transport import plain, run
from mintws.sync.websocket import WebSocket
from mintws.url import Url, parse

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: The offer of clients that say nothing of extensions, which share contexts.
_offers: list[tuple[Extension, ...]] = []
_offers_lock = threading.Lock()

Opened = TypeVar("Opened", bound=AbstractContextManager[Any])


class _Opening(OpenedOnce, Generic[Opened]):
    """An opening that is entered, or asked for, once: whoever does so closes what is opened then."""

    _how = "`with {}(...) as ...` or `{}(...).open()`"
    #: What was opened for the body of `with`.
    _opened: Opened | None = None

    def __enter__(self) -> Opened:
        self._opened = self.open()
        return self._opened

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        assert self._opened is not None
        return self._opened.__exit__(kind, error, trace)

    def open(self) -> Opened:
        """Open it, for whom `with` does not fit; close what is returned.

        Raises:
            ConnectError: as from the class.
            LocalProtocolError: it was opened before.
        """
        self._begin()
        try:
            return self._connect()
        except BaseException:
            background().join()
            raise

    def _connect(self) -> Opened:
        raise NotImplementedError


class connect(_Opening[WebSocket]):  # noqa: N801  (used as a function)
    """Open a WebSocket: `with connect(url) as websocket:`, or `websocket = connect(url).open()`.

    It opens one: for another, call it again. `for websocket in connect(url):` opens one after another: the next one when the one before has
    ended, or when the body has.

    Args:
        url: "ws://..." or "wss://..."; a user and a password in it are sent as Basic credentials. Or a function that returns one. It is
            called for each opening, within the open timeout, which does not interrupt it, so that a token in the URL can be a new one.
        http: "1.1", "2", or "auto": what the server chooses by ALPN under TLS, else HTTP/1.1. If it chooses HTTP/2 but takes no WebSockets
            over it, refuses the request as such (400, 405, 421, 426, 501, 505), or is a gateway that gets no answer (502, 504, or 503
            without Retry-After), a new connection with HTTP/1.1 is made, unless `sock` was given. Where that helped, the server is offered
            HTTP/1.1 alone for the next 300 s.
        headers: further headers of the request, or a function that returns them, and no coroutine function. It is called for each opening,
            within the open timeout, which does not interrupt it, so that a token in them can be a new one.
        auth: a user and a password, sent as Basic credentials (RFC 7617), unless an Authorization is among the headers. The URL
            has none then.
        subprotocols: the subprotocols to offer, best first.
        extensions: the extensions to offer; permessage-deflate if nothing is said, none if `()`.
        origin: the Origin header.
        user_agent_header: the User-Agent, unless it is among the headers; `None` leaves it out.
        ssl: the TLS context, which keeps the ALPN list that it has; if `None`, one that checks certificates against those of the system,
            which all clients share.
        server_hostname: the name that the certificate must have, if not the URL's.
        host, port: where to connect to, if not where the URL says. Where a name has several addresses, the next one is tried too when
            one has not answered after 0.25 s (RFC 8305).
        family: `socket.AF_INET` or `socket.AF_INET6`, to connect to addresses of that family alone.
        local_addr: the host and the port to connect from.
        sock, path: instead of these, a socket that is connected already, such as the tunnel of a proxy, or the path of a Unix socket,
            which may be bytes or a path object.
        proxy: the URL of a proxy, "http://user:password@proxy.example:3128" or with "https", "socks4", "socks4a", "socks5" or "socks5h",
            that connects to the server; `None` for none. "auto" is that of the environment: `https_proxy` for "wss://", `http_proxy`
            for "ws://", else `all_proxy`, unless `no_proxy` names the server. SOCKS needs the extra `mintws[socks]`.
        proxy_ssl: the TLS context for a proxy "https://"; if `None`, one that checks certificates against those of the system.
        open_timeout, close_timeout, ping_interval, ping_timeout: see `Timeouts`.
        cookies: an `http.cookiejar.CookieJar`, whose cookies are sent, unless a Cookie is among the headers, and which keeps those that
            servers set.
        redirects: the redirects to follow, at most; 0 follows none. Another origin gets no `host`, `port` and `server_hostname`, no
            credentials of the URL or of `auth`, and no Authorization and Cookie header. Without TLS none is followed from "wss://". With
            `sock` none is, and with `path` none to another origin. Another origin gets the client's certificate in `ssl`, if it asks for
            one.
        reconnect: when `for` connects again. Its `decide` is no coroutine function.
        options: see `Options`.

    Raises:
        UpgradeError: the server answered no, or by a redirect that is not followed. The body of its answer is waited for at most a second,
            within the open timeout.
        ExtendedConnectDisabled: `http` is "2", and the server takes no WebSockets over it.
        ProxyError: the proxy did not open a tunnel.
        ConnectTimeout: the server did not answer within the open timeout; the message says what was waited for.
        ConnectError: the server cannot be reached, or the connection ended before the answer; `__cause__` is the error of the
            system or of TLS. The four above are such errors too, and all of them an `OSError`.
        LocalProtocolError: an argument is wrong, or it was opened before.
    """

    @explained(Connection)
    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        http: HttpVersion = "auto",
        headers: GivenHeaders | Callable[[], GivenHeaders] = (),
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
            plain("url", url, "connect") if callable(url) else url,
            auth,
            http,
            plain("headers", headers, "connect") if callable(headers) else headers,
            subprotocols,
            extensions,
            origin,
            user_agent_header,
            timeouts,
            options,
            redirects,
            cookies,
        )
        to = Destination(
            self._settings.url, ssl, server_hostname, host, port, family, local_addr, sock, path, {}, proxy, proxy_ssl
        )
        self._connector = Connector(to)
        if not isinstance(reconnect, Reconnect):
            raise TypeError(f"reconnect is a Reconnect, not {reconnect!r}")
        if reconnect.decide is not None:
            reconnect = replace(reconnect, decide=plain("decide", reconnect.decide, "connect"))
        self._reconnect = reconnect

    def __iter__(self) -> Iterator[WebSocket]:
        self._begin()
        if self._connector.destination.reach is Reach.ONCE:
            raise LocalProtocolError("`sock` is connected once: a client that connects again does not take it")
        return Reconnection(self._settings, self._reconnect, self._connect)

    def _connect(self) -> WebSocket:
        attempt = Attempt(self._settings.url)
        return within(attempt, self._settings.timeouts.open_timeout, partial(self._follow_redirects, attempt))

    def _follow_redirects(self, attempt: Attempt, deadline: float | None) -> WebSocket:
        url = run(self._settings.fresh_url(attempt))
        connector = self._connector.at(url)

        async def open_at(url: Url, request: UpgradeRequest) -> WebSocket:
            if seconds_until(deadline) == 0:
                # A function for `url` or `headers`, which is not interrupted, has taken the time.
                raise Late
            return self._connect_by_turns(attempt, deadline, connector, url, request)

        reach = connector.destination.reach
        return run(follow_redirects(self._settings, url, attempt, _default_offer(), reach, open_at))

    def _connect_by_turns(
        self, attempt: Attempt, deadline: float | None, connector: Connector, url: Url, request: UpgradeRequest
    ) -> WebSocket:
        connector, now = connector.to(url), time.monotonic
        choice = connector.destination.choose_version(self._settings.http, connector.learnt, now())

        async def open_once(http: HttpVersion, attempt: Attempt) -> WebSocket:
            return self._connect_once(connector, request, http, attempt, deadline)

        return run(open_by_turns(choice, attempt, now, open_once))

    def _connect_once(
        self,
        connector: Connector,
        request: UpgradeRequest,
        http: HttpVersion,
        attempt: Attempt,
        deadline: float | None,
    ) -> WebSocket:
        settings = self._settings
        transport = connector.connect(http, settings.timeouts, settings.options, attempt, deadline, None)
        transport.single = True
        try:
            websocket: WebSocket = transport.carry_out(transport.open(request, attempt), deadline)
        except BaseException:
            transport.cut()
            raise
        return websocket


class connect_http2(_Opening["Http2Client"]):  # noqa: N801  (used as a function)
    """Open an HTTP/2 connection for many WebSockets and ordinary requests: `with connect_http2(url) as client:`.

    It opens one: for another, call it again. `client = connect_http2(url).open()` opens it without `with`.

    Args:
        url: "wss://..." or "ws://...", whose path does not matter here; without TLS, HTTP/2 is spoken by prior knowledge.
        auth: a user and a password, as in `connect`; those, or those of the URL, are sent with the opening of each WebSocket.
        user_agent_header: the User-Agent of all requests, unless it is among their headers; `None` leaves it out.
        ssl, server_hostname, host, port, family, local_addr, sock, path, proxy, proxy_ssl, open_timeout, close_timeout, ping_interval,
            ping_timeout, options: as in `connect`.
        window: what the server may send on one stream before the application takes it, in bytes: 65535 to 2^31-1. One stream is as fast as
            a window for each round trip.
        max_concurrent_streams: how many WebSockets and requests may be open at a time, where that is less than the server takes; further
            ones wait.

    Raises:
        ConnectTimeout: the server did not send its SETTINGS within the open timeout; the message says what was waited for.
        ConnectError: the server cannot be reached, does not choose HTTP/2 by ALPN, or ends the connection; as in `connect`.
        LocalProtocolError: an argument is wrong, or it was opened before.
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
        self._connector = Connector(
            Destination(where, ssl, server_hostname, host, port, family, local_addr, sock, path, {}, proxy, proxy_ssl)
        )

    def _connect(self) -> Http2Client:
        attempt = Attempt(self._settings.url)
        return within(attempt, self._settings.timeouts.open_timeout, partial(self._connect_once, attempt))

    def _connect_once(self, attempt: Attempt, deadline: float | None) -> Http2Client:
        transport = self._connector.connect(
            "2",
            self._settings.timeouts,
            self._settings.options,
            attempt,
            deadline,
            None,
            **self._settings.streams,
        )
        transport.carry_out(transport.settings(attempt), deadline)
        return Http2Client(transport, self._settings)


class Http2Client(Http2ClientBase):
    """One HTTP/2 connection to a server, which threads may share.

    Attributes:
        http: the `Http2` beneath.
        id: its name in the log: the number of its transport in this process.
    """

    def __init__(self, transport: ClientSocket, settings: Http2Settings) -> None:
        super().__init__(transport, settings)
        self._transport = transport

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None or isinstance(error, Exception):
            self.close()
            return
        # Whoever ends the program does not want to wait for the server.
        self._transport.make(self._leave)

    def _leave(self) -> None:
        for websocket in list(self._transport.websockets):
            websocket._begin_close(1001)
        self._transport.close()

    def open(
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
        attempt.id = self._transport.id
        transport = self._transport

        def opening(deadline: float | None) -> WebSocket:
            websocket: WebSocket = transport.carry_out(transport.open(request, attempt), deadline)
            return websocket

        return within(attempt, transport.timeouts.open_timeout, opening)

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        limit: int | None = DEFAULT_LIMIT,
        timeout: float | None = None,
    ) -> Response:
        """Make an ordinary request and wait for its response.

        Args:
            method: "GET" and so on.
            target: path and query.
            headers: further headers, as pairs or a mapping.
            body: the body.
            limit: the most bytes of the response's body, inclusive: 1 MiB unless it is given; `None` is no limit.
            timeout: seconds to wait for the response; `None` is no limit.

        Raises:
            ResponseTooLarge: the body of the response is longer than `limit`; its stream is reset as soon as that is known.
            LocalProtocolError: the request, `limit` or `timeout` is against a rule. Nothing was sent.
            ConnectError: the connection has ended, or takes no new requests: connect again. This one was not made.
            ConnectionClosed: the connection ended, or the stream was reset, before the response was whole.
            TimeoutError: the response was not whole in time; the request is taken back.
        """
        deadline = deadline_after(timeout)
        request = self._ordinary(method, target, headers, body, limit)
        try:
            return self._transport.carry_out(self._transport.request(request, limit), deadline)
        except Late:
            raise TimeoutError(f"the response was not whole within {timeout:g} s (`timeout`)") from None

    def close(self) -> None:
        """Close all WebSockets with 1000, then the connection. A call that is interrupted leaves the rest to the background."""
        transport = self._transport
        try:
            transport.carry_out_all(LoggedWebSocket.close(it) for it in list(transport.websockets))
        finally:
            transport.make(transport.close)
        transport.wait(transport.parking, lambda: transport.lost, None)
        background().join()


def _default_offer() -> tuple[Extension, ...]:
    """Return the offer of clients that say nothing of extensions."""
    with _offers_lock:
        if not _offers:
            _offers.append(default_offer())
        return _offers[0]
