"""`mintws demo`, and the certificate that it makes."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers.command import MINTWS, posix, shell
from drivers.conftest import listening

from mintws.asyncio import connect
from mintws.cli import demo, main


def test_the_demonstration_shows_that_every_byte_comes_back() -> None:
    done = subprocess.run([*MINTWS, "demo"], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert lines[-1] == "Every byte came back."
    rows = [line.split() for line in lines if line.startswith("HTTP/")]
    assert [row[:3] for row in rows] == [
        ["HTTP/1.1", "1", "none"],
        ["HTTP/1.1", "1", "deflate"],
        ["HTTP/2", "4", "none"],
        ["HTTP/2", "4", "deflate"],
    ]
    for row in rows:
        payload, sent, received = (int(row[at].replace(",", "")) for at in (4, 5, 7))
        assert payload > 4 << 20
        if row[2] == "none":
            assert payload < received < sent < payload * 1.01
        else:
            assert 1000 < received < sent < payload * 0.8
    assert sum("beside them GET /readme: 200" in line for line in lines) == 2
    assert b"\x1b" not in done.stdout
    assert done.stderr == b""


@posix
def test_the_demonstration_ends_quietly_when_nobody_reads_it() -> None:
    done = shell("mintws demo | head -1")
    assert done.stdout.startswith(b"mintws ")
    assert done.stderr == b""


def test_the_demonstration_fails_if_a_byte_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def wrong(websocket):
        async for message in websocket:
            await websocket.send(message if len(message) != 65536 else message[:-1] + message[:1])

    monkeypatch.setattr(demo, "echo", wrong)
    monkeypatch.setattr(demo, "SIZES", (1, 65536))
    assert main(["demo"]) == 1
    assert "Not every byte came back." in capsys.readouterr().out


def test_the_demonstration_fails_if_the_server_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def leave(websocket):
        await websocket.recv()

    monkeypatch.setattr(demo, "echo", leave)
    assert main(["demo"]) == 1
    assert "failed: the WebSocket is closed with 1000" in capsys.readouterr().out


def test_the_demonstration_runs_without_the_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "a" / "b" / "c" / "demo.py"))
    name, text = demo.read_readme()
    assert name.startswith("the package's description")
    assert text.startswith(b"# mintws")


def test_a_certificate_made_here_is_good_under_the_strictest_rules(run: Callable[..., object]) -> None:
    async def work():
        trusted, context = demo.make_tls()
        client = ssl.create_default_context(cadata=trusted)
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        async with listening(ssl=context) as server:
            for host in ("localhost", "127.0.0.1"):
                address = f"wss://{host}:{server.port}"
                async with connect(address, host="127.0.0.1", ssl=client) as websocket:
                    assert websocket.http_version == "2"

    run(work())
