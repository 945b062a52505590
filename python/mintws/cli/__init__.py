"""The command line: `mintws COMMAND`, or `python -m mintws COMMAND`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
from collections.abc import Sequence

from mintws import __version__
from mintws.cli import asgi, bench, connect, demo, inspect, serve
from mintws.cli.output import OutputLost, check, put, tell
from mintws.cli.signals import Stop


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
            arguments, unknown = _parser().parse_known_args(argv)
            if unknown:
                # The usage that is shown is that of the command.
                arguments.usage_error(f"unrecognized arguments: {' '.join(unknown)}")
            return arguments
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
    for command in (serve, asgi, connect, bench, inspect, demo):
        command.add_parser(commands)
    return parser
