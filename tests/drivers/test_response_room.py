"""A client of HTTP/2 that takes no responses has only so much of them held: others wait, as far as its windows do not let them pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio
from asgi.http2_client import raw_http2

import mintws.asgi
import mintws.asyncio
import mintws.sync
import mintws.trio
from mintws.events import Response

#: The memory of a connection, and the body of a large response, of which so many have room.
MEMORY = 2 << 20
LARGE = bytes(256 << 10)
HELD = MEMORY // 2 // len(LARGE) + 1
BOUND = 20.0

Visit = Callable[[int], Coroutine[Any, Any, None]]


def respond(request: Any) -> Response:
    return Response(200, body=LARGE if request.path == "/large" else b"small")


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": LARGE if scope["path"] == "/large" else b"small"})


async def handler(websocket: Any) -> None:
    raise AssertionError("there are no WebSockets")


def visited(visit: Visit, port: int) -> None:
    asyncio.run(asyncio.wait_for(visit(port), BOUND))


def on_asyncio(visit: Visit) -> None:
    async def work() -> None:
        async with mintws.asyncio.serve(handler, "127.0.0.1", 0, respond=respond, memory_limit=MEMORY) as server:
            await asyncio.wait_for(visit(server.port), BOUND)

    asyncio.run(work())


def on_asgi(visit: Visit) -> None:
    async def work() -> None:
        async with mintws.asgi.serve(app, "127.0.0.1", 0, lifespan="off", memory_limit=MEMORY) as server:
            await asyncio.wait_for(visit(server.port), BOUND)

    asyncio.run(work())


def on_trio(visit: Visit) -> None:
    async def work() -> None:
        async with mintws.trio.serve(handler, "127.0.0.1", 0, respond=respond, memory_limit=MEMORY) as server:
            await trio.to_thread.run_sync(visited, visit, server.port)

    trio.run(work)


def on_threads(visit: Visit) -> None:
    with mintws.sync.serve(lambda _: None, "127.0.0.1", 0, respond=respond, memory_limit=MEMORY) as server:
        visited(visit, server.port)


@pytest.fixture(params=[on_asyncio, on_trio, on_threads, on_asgi])
def served(request: pytest.FixtureRequest) -> Any:
    """Call a coroutine function with the port of a server."""
    return request.param


def test_large_responses_wait_for_windows_and_all_come_at_last(served: Any) -> None:
    async def visit(port: int) -> None:
        async with raw_http2(port, window=0) as client:
            numbers = [client.request("/large") for _ in range(40)]

            def begun() -> int:
                return sum(client.answers[number].status == 200 for number in numbers)

            await client.until(lambda: begun() == HELD)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.until(lambda: begun() > HELD), 0.3)
            client.h2.increment_flow_control_window(1 << 30)
            for number in numbers:
                client.h2.increment_flow_control_window(len(LARGE), number)
            client.flush()
            for number in numbers:
                assert (await client.answer(number)).body == LARGE

    served(visit)


def test_what_the_window_of_its_stream_lets_pass_waits_for_no_other_response(served: Any) -> None:
    async def visit(port: int) -> None:
        async with raw_http2(port) as client:
            client.takes = False
            for _ in range(2 * HELD):
                client.request("/large")
            small = client.request("/small")
            await client.until(lambda: client.answers[small].status == 200)

    served(visit)


def test_a_request_that_waits_for_room_is_taken_back(served: Any) -> None:
    async def visit(port: int) -> None:
        async with raw_http2(port, window=0) as client:
            numbers = [client.request("/large") for _ in range(2 * HELD)]
            await client.until(lambda: sum(client.answers[it].status == 200 for it in numbers) == HELD)
            for number in numbers:
                client.reset(number)
            late = client.request("/large")
            await client.until(lambda: client.answers[late].status == 200)

    # The server ends only when no task waits any more.
    served(visit)
