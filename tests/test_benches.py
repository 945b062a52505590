"""What measures must itself run: the hot paths, each a little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHES = Path(__file__).resolve().parent.parent / "benches"


@pytest.mark.skipif(not BENCHES.exists(), reason="a source distribution has no benchmarks")
def test_hot_paths_run() -> None:
    """`make instructions` counts them; without a name all run, for a moment."""
    done = subprocess.run(
        [sys.executable, str(BENCHES / "paths.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
