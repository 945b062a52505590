"""Protocol classes for uvicorn: `uvicorn app:app --http mintws.uvicorn:HttpProtocol --ws mintws.uvicorn:WebSocketProtocol`."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import MutableMapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary, ref

from uvicorn.config import Config
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

from mintws import _core
from mintws.asgi import (
    Application,
    AsgiWebSocket,
    HttpCycle,
    Requests,
    Responder,
    WebSocketCycle,
    http_scope,
    unavailable,
    websocket_scope,
)
from mintws.asgi.requests import EXTENSIONS
from mintws.asgi.websocket import SERVICE_RESTART, no_handler
from mintws.asyncio.server import Server, ServerProtocol
from mintws.asyncio.timers import rearm
from mintws.connection import Connection
from mintws.drivers.server import ServerTransport
from mintws.events import Failed, Headers, Request, Role, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.session import Preface, Timeouts, default_willing

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from uvicorn.server import ServerState

logger = logging.getLogger("uvicorn.error")
access_logger = logging.getLogger("uvicorn.access")

_WS_MAX_QUEUE = inspect.signature(Config).parameters["ws_max_queue"].default

#: Headers of `--header` that a response gets unless it has them; others it gets anyway, as such of lists are, or of several lines.
_ONLY_ONCE = (
    "connection",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
    "upgrade",
)

#: What the connections of one server of uvicorn share.
_servers: WeakKeyDictionary[ServerState, _Server] = WeakKeyDictionary()


class _Server(Server):
    """The arguments of a server of uvicorn, as those of ours."""

    def __init__(self, config: Config, state: ServerState) -> None:
        timeouts = Timeouts(
            ping_interval=config.ws_ping_interval or None,
            ping_timeout=config.ws_ping_timeout or None,
            idle_timeout=_keep_alive(config),
        )
        super().__init__(no_handler, timeouts, {"limit": config.ws_max_size})
        # Whoever makes a protocol has chosen the version.
        self._http2 = False
        if config.ws_max_queue != _WS_MAX_QUEUE:
            logger.warning(
                "ws_max_queue=%s has no effect on WebSockets of mintws: at most 256 messages or 256 KiB wait for the application",
                config.ws_max_queue,
            )
        extensions = default_willing() if config.ws_per_message_deflate else ()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in config.encoded_headers]
        added = tuple(pair for pair in headers if pair[0].lower() not in _ONLY_ONCE)
        self.application = Application(config.loaded_app, tuple(extensions), logger, added)
        # It is the key of what is kept for it.
        self._state = ref(state)
        self._encoded: list[tuple[bytes, bytes]] = []
        self._headers: Headers = ()

    def _response_headers(self) -> Headers:
        """Give the headers that uvicorn has for each response, of which it makes a new list each second."""
        state = self._state()
        if state is not None and state.default_headers is not self._encoded:
            self._encoded = state.default_headers
            self._headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in self._encoded)
        return self._headers

    def http2_headers(self) -> Headers:
        """Give these headers, but for those of the connection, which HTTP/2 does not carry (RFC 9113 §8.2.2)."""
        headers = list(self._response_headers())
        return tuple(_core.write_ordinary_response(200, headers, None, head=False, http2=True)[1:])


class _UvicornProtocol(ServerProtocol):
    """A connection whose WebSockets are the application's.

    Args:
        config, server_state, app_state: as uvicorn gives them.
    """

    __slots__ = ("_app_state", "_config", "_cycles", "_state")

    _server: _Server
    websocket_class = AsgiWebSocket

    def __new__(cls, *_: Any, _loop: asyncio.AbstractEventLoop | None = None, **_named: Any) -> _UvicornProtocol:
        # The core takes the loop first, which uvicorn does not give.
        return super().__new__(cls, _loop or asyncio.get_running_loop())

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        server = _servers.get(server_state)
        if server is None:
            server = _servers[server_state] = _Server(config, server_state)
        super().__init__(_loop or asyncio.get_running_loop(), server)
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self._cycles: dict[Connection, WebSocketCycle] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._state.connections.add(self)  # type: ignore[arg-type]
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take what was read before this became the protocol of the transport; all that follows comes by `buffer_updated`."""
        self.receive(data)

    def lose(self) -> None:
        super().lose()
        for cycle in list(self._cycles.values()):
            cycle.lose()
        self._state.connections.discard(self)

    def shutdown(self) -> None:
        """Close what is open, and then the transport; uvicorn calls this when it stops."""
        for cycle in list(self._cycles.values()):
            cycle.shut_down(SERVICE_RESTART)
        self.leave()

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        if isinstance(event, Failed) and connection in self._cycles:
            self._cycles[connection].lose()
        if not isinstance(event, UpgradeRequest):
            super().receive_handshake(connection, event)
            return
        scope = websocket_scope(
            connection, event, self._transport, root_path=self._config.root_path, state=self._app_state
        )
        scope["asgi"]["version"] = self._config.asgi_version
        if self._is_crowded():
            refusal = UpgradeReject(503, body=b"Service Unavailable")
            self.log_answer(scope, refusal)
            self.answer(connection, refusal)
            return
        cycle = self._cycles[connection] = WebSocketCycle(self, connection, scope, self._server.application)
        self._start_task(self._run_cycle(connection, cycle))

    async def _run_cycle(self, connection: Connection, cycle: WebSocketCycle) -> None:
        try:
            await cycle.run()
        finally:
            del self._cycles[connection]

    def _start_task(self, work: Any) -> asyncio.Task[None]:
        start = super()._start_task
        # uvicorn has this option from 0.45 on.
        resets = getattr(self._config, "reset_contextvars", False)
        task: asyncio.Task[None] = Context().run(start, work) if resets else start(work)
        self._state.tasks.add(task)
        return task

    def _end_task(self, task: asyncio.Task[None]) -> None:
        self._state.tasks.discard(task)
        super()._end_task(task)

    def _is_crowded(self) -> bool:
        """Whether uvicorn would refuse a request now, which is logged."""
        limit = self._config.limit_concurrency
        crowded = limit is not None and (len(self._state.connections) >= limit or len(self._state.tasks) >= limit)
        if crowded:
            logger.warning("Exceeded concurrency limit.")
        return crowded

    def log_answer(self, scope: MutableMapping[str, Any], answer: UpgradeAccept | UpgradeReject) -> None:
        """Log an answer in uvicorn's words."""
        said = "[accepted]" if isinstance(answer, UpgradeAccept) else answer.status
        client, path = get_client_addr(scope), get_path_with_query_string(scope)  # type: ignore[arg-type]
        logger.info('%s - "WebSocket %s" %s', client, path, said)


