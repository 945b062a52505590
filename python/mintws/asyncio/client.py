"""Clients: one WebSocket by `connect`, many and ordinary requests on one HTTP/2 connection by `connect_http2`."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from mintws.asyncio.link import Link, Timing
from mintws.asyncio.websocket import WebSocket
from mintws.connection import Connection, Options
from mintws.errors import ConnectionClosed, ExtendedConnectDisabled, LocalProtocolError, UpgradeError
from mintws.events import Failed, Headers, Request, Response, Role, UpgradeAccept, UpgradeReject, UpgradeRequest, pairs
from mintws.extensions import Extension
from mintws.http1 import Http1
from mintws.http2 import Http2
from mintws.session import RETRY_STATUSES, default_offer
from mintws.url import Url, parse

if TYPE_CHECKING:
    from typing_extensions import Unpack

HttpVersion = Literal["auto", "1.1", "2"]


class connect:  # noqa: N801  (used as a function)
    """Open a WebSocket: `async with connect(url) as websocket:`, or `websocket = await connect(url)`.

    Args:
        url: "ws://..." or "wss://..."; a user and a password in it are sent as Basic credentials.
        http: "1.1", "2", or "auto": what the server chooses by ALPN under TLS, else HTTP/1.1. If it chooses HTTP/2 but takes no WebSockets
            over it, a new connection with HTTP/1.1 is made.
        headers: further headers of the request.
        subprotocols: the subprotocols to offer, best first.
        extensions: the extensions to offer; permessage-deflate if nothing is said, none if `()`.
        origin: the Origin header.
        ssl: the TLS context; one that checks the server's certificate if `None`.
        server_hostname: the name that the certificate must have, if not the URL's.
        host, port: where to connect to, if not where the URL says.
        open_timeout, close_timeout, ping_interval, ping_timeout: see `Timing`.
        options: see `Options`.

    Raises:
        UpgradeError: the server answered no.
        ExtendedConnectDisabled: `http` is "2", and the server takes no WebSockets over it.
        ConnectionClosed: the connection ended before the answer.
        LocalProtocolError: an argument is wrong.
        OSError, TimeoutError: the server cannot be reached, or not in time.
    """

    def __init__(
        self,
        url: str,
        *,
        http: HttpVersion = "auto",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        extensions: Sequence[Extension] | None = None,
        origin: str | None = None,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        host: str | None = None,
        port: int | None = None,
        open_timeout: float | None = 10.0,
        close_timeout: float = 10.0,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        **options: Unpack[Options],
    ) -> None:
        if http not in ("auto", "1.1", "2"):
            raise LocalProtocolError(f'http must be "auto", "1.1" or "2", not {http!r}')
        self._http: HttpVersion = http
        self._url = parse(url)
        self._request = _request(self._url, headers, subprotocols, extensions, origin)
        self._address = (host or self._url.host, port or self._url.port)
        self._ssl = ssl
        self._server_hostname = server_hostname
        self._timing = Timing(open_timeout, close_timeout, ping_interval, ping_timeout)
        self._options = options
        self._websocket: WebSocket | None = None

    def __await__(self) -> Generator[Any, None, WebSocket]:
        return self._connect().__await__()

    async def __aenter__(self) -> WebSocket:
        self._websocket = await self._connect()
        return self._websocket

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        assert self._websocket is not None
        await self._websocket.__aexit__(kind, error, trace)

    async def _connect(self) -> WebSocket:
        return await asyncio.wait_for(self._connect_by_turns(), self._timing.open_timeout)

    async def _connect_by_turns(self) -> WebSocket:
        try:
            return await self._connect_once(self._http)
        except (ExtendedConnectDisabled, ConnectionClosed, UpgradeError) as error:
            refused = isinstance(error, UpgradeError) and error.status not in RETRY_STATUSES
            if self._http != "auto" or refused or getattr(error, "http_version", "1.1") != "2":
                raise
        return await self._connect_once("1.1")

    async def _connect_once(self, http: HttpVersion) -> WebSocket:
        link = await _dial(
            self._url, self._address, http, self._ssl, self._server_hostname, self._timing, self._options
        )
        link.single = True
        try:
            return await link.open(self._request)
        except BaseException as error:
            error.http_version = "2" if link.multiplexed else "1.1"  # type: ignore[attr-defined]
            await link.leave()
            raise


class connect_http2:  # noqa: N801  (used as a function)
    """Open an HTTP/2 connection for many WebSockets and ordinary requests: `async with connect_http2(url) as client:`.

    Args:
        url: "wss://..." or "ws://...", whose path does not matter here; without TLS, HTTP/2 is spoken by prior knowledge.
        ssl, server_hostname, host, port, open_timeout, close_timeout, ping_interval, ping_timeout, options: as in `connect`.

    Raises:
        ConnectionClosed: the server does not choose HTTP/2 by ALPN, or ends the connection.
        OSError, TimeoutError: the server cannot be reached, or not in time.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        host: str | None = None,
        port: int | None = None,
        open_timeout: float | None = 10.0,
        close_timeout: float = 10.0,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        **options: Unpack[Options],
    ) -> None:
        self._url = parse(url)
        self._address = (host or self._url.host, port or self._url.port)
        self._ssl = ssl
        self._server_hostname = server_hostname
        self._timing = Timing(open_timeout, close_timeout, ping_interval, ping_timeout)
        self._options = options
        self._client: Http2Client | None = None

    def __await__(self) -> Generator[Any, None, Http2Client]:
        return self._connect().__await__()

    async def __aenter__(self) -> Http2Client:
        self._client = await self._connect()
        return self._client

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        assert self._client is not None
        await self._client.close()

    async def _connect(self) -> Http2Client:
        return await asyncio.wait_for(self._dial(), self._timing.open_timeout)

    async def _dial(self) -> Http2Client:
        link = await _dial(self._url, self._address, "2", self._ssl, self._server_hostname, self._timing, self._options)
        try:
            await link.ready
        except BaseException:
            await link.leave()
            raise
        return Http2Client(link, self._url)


