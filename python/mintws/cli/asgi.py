"""`mintws asgi`: a server for an ASGI application."""

from __future__ import annotations

import argparse
import os
import traceback

from mintws.asgi import LifespanFailed, serve
from mintws.cli.application import NotLoaded, load
from mintws.cli.listening import authority, make_context
from mintws.cli.output import put, tell
from mintws.cli.signals import Stop
from mintws.cli.tls import Unusable
from mintws.errors import LocalProtocolError


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
