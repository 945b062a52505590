"""What the package asks of the interpreter that imports it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SECOND_INTERPRETER = """
import sys
try:
    import _interpreters as interpreters
    second = interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    second = interpreters.create(isolated=False)
interpreters.run_string(second, f'''
import sys
sys.path[:] = {sys.path!r}
try:
    import mintws
except ImportError as error:
    print(error, flush=True)
''')
"""


def test_an_interpreter_whose_threads_run_side_by_side_is_refused() -> None:
    code = "import sys; sys._is_gil_enabled = lambda: False; import mintws"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ImportError: mintws needs the GIL: start Python without PYTHON_GIL=0 and -X gil=0\n")


@pytest.mark.parametrize("before", ["", "import mintws"], ids=["first", "behind the main one"])
def test_a_second_interpreter_of_the_process_is_refused(before: str) -> None:
    command = [sys.executable, "-c", before + SECOND_INTERPRETER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "mintws runs in the main interpreter of a process only: use threads or processes instead\n"
