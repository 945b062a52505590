"""The files of tests in docs/testing.md pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "testing.md"
FILE = re.compile(r"^```python\n(# (test_\w+\.py)\n.*?)^```$", re.DOTALL | re.MULTILINE)


#: A test that passes, but for what its handler raises.
FAILS = """
async def test_a_handler_fails_as_its_client_leaves() -> None:
    async def handler(websocket: WebSocket) -> None:
        async for message in websocket:
            pass
        raise ZeroDivisionError

    async with serve_in_memory(handler) as server:
        async with server.connect("ws://localhost/") as websocket:
            await websocket.send("hello")
"""


def test_files_of_tests_pass_and_one_whose_handler_fails_does_not(tmp_path: Path) -> None:
    files = {name: text for text, name in FILE.findall(PAGE.read_text(encoding="utf-8"))}
    assert list(files) == ["test_chat.py", "test_shout.py", "test_count.py"]
    files["test_chat.py"] += FAILS
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    ended = re.search(r"^(\d+) passed, 1 error", ran.stdout, re.MULTILINE)
    assert ended is not None, ran.stdout + ran.stderr
    assert int(ended[1]) >= sum(text.count("def test_") for text in files.values())
    [failed] = re.findall(r"^ERROR (\S+)", ran.stdout, re.MULTILINE)
    assert "test_a_handler_fails_as_its_client_leaves" in failed
