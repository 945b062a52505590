"""Set up Autobahn|Testsuite, which needs Python 2.7, in an environment of its own below `.cache/autobahn`.

    python conformance/setup.py

Python 2.7 is taken from $PYTHON27, from pyenv, from the PATH, or, by root, from Debian's packages. Building the suite's extension
modules takes a C compiler. What is set up already is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "autobahn"
#: The environment of Python 2.7.
SUITE = CACHE / "suite"
REQUIREMENTS = HERE / "requirements-py27.txt"

#: It still makes environments of Python 2.7, and carries a pip and a setuptools that run there.
VIRTUALENV = "virtualenv==20.15.1"
#: Needed to build what has no wheel, before anything else: newer ones do not run on Python 2.7.
BUILD = ["setuptools==44.0.0", "wheel==0.36.2", "incremental==16.10.1"]

MISSING = """\
Autobahn|Testsuite needs Python 2.7, and none was found. One of these helps:
  PYTHON27=/path/to/python2.7 make autobahn
  pyenv install 2.7.18
  apt-get install python2.7 python2.7-dev     (Debian 11, Ubuntu 22.04 and older)"""


def main() -> None:
    """Set the suite up unless it is, and say where."""
    print(setup())


def setup() -> Path:
    """Set the suite up unless it is; returns its Python.

    Raises:
        SystemExit: there is no Python 2.7, or a step failed.
    """
    python = SUITE / "bin" / "python"
    stamp = SUITE / "complete"
    wanted = _fingerprint()
    if stamp.exists() and stamp.read_text() == wanted and _version(python) == "2.7":
        return python
    python27 = find_python27()
    if SUITE.exists():
        shutil.rmtree(SUITE)
    SUITE.mkdir(parents=True)
    print(f"setting up Autobahn|Testsuite on {python27}", flush=True)
    bootstrap = SUITE / "bootstrap"
    _run(sys.executable, "-m", "venv", bootstrap)
    _run(bootstrap / "bin" / "python", "-m", "pip", "install", "--quiet", VIRTUALENV)
    # Only the wheels that virtualenv carries are used.
    _run(bootstrap / "bin" / "virtualenv", "--quiet", "--no-periodic-update", "--no-download", "-p", python27, SUITE)
    install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--no-build-isolation"]
    _run(*install, *BUILD)
    _run(*install, "-r", REQUIREMENTS)
    stamp.write_text(wanted)
    return python


def find_python27() -> str:
    """Find a Python 2.7, or install it; `SystemExit` if there is none."""
    for candidate in _candidates():
        if _version(candidate) == "2.7":
            return str(candidate)
    if os.environ.get("PYTHON27"):
        raise SystemExit(f"PYTHON27={os.environ['PYTHON27']} is no Python 2.7")
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", "python2.7", "python2.7-dev"]):
            subprocess.run(["apt-get", "-qq", *arguments], stdin=subprocess.DEVNULL, check=False, timeout=600)
        if _version("python2.7") == "2.7":
            return "python2.7"
    raise SystemExit(MISSING)


def environment() -> dict[str, str]:
    """Give the environment in which Python 2.7 runs: nothing that is meant for another Python."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    # cryptography warns about Python 2, and pip does.
    return kept | {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_PYTHON_VERSION_WARNING": "1",
    }


def _candidates() -> Iterator[Path | str]:
    if named := os.environ.get("PYTHON27"):
        yield named
        return
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    # Not the shims: one fails unless its version is selected.
    yield from sorted((root / "versions").glob("2.7*/bin/python2.7"), reverse=True)
    for folder in os.get_exec_path():
        for name in ("python2.7", "python2"):
            if (path := Path(folder, name)).exists():
                yield path


def _version(python: Path | str) -> str | None:
    """Ask a Python for its version; `None` if it does not run."""
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [python, "-c", ask], capture_output=True, text=True, check=False, timeout=60, env=environment()
        )
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _fingerprint() -> str:
    """Name what is to be set up, so that a change of it is noticed."""
    return hashlib.sha256(REQUIREMENTS.read_bytes() + repr([VIRTUALENV, *BUILD]).encode()).hexdigest()


def _run(*command: str | Path) -> None:
    try:
        subprocess.run(command, check=True, env=environment(), stdin=subprocess.DEVNULL, timeout=900)
    except subprocess.CalledProcessError as error:
        words = " ".join(map(str, command))
        raise SystemExit(f"setting up Autobahn|Testsuite failed: {words} ended with {error.returncode}") from None


if __name__ == "__main__":
    main()
