"""WebSockets for threads: `connect`, `connect_http2` and `serve`, over HTTP/1.1 and HTTP/2."""

from mintws.session import Failure, Reconnect
from mintws.sync.client import Http2Client, connect, connect_http2
from mintws.sync.server import Server, serve
from mintws.sync.websocket import WebSocket

__all__ = ["Failure", "Http2Client", "Reconnect", "Server", "WebSocket", "connect", "connect_http2", "serve"]
