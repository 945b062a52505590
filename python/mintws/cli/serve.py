"""`mintws serve`: an echo server, and a page for browsers to talk to it."""

from __future__ import annotations

import argparse

from mintws import asyncio as driver
from mintws.cli.listening import authority, make_context
from mintws.cli.output import put, tell
from mintws.cli.page import respond_with_page
from mintws.cli.signals import Stop
from mintws.cli.tls import Unusable


async def run(arguments: argparse.Namespace, stop: Stop) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit code."""
    try:
        context = make_context(arguments)
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
            where = authority(socket.getsockname())
            ws, http = ("wss", "https") if context else ("ws", "http")
            put(f"listening on {ws}://{where}/, with a page on {http}://{where}/")
        await stop.wait()
        tell("closing")
    return 0


async def echo(websocket: driver.WebSocket) -> None:
    """Send each message back."""
    async for message in websocket:
        await websocket.send(message)
