"""What tests of the driver for trio share: a bound on every test, both versions of HTTP, and TLS."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from mintws.cli.certificate import make_certificate

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
