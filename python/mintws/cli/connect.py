"""`mintws connect`: send lines of standard input to a server and print its messages."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

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

T = TypeVar("T")

#: Exit codes.
DONE, NOT_CONNECTED, WRONG_USAGE, CLOSED_BADLY = 0, 1, 2, 3

#: Seconds of silence after which we close at the end of the input, and after which we stop waiting for the server's Close.
WAIT = 1.0
PATIENCE = 10.0
#: Seconds between two Pings of `--ping`.
PING_INTERVAL = 1.0
#: The most messages that are printed at once, each time a prompt makes way, and the most lines that are read ahead.
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
    parser.add_argument(
        "--reconnect",
        action="store_true",
        help="connect again, with growing delays, when the connection is lost or the server is not there; -x and --binary send again",
    )
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
    try:
        opening = _opening(arguments, log)
    except (LocalProtocolError, Unusable) as error:
        tell(f"wrong usage: {error}")
        return WRONG_USAGE
    try:
        return await _converse(aiter(opening) if arguments.reconnect else _once(opening), arguments, stop, log)
    except ExtendedConnectDisabled as error:
        tell(f"cannot connect: {error}")
    except ConnectError as error:
        tell(describe_failure(error))
    return NOT_CONNECTED


async def _converse(
    openings: AsyncIterator[driver.WebSocket], arguments: argparse.Namespace, stop: Stop, log: _LogLines
) -> int:
    """Talk on one WebSocket after another until the user ends it, or none follows; return the exit code."""
    websocket = await stop.bound(_next(openings))
    if websocket is None:
        return stop.code
    conversation = _Conversation(websocket, arguments)
    tell(f"connected: {_describe(websocket, arguments.verbose)}")
    async with open_console(stop, prompts=arguments.messages is None) as console, _Input(console) as lines:
        with log.above(console):
            while not await conversation.talk(console, lines, stop) and arguments.reconnect:
                try:
                    websocket = await stop.bound(_next(openings))
                except ConnectionClosed:
                    # Its end is told below.
                    break
                if websocket is None:
                    break
                conversation = _Conversation(websocket, arguments)
                console.tell(f"connected: {_describe(websocket, arguments.verbose)}")
    return stop.code if websocket is None and stop.code else await conversation.finish()


def _opening(arguments: argparse.Namespace, log: _LogLines) -> driver.connect:
    """Return what opens WebSockets.

    Raises:
        LocalProtocolError, Unusable: the arguments are wrong.
    """

    def tell_failure(failure: driver.Failure) -> None:
        if isinstance(failure.then, float):
            error = failure.error
            why = describe_failure(error) if isinstance(error, ConnectError) else harmless(str(error))
            log.tell(f"{why}; the next attempt follows in {failure.then:.1f} s")

    url, how = read_arguments(arguments)
    return driver.connect(
        url,
        http=arguments.http,
        headers=arguments.header,
        subprotocols=arguments.subprotocol,
        close_timeout=2.0,
        reconnect=driver.Reconnect(decide=tell_failure),
        **how,
    )


async def _once(opening: driver.connect) -> AsyncIterator[driver.WebSocket]:
    yield await opening


async def _next(items: AsyncIterator[T]) -> T | None:
    """Return the next item, or `None` after the last."""
    try:
        return await anext(items)
    except StopAsyncIteration:
        return None


def _describe(websocket: driver.WebSocket, verbose: int) -> str:
    """Describe what was negotiated; the parameters of extensions only if asked for."""
    if verbose:
        return describe(websocket.connection)
    names = [it.answer.name for it in websocket.connection.extensions] or ["no extension"]
    return ", ".join([f"HTTP/{websocket.http_version}", websocket.connection.subprotocol or "no subprotocol", *names])


class _Conversation:
    """What is sent and printed on an open WebSocket."""

    def __init__(self, websocket: driver.WebSocket, arguments: argparse.Namespace) -> None:
        self._websocket = websocket
        self._messages: list[str | bytes] | None = arguments.messages
        #: A user types lines, some of which are commands.
        self._interactive = self._messages is None and is_terminal(sys.stdin)
        # A user who ends the input of a terminal has seen the messages.
        default = 0.0 if self._interactive else WAIT
        self._wait: float = default if arguments.wait is None else arguments.wait
        self._pings_each_second: bool = arguments.ping
        self._printer = _Printer(websocket, as_json=arguments.json, marked=self._interactive)
        self._printing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Future[None]] = set()
        #: The user has ended it, not the server.
        self._is_over = False

    async def talk(self, console: Console, lines: _Input, stop: Stop) -> bool:
        """Send and print until the input ends, the server closes or a signal comes; return whether it was not the server."""
        printing = self._printing = asyncio.ensure_future(self._printer.run(console))
        if self._pings_each_second:
            self._begin(self._ping_each_second(console))
        try:
            await _first(asyncio.wait([printing]), self._send_all(console, lines), stop.wait())
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        lost = printing.done() and printing.exception() is not None
        return self._is_over or bool(stop.code) or lost

    async def finish(self) -> int:
        """Close, print what the server still sends, and tell how it ended; return the exit code."""
        try:
            self._websocket._begin_close(1000, "")
        except ConnectionClosed:
            pass
        # The messages before the server's Close may take any time, as long as they keep arriving.
        await _first(asyncio.wait([self._printing]), self._printer.silence(PATIENCE))
        await self._websocket.close()
        try:
            await self._printing
        except OutputLost as lost:
            # A reader that stops early, such as `head`, has what it wanted.
            if lost.reason:
                raise
        return self._tell_end()

    async def _send_all(self, console: Console, lines: _Input) -> None:
        """Send the messages or the lines of input, and wait until the server is silent."""
        try:
            if self._messages is not None:
                await self._websocket.send_many(self._messages)
            elif await self._send_lines(console, lines):
                self._is_over = True
                return
            if self._wait:
                # Many servers drop unsent messages when they receive a Close. A Pong shows that they have all lines.
                await _first(self._websocket.ping(), self._printer.silence(PATIENCE))
        except ConnectionClosed:
            return
        await self._printer.silence(self._wait)
        self._is_over = True

    async def _send_lines(self, console: Console, lines: _Input) -> bool:
        """Send each line of input and carry out commands; return whether one of them has closed the WebSocket."""
        while (line := await lines.next()) is not None:
            message = _decoded(line)
            if self._interactive and isinstance(message, str) and message.startswith("/"):
                if not message.startswith("//"):
                    lines.take()
                    if self._obey(message, console):
                        return True
                    continue
                message = message[1:]
            await self._websocket.send(message)
            lines.take()
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


class _Input:
    """The lines of a console, of which the next one stays until it is taken: it may not have been sent."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: asyncio.Queue[str | bytes | None] = asyncio.Queue(TOGETHER)
        self._next: list[str | bytes | None] = []
        self._reading: asyncio.Future[None] | None = None

    async def __aenter__(self) -> _Input:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def next(self) -> str | bytes | None:
        """Wait for the next line; return `None` after the last."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
        if not self._next:
            self._next.append(await self._lines.get())
        return self._next[0]

    def take(self) -> None:
        """Go on to the line after."""
        self._next.clear()

    async def _read(self) -> None:
        async for line in self._console:
            await self._lines.put(line)
        await self._lines.put(None)


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
                while self._websocket._waiting and len(lines) < TOGETHER:
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
        self._console: Console | None = None

    @contextlib.contextmanager
    def above(self, console: Console) -> Iterator[None]:
        """Write lines to a console for a while."""
        self._console = console
        try:
            yield
        finally:
            self._console = None

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(harmless(self.format(record)))

    def tell(self, line: str) -> None:
        """Write a line to standard error."""
        write = tell if self._console is None else self._console.tell
        write(line)
