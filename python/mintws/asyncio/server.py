"""A server: WebSockets and ordinary requests over HTTP/1.1 and HTTP/2 on one port."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import socket
import ssl as tls
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from mintws import _core, origin
from mintws.arguments import explained
from mintws.asyncio import log
from mintws.asyncio.listener import Listener
from mintws.asyncio.protocol import ConnectionProtocol, check_context
from mintws.asyncio.timers import limited
from mintws.asyncio.tls import TlsProtocol, shared_buffers
from mintws.asyncio.websocket import WebSocket
from mintws.connection import DEFAULT_LIMIT, Connection, Options, check_options
from mintws.errors import ConnectionClosed, LocalProtocolError
from mintws.events import Failed, Headers, Request, Response, Role, State, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.extensions import Extension, Offer
from mintws.http1 import Http1
from mintws.limits import INT31, MAX_CONCURRENT_STREAMS, STREAM_WINDOW, check_int, check_streams
from mintws.session import (
    END_WAIT,
    PRODUCT,
    DriverWebSocket,
    Preface,
    ServerSession,
    Step,
    Timeouts,
    TlsTimeouts,
    check_origin,
    check_seconds,
    choose_subprotocol,
    date,
    default_response,
    default_willing,
    product_header,
    text_response,
)
from mintws.tls import Tls, TlsBuffers

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mintws.http2.connection import Begun

logger = logging.getLogger("mintws.server")

Handler: TypeAlias = Callable[[WebSocket], Awaitable[None]]
Answer: TypeAlias = UpgradeAccept | UpgradeReject | None
Upgrade: TypeAlias = Callable[[Connection, UpgradeRequest], Answer | Awaitable[Answer]]
Respond: TypeAlias = Callable[[Request], Response | Awaitable[Response]]


class serve:  # noqa: N801  (used as a function)
    """Serve WebSockets: `async with serve(handler, host, port) as server:`, or `server = await serve(...)`.

    HTTP/1.1 and HTTP/2 are spoken on the same port: by ALPN under TLS, by the client's preface in clear text.

    Args:
        handler: a coroutine function that is called with each `WebSocket`. When it returns, the WebSocket is closed with 1000; when it
            raises, with 1011, and the error is logged to "mintws.server", unless it is the `ConnectionClosed` of its own end.
        host, port: where to listen: a host or several, all interfaces if `None` or ""; port 0 is one that is free on all of them.
        sock, path: instead of these, a socket that is bound already, or the path of a Unix socket.
        backlog: how many connections may wait in the system until they are accepted; 4096 if nothing is said. A `sock` that listens
            already keeps its own, where the system tells it: Linux does for TCP. The system may have a lower limit.
        reuse_port: whether other processes may listen on the same port if they say so too, and share the connections (SO_REUSEPORT).
        ssl: the TLS context of a server with TLS, with its certificate loaded, or what makes one when it is called, which is done once.
            The context is the server's from then on, and its list for ALPN is set here: give another server, or other uses, their own.
        respond: answers ordinary requests, `Request` to `Response`; without it they get 426.
        upgrade: decides on a handshake: gets the connection and its `UpgradeRequest`, gives an `UpgradeAccept`, an `UpgradeReject`,
            or `None` for what the other arguments say, which also hold for the subprotocol and the extensions that an `UpgradeAccept`
            does not give. `request.peer` is who asks, for `respond` too; what is kept as `connection.app` is `websocket.app` for the
            handler. Meanwhile `connection.owner.transport` is the transport.
        subprotocols: what the server speaks; the first of the client's that is among them is agreed on.
        extensions: what the server is willing to use; permessage-deflate with windows of 4 KiB if nothing is said, none if `()`.
        origins: the origins that may open WebSockets, each as a browser writes it: `"https://example.com"`. `None` among them lets clients
            in that send no Origin. See `session.check_origin` for what holds if nothing is said.
        http2: whether HTTP/2 is spoken.
        max_connections: how many connections there may be at a time; any more are closed at once. `None` is no limit.
        window, max_concurrent_streams: over HTTP/2, what a client may send on one stream before it is taken, and how many streams it may
            have open; see `Http2`.
        server_header: the Server of each response that has none; `None` leaves it out.
        open_timeout, idle_timeout, close_timeout, half_closed_timeout, ping_interval, ping_timeout: see `Timeouts`.
        options: see `Options`.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong.
        OSError: the address cannot be listened on.
    """

    @explained(Connection)
    def __init__(
        self,
        handler: Handler,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        path: str | None = None,
        backlog: int | None = None,
        reuse_port: bool = False,
        ssl: tls.SSLContext | Callable[[], tls.SSLContext] | None = None,
        respond: Respond | None = None,
        upgrade: Upgrade | None = None,
        subprotocols: Sequence[str] = (),
        extensions: Sequence[Extension] | None = None,
        origins: Sequence[str | None] | None = None,
        http2: bool = True,
        max_connections: int | None = None,
        window: int = STREAM_WINDOW,
        max_concurrent_streams: int = MAX_CONCURRENT_STREAMS,
        server_header: str | None = PRODUCT,
        open_timeout: float | None = 10.0,
        idle_timeout: float | None = 60.0,
        close_timeout: float = 10.0,
        half_closed_timeout: float | None = 0.2,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        **options: Unpack[Options],
    ) -> None:
        check_options(options)
        context = server_context(ssl)
        for name, hook in (("handler", handler), ("respond", respond or handler), ("upgrade", upgrade or handler)):
            if not callable(hook):
                raise TypeError(f"{name} is called, which {hook!r} cannot be")
        timeouts = Timeouts(open_timeout, close_timeout, ping_interval, ping_timeout, idle_timeout, half_closed_timeout)
        willing = UpgradeAccept(extensions=default_willing() if extensions is None else extensions)
        if http2:
            # With h2, lest all clients wait until it is loaded when the first one speaks it.
            import mintws.http2  # noqa: F401
        if context is not None:
            context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        self._server = self._make_server(handler, timeouts, options)
        self._server.respond = respond
        self._server.upgrade = upgrade
        self._server.subprotocols = _names("subprotocols", subprotocols, str)
        self._server.extensions = willing.extensions
        self._server.origins = None if origins is None else _names("origins", origins, (str, type(None)))
        for it in self._server.origins or ():
            if it is not None:
                origin.check(it)
        self._server.http2 = http2
        check_streams(window, max_concurrent_streams)
        if max_connections is not None:
            check_int("max_connections", max_connections, 1, INT31, " connections")
        self._server.max_connections = max_connections
        self._server.window = window
        self._server.max_concurrent_streams = max_concurrent_streams
        self._listener = Listener(host, port, sock, path, backlog, reuse_port)
        self._ssl = context
        self._server.product = product_header("Server", server_header)

    def _make_server(self, handler: Handler, timeouts: Timeouts, options: Options) -> Server:
        return Server(handler, timeouts, options)

    def __await__(self) -> Generator[Any, None, Server]:
        return self._server.listen(self._listener, self._ssl).__await__()

    async def __aenter__(self) -> Server:
        return await self._server.listen(self._listener, self._ssl)

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self._server.close()


def server_context(ssl: tls.SSLContext | Callable[[], tls.SSLContext] | None) -> tls.SSLContext | None:
    """Give the TLS context that was given, or that is made by what was given.

    Raises:
        LocalProtocolError, TypeError: it is no context, or a client's.
    """
    made = callable(ssl)
    context = ssl() if callable(ssl) else ssl
    if made and context is None:
        raise TypeError("ssl gives an ssl.SSLContext when it is called, not None")
    check_context(context, Role.SERVER)
    return context


class Server:
    """A server that listens.

    Attributes:
        port: the port that is listened on; 0 for a Unix socket.
        leaving: no new connections, requests and WebSockets are taken.
    """

    def __init__(self, handler: Handler, timeouts: Timeouts, options: Options) -> None:
        self.handler = handler
        self.timeouts = timeouts
        self.options = options
        self.respond: Respond | None = None
        self.upgrade: Upgrade | None = None
        self.subprotocols: tuple[str, ...] = ()
        self.extensions: tuple[Extension | Offer, ...] = ()
        self.origins: Sequence[str | None] | None = None
        self.http2 = True
        self.window = STREAM_WINDOW
        self.max_concurrent_streams = MAX_CONCURRENT_STREAMS
        self.max_connections: int | None = None
        self.product: Headers = ()
        self.port = 0
        self.leaving = False
        self.protocols: set[ServerProtocol] = set()
        #: What handles and answers, and for which transport.
        self.tasks: dict[asyncio.Task[None], ServerProtocol] = {}
        #: Those of TLS, whether their handshake is done or not.
        self.channels: set[ServerTls] = set()
        self._listeners: list[asyncio.Server] = []
        self._closed: asyncio.Future[None] | None = None
        #: What waits for the work that is under way: done when some of it has ended.
        self._work_ended: asyncio.Future[None] | None = None

    async def listen(self, listener: Listener, ssl: tls.SSLContext | None) -> Server:
        """Begin to listen, where `serve` was told to."""
        if self._closed is not None:
            raise LocalProtocolError("a server listens once: call serve() again")
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        if ssl is None:
            self._listeners = await listener.listen(lambda: self.make_protocol(loop))
        else:
            self._listeners = await listener.listen(partial(ServerTls, shared_buffers(loop), loop, self, ssl))
        name = self.sockets[0].getsockname()
        self.port = int(name[1]) if isinstance(name, tuple) else 0
        return self

    def make_protocol(self, loop: asyncio.AbstractEventLoop) -> ServerProtocol:
        """Make what serves a transport."""
        return ServerProtocol(loop, self)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self.close()

    @property
    def is_full(self) -> bool:
        """Whether no more connections are taken until one has ended."""
        return self.max_connections is not None and len(self.protocols) >= self.max_connections

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets that are listened on: none before and after."""
        return tuple(sock for listener in self._listeners for sock in listener.sockets)

    @property
    def websockets(self) -> frozenset[WebSocket]:
        """Those that are open now."""
        return frozenset(websocket for protocol in self.protocols for websocket in protocol.websockets)

    def response_headers(self) -> Headers:
        """Give what each response has: Date (RFC 9110 §6.6.1), and Server."""
        return (("Date", date(int(time.time()))), *self.product)

    async def serve_forever(self) -> None:
        """Serve until the task is cancelled or the server is closed."""
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until `close` is done."""
        assert self._closed is not None
        await asyncio.shield(self._closed)

    async def drain(self, timeout: float | None, code: int = 1001, reason: str = "") -> None:
        """Stop listening, let what is under way come to its end, and close what is left then.

        No connections, requests and WebSockets are taken any more, which clients are told by GOAWAY, or by `Connection: close` in the
        response that is due; connections that carry nothing are closed at once. Requests that have begun get their responses, and
        WebSockets go on until they are closed by either side.

        If the call is cancelled, nothing more is taken all the same, and what is under way goes on: call `drain` again, or `close`.

        Args:
            timeout: how long that may take, in seconds, before `close` is called; `None` waits for as long as it takes.
            code, reason: as in `close`, for the WebSockets that are left.

        Raises:
            LocalProtocolError, TypeError: an argument is wrong; the server goes on.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        _core.check_close(code, reason)
        if self._loop_is_closed:
            return
        self._leave()
        await self._wait_for_work(timeout)
        await self.close(code, reason)

    async def close(self, code: int = 1001, reason: str = "") -> None:
        """Stop listening, close all WebSockets, and wait for their handlers and for answers to ordinary requests.

        What takes longer than the close timeout is cancelled, and what is left when this call itself is cancelled is cut off.

        Args:
            code: the status code that the clients get: 1001, going away, or 1012, to come again after a restart.
            reason: text of at most 123 bytes in UTF-8.

        Raises:
            LocalProtocolError: the code or the reason may not be sent; the server goes on.
        """
        _core.check_close(code, reason)
        if self._loop_is_closed:
            return
        self._leave()
        for websocket in self.websockets:
            websocket._begin_close(code, reason)
        try:
            await self._wait_for_work(self.timeouts.close_timeout)
            while tasks := self.tasks.keys() - {asyncio.current_task()}:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            for protocol in list(self.protocols):
                protocol.close()
            gone = [protocol.gone for protocol in self.protocols]
            if gone:
                with contextlib.suppress(asyncio.TimeoutError):
                    await limited(asyncio.wait(gone), END_WAIT)
        finally:
            if not self._loop_is_closed:
                self._cut_off()

    @property
    def _loop_is_closed(self) -> bool:
        assert self._closed is not None
        return self._closed.get_loop().is_closed()

    def note_end(self) -> None:
        """Look again whether there is work under way: some of it has ended."""
        if self._work_ended is not None:
            self._work_ended.set_result(None)
            self._work_ended = None

    def _leave(self) -> None:
        """Take nothing new."""
        self.leaving = True
        # They know the server.
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        for protocol in list(self.protocols):
            protocol.leave()
        for channel in list(self.channels):
            if channel.protocol is None:
                channel.abort()

    async def _wait_for_work(self, timeout: float | None) -> None:
        """Wait until no work is under way, but that of the calling task."""
        with contextlib.suppress(asyncio.TimeoutError):
            await limited(self._when_idle(), timeout)

    async def _when_idle(self) -> None:
        while self._is_busy():
            if self._work_ended is None:
                self._work_ended = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._work_ended)

    def _is_busy(self) -> bool:
        calling = asyncio.current_task()
        own = None if calling is None else self.tasks.get(calling)
        open_protocols = [
            protocol
            for protocol in self.protocols
            if protocol is not own and not (protocol.closing and not protocol.buffered)
        ]
        return bool(open_protocols or self.tasks.keys() - {calling})

    def _cut_off(self) -> None:
        """End what is left."""
        assert self._closed is not None
        for task in self.tasks.keys() - {asyncio.current_task()}:
            task.cancel()
        for protocol in list(self.protocols):
            protocol.cut()
        for channel in list(self.channels):
            channel.abort()
        if not self._closed.done():
            self._closed.set_result(None)


