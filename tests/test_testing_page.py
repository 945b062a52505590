"""The files of tests in docs/testing.md pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "testing.md"
FILE = re.compile(r"^```python\n(# (test_\w+\.py)\n.*?)^```$", re.DOTALL | re.MULTILINE)


def test_files_of_tests_pass(tmp_path: Path) -> None:
    files = {name: text for text, name in FILE.findall(PAGE.read_text(encoding="utf-8"))}
    assert list(files) == ["test_chat.py", "test_shout.py", "test_count.py"]
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
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = re.search(r"^(\d+) passed", ran.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= sum(text.count("def test_") for text in files.values())
