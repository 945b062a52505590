"""WebSockets for trio: `connect`, `connect_http2`, `Pool`, `serve` and `broadcast`, over HTTP/1.1 and HTTP/2."""

try:
    import trio as _trio  # noqa: F401
except ImportError as missing:
    raise ImportError("mintws.trio needs trio: install mintws[trio], or trio itself") from missing

from mintws.drivers.broadcast import Broadcast
from mintws.drivers.inherited import inherited_sockets
from mintws.drivers.like import WebSocketLike
from mintws.drivers.statistics import ServerStatistics
from mintws.session import Failure, Reconnect, Router, basic_auth
from mintws.trio.broadcast import broadcast
from mintws.trio.client import Http2Client, connect, connect_http2
from mintws.trio.pool import Pool
from mintws.trio.server import Server, serve
from mintws.trio.websocket import WebSocket

__all__ = [
    "Broadcast",
    "Failure",
    "Http2Client",
    "Pool",
    "Reconnect",
    "Router",
    "Server",
    "ServerStatistics",
    "WebSocket",
    "WebSocketLike",
    "basic_auth",
    "broadcast",
    "connect",
    "connect_http2",
    "inherited_sockets",
    "serve",
]
