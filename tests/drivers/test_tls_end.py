"""How a connection over TLS ends: close_notify (RFC 8446 §6.1) from a server, whatever its client does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from drivers.conftest import echo
from tls_pair import VERSIONS, client_context, server_context

from mintws import Http1, Role, UpgradeRequest
from mintws.asyncio import serve
from mintws.tls import Tls, TlsState


async def talk(port: int, context: ssl.SSLContext, request: bytes, last: Callable[[Tls], bytes]) -> tuple[Tls, bytes]:
    """Shake hands, send a request and, with the first of the answer, what is last; give all plaintext until the transport ends."""
    tls, plaintext = Tls(context, Role.CLIENT, server_hostname="localhost"), b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(tls.start())
        while data := await asyncio.wait_for(reader.read(65536), 20):
            shaken, silent = tls.state is TlsState.OPEN, not plaintext
            more, reply = tls.receive(data)
            plaintext += more
            if reply:
                writer.write(reply)
            if not shaken and tls.state is TlsState.OPEN:
                writer.write(tls.send(request))
            if silent and plaintext:
                writer.write(last(tls))
                writer.write_eof()
    tls.receive(b"")
    return tls, plaintext


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("upgrade", [True, False])
@pytest.mark.parametrize("notified", [True, False])
def test_the_server_sends_close_notify_to_a_client_that_ends_its_half(
    run: Callable[..., Any], version: ssl.TLSVersion, upgrade: bool, notified: bool
) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    if upgrade:
        request = Http1(Role.CLIENT).open().send(UpgradeRequest("localhost"))

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=server_context(version)) as server:
            tls, plaintext = await talk(
                server.port, client_context(version), request, lambda tls: tls.close() if notified else b""
            )
            assert plaintext.startswith(b"HTTP/1.1 101" if upgrade else b"HTTP/1.1 4")
            assert isinstance(tls.end, ssl.SSLZeroReturnError)

    run(main())
