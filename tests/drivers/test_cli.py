"""`python -m mintws`: real processes, signals, pipes and terminals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from drivers.conftest import listening, url

from mintws.asyncio import connect, connect_http2
from mintws.cli import demo, main, page
from mintws.cli.certificate import make_certificate
from mintws.events import Request

MINTWS = [sys.executable, "-m", "mintws"]
BOUND = 20.0

posix = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX")


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `mintws serve` on a free port; give the process and the port."""
    command = [*MINTWS, "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            listens = re.match(r"listening on wss?://127\.0\.0\.1:(\d+)/", process.stdout.readline())
            assert listens is not None
            yield process, int(listens[1])
        finally:
            process.kill()


def talk(*arguments: str, lines: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `mintws connect` with lines as its piped input."""
    return subprocess.run(
        [*MINTWS, "connect", *arguments], input=lines, capture_output=True, timeout=BOUND, check=False
    )


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path, pem in zip((cert, key), make_certificate(), strict=True):
        path.write_text(pem, encoding="ascii")
    return cert, key


def test_lines_go_out_and_messages_come_back(http: str) -> None:
    with serving() as (_, port):
        done = talk(
            f"ws://127.0.0.1:{port}/any/path?x=1", "--http", http, lines=b"hello\r\nm\xc3\xbcnze\n\n\xff\xfe\nlast"
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == "hello\nmünze\n\nbinary, 2 bytes: ff fe\nlast\n"
    connected, closed = done.stderr.decode().splitlines()
    assert connected.startswith(f"mintws: connected: HTTP/{http}, no subprotocol, permessage-deflate")
    assert closed == "mintws: closed with 1000"


def test_all_that_was_piped_comes_back_before_the_end(http: str) -> None:
    lines = b"".join(b"line %d\n" % i for i in range(50_000))
    with serving() as (_, port):
        done = talk(f"ws://127.0.0.1:{port}", "--http", http, lines=lines)
    assert done.returncode == 0, done.stderr
    assert done.stdout == lines


def test_answers_that_take_their_time_are_waited_for(run: Callable[..., object]) -> None:
    async def slow(websocket):
        async for message in websocket:
            await asyncio.sleep(0.1)
            await websocket.send(message)

    async def work():
        async with listening(slow) as server:
            done = await asyncio.to_thread(talk, url(server), lines=b"a\n" * 15)
            assert (done.returncode, done.stdout) == (0, b"a\n" * 15)

    run(work())


def test_a_long_line_is_one_message() -> None:
    line = b"x" * 900_000
    with serving() as (_, port):
        done = talk(f"ws://127.0.0.1:{port}", lines=line + b"\nshort\n")
    assert done.stdout == line + b"\nshort\n"


def test_subprotocols_and_headers_are_sent(run: Callable[..., object]) -> None:
    async def tell(websocket):
        await websocket.send(f"{dict(websocket.request.headers)['x-who']} {websocket.subprotocol}")

    async def work():
        async with listening(tell, subprotocols=["b", "a"]) as server:
            options = ["--header", "X-Who: me:you", "--subprotocol", "a", "--subprotocol", "b"]
            done = await asyncio.to_thread(talk, url(server), *options)
            assert done.stdout == b"me:you a\n"

    run(work())


def test_standard_input_that_is_closed_is_at_its_end() -> None:
    with serving() as (_, port):
        command = f'"{sys.executable}" -m mintws connect ws://127.0.0.1:{port} <&-'
        done = subprocess.run(command, shell=True, capture_output=True, timeout=BOUND, check=False)
    assert done.returncode == 0, done.stderr


@posix
def test_output_that_nobody_reads_is_the_end() -> None:
    with serving() as (_, port):
        command = f'seq 1 100000 | "{sys.executable}" -m mintws connect ws://127.0.0.1:{port} | head -1; exit ${{PIPESTATUS[1]}}'
        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=BOUND, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"1\n"
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


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


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_client_with_1000(run: Callable[..., object], http: str, number: int) -> None:
    async def work():
        codes = asyncio.Queue()

        async def wait(websocket):
            await websocket.wait_closed()
            codes.put_nowait(websocket.close_code)

        async with listening(wait) as server:
            pipe = asyncio.subprocess.PIPE
            client = await asyncio.create_subprocess_exec(
                *MINTWS, "connect", "--http", http, url(server), stdin=pipe, stderr=pipe
            )
            await client.stderr.readline()
            client.send_signal(number)
            assert await client.wait() == 0
            assert await codes.get() == 1000
            client.stdin.close()

    run(work())


@posix
def test_a_second_signal_ends_at_once(run: Callable[..., object]) -> None:
    async def work():
        received = asyncio.Event()

        async def never_close(websocket):
            await received.wait()

        async with listening(never_close, close_timeout=0.1) as server:
            pipe = asyncio.subprocess.PIPE
            client = await asyncio.create_subprocess_exec(*MINTWS, "connect", url(server), stdin=pipe, stderr=pipe)
            await client.stderr.readline()
            for websocket in server.websockets:
                websocket.transport.pause_reading()
            client.send_signal(signal.SIGINT)
            await asyncio.sleep(0.5)
            client.send_signal(signal.SIGINT)
            assert await client.wait() == 130
            received.set()
            client.stdin.close()

    run(work())


@posix
def test_a_signal_ends_a_handshake_that_is_not_answered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [*MINTWS, "connect", f"ws://127.0.0.1:{silent.getsockname()[1]}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            peer, _ = silent.accept()
            with peer:
                peer.recv(65536)
                client.send_signal(signal.SIGINT)
                assert client.wait(BOUND) == 130


@posix
def test_a_terminal_shows_messages_apart_from_what_is_typed() -> None:
    with serving() as (_, port):
        with terminal(f"ws://127.0.0.1:{port}") as (process, read, write):
            read("connected")
            write("hello\n")
            assert "\n< hello" in read("< hello")
            # What would colour the terminal is shown as it is.
            write("\x1b[31mred\n")
            assert "\x1b" not in read("< \\x1b[31mred")
            write("\x03")
            read("closed with 1000")
            assert process.wait(BOUND) == 0
        with terminal(f"ws://127.0.0.1:{port}") as (process, read, write):
            read("connected")
            write("\x04")
            read("closed with 1000")
            assert process.wait(BOUND) == 0


@posix
def test_a_terminal_is_told_when_the_peer_dies(http: str) -> None:
    with serving() as (server, port), terminal(f"ws://127.0.0.1:{port}", "--http", http) as (process, read, _):
        read("connected")
        server.kill()
        read("ended with 1006")
        assert process.wait(BOUND) == 3


def test_other_codes_exit_with_3(run: Callable[..., object], http: str) -> None:
    async def refuse(websocket):
        await websocket.close(4000, "closed on\x1b Mondays")

    async def work():
        async with listening(refuse) as server:
            done = await asyncio.to_thread(talk, url(server), "--http", http)
            assert done.returncode == 3
            assert done.stderr.endswith(b"mintws: closed with 4000: closed on\\x1b Mondays\n")

    run(work())


def test_what_cannot_be_reached_or_refuses_exits_with_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    done = talk(f"ws://127.0.0.1:{nobody}")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, b"", 1)
    with serving() as (_, port):
        done = talk(f"ws://127.0.0.1:{port}", "--header", "Origin: http://evil.example", "--header", "Cookie: a=b")
        refused = b"mintws: refused: 403 Forbidden: this origin may not open a WebSocket here\n"
        assert (done.returncode, done.stderr) == (1, refused)
        done = talk(f"wss://127.0.0.1:{port}")
        assert (done.returncode, done.stderr) == (1, b"mintws: cannot connect: TLS failed: wrong version number\n")


def test_certificates_are_checked_unless_told(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with serving("--cert", str(cert), "--key", str(key)) as (_, port):
        for host in ("localhost", "127.0.0.1"):
            address = f"wss://{host}:{port}"
            done = talk(address, "--cafile", str(cert), lines=b"hello\n")
            assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
            assert b"HTTP/2" in done.stderr
        done = talk(address, "--insecure", "--http", "1.1", lines=b"hello\n")
        assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
        assert b"HTTP/1.1" in done.stderr
        done = talk(address, lines=b"hello\n")
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"the certificate is not trusted" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sing"],
        ["serve", "--port", "65536"],
        ["serve", "--key", "key.pem"],
        ["serve", "--subprotocol", "a b"],
        ["connect"],
        ["connect", "localhost"],
        ["connect", "ws://localhost/#there"],
        ["connect", "ws://a..b/"],
        ["connect", "ws://localhost", "--http", "3"],
        ["connect", "ws://localhost", "--header", "no colon"],
        ["connect", "ws://localhost", "--header", "Upgrade: h2c"],
        ["connect", "ws://localhost", "--insecure"],
        ["connect", "wss://localhost", "--insecure", "--cafile", "ca.pem"],
        ["connect", "wss://localhost", "--cafile", "/no/such/file"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = f"127.0.0.1:{server.getsockname()[1]}"
        arguments = [argument.replace("localhost", here) if "//" in argument else argument for argument in arguments]
        command = [*MINTWS, *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOUND, check=False)
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr


def test_what_cannot_be_served_exits_with_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        in_use = ["--port", str(taken.getsockname()[1])]
        empty = tmp_path / "empty.pem"
        empty.touch()
        for arguments in (
            in_use,
            ["--cert", str(empty)],
            ["--cert", str(tmp_path / "none.pem")],
            ["--host", "256.0.0.1"],
        ):
            command = [*MINTWS, "serve", *arguments]
            done = subprocess.run(command, capture_output=True, timeout=BOUND, check=False)
            assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, b"", 1), done.stderr


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


def test_the_page_loads_nothing_and_names_what_it_shows() -> None:
    text = page.respond_with_page([])(Request("GET", "/")).body.decode()
    assert re.findall(r"(?:src|href)=\"(?!data:)", text) == []
    assert "SUBPROTOCOLS = [];" in text
    labelled = set(re.findall(r'<label[^>]* for="(\w+)"', text))
    assert set(re.findall(r'<input id="(\w+)"', text)) <= labelled


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
    command = f'"{sys.executable}" -m mintws demo | head -1'
    done = subprocess.run(command, shell=True, capture_output=True, timeout=120, check=False)
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


def test_the_version_is_told() -> None:
    done = subprocess.run([*MINTWS, "--version"], capture_output=True, timeout=BOUND, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, b"mintws")


@contextlib.contextmanager
def terminal(
    *arguments: str,
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[str], str], Callable[[str], object]]]:
    """Run `mintws connect` on a terminal of its own; give the process, what reads until a text comes, and what types."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)

    def read(until: str) -> str:
        seen, end = b"", time.monotonic() + BOUND
        while until.encode() not in seen:
            ready, _, _ = select.select([ours], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{until!r} does not come: {seen!r}"
            seen += os.read(ours, 4096)
        return seen.decode()

    try:
        yield process, read, lambda text: os.write(ours, text.encode())
    finally:
        process.kill()
        process.wait()
        os.close(ours)


#: Makes the terminal the one whose Ctrl-C reaches this process, then runs `mintws connect`.
TAKE_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from mintws.cli import main
sys.exit(main(["connect", *sys.argv[1:]]))
"""
