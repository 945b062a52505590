"""PROXY headers of HAProxy, before each driver's server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from conversation import PATIENCE, Certificate
from process import client_context, free_port, need_program, running

import mintws.asyncio
import mintws.sync
import mintws.trio

CONFIG = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s

listen forward
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{onward} {options}
"""

OPTIONS = {
    "v1": "send-proxy check inter 100ms",
    "v2": "send-proxy-v2",
    "v2 with TLVs and a checksum": "send-proxy-v2 proxy-v2-options crc32c,unique-id check check-send-proxy inter 100ms",
}


def server_context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    return context


def told(websocket: Any) -> str:
    peer = websocket.request.peer
    return f"{peer.address} {peer.proxy[0]}"


@contextlib.asynccontextmanager
async def on_asyncio(tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    async def handler(websocket: mintws.asyncio.WebSocket) -> None:
        await websocket.send(told(websocket))

    async with mintws.asyncio.serve(handler, "127.0.0.1", 0, ssl=tls, proxy_protocol=["127.0.0.0/8"]) as server:
        yield server.port
        assert server.statistics().refused["proxy"] == 0


@contextlib.asynccontextmanager
async def on_trio(tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    async def handler(websocket: mintws.trio.WebSocket) -> None:
        await websocket.send(told(websocket))

    async def main() -> None:
        async with mintws.trio.serve(handler, "127.0.0.1", 0, ssl=tls, proxy_protocol=["127.0.0.0/8"]) as server:
            loop.call_soon_threadsafe(port.set_result, server.port)
            while not end.is_set():
                await trio.sleep(0.02)
            assert server.statistics().refused["proxy"] == 0

    loop = asyncio.get_running_loop()
    port: asyncio.Future[int] = loop.create_future()
    end = asyncio.Event()
    thread = asyncio.ensure_future(asyncio.to_thread(trio.run, main))
    yield await port
    end.set()
    await thread


@contextlib.asynccontextmanager
async def on_threads(tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    def handler(websocket: mintws.sync.WebSocket) -> None:
        websocket.send(told(websocket))

    with mintws.sync.serve(handler, "127.0.0.1", 0, ssl=tls, proxy_protocol=["127.0.0.0/8"]) as server:
        yield server.port
        assert server.statistics().refused["proxy"] == 0


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("serving", [on_asyncio, on_trio, on_threads], ids=["asyncio", "trio", "sync"])
def test_the_server_sees_the_client_behind_haproxy(
    tmp_path: Path, certificate: Certificate, serving: Any, options: str, secure: bool
) -> None:
    async def main() -> None:
        tls = server_context(certificate) if secure else None
        async with serving(tls) as onward:
            port = free_port()
            config = tmp_path / "haproxy.cfg"
            config.write_text(CONFIG.format(port=port, onward=onward, options=OPTIONS[options]))
            command = ["haproxy", "-db", "-f", str(config)]
            async with running(command, ports=[port], stdout=DEVNULL, stderr=DEVNULL):
                for http in ("1.1", "2"):
                    url = f"{'wss' if secure else 'ws'}://localhost:{port}/"
                    context = {"ssl": client_context(certificate)} if secure else {}
                    where = {"host": "127.0.0.1", "port": port, "local_addr": ("127.0.0.9", 0)}
                    async with mintws.asyncio.connect(url, http=http, **where, **context) as websocket:
                        ours = websocket.transport.get_extra_info("sockname")
                        assert await websocket.recv() == f"{ours} 127.0.0.1"

    need_program("haproxy", "haproxy")
    asyncio.run(asyncio.wait_for(main(), PATIENCE))
