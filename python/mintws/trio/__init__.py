"""WebSockets for trio: `connect`, `connect_http2` and `serve`, over HTTP/1.1 and HTTP/2."""

try:
    import trio as _trio  # noqa: F401
except ImportError as missing:
    raise ImportError("mintws.trio needs trio, which `pip install mintws[trio]` brings along") from missing

from mintws.session import Failure, Reconnect
from mintws.trio.client import Http2Client, connect, connect_http2
from mintws.trio.server import Server, serve
from mintws.trio.websocket import WebSocket

__all__ = ["Failure", "Http2Client", "Reconnect", "Server", "WebSocket", "connect", "connect_http2", "serve"]
