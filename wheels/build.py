"""Build wheels, and the source distribution, into target/wheels: `python wheels/build.py PATTERN...`.

A pattern, such as `cp31?-musllinux_*`, names wheels as cibuildwheel does, by Python and platform; `sdist` is the source distribution.
zig links them, so that a wheel for Linux runs with the glibc of 2012 wherever it is built; Debian's mingw links those for Windows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target" / "wheels"
#: Where the builds for other systems are, which share nothing with those for this one.
TARGET = ROOT / "target" / "cross"
CARGO_HOME = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")

#: Those with a `t` have no GIL.
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15", "3.14t", "3.15t")


@dataclass(frozen=True)
class Platform:
    """How wheels for a system are built."""

    #: Rust's name of it.
    triple: str
    #: The tag of the wheel, where there is a choice.
    compatibility: str = ""
    zig: bool = True


PLATFORMS = {
    "manylinux_x86_64": Platform("x86_64-unknown-linux-gnu", "manylinux2014"),
    "manylinux_aarch64": Platform("aarch64-unknown-linux-gnu", "manylinux2014"),
    "musllinux_x86_64": Platform("x86_64-unknown-linux-musl", "musllinux_1_2"),
    "musllinux_aarch64": Platform("aarch64-unknown-linux-musl", "musllinux_1_2"),
    "manylinux_i686": Platform("i686-unknown-linux-gnu", "manylinux2014"),
    "manylinux_armv7l": Platform("armv7-unknown-linux-gnueabihf", "manylinux2014"),
    "macosx_arm64": Platform("aarch64-apple-darwin"),
    "macosx_x86_64": Platform("x86_64-apple-darwin"),
    "win_amd64": Platform("x86_64-pc-windows-gnu", zig=False),
}

#: What can be built: the name, the platform and the Python.
WHEELS = {
    f"cp{python.replace('.', '')}-{name}": (platform, python)
    for name, platform in PLATFORMS.items()
    for python in PYTHONS
}


def tags(name: str) -> str:
    """Give the tags of Python and of its binary interface that the wheel of a name has, as they stand in its file's name."""
    python, _, _ = name.partition("-")
    return f"{python.removesuffix('t')}-{python}"


def environment() -> dict[str, str]:
    """Give what maturin runs with: it asks no Python of this machine, and writes no path of it into the binary."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYO3_PYTHON", "VIRTUAL_ENV"}}
    remapped = {CARGO_HOME: "cargo", ROOT: "mintws"}
    return {
        **kept,
        "CARGO_TARGET_DIR": str(TARGET),
        # The ziglang beside this Python.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]]),
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(f"--remap-path-prefix={path}={name}" for path, name in remapped.items()),
    }


def maturin(*words: str | Path) -> None:
    """Run maturin."""
    subprocess.run([sys.executable, "-m", "maturin", *words], cwd=ROOT, env=environment(), check=True)


def build(platform: Platform, python: str, out: Path) -> Path:
    """Build the wheel for a platform and a Python, and give its path."""
    subprocess.run(["rustup", "target", "add", platform.triple], check=True, stderr=subprocess.DEVNULL)
    options = ["--release", "--locked", "--strip", "--quiet", "--target", platform.triple, "--interpreter", python]
    if platform.compatibility:
        options += ["--compatibility", platform.compatibility]
    if platform.zig:
        options.append("--zig")
    maturin("build", *options, "--out", out)
    [wheel] = out.glob("*.whl")
    return wheel


def without_paths(wheel: Path, out: Path) -> None:
    """Pack a wheel anew into `out`, its bill of materials with no path of this machine: cargo names the package by its folder."""
    with tempfile.TemporaryDirectory() as folder:
        tool = [sys.executable, "-m", "wheel"]
        subprocess.run([*tool, "unpack", "--dest", folder, wheel], check=True, stdout=subprocess.DEVNULL)
        [unpacked] = Path(folder).iterdir()
        for bill in unpacked.glob("*.dist-info/sboms/*.json"):
            text = bill.read_text(encoding="utf-8")
            bill.write_text(text.replace(f"path+{ROOT.as_uri()}#", "path+file:///mintws#"), encoding="utf-8")
        subprocess.run([*tool, "pack", "--dest-dir", out, unpacked], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Build what is named, or say what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="+", metavar="PATTERN")
    patterns = parser.parse_args().patterns
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in ("sdist", *WHEELS)):
            parser.error(f"{pattern} is none of sdist {' '.join(WHEELS)}")
    OUT.mkdir(parents=True, exist_ok=True)
    if any(fnmatchcase("sdist", pattern) for pattern in patterns):
        maturin("sdist", "--out", OUT)
    for name, (platform, python) in WHEELS.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            print(name, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                without_paths(build(platform, python, Path(folder)), OUT)


if __name__ == "__main__":
    main()
