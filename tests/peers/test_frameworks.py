"""Applications of real frameworks on our own server, `mintws asgi`, and under uvicorn with our classes, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from process import free_port, python_package, running
from with_asgi import request

from mintws import UpgradeError
from mintws.asyncio import connect

FRAMEWORKS = ("channels", "fastapi", "litestar", "quart", "starlette")
BOUND = 30.0
PARTS = b"".join(b"%d," % number * 1000 for number in range(100))


#: The arguments that run each server, what it says when it is told to end, and its exit code then.
SERVERS = {
    "mintws": (("mintws", "asgi"), b"mintws: closing\n", 0),
    "uvicorn": (
        ("uvicorn", "--http", "mintws.uvicorn:HttpProtocol", "--ws", "mintws.uvicorn:WebSocketProtocol"),
        b"Finished server process",
        -signal.SIGTERM,
    ),
}


@asynccontextmanager
async def served(framework: str, server: str) -> AsyncIterator[int]:
    """Run the application of a framework; give the port. It must end properly when it is told to, and nothing may have failed."""
    arguments, last, code = SERVERS[server]
    port, here = free_port(), Path(__file__).parent / "frameworks"
    path = os.pathsep.join([str(here), str(python_package("frameworks"))])
    command = [sys.executable, "-m", *arguments, f"with_{framework}:app", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": path}
    async with running(command, ports=[port], stdout=DEVNULL, stderr=PIPE, env=environment) as process:
        yield port
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        said = await asyncio.wait_for(process.stderr.read(), BOUND)
        assert await process.wait() == code
        assert last in said and b"Traceback" not in said, said.decode()


@asynccontextmanager
async def under_uvicorn(framework: str) -> AsyncIterator[int]:
    """Run the application of a framework under uvicorn, with our classes; give the port."""
    port, here = free_port(), Path(__file__).parent / "frameworks"
    path = os.pathsep.join([str(here), str(python_package("frameworks"))])
    command = [sys.executable, "-m", "uvicorn", f"with_{framework}:app", "--http", "mintws.uvicorn:HttpProtocol"]
    environment = {**os.environ, "PYTHONPATH": path}
    async with running([*command, "--port", str(port)], ports=[port], stdout=DEVNULL, stderr=DEVNULL, env=environment):
        yield port


SOCKET_IO = "ws://127.0.0.1:{port}{path}/socket.io/?EIO=4&transport=websocket"


@pytest.fixture(params=["1.1", "2"])
def http(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework_has_its_websockets_and_requests(framework: str, server: str, http: str) -> None:
    async def work() -> None:
        async with served(framework, server) as port:
            async with connect(f"ws://127.0.0.1:{port}/echo", http=http, subprotocols=["soup", "tea"]) as websocket:
                assert websocket.subprotocol == "tea"
                for message in ("hello", "", "x" * 100_000):
                    await websocket.send(message)
                    assert await websocket.recv() == message
            assert await request(port, http, "GET", "/kept") == (200, b"kept by the lifespan")
            assert await request(port, http, "GET", "/parts") == (200, PARTS)
            assert await request(port, http, "POST", "/length", bytes(3_000_000)) == (200, b"3000000")
            assert (await request(port, http, "GET", "/missing"))[0] == 404
            status, body = await request(port, http, "HEAD", "/kept")
            assert (status, body) in ((200, b""), (405, b""))

    asyncio.run(asyncio.wait_for(work(), 2 * BOUND))


def test_channels_has_its_websockets_and_requests_under_uvicorn(http: str) -> None:
    async def work() -> None:
        async with under_uvicorn("channels") as port:
            async with connect(f"ws://127.0.0.1:{port}/echo", http=http, subprotocols=["tea"]) as websocket:
                assert websocket.subprotocol == "tea"
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
            assert await request(port, http, "GET", "/parts") == (200, PARTS)

    asyncio.run(asyncio.wait_for(work(), 2 * BOUND))


@pytest.mark.parametrize(("http", "path"), [("1.1", ""), ("2", "/added")])
def test_socket_io_has_its_events(server: str, http: str, path: str) -> None:
    async def work() -> None:
        async with served("socketio", server) as port:
            async with connect(SOCKET_IO.format(port=port, path=path), http=http) as websocket:
                # Engine.IO's open, Socket.IO's connect to a namespace, and an event each way.
                assert str(await websocket.recv()).startswith("0{")
                await websocket.send("40")
                assert str(await websocket.recv()).startswith("40{")
                await websocket.send("42" + json.dumps(["say", "tea"]))
                assert await websocket.recv() == "42" + json.dumps(["said", "tea"], separators=(",", ":"))

    asyncio.run(asyncio.wait_for(work(), 2 * BOUND))


def test_socket_io_refuses_websockets_over_http2_without_the_headers_that_they_do_not_have(server: str) -> None:
    async def work() -> None:
        async with served("socketio", server) as port:
            with pytest.raises(UpgradeError) as refusal:
                await connect(SOCKET_IO.format(port=port, path=""), http="2")
            assert refusal.value.status in (400, 403)

    asyncio.run(asyncio.wait_for(work(), 2 * BOUND))
