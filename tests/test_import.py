"""What the package asks of the interpreter that imports it."""

from __future__ import annotations

import subprocess
import sys


def test_an_interpreter_whose_threads_run_side_by_side_is_refused() -> None:
    code = "import sys; sys._is_gil_enabled = lambda: False; import mintws"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ImportError: mintws needs the GIL: start Python without PYTHON_GIL=0 and -X gil=0\n")