class ServerProtocol(ConnectionProtocol):
    """A server's transport."""

    __slots__ = (
        "_preface",
        "_server",
        "_working",
    )

    _session: ServerSession

    logger = logger
    level = logging.INFO

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        super().__init__(loop, ServerSession(loop.time(), server.timeouts))
        self._server = server
        #: While the client's first bytes are to tell which version of HTTP it speaks.
        self._preface: Preface | None = None
        #: Tasks that answer: the transport is not closed before they are done.
        self._working = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._server.leaving:
            self.transport.abort()
            return
        if self._server.is_full:
            self.logger.log(
                self.level,
                "%s refused: %s: there are %d connections",
                self.id,
                log.peer(self),
                len(self._server.protocols),
            )
            self.transport.abort()
            return
        self._server.protocols.add(self)
        self.obey(self._session.begin(self.loop.time()))
        chosen = transport.get_extra_info("ssl_object")
        if chosen is not None:
            self._speak(chosen.selected_alpn_protocol() == "h2")
        elif self._server.http2:
            self._preface = Preface()
        else:
            self._speak(False)

    def receive(self, data: bytes | memoryview, begun: Begun | None = None) -> None:
        if self._preface is not None:
            start = self._preface.receive(data)
            if start is None:
                return
            self._speak(self._preface.http2)
            self._preface = None
            if start:
                super().receive(start)
            if data:
                return
        super().receive(data, begun)

    def lose(self) -> None:
        super().lose()
        self._server.protocols.discard(self)
        self._server.note_end()

    def handle(self, events: Sequence[tuple[Connection | None, Any]]) -> None:
        super().handle(events)
        if self._session.awaits_requests:
            self._limit_requests()

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        if isinstance(event, UpgradeRequest):
            self._start_task(self._serve(connection, event))
        elif isinstance(event, Failed):
            if event.error.code != 1006:
                log.refused(self, connection, event.error)
            self.write(connection.send(event))

    def receive_ordinary(self, event: Any) -> None:
        super().receive_ordinary(event)
        # A body that nobody asks for is not kept; over HTTP/1.1 the next request is behind it.
        request = self.http.collect(event, DEFAULT_LIMIT if self._keeps_bodies else 0)
        if isinstance(request, Request):
            self._start_task(self._respond(request))

    def check_done(self, websocket: DriverWebSocket) -> None:
        super().check_done(websocket)
        if self.multiplexed:
            # The Close, and the end of the stream behind it, are written by then.
            self.loop.call_soon(self._limit_half_closed)

    def end_chunk(self, crowded: Sequence[WebSocket], replied: int, look: bool) -> None:
        super().end_chunk(crowded, replied, look)
        self._limit_half_closed()

    def take_step(self, step: Step) -> None:
        super().take_step(step)
        self._server.note_end()

    def leave_soon(self, websocket: WebSocket) -> None:
        """End a WebSocket as soon as its Close is written, without waiting for the peer's."""
        if not self.multiplexed:
            self.close()
        elif websocket in self.websockets:
            self.let_go(websocket)
            self.obey(self._session.sweep_later(self.loop.time(), websocket.connection))
            self.wake()

    async def _serve(self, connection: Connection, request: UpgradeRequest) -> None:
        """Answer a handshake and run the handler."""
        answer: UpgradeAccept | UpgradeReject
        connection.owner = self
        connection.request = request = replace(request, peer=self.peer)
        try:
            answer, why = await self._decide(connection, request)
        except Exception as error:
            why = "the upgrade hook failed"
            log.failed(self, connection, why, error)
            answer = UpgradeReject(500)
        except BaseException:
            # It is cancelled, or the process ends: the client should not wait for an answer.
            if not self.lost and connection.state is State.REQUESTED:
                self.write(connection.send(UpgradeReject(503)))
                self.proceed()
            raise
        finally:
            connection.owner = None
        if self._server.leaving:
            answer, why = UpgradeReject(503), "the server is closing"
        try:
            websocket = self.answer(connection, answer)
        except Exception as error:
            why = "the answer to the handshake is not allowed"
            log.failed(self, connection, why, error)
            websocket = self.answer(connection, UpgradeReject(500))
        if isinstance(connection.response, UpgradeReject):
            log.refused(self, connection, f"{connection.response.status}, {why}")
        if websocket is not None:
            # A task of its own, so that this one's frame does not live as long as the WebSocket.
            self._start_task(self._run(websocket))

    def answer(self, connection: Connection, answer: UpgradeAccept | UpgradeReject) -> WebSocket | None:
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

    async def _run(self, websocket: WebSocket) -> None:
        code = 1000
        try:
            await self._server.handler(websocket)
        except Exception as error:
            # That its own WebSocket has ended is no failure of the handler; that another has is one.
            if not isinstance(error, ConnectionClosed) or websocket.state is State.OPEN:
                log.failed(self, websocket.connection, "the handler of a WebSocket failed", error)
            code = 1011
        except BaseException as error:
            # Whoever cancels, or ends the process, does not want to wait for the peer.
            if not self.lost:
                websocket._begin_close(1001 if isinstance(error, asyncio.CancelledError) else 1011)
                self.leave_soon(websocket)
            raise
        websocket.discard()
        await websocket.close(code)

    async def _decide(
        self, connection: Connection, request: UpgradeRequest
    ) -> tuple[UpgradeAccept | UpgradeReject, str]:
        """Give the answer to a handshake and, for a refusal, whose it is."""
        server = self._server
        refused = check_origin(request, server.origins)
        if refused is not None:
            sent = [value for key, value in request.headers if key.lower() == "origin"]
            return refused, f"not for a page of {' and of '.join(sent) or 'no origin'}"
        answer = None
        if server.upgrade is not None:
            answer = server.upgrade(connection, request)
            if inspect.isawaitable(answer):
                answer = await answer
        if isinstance(answer, UpgradeReject):
            return answer, "by the upgrade hook"
        if not isinstance(answer, UpgradeAccept | None):
            raise TypeError(f"upgrade must give UpgradeAccept, UpgradeReject or None, not {answer!r}")
        accept = UpgradeAccept() if answer is None else answer
        return accept.fill(choose_subprotocol(request, server.subprotocols), server.extensions), ""

    async def _respond(self, request: Request) -> None:
        """Answer an ordinary request, and go on with the next when there is room for its answer."""
        try:
            response = await self._response(request)
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
            self.obey(self._session.await_room(self.loop.time(), self))
            await self.drained()
        if not self.lost:
            self.proceed()
            self.update_reading()

    @property
    def _keeps_bodies(self) -> bool:
        return self._server.respond is not None or not self.multiplexed

    async def _response(self, request: Request) -> Response:
        if not self._keeps_bodies:
            request = replace(request, body=b"")
        if request.body is None or self._server.respond is None:
            return default_response(request, multiplexed=self.multiplexed)
        response = self._server.respond(replace(request, peer=self.peer))
        if inspect.isawaitable(response):
            response = await response
        if not isinstance(response, Response):
            raise TypeError(f"respond must give a Response, not {response!r}")
        return response

    def _speak(self, http2: bool) -> None:
        server = self._server
        headers = server.response_headers
        if http2:
            from mintws.http2 import Http2

            self.speak(
                Http2(
                    Role.SERVER,
                    window=server.window,
                    max_concurrent_streams=server.max_concurrent_streams,
                    response_headers=headers,
                    **server.options,
                )
            )
        else:
            self.speak(Http1(Role.SERVER, response_headers=headers, **server.options))

    def _start_task(self, work: Any) -> asyncio.Task[None]:
        self._working += 1
        self._limit_requests()
        task = self.loop.create_task(work)
        self._server.tasks[task] = self
        task.add_done_callback(self._end_task)
        return task

    def _end_task(self, task: asyncio.Task[None]) -> None:
        del self._server.tasks[task]
        self._working -= 1
        self._limit_half_closed()
        self._limit_requests()
        self._server.note_end()

    def _limit_half_closed(self) -> None:
        """Bound the time in which the client may leave streams open that have ended here."""
        self.obey(self._session.limit_half_closed(self.loop.time(), self))

    @property
    def busy(self) -> bool:
        return self._working > 0 or super().busy

    def _limit_requests(self) -> None:
        """Bound the time of the requests that have begun; or that until the next, if nothing is under way."""
        self.obey(self._session.limit_requests(self.loop.time(), self))


