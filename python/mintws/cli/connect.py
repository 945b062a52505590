"""`mintws connect`: send lines of standard input to a server and print its messages."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import socket
import ssl as tls
import sys
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from mintws import ConnectError, ConnectionClosed, ExtendedConnectDisabled, LocalProtocolError, UpgradeError
from mintws import asyncio as driver
from mintws.cli.lines import Lines
from mintws.cli.output import OutputLost, put, tell
from mintws.cli.signals import Stop
from mintws.cli.tls import Unusable, client_context
from mintws.session import describe

#: Exit codes.
DONE, NOT_CONNECTED, WRONG_USAGE, CLOSED_BADLY = 0, 1, 2, 3

#: The most bytes of a message that is printed.
LIMIT = 64 * 1024 * 1024
#: Seconds of silence after which we close at the end of the input, and after which we stop waiting for the server's Close.
WAIT = 1.0
PATIENCE = 10.0

#: Characters that could move a terminal's cursor, or worse.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


async def run(arguments: argparse.Namespace, stop: Stop) -> int:
    """Connect, talk and close; return the exit code."""
    opened = await stop.bound(_open(arguments))
    if opened is None:
        return stop.code
    if isinstance(opened, int):
        return opened
    tell(f"connected: {describe(opened.connection)}")
    return await _talk(opened, arguments.wait, stop)


async def _open(arguments: argparse.Namespace) -> driver.WebSocket | int:
    """Open the WebSocket, or report the failure and return the exit code."""
    try:
        context = client_context(arguments.cafile, insecure=arguments.insecure)
        if context is not None and urlsplit(arguments.url).scheme in ("ws", "http"):
            raise LocalProtocolError("--insecure and --cafile are for wss:// URLs")
        return await driver.connect(
            arguments.url,
            http=arguments.http,
            headers=arguments.header,
            subprotocols=arguments.subprotocol,
            ssl=context,
            close_timeout=2.0,
            limit=LIMIT,
        )
    except ExtendedConnectDisabled as error:
        tell(f"cannot connect: {error}")
    except (LocalProtocolError, Unusable) as error:
        tell(f"wrong usage: {error}")
        return WRONG_USAGE
    except UpgradeError as error:
        tell(f"refused: {_describe_refusal(error)}")
    except ConnectError as error:
        # The text of `error` also names the server, which the user has just typed.
        beneath = error.__cause__
        tell(f"cannot connect: {describe_failure(beneath)}" if isinstance(beneath, OSError) else str(error))
    return NOT_CONNECTED


async def _talk(websocket: driver.WebSocket, wait: float | None, stop: Stop) -> int:
    """Send and print until either side closes; return the exit code."""
    printer = _Printer(websocket)
    if wait is None:
        # A user who ends the input of a terminal has seen the messages.
        wait = 0.0 if sys.stdin is not None and sys.stdin.isatty() else WAIT

    printing: asyncio.Future[None] = asyncio.ensure_future(printer.run())
    await _first(asyncio.wait([printing]), _send_lines(websocket, printer, wait), stop.wait())
    try:
        websocket._begin_close(1000, "")
    except ConnectionClosed:
        pass
    # The messages before the server's Close may take any time, as long as they keep arriving.
    await _first(asyncio.wait([printing]), printer.silence(PATIENCE))
    await websocket.close()
    try:
        await printing
    except OutputLost as lost:
        # A reader that stops early, such as `head`, has what it wanted.
        if lost.reason:
            raise
    ending = websocket.ending
    if ending.error is not None:
        # The hint names an argument that this command does not have.
        ending.error.hint = ""
    proper = ending.clean and ending.code in (1000, 1001, 1005)
    how = f"closed with {ending.code}" if ending.clean else f"ended with {ending.code}"
    tell(how + (f": {_harmless(ending.reason)}" if ending.reason else ""))
    return DONE if proper else CLOSED_BADLY


async def _send_lines(websocket: driver.WebSocket, printer: _Printer, wait: float) -> None:
    """Send each line of standard input, and wait until the server is silent."""
    try:
        async for line in Lines():
            try:
                await websocket.send(line.decode())
            except UnicodeDecodeError:
                await websocket.send(line)
        if wait:
            # Many servers drop unsent messages when they receive a Close. A Pong shows that they have all lines.
            await _first(websocket.ping(), printer.silence(PATIENCE))
    except ConnectionClosed:
        return
    await printer.silence(wait)


async def _first(*works: Coroutine[Any, Any, Any]) -> None:
    """Run coroutines until one of them ends, and end the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()


class _Printer:
    """Prints messages."""

    def __init__(self, websocket: driver.WebSocket) -> None:
        self._websocket = websocket
        self._loop = asyncio.get_running_loop()
        #: When the last message was received.
        self._heard = 0.0
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Do not fail for characters that the encoding of the output lacks.
            sys.stdout.reconfigure(errors="backslashreplace")
        self._terminal = sys.stdout.isatty()
        self._prefix = "< " if self._terminal and sys.stdin is not None and sys.stdin.isatty() else ""

    async def run(self) -> None:
        """Print messages until the WebSocket ends.

        Raises:
            OutputLost: standard output is lost, and later messages are discarded.
        """
        try:
            async for message in self._websocket:
                self._heard = self._loop.time()
                put(self._prefix + self._line(message))
        except ConnectionClosed:
            pass
        except OutputLost:
            # The server's Close follows after messages that it has sent.
            self._websocket.discard()
            raise

    async def silence(self, seconds: float) -> None:
        """Wait until no message has been received for `seconds`, from now on."""
        began = self._loop.time()
        while (left := max(began, self._heard) + seconds - self._loop.time()) > 0:
            await asyncio.sleep(left)

    def _line(self, message: str | bytes) -> str:
        if isinstance(message, bytes):
            return f"binary, {len(message)} bytes: {message.hex(' ')}"
        return _harmless(message) if self._terminal else message


def describe_failure(error: OSError) -> str:
    """Describe a failure of the network or of TLS, once for all addresses that were tried."""
    if isinstance(error, tls.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message} (--cafile, --insecure)"
    if isinstance(error, tls.SSLError):
        hint = "; if the server speaks no TLS, write ws://" if error.reason == "WRONG_VERSION_NUMBER" else ""
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}{hint}"
    # asyncio joins several failures, which differ at least in their addresses, to one error without a number.
    numbers = re.findall(r"\[Errno (\d+)\]", str(error))
    if isinstance(error, socket.gaierror) or not numbers:
        said = error.strerror or str(error)
    else:
        said = "; ".join(dict.fromkeys(os.strerror(int(number)) for number in numbers))
    return said[:1].lower() + said[1:] or type(error).__name__


def _describe_refusal(error: UpgradeError) -> str:
    """Describe a refusal: its status, and the first line of a plain text."""
    try:
        refusal = f"{error.status} {HTTPStatus(error.status).phrase}"
    except ValueError:
        refusal = str(error.status)
    kind = next((value for name, value in error.headers if name == "content-type"), "")
    text = error.body.decode("utf-8", "replace").strip().splitlines() if kind.startswith("text/plain") else []
    return f"{refusal}: {_harmless(text[0][:200])}" if text else refusal


def _harmless(text: str) -> str:
    """Escape control characters."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
