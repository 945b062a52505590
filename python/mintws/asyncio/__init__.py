"""WebSockets for asyncio: `connect`, `connect_http2`, `Pool`, `serve` and `broadcast`, over HTTP/1.1 and HTTP/2."""

from mintws.asyncio.broadcast import broadcast
from mintws.asyncio.client import Http2Client, connect, connect_http2
from mintws.asyncio.pool import Pool
from mintws.asyncio.server import Server, serve
from mintws.asyncio.websocket import WebSocket
from mintws.drivers.broadcast import Broadcast
from mintws.drivers.inherited import inherited_sockets
from mintws.drivers.like import WebSocketLike
from mintws.drivers.statistics import ServerStatistics
from mintws.session import Failure, Reconnect, Router, basic_auth

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
