"""A server on trio that echoes, and its URL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mintws.trio import Server, WebSocket, serve


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


def listening(handler: Callable[[WebSocket], Awaitable[None]] = echo, **options: Any) -> serve:
    """Serve on a free port of loopback."""
    return serve(handler, "127.0.0.1", 0, **options)


def url(server: Server, target: str = "/") -> str:
    return f"ws://127.0.0.1:{server.port}{target}"
