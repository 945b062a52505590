"""`python -m mintws`: what all commands have."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import pytest
from drivers.command import BOUND, MINTWS, posix, serving, shell

from mintws.cli import main

#: Wrong usage, and a part of what is said of it.
WRONG = [
    ([], "required"),
    (["sing"], "sing"),
    (["serve", "--port", "65536"], "--port"),
    (["serve", "--key", "key.pem"], "--cert"),
    (["serve", "--subprotocol", "a b"], "--subprotocol"),
    (["serve", "--subprotocol", "a", "--subprotocol", "a"], "--subprotocol: 'a' is given twice"),
    (["asgi"], "APP"),
    (["asgi", "module"], "MODULE:NAME"),
    (["asgi", "module:app.1"], "MODULE:NAME"),
    (["asgi", "module:app", "--key", "key.pem"], "--cert"),
    (["asgi", "module:app", "--lifespan", "maybe"], "--lifespan"),
    (["connect"], "URL"),
    (["connect", "ftp://localhost"], "must begin with ws:// or wss://"),
    (["serve", "0", "--port", "1"], "not allowed with argument"),
    (["serve", "0", "--host", "127.0.0.1", "1"], "usage: mintws serve "),
    (["connect", "localhost", "--quiet"], "usage: mintws connect "),
    (["connect", "localhost", "--limit", "1T"], "--limit"),
    (["connect", "localhost", "--binary", "/no/such/file"], "cannot read '/no/such/file'"),
    (["connect", "localhost", "-x", "\udcff"], "is no UTF-8"),
    (["connect", "localhost", "-o", "a\x07"], "-o/--origin"),
    (["connect", "ws://localhost", "-k"], "wss://"),
    (["connect", "ws://localhost/#there"], "fragment"),
    (["connect", "ws://a..b/"], "a..b"),
    (["connect", "ws://localhost", "--http", "3"], "--http"),
    (["connect", "ws://localhost", "--header", "no colon"], "--header"),
    (["connect", "ws://localhost", "--header", "Upgrade: h2c"], '--header: header "Upgrade"'),
    (
        ["connect", "ws://localhost", "--header", "Host: x"],
        "--header: Host is no header to give: it is that of the URL",
    ),
    (["connect", "ws://localhost", "--header", "Sec-WebSocket-Protocol: a"], "use --subprotocol"),
    (["connect", "ws://localhost", "--header", "A: \u00fc\x07"], "--header"),
    (
        ["connect", "ws://localhost", "--subprotocol", "a", "--subprotocol", "a"],
        "--subprotocol: 'a' is given twice",
    ),
    (["connect", "ws://localhost", "--wait", "long"], "--wait"),
    (["connect", "ws://localhost", "--wait", "-1"], "--wait"),
    (["connect", "ws://localhost", "--wait", "nan"], "--wait"),
    (["connect", "ws://localhost", "--insecure"], "wss://"),
    (["connect", "wss://localhost", "--insecure", "--cafile", "ca.pem"], "--cafile"),
    (["connect", "wss://localhost", "--cafile", "/no/such/file"], "cannot read '/no/such/file'"),
    (["connect", "wss://localhost", "--cafile", os.devnull], "has no certificate"),
    (["connect", "wss://localhost", "--cafile", ""], "cannot read ''"),
]


@pytest.mark.parametrize(("arguments", "why"), WRONG, ids=[" ".join(it) for it, _ in WRONG])
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(arguments: list[str], why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = f"127.0.0.1:{server.getsockname()[1]}"
        arguments = [argument.replace("localhost", here) if "//" in argument else argument for argument in arguments]
        command = [*MINTWS, *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOUND, check=False)
    assert done.returncode == 2, done.stderr
    assert why in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_no_help_has_what_argparse_would_have_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    # `help` is formatted with %, `description` and `epilog` are not.
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert "bench" in commands
    for command in commands:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        said = capsys.readouterr().out
        assert f"usage: mintws {command}" in said
        assert "%%" not in said
        assert "%(" not in said


def test_the_version_is_told() -> None:
    done = subprocess.run([*MINTWS, "--version"], capture_output=True, timeout=BOUND, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, b"mintws")


@posix
@pytest.mark.parametrize("command", ["serve --port 0", "connect", "demo", "--version", "connect --help"])
@pytest.mark.parametrize("output", [">&-", ">/dev/full"])
def test_output_that_cannot_be_written_is_one_line_and_exit_1(command: str, output: str) -> None:
    with serving() as (_, port):
        words = command if command != "connect" else f"connect ws://127.0.0.1:{port}"
        done = shell(f"echo hello | mintws {words} {output}")
    *connected, why = done.stderr.decode().splitlines()
    assert why.startswith("mintws: cannot write to standard output: ")
    assert all(line.startswith("mintws: connected: ") for line in connected)
    assert done.returncode == 1


@posix
@pytest.mark.parametrize("errors", ["2>&-", "2>/dev/full"])
def test_what_is_said_of_the_output_is_never_in_it(errors: str) -> None:
    with serving() as (_, port):
        done = shell(f"echo hello | mintws connect ws://127.0.0.1:{port} {errors}")
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    done = shell(f"mintws connect ws://127.0.0.1:{port} {errors}")
    assert (done.returncode, done.stdout) == (1, b"")


@posix
def test_a_signal_wakes_a_loop_that_waits() -> None:
    # One that another thread takes interrupts nothing, as one that comes just before the loop begins to wait does not.
    script = """
import asyncio, signal, threading, time
from mintws.cli.signals import Stop

def take():
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

async def main():
    stop = Stop()
    threading.Thread(target=take).start()
    await asyncio.wait_for(stop.wait(), 10)
    stop.close()

began = time.monotonic()
asyncio.run(main())
assert time.monotonic() - began < 5
"""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, timeout=BOUND, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
