"""What measures must itself run: the hot paths, each a little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHES = Path(__file__).resolve().parent.parent / "benches"
pytestmark = pytest.mark.skipif(not BENCHES.exists(), reason="a source distribution has no benchmarks")


def test_hot_paths_run() -> None:
    """`make instructions` counts them; without a name all run, for a moment."""
    done = subprocess.run(
        [sys.executable, str(BENCHES / "paths.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_hostile_peers_run() -> None:
    command = [sys.executable, str(BENCHES / "hostile.py"), "bombs", "unfinished", "--rounds", "1", "--seconds", "0.2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "longest turn" in done.stdout
    assert "KiB a connection" in done.stdout
