"""A router is the handler and the hook of a server, over both versions of HTTP."""

from __future__ import annotations

import pytest

from mintws import UpgradeError
from mintws.asyncio import Router, connect, serve
from mintws.asyncio.testing import serve_in_memory


async def chat(websocket, room):
    await websocket.send(f"welcome to {room}")


async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)


ROUTER = Router({"/": echo, "/chat/{room}": chat})


async def tried(connect, url, http):
    async with connect(f"{url}/chat/a%2Fb?c", http=http) as websocket:
        assert await websocket.recv() == "welcome to a/b"
    async with connect(url, http=http) as websocket:
        await websocket.send("hello")
        assert await websocket.recv() == "hello"
    with pytest.raises(UpgradeError) as refused:
        await connect(f"{url}/chat", http=http)
    assert refused.value.status == 404
    assert refused.value.body == b"there is nothing at this path\n"


def test_each_path_has_its_handler(run, http):
    async def work():
        async with serve(ROUTER, "127.0.0.1", 0, upgrade=ROUTER.upgrade) as server:
            await tried(connect, f"ws://127.0.0.1:{server.port}", http)

    run(work())


def test_ordinary_requests_are_answered_as_without_a_router(run):
    async def work():
        statuses = []
        for handler, upgrade in ((ROUTER, ROUTER.upgrade), (echo, None)):
            async with (
                serve_in_memory(handler, upgrade=upgrade) as server,
                server.connect_http2("ws://localhost") as client,
            ):
                statuses.append([(await client.request(method, "/")).status for method in ("GET", "POST")])
        assert statuses[0] == statuses[1]

    run(work())


def test_without_its_hook_a_path_without_a_handler_is_a_fault_of_the_server(run, caplog):
    async def work():
        async with serve_in_memory(ROUTER) as server:
            async with server.connect("ws://localhost/chat") as websocket:
                await websocket.wait_closed()
                assert websocket.close_code == 1011
        assert "give the server upgrade=router.upgrade, which answers 404" in caplog.text

    run(work())
