"""The bridge between HTTP and ASGI applications (https://asgi.readthedocs.io), for whatever server they run in, and one of our own."""

from mintws.asgi.http import HttpCycle, Responder, unavailable
from mintws.asgi.lifespan import Lifespan, LifespanFailed
from mintws.asgi.messages import Application, ClientDisconnected
from mintws.asgi.requests import Requests
from mintws.asgi.scope import http_scope, websocket_scope
from mintws.asgi.server import AsgiServer, serve
from mintws.asgi.websocket import AsgiWebSocket, WebSocketCycle

__all__ = [
    "Application",
    "AsgiServer",
    "AsgiWebSocket",
    "ClientDisconnected",
    "HttpCycle",
    "Lifespan",
    "LifespanFailed",
    "Requests",
    "Responder",
    "WebSocketCycle",
    "http_scope",
    "serve",
    "unavailable",
    "websocket_scope",
]
