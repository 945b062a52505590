"""A server for ASGI applications, over HTTP/1.1 and HTTP/2 on one port."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as tls
from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mintws import asyncio as driver
from mintws.arguments import explained
from mintws.asgi.http import HttpCycle, Responder
from mintws.asgi.http1 import Http1Requests
from mintws.asgi.lifespan import Lifespan, Mode
from mintws.asgi.messages import App, Application, Receive, Send
from mintws.asgi.requests import EXTENSIONS, Requests
from mintws.asgi.scope import http_scope, websocket_scope
from mintws.asgi.websocket import SERVICE_RESTART, AsgiWebSocket, WebSocketCycle, no_handler
from mintws.asyncio import WebSocket
from mintws.asyncio.listener import Listener
from mintws.asyncio.server import Handler, Server, ServerProtocol
from mintws.connection import Connection, Options
from mintws.drivers import log
from mintws.drivers.addresses import GivenPath
from mintws.drivers.server import FORWARDED_REFUSAL, MALFORMED_FORWARDED, ServerTransport
from mintws.errors import LocalProtocolError
from mintws.events import Failed, Request, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.extensions import Extension
from mintws.http1 import Http1
from mintws.session import ForwardedHeader, Network, Timeouts

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("mintws.server")

#: Arguments of `mintws.asyncio.serve` for what an application does by itself, or what ASGI says.
_OF_HANDLERS = dict.fromkeys(
    (
        "origins",
        "parts",
        "respond",
        "subprotocols",
        "text_as_bytes",
        "upgrade",
    ),
    "the application sees to that",
)


class Arguments(Options, total=False):
    """Arguments of `mintws.asyncio.serve` that mean the same for an application."""

    sock: socket.socket | Sequence[socket.socket] | None
    path: GivenPath | None
    backlog: int | None
    reuse_port: bool
    ssl: tls.SSLContext | Callable[[], tls.SSLContext] | None
    extensions: Sequence[Extension] | None
    http2: bool
    max_connections: int | None
    max_connections_per_address: int | None
    max_handshakes: int | None
    proxy_protocol: Sequence[Network] | None
    trusted_proxies: Sequence[Network] | None
    forwarded_header: ForwardedHeader
    window: int
    max_concurrent_streams: int
    max_header_size: int | None
    server_header: str | None
    open_timeout: float | None
    idle_timeout: float | None
    close_timeout: float
    half_closed_timeout: float | None
    ping_interval: float | None
    ping_timeout: float | None


class serve(driver.serve):  # noqa: N801  (used as a function)
    """Serve an ASGI application: `async with serve(app, host, port) as server:`, or `server = await serve(...)`.

    Before it listens, the application starts; when its connections have ended, the application stops. Origins are not checked: that is
    left to the application, as with other servers.

    Args:
        app: the application, of ASGI 3.
        host, port: where to listen, as of `mintws.asyncio.serve`.
        lifespan: whether the application is told of its start and end: "auto" goes on if it raises or returns instead of starting,
            "on" does not, and "off" does not ask.
        root_path: the path that the application is mounted at, with a slash at its beginning and none at its end.
        arguments: see `mintws.asyncio.serve`, which has the same: `sock`, `path`, `backlog`, `reuse_port`, `ssl`, `extensions`, `http2`,
            `max_connections`, `max_connections_per_address`, `max_handshakes`, `proxy_protocol`, `trusted_proxies`,
            `forwarded_header`, `window`, `max_concurrent_streams`, `max_header_size`, `server_header`, the timeouts, and `Options`.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong.
        LifespanFailed: the application cannot start.
        OSError: the address cannot be listened on.
    """

    @explained(driver.serve, absent=_OF_HANDLERS)
    def __init__(
        self,
        app: App,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        lifespan: Mode = "auto",
        root_path: str = "",
        **arguments: Unpack[Arguments],
    ) -> None:
        if not callable(app):
            raise TypeError(f"app is called, which {app!r} cannot be")
        if not isinstance(root_path, str):
            raise TypeError(f"root_path is a str, not {root_path!r}")
        if root_path and (root_path[0] != "/" or root_path[-1] == "/"):
            raise LocalProtocolError(f"root_path begins with a slash and ends without one, unlike {root_path!r}")
        self._app = app
        self._lifespan = Lifespan(app, lifespan, logger)
        self._root_path = root_path
        super().__init__(no_handler, host, port, **arguments)

    def _make_server(self, handler: Handler, timeouts: Timeouts, options: Options) -> AsgiServer:
        return AsgiServer(self._app, self._lifespan, self._root_path, timeouts, options)


async def _refuse_malformed(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer a request of which a trusted proxy tells what cannot be understood."""
    await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": MALFORMED_FORWARDED})


