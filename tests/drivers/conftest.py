"""What tests of drivers share: a bound on every test, and a server that echoes."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from mintws.asyncio import Server, WebSocket, serve
from mintws.cli.certificate import make_certificate

BOUND = 20.0


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine on the loop that `--loop` names, for at most 20 seconds."""
    if request.config.getoption("loop") == "uvloop":
        import uvloop

        return lambda work: uvloop.run(asyncio.wait_for(work, BOUND))
    return lambda work: asyncio.run(asyncio.wait_for(work, BOUND))


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


@pytest.fixture
def signals() -> Iterator[None]:
    """Give back what handled signals, where a command runs in the process of the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path, pem in zip((cert, key), make_certificate(), strict=True):
        path.write_text(pem, encoding="ascii")
    return cert, key


def live_timers() -> int:
    """How many timers wait, as far as the loop says so: asyncio's does."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", [])
    return sum(not timer.cancelled() for timer in scheduled)


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


def listening(handler: Callable[[WebSocket], Awaitable[None]] = echo, **options: Any) -> serve:
    """Serve on a free port of loopback."""
    return serve(handler, "127.0.0.1", 0, **options)


def url(server: Server, target: str = "/") -> str:
    return f"ws://127.0.0.1:{server.port}{target}"


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; the test's own bound ends a wait in vain."""
    while not condition():
        await asyncio.sleep(0.01)
