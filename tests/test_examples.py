"""Each program of examples/ does what its first line says, as a user starts it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mintws.asyncio import connect, connect_http2, serve

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


@contextlib.asynccontextmanager
async def started(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program, end it by Ctrl-C, and see that it says nothing of that."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-u",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield program
        program.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(program.communicate(), 20)
        assert b"Traceback" not in said, said.decode()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()


async def line(program: asyncio.subprocess.Process) -> str:
    assert program.stdout is not None
    return (await asyncio.wait_for(program.stdout.readline(), 20)).decode().strip()


def run(work):
    asyncio.run(asyncio.wait_for(work, 60))


def test_the_page_names_all_examples_and_no_other() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in EXAMPLES.glob("*.py") if f"| [{path.name}]({path.name}) |" in text} == {
        path.name for path in EXAMPLES.glob("*.py")
    }


def test_the_chat_tells_all_what_one_says() -> None:
    async def work() -> None:
        async with started("examples/chat.py", "0") as program:
            page = await line(program)
            body = await asyncio.to_thread(lambda: urllib.request.urlopen(page, timeout=20).read())
            assert b"new WebSocket" in body
            url = page.replace("http", "ws", 1)
            async with connect(url) as first, connect(url) as second, connect_http2(url) as client:
                third = await client.open("/")
                # Who has got an answer has joined.
                for websocket in (first, second, third):
                    await websocket.send("here")
                    while not (await websocket.recv()).endswith(": here"):
                        pass
                await second.send("hello")
                for websocket in (first, second, third):
                    while not (said := await websocket.recv()).endswith(": hello"):
                        pass
                    assert said.partition(":")[0].isdecimal()

    run(work())


def test_the_follower_comes_back() -> None:
    async def work() -> None:
        count = 0

        async def handler(websocket):
            nonlocal count
            count += 1
            await websocket.send(f"news {count}")
            await websocket.close(1012 if count == 1 else 1000)

        async with serve(handler, "127.0.0.1", 0) as server:
            async with started("examples/follow.py", f"ws://127.0.0.1:{server.port}/") as program:
                heard = [await line(program) for _ in range(4)]
        assert [it for it in heard if it.startswith("news")] == ["news 1", "news 2"]
        assert heard[0].startswith("connected to ws://127.0.0.1:")

    run(work())


def test_the_first_feed_that_ends_ends_all() -> None:
    async def work() -> None:
        async def handler(websocket):
            await websocket.send(f"news of {websocket.request.target}")
            if websocket.request.target == "/short":
                await websocket.recv()
            await websocket.wait_closed()

        async with serve(handler, "127.0.0.1", 0) as server:
            urls = [f"ws://127.0.0.1:{server.port}/{name}" for name in ("long", "short")]
            async with started("examples/feeds.py", *urls) as program:
                heard = [await line(program), await line(program)]
                assert sorted(heard) == [f"{url}: 'news of /{url.rpartition('/')[2]}'" for url in urls]
                [short] = [it for it in server.websockets if it.request.target == "/short"]
                await short.close(4000, "enough")
                assert program.stderr is not None
                assert b"the peer closed with 4000: enough" in await asyncio.wait_for(program.stderr.readline(), 20)
                await program.wait()
                program.send_signal = lambda number: None  # type: ignore[method-assign]

    run(work())


def test_one_connection_carries_them_all() -> None:
    async def work() -> None:
        async with started("examples/one_connection.py") as program:
            assert await line(program) == "lengths: " + " ".join(map(str, range(20)))
            assert await line(program) == "pages: " + " ".join(f"/page/{number}" for number in range(20))
            await program.wait()
            program.send_signal = lambda number: None  # type: ignore[method-assign]

    run(work())


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_threads_serve_both_versions(http: str) -> None:
    async def work() -> None:
        async with started("examples/threads.py", "0") as program:
            url = await line(program)
            async with connect(url, http=http) as websocket, connect(url, http=http) as other:
                for message in ("hello", b"\0" * 100_000):
                    for it in (websocket, other):
                        await it.send(message)
                        assert await it.recv() == message

    run(work())


def test_sql_is_answered_by_a_thread_for_each_client() -> None:
    async def work() -> None:
        async with started("examples/sql.py", "0") as program:
            url = await line(program)
            async with connect(url) as one, connect(url) as two:
                for websocket in (one, two):
                    await websocket.send("create table tea (name)")
                    assert json.loads(await websocket.recv()) == {"rows": []}
                await one.send("insert into tea values ('mint') returning name")
                assert json.loads(await one.recv()) == {"rows": [["mint"]]}
                await two.send("select * from tea")
                assert json.loads(await two.recv()) == {"rows": []}
                await two.send("no sql")
                assert "error" in json.loads(await two.recv())

    run(work())


def test_rooms_of_fastapi_run_under_uvicorn() -> None:
    async def work() -> None:
        options = ["--app-dir", "examples", "rooms:app", "--ws", "mintws.uvicorn:WebSocketProtocol", "--port", "0"]
        async with started("-m", "uvicorn", *options, "--no-use-colors") as program:
            assert program.stderr is not None
            while b"running on" not in (said := await asyncio.wait_for(program.stderr.readline(), 20)):
                assert said
            page = said.decode().split("running on ")[1].split()[0]
            url = page.replace("http", "ws", 1) + "/rooms/tea"
            async with connect(url) as first, connect(url) as second:
                await first.send("hello")
                assert await first.recv() == await second.recv() == "hello"
                rooms = await asyncio.to_thread(lambda: urllib.request.urlopen(page + "/rooms", timeout=20).read())
                assert json.loads(rooms) == {"tea": 2}

    run(work())
