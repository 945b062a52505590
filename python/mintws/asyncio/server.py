"""A server: WebSockets and ordinary requests over HTTP/1.1 and HTTP/2 on one port."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import ssl as tls
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mintws.asyncio.link import Link, Timing
from mintws.asyncio.websocket import WebSocket
from mintws.connection import Connection, Options
from mintws.errors import ConnectionClosed, LocalProtocolError
from mintws.events import Failed, Request, Response, Role, State, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.extensions import Extension
from mintws.http1 import Http1
from mintws.http2 import Http2
from mintws.session import check_origin, choose_subprotocol, default_willing

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("mintws.server")

#: What a client that speaks HTTP/2 by prior knowledge begins with (RFC 9113 §3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

Handler: TypeAlias = Callable[[WebSocket], Awaitable[None]]
Answer: TypeAlias = UpgradeAccept | UpgradeReject | None
Upgrade: TypeAlias = Callable[[Connection, UpgradeRequest], Answer | Awaitable[Answer]]
Respond: TypeAlias = Callable[[Request], Response | Awaitable[Response]]


class serve:  # noqa: N801  (used as a function)
    """Serve WebSockets: `async with serve(handler, host, port) as server:`, or `server = await serve(...)`.

    HTTP/1.1 and HTTP/2 are spoken on the same port: by ALPN under TLS, by the client's preface in clear text.

    Args:
        handler: a coroutine function that is called with each `WebSocket`. When it returns, the WebSocket is closed with 1000; when it
            raises, with 1011, and the error is logged to "mintws.server".
        host, port: where to listen; port 0 is a free one.
        ssl: the TLS context of a server with TLS; its ALPN is set here.
        respond: answers ordinary requests, `Request` to `Response`; without it they get 426.
        upgrade: decides on a handshake: gets the connection and its `UpgradeRequest`, gives an `UpgradeAccept`, an `UpgradeReject`,
            or `None` for what the other arguments say.
        subprotocols: what the server speaks; the first of the client's that is among them is agreed on.
        extensions: what the server is willing to use; permessage-deflate with windows of 4 KiB if nothing is said, none if `()`.
        origins: the origins that may open WebSockets; see `session.check_origin` for what holds if nothing is said.
        http2: whether HTTP/2 is spoken.
        open_timeout, close_timeout, ping_interval, ping_timeout: see `Timing`; the opening handshake is timed from the connection on.
        options: see `Options`.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(
        self,
        handler: Handler,
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: tls.SSLContext | None = None,
        respond: Respond | None = None,
        upgrade: Upgrade | None = None,
        subprotocols: Sequence[str] = (),
        extensions: Sequence[Extension] | None = None,
        origins: Sequence[str | None] | None = None,
        http2: bool = True,
        open_timeout: float | None = 10.0,
        close_timeout: float = 10.0,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        **options: Unpack[Options],
    ) -> None:
        if ssl is not None:
            ssl.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        timing = Timing(open_timeout, close_timeout, ping_interval, ping_timeout)
        self._server = Server(handler, timing, options)
        self._server.respond = respond
        self._server.upgrade = upgrade
        self._server.subprotocols = tuple(subprotocols)
        self._server.extensions = default_willing() if extensions is None else tuple(extensions)
        self._server.origins = origins
        self._server.http2 = http2
        self._address: dict[str, Any] = {"host": host, "port": port, "ssl": ssl}

    def __await__(self) -> Generator[Any, None, Server]:
        return self._server.listen(**self._address).__await__()

    async def __aenter__(self) -> Server:
        return await self._server.listen(**self._address)

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self._server.close()


