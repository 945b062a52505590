"""The chat of examples/several_machines: servers behind HAProxy, over Redis, of which one is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from process import free_port, need_program, running
from redis.asyncio import Redis

from mintws import ConnectionClosed, UpgradeError
from mintws.asyncio import WebSocket, connect, connect_http2, serve

FOLDER = Path(__file__).parents[2] / "examples" / "several_machines"
sys.path.insert(0, str(FOLDER))
from chat_server import Chat  # noqa: E402

#: Seconds for one answer.
PATIENCE = 20.0


@pytest.fixture(autouse=True)
def _installed() -> None:
    need_program("redis-server", "redis-server")


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 90))


@contextlib.asynccontextmanager
async def broker(port: int, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    async with running(command, ports=[port], stdout=DEVNULL) as process:
        yield process


@contextlib.asynccontextmanager
async def server(redis: int, port: int, program: str = "chat_server.py") -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, str(FOLDER / program), "--port", str(port), "--redis", f"redis://127.0.0.1:{redis}"]
    async with running(command, ports=[port], stdout=DEVNULL) as process:
        yield process


async def ask(websocket: WebSocket, **content: object) -> None:
    await websocket.send(json.dumps(content))


async def hear(websocket: WebSocket) -> Any:
    return json.loads(await asyncio.wait_for(websocket.recv(), PATIENCE))


async def say(websocket: WebSocket, text: str, key: str) -> str:
    """Say something and give its id, whatever comes before the acknowledgement."""
    await ask(websocket, key=key, text=text)
    while "key" not in (got := await hear(websocket)):
        pass
    assert got["key"] == key
    return str(got["id"])


def url(port: int, room: str = "tea", name: str = "Ada") -> str:
    return f"ws://127.0.0.1:{port}/rooms/{room}?name={name}"


@pytest.mark.parametrize("clients", [300, 1000])
def test_nobody_misses_a_message_or_gets_it_twice_when_a_server_is_killed(clients: int) -> None:
    # A room has 100 clients; 1,000 of them take half a minute of two cores, and far longer beside other work.
    messages, bound = 2, 90 if clients == 300 else 240
    need_program("haproxy", "haproxy")

    async def work() -> dict[str, Any]:
        command = [sys.executable, str(FOLDER / "crowd.py"), "--clients", str(clients), "--messages", str(messages)]
        async with running(command, stdout=PIPE) as process:
            said, _ = await asyncio.wait_for(process.communicate(), bound - 10)
            assert process.returncode == 0, said.decode()
            return json.loads(said)  # type: ignore[no-any-return]

    counts = asyncio.run(asyncio.wait_for(work(), bound))
    assert counts["acknowledged"] == counts["in_streams"] == clients * messages
    assert counts["heard"] == clients * 100 * messages
    assert counts["missed"] == counts["doubled"] == counts["in_other_order"] == 0
    assert 0 < counts["reconnected"] < clients


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_crowd_ends_its_programs_at_a_signal(number: signal.Signals) -> None:
    need_program("haproxy", "haproxy")

    async def work() -> None:
        # The programs have its standard error too, which ends when the last of them has.
        async with running([sys.executable, str(FOLDER / "crowd.py"), "--messages", "100"], stderr=PIPE) as process:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            while len(children.read_text().split()) < 5:
                await asyncio.sleep(0.02)
            process.send_signal(number)
            _, said = await asyncio.wait_for(process.communicate(), 45)
            assert process.returncode == 1
            assert said.decode().endswith("interrupted\n")

    run(work())


def test_a_client_resumes_on_another_server_after_the_last_message_that_it_has_heard(tmp_path: Path) -> None:
    async def work() -> None:
        redis, first, second = free_port(), free_port(), free_port()
        async with broker(redis, tmp_path), server(redis, first), server(redis, second):
            async with connect(url(first)) as ada, connect_http2(url(second)) as client:
                bob = await client.open("/rooms/tea?name=Bob")
                await ask(ada, after=None)
                await ask(bob, after=None)
                assert (await hear(ada)).keys() == (await hear(bob)).keys() == {"at"}
                ids = [await say(ada, "one", "1"), await say(ada, "two", "2")]
                # The same key is the same message, whatever server it comes to.
                assert await say(ada, "two", "2") == ids[1]
                got = [await hear(bob), await hear(bob)]
                assert got == [
                    {"id": ids[0], "by": "Ada", "text": "one"},
                    {"id": ids[1], "by": "Ada", "text": "two"},
                ]
                assert await say(bob, "three", "2") > ids[1]
                await bob.close()
                ids.append(await say(ada, "four", "4"))
                bob = await client.open("/rooms/tea?name=Bob")
                await ask(bob, after=ids[0])
                assert [(await hear(bob))["text"] for _ in range(3)] == ["two", "three", "four"]
                assert await hear(bob) == {"at": ids[2]}
                async with connect(url(first, "mint")) as other:
                    await ask(other, after=None)
                    await hear(other)
                    await say(other, "elsewhere", "5")
                await say(ada, "five", "6")
                assert (await hear(bob))["text"] == "five"

    run(work())


def test_a_client_that_has_heard_more_than_a_server_has_read_hears_nothing_twice(tmp_path: Path) -> None:
    async def work() -> None:
        redis = free_port()
        async with (
            broker(redis, tmp_path),
            Redis.from_url(f"redis://127.0.0.1:{redis}", decode_responses=True) as streams,
        ):
            chat = Chat(streams)
            async with serve(chat.handle, "127.0.0.1", 0, upgrade=chat.check) as here:
                async with connect(url(here.port)) as ada, connect(url(here.port, name="Bob")) as bob:
                    await ask(ada, after=None)
                    await hear(ada)
                    # Nothing is read from the stream yet; another server has sent this to Bob.
                    after = await say(ada, "one", "1")
                    await ask(bob, after=after)
                    assert await hear(bob) == {"at": after}
                    reading = asyncio.create_task(chat.read())
                    assert (await hear(ada))["text"] == "one"
                    await say(ada, "two", "2")
                    assert (await hear(bob))["text"] == "two"
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)

    run(work())


def test_the_first_in_a_room_hears_at_once_what_is_said(tmp_path: Path) -> None:
    async def work() -> None:
        redis, port = free_port(), free_port()
        async with broker(redis, tmp_path), server(redis, port):
            waited = 0.0
            async with connect(url(port, "other")) as other:
                await ask(other, after=None)
                for room in map(str, range(6)):
                    async with connect(url(port, room)) as websocket:
                        await ask(websocket, after=None)
                        await hear(websocket)
                        begun = time.monotonic()
                        await ask(websocket, key="1", text="hello")
                        while "by" not in await hear(websocket):
                            pass
                        waited += time.monotonic() - begun
            # It would be a second for each, if the server did not begin to read the stream of the room at once.
            assert waited < 4

    run(work())


def test_bad_questions_are_refused(tmp_path: Path) -> None:
    async def work() -> None:
        redis, port = free_port(), free_port()
        async with broker(redis, tmp_path), server(redis, port):
            for target in ("/", "/rooms/tea"):
                with pytest.raises(UpgradeError) as refused:
                    await connect(f"ws://127.0.0.1:{port}{target}")
                assert refused.value.status == 404
            for first, code in (
                ("what?", 4400),
                ("{}", 4400),
                ('{"after": 7}', 4400),
                ('{"after": "x-y"}', 4400),
                ('{"after": "1-0"}', 4410),
            ):
                async with connect(url(port)) as websocket:
                    await websocket.send(first)
                    with pytest.raises(ConnectionClosed) as closed:
                        await asyncio.wait_for(websocket.recv(), PATIENCE)
                    assert closed.value.code == code
            async with connect(url(port)) as websocket:
                await ask(websocket, after=None)
                await hear(websocket)
                await ask(websocket, text="no key")
                await websocket.wait_closed()
                assert websocket.close_code == 4400

    run(work())


def test_the_chat_goes_on_when_the_broker_comes_back_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    async def work() -> None:
        redis, port = free_port(), free_port()

        async def health() -> int:
            async with connect_http2(url(port)) as client:
                return (await client.request("GET", "/health")).status

        async with contextlib.AsyncExitStack() as stack:
            async with broker(redis, tmp_path) as first:
                chat = await stack.enter_async_context(server(redis, port))
                async with connect(url(port)) as websocket:
                    await ask(websocket, after=None)
                    await hear(websocket)
                    said = await say(websocket, "before", "1")
                first.kill()
                await first.wait()
            await stack.enter_async_context(broker(redis, tmp_path))
            while await health() != 200:
                await asyncio.sleep(0.1)
            async with connect(url(port)) as websocket:
                await ask(websocket, after=None)
                assert (await hear(websocket))["id"] == said
                await hear(websocket)
                await say(websocket, "after", "2")
                chat.send_signal(signal.SIGTERM)
                await websocket.wait_closed()
                assert websocket.close_code == 1012
            assert await asyncio.wait_for(chat.wait(), PATIENCE) == 0

    run(work())


def test_the_client_says_what_is_typed_and_prints_what_it_hears_once(tmp_path: Path) -> None:
    async def work() -> None:
        redis, port = free_port(), free_port()
        command = [sys.executable, str(FOLDER / "chat_client.py"), url(port)]
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(broker(redis, tmp_path))
            async with server(redis, port) as doomed:
                client = await stack.enter_async_context(running(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL))
                assert client.stdin is not None
                assert client.stdout is not None
                client.stdin.write(b"one\n")
                assert await asyncio.wait_for(client.stdout.readline(), PATIENCE) == b"Ada: one\n"
                os.kill(doomed.pid, signal.SIGKILL)
                await doomed.wait()
            # Said while there is no server at all.
            client.stdin.write(b"two\n")
            await stack.enter_async_context(server(redis, port))
            assert await asyncio.wait_for(client.stdout.readline(), 60) == b"Ada: two\n"
            client.stdin.close()
            assert await asyncio.wait_for(client.stdout.read(), PATIENCE) == b""
            assert await asyncio.wait_for(client.wait(), PATIENCE) == 0

    run(work())


def test_pub_sub_loses_what_is_said_while_a_server_is_not_subscribed(tmp_path: Path) -> None:
    async def work() -> None:
        redis, first, second = free_port(), free_port(), free_port()
        program = "pubsub_server.py"

        async def subscribed() -> None:
            while len(await control.client_list("pubsub")) < 2:
                await asyncio.sleep(0.05)

        async with (
            broker(redis, tmp_path),
            server(redis, first, program),
            server(redis, second, program),
            Redis.from_url(f"redis://127.0.0.1:{redis}") as control,
        ):
            await subscribed()
            async with connect(url(first)) as ada, connect(url(second, name="Bob")) as bob:
                await ada.send("one")
                for websocket in (ada, bob):
                    assert await asyncio.wait_for(websocket.recv(), PATIENCE) == "Ada: one"
                # In one transaction, so that nobody subscribes again in between.
                async with control.pipeline(transaction=True) as transaction:
                    transaction.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                    transaction.publish("room:/rooms/tea", "Ada: two")
                    assert await transaction.execute() == [2, 0]
                await subscribed()
                await ada.send("three")
                for websocket in (ada, bob):
                    assert await asyncio.wait_for(websocket.recv(), PATIENCE) == "Ada: three"

    run(work())
