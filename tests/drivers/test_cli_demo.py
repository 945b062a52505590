"""`mintws demo`, and the certificate that it makes."""

from __future__ import annotations

import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers.command import BOUND, MINTWS, posix, shell
from drivers.conftest import listening

from mintws.asyncio import connect
from mintws.cli import demo, main


def test_the_demonstration_shows_that_every_byte_comes_back() -> None:
    done = subprocess.run([*MINTWS, "demo"], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert lines[-1] == "Every byte came back."
    assert max(map(len, lines)) <= 80
    rows = [cells for line in lines if len(cells := re.split(r" {2,}", line)) == 3]
    heads = [at for at, row in enumerate(rows) if row[0] == ""]
    opening, plain, deflate = (
        {row[0]: row[1:] for row in rows[at:end]} for at, end in zip(heads, [*heads[1:], None], strict=True)
    )
    assert opening["connections of TCP"] == opening["handshakes of TLS"] == ["100", "1"]
    for way in ("sent", "received"):
        http1, http2 = (int(it.replace(",", "")) for it in opening[f"bytes {way}, with TLS"])
        # A hundred requests, with their handshakes of TLS or with one.
        assert 100 * 200 < http2 * 5 < http1 * 5 if way == "sent" else http2 * 5 < http1
    assert opening.keys() >= {"first message after", "all have a message after"}
    for table in (plain, deflate):
        assert table[""] == ["HTTP/1.1", "HTTP/2"]
        assert table["connections of TCP and TLS"] == ["4", "1"]
        assert table["WebSockets"] == ["4", "4"]
        assert table["all came back"] == ["yes", "yes"]
        assert table["GET /readme beside them"][1].startswith("200, ")
    for table, least, most in ((plain, 1.0, 1.01), (deflate, 0.1, 0.8)):
        for at in (0, 1):
            payload, sent, received = (
                int(table[f"bytes {what}"][at].split()[0].replace(",", ""))
                for what in ("of messages", "sent", "received")
            )
            assert payload > 16 << 20
            assert payload * least < received < payload * most
            assert payload * least < sent < payload * most
    assert b"\x1b" not in done.stdout
    assert done.stderr == b""


@posix
@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.2, 0.3, 0.5, 0.8])
def test_the_demonstration_ends_quietly_at_any_moment(seconds: float) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([*MINTWS, "demo"], stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=BOUND)
        assert said == b""
        # A fast machine may be done by then.
        assert process.returncode == 130 or (process.returncode == 0 and seconds > 0.3)


@posix
def test_the_demonstration_ends_quietly_when_nobody_reads_it() -> None:
    done = shell("mintws demo | head -1")
    assert done.stdout.startswith(b"mintws ")
    assert done.stderr == b""


@pytest.mark.usefixtures("signals")
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


@pytest.mark.usefixtures("signals")
def test_the_demonstration_fails_if_the_server_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def leave(websocket):
        await websocket.recv()

    monkeypatch.setattr(demo, "echo", leave)
    assert main(["demo"]) == 1
    assert "failed: the peer closed with 1000" in capsys.readouterr().out


def test_the_demonstration_runs_without_the_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "a" / "b" / "c" / "demo.py"))
    name, text = demo.read_readme()
    assert name.startswith("the package's description")
    assert text.startswith(b"# mintws")


def test_the_demonstration_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert main(["demo"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "mintws: to make a certificate takes the package cryptography: install mintws[demo], or cryptography itself\n"
    )


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
