"""Threads that are switched as often as can be: each with a loop of its own, or with objects that all of them use."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mintws import Connection, Http1, PerMessageDeflate, PreparedMessage, Role, Text, UpgradeAccept, UpgradeRequest
from mintws.asyncio import broadcast, connect, serve

THREADS = 4
BOUND = 60


@pytest.fixture(autouse=True)
def often_switched() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], object]) -> None:
    """Call `work` with the number of the thread in each of them, all at once; raise what one of them raises."""
    failed: list[BaseException] = []
    together = threading.Barrier(THREADS)

    def run(number: int) -> None:
        try:
            together.wait(BOUND)
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


def called(method: Callable[[Any], Any], argument: Any) -> Any:
    """Call a method of an object that other threads use, again and again while one of them is within it, and nothing was done."""
    while True:
        try:
            return method(argument)
        except RuntimeError:
            continue


def opened(extension: PerMessageDeflate | None = None) -> tuple[Connection, Http1]:
    """Open a WebSocket over HTTP/1.1; give the client's, and what receives at the server."""
    offered = [] if extension is None else [extension]
    asking, server = Http1(Role.CLIENT), Http1(Role.SERVER)
    client = asking.open()
    request = client.send(UpgradeRequest("localhost", "/", extensions=offered))
    [(accepting, _)], _ = server.receive(request)
    asking.receive(accepting.send(UpgradeAccept(extensions=offered)))
    return client, server


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_each_thread_has_a_loop_of_its_own(http: str) -> None:
    async def echo(websocket):
        async for message in websocket:
            await websocket.send(message)

    async def work(number: int) -> None:
        messages = [f"{number} {i} " + "x" * (i % 200) for i in range(300)]
        async with serve(echo, "127.0.0.1", 0) as server:
            async with connect(f"ws://127.0.0.1:{server.port}/", http=http) as websocket:
                await websocket.send_many(messages)
                assert [await websocket.recv() for _ in messages] == messages
                for message in messages[:50]:
                    await websocket.send(message)
                    assert await websocket.recv() == message
                assert broadcast([websocket], "all").sent == [websocket]
                assert await websocket.recv() == "all"

    in_threads(lambda number: asyncio.run(asyncio.wait_for(work(number), BOUND)))


def test_connections_of_several_threads_share_compression_and_prepared_messages() -> None:
    extension = PerMessageDeflate(threshold=0)
    often = "prepared " * 50
    prepared = PreparedMessage(Text(often))

    def work(number: int) -> None:
        client, server = opened(extension)
        chance = random.Random(number)
        for i in range(300):
            text = f"{number} {i} " + "abc" * chance.randrange(300)
            for message, said in ((Text(text), text), (prepared, often)):
                events, _ = server.receive(client.send(message))
                assert [event.data for _, event in events] == [said]

    in_threads(work)


def test_threads_that_send_on_one_connection_lose_and_double_nothing() -> None:
    # Without compression, whose context would want the order in which they were encoded.
    client, server = opened()
    written: list[bytes] = []

    def work(number: int) -> None:
        for i in range(300):
            written.append(called(client.send, Text(f"{number} {i}")))

    in_threads(work)
    events, _ = server.receive(b"".join(written))
    assert sorted(event.data for _, event in events) == sorted(f"{n} {i}" for n in range(THREADS) for i in range(300))


def test_threads_that_receive_on_one_connection_lose_and_double_nothing() -> None:
    client, server = opened()
    frames = [client.send(Text(f"{i}")) for i in range(1200)]
    waiting = iter(frames)
    got: list[str] = []

    def work(number: int) -> None:
        while True:
            frame = next(waiting, None)
            if frame is None:
                return
            events, _ = called(server.receive, frame)
            got.extend(event.data for _, event in events)

    in_threads(work)
    assert sorted(got, key=int) == [f"{i}" for i in range(1200)]
