"""The chat of `mintws serve --chat`, from the outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from drivers.command import serving, talk
from drivers.conftest import listening, url

from mintws import ConnectionClosed
from mintws.asyncio import WebSocket, connect, connect_http2
from mintws.cli import page
from mintws.cli.chat import Chat
from mintws.events import Request


async def event(websocket: WebSocket, kind: str) -> dict[str, Any]:
    """The next event of a kind."""
    while True:
        told: dict[str, Any] = json.loads(await websocket.recv())
        if told["type"] == kind:
            return told


def test_what_is_said_is_heard_in_its_room_alone(run: Callable[..., object], http: str) -> None:
    async def work():
        async with listening(Chat().handle) as server:
            base = url(server)
            async with (
                connect(f"{base}room/tea?name=Ada", http=http) as ada,
                connect(f"{base}room/tea?name=Gr%C3%A4ce", http=http) as grace,
                connect(f"{base}room/coffee", http=http) as guest,
            ):
                welcome = await event(guest, "welcome")
                assert (welcome["room"], welcome["name"], welcome["http"]) == ("coffee", "guest 1", http)
                assert welcome["extensions"][0].startswith("permessage-deflate")
                assert (await event(grace, "people"))["names"] == ["Ada", "Gräce"]
                await ada.send(json.dumps({"type": "say", "text": " hello "}))
                await grace.send("as typed")
                for websocket in (ada, grace):
                    assert await event(websocket, "said") == {"type": "said", "by": "Ada", "text": "hello"}
                    assert await event(websocket, "said") == {"type": "said", "by": "Gräce", "text": "as typed"}
                await guest.send(json.dumps({"type": "ping", "of": [1]}))
                assert await event(guest, "pong") == {"type": "pong", "of": [1]}
                await grace.close()
                while (await event(ada, "people"))["names"] != ["Ada"]:
                    pass
                async with connect(f"{base}room/tea", http=http) as late:
                    assert [it["text"] for it in (await event(late, "welcome"))["lately"]] == ["hello", "as typed"]

    run(work())


def test_each_is_told_how_many_share_its_connection(run: Callable[..., object]) -> None:
    async def work():
        async with listening(Chat().handle) as server, connect_http2(url(server)) as client:
            welcomes = [await event(await client.open(f"/room/{i}"), "welcome") for i in range(3)]
            assert [it["together"] for it in welcomes] == [1, 2, 3]
            assert len({it["connection"] for it in welcomes}) == 1

    run(work())


def test_an_empty_room_is_forgotten(run: Callable[..., object]) -> None:
    async def work():
        chat = Chat()
        async with listening(chat.handle) as server:
            async with connect(f"{url(server)}room/tea") as websocket:
                await websocket.send("hello")
                await event(websocket, "said")
            while server.websockets:
                await asyncio.sleep(0.01)
            async with connect(f"{url(server)}room/tea") as websocket:
                assert (await event(websocket, "welcome"))["lately"] == []

    run(work())


@pytest.mark.parametrize(
    "text", ["[]", "1", '{"type": "say"}', '{"type": "say", "text": " "}', '{"type": []}', "", "{" * 5000, "\x00"]
)
def test_no_message_breaks_a_room(run: Callable[..., object], text: str) -> None:
    async def work():
        async with listening(Chat().handle) as server:
            async with connect(f"{url(server)}room/%00%ff?name=%ff&name=%41", http="1.1") as websocket:
                await websocket.send(text)
                await websocket.send(b"\xff")
                await websocket.send("still here")
                while (await event(websocket, "said"))["text"] != "still here":
                    pass

    run(work())


def test_nobody_waits_for_who_reads_too_slowly(run: Callable[..., object], http: str) -> None:
    async def work():
        async with listening(Chat().handle) as server:
            # Little room in the system, and no compression.
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
            sock.connect(("127.0.0.1", server.port))
            address = f"{url(server)}room/tea"
            async with (
                connect(address, http=http) as quick,
                connect(address, http=http, sock=sock, extensions=()) as slow,
            ):
                await event(slow, "people")
                slow.transport.pause_reading()
                for _ in range(30):
                    await quick.send_many(["茶" * 2000] * 50)
                    for _ in range(50):
                        await event(quick, "said")
                slow.transport.resume_reading()
                with contextlib.suppress(ConnectionClosed):
                    async for _ in slow:
                        pass
                assert slow.close_code == 1013

    run(work())


def test_the_command_serves_the_page_and_the_chat() -> None:
    with serving("--chat") as (_, port):
        done = talk(f"localhost:{port}/room/tea?name=Ada", "-x", "hello", wait=None)
        told = [json.loads(line) for line in done.stdout.decode().splitlines()]
        assert [it["type"] for it in told] == ["welcome", "people", "said"]
    text = page.respond_with_page(["chat"], "chat.html")(Request("GET", "/")).body.decode()
    assert 'SUBPROTOCOLS = ["chat"];' in text
    assert "http://" not in text
    assert "https://" not in text
