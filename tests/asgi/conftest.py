"""Applications under uvicorn, on the loop that `--loop` names."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn
from drivers.conftest import http, run, signals, tls_contexts  # noqa: F401  (fixtures)

from mintws.asgi import serve

CLASS = "mintws.uvicorn:WebSocketProtocol"
HTTP = "mintws.uvicorn:HttpProtocol"


class Running:
    """A server of uvicorn that runs.

    Attributes:
        port: where it listens; 0 for a Unix socket.
        ended: done with what the application's last coroutine has raised or returned.
    """

    def __init__(self, server: uvicorn.Server) -> None:
        self.server = server
        sock = server.servers[0].sockets[0]
        name = sock.getsockname()
        self.port = name[1] if isinstance(name, tuple) else 0

    def url(self, target: str = "/", scheme: str = "ws") -> str:
        return f"{scheme}://localhost:{self.port}{target}"

    async def idle(self) -> None:
        """Wait until no connection and no task is left."""
        while self.server.server_state.connections or self.server.server_state.tasks:
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(app: Any, *, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Running]:
    """Run an application under uvicorn in this loop, on a free port."""
    options = {"ws": CLASS, "lifespan": "off", "host": "127.0.0.1", "port": 0, "log_config": None, **options}
    config = uvicorn.Config(app, **options)
    config.load()
    config.ssl = tls
    server = uvicorn.Server(config)
    # uvicorn's own `serve` takes over the signals.
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
        if serving.done():
            serving.result()
    try:
        yield Running(server)
    finally:
        server.should_exit = True
        await serving


@pytest.fixture(params=["h11", "httptools", HTTP], ids=["h11", "httptools", "mintws"])
def reader(request: pytest.FixtureRequest) -> str:
    """Which class reads the head."""
    return str(request.param)


@contextlib.asynccontextmanager
async def own(app: Any) -> AsyncIterator[Any]:
    async with serve(app, "127.0.0.1", 0, lifespan="off") as server:
        yield server


@contextlib.asynccontextmanager
async def under_uvicorn(app: Any) -> AsyncIterator[Running]:
    async with running(app, http=HTTP) as server:
        yield server
        await server.idle()


@pytest.fixture(params=[own, under_uvicorn], ids=["own", "uvicorn"])
def serving(request: pytest.FixtureRequest) -> Any:
    """Which server serves an application."""
    return request.param


Apps = Callable[..., Any]
