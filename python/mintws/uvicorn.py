"""Protocol classes for uvicorn: `uvicorn app:app --ws mintws.uvicorn:WebSocketProtocol`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

from mintws.asgi import Application, AsgiWebSocket, WebSocketCycle, websocket_scope
from mintws.asyncio import WebSocket
from mintws.asyncio.server import Server, ServerLink
from mintws.connection import Connection
from mintws.events import Failed, Headers, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.session import Timing, default_willing

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

logger = logging.getLogger("uvicorn.error")

#: A server that stops closes WebSockets with this code: the clients may come again.
SERVICE_RESTART = 1012

#: What the connections of one server of uvicorn share.
_servers: WeakKeyDictionary[ServerState, _Server] = WeakKeyDictionary()


class _Server(Server):
    """The arguments of a server of uvicorn, as those of ours."""

    def __init__(self, config: Config, state: ServerState) -> None:
        timing = Timing(ping_interval=config.ws_ping_interval or None, ping_timeout=config.ws_ping_timeout or None)
        super().__init__(_no_handler, timing, {"limit": config.ws_max_size})
        self.http2 = False
        extensions = default_willing() if config.ws_per_message_deflate else ()
        self.application = Application(config.loaded_app, tuple(extensions), logger)
        # It is the key of what is kept for it.
        self._state = ref(state)
        self._encoded: list[tuple[bytes, bytes]] = []
        self._headers: Headers = ()

    def response_headers(self) -> Headers:
        """Give the headers that uvicorn has for each response, of which it makes a new list each second."""
        state = self._state()
        if state is not None and state.default_headers is not self._encoded:
            self._encoded = state.default_headers
            self._headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in self._encoded)
        return self._headers


async def _no_handler(websocket: WebSocket) -> None:
    raise NotImplementedError("the application handles WebSockets")


class WebSocketProtocol(ServerLink):
    """A connection of a client that asks for a WebSocket over HTTP/1.1.

    The arguments of uvicorn hold: `ws_max_size`, `ws_ping_interval`, `ws_ping_timeout`, `ws_per_message_deflate`, `root_path`,
    `limit_concurrency`, `timeout_graceful_shutdown`, and the headers that it has for each response. `ws_max_queue` does not: at most
    256 messages or 256 KiB wait for the application.

    Origins are not checked: that is left to the application, as with uvicorn's own classes.

    Args:
        config, server_state, app_state: as uvicorn gives them.
    """

    __slots__ = ("_app_state", "_config", "_cycle", "_state")

    _server: _Server
    websocket_class = AsgiWebSocket

    def __new__(cls, *_: Any, _loop: asyncio.AbstractEventLoop | None = None, **_named: Any) -> WebSocketProtocol:
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
        self._cycle: WebSocketCycle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._state.connections.add(self)  # type: ignore[arg-type]
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take the head of the request, which uvicorn has read; all that follows comes by `buffer_updated`."""
        self.receive(data)

    def lose(self) -> None:
        super().lose()
        if self._cycle is not None:
            self._cycle.lose()
        self._state.connections.discard(self)

    def shutdown(self) -> None:
        """Close what is open, and then the transport; uvicorn calls this when it stops."""
        if self._cycle is not None:
            self._cycle.shut_down(SERVICE_RESTART)
        self.leave()

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        if isinstance(event, Failed) and self._cycle is not None:
            self._cycle.lose()
        if not isinstance(event, UpgradeRequest):
            super().receive_handshake(connection, event)
            return
        scope = websocket_scope(
            connection, event, self.transport, root_path=self._config.root_path, state=self._app_state
        )
        if self._is_crowded():
            logger.warning("Exceeded concurrency limit.")
            refusal = UpgradeReject(503, body=b"Service Unavailable")
            self.log_answer(scope, refusal)
            self.answer(connection, refusal)
            return
        self._cycle = WebSocketCycle(self, connection, scope, self._server.application)
        self._state.tasks.add(self._start_task(self._cycle.run()))

    def _end_task(self, task: asyncio.Task[None]) -> None:
        self._state.tasks.discard(task)
        super()._end_task(task)

    def _is_crowded(self) -> bool:
        """Whether uvicorn would refuse a request now."""
        limit = self._config.limit_concurrency
        return limit is not None and (len(self._state.connections) >= limit or len(self._state.tasks) >= limit)

    def log_answer(self, scope: MutableMapping[str, Any], answer: UpgradeAccept | UpgradeReject) -> None:
        """Log an answer in uvicorn's words."""
        said = "[accepted]" if isinstance(answer, UpgradeAccept) else answer.status
        client, path = get_client_addr(scope), get_path_with_query_string(scope)  # type: ignore[arg-type]
        logger.info('%s - "WebSocket %s" %s', client, path, said)
