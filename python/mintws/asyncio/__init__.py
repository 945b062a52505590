"""WebSockets for asyncio: `connect`, `connect_http2` and `serve`, over HTTP/1.1 and HTTP/2."""

from mintws.asyncio.client import Http2Client, connect, connect_http2
from mintws.asyncio.server import Server, serve
from mintws.asyncio.websocket import WebSocket

__all__ = ["Http2Client", "Server", "WebSocket", "connect", "connect_http2", "serve"]
