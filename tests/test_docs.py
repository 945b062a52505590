"""Each example in README.md and docs/ runs; what is drawn there from tables agrees with them."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client

from mintws import Http1, Role

ROOT = Path(__file__).resolve().parent.parent
#: Its files need each other: tests/test_tutorial.py walks it.
TUTORIAL = ROOT / "docs" / "tutorial.md"
PAGES = sorted({ROOT / "README.md", *ROOT.glob("docs/*.md")} - {TUTORIAL})
#: A block that cannot run here says in the line above it why, and what runs it: `<!-- skip: it needs a server; tests/… runs it -->`.
BLOCK = re.compile(
    r"^(?:<!-- skip: (?P<reason>.+?) -->\n+)?(?P<indent> *)```python\n(?P<code>.*?)^ *```$", re.DOTALL | re.MULTILINE
)


def examples(runs: bool) -> Iterator[object]:
    """Give the blocks that run here, or the others."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start("code")) + 1
            # As many empty lines in front as there are in the page, so that a traceback names its line.
            code = "\n" * (line - 1) + textwrap.dedent(block["code"])
            if runs == (block["reason"] is None):
                yield pytest.param(page, code, id=f"{page.name}:{line}")


@pytest.mark.parametrize(("page", "code"), list(examples(runs=False)))
def test_example_that_runs_elsewhere_compiles(page: Path, code: str) -> None:
    compile(code, page.name, "exec", dont_inherit=True)


@pytest.mark.parametrize(("page", "code"), list(examples(runs=True)))
def test_example_runs(page: Path, code: str, tmp_path: Path) -> None:
    # Not by the name of the page: it may be that of a package.
    script = tmp_path / f"example_of_{page.stem}.py"
    script.write_text(code, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_loop_of_the_readme_serves_a_peer() -> None:
    [code] = [
        it["code"]
        for it in BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8"))
        if "def echo(sock)" in it["code"]
    ]
    names: dict[str, Any] = {}
    exec(code, names)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=lambda: names["echo"](listener.accept()[0]), daemon=True)
        server.start()
        client = websockets.sync.client.connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/", proxy=None)
    with client as websocket:
        for message in ("hello", b"\x00\xff", "x" * 100_000):
            websocket.send(message)
            assert websocket.recv(timeout=20) == message
    assert (websocket.close_code, websocket.protocol.close_exc.sent.code) == (1000, 1000)
    server.join(20)
    assert not server.is_alive()


def test_the_loop_is_the_same_over_http2(tmp_path: Path) -> None:
    (loop,) = (
        it.values for it in examples(runs=True) if it.values[0].name == "sans-io.md" and "def drive(" in it.values[1]
    )
    assert "Http1" in loop[1]
    test_example_runs(loop[0], loop[1].replace("Http1", "Http2"), tmp_path)


def test_the_loop_ends_with_the_transport() -> None:
    # Even if it has left an ordinary request unanswered, and is not done.
    (code,) = (
        it.values[1] for it in examples(runs=True) if it.values[0].name == "sans-io.md" and "def drive(" in it.values[1]
    )
    names: dict[str, Any] = {}
    exec(code[: code.index("ours, theirs")], names)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        ours.shutdown(socket.SHUT_WR)
        http = Http1(Role.SERVER)
        names["drive"](http, theirs, lambda connection, event: b"")
    assert not http.done


def test_examples_are_rightly_typed(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for i, example in enumerate([*examples(runs=True), *examples(runs=False)]):
        page, code = example.values
        # Within a function, where `_` may be of any type.
        body = textwrap.indent(code, "    ")
        (tmp_path / f"{page.stem.lower()}_{i}.py").write_text(f"def example() -> None:{body}", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", tmp_path],
        env={**os.environ, "MYPYPATH": str(ROOT / "python")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def constants_of(page: Path) -> dict[str, Any]:
    """Give the constants of a module that is not imported: Sphinx need not be there."""
    found = {}
    for node in ast.parse(page.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def test_what_the_reference_leaves_out_is_there() -> None:
    given = constants_of(ROOT / "docs" / "docstrings.py")
    there = set()
    for name in given["MODULES"]:
        for _, found in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            for member, it in inspect.getmembers(found):
                there |= {member, getattr(it, "__qualname__", member)}
    assert given["INTERNAL"] - there == set()


def test_every_fence_is_seen() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(BLOCK.findall(text)) == len(re.findall(r"^ *```python", text, re.MULTILINE)), page.name


def test_the_states_in_the_page_are_those_of_the_core() -> None:
    spec = importlib.util.spec_from_file_location("states", ROOT / "docs" / "states.py")
    assert spec is not None
    assert spec.loader is not None
    states = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(states)
    block = states.BLOCK.search(states.PAGE.read_text(encoding="utf-8"))
    assert block is not None, "docs/architecture.md has no block headed <!-- states -->"
    assert block[0] == states.draw(), "run: python docs/states.py --update"
