"""`python -m mintws`: what all commands have."""

from __future__ import annotations

import socket
import subprocess

import pytest
from drivers.command import BOUND, MINTWS


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


def test_the_version_is_told() -> None:
    done = subprocess.run([*MINTWS, "--version"], capture_output=True, timeout=BOUND, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, b"mintws")
