"""Servers: what they are told, and what they decide and answer on one transport."""

from __future__ import annotations

import inspect
import logging
import ssl as tls
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeAlias

from mintws import origin
from mintws.connection import DEFAULT_LIMIT, Connection, Options, check_options
from mintws.drivers import log
from mintws.drivers.addresses import check_context
from mintws.drivers.statistics import Refusal, ServerStatistics, Statistics
from mintws.drivers.transport import LoggedTransport
from mintws.drivers.websocket import LoggedWebSocket
from mintws.errors import ConnectionClosed, LocalProtocolError
from mintws.events import (
    Failed,
    Headers,
    Peer,
    Request,
    Response,
    Role,
    State,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.extensions import Extension, Offer
from mintws.http1 import Http1
from mintws.limits import MAX_CONCURRENT_STREAMS, STREAM_WINDOW, check_header_size, check_streams
from mintws.session import (
    Admission,
    DriverWebSocket,
    ForwardedHeader,
    Network,
    Networks,
    Preface,
    ProxyHeader,
    ProxyHeaderReader,
    ServerSession,
    Timeouts,
    TrustedProxies,
    Visit,
    busy,
    check_origin,
    choose_subprotocol,
    date,
    default_response,
    default_willing,
    product_header,
    text_response,
)

logger = logging.getLogger("mintws.server")

Answer: TypeAlias = UpgradeAccept | UpgradeReject | None
Upgrade: TypeAlias = Callable[[Connection, UpgradeRequest], Answer | Awaitable[Answer]]
Respond: TypeAlias = Callable[[Request], Response | Awaitable[Response]]

#: The body of the response to a request of which a trusted proxy tells what cannot be understood.
MALFORMED_FORWARDED = b"a header of the proxy is malformed\n"
#: The refusal of such a handshake, how it counts, and why for the log.
FORWARDED_REFUSAL: tuple[UpgradeReject, Refusal, str] = (
    UpgradeReject(400, body=MALFORMED_FORWARDED),
    "invalid",
    "a header of the proxy is malformed",
)


class ServerSettings:
    """The arguments of `serve`, without the place where it listens.

    Attributes:
        protocols: the transports that are served.
        leaving: no new connections, requests and WebSockets are taken.
    """

    def __init__(self, handler: Callable[[Any], Any], timeouts: Timeouts, options: Options) -> None:
        self._handler = handler
        self._timeouts = timeouts
        self._options = options
        self._respond: Respond | None = None
        self._upgrade: Upgrade | None = None
        self._subprotocols: tuple[str, ...] = ()
        self._extensions: tuple[Extension | Offer, ...] = ()
        self._origins: Sequence[str | None] | None = None
        self._http2 = True
        self._window = STREAM_WINDOW
        self._max_concurrent_streams = MAX_CONCURRENT_STREAMS
        self._max_header_size: int | None = None
        self._admission = Admission()
        #: The proxies whose headers tell the client of a request.
        self._trusted: TrustedProxies | None = None
        #: The proxies whose connections begin with a PROXY header.
        self._proxies: Networks | None = None
        self._product: Headers = ()
        self._protocols: set[Any] = set()
        self.leaving = False
        #: What is counted, under a lock where there are threads.
        self._counts = Statistics()
        self._changing: AbstractContextManager[object] = nullcontext()

    def _configure(
        self,
        *,
        respond: Respond | None,
        upgrade: Upgrade | None,
        subprotocols: Sequence[str],
        extensions: Sequence[Extension] | None,
        origins: Sequence[str | None] | None,
        http2: bool,
        max_connections: int | None,
        max_connections_per_address: int | None,
        max_handshakes: int | None,
        proxy_protocol: Sequence[Network] | None,
        trusted_proxies: Sequence[Network] | None,
        forwarded_header: ForwardedHeader,
        window: int,
        max_concurrent_streams: int,
        max_header_size: int | None,
        server_header: str | None,
    ) -> None:
        """Take the arguments of `serve` of these names.

        Raises:
            LocalProtocolError, TypeError: one of them is wrong, or an option.
        """
        check_options(self._options)
        handler = self._handler
        for name, hook in (("handler", handler), ("respond", respond or handler), ("upgrade", upgrade or handler)):
            if not callable(hook):
                raise TypeError(f"{name} is called, which {hook!r} cannot be")
        self._respond = respond
        self._upgrade = upgrade
        self._subprotocols = _names("subprotocols", subprotocols, str)
        willing = UpgradeAccept(extensions=default_willing() if extensions is None else extensions)
        self._extensions = willing.extensions
        self._origins = None if origins is None else _names("origins", origins, (str, type(None)))
        for it in self._origins or ():
            if it is not None:
                origin.check(it)
        if http2:
            # With h2, lest all clients wait until it is loaded when the first one speaks it.
            import mintws.http2  # noqa: F401
        self._http2 = http2
        check_streams(window, max_concurrent_streams)
        check_header_size(max_header_size)
        self._admission = Admission(max_connections, max_connections_per_address, max_handshakes)
        self._proxies = None if proxy_protocol is None else Networks("proxy_protocol", proxy_protocol)
        trusted = TrustedProxies(trusted_proxies or (), forwarded_header)
        self._trusted = None if trusted_proxies is None else trusted
        self._window = window
        self._max_concurrent_streams = max_concurrent_streams
        self._max_header_size = max_header_size
        self._product = product_header("Server", server_header)

    @property
    def _is_full(self) -> bool:
        """Whether no more connections are taken until one has ended."""
        return self._admission.is_full

    def statistics(self) -> ServerStatistics:
        """Give the counters of the server as they are now, for an exporter of metrics.

        This takes some microseconds for each open WebSocket. What passes on a WebSocket is counted by its connection anyway. A server on a
        loop is asked there, one for threads by any thread.
        """
        with self._changing:
            transports = list(self._protocols)
        for transport in transports:
            transport.count_traffic()
        with self._changing:
            return self._counts.snapshot(self._admission)

    def _admit(self, address: object, *, secure: bool) -> Visit | None:
        """Take a connection; `None` if it is one too many, which is logged: it is to be closed without an answer.

        Args:
            address: that of the other end. A trusted proxy is not counted by its address: see `identify`.
            secure: whether its TLS handshake begins; `shaken` ends that.
        """
        client = None if self._relays(address) else address
        with self._changing:
            admitted = self._admission.enter(client, secure=secure)
            if isinstance(admitted, Visit):
                self._counts.accepted += 1
                return admitted
            self._counts.refused[admitted] += 1
            why = self._admission.describe(admitted)
        log.turned_away(logger, address, why)
        return None

    def _relays(self, address: object) -> bool:
        """Whether a connection from an address begins with a PROXY header."""
        return self._proxies is not None and address in self._proxies

    def _identify(self, visit: Visit, address: object, header: ProxyHeader) -> Peer | None:
        """Take the header of a proxy's connection; give whose it is, or `None` if that client has too many, which is logged.

        Args:
            visit: the connection.
            address: that of the proxy.
            header: the header.
        """
        if header.source is None:
            return Peer(address, tlvs=header.tlvs)
        with self._changing:
            limit = self._admission.identify(visit, header.source)
            if limit is None:
                return Peer(header.source, proxy=address, tlvs=header.tlvs)
            self._counts.refused[limit] += 1
            why = self._admission.describe(limit)
        log.turned_away(logger, header.source, why)
        return None

    def _fail_proxy_header(self, address: object, reader: ProxyHeaderReader) -> None:
        """Log and count a PROXY header that is malformed, late, or not whole. Who ends a connection without a byte looks for the server."""
        if reader.begun or not reader.ended:
            self._count_refusal("proxy")
            log.proxy_header_failed(logger, address, reader.fault)

    def _shaken(self, visit: Visit) -> None:
        """Count the TLS handshake of a connection as done."""
        with self._changing:
            self._admission.shaken(visit)

    def _depart(self, visit: Visit | None) -> None:
        """Count a connection no more, which has ended or was not taken."""
        if visit is not None:
            with self._changing:
                self._admission.leave(visit)

    def _count_refusal(self, why: Refusal) -> None:
        """Count a connection or a handshake that was refused."""
        with self._changing:
            self._counts.refused[why] += 1

    def _fail_handshake(self, visit: Visit | None, address: object, error: Exception) -> None:
        """Log and count a TLS handshake that failed: it is done, though its connection may stay until an alert has arrived."""
        if visit is not None:
            self._shaken(visit)
        self._count_refusal("tls")
        log.tls_failed(logger, address, error)

    def _open_protocols(self, own: object) -> list[Any]:
        """Give the transports that `close` waits for, but for that of the calling handler: those on which something is still to be done."""
        return [it for it in self._protocols if it is not own and not (it.closing and not it.buffered)]

    def _response_headers(self) -> Headers:
        """Give what each response has: Date (RFC 9110 §6.6.1), and Server."""
        return (("Date", date(int(time.time()))), *self._product)


def server_context(ssl: tls.SSLContext | Callable[[], tls.SSLContext] | None, *, http2: bool) -> tls.SSLContext | None:
    """Give the TLS context that was given, or that is made by what was given, with the list for ALPN.

    Raises:
        LocalProtocolError, TypeError: it is no context, or a client's.
    """
    made = callable(ssl)
    context = ssl() if callable(ssl) else ssl
    if made and context is None:
        raise TypeError("ssl gives an ssl.SSLContext when it is called, not None")
    check_context(context, Role.SERVER)
    if context is not None:
        context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


#: The slots of a server's transport, for its subclass: of several bases only one can have any.
SERVER_SLOTS = ("_preface", "_responders", "_server", "_working", "visit")


class ServerTransport(LoggedTransport):
    """A server's transport, without its I/O.

    Attributes:
        visit: the connection as the server has admitted it; `None` before.

    A subclass calls `_begin_server` first, and has `spawn` and what `LoggedTransport` asks for.
    """

    __slots__ = ()

    _session: ServerSession
    _server: ServerSettings
    _preface: Preface | None
    _working: int
    visit: Visit | None

    logger = logger
    level = logging.INFO
    #: What a task raises that is cancelled.
    cancelled: type[BaseException]

    def _begin_server(self, server: ServerSettings, visit: Visit | None = None) -> None:
        self._server = server
        self.visit = visit
        #: While the client's first bytes are to tell which version of HTTP it speaks.
        self._preface = None
        #: Tasks that answer: the transport is not closed before they are done.
        self._working = 0
        #: The requests whose responses have no room, each with the size of the body and what its task waits for.
        self._responders: list[tuple[Request, int, Any]] = []

    def spawn(self, work: Coroutine[Any, Any, None]) -> Any:
        """Run a coroutine as a task of the server, which ends with `end_work`."""
        raise NotImplementedError

    def speak_chosen(self, alpn: str | None, *, secure: bool) -> None:
        """Begin to speak the version of HTTP that was chosen by ALPN, or wait for the client's first bytes to tell it."""
        self.obey(self._session.begin(self.now()))
        if secure:
            self._speak(alpn == "h2")
        elif self._server._http2:
            self._preface = Preface()
        else:
            self._speak(False)

    def receive_start(self, data: bytes | bytearray | memoryview) -> bytes | None:
        """Take the first bytes of a client without TLS; give them back when they have told the version, `None` before."""
        assert self._preface is not None
        start = self._preface.receive(data)
        if start is not None:
            self._speak(self._preface.http2)
            self._preface = None
        return start

    def handle(self, events: Sequence[tuple[Connection | None, Any]]) -> None:
        super().handle(events)
        if self._session.awaits_requests:
            self.limit_requests()

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        if isinstance(event, UpgradeRequest):
            if self.begin_opening(connection):
                try:
                    self._start_task(self._serve(connection, event))
                except BaseException:
                    # The system has no thread for it.
                    self.end_opening(connection)
                    raise
        elif isinstance(event, Failed):
            if event.error.code != 1006:
                log.refused(self, connection, event.error)
                self._server._count_refusal("invalid")
            self.write(connection.send(event))

    def receive_ordinary(self, event: Any) -> None:
        self.count_fault(event)
        super().receive_ordinary(event)
        # A body that nobody asks for is not kept; over HTTP/1.1 the next request follows it.
        request = self.http.collect(event, DEFAULT_LIMIT if self._keeps_bodies else 0)
        if isinstance(request, Request):
            self._start_task(self._respond(request))

    def count_fault(self, event: Any) -> None:
        """Count a fault of the peer, unless one is known: what follows the first fault of a connection is of no use to anybody."""
        if isinstance(event, Failed) and event.error.code != 1006 and self.error is None:
            self._server._count_refusal("invalid")

    def client_of(self, request: UpgradeRequest | Request) -> Peer | None:
        """Give the client of a request, as trusted proxies tell; `None` if they tell what cannot be understood."""
        trusted = self._server._trusted
        return self.peer if trusted is None else trusted.client(self.peer, request.headers)

    def begin_opening(self, connection: Connection) -> bool:
        """Begin to answer an opening handshake, up to `end_opening`; refuse it if too many are under way, and return `False`.

        A client over HTTP/2 learns that nothing was done for its request, and may send it again.
        """
        server = self._server
        with server._changing:
            begins = server._admission.begin_opening(connection)
        if not begins:
            server._count_refusal("max_handshakes")
            log.refused(self, connection, "too many handshakes are under way")
            self.write(connection.refuse() if self.multiplexed else connection.send(busy()))
            self.proceed()
        return begins

    def end_opening(self, connection: Connection) -> None:
        """Count an opening handshake as answered."""
        with self._server._changing:
            self._server._admission.openings.discard(connection)

    def add(self, websocket: DriverWebSocket) -> None:
        super().add(websocket)
        with self._server._changing:
            self._server._counts.begin(websocket)

    def count_end(self, websocket: DriverWebSocket) -> None:
        with self._server._changing:
            self._server._counts.end(websocket)

    def count_traffic(self) -> None:
        """Count what has passed on the open WebSockets."""
        with self._server._changing:
            for websocket in self.websockets:
                self._server._counts.add(websocket)

    def check_done(self, websocket: DriverWebSocket) -> None:
        super().check_done(websocket)
        if self.multiplexed:
            # The Close, and the end of the stream after it, are written by then.
            self.call_soon(self.limit_half_closed)

    def leave_soon(self, websocket: DriverWebSocket) -> None:
        """End a WebSocket as soon as its Close is written, without waiting for the peer's."""
        if not self.multiplexed:
            self.close()
        elif websocket in self.websockets:
            self.let_go(websocket)
            self.obey(self._session.sweep_later(self.now(), websocket.connection))
            self.wake()

    async def _serve(self, connection: Connection, request: UpgradeRequest) -> None:
        """Answer a handshake and run the handler."""
        answer: UpgradeAccept | UpgradeReject
        refusal: Refusal
        connection.owner = self
        client = self.client_of(request)
        connection.request = request = replace(request, peer=client or self.peer)
        try:
            if client is None:
                answer, refusal, why = FORWARDED_REFUSAL
            else:
                answer, refusal, why = await self._decide(connection, request)
                if connection.response is not None:
                    raise LocalProtocolError("the answer is returned by the hook, and sent by the server")
        except Exception as error:
            refusal, why = "failed", "the upgrade hook failed"
            log.failed(self, connection, why, error)
            answer = UpgradeReject(500)
        except BaseException:
            # It is cancelled, or the process ends: the client should not wait for an answer.
            if not self.lost and connection.state is State.REQUESTED:
                self._server._count_refusal("closing")
                self.write(connection.send(UpgradeReject(503)))
                self.proceed()
            raise
        finally:
            connection.owner = None
            self.end_opening(connection)
        if connection.response is not None:
            # The hook has made the bytes of an answer, without which the peer understands none that follow.
            self._server._count_refusal(refusal)
            self.cut()
            return
        if self._server.leaving:
            answer, refusal, why = UpgradeReject(503), "closing", "the server is closing"
        try:
            websocket = self.answer(connection, answer)
        except Exception as error:
            refusal, why = "failed", "the answer to the handshake is not allowed"
            log.failed(self, connection, why, error)
            websocket = self.answer(connection, UpgradeReject(500))
        self.note_refusal(connection, refusal, why)
        if websocket is not None:
            # A task of its own, so that this one's frame does not live as long as the WebSocket.
            self.start_handler(websocket)

    def note_refusal(self, connection: Connection, refusal: Refusal, why: str) -> None:
        """Count and log a refusal, if one was sent."""
        if isinstance(connection.response, UpgradeReject):
            self._server._count_refusal(refusal)
            log.refused(self, connection, f"{connection.response.status}, {why}")

    def answer(self, connection: Connection, answer: UpgradeAccept | UpgradeReject) -> Any:
        """Answer an opening handshake, if the client is there; give the WebSocket that has opened by that.

        Raises:
            LocalProtocolError: the answer is not allowed; nothing was sent.
        """
        if self.lost or connection.state is not State.REQUESTED:
            return None
        self.write(connection.send(answer))
        websocket = self.adopt(connection) if isinstance(connection.response, UpgradeAccept) else None
        self.proceed()
        return websocket

    def start_handler(self, websocket: Any) -> None:
        """Have the handler run in a task."""
        self._start_task(self._run(websocket))

    async def _run(self, websocket: LoggedWebSocket) -> None:
        raised: BaseException | None = None
        try:
            await self._server._handler(websocket)
        except BaseException as error:
            raised = error
        await self.end_handler(websocket, raised)

    async def end_handler(self, websocket: LoggedWebSocket, raised: BaseException | None) -> None:
        """Close the WebSocket of a handler that has ended, and log how it has failed.

        Raises:
            BaseException: what the handler has raised, if it is no `Exception`: it was cancelled, or the process ends.
        """
        if isinstance(raised, Exception | None):
            # That of threads is none to be awaited.
            await LoggedWebSocket.close(websocket, self.end_handled(websocket, raised))
            return
        self.leave_handled(websocket, 1001 if isinstance(raised, self.cancelled) else 1011)
        try:
            raise raised
        finally:
            # Its traceback has this frame.
            del raised

    def end_handled(self, websocket: LoggedWebSocket, failure: Exception | None) -> int:
        """Log how a handler has failed, if it has; return the status code that its WebSocket is to be closed with."""
        websocket.discard()
        if failure is None:
            return 1000
        # That its own WebSocket has ended is no failure of the handler; that another has is one.
        ended = isinstance(failure, ConnectionClosed) or websocket.ending.is_of(failure)
        if not ended or websocket.state is State.OPEN:
            log.failed(self, websocket.connection, "the handler of a WebSocket failed", failure)
        return 1011

    def leave_handled(self, websocket: LoggedWebSocket, code: int) -> None:
        """End the WebSocket of a handler that was cancelled, or that ends the process: who does so does not want to wait for the peer."""
        if not self.lost:
            websocket._begin_close(code)
            self.leave_soon(websocket)

    async def _decide(
        self, connection: Connection, request: UpgradeRequest
    ) -> tuple[UpgradeAccept | UpgradeReject, Refusal, str]:
        """Give the answer to a handshake and, for a refusal, how it counts, and whose it is for the log."""
        server = self._server
        refused = check_origin(request, server._origins)
        if refused is not None:
            sent = [value for key, value in request.headers if key.lower() == "origin"]
            return refused, "origin", f"not for a page of {' and of '.join(sent) or 'no origin'}"
        answer = None
        if server._upgrade is not None:
            answer = server._upgrade(connection, request)
            if inspect.isawaitable(answer):
                answer = await answer
        if isinstance(answer, UpgradeReject):
            return answer, "rejected", "by the upgrade hook"
        if not isinstance(answer, UpgradeAccept | None):
            raise TypeError(f"upgrade must give UpgradeAccept, UpgradeReject or None, not {answer!r}")
        accept = UpgradeAccept() if answer is None else answer
        # It is only a refusal where it is not allowed.
        return accept.fill(choose_subprotocol(request, server._subprotocols), server._extensions), "failed", ""

    async def _respond(self, request: Request) -> None:
        """Answer an ordinary request, and go on with the next when there is room for its answer."""
        try:
            response = await self._response(request)
            await self._await_room(request, len(response.body or b""))
            data = b"" if self.lost else self.http.respond(request, response)
        except Exception:
            logger.exception("%s: %s %s: the response hook failed", self.id, log.peer(self), log.path(request.target))
            data = b"" if self.lost else self.http.respond(request, text_response(500, "the server failed"))
        except BaseException:
            # As in `_serve`.
            if not self.lost:
                self.write(self.http.respond(request, text_response(503, "the server gives no answer")))
                self.proceed()
            raise
        self.write(data)
        if self.full:
            self.obey(self._session.await_room(self.now(), self))
            await self.drained()
        if not self.lost:
            self.proceed()
            self.update_reading()

    async def _await_room(self, request: Request, size: int) -> None:
        """Wait while the body of a response would only add to what waits for the client, over HTTP/2."""
        while not (self.lost or self.http.has_room_for(request, size)):
            waiting = request, size, self.new_waiter()
            self._responders.append(waiting)
            try:
                await waiting[2]
            finally:
                # It may be cancelled.
                if waiting in self._responders:
                    self._responders.remove(waiting)

    def _wake_senders(self) -> None:
        super()._wake_senders()
        still = []
        for request, size, waiter in self._responders:
            if waiter.done():
                continue
            if self.lost or self.http.has_room_for(request, size):
                waiter.set_result(None)
            else:
                still.append((request, size, waiter))
        self._responders = still

    def lose(self) -> None:
        super().lose()
        self._wake_senders()

    @property
    def _keeps_bodies(self) -> bool:
        return self._server._respond is not None or not self.multiplexed

    async def _response(self, request: Request) -> Response:
        if not self._keeps_bodies:
            request = replace(request, body=b"")
        if request.body is None or self._server._respond is None:
            return default_response(request, multiplexed=self.multiplexed)
        client = self.client_of(request)
        if client is None:
            self._server._count_refusal("invalid")
            return Response(400, body=MALFORMED_FORWARDED)
        response = self._server._respond(replace(request, peer=client))
        if inspect.isawaitable(response):
            response = await response
        if not isinstance(response, Response):
            raise TypeError(f"respond must give a Response, not {response!r}")
        return response

    def _speak(self, http2: bool) -> None:
        server = self._server
        headers = server._response_headers
        if http2:
            from mintws.http2 import Http2

            self.speak(
                Http2(
                    Role.SERVER,
                    window=server._window,
                    max_concurrent_streams=server._max_concurrent_streams,
                    max_header_size=server._max_header_size,
                    response_headers=headers,
                    **server._options,
                )
            )
        else:
            size = server._max_header_size
            self.speak(Http1(Role.SERVER, response_headers=headers, max_header_size=size, **server._options))

    def _start_task(self, work: Coroutine[Any, Any, None]) -> Any:
        self._working += 1
        self.limit_requests()
        return self.spawn(work)

    def end_work(self) -> None:
        """Account for a task that has ended."""
        self._working -= 1
        self.limit_half_closed()
        self.limit_requests()

    def limit_half_closed(self) -> None:
        """Bound the time in which the client may leave streams open that have ended here."""
        self.obey(self._session.limit_half_closed(self.now(), self))

    @property
    def busy(self) -> bool:
        return self._working > 0 or super().busy

    def limit_requests(self) -> None:
        """Bound the time of the requests that have begun; or that until the next, if nothing is under way."""
        self.obey(self._session.limit_requests(self.now(), self))


def _names(name: str, names: Any, kinds: Any) -> tuple[Any, ...]:
    if isinstance(names, str):
        raise TypeError(f"{name} is a sequence of str: write [{names!r}]")
    settled = tuple(names)
    if not all(isinstance(it, kinds) for it in settled):
        raise TypeError(f"{name} is a sequence of str, not {names!r}")
    return settled
