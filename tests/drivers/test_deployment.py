"""The programs of docs/deployment.md, run as they stand there: restarts, inherited sockets, several processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mintws import ConnectError, ConnectionClosed
from mintws.asyncio import connect, connect_http2

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="it is about POSIX")

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
BOUND = 20.0

#: Does what systemd does before it runs a program: hands the sockets on from descriptor 3.
LAUNCHER = """
import os, sys
count, *command = sys.argv[1:]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=count)
os.execv(sys.executable, [sys.executable, *command])
"""


def program(name: str, folder: Path) -> str:
    """Write a program of the page, which drains for half a second; give its path."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    [code] = [block for block in blocks if block.startswith(f'"""{name}:')]
    assert "DRAIN = 5.0\n" in code
    path = folder / name
    path.write_text(code.replace("DRAIN = 5.0\n", "DRAIN = 0.5\n"), encoding="utf-8")
    return str(path)


@contextlib.contextmanager
def running(*command: str, sockets: list[socket.socket] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    if sockets is None:
        process = subprocess.Popen([sys.executable, "-W", "error", *command])
    else:
        first = 3
        # Descriptors keep their numbers only if these are above those that they are to have.
        copies = [os.dup(it.fileno()) for it in sockets]
        script = f"import os\nfor i, it in enumerate({copies}): os.dup2(it, {first} + i)\n{LAUNCHER}"
        arguments = [sys.executable, "-c", script, str(len(sockets)), "-W", "error", *command]
        process = subprocess.Popen(arguments, pass_fds=copies)
        for it in copies:
            os.close(it)
    try:
        yield process
    finally:
        process.kill()
        process.wait(BOUND)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def opened(port: int, **how):
    """Connect as soon as the program listens."""
    end = time.monotonic() + BOUND
    while True:
        try:
            return await connect(f"ws://127.0.0.1:{port}/", **how)
        except (ConnectError, OSError):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


async def ended(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(process.wait, BOUND)


@pytest.mark.parametrize("name", ["server.py", "server_trio.py", "server_threads.py"])
def test_sigterm_drains_and_the_process_exits_with_0(run, tmp_path, name):
    async def work():
        port = free_port()
        with running(program(name, tmp_path), str(port)) as process:
            quick, stays = await opened(port, http="1.1"), await opened(port, http="1.1")
            async with connect_http2(f"ws://127.0.0.1:{port}/") as client:
                stream = await client.open()
                process.send_signal(signal.SIGTERM)
                # No new connection is taken.
                while True:
                    try:
                        await (await connect(f"ws://127.0.0.1:{port}/")).close()
                    except (ConnectError, OSError):
                        break
                # What is open goes on, and may come to its own end.
                for websocket in (quick, stays, stream):
                    await websocket.send("x")
                    assert await websocket.recv() == "x"
                await quick.close()
                # GOAWAY has come before the end: nothing more is opened on the connection.
                with pytest.raises(ConnectError):
                    await client.open()
                for websocket in (stays, stream):
                    with pytest.raises(ConnectionClosed, match="1001: the server restarts"):
                        await websocket.recv()
            assert await ended(process) == 0

    run(work())


@pytest.mark.parametrize("name", ["server.py", "server_trio.py", "server_threads.py"])
def test_a_restart_with_inherited_sockets_refuses_nobody(run, tmp_path, name):
    async def work():
        path = str(tmp_path / "socket")
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path)
            unix.listen()
            port = tcp.getsockname()[1]
            script = program(name, tmp_path)
            with running(script, "0", sockets=[tcp, unix]) as process:
                async with await connect("ws://localhost/", path=path) as websocket:
                    await websocket.send("x")
                    assert await websocket.recv() == "x"
                process.send_signal(signal.SIGTERM)
                assert await ended(process) == 0
            # Nobody accepts now.
            waiting = asyncio.ensure_future(opened(port))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            with running(script, "0", sockets=[tcp, unix]) as process:
                websocket = await waiting
                await websocket.send("y")
                assert await websocket.recv() == "y"
                await websocket.close()
                process.send_signal(signal.SIGTERM)
                assert await ended(process) == 0

    run(work())


def test_workers_share_a_socket_and_end_together(run, tmp_path):
    async def work():
        port = free_port()
        with running(program("workers.py", tmp_path), str(port), "2") as process:
            found: dict[str, object] = {}
            while len(found) < 2:
                websocket = await opened(port)
                found[await websocket.recv()] = websocket
            process.send_signal(signal.SIGTERM)
            for websocket in found.values():
                await websocket.wait_closed()
                assert websocket.close_code == 1001
            assert await ended(process) == 0

    run(work())
