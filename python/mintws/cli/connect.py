"""`mintws connect`: send lines of standard input to a server and print its messages."""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import sys
from collections.abc import Coroutine
from typing import Any

from mintws import ConnectError, ConnectionClosed, ExtendedConnectDisabled, LocalProtocolError
from mintws import asyncio as driver
from mintws.cli import argument_types, connecting
from mintws.cli.connecting import describe_failure, read_arguments
from mintws.cli.console import Console, is_terminal, open_console
from mintws.cli.output import OutputLost, tell
from mintws.cli.rendering import harmless, hexadecimal, indented
from mintws.cli.signals import Stop
from mintws.cli.tls import Unusable
from mintws.session import describe

#: Exit codes.
DONE, NOT_CONNECTED, WRONG_USAGE, CLOSED_BADLY = 0, 1, 2, 3

#: Seconds of silence after which we close at the end of the input, and after which we stop waiting for the server's Close.
WAIT = 1.0
PATIENCE = 10.0
#: Seconds between two Pings of `--ping`.
PING_INTERVAL = 1.0
#: The most messages that are printed at once. Each time, a prompt makes way.
TOGETHER = 256


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "connect",
        help="send lines of standard input and print messages",
        description="Send each line of standard input as a text message, one that is no UTF-8 as a binary message, and print the "
        "messages that come: text as it is, binary in hexadecimal. After the end of the input the WebSocket is closed when no message has "
        "come for a second, and on a terminal at once; at Ctrl-C it is closed at once. What the server still sends until it closes too is "
        "printed. A terminal has a prompt with history and line editing if prompt_toolkit is installed, by the extra mintws[cli]; "
        "without it, and where input or output is no terminal, lines are taken as they come.",
        epilog="At a terminal, /ping [TEXT] sends a Ping, /close [CODE [REASON]] closes, and //... sends a line that begins with a slash. "
        "Exit codes: 0 closed with 1000, 1001, no code or that of /close; 1 could not connect, was refused, or could not print; "
        "2 wrong usage; 3 closed with another code, or not properly; 130 or 143 ended by Ctrl-C or SIGTERM, before it was connected or "
        "by the second.",
        allow_abbrev=False,
    )
    connecting.add_arguments(parser)
    parser.add_argument(
        "-x",
        dest="messages",
        type=argument_types.text_message,
        action="append",
        metavar="MESSAGE",
        help="send this text instead of lines of standard input; may be repeated",
    )
    parser.add_argument(
        "--binary",
        dest="messages",
        type=argument_types.content,
        action="append",
        metavar="FILE",
        help="send the bytes of this file, or of standard input if it is -, as one binary message; may be repeated, also with -x",
    )
    parser.add_argument("--json", action="store_true", help="indent messages that are JSON")
    parser.add_argument("--ping", action="store_true", help="send a Ping each second, and say how long its Pong took")
    parser.add_argument(
        "--wait",
        type=argument_types.seconds,
        metavar="S",
        help="close when no message has come for so many seconds after the end of the input; inf waits for the server to close "
        "(1, and 0 if the input is a terminal)",
    )
    parser.add_argument(
        "-v",
        dest="verbose",
        action="count",
        default=0,
        help="say what permessage-deflate agreed on; -vv: and log each frame",
    )
    parser.set_defaults(run=run, usage_error=parser.error)


async def run(arguments: argparse.Namespace, stop: Stop) -> int:
    """Connect, talk and close; return the exit code."""
    log = _LogLines()
    if arguments.verbose > 1:
        logger = logging.getLogger("mintws.client")
        logger.setLevel(logging.DEBUG)
        logger.addHandler(log)
        logger.propagate = False
    opened = await stop.bound(_open(arguments))
    if opened is None:
        return stop.code
    if isinstance(opened, int):
        return opened
    tell(f"connected: {_describe(opened, arguments.verbose)}")
    return await _Conversation(opened, arguments, log).run(stop)


async def _open(arguments: argparse.Namespace) -> driver.WebSocket | int:
    """Open the WebSocket, or report the failure and return the exit code."""
    try:
        url, how = read_arguments(arguments)
        return await driver.connect(
            url,
            http=arguments.http,
            headers=arguments.header,
            subprotocols=arguments.subprotocol,
            close_timeout=2.0,
            **how,
        )
    except ExtendedConnectDisabled as error:
        tell(f"cannot connect: {error}")
    except (LocalProtocolError, Unusable) as error:
        tell(f"wrong usage: {error}")
        return WRONG_USAGE
    except ConnectError as error:
        tell(describe_failure(error))
    return NOT_CONNECTED


def _describe(websocket: driver.WebSocket, verbose: int) -> str:
    """Describe what was negotiated; the parameters of extensions only if asked for."""
    if verbose:
        return describe(websocket.connection)
    names = [it.answer.name for it in websocket.connection.extensions] or ["no extension"]
    return ", ".join([f"HTTP/{websocket.http_version}", websocket.connection.subprotocol or "no subprotocol", *names])


