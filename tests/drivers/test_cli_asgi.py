"""`mintws asgi`: an application in a process of its own, by its name."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from drivers.command import BOUND, MINTWS, posix, talk

APPLICATION = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for _ in range(2):
            kind = (await receive())["type"]
            print(kind, flush=True)
            await send({"type": kind + ".complete"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": " ".join([scope["scheme"], scope["http_version"], scope["path"]])})
    while (await receive())["type"] == "websocket.receive":
        pass

class Holder:
    class inner:
        app = app

async def cannot_start(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})

async def cannot_stop(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "no disk"})

async def starts_slowly(scope, receive, send):
    print("starting", flush=True)
    await asyncio.sleep(60)

async def never_stops(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("stopping", flush=True)
    await asyncio.sleep(60)

number = 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with modules of applications."""
    (tmp_path / "served.py").write_text(APPLICATION, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import served\n1 / 0\n", encoding="utf-8")
    (tmp_path / "lacking.py").write_text("import no_such_module\n", encoding="utf-8")
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "served.py").write_text("from served import app\n", encoding="utf-8")
    return tmp_path


@contextlib.contextmanager
def process(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [*MINTWS, "asgi", *arguments, "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=folder) as running:
        try:
            yield running
        finally:
            running.kill()


def line(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


def port_of(said: str) -> int:
    listens = re.fullmatch(r"listening on https?://127\.0\.0\.1:(\d+)/, for \S+", said)
    assert listens is not None, said
    return int(listens[1])


def failing(folder: Path, *arguments: str) -> tuple[int, str]:
    """Give the exit code and what is said on standard error."""
    command = [*MINTWS, "asgi", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=False, cwd=folder)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("spoken", ["auto", "1.1"])
def test_it_serves_what_the_arguments_say(folder: Path, certificate: tuple[Path, Path], tls: bool, spoken: str) -> None:
    cert, key = certificate
    options = ["--cert", str(cert), "--key", str(key)] if tls else []
    trust = ["--cafile", str(cert)] if tls else []
    with process(folder, "served:app", "--http", spoken, "--root-path", "/api", *options) as running:
        assert line(running) == "lifespan.startup"
        port = port_of(line(running))
        scheme = "wss" if tls else "ws"
        for http, works in (("1.1", True), ("2", spoken == "auto")):
            done = talk(f"{scheme}://localhost:{port}/room", *trust, "--http", http, wait="1")
            expected = f"{scheme} {http} /api/room\n".encode()
            assert (done.returncode, done.stdout) == ((0, expected) if works else (1, b"")), done.stderr


def test_it_serves_behind_a_proxy_that_it_trusts(folder: Path) -> None:
    options = ("--trusted-proxies", "192.0.2.0/24", "--trusted-proxies", "127.0.0.1", "--forwarded-header", "Forwarded")
    with process(folder, "served:app", *options) as running:
        assert line(running) == "lifespan.startup"
        port = port_of(line(running))
        done = talk(f"ws://localhost:{port}/", "-H", "Forwarded: for=192.0.2.1;proto=https", "--http", "1.1", wait="1")
        assert done.stdout == b"wss 1.1 /\n", done.stderr
    assert failing(folder, "served:app", "--trusted-proxies", "no.address")[0] == 2
    code, said = failing(folder, "served:app", "--forwarded-header", "X-Real-IP")
    assert code == 2 and "forwarded_header is X-Forwarded-For or Forwarded" in said


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_all_with_1012_and_then_stops_the_application(folder: Path, http: str, number: int) -> None:
    with process(folder, "served:app") as running:
        line(running)
        command = [*MINTWS, "connect", "--http", http, f"ws://127.0.0.1:{port_of(line(running))}"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as client:
            assert client.stdout is not None and client.stderr is not None
            client.stdout.readline()
            running.send_signal(number)
            assert running.wait(BOUND) == 0
            client.wait(BOUND)
            assert b"closed with 1012" in client.stderr.read()
        assert line(running) == "lifespan.shutdown"
        assert running.stderr is not None
        assert running.stderr.read() == "mintws: closing\n"


@pytest.mark.parametrize("name", ["served:Holder.inner.app", "package.served:app"])
def test_an_application_may_be_an_attribute_or_in_a_package(folder: Path, name: str) -> None:
    with process(folder, name) as running:
        assert line(running) == "lifespan.startup"
        assert line(running).endswith(f"/, for {name}")


def test_the_folder_of_the_module_may_be_another_one(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with process(tmp_path_factory.mktemp("elsewhere"), "served:app", "--app-dir", str(folder)) as running:
        assert line(running) == "lifespan.startup"


def test_what_cannot_be_served_is_told_and_exits_with_1(folder: Path, certificate: tuple[Path, Path]) -> None:
    where = repr(os.path.realpath(folder))
    for arguments, why in (
        (["served:cannot_start"], "no database"),
        (["served:cannot_start", "--cert", "none.pem"], "cannot read 'none.pem': No such file or directory"),
        (["served:lacks"], "served has no lacks"),
        (["served:number"], "served:number is no application: it cannot be called"),
        (["missing:app"], f"there is no module missing in {where} or among what is installed"),
        (["package.missing:app"], f"there is no module package.missing in {where} or among what is installed"),
        (["served:app", "--host", "256.0.0.1", "--lifespan", "off"], "cannot listen: "),
    ):
        code, said = failing(folder, *arguments)
        assert (code, len(said.splitlines())) == (1, 1), said
        assert said.startswith(f"mintws: {why}")


@pytest.mark.parametrize(
    ("name", "error"), [("broken", "ZeroDivisionError"), ("lacking", "ModuleNotFoundError: No module named 'no_such")]
)
def test_a_module_that_raises_is_told_of_with_its_traceback(folder: Path, name: str, error: str) -> None:
    code, said = failing(folder, f"{name}:app")
    assert code == 1
    assert f"{name}.py" in said and error in said
    assert said.splitlines()[-1] == f"mintws: cannot import {name}"


@pytest.mark.parametrize("path", ["api", "/api/"])
def test_a_root_path_that_is_none_is_wrong_usage(folder: Path, path: str) -> None:
    code, said = failing(folder, "served:app", "--root-path", path)
    assert code == 2
    assert said.splitlines()[-1].startswith("mintws asgi: error: root_path begins with a slash")


def test_a_lifespan_that_must_be_there_is_missed_with_the_traceback(folder: Path) -> None:
    (folder / "none.py").write_text("async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n")
    code, said = failing(folder, "none:app", "--lifespan", "on")
    assert code == 1
    assert "AssertionError" in said
    assert said.splitlines()[-1] == "mintws: the application ended instead of starting"


@posix
def test_one_that_has_not_stopped_properly_exits_with_1(folder: Path) -> None:
    with process(folder, "served:cannot_stop") as running:
        line(running)
        running.send_signal(signal.SIGTERM)
        assert running.wait(BOUND) == 1
        assert running.stderr is not None
        assert running.stderr.read() == "mintws: closing\nmintws: no disk\n"


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_start_of_an_application(folder: Path, number: int, code: int) -> None:
    with process(folder, "served:starts_slowly") as running:
        assert line(running) == "starting"
        running.send_signal(number)
        assert running.wait(BOUND) == code


@posix
def test_the_second_signal_ends_an_application_that_does_not_stop(folder: Path) -> None:
    with process(folder, "served:never_stops") as running:
        port_of(line(running))
        running.send_signal(signal.SIGTERM)
        assert line(running) == "stopping"
        running.send_signal(signal.SIGTERM)
        assert running.wait(BOUND) == 143
