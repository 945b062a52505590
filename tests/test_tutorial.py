"""docs/tutorial.md is walked to its end: each file as it stands there, each command, and what it prints.

This takes mintws and pytest and nothing else of the tests: `make installed` walks it in an environment that has no more.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r"^(?:<!-- walk: ([\w ]+) -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BOUND = 60.0


def blocks() -> list[tuple[str, str, str]]:
    """Give how each block is walked, its language and its text, with a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    return [(how, kind, text.replace("8765", port)) for how, kind, text in BLOCK.findall(PAGE.read_text("utf-8"))]


@contextmanager
def background(command: str, folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run a command, give the first line that it prints, and stop it at the end by Ctrl-C."""
    # What is ignored, as in a job in the background of a shell, the command would ignore too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=BOUND) == ("", "")
            assert process.returncode == 0
        finally:
            process.kill()


@pytest.mark.skipif(os.name != "posix", reason="the commands are those of a POSIX shell")
def test_the_tutorial_is_walked_to_its_end(tmp_path: Path) -> None:
    here = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{here}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    (how, _, install), *rest = blocks()
    # What that installs is what runs this test.
    assert (how, install.split()[-1]) == ("installs", "pytest")
    activate = tmp_path / "env" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f'PATH="{here}:$PATH"\n', encoding="utf-8")
    printed = ""
    with ExitStack() as servers:
        for how, kind, text in rest:
            if kind == "python":
                name = re.match(r"# (\w+\.py)\n", text)
                assert name is not None
                (tmp_path / name[1]).write_text(text, encoding="utf-8")
            elif how == "in the background":
                printed = servers.enter_context(background(text, tmp_path, environment))
            elif kind == "sh":
                command = ["bash", "-ec", text]
                both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
                done = subprocess.run(
                    command, cwd=tmp_path, env=environment, text=True, timeout=BOUND, check=False, **both
                )
                assert done.returncode == 0, done.stdout
                printed = re.sub(r"(?<= passed in )[\d.]+s", "0.05s", done.stdout)
            else:
                assert (kind, text) == ("text", printed)
                printed = ""
    assert not printed
