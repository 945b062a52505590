"""A server: WebSockets and ordinary requests over HTTP/1.1 and HTTP/2 on one port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl as tls
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from mintws import _core
from mintws.arguments import explained
from mintws.asyncio.listener import Listener
from mintws.asyncio.protocol import ConnectionProtocol
from mintws.asyncio.proxy_protocol import ProxyHeaderProtocol
from mintws.asyncio.timers import Late, limited
from mintws.asyncio.tls import TlsProtocol, shared_buffers
from mintws.asyncio.transport import check_loop
from mintws.asyncio.websocket import WebSocket
from mintws.connection import Connection, Options
from mintws.drivers.addresses import GivenPath
from mintws.drivers.listener import port_of
from mintws.drivers.server import (
    SERVER_SLOTS,
    Respond,
    ServerSettings,
    ServerTransport,
    Upgrade,
    server_context,
)
from mintws.drivers.unopened import Unopened
from mintws.errors import LocalProtocolError
from mintws.events import Role
from mintws.extensions import Extension
from mintws.limits import MAX_CONCURRENT_STREAMS, STREAM_WINDOW
from mintws.session import (
    END_WAIT,
    PRODUCT,
    ForwardedHeader,
    Network,
    ServerSession,
    Step,
    Timeouts,
    TlsTimeouts,
    Visit,
    check_seconds,
)
from mintws.tls import Tls, TlsBuffers

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mintws.http2.connection import Begun

Handler: TypeAlias = Callable[[WebSocket], Awaitable[None]]


class serve(Unopened):  # noqa: N801  (used as a function)
    """Serve WebSockets: `async with serve(handler, host, port) as server:`, or `server = await serve(...)`.

    HTTP/1.1 and HTTP/2 are spoken on the same port: by ALPN under TLS, by the client's preface in clear text.

    Args:
        handler: a coroutine function that is called with each `WebSocket`. When it returns, the WebSocket is closed with 1000; when it
            raises, with 1011, and the error is logged to "mintws.server", unless it is the `ConnectionClosed` of its own end.
        host, port: where to listen: a host or several, all interfaces if `None` or ""; port 0 is one that is free on all of them.
        sock, path: instead of these, a socket that is bound already or several, or the path of a Unix socket.
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
        max_connections_per_address: the same for the connections of one client address, or of one IPv6 network of 64 bits. Behind a proxy
            that is the proxy's.
        max_handshakes: how many TLS handshakes may be under way, after which connections are closed at once, and how many opening
            handshakes may wait for an answer, after which they are refused: with 503 or, over HTTP/2, with REFUSED_STREAM.
        proxy_protocol: the networks of proxies, such as `["10.0.0.0/8"]`, whose connections begin with a PROXY header that tells the
            client's address, version 1 or 2; "unix" among them is for a Unix socket. Connections from elsewhere have none.
        trusted_proxies, forwarded_header: the networks of proxies whose headers tell the client's address, scheme and host for
            `request.peer`, and which headers these are: "X-Forwarded-For", with -Proto and -Host, or "Forwarded" (RFC 7239).
        window, max_concurrent_streams: over HTTP/2, what a client may send on one stream before it is taken, and how many streams it may
            have open; see `Http2`.
        max_header_size: the bytes that the head of a request may have, 1 KiB to 1 MiB; if nothing is said, 32 KiB over HTTP/1.1, where a
            larger one gets 431, and 64 KiB over HTTP/2, where it ends the connection.
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
        sock: socket.socket | Sequence[socket.socket] | None = None,
        path: GivenPath | None = None,
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
        max_connections_per_address: int | None = None,
        max_handshakes: int | None = None,
        proxy_protocol: Sequence[Network] | None = None,
        trusted_proxies: Sequence[Network] | None = None,
        forwarded_header: ForwardedHeader = "X-Forwarded-For",
        window: int = STREAM_WINDOW,
        max_concurrent_streams: int = MAX_CONCURRENT_STREAMS,
        max_header_size: int | None = None,
        server_header: str | None = PRODUCT,
        open_timeout: float | None = 10.0,
        idle_timeout: float | None = 60.0,
        close_timeout: float = 10.0,
        half_closed_timeout: float | None = 0.2,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        **options: Unpack[Options],
    ) -> None:
        timeouts = Timeouts(open_timeout, close_timeout, ping_interval, ping_timeout, idle_timeout, half_closed_timeout)
        self._server = self._make_server(handler, timeouts, options)
        self._server._configure(
            respond=respond,
            upgrade=upgrade,
            subprotocols=subprotocols,
            extensions=extensions,
            origins=origins,
            http2=http2,
            max_connections=max_connections,
            max_connections_per_address=max_connections_per_address,
            max_handshakes=max_handshakes,
            proxy_protocol=proxy_protocol,
            trusted_proxies=trusted_proxies,
            forwarded_header=forwarded_header,
            window=window,
            max_concurrent_streams=max_concurrent_streams,
            max_header_size=max_header_size,
            server_header=server_header,
        )
        self._listener = self._make_listener(host, port, sock, path, backlog, reuse_port)
        self._ssl = server_context(ssl, http2=http2)

    def _make_server(self, handler: Handler, timeouts: Timeouts, options: Options) -> Server:
        return Server(handler, timeouts, options)

    def _make_listener(self, *place: Any) -> Any:
        return Listener(*place)

    def __await__(self) -> Generator[Any, None, Server]:
        return self._server._listen(self._listener, self._ssl).__await__()

    async def __aenter__(self) -> Server:
        return await self._server._listen(self._listener, self._ssl)

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self._server.close()


