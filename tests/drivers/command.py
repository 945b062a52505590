"""The command line in processes of its own: what its tests share."""

from __future__ import annotations

import contextlib
import os
import re
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyte
import pytest

with contextlib.suppress(ImportError):
    # Of POSIX.
    import fcntl
    import termios

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


def shell(words: str, *, timeout: float = BOUND, **how: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a line of the shell, in which `mintws` is the command under test."""
    line = re.sub(r"\bmintws\b", f'"{sys.executable}" -m mintws', words)
    return subprocess.run(["bash", "-c", line], capture_output=True, timeout=timeout, check=False, **how)


class Terminal:
    """A terminal of 80 columns in which a command runs, with what is on its screen.

    Args:
        ours, theirs: the descriptors of its ends; the process has the second.
        process: the process in it.
    """

    def __init__(self, ours: int, theirs: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._ours, self._theirs = ours, theirs
        self._screen = pyte.HistoryScreen(80, 24, history=1000, ratio=0.01)
        self._stream = pyte.ByteStream(self._screen)

    def type(self, text: str) -> None:
        """Type as a user does; Enter is a carriage return."""
        os.write(self._ours, text.encode())

    @property
    def lines(self) -> list[str]:
        """The lines down to the last that is not empty, with those that have scrolled away."""
        lines = [line.rstrip() for line in self._all_lines()]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _all_lines(self) -> list[str]:
        gone = ["".join(line[x].data for x in range(80)) for line in self._screen.history.top]
        return [*gone, *self._screen.display]

    def wait_for(self, *last: str) -> list[str]:
        """Wait until these are the last lines, or the starts of them; return all lines."""
        return self._wait(
            lambda lines: len(lines) >= len(last) and all(map(str.startswith, lines[-len(last) :], last)), last
        )

    def wait_for_any(self, text: str) -> list[str]:
        """Wait until a text is on the screen, perhaps on several lines; return all lines."""
        return self._wait(lambda lines: text in "".join(self._all_lines()), text)

    def wait_for_prompt(self) -> None:
        """Wait until there is a prompt at which nothing has been typed."""
        self._wait(lambda lines: lines[-1:] == [">"], "a prompt")

    def _wait(self, done: Callable[[list[str]], bool], awaited: object) -> list[str]:
        end = time.monotonic() + BOUND
        while not done(self.lines):
            ready, _, _ = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{awaited!r} does not come: {self.lines!r}"
            self._stream.feed(os.read(self._ours, 4096))
        return self.lines


@contextlib.contextmanager
def terminal(*arguments: str, command: str = "connect", without: str = "") -> Iterator[Terminal]:
    """Run a command on a terminal of its own, perhaps without a module that may be missing."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, without, command, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "linux"},
    )
    try:
        yield Terminal(ours, theirs, process)
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)


#: Makes the terminal the one whose Ctrl-C reaches this process, then runs a command.
TAKE_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
_, without, *arguments = sys.argv
if without:
    sys.modules[without] = None
from mintws.cli import main
sys.exit(main(arguments))
"""