class Http2Client:
    """One HTTP/2 connection to a server.

    Attributes:
        http: the `Http2` beneath.
    """

    def __init__(self, link: ClientLink, url: Url) -> None:
        assert isinstance(link.http, Http2)
        self.http = link.http
        self._link = link
        self._url = url
        self._offer = default_offer()

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
            UpgradeError, ExtendedConnectDisabled, ConnectionClosed, LocalProtocolError, TimeoutError: as in `connect`.
        """
        offered = self._offer if extensions is None else extensions
        request = _request(self._url._replace(target=target), headers, subprotocols, offered, origin)
        return await asyncio.wait_for(self._link.open(request), self._link.timing.open_timeout)

    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Response:
        """Make an ordinary request and wait for its response; a body of more than 1 MiB is not kept, and `None`.

        Raises:
            ConnectionClosed: the connection ended, or the stream was reset, before the response was whole.
        """
        fields: Headers = (("host", self._url.authority), *pairs(headers))
        return await self._link.request(Request(method, target, fields, body))

    async def close(self) -> None:
        """Close all WebSockets with 1000, then the connection."""
        await asyncio.gather(*(it.close() for it in list(self._link.websockets)), return_exceptions=True)
        await self._link.leave()


class ClientLink(Link):
    """A client's transport."""

    __slots__ = ("_openings", "_options", "_responses", "_url", "_version", "ready", "single")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timing: Timing, url: Url, http: HttpVersion, options: Options
    ) -> None:
        super().__init__(loop, timing)
        self._url = url
        self._version = http
        self._options = options
        self._openings: dict[Connection, asyncio.Future[WebSocket]] = {}
        self._responses: dict[int, asyncio.Future[Response]] = {}
        #: The transport is for one WebSocket and ends with it.
        self.single = False
        #: The server's SETTINGS have come.
        self.ready: asyncio.Future[None] = loop.create_future()
        self.gone = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        chosen = transport.get_extra_info("ssl_object")
        self.multiplexed = self._version == "2" or (chosen is not None and chosen.selected_alpn_protocol() == "h2")
        if self.multiplexed:
            scheme = "https" if self._url.secure else "http"
            self.http = Http2(Role.CLIENT, scheme=scheme, **self._options)
        else:
            self.http = Http1(Role.CLIENT, **self._options)
            self.ready.set_result(None)
        self.write(self.http.start())

    async def open(self, request: UpgradeRequest) -> WebSocket:
        """Open a WebSocket."""
        opening: asyncio.Future[WebSocket] = self.loop.create_future()
        connection = self.http.open()
        self._openings[connection] = opening
        try:
            self.write(connection.send(request))
            return await opening
        except asyncio.CancelledError:
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                self.abort(opening.result())
            else:
                self.write(connection.abort())
            raise
        finally:
            self._openings.pop(connection, None)

    async def request(self, request: Request) -> Response:
        """Make an ordinary request."""
        assert isinstance(self.http, Http2)
        stream, data = self.http.request(request)
        response: asyncio.Future[Response] = self.loop.create_future()
        self._responses[stream] = response
        self.write(data)
        try:
            return await response
        finally:
            self._responses.pop(stream, None)

    async def leave(self) -> None:
        """Close the transport and wait until it is gone."""
        if not self.lost:
            if self.multiplexed and isinstance(self.http, Http2):
                self.write(self.http.shutdown())
            self.transport.close()
            self._limit_close()
        assert self.gone is not None
        await asyncio.shield(self.gone)

    def check_done(self, websocket: WebSocket) -> None:
        super().check_done(websocket)
        if self.single and self.multiplexed and not self.websockets and not self.lost:
            assert isinstance(self.http, Http2)
            self.write(self.http.shutdown())
            self.close_if_done()
            self._limit_close()

    def receive(self, data: bytes | memoryview) -> None:
        super().receive(data)
        if not self.ready.done() and self.http.can_open is not None:
            self.ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        lost = ConnectionClosed(1006, f"the connection ended: {error or 'the server closed it'}", clean=False)
        everyone: list[asyncio.Future[Any]] = [self.ready, *self._openings.values(), *self._responses.values()]
        for waiting in everyone:
            if not waiting.done():
                waiting.set_exception(lost)
        if self.ready.done():
            # Nobody may be waiting for it.
            self.ready.cancelled() or self.ready.exception()

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        opening = self._openings.get(connection)
        match event:
            case UpgradeAccept():
                websocket = self.adopt(connection)
                if opening is None or opening.done():
                    self.abort(websocket)
                else:
                    opening.set_result(websocket)
            case UpgradeReject(status) if opening is not None and not opening.done():
                opening.set_exception(UpgradeError(status, event.headers, event.body))
            case Failed(error) if opening is not None and not opening.done():
                disabled = isinstance(self.http, Http2) and self.http.can_open is False and not self.http.done
                if disabled and not connection.carrier.done:
                    opening.set_exception(ExtendedConnectDisabled(str(error)))
                else:
                    closed = ConnectionClosed(error.code, str(error), clean=False)
                    closed.__cause__ = error
                    opening.set_exception(closed)

    def receive_ordinary(self, event: Any) -> None:
        if not isinstance(self.http, Http2):
            return
        response = self.http.collect(event)
        stream = getattr(event, "stream_id", None)
        waiting = self._responses.get(stream) if stream else None
        if waiting is None or waiting.done():
            return
        if isinstance(response, Response):
            waiting.set_result(response)
        elif type(event).__name__ == "StreamReset":
            waiting.set_exception(ConnectionClosed(1006, "the server reset the request's stream", clean=False))


