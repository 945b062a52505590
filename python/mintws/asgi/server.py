"""A server for ASGI applications, over HTTP/1.1 and HTTP/2 on one port."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as tls
from collections.abc import Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from mintws import asyncio as driver
from mintws.asgi.lifespan import Lifespan, Mode
from mintws.asgi.messages import App, Application
from mintws.asgi.scope import websocket_scope
from mintws.asgi.websocket import AsgiWebSocket, WebSocketCycle
from mintws.asyncio import WebSocket, log
from mintws.asyncio.listen import Place
from mintws.asyncio.server import Handler, Server, ServerLink
from mintws.connection import Connection, Options
from mintws.events import UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.extensions import Extension
from mintws.session import Timing

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("mintws.server")

#: A server that stops closes WebSockets with this code: the clients may come again.
SERVICE_RESTART = 1012

#: Arguments of `mintws.asyncio.serve` for what an application does by itself.
_OF_HANDLERS = ("origins", "respond", "subprotocols", "upgrade")


class Arguments(Options, total=False):
    """Arguments of `mintws.asyncio.serve` that mean the same for an application."""

    sock: socket.socket | None
    path: str | None
    backlog: int | None
    reuse_port: bool
    ssl: tls.SSLContext | Callable[[], tls.SSLContext] | None
    extensions: Sequence[Extension] | None
    http2: bool
    max_connections: int | None
    window: int
    max_concurrent_streams: int
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
        root_path: the path that the application is mounted at, without a slash at its end.
        arguments: see `mintws.asyncio.serve`, which has the same: `sock`, `path`, `backlog`, `reuse_port`, `ssl`, `extensions`, `http2`,
            `max_connections`, `window`, `max_concurrent_streams`, `server_header`, the timeouts, and `Options`.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong.
        LifespanFailed: the application cannot start.
        OSError: the address cannot be listened on.
    """

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
        for name in _OF_HANDLERS:
            if name in arguments:
                raise TypeError(f"serve() has no argument {name}: the application sees to that")
        self._app = app
        self._lifespan = Lifespan(app, lifespan, logger)
        self._root_path = root_path
        super().__init__(_no_handler, host, port, **arguments)

    def _make_server(self, handler: Handler, timing: Timing, options: Options) -> AsgiServer:
        return AsgiServer(self._app, self._lifespan, self._root_path, timing, options)


async def _no_handler(websocket: WebSocket) -> None:
    raise NotImplementedError("the application handles WebSockets")


class AsgiServer(Server):
    """A server that listens for an application."""

    def __init__(self, app: App, lifespan: Lifespan, root_path: str, timing: Timing, options: Options) -> None:
        super().__init__(_no_handler, timing, options)
        self.app = app
        self.root_path = root_path
        self._lifespan = lifespan

    @property
    def application(self) -> Application:
        """The application, and how its WebSockets are answered."""
        return Application(self.app, self.extensions, logger)  # type: ignore[arg-type]

    @property
    def state(self) -> dict[str, Any]:
        """What the application keeps for the scopes of its connections."""
        return self._lifespan.state

    async def listen(self, place: Place, ssl: tls.SSLContext | None) -> Server:
        await self._lifespan.startup()
        try:
            return await super().listen(place, ssl)
        except BaseException:
            await self._lifespan.shutdown()
            raise

    def make_link(self, loop: asyncio.AbstractEventLoop) -> AsgiLink:
        return AsgiLink(loop, self)

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


class AsgiLink(ServerLink):
    """A transport whose WebSockets are an application's."""

    __slots__ = ("_undecided",)

    _server: AsgiServer
    websocket_class = AsgiWebSocket

    def __init__(self, loop: asyncio.AbstractEventLoop, server: AsgiServer) -> None:
        super().__init__(loop, server)
        #: The WebSockets that the application has neither accepted nor refused.
        self._undecided: dict[Connection, WebSocketCycle] = {}

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        if not isinstance(event, UpgradeRequest):
            if connection in self._undecided:
                self._undecided.pop(connection).lose()
            super().receive_handshake(connection, event)
            return
        server = self._server
        scope = websocket_scope(connection, event, self.transport, root_path=server.root_path, state=server.state)
        cycle = self._undecided[connection] = WebSocketCycle(self, connection, scope, server.application)
        self._start_task(cycle.run())

    def answer(self, connection: Connection, answer: UpgradeAccept | UpgradeReject) -> WebSocket | None:
        websocket = super().answer(connection, answer)
        self._undecided.pop(connection, None)
        if isinstance(connection.response, UpgradeReject):
            log.refused(self, connection, f"{connection.response.status}, by the application")
        return websocket

    def log_answer(self, scope: MutableMapping[str, Any], answer: UpgradeAccept | UpgradeReject) -> None:
        """Log nothing more than the driver does."""

    def leave(self) -> None:
        for cycle in list(self._undecided.values()):
            cycle.shut_down(SERVICE_RESTART)
        super().leave()
