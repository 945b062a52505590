"""Messages, openings and closings leave no memory behind: counted in blocks of Python's allocator, which any object takes."""

from __future__ import annotations

import asyncio
import gc
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from drivers.conftest import BOUND, listening

from mintws import PerMessageDeflate
from mintws.asyncio import Http2Client, Server, WebSocket, connect, connect_http2
from mintws.events import Response

#: The blocks that may be left whatever is done: caches of the interpreter, and tables that grew. 200 streams and 2,000 leave -100 to 350.
SPARE = 500
#: Messages that are under way at a time.
TOGETHER = 50

PLACES = pytest.mark.parametrize("secure", [False, True], ids=["TCP", "TLS"])
EXTENSIONS = pytest.mark.parametrize("extensions", [(), (PerMessageDeflate(threshold=0),)], ids=["plain", "deflate"])


def few_or(many: int, few: int) -> Any:
    return pytest.mark.parametrize(
        "times", [pytest.param(few, id=f"{few:,}"), pytest.param(many, id=f"{many:,}", marks=pytest.mark.slow)]
    )


async def left_behind(work: Callable[[int], Awaitable[None]], times: int, warm: int) -> int:
    """Give the blocks that are left of work which was done so many times, once it was done `warm` times."""
    await work(warm)
    gc.collect()
    before = sys.getallocatedblocks()
    await work(times)
    gc.collect()
    return sys.getallocatedblocks() - before


def run_long(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 10 * BOUND))


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


def serving(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext], secure: bool, **options: Any) -> Any:
    return listening(echo, ssl=tls_contexts[0] if secure else None, ping_interval=None, **options)


def place(server: Server, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext], secure: bool) -> dict[str, Any]:
    """Give the arguments that reach a server."""
    if secure:
        return {"url": f"wss://localhost:{server.port}/", "ssl": tls_contexts[1], "host": "127.0.0.1"}
    return {"url": f"ws://127.0.0.1:{server.port}/"}


@PLACES
@EXTENSIONS
@few_or(100_000, 1_500)
def test_messages_of_all_sizes_leave_nothing_behind(
    http: Any, secure: bool, extensions: Any, times: int, tls_contexts: Any
) -> None:
    async def main() -> None:
        async with serving(tls_contexts, secure, extensions=extensions) as server:
            where = place(server, tls_contexts, secure)
            async with connect(http=http, extensions=extensions, ping_interval=None, **where) as websocket:

                async def exchange(count: int) -> None:
                    for start in range(0, count, TOGETHER):
                        # Alone and with others in one chunk.
                        together = 1 if start % 3 else TOGETHER
                        messages = [bytes((number * 797) % 3000) for number in range(start, start + TOGETHER)]
                        for at in range(0, TOGETHER, together):
                            for message in messages[at : at + together]:
                                await websocket.send(message)
                            for message in messages[at : at + together]:
                                assert await websocket.recv() == message
                        await websocket.send("x" * 100_000)
                        assert len(await websocket.recv()) == 100_000

                assert await left_behind(exchange, times, 1000) < SPARE

    run_long(main())


@PLACES
@EXTENSIONS
@few_or(500, 60)
def test_connections_that_are_opened_and_closed_leave_nothing_behind(
    http: Any, secure: bool, extensions: Any, times: int, tls_contexts: Any
) -> None:
    async def main() -> None:
        async with serving(tls_contexts, secure, extensions=extensions) as server:

            async def live(count: int) -> None:
                for _ in range(count):
                    where = place(server, tls_contexts, secure)
                    async with connect(http=http, extensions=extensions, **where) as websocket:
                        await websocket.send("hello")
                        assert await websocket.recv() == "hello"
                while server._protocols:
                    await asyncio.sleep(0.01)

            assert await left_behind(live, times, 30) < SPARE

    run_long(main())


@PLACES
@few_or(2_000, 200)
def test_streams_of_one_connection_leave_nothing_behind(secure: bool, times: int, tls_contexts: Any) -> None:
    async def live(server: Server, client: Http2Client, count: int) -> None:
        for _ in range(count):
            async with await client.open("/") as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
            response = await client.request("POST", "/", body=bytes(1000))
            assert response.body == bytes(1000)
        # The end of the last stream may not have come to the server yet.
        while server._tasks or any(protocol.http.half_closed for protocol in server._protocols):
            await asyncio.sleep(0.01)

    async def main() -> None:
        respond = lambda request: Response(200, body=request.body)  # noqa: E731
        async with serving(tls_contexts, secure, respond=respond) as server:
            async with connect_http2(**place(server, tls_contexts, secure)) as client:
                # h2 remembers how streams have ended, up to a number of them.
                assert await left_behind(lambda count: live(server, client, count), times, 600) < SPARE

    run_long(main())