class Server(ServerSettings):
    """A server that listens.

    Attributes:
        port: the port that is listened on; 0 for a Unix socket.
        leaving: no new connections, requests and WebSockets are taken.
    """

    _protocols: set[ServerProtocol]

    def __init__(self, handler: Handler, timeouts: Timeouts, options: Options) -> None:
        super().__init__(handler, timeouts, options)
        self.port = 0
        #: What handles and answers, and for which transport.
        self._tasks: dict[asyncio.Task[None], ServerProtocol] = {}
        #: Those of TLS, whether their handshake is done or not, and those whose PROXY header is awaited.
        self._channels: set[ServerTls | ProxyHeaderProtocol] = set()
        self._listeners: list[asyncio.Server] = []
        self._closed: asyncio.Future[None] | None = None
        #: What waits for the work that is under way: done when some of it has ended.
        self._work_ended: asyncio.Future[None] | None = None

    async def _listen(self, listener: Listener, ssl: tls.SSLContext | None) -> Server:
        """Begin to listen, where `serve` was told to."""
        if self._closed is not None:
            raise LocalProtocolError("a server listens once: call serve() again")
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        make: Callable[[], ServerProtocol | ServerTls]
        if ssl is None:
            make = partial(self._make_protocol, loop)
        else:
            make = partial(ServerTls, shared_buffers(loop), loop, self, ssl)
        first: Callable[[], asyncio.BaseProtocol] = make
        if self._proxies is not None:
            first = partial(ProxyHeaderProtocol, loop, self, self._channels, ssl is not None, make)
        self._listeners = await listener.listen(first)
        self.port = port_of(self.sockets)
        return self

    def _make_protocol(self, loop: asyncio.AbstractEventLoop) -> ServerProtocol:
        """Make what serves a transport."""
        return ServerProtocol(loop, self)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self.close()

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets that are listened on: none before and after."""
        return tuple(sock for listener in self._listeners for sock in listener.sockets)

    @property
    def websockets(self) -> frozenset[WebSocket]:
        """Those that are open now."""
        return frozenset(websocket for protocol in self._protocols for websocket in protocol.websockets)

    async def serve_forever(self) -> None:
        """Serve until the task is cancelled or the server is closed."""
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until `close` is done."""
        assert self._closed is not None
        if not self._closed.done():
            check_loop(self._closed.get_loop(), "server")
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
        self._check_loop()
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
        self._check_loop()
        self._leave()
        for websocket in self.websockets:
            websocket._begin_close(code, reason)
        try:
            await self._wait_for_work(self._timeouts.close_timeout)
            while tasks := self._tasks.keys() - {asyncio.current_task()}:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            for protocol in list(self._protocols):
                protocol.close()
            gone = [protocol.gone for protocol in self._protocols]
            if gone:
                with contextlib.suppress(Late):
                    await limited(asyncio.wait(gone), END_WAIT)
        finally:
            if not self._loop_is_closed:
                self._cut_off()

    @property
    def _loop_is_closed(self) -> bool:
        """Whether there is nothing to close any more, since the loop is closed."""
        assert self._closed is not None
        return self._closed.get_loop().is_closed()

    def _check_loop(self) -> None:
        """Raise `RuntimeError` in a task of another loop."""
        assert self._closed is not None
        check_loop(self._closed.get_loop(), "server")

    def _note_end(self) -> None:
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
        for protocol in list(self._protocols):
            protocol.leave()
        for channel in list(self._channels):
            if channel.protocol is None:
                channel.abort()

    async def _wait_for_work(self, timeout: float | None) -> None:
        """Wait until no work is under way, but that of the calling task."""
        with contextlib.suppress(Late):
            await limited(self._when_idle(), timeout)

    async def _when_idle(self) -> None:
        while self._is_busy():
            if self._work_ended is None:
                self._work_ended = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._work_ended)

    def _is_busy(self) -> bool:
        calling = asyncio.current_task()
        own = None if calling is None else self._tasks.get(calling)
        return bool(self._open_protocols(own) or self._tasks.keys() - {calling})

    def _cut_off(self) -> None:
        """End what is left."""
        assert self._closed is not None
        for task in self._tasks.keys() - {asyncio.current_task()}:
            task.cancel()
        for protocol in list(self._protocols):
            protocol.cut()
        for channel in list(self._channels):
            channel.abort()
        if not self._closed.done():
            self._closed.set_result(None)