class AsgiServer(Server):
    """A server that listens for an application."""

    def __init__(self, app: App, lifespan: Lifespan, root_path: str, timeouts: Timeouts, options: Options) -> None:
        super().__init__(no_handler, timeouts, options)
        self.app = app
        self.root_path = root_path
        self._lifespan = lifespan

    @property
    def application(self) -> Application:
        """The application, and how its WebSockets are answered."""
        return Application(self.app, self._extensions, logger)  # type: ignore[arg-type]

    @property
    def state(self) -> dict[str, Any]:
        """The state of the lifespan, which the scope of each connection has."""
        return self._lifespan.state

    async def _listen(self, listener: Listener, ssl: tls.SSLContext | None) -> Server:
        await self._lifespan.startup()
        try:
            return await super()._listen(listener, ssl)
        except BaseException:
            await self._lifespan.shutdown()
            raise

    def _make_protocol(self, loop: asyncio.AbstractEventLoop) -> AsgiProtocol:
        return AsgiProtocol(loop, self)

    async def wait_closed(self) -> None:
        await super().wait_closed()
        await self._lifespan.wait_stopped()

    async def drain(self, timeout: float | None, code: int = SERVICE_RESTART, reason: str = "") -> None:
        await super().drain(timeout, code, reason)

    async def close(self, code: int = SERVICE_RESTART, reason: str = "") -> None:
        """Do what `Server.close` does, and then have the application stop.

        Args:
            code, reason: as there.

        Raises:
            LocalProtocolError: as there.
            LifespanFailed: the application has not stopped properly.
        """
        try:
            await super().close(code, reason)
        except asyncio.CancelledError:
            self._lifespan.cancel()
            raise
        await self._lifespan.shutdown()


