"""WebSockets for threads: `connect`, `connect_http2`, `Pool`, `serve` and `broadcast`, over HTTP/1.1 and HTTP/2."""

from mintws.drivers.broadcast import Broadcast
from mintws.drivers.inherited import inherited_sockets
from mintws.drivers.statistics import ServerStatistics
from mintws.session import Failure, Reconnect, Router, basic_auth
from mintws.sync.broadcast import broadcast
from mintws.sync.client import Http2Client, connect, connect_http2
from mintws.sync.like import WebSocketLike
from mintws.sync.pool import Pool
from mintws.sync.server import Server, serve
from mintws.sync.websocket import WebSocket

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
