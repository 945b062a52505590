"""`mintws serve`: an echo server, and a page for browsers to talk to it."""

from __future__ import annotations

import argparse
from typing import Any

from mintws import asyncio as driver
from mintws.cli.output import put, tell
from mintws.cli.page import respond_with_page
from mintws.cli.signals import Stop
from mintws.cli.tls import Unusable, server_context


async def run(arguments: argparse.Namespace, stop: Stop) -> int:
    """Serve until Ctrl-C or SIGTERM; give the exit code."""
    if arguments.key is not None and arguments.cert is None:
        arguments.usage_error("--key needs --cert")
    try:
        context = None if arguments.cert is None else server_context(arguments.cert, arguments.key)
    except Unusable as error:
        tell(str(error))
        return 1
    try:
        server = await driver.serve(
            echo,
            arguments.host,
            arguments.port,
            ssl=context,
            respond=respond_with_page(arguments.subprotocol),
            subprotocols=arguments.subprotocol,
            http2=arguments.http == "auto",
        )
    except OSError as error:
        tell(f"cannot listen: {error.strerror or error}")
        return 1
    async with server:
        for socket in server.sockets:
            where = _authority(socket.getsockname())
            ws, http = ("wss", "https") if context else ("ws", "http")
            put(f"listening on {ws}://{where}/, with a page on {http}://{where}/")
        await stop.wait()
        tell("closing")
    return 0


async def echo(websocket: driver.WebSocket) -> None:
    """Send each message back."""
    async for message in websocket:
        await websocket.send(message)


def _authority(address: tuple[Any, ...]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
