"""The command line in processes of its own: what its tests share."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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


def talk(*arguments: str, lines: bytes = b"", wait: str | None = "0") -> subprocess.CompletedProcess[bytes]:
    """Run `mintws connect` with lines as its piped input; a server that answers before it closes need not be waited for."""
    command = [*MINTWS, "connect", *arguments, *(["--wait", wait] if wait is not None else [])]
    return subprocess.run(command, input=lines, capture_output=True, timeout=BOUND, check=False)


def shell(words: str, **how: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a line of the shell, in which `mintws` is the command under test."""
    line = re.sub(r"\bmintws\b", f'"{sys.executable}" -m mintws', words)
    return subprocess.run(["bash", "-c", line], capture_output=True, timeout=BOUND, check=False, **how)


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
