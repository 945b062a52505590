"""The command line: `mintws serve`, `mintws asgi`, `mintws connect` and `mintws demo`, or `python -m mintws`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import re
from collections.abc import Sequence
from typing import Any

from mintws import LocalProtocolError, UpgradeRequest, __version__
from mintws.cli import asgi, connect, demo, serve
from mintws.cli.listening import add_arguments
from mintws.cli.output import OutputLost, check, put, tell
from mintws.cli.signals import Stop
from mintws.connection import check_request

#: RFC 9110 §5.6.2: the names of headers and of subprotocols.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Headers that other arguments set.
_ELSEWHERE = {"host": "it is that of the URL", "sec-websocket-protocol": "use --subprotocol"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        argv: the arguments after the program's name; those of the process if `None`.
    """
    try:
        arguments = _parse(argv)
        check()
        return asyncio.run(_run(arguments))
    except KeyboardInterrupt:
        return 130
    except OutputLost as lost:
        if lost.reason:
            tell(f"cannot write to standard output: {lost.reason}")
        return 1


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            return _parser().parse_args(argv)
    except SystemExit:
        # The output of --help and --version can fail like any other.
        if printed.getvalue():
            put(printed.getvalue().rstrip("\n"))
        raise


async def _run(arguments: argparse.Namespace) -> int:
    with contextlib.closing(Stop()) as stop:
        code: int = await arguments.run(arguments, stop)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mintws", description="WebSockets over HTTP/1.1 and HTTP/2.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"mintws {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_asgi(commands)
    _add_connect(commands)
    _add_demo(commands)
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "serve",
        help="echo messages, over HTTP/1.1 and HTTP/2 on one port",
        description="Echo each message, on any path, over HTTP/1.1 and HTTP/2. A browser gets a page that talks to the server.",
        epilog="Ctrl-C or SIGTERM closes all WebSockets with 1001; the same once more ends it at once. Exit codes: 0 it was stopped so; "
        "1 it could not start; 2 wrong usage; 130 or 143 it was ended by a second Ctrl-C or SIGTERM.",
        allow_abbrev=False,
    )
    add_arguments(parser)
    parser.add_argument(
        "--subprotocol", type=_token, action=_Each, default=[], metavar="P", help="speak it; may be repeated"
    )
    parser.set_defaults(run=serve.run, usage_error=parser.error)


def _add_asgi(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "asgi",
        help="serve an ASGI application, over HTTP/1.1 and HTTP/2 on one port",
        description="Serve an ASGI application over HTTP/1.1 and HTTP/2.",
        epilog="Ctrl-C or SIGTERM closes all WebSockets with 1012, waits for the application, at most ten seconds, and has it stop; the "
        "same once more ends it at once. Exit codes: 0 it was stopped so; 1 it could not start, or did not stop properly; 2 wrong usage; "
        "130 or 143 it was ended by Ctrl-C or SIGTERM before it listened, or by the second.",
        allow_abbrev=False,
    )
    parser.add_argument("app", type=_application, metavar="APP", help="the application, as in package.module:app")
    add_arguments(parser)
    parser.add_argument("--app-dir", default=".", metavar="D", help="the folder that has the module (the current one)")
    parser.add_argument(
        "--lifespan",
        choices=["auto", "on", "off"],
        default="auto",
        help="whether the application is told of its start and end (%(default)s: if it wants to be)",
    )
    parser.add_argument("--root-path", default="", metavar="P", help="the path that the application is mounted at")
    parser.set_defaults(run=asgi.run, usage_error=parser.error)


def _add_connect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "connect",
        help="send lines of standard input and print messages",
        description="Send each line of standard input as a text message, one that is no UTF-8 as a binary message, and print the "
        "messages that come: text as it is, binary in hexadecimal. After the end of the input the WebSocket is closed when no message has "
        "come for a second, and on a terminal at once; at Ctrl-C it is closed at once. What the server still sends until it closes too is "
        "printed.",
        epilog="Exit codes: 0 closed with 1000, 1001 or no code; 1 could not connect, was refused, or could not print; 2 wrong usage; "
        "3 closed with another code, or not properly; 130 or 143 ended by Ctrl-C or SIGTERM, before it was connected or by the second.",
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", help="ws://... or wss://...")
    parser.add_argument(
        "--http", choices=["1.1", "2", "auto"], default="auto", help="the version of HTTP (%(default)s: by ALPN)"
    )
    parser.add_argument(
        "--header",
        type=_header,
        action="append",
        default=[],
        metavar="K:V",
        help="a header of the request; may be repeated",
    )
    parser.add_argument(
        "--subprotocol", type=_token, action=_Each, default=[], metavar="P", help="offer it; may be repeated"
    )
    parser.add_argument(
        "--wait",
        type=_seconds,
        metavar="S",
        help="close when no message has come for so many seconds after the end of the input; inf waits for the server to close "
        "(1, and 0 if the input is a terminal)",
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--insecure", action="store_true", help="take any certificate")
    trust.add_argument("--cafile", metavar="F", help="trust the certificates in this PEM file")
    parser.set_defaults(run=connect.run, usage_error=parser.error)


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="show WebSockets over HTTP/1.1 and HTTP/2 side by side",
        description="Start a server with TLS in this process and send it the README, in messages of all sizes, on several WebSockets over "
        "HTTP/1.1 and on as many over HTTP/2, all at the same time, without compression and with it; print side by side what that took.",
        epilog="Exit codes: 0 every byte came back; 1 something did not, or a package is missing; 2 wrong usage; "
        "130 or 143 ended by Ctrl-C or SIGTERM.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=demo.run, usage_error=parser.error)


def _application(text: str) -> str:
    module, colon, path = text.partition(":")
    if not colon or not all(it.isidentifier() for it in (*module.split("."), *path.split("."))):
        raise argparse.ArgumentTypeError(f"write an application as MODULE:NAME, not {text!r}")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"a time is a number of seconds, 0 or more, not {text!r}")
    return seconds


def _token(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a subprotocol (RFC 6455 §4.1)")
    return text


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not _TOKEN.fullmatch(name):
        raise argparse.ArgumentTypeError(f"write a header as NAME:VALUE, not {text!r}")
    if name.lower() in _ELSEWHERE:
        raise argparse.ArgumentTypeError(f"{name} is no header to give: {_ELSEWHERE[name.lower()]}")
    # Keep the bytes that were typed.
    header = (name, os.fsencode(value.strip()).decode("latin-1"))
    try:
        check_request(UpgradeRequest("localhost", headers=[header]))
    except LocalProtocolError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return header


class _Each(argparse.Action):
    """Collects values that may be given once each."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        collected = getattr(namespace, self.dest)
        if values in collected:
            raise argparse.ArgumentError(self, f"{values!r} is given twice")
        setattr(namespace, self.dest, [*collected, values])
