"""WebSockets for asyncio: `connect`, `connect_http2` and `serve`, over HTTP/1.1 and HTTP/2."""

from mintws.asyncio.client import Http2Client, connect, connect_http2
from mintws.asyncio.server import Server, serve
from mintws.asyncio.websocket import WebSocket
from mintws.session import Failure, Reconnect

__all__ = ["Failure", "Http2Client", "Reconnect", "Server", "WebSocket", "connect", "connect_http2", "serve"]
