"""`python -m mintws`: what all commands have."""

from __future__ import annotations

import socket
import subprocess

import pytest
from drivers.command import BOUND, MINTWS, posix, serving, shell


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
        ["connect", "ws://localhost", "--wait", "long"],
        ["connect", "ws://localhost", "--wait", "-1"],
        ["connect", "ws://localhost", "--wait", "nan"],
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