class AsgiProtocol(ServerProtocol):
    """A transport whose requests and WebSockets are an application's."""

    __slots__ = ("_held", "_requests", "_undecided")

    _server: AsgiServer
    websocket_class = AsgiWebSocket

    def __init__(self, loop: asyncio.AbstractEventLoop, server: AsgiServer) -> None:
        super().__init__(loop, server)
        #: The WebSockets that the application has neither accepted nor refused.
        self._undecided: dict[Connection, WebSocketCycle] = {}
        #: The requests that are under way; `None` before it is known which version is spoken.
        self._requests: Requests | None = None
        #: The next request waits until there is room for its response.
        self._held = False

    # Events.

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        if not isinstance(event, UpgradeRequest):
            if connection in self._undecided:
                self._undecided.pop(connection).lose()
            super().receive_handshake(connection, event)
            if not self.multiplexed:
                # Nobody waits for the response of a connection that has failed.
                self._lose_requests()
            return
        if not self.begin_opening(connection):
            return
        server = self._server
        client = self.client_of(event)
        connection.request = replace(event, peer=client or self.peer)
        if client is None:
            answer, refusal, why = FORWARDED_REFUSAL
            super().answer(connection, answer)
            self.end_opening(connection)
            self.note_refusal(connection, refusal, why)
            return
        scope = websocket_scope(
            connection,
            event,
            self._transport,
            client=None if client is self.peer else client,
            root_path=server.root_path,
            state=server.state,
        )
        cycle = self._undecided[connection] = WebSocketCycle(self, connection, scope, server.application)
        self._start_task(self._run_cycle(connection, cycle))

    async def _run_cycle(self, connection: Connection, cycle: WebSocketCycle) -> None:
        try:
            await cycle.run()
        finally:
            # It is there still where the refusal was sent in parts.
            self._undecided.pop(connection, None)
            self.end_opening(connection)

    def receive_ordinary(self, event: Any) -> None:
        self.count_fault(event)
        # Nothing is collected.
        super(ServerTransport, self).receive_ordinary(event)
        assert self._requests is not None
        if isinstance(event, Failed):
            self._requests.lose()
        self._requests.receive_event(event)

    def eof_received(self) -> bool:
        stays = super().eof_received()
        # A client that has ended its half takes no more either, as far as applications are told.
        self._lose_requests()
        self.close_if_done()
        return stays and not self.lost

    def lose(self) -> None:
        super().lose()
        self._lose_requests()

    def _lose_requests(self) -> None:
        if self._requests is not None:
            self._requests.lose()

    # WebSockets.

    def answer(self, connection: Connection, answer: UpgradeAccept | UpgradeReject) -> WebSocket | None:
        websocket: WebSocket | None = super().answer(connection, answer)
        self._undecided.pop(connection, None)
        self.end_opening(connection)
        if isinstance(connection.response, UpgradeReject):
            log.refused(self, connection, f"{connection.response.status}, by the application")
        return websocket

    def log_answer(self, scope: MutableMapping[str, Any], answer: UpgradeAccept | UpgradeReject) -> None:
        """Count a refusal. Nothing more is logged than the driver logs."""
        if isinstance(answer, UpgradeReject):
            self._server._count_refusal("rejected")

    def leave(self) -> None:
        for cycle in list(self._undecided.values()):
            cycle.shut_down(SERVICE_RESTART)
        super().leave()

    # Requests.

    def make_cycle(self, request: Request, responder: Responder) -> HttpCycle:
        """Make what runs the application for a request."""
        server = self._server
        client = self.client_of(request)
        application = server.application
        if client is None:
            server._count_refusal("invalid")
            application = application._replace(app=_refuse_malformed)
        scope = http_scope(
            request,
            self._transport,
            http_version=self._http_version,
            extensions=EXTENSIONS,
            client=None if client is self.peer else client,
            root_path=server.root_path,
            state=server.state,
        )
        timeout = server._timeouts.open_timeout
        return HttpCycle(responder, scope, application, self._log_response, timeout)

    def start_cycle(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the application for a request."""
        self._start_task(work)

    def end_response(self) -> None:
        """Go on with the next request, when there is room for its response."""
        self._held = self.full
        if not self._held and not self.lost:
            self.proceed()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._requests:
            self.obey(self._session.await_room(self.loop.time(), self))

    def resume_writing(self) -> None:
        super().resume_writing()
        # It may have waited for the client to take the last response.
        self.close_if_done()

    def _wake_senders(self) -> None:
        super()._wake_senders()
        if self._held:
            self.end_response()

    def _speak(self, http2: bool) -> None:
        self._requests = Requests(self) if http2 else Http1Requests(self)
        super()._speak(http2)
        self.http.auto_continue = False

    @property
    def _http_version(self) -> str:
        if not isinstance(self.http, Http1):
            return "2"
        return "1.0" if self.http.h11.their_http_version == b"1.0" else "1.1"

    def _log_response(self, scope: MutableMapping[str, Any], status: int) -> None:
        if self.logger.isEnabledFor(self.level):
            about = f"{scope['method']} {log.shown(scope['path'])}: {status}"
            self.logger.log(self.level, "%s %s: %s", self.id, log.peer(self), about)
