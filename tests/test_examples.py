"""Each program of examples/ does what its first line says, as a user starts it."""

from __future__ import annotations

import asyncio
import contextlib
import filecmp
import json
import os
import random
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mintws import Binary, ConnectionClosed, UpgradeAccept, UpgradeError, UpgradeReject
from mintws.asyncio import connect, connect_http2, serve

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


@contextlib.asynccontextmanager
async def started(*words: str, ends: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program, end it by Ctrl-C, unless it ends by itself, and see that it says nothing of that."""
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
        if ends:
            return
        program.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(program.communicate(), 20)
        # Before Python 3.11 asyncio has Ctrl-C raise in whatever runs just then, which may be a task of the server.
        assert b"Traceback" not in said or sys.version_info < (3, 11), said.decode()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()


async def line(program: asyncio.subprocess.Process) -> str:
    assert program.stdout is not None
    return (await asyncio.wait_for(program.stdout.readline(), 20)).decode().strip()


def run(work):
    asyncio.run(asyncio.wait_for(work, 120))


def test_the_page_names_all_examples_and_no_other() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in EXAMPLES.glob("*.py") if f"| [{path.name}]({path.name}) |" in text} == {
        path.name for path in EXAMPLES.glob("*.py")
    }


def peak(program: asyncio.subprocess.Process) -> int:
    """The most memory that a program has had, in MiB."""
    return memory(Path(f"/proc/{program.pid}/status").read_text())


def memory(status: str) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) // 1024


#: Programs that serve, and the words before the port.
SERVERS = [
    ["chat.py"],
    ["exchange.py"],
    ["processor.py"],
    ["proxy.py", "ws://localhost"],
    ["sql.py"],
    ["threads.py"],
    ["transfer.py", "serve", ".", "--port"],
    ["several_machines/chat_server.py", "--port"],
    ["several_machines/pubsub_server.py", "--port"],
]
#: Programs with wrong arguments.
WRONG = [
    *(
        ["feeds.py"],
        ["feeds.py", "localhost"],
        ["feeds.py", "ws://localhost:99999"],
        ["market_data.py", "ws://", "MINT"],
    ),
    *(["transfer.py", "get", "none", "localhost"], ["transfer.py", "put", "README.md", "ws://localhost:99999"]),
    *(["transfer.py", "serve", "none"], ["proxy.py", "localhost"], ["processor.py", "0", "--processes", "0"]),
    *(["several_machines/chat_client.py", "localhost"], ["several_machines/crowd.py", "--clients", "0"]),
    *([f"several_machines/{name}_server.py", "--redis", "tea", "--port", "0"] for name in ("chat", "pubsub")),
]


async def fails(*words: str) -> str:
    """Run a program that cannot do what it is asked for; return what it says of that."""
    command = [sys.executable, f"examples/{words[0]}", *words[1:]]
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    program = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=nothing, stderr=pipe, cwd=ROOT)
    try:
        assert program.stderr is not None
        said = (await asyncio.wait_for(program.stderr.read(), 20)).decode()
        assert await asyncio.wait_for(program.wait(), 20) > 0
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert said.strip()
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("words", SERVERS, ids=[it[0] for it in SERVERS])
def test_a_port_that_cannot_be_had_is_told_without_a_traceback(words: list[str]) -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            for port in ("99999", "tea", str(taken.getsockname()[1])):
                await fails(*words, port)

    run(work())


@pytest.mark.parametrize("words", WRONG, ids=[" ".join(it) for it in WRONG])
def test_a_wrong_argument_is_told_without_a_traceback(words: list[str]) -> None:
    run(fails(*words))


@pytest.mark.parametrize("words", [["feeds.py"], ["transfer.py", "put", "README.md"], ["transfer.py", "get", "none"]])
def test_that_nobody_listens_is_told_without_a_traceback(words: list[str]) -> None:
    async def work() -> None:
        # It is bound and does not listen, so that nobody else does.
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            assert "cannot connect" in await fails(*words, f"ws://127.0.0.1:{silent.getsockname()[1]}")

    run(work())


def test_the_chat_client_takes_a_file_as_its_input(tmp_path: Path) -> None:
    typed = tmp_path / "typed"
    typed.write_text("one\ntwo\n")
    said = []

    async def handler(websocket) -> None:
        await websocket.recv()
        async for message in websocket:
            asked = json.loads(message)
            said.append(asked["text"])
            await websocket.send(json.dumps({"key": asked["key"], "id": str(len(said))}))

    async def work() -> None:
        async with serve(handler, "127.0.0.1", 0) as server:
            for path, text in ((typed, ["one", "two"]), (Path(os.devnull), [])):
                said.clear()
                command = [sys.executable, "examples/several_machines/chat_client.py", f"ws://127.0.0.1:{server.port}"]
                pipe = asyncio.subprocess.PIPE
                with path.open("rb") as file:
                    program = await asyncio.create_subprocess_exec(*command, stdin=file, stderr=pipe, cwd=ROOT)
                _, errors = await asyncio.wait_for(program.communicate(), 20)
                assert (program.returncode, said) == (0, text), errors.decode()
                assert b"Traceback" not in errors

    run(work())


def test_the_chat_tells_all_in_a_room_what_one_says() -> None:
    async def hear(websocket, text: str) -> None:
        while (await asyncio.wait_for(websocket.recv(), 20)) != text:
            pass

    async def work() -> None:
        async with started("examples/chat.py", "0") as program:
            page = await line(program)
            body = await asyncio.to_thread(lambda: urllib.request.urlopen(page, timeout=20).read())
            assert b"new WebSocket" in body
            tea = page.replace("http", "ws", 1)
            mint = tea.removesuffix("tea") + "mint"
            async with (
                connect(f"{tea}?name=Ada") as ada,
                connect_http2(tea) as client,
                connect(f"{mint}?name=Ada") as other,
            ):
                async with await client.open("/tea?name=Bob") as bob:
                    for websocket in (ada, bob):
                        await hear(websocket, "* Bob is here: Ada, Bob")
                    for query, status in (("?name=Bob", 409), ("", 400), (f"?name={'x' * 31}", 400)):
                        with pytest.raises(UpgradeError) as refused:
                            await connect(tea + query)
                        assert refused.value.status == status
                    await bob.send("hello")
                    await hear(ada, "Bob: hello")
                    await hear(bob, "Bob: hello")
                await hear(ada, "* Bob has left")
                await other.send("alone")
                assert [await other.recv(), await other.recv()] == ["* Ada is here: Ada", "Ada: alone"]

    run(work())


def test_market_data_comes_back_and_mends_gaps() -> None:
    asked, connections = [], 0
    whole = {"bids": [[99, 1]], "asks": [[101, 1]]}
    changes = iter(
        [
            {"type": "update", "sequence": 5, "side": "bids", "price": 1, "size": 1},  # older than the snapshot
            {"type": "snapshot", "sequence": 6, **whole},
            {"type": "update", "sequence": 6, "side": "bids", "price": 100, "size": 9},  # within the snapshot
            {"type": "update", "sequence": 7, "side": "bids", "price": 100, "size": 2},
            {"type": "update", "sequence": 8, "side": "asks", "price": 101, "size": 0},
            {"type": "update", "sequence": 9, "side": "asks", "price": 102, "size": 3},
            None,
            {"type": "update", "sequence": 11, "side": "bids", "price": 100, "size": 7},  # 10 is lost
            {"type": "update", "sequence": 12, "side": "bids", "price": 100, "size": 8},
            {"type": "snapshot", "sequence": 13, **whole},
            None,
        ]
    )

    async def handler(websocket) -> None:
        nonlocal connections
        connections += 1
        asked.append(json.loads(await websocket.recv()))
        if connections == 1:
            for change in changes:
                if change is None:
                    await proceed.get()
                else:
                    await websocket.send(json.dumps({"symbol": "MINT", **change}))
            asked.extend([json.loads(await websocket.recv()), json.loads(await websocket.recv())])
            await websocket.close(1012)
        else:
            await websocket.send(json.dumps({"symbol": "MINT", "type": "snapshot", "sequence": 2, **whole}))
            await proceed.get()
            await websocket.close(4401, "pay first")

    async def work() -> None:
        nonlocal proceed
        proceed = asyncio.Queue()
        async with serve(handler, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.port}/"
            words = ["examples/market_data.py", url, "MINT", "--every", "0.05"]
            async with started(*words, ends=True) as program:
                for expected in (
                    "MINT #9 bid 100 x 2 ask 102 x 3",
                    "MINT #13 bid 99 x 1 ask 101 x 1",
                    "MINT #2 bid 99 x 1 ask 101 x 1",
                ):
                    while await line(program) != expected:
                        pass
                    proceed.put_nowait(None)
                _, said = await asyncio.wait_for(program.communicate(), 20)
                assert program.returncode == 1
                for text in ("connected to", "MINT: a gap before #11", "1012", "4401: pay first"):
                    assert text in said.decode()
        subscribe = {"op": "subscribe", "symbols": ["MINT"]}
        assert asked == [subscribe, {"op": "unsubscribe", "symbols": ["MINT"]}, subscribe, subscribe]

    proceed: asyncio.Queue[None]
    run(work())


def test_the_exchange_loses_updates_and_restarts_and_is_followed() -> None:
    async def work() -> None:
        async with started("examples/exchange.py", "0", "--lose", "0.1", "--restart", "1") as exchange:
            url = await line(exchange)
            async with started("examples/market_data.py", url, "MINT", "SAGE", "--every", "0.1") as program:
                assert program.stderr is not None
                said = ""
                while said.count("connected to") < 2 or "MINT: a gap" not in said or "SAGE: a gap" not in said:
                    said += (await asyncio.wait_for(program.stderr.readline(), 20)).decode()
                books = {(await line(program)).split()[0] for _ in range(4)}
                assert books == {"MINT", "SAGE"}
            async with connect(url) as websocket:
                await websocket.send(json.dumps({"op": "subscribe", "symbols": ["NONE"]}))
                with pytest.raises(ConnectionClosed, match="4404: there is no NONE"):
                    await websocket.recv()
            async with connect(url) as websocket:
                await websocket.send("what?")
                with pytest.raises(ConnectionClosed, match="4400"):
                    await websocket.recv()

    run(work())


@contextlib.asynccontextmanager
async def proxied(handler, back: str, **how) -> AsyncIterator[tuple[str, asyncio.subprocess.Process, Any]]:
    async with serve(handler, "127.0.0.1", 0, **how) as server:
        async with started("examples/proxy.py", f"ws://127.0.0.1:{server.port}", "0", "--http", back) as program:
            yield await line(program), program, server


@pytest.mark.parametrize("back", ["1.1", "2"])
@pytest.mark.parametrize("front", ["1.1", "2"])
def test_the_proxy_passes_handshakes_messages_and_closes(front: str, back: str) -> None:
    ends: asyncio.Queue[tuple[int | None, str | None]]

    async def handler(websocket) -> None:
        if websocket.request.target == "/vanish":
            websocket.transport.abort()
        elif websocket.request.target == "/close":
            await websocket.close(4000, "closed on Mondays")
        async for message in websocket:
            await websocket.send(message)

    async def watched(websocket) -> None:
        try:
            await handler(websocket)
        except ConnectionClosed:
            pass
        await ends.put((websocket.close_code, websocket.close_reason))

    def upgrade(connection, request):
        assert connection.carrier.http_version == back
        if "authorization" not in request.headers:
            return UpgradeReject(401, headers={"WWW-Authenticate": "Bearer"}, body=b"who are you?\n")
        assert request.headers["x-forwarded-for"] == "127.0.0.1" or "::1" in request.headers["x-forwarded-for"]
        assert request.host.startswith("localhost:")
        assert request.headers["origin"] == f"http://{request.host}"
        assert request.cookies == {"id": "1"}
        assert request.headers["user-agent"] == "proxied"
        return UpgradeAccept(headers={"Set-Cookie": "seen=1"})

    async def work() -> None:
        nonlocal ends
        ends = asyncio.Queue()
        async with proxied(watched, back, upgrade=upgrade, subprotocols=["tea.example"]) as (url, _, server):
            headers = {"Authorization": "Bearer mint", "Cookie": "id=1", "User-Agent": "proxied"}
            how: Any = {"http": front, "headers": headers, "origin": url.replace("ws", "http", 1).rstrip("/")}
            with pytest.raises(UpgradeError) as refused:
                await connect(url, http=front)
            assert (refused.value.status, refused.value.body) == (401, b"who are you?\n")
            assert refused.value.headers["WWW-Authenticate"] == "Bearer"
            async with connect(url + "a?b=c", subprotocols=["x", "tea.example"], **how) as websocket:
                assert websocket.http_version == front
                assert websocket.subprotocol == "tea.example"
                assert websocket.response.headers["Set-Cookie"] == "seen=1"
                for message in ("hello", b"", "ä" * 100_000, b"b" * 1_000_000):
                    await websocket.send([message[:5], message[5:]])
                    assert await asyncio.wait_for(websocket.recv(), 20) == message
                await websocket.close(4321, "enough")
            assert await asyncio.wait_for(ends.get(), 20) == (4321, "enough")
            for target, code, reason in (("close", 4000, "closed on Mondays"), ("vanish", 1014, "")):
                async with connect(url + target, **how) as websocket:
                    await websocket.wait_closed()
                    assert (websocket.close_code, websocket.close_reason) == (code, reason)
                await asyncio.wait_for(ends.get(), 20)
            websocket = await connect(url, **how)
            await websocket.close(None)
            assert await asyncio.wait_for(ends.get(), 20) == (1005, "")
            websocket = await connect(url, **how)
            websocket.transport.abort()
            assert await asyncio.wait_for(ends.get(), 20) == (1001, "")
            await server.close()
            with pytest.raises(UpgradeError) as refused:
                await connect(url, **how)
            assert refused.value.status == 502

    run(work())


@pytest.mark.parametrize(("front", "back"), [("1.1", "2"), ("2", "1.1")])
def test_the_proxy_passes_back_pressure_on(front: str, back: str) -> None:
    piece = random.Random(7).randbytes(100_000)
    go: asyncio.Event

    async def fill(websocket) -> int:
        """Send until the other end takes no more; return how many messages there were."""
        for count in range(1, 2000):
            try:
                await asyncio.wait_for(websocket.send(piece), 1)
            except asyncio.TimeoutError:
                return count
        raise AssertionError("200 MB went where nobody took anything")

    async def handler(websocket) -> None:
        if websocket.request.target == "/up":
            await go.wait()
            count = 0
            async for message in websocket:
                if message == "end":
                    await websocket.send(str(count))
                else:
                    assert message == piece
                    count += 1
        else:
            count = await fill(websocket)
            go.set()
            await websocket.send(str(count))

    async def work() -> None:
        nonlocal go
        async with proxied(handler, back, extensions=()) as (url, program, _):
            go = asyncio.Event()
            async with connect(url + "up", http=front, extensions=()) as websocket:
                count = await fill(websocket)
                go.set()
                await asyncio.wait_for(websocket.send("end"), 20)
                assert int(await asyncio.wait_for(websocket.recv(), 20)) == count
            go = asyncio.Event()
            async with connect(url + "down", http=front, extensions=()) as websocket:
                await asyncio.wait_for(go.wait(), 40)
                count = 0
                while isinstance(message := await asyncio.wait_for(websocket.recv(), 20), bytes):
                    assert message == piece
                    count += 1
                assert int(message) == count
            assert peak(program) < 100

    run(work())


def test_the_proxy_keeps_nothing_open_for_a_client_that_has_left() -> None:
    async def work() -> None:
        begun, go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def upgrade(connection, request) -> None:
            begun.set()
            await go.wait()

        async def handler(websocket) -> None:
            await websocket.wait_closed()
            ended.set()

        async with proxied(handler, "1.1", upgrade=upgrade) as (url, _, server):
            opening = asyncio.ensure_future(asyncio.wait_for(connect(url), 20))
            await asyncio.wait_for(begun.wait(), 20)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await asyncio.sleep(0.2)
            go.set()
            await asyncio.wait_for(ended.wait(), 20)

    run(work())


#: Runs a program and prints what the system says of it at its end.
MEASURED = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__'); print(open('/proc/self/status').read())"


@pytest.mark.parametrize(
    ("http", "size"),
    [("1.1", 100), ("2", 100), *(pytest.param(it, 500, marks=pytest.mark.slow) for it in ("1.1", "2"))],
)
def test_files_of_any_size_are_transferred_in_little_memory(http: str, size: int, tmp_path: Path) -> None:
    folder, original, copy = tmp_path / "served", tmp_path / "file", tmp_path / "copy" / "file"
    folder.mkdir()
    copy.parent.mkdir()
    block = random.Random(7).randbytes(1_000_000)
    with original.open("wb") as file:
        for number in range(size):
            file.write(block[number:] + block[:number])

    async def transfer(operation: str, path: Path, url: str) -> None:
        words = [sys.executable, "-c", MEASURED, "examples/transfer.py", operation, str(path), url, "--http", http]
        program = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
        said, _ = await asyncio.wait_for(program.communicate(), 60)
        assert program.returncode == 0
        assert said.decode().startswith(f"{size}.0 MB in ")
        assert f"over HTTP/{http}" in said.decode()
        assert memory(said.decode()) < 50 * 1_000_000 // 2**20

    async def work() -> None:
        async with started("examples/transfer.py", "serve", str(folder), "--port", "0") as program:
            url = await line(program)
            await transfer("put", original, url)
            await transfer("get", copy, url)
            assert peak(program) < 50 * 1_000_000 // 2**20

    run(work())
    for path in (folder / "file", copy):
        assert filecmp.cmp(path, original, shallow=False)
        path.unlink()


def test_a_transfer_that_fails_leaves_no_file(tmp_path: Path) -> None:
    folder, empty = tmp_path / "served", tmp_path / "empty"
    folder.mkdir()
    empty.touch()

    async def transfer(*words: str) -> tuple[int | None, str]:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "examples/transfer.py", *words, stderr=asyncio.subprocess.PIPE, cwd=ROOT
        )
        _, said = await asyncio.wait_for(program.communicate(), 20)
        return program.returncode, said.decode()

    async def work() -> None:
        async with started("examples/transfer.py", "serve", str(folder), "--port", "0") as program:
            url = await line(program)
            assert await transfer("put", str(empty), url) == (0, "")
            assert (folder / "empty").read_bytes() == b""
            for words, why in (
                (("put", str(empty)), "409 Conflict"),
                (("get", str(empty)), "there is a file"),
                (("get", str(tmp_path / "none")), "404 Not Found"),
            ):
                code, said = await transfer(*words, url)
                assert code == 1
                assert why in said
            websocket = await connect(f"{url}/put/half")
            await websocket.send(Binary(b"half", fin=False))
            await websocket.ping()
            websocket.transport.abort()
            async with connect(f"{url}/put/text") as websocket:
                await websocket.send("text")
                await websocket.wait_closed()
                assert websocket.close_code == 1003
            while {path.name for path in folder.iterdir()} != {"empty"}:
                await asyncio.sleep(0.05)

    run(work())


def test_the_processor_answers_in_order_and_to_pings_meanwhile() -> None:
    # Primes that take a second or so, and what the fourth process has done long before them.
    questions = [*["99999999999973"] * 3, *map(str, range(12, 22))]

    async def work() -> None:
        async with started("examples/processor.py", "0") as program:
            url = await line(program)
            async with connect(url) as websocket, connect(url, http="2") as other:
                for question in questions:
                    await websocket.send(question)
                await asyncio.wait_for(websocket.ping(), 20)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(websocket.recv(), 0.1)
                await other.send("15")
                assert await asyncio.wait_for(other.recv(), 40) == "3 5"
                for question in questions:
                    answer = await asyncio.wait_for(websocket.recv(), 40)
                    product = 1
                    for factor in answer.split():
                        product *= int(factor)
                    assert product == int(question)
                for question, answer in (
                    ("tea", "that is no number"),
                    (b"12", "that is no number"),
                    ("1", "a number is"),
                ):
                    await other.send(question)
                    assert (await asyncio.wait_for(other.recv(), 20)).startswith(answer)

    run(work())


def test_the_processor_outlives_its_processes_and_takes_no_more_than_it_can_do() -> None:
    async def work() -> None:
        async with started("examples/processor.py", "0", "--processes", "2") as program:
            url = await line(program)
            async with connect(url) as websocket:
                await websocket.send("15")
                assert await asyncio.wait_for(websocket.recv(), 20) == "3 5"
                await websocket.send("99999999999973")  # a prime, which takes a while
                children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
                workers = [it for it in children if b"spawn_main" in Path(f"/proc/{it}/cmdline").read_bytes()]
                assert workers
                for worker in workers:
                    os.kill(int(worker), signal.SIGKILL)
                assert await asyncio.wait_for(websocket.recv(), 40) == "99999999999973"
            websocket = await connect(url, extensions=())
            for _ in range(100_000):
                try:
                    await asyncio.wait_for(websocket.send("999999999989".rjust(1000)), 1)
                except asyncio.TimeoutError:
                    break
            else:
                raise AssertionError("100 MB of work were taken at once")
            assert peak(program) < 100
            websocket.transport.abort()

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
            async with started("examples/feeds.py", *urls, ends=True) as program:
                heard = [await line(program), await line(program)]
                assert sorted(heard) == [f"{url}: 'news of /{url.rpartition('/')[2]}'" for url in urls]
                [short] = [it for it in server.websockets if it.request.target == "/short"]
                await short.close(4000, "enough")
                assert program.stderr is not None
                assert b"the peer closed with 4000: enough" in await asyncio.wait_for(program.stderr.readline(), 20)
                await asyncio.wait_for(program.wait(), 20)

    run(work())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_feeds_end_at_a_signal(number: signal.Signals) -> None:
    async def handler(websocket):
        await websocket.send("news")
        await websocket.wait_closed()

    async def work() -> None:
        async with serve(handler, "127.0.0.1", 0) as server:
            urls = [f"ws://127.0.0.1:{server.port}/{name}" for name in ("one", "other")]
            async with started("examples/feeds.py", *urls, ends=True) as program:
                assert [await line(program), await line(program)]
                program.send_signal(number)
                _, said = await asyncio.wait_for(program.communicate(), 20)
                assert (program.returncode, said) == (0, b"")

    run(work())


def test_one_connection_carries_them_all() -> None:
    async def work() -> None:
        async with started("examples/one_connection.py", ends=True) as program:
            assert await line(program) == "lengths: " + " ".join(map(str, range(20)))
            assert await line(program) == "pages: " + " ".join(f"/page/{number}" for number in range(20))
            await asyncio.wait_for(program.wait(), 20)

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
