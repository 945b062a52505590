"""`mintws serve`: an echo server, and a page for browsers to talk to it."""

from __future__ import annotations

import argparse

from mintws import asyncio as driver
from mintws.cli.argument_types import Each, port, token
from mintws.cli.chat import Chat
from mintws.cli.listening import add_arguments, authority, make_context
from mintws.cli.output import put, tell
from mintws.cli.page import respond_with_page
from mintws.cli.signals import Stop
from mintws.cli.tls import Unusable


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "serve",
        help="echo messages, over HTTP/1.1 and HTTP/2 on one port",
        description="Echo each message, on any path, over HTTP/1.1 and HTTP/2. A browser gets a page that talks to the server. "
        "With --chat, serve a chat instead, with rooms and a page.",
        epilog="Ctrl-C or SIGTERM closes all WebSockets with 1001; the same once more ends it at once. Exit codes: 0 it was stopped so; "
        "1 it could not start; 2 wrong usage; 130 or 143 it was ended by a second Ctrl-C or SIGTERM.",
        allow_abbrev=False,
    )
    ports = add_arguments(parser)
    ports.add_argument("bare_port", nargs="?", type=port, metavar="PORT", help="the same as --port")
    parser.add_argument(
        "--subprotocol", type=token, action=Each, default=[], metavar="P", help="speak it; may be repeated"
    )
    parser.add_argument(
        "--chat", action="store_true", help="serve a chat, not an echo: each path is a room, as in /room/tea?name=Ada"
    )
    parser.set_defaults(run=run, usage_error=parser.error)


async def run(arguments: argparse.Namespace, stop: Stop) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit code."""
    try:
        context = make_context(arguments)
    except Unusable as error:
        tell(str(error))
        return 1
    try:
        server = await driver.serve(
            Chat().handle if arguments.chat else echo,
            arguments.host,
            arguments.port if arguments.bare_port is None else arguments.bare_port,
            ssl=context,
            respond=respond_with_page(arguments.subprotocol, "chat.html" if arguments.chat else "page.html"),
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
