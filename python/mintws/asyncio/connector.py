"""How a client reaches its server: the transport, TLS, and the opening handshakes on it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as tls
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from mintws.asyncio import log
from mintws.asyncio.protocol import ConnectionProtocol, check_context, check_socket
from mintws.asyncio.tcp import connect_tcp, hand_over
from mintws.asyncio.timers import limited
from mintws.asyncio.tls import TlsProtocol, default_context, shared_buffers
from mintws.asyncio.websocket import WebSocket
from mintws.connection import Connection, Options
from mintws.errors import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    ExtendedConnectDisabled,
    LocalProtocolError,
    RemoteProtocolError,
    ResponseTooLarge,
    UpgradeError,
)
from mintws.events import (
    Failed,
    MessageReset,
    Request,
    Response,
    Role,
    State,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.http1 import Http1
from mintws.limits import check_int
from mintws.session import ClientSession, DriverWebSocket, Http1Origins, HttpVersion, Step, Timeouts, TlsTimeouts
from mintws.tls import Tls, TlsBuffers, offer
from mintws.url import Url, ascii_host, ipv6_host

if TYPE_CHECKING:
    from mintws.http2 import Http2
    from mintws.http2.connection import Begun

T = TypeVar("T")

logger = logging.getLogger("mintws.client")

if sys.version_info >= (3, 11):
    _ConnectTimeout = ConnectTimeout
else:

    class _ConnectTimeout(ConnectTimeout, asyncio.TimeoutError):
        """The `ConnectTimeout` that is an `asyncio.TimeoutError` too, which is a class of its own there."""


class Attempt:
    """What a client waits for until a connection, or a WebSocket on it, is open.

    Attributes:
        awaits: what the server has not done yet.
        refusal: its no, whose body had not ended when time was up.
        id: the number of the transport, once there is one.
        multiplexed: HTTP/2 is spoken.
    """

    __slots__ = ("_url", "awaits", "id", "multiplexed", "refusal")

    def __init__(self, url: Url) -> None:
        self._url = url
        self.awaits = "the server's answer"
        self.refusal: UpgradeReject | None = None
        self.id = 0
        self.multiplexed = False

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
        except asyncio.TimeoutError:
            # A frame that holds what it raises would wait for the collector.
            raise self._late(timeout) from None

    def begin_tls(self) -> None:
        """Go on to wait for TLS: its handshake begins when TCP is connected."""
        self.awaits = "the end of the TLS handshake"

    def _late(self, timeout: float | None) -> ConnectError:
        """Make the error that says that time is up, and log it."""
        error: ConnectError
        if self.refusal is not None:
            error = _refused(self.refusal)
        else:
            late = f"{self.awaits} did not come within {timeout:g} s (`open_timeout`)"
            error = _ConnectTimeout(f"cannot connect to {self._url.authority}: {late}")
        self.log(error)
        return error

    def log(self, error: ConnectError, then: str = "") -> None:
        """Log why nothing was opened; of a refusal no more than its status, since the rest may be secret."""
        if logger.isEnabledFor(logging.DEBUG):
            why = f"the server answered {error.status}" if isinstance(error, UpgradeError) else log.shown(str(error))
            where = f"{self._url.authority} {log.path(self._url.target)}"
            logger.debug("%s not opened: %s: %s%s", self.id or "-", where, why, then)


#: What was learnt of the versions of HTTP that servers speak, by loop and by TLS context.
_learnt: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakKeyDictionary[tls.SSLContext, Http1Origins]] = (
    WeakKeyDictionary()
)


class Connector:
    """Where a server is, and how it is reached."""

    def __init__(
        self,
        url: Url,
        ssl: tls.SSLContext | None,
        server_hostname: str | None,
        host: str | None,
        port: int | None,
        family: int,
        local_addr: tuple[str, int] | None,
        sock: socket.socket | None,
        path: str | None,
        transport: asyncio.Transport | None,
    ) -> None:
        check_context(ssl, Role.CLIENT)
        if ssl is not None and not url.secure:
            raise LocalProtocolError("a TLS context was given for a URL without TLS: write wss://")
        _check_address(host, port, family, local_addr, sock, path, transport)
        self._url = url
        self._ssl = ssl
        name = url.server_name if server_hostname is None else _ascii("server_hostname", server_hostname)
        self._server_hostname = name.removesuffix(".")
        self._host = url.host if host is None else _ascii("host", host)
        self._port = port or url.port
        self._family = family
        self._local_addr = None if local_addr is None else (_ascii("local_addr", local_addr[0]), local_addr[1])
        self._sock = sock
        self._path = path
        self._transport = transport
        opened = sock is not None or transport is not None
        #: What the caller has connected is connected once.
        self.attempts = 1 if opened else 2
        #: What tells the server from others that are reached with the same context.
        self.origin = (url.authority, self._server_hostname, host, port, path, opened)

    def learnt(self, loop: asyncio.AbstractEventLoop) -> Http1Origins:
        """Give what the loop has learnt of servers with this context: with another they may answer otherwise; without TLS, nothing."""
        if not self._url.secure:
            return Http1Origins()
        contexts = _learnt.setdefault(loop, WeakKeyDictionary())
        return contexts.setdefault(self._ssl or default_context(loop), Http1Origins())

    async def connect(
        self, http: HttpVersion, timeouts: Timeouts, options: Options, attempt: Attempt, **streams: int | None
    ) -> ClientProtocol:
        """Connect the transport.

        Args:
            streams: arguments of `Http2`.

        Raises:
            ConnectError: the server cannot be reached, or does not speak this version of HTTP.
        """
        loop = asyncio.get_running_loop()
        protocol = ClientProtocol(loop, timeouts, self._url, http, options, streams)

        def make() -> ClientTls | ClientProtocol:
            if not self._url.secure:
                return protocol
            attempt.begin_tls()
            return ClientTls(shared_buffers(loop), protocol, self._ssl, self._server_hostname, http)

        lowest: ClientTls | ClientProtocol
        try:
            if self._transport is not None:
                lowest = make()
                _give_protocol(self._transport, lowest)
            elif self._path is not None:
                attempt.awaits = "the connection"
                _, lowest = await loop.create_unix_connection(make, self._path)
            elif self._sock is not None:
                _, lowest = await loop.create_connection(make, sock=self._sock)
            else:
                attempt.awaits = "the TCP connection"
                sock = await connect_tcp(self._host, self._port, self._family, self._local_addr)
                try:
                    _, lowest = await loop.create_connection(make, sock=sock)
                finally:
                    hand_over(sock)
            if isinstance(lowest, ClientTls):
                await lowest.shake_hands()
        except OSError as error:
            raise _unreachable(self._url, error) from error
        if not protocol.speaks:
            protocol.transport.abort()
            raise ConnectError(f"cannot connect to {self._url.authority}: the server does not speak HTTP/{http} (ALPN)")
        attempt.id, attempt.multiplexed = protocol.id, protocol.multiplexed
        return protocol


def _check_address(
    host: object,
    port: object,
    family: object,
    local_addr: object,
    sock: object,
    path: object,
    transport: object,
) -> None:
    """Raise for an address that is none, or that is given in more than one way."""
    if port is not None:
        check_int("port", port, 1, 65535)
    if not isinstance(family, int):
        raise TypeError(f"family is socket.AF_INET or socket.AF_INET6, not {family!r}")
    if family not in (0, socket.AF_INET, socket.AF_INET6):
        raise LocalProtocolError(f"family must be socket.AF_INET or socket.AF_INET6, not {family!r}")
    match local_addr:
        case None:
            pass
        case (str(), int(number)):
            check_int("the port of local_addr", number, 0, 65535)
        case _:
            raise TypeError(f"local_addr is a pair of a host and a port, not {local_addr!r}")
    check_socket(sock, path)
    _check_transport(transport)
    tcp = host is not None or port is not None or family or local_addr is not None
    if sum(it is not None for it in (sock, path, transport)) + bool(tcp) > 1:
        raise LocalProtocolError(
            "`sock`, `path` or `transport` is given instead of `host`, `port`, `family` and `local_addr`"
        )


def _check_transport(transport: Any) -> None:
    """Raise for what is no transport, or one that has ended, where it is given; those of other loops have no class in common."""
    if transport is None:
        return
    if not hasattr(transport, "set_protocol") or not hasattr(transport, "write"):
        raise TypeError(f"transport is an asyncio.Transport, not {transport!r}")
    if transport.is_closing():
        raise LocalProtocolError("transport is closed already: connect another one")


def _give_protocol(transport: asyncio.Transport, protocol: ClientTls | ClientProtocol) -> None:
    """Have a transport that another protocol has read from go on with ours."""
    transport.pause_reading()
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if not transport.is_closing():
        transport.resume_reading()


def _ascii(argument: str, host: str) -> str:
    """Give a host of the caller's, a name or an address, in ASCII."""
    if not isinstance(host, str):
        raise TypeError(f"{argument} is a str, not {type(host).__name__}")
    try:
        return ipv6_host(host) if ":" in host else ascii_host(host)
    except ValueError as error:
        raise LocalProtocolError(f"{argument} {host!r} {error}") from None


