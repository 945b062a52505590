"""The bridge between WebSockets and ASGI applications (https://asgi.readthedocs.io), for whatever server they run in."""

from mintws.asgi.scope import websocket_scope
from mintws.asgi.websocket import Application, AsgiWebSocket, ClientDisconnected, WebSocketCycle

__all__ = ["Application", "AsgiWebSocket", "ClientDisconnected", "WebSocketCycle", "websocket_scope"]
