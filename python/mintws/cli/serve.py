"""`mintws serve`: an echo server, and a page for browsers to talk to it."""

from __future__ import annotations

import argparse
import asyncio
import ssl as tls
import sys
from typing import Any

from mintws import asyncio as driver
from mintws.cli.page import respond_with_page
from mintws.cli.signals import on_stop


async def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; give the exit code."""
    if arguments.key and not arguments.cert:
        arguments.usage_error("--key needs --cert")
    try:
        context = _context(arguments.cert, arguments.key) if arguments.cert else None
    except tls.SSLError:
        print("mintws: cannot use the certificate: there is none with its key in PEM", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"mintws: cannot use the certificate: {error.strerror}: {error.filename or 'the file'}", file=sys.stderr)
        return 1
    stopped = asyncio.Event()
    try:
        server = await driver.serve(
            echo,
            arguments.host,
            arguments.port,
            ssl=context,
            respond=respond_with_page(arguments.subprotocol),
            subprotocols=arguments.subprotocol,
        )
    except OSError as error:
        print(f"mintws: cannot listen: {error.strerror or error}", file=sys.stderr)
        return 1
    async with server:
        on_stop(stopped.set)
        for socket in server.sockets:
            where = _authority(socket.getsockname())
            print(f"listening on {'wss' if context else 'ws'}://{where}/, ", end="")
            print(f"with a page on {'https' if context else 'http'}://{where}/", flush=True)
        await stopped.wait()
        print("mintws: closing", file=sys.stderr, flush=True)
    return 0


async def echo(websocket: driver.WebSocket) -> None:
    """Send each message back."""
    async for message in websocket:
        await websocket.send(message)


def _context(cert: str, key: str | None) -> tls.SSLContext:
    context = tls.create_default_context(tls.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context


def _authority(address: tuple[Any, ...]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
