"""What tests of the driver for trio share: a bound on every test, both versions of HTTP, TLS, and a server that echoes."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from mintws.cli.certificate import make_certificate
from mintws.trio import Server, WebSocket, serve

BOUND = 20.0


@pytest.fixture
def run() -> Callable[..., Any]:
    """Run a coroutine function on trio, for at most 20 seconds."""

    def run(work: Callable[[], Awaitable[Any]], **how: Any) -> Any:
        async def bounded() -> Any:
            with trio.fail_after(BOUND):
                return await work()

        return trio.run(bounded, **how)

    return run


@pytest.fixture
def tls_contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a server that is called localhost, and of clients that trust it."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    for path, text in zip((certificate, key), make_certificate(), strict=True):
        path.write_text(text, encoding="ascii")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


@pytest.fixture(params=["1.1", "2"])
def http(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


def listening(handler: Callable[[WebSocket], Awaitable[None]] = echo, **options: Any) -> serve:
    """Serve on a free port of loopback."""
    return serve(handler, "127.0.0.1", 0, **options)


def url(server: Server, target: str = "/") -> str:
    return f"ws://127.0.0.1:{server.port}{target}"
