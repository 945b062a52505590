"""What a client says in the TLS handshake (RFC 6455 §4.1)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import echo

from mintws.asyncio import connect, serve
from mintws.cli.certificate import make_certificate


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext, list[Any]]:
    """TLS contexts of a client and a server, and the names by which the server is called."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path, pem in zip((cert, key), make_certificate(), strict=True):
        path.write_bytes(pem if isinstance(pem, bytes) else pem.encode())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    names: list[Any] = []
    server.sni_callback = lambda _connection, name, _context: names.append(name)
    return ssl.create_default_context(cafile=str(cert)), server, names


@pytest.mark.parametrize("http", ["1.1", "2", "auto"])
def test_the_client_names_the_server_to_tls(run: Callable[..., Any], contexts: Any, http: str) -> None:
    client, server, names = contexts

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=server) as listening:
            address = f"wss://localhost:{listening.port}"
            async with connect(address, http=http, host="127.0.0.1", ssl=client) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"

    run(main())
    assert names == ["localhost"]
