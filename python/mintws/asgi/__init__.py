"""The bridge between WebSockets and ASGI applications (https://asgi.readthedocs.io), for whatever server they run in."""

from mintws.asgi.lifespan import Lifespan, LifespanFailed
from mintws.asgi.scope import websocket_scope
from mintws.asgi.server import AsgiServer, serve
from mintws.asgi.websocket import Application, AsgiWebSocket, ClientDisconnected, WebSocketCycle

__all__ = [
    "Application",
    "AsgiServer",
    "AsgiWebSocket",
    "ClientDisconnected",
    "Lifespan",
    "LifespanFailed",
    "WebSocketCycle",
    "serve",
    "websocket_scope",
]
