"""`make` says what is missing, and sets up no more than a goal needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*words: str) -> subprocess.CompletedProcess[str]:
    # Not what a `make` that runs the tests hands on.
    ours = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON", "MINTWS_PYTHON", "VENV", "CARGO")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    command = ["make", "--no-print-directory", *words]
    return subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("cargo 1.87.0 (abc 2025-06-01)", "Rust 1.87.0 is older than 1.88: rustup update"),
        ("cargo 0.93.0", "Rust 0.93.0 is older"),
        ("", "Rust is missing"),
        ("cargo 1.88.0-nightly (abc 2025-06-01)", ""),
        ("cargo 1.100.0 (abc 2026-12-01)", ""),
        ("cargo 2.0.0", ""),
    ],
)
def test_rust_older_than_the_core_needs_is_told(tmp_path: Path, version: str, said: str) -> None:
    cargo = tmp_path / "cargo"
    cargo.write_text(f"#!/bin/sh\necho '{version}'\n")
    cargo.chmod(0o755)
    done = make("rust", f"CARGO={cargo}")
    assert (done.returncode != 0, said in done.stderr) == (bool(said), True)


def test_python_that_is_missing_is_told() -> None:
    done = make("setup", "PYTHON=/no/such/python")
    assert done.returncode != 0
    assert "Python 3.10 or later is missing, looked for as: /no/such/python" in done.stderr


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.touch()
    done = make("setup", f"VENV={tmp_path}", f"PYTHON={sys.executable}")
    assert done.returncode != 0
    assert "is no virtual environment: move it away" in done.stderr
    assert kept.exists()


def test_the_demonstration_needs_no_packages_of_the_tests(tmp_path: Path) -> None:
    there = tmp_path / "environment"
    assert "--group test" in make("-n", "test", f"VENV={there}", f"PYTHON={sys.executable}").stdout
    plan = make("-n", "demo", f"VENV={there}", f"PYTHON={sys.executable}").stdout
    assert "maturin develop" in plan
    assert "--group" not in plan


def test_an_environment_without_pip_is_made_anew(tmp_path: Path) -> None:
    venv.create(tmp_path / "environment", with_pip=False)
    assert "-m venv " in make("-n", "setup", f"VENV={tmp_path / 'environment'}").stdout


def test_wheels_are_built_by_name() -> None:
    plan = make("-n", "wheels", "WHEELS=sdist cp31?-musllinux_*").stdout
    assert "wheels/build.py 'sdist' 'cp31?-musllinux_*'" in plan
    command = [sys.executable, ROOT / "wheels" / "build.py", "sdist", "cp27-manylinux_x86_64"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "cp27-manylinux_x86_64 is none of sdist cp310-manylinux_x86_64 " in done.stderr) == (
        2,
        True,
    )
