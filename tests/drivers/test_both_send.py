"""Two sides that send much at a time, and receive, do not wait for each other."""

from __future__ import annotations

import asyncio

import pytest

from mintws.asyncio import connect_http2, serve

STREAMS, MESSAGES, MESSAGE = 30, 20, bytes(100_000)


async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)


@pytest.mark.parametrize("tls", [False, True])
def test_many_websockets_that_are_echoed_all_end(run, tls, tls_contexts):
    async def exchange(websocket):
        async def receive():
            return [await websocket.recv() for _ in range(MESSAGES)]

        receiving = asyncio.create_task(receive())
        for _ in range(MESSAGES):
            await websocket.send(MESSAGE)
        assert await receiving == [MESSAGE] * MESSAGES

    async def work():
        server_tls, client_tls = tls_contexts if tls else (None, None)
        async with serve(echo, "127.0.0.1", 0, ssl=server_tls) as server:
            url = f"{'wss' if tls else 'ws'}://localhost:{server.port}/"
            async with connect_http2(url, ssl=client_tls, host="127.0.0.1") as client:
                websockets = [await client.open(extensions=()) for _ in range(STREAMS)]
                await asyncio.gather(*map(exchange, websockets))

    run(work())