class _Conversation:
    """What is sent and printed on an open WebSocket."""

    def __init__(self, websocket: driver.WebSocket, arguments: argparse.Namespace, log: _LogLines) -> None:
        self._websocket = websocket
        self._messages: list[str | bytes] | None = arguments.messages
        self._log = log
        #: A user types lines, some of which are commands.
        self._interactive = self._messages is None and is_terminal(sys.stdin)
        # A user who ends the input of a terminal has seen the messages.
        default = 0.0 if self._interactive else WAIT
        self._wait: float = default if arguments.wait is None else arguments.wait
        self._pings_each_second: bool = arguments.ping
        self._printer = _Printer(websocket, as_json=arguments.json, marked=self._interactive)
        self._tasks: set[asyncio.Future[None]] = set()

    async def run(self, stop: Stop) -> int:
        """Send and print until either side closes; return the exit code."""
        async with open_console(stop, prompts=self._messages is None) as console:
            printing = await self._talk(console, stop)
        try:
            self._websocket._begin_close(1000, "")
        except ConnectionClosed:
            pass
        # The messages before the server's Close may take any time, as long as they keep arriving.
        await _first(asyncio.wait([printing]), self._printer.silence(PATIENCE))
        await self._websocket.close()
        try:
            await printing
        except OutputLost as lost:
            # A reader that stops early, such as `head`, has what it wanted.
            if lost.reason:
                raise
        return self._tell_end()

    async def _talk(self, console: Console, stop: Stop) -> asyncio.Future[None]:
        """Send and print until the input ends, the server closes or a signal comes; return what still prints."""
        self._log.console = console
        printing: asyncio.Future[None] = asyncio.ensure_future(self._printer.run(console))
        if self._pings_each_second:
            self._begin(self._ping_each_second(console))
        try:
            await _first(asyncio.wait([printing]), self._send_all(console), stop.wait())
        finally:
            self._log.console = None
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return printing

    async def _send_all(self, console: Console) -> None:
        """Send the messages or the lines of input, and wait until the server is silent."""
        try:
            if self._messages is not None:
                await self._websocket.send_many(self._messages)
            elif await self._send_lines(console):
                return
            if self._wait:
                # Many servers drop unsent messages when they receive a Close. A Pong shows that they have all lines.
                await _first(self._websocket.ping(), self._printer.silence(PATIENCE))
        except ConnectionClosed:
            return
        await self._printer.silence(self._wait)

    async def _send_lines(self, console: Console) -> bool:
        """Send each line of input and carry out commands; return whether one of them has closed the WebSocket."""
        async for line in console:
            message = _decoded(line)
            if self._interactive and isinstance(message, str) and message.startswith("/"):
                if not message.startswith("//"):
                    if self._obey(message, console):
                        return True
                    continue
                message = message[1:]
            await self._websocket.send(message)
        return False

    def _obey(self, command: str, console: Console) -> bool:
        """Carry out a command; return whether it has closed the WebSocket."""
        name, _, rest = command.partition(" ")
        try:
            if name == "/ping":
                self._begin(self._ping(console, rest.encode() if rest else None))
                return False
            if name == "/close":
                code, _, reason = rest.strip().partition(" ")
                self._websocket._begin_close(_code(code), reason)
                return True
        except LocalProtocolError as error:
            console.tell(str(error))
        else:
            console.tell(
                f"{name} is no command: there are /ping and /close; write /{command} to send that as a message"
            )
        return False

    async def _ping(self, console: Console, data: bytes | None = None) -> None:
        try:
            console.tell(f"pong after {await self._websocket.ping(data) * 1000:.1f} ms")
        except LocalProtocolError as error:
            console.tell(str(error))
        except ConnectionClosed:
            # The end is told.
            pass

    async def _ping_each_second(self, console: Console) -> None:
        while True:
            await self._ping(console)
            await asyncio.sleep(PING_INTERVAL)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell_end(self) -> int:
        """Tell how the WebSocket ended; return the exit code."""
        ending = self._websocket.ending
        if ending.error is not None:
            # The advice is about an argument of Python.
            ending.error.hint = ending.error.hint and "raise --limit"
        asked = ending.error is None and ending.ended_by == "us"
        proper = ending.clean and (asked or ending.code in (1000, 1001, 1005))
        how = f"closed with {ending.code}" if ending.clean else f"ended with {ending.code}"
        tell(how + (f": {harmless(ending.reason)}" if ending.reason else ""))
        return DONE if proper else CLOSED_BADLY


async def _first(*works: Coroutine[Any, Any, Any]) -> None:
    """Run coroutines until one of them ends, and end the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _decoded(line: str | bytes) -> str | bytes:
    if isinstance(line, str):
        return line
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line


def _code(text: str) -> int:
    if not text:
        return 1000
    if not text.isascii() or not text.isdigit():
        raise LocalProtocolError(
            f"a Close has a code such as 1000 or 4000, and then a reason: /close 4000 why, not {text!r}"
        )
    return int(text)


class _Printer:
    """Prints messages."""

    def __init__(self, websocket: driver.WebSocket, *, as_json: bool, marked: bool) -> None:
        self._websocket = websocket
        self._loop = asyncio.get_running_loop()
        #: When the last message was received.
        self._heard = 0.0
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Do not fail for characters that the encoding of the output lacks.
            sys.stdout.reconfigure(errors="backslashreplace")
        self._terminal = sys.stdout.isatty()
        self._json = as_json
        self._prefix = "< " if self._terminal and marked else ""

    async def run(self, console: Console) -> None:
        """Print messages until the WebSocket ends.

        Raises:
            OutputLost: standard output is lost, and later messages are discarded.
        """
        try:
            async for message in self._websocket:
                lines = [self._line(message)]
                while self._websocket.waiting and len(lines) < TOGETHER:
                    lines.append(self._line(await self._websocket.recv()))
                self._heard = self._loop.time()
                await console.put(lines)
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
            return self._prefix + hexadecimal(message)
        text = indented(message) if self._json else message
        return self._prefix + (harmless(text) if self._terminal else text)


class _LogLines(logging.Handler):
    """Tells the lines of a log, above a prompt if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.console: Console | None = None

    def emit(self, record: logging.LogRecord) -> None:
        write = tell if self.console is None else self.console.tell
        write(harmless(self.format(record)))