class WebSocketProtocol(_UvicornProtocol):
    """A connection of a client that asks for a WebSocket over HTTP/1.1.

    The arguments of uvicorn hold: `ws_max_size`, `ws_ping_interval`, `ws_ping_timeout`, `ws_per_message_deflate`, `root_path`,
    `limit_concurrency`, `timeout_graceful_shutdown`, and the headers that it has for each response. `ws_max_queue` does not: at most
    256 messages or 256 KiB wait for the application, and another value than the default is warned of.

    Origins are not checked: that is left to the application, as with uvicorn's own classes.

    Args:
        config, server_state, app_state: as uvicorn gives them.
    """

    __slots__ = ()


class _Http2Protocol(_UvicornProtocol):
    """A connection of a client that speaks HTTP/2, whose requests and WebSockets are the application's."""

    __slots__ = ("_requests",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._requests = Requests(self)

    def eof_received(self) -> bool:
        stays = super().eof_received()
        # Nothing more is said on a connection of which one half has ended.
        self._requests.lose()
        return stays

    def lose(self) -> None:
        super().lose()
        self._requests.lose()

    def receive_ordinary(self, event: Any) -> None:
        # Nothing is collected.
        super(ServerTransport, self).receive_ordinary(event)
        if isinstance(event, Failed):
            logger.warning("Invalid HTTP/2 frame received: %s", event.error)
            self._requests.lose()
        self._requests.receive_event(event)

    def _speak(self, http2: bool) -> None:
        from mintws.http2 import Http2

        http = Http2(
            Role.SERVER,
            enable_connect=_takes_websockets(self._config),
            response_headers=self._server.http2_headers,
            **self._server._options,
        )
        http.auto_continue = False
        self.speak(http)

    def make_cycle(self, request: Request, responder: Responder) -> HttpCycle:
        """Make what runs the application for a request."""
        config = self._config
        scope = http_scope(
            request,
            self._transport,
            http_version="2",
            extensions=EXTENSIONS,
            root_path=config.root_path,
            state=self._app_state,
        )
        scope["asgi"]["version"] = config.asgi_version
        application = self._server.application
        if self._is_crowded():
            application = application._replace(app=self._refuse)
        return HttpCycle(responder, scope, application, self._count, self._server._timeouts.open_timeout)

    async def _refuse(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer a request with 503; where there are too many connections, this one makes room."""
        crowded = len(self._state.connections) >= (self._config.limit_concurrency or 0)
        await unavailable(scope, receive, send)
        if crowded:
            self.leave()

    def start_cycle(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the application for a request, in a task that uvicorn knows."""
        self._start_task(work)

    def _count(self, scope: MutableMapping[str, Any], status: int) -> None:
        """Count a response, and log it as uvicorn's own classes do."""
        self._state.total_requests += 1
        if access_logger.hasHandlers():
            access_logger.info(
                '%s - "%s %s HTTP/%s" %d',
                get_client_addr(scope),  # type: ignore[arg-type]
                scope["method"],
                get_path_with_query_string(scope),  # type: ignore[arg-type]
                scope["http_version"],
                status,
            )


class HttpProtocol(asyncio.Protocol):
    """A connection of a client, until it is known which version of HTTP it speaks.

    HTTP/2 is spoken where the client chooses it by ALPN, or begins with its preface in clear text (RFC 9113 §3.3, §3.4). HTTP/1.1 is
    left to uvicorn's own class, as it is installed. WebSockets of both versions are those of `WebSocketProtocol`, unless `ws` names
    another class for HTTP/1.1, or is "none".

    The arguments of uvicorn hold as there, and `timeout_keep_alive`, `limit_max_requests`, `access_log` and `reset_contextvars` too. A
    connection in clear text that does not say within `timeout_keep_alive` which version it speaks is closed.

    The list for ALPN of the TLS context is set here, whoever has made the context.

    Args:
        config, server_state, app_state: as uvicorn gives them.
    """

    alpn_protocols: ClassVar[Sequence[str]] = ["h2", "http/1.1"]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        if config.ssl is not None:
            # That of a factory has none. It is asked for when the handshake begins, which is later.
            config.ssl.set_alpn_protocols(self.alpn_protocols)
        self._config = config
        self._state = server_state
        self._arguments = {"config": config, "server_state": server_state, "app_state": app_state, "_loop": _loop}
        self._preface = Preface()
        self._loop = _loop
        self._timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._state.connections.add(self)  # type: ignore[arg-type]
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._choose(tls.selected_alpn_protocol() == "h2")
            return
        loop = self._loop or asyncio.get_running_loop()
        self._timer = rearm(None, loop, loop.time() + _keep_alive(self._config), transport.close)

    def data_received(self, data: bytes) -> None:
        start = self._preface.receive(data)
        if start is not None:
            self._choose(self._preface.http2, start)

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    def shutdown(self) -> None:
        """Close the transport, of which nothing is known; uvicorn calls this when it stops."""
        self._transport.close()

    def _leave(self) -> None:
        """Have no more to do with the connection."""
        self._state.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _choose(self, http2: bool, start: bytes = b"") -> None:
        """Leave the connection, and the bytes that have come, to the class for the version."""
        self._leave()
        protocol: Any
        if http2:
            protocol = _Http2Protocol(**self._arguments)
        else:
            protocol = AutoHTTPProtocol(**self._arguments)
            if not _takes_websockets(self._config):
                protocol.ws_protocol_class = None
            elif self._config.ws == "auto":
                protocol.ws_protocol_class = WebSocketProtocol
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if start:
            protocol.data_received(start)


def _keep_alive(config: Config) -> float:
    """How long a connection may carry nothing. At least a second: 0 would end one before its first request has come."""
    return max(config.timeout_keep_alive, 1)


def _takes_websockets(config: Config) -> bool:
    """Whether the application gets WebSockets."""
    return config.ws not in ("none", None) and config.interface != "wsgi"
