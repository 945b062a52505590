"""`mintws connect`: real processes, signals, pipes and terminals."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import websockets.asyncio.server
from drivers.command import BOUND, MINTWS, posix, serving, shell, talk
from drivers.conftest import listening, url
from drivers.test_proxy import connecting, proxy

from mintws.cli.connecting import describe_cause


def test_lines_go_out_and_messages_come_back(http: str) -> None:
    with serving() as (_, port):
        done = talk(
            f"ws://127.0.0.1:{port}/any/path?x=1", "--http", http, lines=b"hello\r\nm\xc3\xbcnze\n\n\xff\xfe\nlast"
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == "hello\nmünze\n\nbinary, 2 bytes: ff fe\nlast\n"
    connected = f"mintws: connected: HTTP/{http}, no subprotocol, permessage-deflate"
    assert done.stderr.decode().splitlines() == [connected, "mintws: closed with 1000"]


def test_parameters_and_frames_are_told_if_asked_for(http: str) -> None:
    with serving() as (_, port):
        once, twice = (talk(f"ws://127.0.0.1:{port}", "--http", http, more, "-x", "hello") for more in ("-v", "-vv"))
    connected, *frames, closed = once.stderr.decode().splitlines()
    assert "permessage-deflate; " in connected
    assert (frames, closed) == ([], "mintws: closed with 1000")
    said = twice.stderr.decode()
    for frame in (
        "sent text, 5 bytes: 'hello'",
        "received text, 5 bytes: 'hello'",
        "sent close 1000",
        "received close 1000",
    ):
        assert frame in said
    assert (once.stdout, twice.stdout) == (b"hello\n", b"hello\n")


def test_a_message_is_sent_without_reading_the_input(http: str, tmp_path: Path) -> None:
    file = tmp_path / "four"
    file.write_bytes(b"\x00\r\n\xff")
    with serving() as (_, port):
        address = f"ws://127.0.0.1:{port}"
        one = talk(address, "--http", http, "-x", "one", lines=b"nothing of this\n")
        assert (one.returncode, one.stdout) == (0, b"one\n")
        mixed = talk(address, "--http", http, "-x", "b\u00fc", "--binary", str(file), "-x", "")
        assert mixed.stdout.decode() == "bü\nbinary, 4 bytes: 00 0d 0a ff\n\n"
        piped = talk(address, "--http", http, "--binary", "-", lines=b"\x01\n\x02")
        assert piped.stdout == b"binary, 3 bytes: 01 0a 02\n"


def test_answers_to_one_message_are_waited_for(run: Callable[..., object]) -> None:
    async def sleepy(websocket):
        async for message in websocket:
            for i in range(3):
                await asyncio.sleep(0.3)
                await websocket.send(f"{message} {i}")

    async def work():
        async with listening(sleepy) as server:
            done = await asyncio.to_thread(talk, url(server), "-x", "answer", wait=None)
            assert (done.returncode, done.stdout) == (0, b"answer 0\nanswer 1\nanswer 2\n")

    run(work())


def test_a_url_needs_no_scheme(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with serving() as (_, port):
        assert talk(f"localhost:{port}/?a=b://c", "-x", "plain").stdout == b"plain\n"
    with serving("--cert", str(cert), "--key", str(key)) as (_, port):
        for trust in (["-k"], ["--cafile", str(cert)]):
            assert talk(f"localhost:{port}", *trust, "-x", "over TLS").stdout == b"over TLS\n"


def test_messages_that_are_json_are_indented(http: str) -> None:
    with serving() as (_, port):
        done = talk(f"localhost:{port}", "--http", http, "--json", "-x", '{"a":[1.50,{}],"a":1e999}', "-x", "no json")
    assert done.stdout.decode() == '{\n  "a": [\n    1.50,\n    {}\n  ],\n  "a": 1e999\n}\nno json\n'


def test_pings_are_timed_if_asked_for(http: str) -> None:
    with serving() as (_, port):
        done = talk(f"localhost:{port}", "--http", http, "--ping", "-x", "a", wait="1.5")
    pongs = [it for it in done.stderr.decode().splitlines() if re.fullmatch(r"mintws: pong after \d+\.\d ms", it)]
    assert len(pongs) >= 2
    assert done.returncode == 0


def test_a_message_beyond_the_limit_ends_it_with_advice(http: str) -> None:
    with serving() as (_, port):
        address = f"localhost:{port}"
        kept = talk(address, "--http", http, "--limit", "1K", "-x", "x" * 1024)
        assert (kept.returncode, len(kept.stdout)) == (0, 1025)
        done = talk(address, "--http", http, "--limit", "1K", "-x", "x" * 1025)
        assert (done.returncode, done.stdout) == (3, b"")
        assert b"1009" in done.stderr
        assert b"(raise --limit; RFC 6455" in done.stderr
        assert talk(address, "--http", http, "--limit", "inf", "-x", "x" * 1025).returncode == 0


def test_the_origin_is_sent_once(run: Callable[..., object], http: str) -> None:
    async def tell(websocket):
        await websocket.send(dict(websocket.request.headers)["origin"])

    async def work():
        async with listening(tell) as server:
            for option in ("-o", "--origin"):
                done = await asyncio.to_thread(talk, url(server), "--http", http, option, "https://example.com")
                assert done.stdout == b"https://example.com\n"
            done = await asyncio.to_thread(talk, url(server), "-H", "Origin: null", "-o", "https://example.com")
            assert (done.returncode, done.stdout) == (2, b"")

    run(work())


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


def test_servers_that_drop_answers_at_a_close_are_heard_out(run: Callable[..., object]) -> None:
    async def sleepy(websocket):
        async for message in websocket:
            await asyncio.sleep(0.4)
            await websocket.send(f"answer to {message}")

    async def work():
        async with websockets.asyncio.server.serve(sleepy, "127.0.0.1", 0) as server:
            address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            done = await asyncio.to_thread(talk, address, lines=b"a\nb\nc\n", wait=None)
            assert (done.returncode, done.stdout) == (0, b"answer to a\nanswer to b\nanswer to c\n")

    run(work())


def test_a_thousand_lines_to_a_server_that_takes_its_time_are_answered(run: Callable[..., object]) -> None:
    async def busy(websocket):
        async for message in websocket:
            await asyncio.sleep(0.002)
            await websocket.send(message)

    async def work():
        lines = b"".join(b"line %d\n" % i for i in range(1000))
        async with websockets.asyncio.server.serve(busy, "127.0.0.1", 0) as server:
            address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            done = await asyncio.to_thread(talk, address, lines=lines, wait=None)
            assert (done.returncode, done.stdout) == (0, lines)

    run(work())


def test_messages_are_waited_for_as_long_as_told(run: Callable[..., object]) -> None:
    async def late(websocket):
        await asyncio.sleep(1.5)
        await websocket.send("late")
        await websocket.close()

    async def work():
        async with websockets.asyncio.server.serve(late, "127.0.0.1", 0) as server:
            address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for wait, heard in (("0.2", b""), ("5", b"late\n"), ("inf", b"late\n")):
                done = await asyncio.to_thread(talk, address, wait=wait)
                assert (done.returncode, done.stdout) == (0, heard)

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
            options = ["-H", "X-Who: me:you", "--subprotocol", "a", "--subprotocol", "b"]
            done = await asyncio.to_thread(talk, url(server), *options)
            assert done.stdout == b"me:you a\n"

    run(work())


def test_header_is_sent_in_the_bytes_that_were_typed(run: Callable[..., object]) -> None:
    async def tell(websocket):
        await websocket.send(dict(websocket.request.raw_headers)[b"x-city"].decode())

    async def work():
        async with listening(tell) as server:
            done = await asyncio.to_thread(talk, url(server), "--header", "X-City: Z\u00fcrich")
            assert done.stdout == "Z\u00fcrich\n".encode()

    run(work())


def test_standard_input_that_is_closed_is_at_its_end() -> None:
    with serving() as (_, port):
        done = shell(f"mintws connect ws://127.0.0.1:{port} <&-")
    assert done.returncode == 0, done.stderr


@posix
def test_output_that_nobody_reads_is_the_end() -> None:
    with serving() as (_, port):
        done = shell(f"seq 1 100000 | mintws connect ws://127.0.0.1:{port} | head -1; exit ${{PIPESTATUS[1]}}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"1\n"
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


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
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_handshake_that_is_not_answered(number: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [*MINTWS, "connect", f"ws://127.0.0.1:{silent.getsockname()[1]}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            peer, _ = silent.accept()
            with peer:
                peer.recv(65536)
                client.send_signal(number)
                assert client.wait(BOUND) == 128 + number


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
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"mintws: cannot connect: connection refused\n")
    with serving() as (_, port):
        done = talk(f"ws://127.0.0.1:{port}", "--header", "Origin: http://evil.example", "--header", "Cookie: a=b")
        refused = b"mintws: refused: 403 Forbidden: this origin may not open a WebSocket here\n"
        assert (done.returncode, done.stderr) == (1, refused)
        done = talk(f"wss://127.0.0.1:{port}")
        no_tls = b"mintws: cannot connect: TLS failed: wrong version number; if the server speaks no TLS, write ws://\n"
        assert (done.returncode, done.stderr) == (1, no_tls)


def test_why_the_network_failed_is_said_once_for_all_addresses() -> None:
    refused = "[Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] Connect call failed ('127.0.0.1', 1)"
    if sys.platform == "linux":
        assert describe_cause(OSError(f"Multiple exceptions: {refused}")) == "connection refused"
        assert describe_cause(OSError(113, "Connect call failed ('10.0.0.1', 1)")) == "no route to host"
    unknown = socket.gaierror(-2, "Name or service not known")
    assert describe_cause(unknown) == "name or service not known"
    assert describe_cause(ConnectionResetError()) == "ConnectionResetError"


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


@posix
def test_a_signal_that_was_ignored_stays_ignored() -> None:
    with serving() as (_, port):
        command = f'trap "" INT; exec "{sys.executable}" -m mintws connect ws://127.0.0.1:{port}'
        pipe = subprocess.PIPE
        with subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            assert client.stderr is not None
            client.stderr.readline()
            client.send_signal(signal.SIGINT)
            client.stdin.write(b"still here\n")
            client.stdin.flush()
            assert client.stdout.readline() == b"still here\n"
            client.send_signal(signal.SIGTERM)
            assert client.wait(BOUND) == 0


@posix
def test_standard_input_that_does_not_block_is_not_at_its_end() -> None:
    # As another program may have left a pipe or terminal that it shares.
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    pipe = subprocess.PIPE
    with serving() as (_, port):
        command = [*MINTWS, "connect", f"ws://127.0.0.1:{port}"]
        with subprocess.Popen(command, stdin=ours, stdout=pipe, stderr=pipe) as client:
            os.close(ours)
            assert client.stdout is not None
            assert client.stderr is not None
            client.stderr.readline()
            for line in (b"hello\n", b"again\n"):
                os.write(theirs, line)
                assert client.stdout.readline() == line
            os.close(theirs)
            assert client.wait(BOUND) == 0


def test_a_lost_connection_is_made_again_if_asked_for(run: Callable[..., object], http: str) -> None:
    async def work():
        heard = []

        async def hang_up(websocket):
            heard.append(await websocket.recv())
            if len(heard) < 3:
                websocket.transport.abort()
            else:
                await websocket.close()

        async with listening(hang_up) as server:
            options = ["--http", http, "--reconnect", "-x", "subscribe"]
            done = await asyncio.to_thread(talk, url(server), *options, wait="inf")
            said = done.stderr.decode().splitlines()
            assert done.returncode == 0, said
            assert heard == ["subscribe"] * 3
            assert sum(line.startswith("mintws: connected: ") for line in said) == 3
            lost = [line for line in said if re.search(r"1006.*; the next attempt follows in \d+\.\d s$", line)]
            assert len(lost) == 2
            assert said[-1] == "mintws: closed with 1000"

    run(work())


def test_no_line_is_lost_with_a_connection(run: Callable[..., object], http: str) -> None:
    async def work():
        heard = []

        async def hang_up(websocket):
            async for message in websocket:
                heard.append(message)
                if message == "one":
                    websocket.transport.abort()
                else:
                    await websocket.send(message)

        async with listening(hang_up) as server:
            pipe = asyncio.subprocess.PIPE
            client = await asyncio.create_subprocess_exec(
                *MINTWS, "connect", url(server), "--http", http, "--reconnect", stdin=pipe, stdout=pipe, stderr=pipe
            )
            client.stdin.write(b"one\n")
            said = b""
            while b"the next attempt" not in said:
                said = await client.stderr.readline()
                assert said
            client.stdin.write(b"two\nthree\n")
            client.stdin.close()
            printed, said = await client.communicate()
            assert (client.returncode, printed) == (0, b"two\nthree\n"), said
            assert heard == ["one", "two", "three"]

    run(work())


@posix
def test_a_signal_ends_the_waiting_for_a_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    command = [*MINTWS, "connect", f"localhost:{nobody}", "--reconnect"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stderr is not None
        for _ in range(2):
            assert b"connection refused; the next attempt follows in " in client.stderr.readline()
        client.send_signal(signal.SIGINT)
        assert client.wait(BOUND) == 130


def test_what_another_attempt_does_not_mend_is_not_tried_again(run: Callable[..., object]) -> None:
    async def refuse(websocket):
        await websocket.close(1008, "no")

    async def work():
        async with listening(refuse) as server:
            done = await asyncio.to_thread(talk, url(server), "--reconnect", wait="inf")
            assert done.returncode == 3
            assert done.stderr.decode().splitlines()[1:] == ["mintws: closed with 1008: no"]

    run(work())


def test_a_proxy_is_that_of_the_argument(
    run: Callable[..., object], http: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work():
        heads = []
        async with listening() as server, proxy(connecting(server, heads)) as port:
            options = ["ws://server.invalid", "--http", http, "-x", "hello"]
            done = await asyncio.to_thread(talk, *options, "--proxy", f"http://127.0.0.1:{port}")
            assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
            assert len(heads) == 1
            monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{port}")
            assert (await asyncio.to_thread(talk, *options)).stdout == b"hello\n"
            assert (await asyncio.to_thread(talk, *options, "--proxy", "none")).returncode == 1
            assert len(heads) == 2
        done = await asyncio.to_thread(talk, *options)
        why = f"mintws: cannot connect by the proxy http://127.0.0.1:{port}: connection refused\n"
        assert (done.returncode, done.stderr.decode()) == (1, why)

    run(work())
