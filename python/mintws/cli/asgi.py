"""`mintws asgi`: a server for an ASGI application."""

from __future__ import annotations

import argparse
import os
import traceback

from mintws.asgi import LifespanFailed, serve
from mintws.cli.application import NotLoaded, load
from mintws.cli.argument_types import application
from mintws.cli.listening import add_arguments, authority, make_context
from mintws.cli.output import put, tell
from mintws.cli.signals import Stop
from mintws.cli.tls import Unusable
from mintws.errors import LocalProtocolError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "asgi",
        help="serve an ASGI application, over HTTP/1.1 and HTTP/2 on one port",
        description="Serve an ASGI application over HTTP/1.1 and HTTP/2.",
        epilog="Ctrl-C or SIGTERM closes all WebSockets with 1012, waits for the application, at most ten seconds, and has it stop; the "
        "same once more ends it at once. Exit codes: 0 it was stopped so; 1 it could not start, or did not stop properly; 2 wrong usage; "
        "130 or 143 it was ended by Ctrl-C or SIGTERM before it listened, or by the second.",
        allow_abbrev=False,
    )
    parser.add_argument("app", type=application, metavar="APP", help="the application, as in package.module:app")
    add_arguments(parser)
    parser.add_argument("--app-dir", default=".", metavar="D", help="the folder that has the module (the current one)")
    parser.add_argument(
        "--lifespan",
        choices=["auto", "on", "off"],
        default="auto",
        help="whether the application is told of its start and end (%(default)s: if it wants to be)",
    )
    parser.add_argument("--root-path", default="", metavar="P", help="the path that the application is mounted at")
    parser.add_argument(
        "--trusted-proxies",
        action="append",
        metavar="NET",
        help="a network of proxies, such as 10.0.0.0/8, whose headers tell the client's address and scheme; may be given several times",
    )
    parser.add_argument(
        "--forwarded-header",
        default="X-Forwarded-For",
        metavar="NAME",
        help="the header that they write: X-Forwarded-For (the default), with X-Forwarded-Proto, or Forwarded",
    )
    parser.set_defaults(run=run, usage_error=parser.error)


async def run(arguments: argparse.Namespace, stop: Stop) -> int:
    """Serve until Ctrl-C or SIGTERM; give the exit code."""
    try:
        context = make_context(arguments)
        app = load(arguments.app, os.path.abspath(arguments.app_dir))
        serving = serve(
            app,
            arguments.host,
            arguments.port,
            ssl=context,
            http2=arguments.http == "auto",
            lifespan=arguments.lifespan,
            root_path=arguments.root_path,
            trusted_proxies=arguments.trusted_proxies,
            forwarded_header=arguments.forwarded_header,
        )
        server = await stop.bound(serving.__aenter__())
        if server is None:
            return stop.code
        for socket in server.sockets:
            scheme = "https" if context else "http"
            put(f"listening on {scheme}://{authority(socket.getsockname())}/, for {arguments.app}")
        try:
            await stop.wait()
            tell("closing")
        finally:
            await server.close()
    except (LifespanFailed, NotLoaded, Unusable) as error:
        if error.__cause__ is not None:
            tell("".join(traceback.format_exception(error.__cause__)).rstrip())
        tell(str(error))
        return 1
    except LocalProtocolError as error:
        arguments.usage_error(str(error))
    except OSError as error:
        tell(f"cannot listen: {error.strerror or error}")
        return 1
    return 0