class ServerTls(TlsProtocol):
    """TLS on a server's transport."""

    __slots__ = ("_context", "_server")

    lingers = True

    def __init__(
        self, buffers: TlsBuffers, loop: asyncio.AbstractEventLoop, server: Server, context: tls.SSLContext
    ) -> None:
        timeouts = server.timeouts
        super().__init__(buffers, loop, TlsTimeouts(loop.time(), timeouts.open_timeout, timeouts.close_timeout))
        self._server = server
        self._context = context

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.channels.add(self)
        if self._server.leaving:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._server.channels.discard(self)

    def begin(self) -> Tls:
        return Tls(self._context, Role.SERVER, buffers=self._buffers)

    def make(self) -> ServerProtocol:
        return self._server.make_protocol(self._loop)

    def failed(self, error: Exception) -> None:
        address = log.address_of(self._transport.get_extra_info("peername"))
        if isinstance(error, OSError):
            logger.info("- TLS handshake failed: %s: %s", address, log.shown(str(error)))
        else:
            # It is of a context of the application's own class.
            logger.error("- TLS handshake failed: %s", address, exc_info=error)


def _names(name: str, names: Any, kinds: Any) -> tuple[Any, ...]:
    if isinstance(names, str):
        raise TypeError(f"{name} is a sequence of str: write [{names!r}]")
    settled = tuple(names)
    if not all(isinstance(it, kinds) for it in settled):
        raise TypeError(f"{name} is a sequence of str, not {names!r}")
    return settled