class Server:
    """A server that listens.

    Attributes:
        port: the port that is listened on.
    """

    def __init__(self, handler: Handler, timing: Timing, options: Options) -> None:
        self.handler = handler
        self.timing = timing
        self.options = options
        self.respond: Respond | None = None
        self.upgrade: Upgrade | None = None
        self.subprotocols: tuple[str, ...] = ()
        self.extensions: tuple[Extension, ...] = ()
        self.origins: Sequence[str | None] | None = None
        self.http2 = True
        self.port = 0
        self.links: set[ServerLink] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._closed: asyncio.Future[None] | None = None

    async def listen(self, **address: Any) -> Server:
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        self._listener = await loop.create_server(lambda: ServerLink(loop, self), **address)
        self.port = int(self.sockets[0].getsockname()[1])
        return self

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self.close()

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets that are listened on: none before and after."""
        return tuple(self._listener.sockets) if self._listener else ()

    @property
    def websockets(self) -> frozenset[WebSocket]:
        """Those that are open now."""
        return frozenset(websocket for link in self.links for websocket in link.websockets)

    async def serve_forever(self) -> None:
        """Serve until the task is cancelled or the server is closed."""
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until `close` is done."""
        assert self._closed is not None
        await asyncio.shield(self._closed)

    async def close(self, code: int = 1001, reason: str = "") -> None:
        """Stop listening, close all WebSockets, and wait for their handlers; what takes longer than the close timeout is cancelled.

        Args:
            code: the status code that the clients get: 1001, going away, or 1012, to come again after a restart.
            reason: text of at most 123 bytes in UTF-8.
        """
        assert self._listener is not None and self._closed is not None
        self._listener.close()
        for link in list(self.links):
            link.leave(code, reason)
        tasks = [task for task in self.tasks if task is not asyncio.current_task()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self.timing.close_timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for link in list(self.links):
            if link.transport is not None:
                link.transport.close()
        gone = [link.gone for link in self.links if link.gone is not None]
        if gone:
            await asyncio.wait(gone, timeout=1)
        for link in list(self.links):
            link.transport.abort()
        if not self._closed.done():
            self._closed.set_result(None)


class ServerLink(Link):
    """A server's transport."""

    __slots__ = ("_leaving", "_open_timer", "_server", "_start")

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        super().__init__(loop, server.timing)
        self._server = server
        self._start = b""
        self._leaving = False
        self.gone = loop.create_future()
        self._open_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.links.add(self)
        if self.timing.open_timeout is not None:
            self._open_timer = self.loop.call_later(self.timing.open_timeout, self._give_up)
        chosen = transport.get_extra_info("ssl_object")
        if chosen is not None:
            self._speak(chosen.selected_alpn_protocol() == "h2")

    def receive(self, data: bytes | memoryview) -> None:
        if not hasattr(self, "http"):
            self._start += data
            if data and len(self._start) < len(PREFACE) and PREFACE.startswith(self._start):
                return
            self._speak(self._server.http2 and self._start.startswith(PREFACE))
            if not self._start:
                self.transport.close()
                return
            data, self._start = self._start, b""
        super().receive(data)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._stop_open_timer()
        self._server.links.discard(self)

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        if isinstance(event, UpgradeRequest):
            self._stop_open_timer()
            self._start_task(self._serve(connection, event))
        elif isinstance(event, Failed) and event.error.code != 1006:
            logger.info("refused a handshake from %s: %s", self.transport.get_extra_info("peername"), event.error)

    def receive_ordinary(self, event: Any) -> None:
        request = self.http.collect(event)
        if isinstance(request, Request):
            self._stop_open_timer()
            self._start_task(self._respond(request))

    def leave(self, code: int, reason: str) -> None:
        """Close all WebSockets and take no more."""
        self._leaving = True
        http = getattr(self, "http", None)
        if isinstance(http, Http2):
            self.write(http.shutdown())
        for websocket in list(self.websockets):
            try:
                websocket.begin_close(code, reason)
            except ConnectionClosed:
                continue
        if not self.websockets and not self.lost:
            self.transport.close()
        elif not self.lost:
            self._limit_close()

    def leave_soon(self, websocket: WebSocket) -> None:
        """End a WebSocket as soon as its Close is written, without waiting for the peer's."""
        if not self.multiplexed and not self.lost:
            self.transport.close()
            self._limit_close()
        elif websocket in self.websockets:
            self.loop.call_later(self.timing.close_timeout, self._reset, websocket.connection)

    async def _serve(self, connection: Connection, request: UpgradeRequest) -> None:
        """Answer a handshake and run the handler."""
        try:
            answer = await self._decide(connection, request)
        except Exception:
            logger.exception("the upgrade hook failed")
            answer = UpgradeReject(500)
        if self.lost or connection.state is not State.REQUESTED:
            return
        try:
            self.write(connection.send(answer))
        except LocalProtocolError:
            logger.exception("the answer to a handshake is not allowed")
            self.write(connection.send(UpgradeReject(500)))
        if isinstance(connection.response, UpgradeReject):
            self.close_if_done()
            return
        websocket = self.adopt(connection)
        self.proceed()
        # A task of its own, so that this one's frame does not live as long as the WebSocket.
        self._start_task(self._run(websocket))

    async def _run(self, websocket: WebSocket) -> None:
        code = 1000
        try:
            await self._server.handler(websocket)
        except ConnectionClosed:
            pass
        except asyncio.CancelledError:
            # Whoever cancels does not want to wait for the peer.
            with contextlib.suppress(ConnectionClosed):
                websocket.begin_close(1001, "")
            self.leave_soon(websocket)
            raise
        except Exception:
            logger.exception("the handler of a WebSocket failed")
            code = 1011
        websocket.discard()
        with contextlib.suppress(ConnectionClosed):
            await websocket.close(code)

    async def _decide(self, connection: Connection, request: UpgradeRequest) -> UpgradeAccept | UpgradeReject:
        server = self._server
        if self._leaving:
            return UpgradeReject(503)
        refused = check_origin(request, server.origins)
        if refused is not None:
            return refused
        if server.upgrade is not None:
            answer = server.upgrade(connection, request)
            if inspect.isawaitable(answer):
                answer = await answer
            if answer is not None:
                return answer
        return UpgradeAccept(subprotocol=choose_subprotocol(request, server.subprotocols), extensions=server.extensions)

    async def _respond(self, request: Request) -> None:
        """Answer an ordinary request."""
        try:
            response = await self._response(request)
        except Exception:
            logger.exception("the response hook failed")
            response = _text(500, "the server failed")
        if self.lost:
            return
        try:
            self.write(self.http.respond(request, response))
        except LocalProtocolError:
            logger.exception("a response is not allowed")
            self.transport.close()
            return
        self.close_if_done()
        if not self.lost:
            self.proceed()
            self.update_reading()

    async def _response(self, request: Request) -> Response:
        if request.body is None:
            return _text(413, "the body is too long")
        if self._server.respond is None:
            upgrade = () if self.multiplexed else (("Upgrade", "websocket"), ("Connection", "Upgrade"))
            return _text(426, "this is a WebSocket server", upgrade) if upgrade else _text(404, "no such page")
        response = self._server.respond(request)
        if inspect.isawaitable(response):
            response = await response
        return response

    def _speak(self, http2: bool) -> None:
        self.multiplexed = http2
        options = self._server.options
        self.http = Http2(Role.SERVER, **options) if http2 else Http1(Role.SERVER, **options)
        self.write(self.http.start())

    def _start_task(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _give_up(self) -> None:
        """The client has taken too long with its first request."""
        self._open_timer = None
        if not self.lost:
            self.transport.abort()

    def _stop_open_timer(self) -> None:
        if self._open_timer is not None:
            self._open_timer.cancel()
            self._open_timer = None


def _text(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, (("Content-Type", "text/plain; charset=utf-8"), *headers), (text + "\n").encode())
