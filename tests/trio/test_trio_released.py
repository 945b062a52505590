"""On trio too, ended connections are freed without the collector, and the log has the lines of asyncio's driver."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import weakref
from typing import Any

import pytest
import trio
from on_trio import listening, url

import mintws.asyncio
from mintws import UpgradeError, UpgradeReject
from mintws.trio import connect


def test_ended_connections_are_freed_at_once(run, http):
    references: list[Any] = []

    async def handler(websocket):
        references.append(weakref.ref(websocket))
        async for message in websocket:
            await websocket.send(message)

    async def talk(server):
        async with connect(url(server), http=http) as websocket:
            references.extend([weakref.ref(websocket), weakref.ref(websocket._protocol)])
            await websocket.send("x")
            await websocket.recv()

    async def main():
        async with listening(handler) as server:
            await talk(server)
            with trio.fail_after(5):
                while server._protocols or [it() for it in references if it() is not None]:
                    await trio.sleep(0.01)

    gc.collect()
    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()
    assert len(references) == 3


async def on_asyncio(http: str) -> None:
    async def handler(websocket):
        async for message in websocket:
            await websocket.send(message)

    async with mintws.asyncio.serve(handler, "127.0.0.1", 0, upgrade=decide) as server:
        address = f"ws://127.0.0.1:{server.port}"
        async with mintws.asyncio.connect(f"{address}/chat?secret=1", http=http) as websocket:
            await websocket.send("hello")
            await websocket.recv()
        with pytest.raises(UpgradeError):
            await mintws.asyncio.connect(f"{address}/no", http=http)


async def on_trio(http: str) -> None:
    async def handler(websocket):
        async for message in websocket:
            await websocket.send(message)

    async with listening(handler, upgrade=decide) as server:
        async with connect(url(server, "/chat?secret=1"), http=http) as websocket:
            await websocket.send("hello")
            await websocket.recv()
        with pytest.raises(UpgradeError):
            async with connect(url(server, "/no"), http=http):
                pass


def decide(connection, request):
    return UpgradeReject(403) if request.target == "/no" else None


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give what was logged, with numbers of transports and ports left out; that of client and server by itself, as they run side by side."""
    shown = [f"{it.name} {it.levelname} {it.getMessage()}" for it in caplog.records if it.name.startswith("mintws.")]
    caplog.clear()
    return sorted(re.sub(r"(\w+ \w+) \d+", r"\1 N", re.sub(r":\d{4,5}\b", ":PORT", line), count=1) for line in shown)


def test_the_log_is_that_of_asyncio(run, http, caplog):
    with caplog.at_level(logging.DEBUG, "mintws"):
        asyncio.run(asyncio.wait_for(on_asyncio(http), 20))
        ours = lines(caplog)
        run(lambda: on_trio(http))
        assert lines(caplog) == ours
    assert len(ours) > 10 and not [line for line in ours if "secret" in line]