async def _dial(
    url: Url,
    address: tuple[str, int],
    http: HttpVersion,
    ssl: tls.SSLContext | None,
    server_hostname: str | None,
    timing: Timing,
    options: Options,
) -> ClientLink:
    """Connect the transport."""
    loop = asyncio.get_running_loop()
    named: dict[str, Any] = {}
    if url.secure:
        context = ssl or tls.create_default_context()
        context.set_alpn_protocols({"auto": ["h2", "http/1.1"], "1.1": ["http/1.1"], "2": ["h2"]}[http])
        named = {"ssl": context, "server_hostname": server_hostname or url.host}
    elif ssl is not None:
        raise LocalProtocolError("a TLS context was given for a URL without TLS: write wss://")
    _, link = await loop.create_connection(lambda: ClientLink(loop, timing, url, http, options), *address, **named)
    if url.secure and http == "2" and link.transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
        link.transport.abort()
        raise ConnectionClosed(1006, "the server does not speak HTTP/2 (ALPN)", clean=False)
    return link


def _request(
    url: Url,
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
    subprotocols: Sequence[str],
    extensions: Sequence[Extension] | None,
    origin: str | None,
) -> UpgradeRequest:
    fields = pairs(headers)
    if origin is not None:
        fields = (("Origin", origin), *fields)
    if url.authorization is not None and not any(name.lower() == "authorization" for name, _ in fields):
        fields = (("Authorization", url.authorization), *fields)
    offered = default_offer() if extensions is None else extensions
    return UpgradeRequest(url.authority, url.target, headers=fields, subprotocols=subprotocols, extensions=offered)
