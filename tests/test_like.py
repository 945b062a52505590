"""What a function asks for that sends and receives: WebSockets of the drivers, and small fakes, as a strict type checker sees them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

TYPED = """
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol

import mintws.asyncio
import mintws.asyncio.testing
import mintws.sync
import mintws.sync.testing
import mintws.trio
import mintws.trio.testing
from mintws import UpgradeRequest


async def shout(websocket: mintws.asyncio.WebSocketLike) -> None:
    async for message in websocket:
        await websocket.send(message.upper())
    await websocket.send(await websocket.recv())
    await websocket.close(1001, "done")


def shout_here(websocket: mintws.sync.WebSocketLike) -> None:
    for message in websocket:
        websocket.send(message.upper())
    websocket.send(websocket.recv(timeout=1.0))
    websocket.close(1001, "done")


class Fake:
    def __init__(self, *messages: str | bytes) -> None:
        self.messages = list(messages)
        self.sent: list[str | bytes] = []
        self.closed: int | None = None

    async def recv(self) -> str | bytes:
        return self.messages.pop(0)

    async def send(self, message: str | bytes) -> None:
        self.sent.append(message)

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        self.closed = code

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        while self.messages[:-1]:
            yield await self.recv()


class FakeHere:
    def __init__(self, *messages: str | bytes) -> None:
        self.messages = list(messages)
        self.sent: list[str | bytes] = []
        self.closed: int | None = None

    def recv(self, timeout: float | None = None) -> str | bytes:
        return self.messages.pop(0)

    def send(self, message: str | bytes) -> None:
        self.sent.append(message)

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        self.closed = code

    def __iter__(self) -> Iterator[str | bytes]:
        while self.messages[:-1]:
            yield self.recv()


class WithRequest(mintws.asyncio.WebSocketLike, Protocol):
    @property
    def request(self) -> UpgradeRequest | None: ...


async def greet(websocket: WithRequest) -> None:
    await websocket.send(websocket.request.path if websocket.request else "")


class FakeWithRequest(Fake):
    request = UpgradeRequest("example.com", "/chat")


async def all_of_them(one: mintws.asyncio.WebSocket, other: mintws.trio.WebSocket, third: mintws.sync.WebSocket) -> None:
    same: mintws.trio.WebSocketLike = one
    await shout(same)
    await shout(other)
    await shout(Fake("hello", "last"))
    await greet(one)
    await greet(other)
    await greet(FakeWithRequest())
    shout_here(third)
    shout_here(FakeHere("hello", "last"))


async def routed(websocket: mintws.asyncio.WebSocketLike, room: str) -> None:
    await shout(websocket)


async def routed_by_trio(websocket: mintws.trio.WebSocket, room: str) -> None: ...


def routed_here(websocket: mintws.sync.WebSocket, room: str) -> None: ...


ROUTER = mintws.asyncio.Router({"/chat/{room}": routed, "/": shout})
mintws.asyncio.serve(ROUTER, "127.0.0.1", 0, upgrade=ROUTER.upgrade)
mintws.asyncio.serve(shout, "127.0.0.1", 0)
TRIO = mintws.trio.Router({"/chat/{room}": routed_by_trio})
mintws.trio.serve(TRIO, "127.0.0.1", 0, upgrade=TRIO.upgrade)
SYNC = mintws.sync.Router({"/chat/{room}": routed_here})
mintws.sync.serve(SYNC, "127.0.0.1", 0, upgrade=SYNC.upgrade)


async def in_memory() -> None:
    async with mintws.asyncio.testing.serve_in_memory(shout) as server:
        async with server.connect("ws://localhost/", http="2") as websocket:
            await shout(websocket)
        await shout(await server.connect("ws://localhost/"))
        async with server.connect_http2("ws://localhost/") as client:
            await shout(await client.open("/"))
    async with mintws.trio.testing.serve_in_memory(shout) as other:
        async with other.connect("ws://localhost/") as stream:
            await shout(stream)
    async with mintws.asyncio.testing.pair() as (one, two), mintws.trio.testing.pair(http="2") as (three, four):
        for it in (one, two):
            await shout(it)
        for that in (three, four):
            await shout(that)
    with mintws.sync.testing.pair() as (here, there), mintws.sync.testing.serve_in_memory(shout_here) as blocking:
        shout_here(here)
        with blocking.connect("ws://localhost/") as last:
            shout_here(last)
"""

WRONG = """
import mintws.asyncio
import mintws.asyncio.testing
import mintws.sync

class Fake:
    async def send(self, message: str | bytes) -> None: ...

async def shout(websocket: mintws.asyncio.WebSocketLike) -> None: ...
def shout_here(websocket: mintws.sync.WebSocketLike) -> None: ...

async def wrong(one: mintws.asyncio.WebSocket, third: mintws.sync.WebSocket) -> None:
    await shout(Fake())  # wrong
    await shout(third)  # wrong
    shout_here(one)  # wrong
    async with mintws.asyncio.testing.serve_in_memory(shout) as server:
        server.connect("ws://localhost/", http="3")  # wrong
        server.connect("ws://localhost/", no_such=1)  # wrong
"""


def test_websockets_of_all_drivers_and_small_fakes_are_alike_to_a_strict_type_checker(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "right.py").write_text(TYPED, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", tmp_path],
        env={**os.environ, "MYPYPATH": str(ROOT / "python")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = {tuple(line.split(":")[:2]) for line in ran.stdout.splitlines() if ": error:" in line}
    wrong = {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}
    assert found == {("wrong.py", str(number)) for number in wrong}, ran.stdout + ran.stderr


def test_the_fakes_run() -> None:
    names: dict[str, Any] = {}
    exec(compile(TYPED, "program", "exec"), names)
    fake = names["Fake"]("hello", "last")
    asyncio.run(names["shout"](fake))
    assert (fake.sent, fake.closed) == (["HELLO", "last"], 1001)
    here = names["FakeHere"]("hello", "last")
    names["shout_here"](here)
    assert (here.sent, here.closed) == (["HELLO", "last"], 1001)
