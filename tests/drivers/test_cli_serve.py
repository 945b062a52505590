"""`mintws serve`, and the page that it shows to browsers."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers.command import BOUND, MINTWS, posix, serving, talk
from drivers.conftest import listening, url

from mintws.asyncio import connect_http2
from mintws.cli import page
from mintws.cli.certificate import make_certificate
from mintws.events import Request


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_all_with_1001_and_exits_with_0(http: str, number: int) -> None:
    with serving() as (server, port):
        command = [*MINTWS, "connect", "--http", http, f"ws://127.0.0.1:{port}"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as client:
            assert client.stderr is not None
            client.stderr.readline()
            server.send_signal(number)
            assert server.wait(BOUND) == 0
            # The client's input is still open.
            assert client.wait(BOUND) == 0
            assert client.stderr.read() == b"mintws: closed with 1001\n"
        assert server.stderr is not None
        assert server.stderr.read() == "mintws: closing\n"


def test_what_cannot_be_served_exits_with_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for arguments in (["--port", str(taken.getsockname()[1])], ["--host", "256.0.0.1"]):
            command = [*MINTWS, "serve", *arguments]
            done = subprocess.run(command, capture_output=True, timeout=BOUND, check=False)
            assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, b"", 1), done.stderr


def test_a_certificate_or_key_that_cannot_be_used_is_named(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    empty, none, other, locked = (tmp_path / name for name in ("empty.pem", "none.pem", "other.pem", "locked.pem"))
    empty.touch()
    other.write_text(make_certificate()[1])
    head, _, rest = key.read_text().partition("\n")
    locked.write_text(f"{head}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{'0' * 32}\n\n{rest}")
    for arguments, why in (
        ([none], f"cannot read '{none}': No such file or directory"),
        ([cert, none], f"cannot read '{none}': No such file or directory"),
        ([""], "cannot read '': No such file or directory"),
        ([empty, key], f"'{empty}' has no certificate in PEM"),
        ([key, key], f"'{key}' has no certificate in PEM"),
        ([cert], f"'{cert}' has no private key in PEM: name the file that has it by --key"),
        ([cert, cert], f"'{cert}' has no private key in PEM"),
        ([cert, other], f"the key in '{other}' is not that of the certificate in '{cert}'"),
        ([cert, locked], f"the key in '{locked}' needs a pass phrase: write it without one, by `openssl pkey`"),
    ):
        options = [it for pair in zip(("--cert", "--key"), map(str, arguments), strict=False) for it in pair]
        command = [*MINTWS, "serve", "--port", "0", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"mintws: {why}\n")


def test_a_browser_gets_a_page(run: Callable[..., object]) -> None:
    async def work():
        async with listening(respond=page.respond_with_page(["chat"])) as server:
            async with connect_http2(url(server)) as client:
                response = await client.request("GET", "/")
                assert response.status == 200
                headers = dict(response.headers)
                assert headers["content-type"] == "text/html; charset=utf-8"
                assert "default-src 'none'" in headers["content-security-policy"]
                assert b'SUBPROTOCOLS = ["chat"];' in response.body
                assert (await client.request("POST", "/", body=b"x")).status == 405
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"Content-Length: %d" % len(response.body) in head
            assert body == b""
            writer.close()

    run(work())


@pytest.mark.parametrize("name", ["page.html", "chat.html"])
def test_the_page_loads_nothing_and_names_what_it_shows(name: str) -> None:
    text = page.respond_with_page([], name)(Request("GET", "/")).body.decode()
    assert re.findall(r"(?:src|href)=\"(?!data:)", text) == []
    assert "SUBPROTOCOLS = [];" in text
    labelled = set(re.findall(r'<label[^>]* for="(\w+)"', text))
    assert set(re.findall(r'<input id="(\w+)"', text)) <= labelled


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_page_says_why_a_browser_will_not_connect() -> None:
    text = page.respond_with_page(["chat"])(Request("GET", "/")).body.decode()
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[0]
    shown = """
      const nodes = {};
      const node = () => ({ dataset: {}, addEventListener() {}, append(line) { this.line = line.textContent; } });
      globalThis.document = { getElementById: id => nodes[id] ??= node(), createElement: node };
      globalThis.location = { href: "http://localhost:8765/" };
      globalThis.WebSocket = class { constructor(url, subprotocols) { throw new Error(`${url} ${subprotocols}`); } };
      (0, eval)(SCRIPT);
      console.log(nodes.state.textContent, nodes.state.dataset.state, nodes.toggle.textContent, nodes.log.line);
    """.replace("SCRIPT", json.dumps(script))
    done = subprocess.run(["node", "-e", shown], capture_output=True, text=True, timeout=BOUND, check=False)
    assert done.stdout == "cannot connect closed Connect cannot connect: ws://localhost:8765/ chat\n", done.stderr


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("spoken", ["auto", "1.1"])
def test_http_is_what_the_server_speaks(certificate: tuple[Path, Path], tls: bool, spoken: str) -> None:
    cert, key = certificate
    options = ["--cert", str(cert), "--key", str(key)] if tls else []
    trust = ["--cafile", str(cert)] if tls else []
    with serving(*options, "--http", spoken) as (_, port):
        address = f"{'wss' if tls else 'ws'}://localhost:{port}"
        for http, works in (("1.1", True), ("auto", True), ("2", spoken == "auto")):
            done = talk(address, *trust, "--http", http, lines=b"hello\n")
            assert (done.returncode, done.stdout) == ((0, b"hello\n") if works else (1, b"")), (http, done.stderr)


def test_a_version_that_cannot_be_served_alone_is_wrong_usage() -> None:
    command = [*MINTWS, "serve", "--http", "2"]
    done = subprocess.run(command, capture_output=True, timeout=BOUND, check=False)
    assert done.returncode == 2 and b"--http" in done.stderr


def test_a_number_alone_is_the_port() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([*MINTWS, "serve", "0"], stdout=pipe, text=True) as server:
        try:
            assert server.stdout is not None
            assert re.match(r"listening on ws://127\.0\.0\.1:(?!8765)[1-9]\d*/", server.stdout.readline())
        finally:
            server.kill()