class ServerProtocol(ServerTransport, ConnectionProtocol):
    """A server's transport."""

    __slots__ = SERVER_SLOTS

    _server: Server
    _session: ServerSession

    cancelled = asyncio.CancelledError

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        super().__init__(loop, ServerSession(loop.time(), server._timeouts))
        self._begin_server(server)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        server = self._server
        relayed = transport.get_extra_info("relayed_peer")
        if relayed is not None:
            self.peer = replace(relayed, tls=self.peer.tls)
        if self.visit is None and not server.leaving:
            self.visit = server._admit(self.peer.address, secure=False)
        if self.visit is None or server.leaving:
            self._transport.abort()
            return
        server._protocols.add(self)
        chosen = transport.get_extra_info("ssl_object")
        self.speak_chosen(None if chosen is None else chosen.selected_alpn_protocol(), secure=chosen is not None)

    def receive(self, data: bytes | memoryview, begun: Begun | None = None) -> None:
        if self._preface is not None:
            start = self.receive_start(data)
            if start is None:
                return
            if start:
                super().receive(start)
            if data:
                return
        super().receive(data, begun)

    def lose(self) -> None:
        super().lose()
        self._server._protocols.discard(self)
        self._server._depart(self.visit)
        self._server._note_end()

    def end_chunk(self, crowded: Sequence[WebSocket], replied: int, look: bool) -> None:
        super().end_chunk(crowded, replied, look)
        self.limit_half_closed()

    def take_step(self, step: Step) -> None:
        super().take_step(step)
        self._server._note_end()

    def start_handler(self, websocket: WebSocket) -> None:
        # No frame of ours is entered each time that the handler goes on.
        begin = partial(_begin_handler, self._server._handler, websocket)
        self._start_task(_core.Succession(begin, partial(self.end_handler, websocket)))

    def spawn(self, work: Coroutine[Any, Any, None] | _core.Succession) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._server._tasks[task] = self
        task.add_done_callback(self._end_task)
        return task

    def _end_task(self, task: asyncio.Task[None]) -> None:
        del self._server._tasks[task]
        self.end_work()
        self._server._note_end()


def _begin_handler(handler: Handler, websocket: WebSocket) -> Any:
    """Call a handler; return its coroutine, or the iterator of another awaitable."""
    work = handler(websocket)
    if not isinstance(work, Awaitable):
        raise TypeError(f"the handler must return an awaitable, as a coroutine function does, not {work!r}")
    return work if isinstance(work, Coroutine) else work.__await__()


class ServerTls(TlsProtocol):
    """TLS on a server's transport."""

    __slots__ = ("_context", "_server", "visit")

    lingers = True

    def __init__(
        self, buffers: TlsBuffers, loop: asyncio.AbstractEventLoop, server: Server, context: tls.SSLContext
    ) -> None:
        timeouts = server._timeouts
        super().__init__(buffers, loop, TlsTimeouts(loop.time(), timeouts.open_timeout, timeouts.close_timeout))
        self._server = server
        self._context = context
        #: `None` before it is admitted.
        self.visit: Visit | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        if self.visit is None and not server.leaving:
            self.visit = server._admit(transport.get_extra_info("peername"), secure=True)
        if self.visit is None or server.leaving:
            server._depart(self.visit)
            transport.abort()  # type: ignore[attr-defined]
            return
        server._channels.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._server._channels.discard(self)
        self._server._depart(self.visit)

    def begin(self) -> Tls:
        return Tls(self._context, Role.SERVER, buffers=self._buffers)

    def make(self) -> ServerProtocol:
        assert self.visit is not None
        self._server._shaken(self.visit)
        protocol = self._server._make_protocol(self._loop)
        protocol.visit = self.visit
        return protocol

    def failed(self, error: Exception) -> None:
        if self._server.leaving:
            # It was cut off here.
            return
        self._server._fail_handshake(self.visit, self._transport.get_extra_info("peername"), error)