class ClientProtocol(ConnectionProtocol):
    """A client's transport."""

    __slots__ = (
        "_openings",
        "_options",
        "_outliving",
        "_responses",
        "_streams",
        "_url",
        "_version",
        "_waiting",
        "http2",
        "ready",
        "single",
    )

    _session: ClientSession

    logger = logger
    #: What fails is raised, so nobody need look here for it.
    level = logging.DEBUG

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
        self._url = url
        self._version = http
        self._options = options
        self._streams = streams
        #: The HTTP connection, if it is one of HTTP/2.
        self.http2: Http2 | None = None
        self._openings: dict[Connection, asyncio.Future[WebSocket]] = {}
        #: Requests that wait for their response, with the limits of its body.
        self._responses: dict[int, tuple[asyncio.Future[Response], int | None]] = {}
        #: Requests that wait for a stream.
        self._waiting: list[asyncio.Future[None]] = []
        #: The transport is for one WebSocket and ends with it.
        self.single = False
        #: Awaits the end of a transport that nobody else awaits.
        self._outliving: asyncio.Task[None] | None = None
        #: The server's SETTINGS have come, or never will: `check_open` tells.
        self.ready: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        chosen = self._version
        if self._url.secure:
            chosen = "2" if transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2" else "1.1"
            if self._version not in ("auto", chosen):
                # `dial` says so.
                return
        if chosen == "2":
            scheme = "https" if self._url.secure else "http"
            # With h2, which who does not speak it need not load.
            from mintws.http2 import Http2

            self.http2 = Http2(Role.CLIENT, scheme=scheme, **self._streams, **self._options)
            self.speak(self.http2)
        else:
            self.speak(Http1(Role.CLIENT, **self._options))
            self.ready.set_result(None)

    async def open(self, request: UpgradeRequest, attempt: Attempt) -> WebSocket:
        """Open a WebSocket.

        Raises:
            ConnectError: the server refuses it, or the connection ends before its answer.
        """
        self.check_open()
        opening: asyncio.Future[WebSocket] = self.loop.create_future()
        connection = self.http.open()
        connection._deliver_to(None)
        self._openings[connection] = opening
        try:
            self.write(connection.send(request))
            return await opening
        except BaseException:
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                self.abort(opening.result())
            elif not self.lost:
                attempt.awaits, attempt.refusal = self._awaited_by(connection), connection.refusal
                self.say_last(connection.abort())
            raise
        finally:
            self._openings.pop(connection, None)
            # The future holds what it raises, and that this frame.
            del opening
            self._session.forget(connection)

    async def settings(self, attempt: Attempt) -> None:
        """Wait for the server's SETTINGS.

        Raises:
            ConnectError: the connection ends before.
        """
        attempt.awaits = "the server's SETTINGS"
        try:
            await self.ready
            self.check_open()
        except BaseException:
            self.cut()
            raise

    async def request(self, request: Request, limit: int | None) -> Response:
        """Make an ordinary request, and wait for its response, whose body has at most `limit` bytes.

        Raises:
            ConnectError: the connection takes no new requests.
            ConnectionClosed: the connection, or the request's stream, ends before the response does.
        """
        http = self.http2
        assert http is not None
        self.check_open()
        while not http.has_room:
            room: asyncio.Future[None] = self.loop.create_future()
            self._waiting.append(room)
            await room
            self.check_open()
        stream, data = http.request(request)
        response: asyncio.Future[Response] = self.loop.create_future()
        self._responses[stream] = response, limit
        self.write(data)
        try:
            return await response
        except (asyncio.CancelledError, ResponseTooLarge):
            self.say_last(http.cancel(stream))
            raise
        finally:
            self._responses.pop(stream, None)
            # As in `open`.
            del response

    def check_open(self) -> None:
        """Raise `ConnectError` if nothing more can be begun on the connection."""
        if self.lost or self.closing:
            raise _unreachable(self._url, self.error)
        if self.http.leaving:
            leaving = "the connection takes no new streams any more: connect again"
            raise ConnectError(f"cannot connect to {self._url.authority}: {leaving}")

    def _awaited_by(self, connection: Connection) -> str:
        """Name what an opening waits for."""
        if self.http.can_open is None:
            return "the server's SETTINGS"
        return "a free stream" if self.multiplexed and not connection.carrier.number else "the server's answer"

    @property
    def shared(self) -> bool:
        return self.multiplexed and not self.single

    def check_done(self, websocket: DriverWebSocket) -> None:
        super().check_done(websocket)
        if websocket.connection.state is State.CLOSED and not self.shared:
            self._part()

    def abort(self, websocket: DriverWebSocket) -> None:
        super().abort(websocket)
        if self.multiplexed and not self.shared:
            self._part()

    def receive(self, data: bytes | memoryview, begun: Begun | None = None) -> None:
        super().receive(data, begun)
        if not self.ready.done() and self.http.can_open is not None and not self.http.done:
            self.ready.set_result(None)
        for connection in self._openings:
            if connection.refusal is not None:
                self.obey(self._session.refuse(self.loop.time(), connection))
        self._offer_room()

    def expire(self) -> None:
        for connection in self._session.refused(self.loop.time()):
            opening, refusal = self._openings[connection], connection.refusal
            if not opening.done() and refusal is not None:
                opening.set_exception(_refused(refusal))
        super().expire()

    def say_last(self, data: bytes) -> None:
        super().say_last(data)
        self._offer_room()

    def _offer_room(self) -> None:
        """Let requests go on that wait for a stream, where one has ended."""
        if self._waiting and self.http2 is not None and (self.http2.has_room or self.http2.leaving):
            waiting, self._waiting = self._waiting, []
            for room in waiting:
                if not room.done():
                    room.set_result(None)

    def _part(self) -> None:
        """Leave the end of the transport, whose WebSocket has ended, to the server."""
        self.obey(self._session.part(self.loop.time(), self))

    def take_step(self, step: Step) -> None:
        super().take_step(step)
        if step is Step.LET_GO:
            self.outlive()
            for websocket in list(self.websockets):
                self.let_go(websocket)

    def let_finish(self) -> None:
        if not self.shared:
            self.outlive()

    def outlive(self) -> None:
        """Go on until the transport has ended, though nobody waits for that; a loop that ends before cuts it."""
        if self._outliving is None and not self.lost:
            self._outliving = self.loop.create_task(self._until_gone())
            # A task that is cancelled before its first step runs nothing, not even a `finally`.
            self._outliving.add_done_callback(self._end_outliving)

    async def _until_gone(self) -> None:
        await asyncio.shield(self.gone)

    def _end_outliving(self, _: asyncio.Task[None]) -> None:
        self._outliving = None
        self.cut()

    def lose(self) -> None:
        super().lose()
        for opening in self._openings.values():
            if not opening.done():
                opening.set_exception(_unreachable(self._url, self.error))
        for response, _ in self._responses.values():
            if not response.done():
                ended = ConnectionClosed(1006, str(self.error or "the server closed it"), clean=False)
                ended.__cause__ = self.error
                response.set_exception(ended)
        for waiting in [self.ready, *self._waiting]:
            if not waiting.done():
                waiting.set_result(None)

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        opening = self._openings.get(connection)
        match event:
            case UpgradeAccept():
                websocket = self.adopt(connection)
                # What came in the same chunk has waited for it.
                self.loop.call_soon(websocket._resume)
                if opening is None or opening.done():
                    self.abort(websocket)
                else:
                    opening.set_result(websocket)
            case UpgradeReject() if opening is not None and not opening.done():
                opening.set_exception(_refused(event))
            case Failed(error) if opening is not None and not opening.done():
                if isinstance(error.__cause__, ExtendedConnectDisabled):
                    opening.set_exception(error.__cause__)
                else:
                    # That the transport has ended is told by its own error, where it has one.
                    why = self.error if error.code == 1006 and self.error is not None else error
                    opening.set_exception(_unreachable(self._url, why))

    def receive_ordinary(self, event: Any) -> None:
        if not self.multiplexed:
            return
        super().receive_ordinary(event)
        awaited = self._responses.get(getattr(event, "stream", 0))
        if awaited is None:
            # Of no request that waits for its response.
            return
        waiting, limit = awaited
        response = self.http.collect(event, limit)
        if waiting.done():
            return
        if isinstance(response, Response):
            if response.body is None:
                assert limit is not None
                waiting.set_exception(ResponseTooLarge(response.status, limit))
            else:
                waiting.set_result(response)
        elif isinstance(event, MessageReset):
            from mintws.http2.frames import code_name

            reset = f"the server reset the request's stream with {code_name(event.code)}"
            waiting.set_exception(ConnectionClosed(1006, reset, clean=False, ended_by="peer"))


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
        protocols = {"auto": ["h2", "http/1.1"], "1.1": ["http/1.1"], "2": ["h2"]}[self._version]
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


def _refused(refusal: UpgradeReject) -> UpgradeError:
    return UpgradeError(refusal.status, refusal.headers, refusal.body)


def _unreachable(url: Url, error: Exception | None) -> ConnectError:
    """Make the error that names why nothing can be opened, which is its cause."""
    if error is None:
        why = "the connection has ended"
    elif isinstance(error, RemoteProtocolError) and error.code == 1006:
        # Without the section on status codes, which nobody has sent.
        why = error.args[0]
    else:
        why = str(error) or type(error).__name__
    kind = _ConnectTimeout if isinstance(error, TimeoutError) else ConnectError
    made = kind(f"cannot connect to {url.authority}: {why}", errno=getattr(error, "errno", None))
    made.__cause__ = error
    return made
