"""Check what is in target/wheels, and write docs/wheels.md's table: `python wheels/check.py [--python COMMAND]... [--update]`.

Each wheel is looked into, and run with each Python that it is for. A command may have several words, such as
`qemu-aarch64 -L ROOT ROOT/usr/bin/python3.11`: one that emulates another processor.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from build import CARGO_HOME, OUT, ROOT

PAGE = ROOT / "docs" / "wheels.md"
TABLE = re.compile(
    r"(?<=<!-- made by wheels/check.py -->\n).*(?=<!-- end of what wheels/check.py makes -->)", re.DOTALL
)

#: What a Python says of itself: the tag of its wheels, the kind of its system, the processor, and its version.
DESCRIBE = """
import json, platform, sys, sysconfig
system, _, machine = sysconfig.get_platform().partition("-")
linux = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
kind = {"linux": linux, "macosx": "macosx", "win": "win"}[system]
python = "cp%d%d" % sys.version_info[:2]
free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(json.dumps([f"{python}-{python}{free}", kind, machine.rpartition("-")[2], platform.python_version() + free]))
"""

#: How often the time of an import is taken; the least counts.
IMPORTS = 7


@dataclass(frozen=True)
class Python:
    """A Python that wheels are run with."""

    command: list[str]
    tags: str
    system: str
    machine: str
    version: str

    def takes(self, wheel: Path) -> bool:
        """Tell whether a wheel is for this Python."""
        _, _, *tags, platforms = wheel.stem.split("-")
        return "-".join(tags) == self.tags and any(
            it.startswith(self.system) and it.endswith(f"_{self.machine}") for it in platforms.split(".")
        )


def describe(command: str) -> Python:
    """Ask a Python what it is."""
    words = shlex.split(command)
    told = subprocess.run([*words, "-c", DESCRIBE], check=True, capture_output=True, text=True)
    return Python(words, *json.loads(told.stdout))


def look_into(wheel: Path) -> str:
    """Refuse a wheel that names the machine it was built on, or needs more than its tag; give the size of its library."""
    hidden = [str(ROOT).encode(), str(CARGO_HOME).encode(), str(Path.home()).encode() + b"/"]
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            for path in hidden:
                if path in packed.read(name):
                    raise SystemExit(f"{wheel.name}: {name} names {path.decode()}")
        [library] = [it for it in packed.infolist() if it.filename.endswith((".so", ".pyd"))]
    if "manylinux" in wheel.name:
        command = [sys.executable, "-m", "auditwheel", "show", wheel]
        shown = " ".join(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        found = re.search(r'is consistent with the following platform tag: "manylinux_2_(\d+)_', shown)
        if found is None or int(found[1]) > 17:
            raise SystemExit(f"{wheel.name} needs more than glibc 2.17: {shown}")
    return f"{library.file_size / 1000:,.0f} kB"


def processor_time(command: list[str], code: str, environment: dict[str, str], where: str) -> float:
    """Give the least processor time that a program took, in milliseconds."""
    times = []
    for _ in range(IMPORTS):
        before = os.times()
        subprocess.run([*command, "-c", code], env=environment, cwd=where, check=True)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(times) * 1000


def run(wheel: Path, python: Python) -> str:
    """Install a wheel where nothing else is, show it at work, and give the time that importing it takes."""
    demo = f"{wheel}[demo]"
    pip = ["pip", "--quiet", "--disable-pip-version-check", "install"]
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    with tempfile.TemporaryDirectory() as folder:
        if python.command[1:]:
            # pip would take minutes under emulation; the pip of this Python installs for another one.
            series = ".".join(python.version.split(".")[:2])
            other = ["--platform", wheel.stem.rpartition("-")[2].split(".")[0], "--python-version", series]
            subprocess.run(
                [sys.executable, "-m", *pip, "--only-binary", ":all:", *other, "--target", folder, demo], check=True
            )
            command, environment = python.command, {**kept, "PYTHONPATH": folder}
        else:
            subprocess.run([*python.command, "-m", "venv", folder], check=True)
            command, environment = [str(Path(folder, "bin", "python"))], kept
            subprocess.run([*command, "-m", *pip, demo], check=True)
        shown = subprocess.run(
            [*command, "-m", "mintws", "demo"],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        if not shown.stdout.endswith("Every byte came back.\n"):
            raise SystemExit(f"{wheel.name}: {shown.stdout}")
        bare = processor_time(command, "", environment, folder)
        whole = processor_time(command, "import mintws.asyncio", environment, folder)
    return f"{whole - bare:.0f} ms"


def main() -> None:
    """Check all wheels, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], metavar="COMMAND", help="a Python to run wheels with")
    parser.add_argument("--update", action="store_true", help="write docs/wheels.md")
    parser.add_argument("--all-run", action="store_true", help="fail if there is a wheel that no Python can run")
    arguments = parser.parse_args()
    pythons = [describe(command) for command in arguments.python]
    files = sorted(OUT.glob("*"))
    subprocess.run([sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files], check=True)
    lines = ["", "| wheel | size | its library | run with | import |", "| --- | --- | --- | --- | --- |"]
    for wheel in (it for it in files if it.suffix == ".whl"):
        size, library = f"{wheel.stat().st_size / 1000:,.0f} kB", look_into(wheel)
        runs = [(python, run(wheel, python)) for python in pythons if python.takes(wheel)]
        if arguments.all_run and not runs:
            raise SystemExit(f"{wheel.name} was not run: no Python is for it")
        told = ", ".join(f"{it.version}{' by emulation' if it.command[1:] else ''}" for it, _ in runs) or "not run"
        name = "-".join(wheel.stem.split("-")[2:])
        lines.append(f"| {name} | {size} | {library} | {told} | {', '.join(time for _, time in runs)} |")
        print(lines[-1], flush=True)
    tools = ", ".join(f"{it} {version(it)}" for it in ("maturin", "ziglang", "auditwheel", "twine"))
    rust = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    date = datetime.now(timezone.utc).date()
    lines += ["", f"mintws {version('mintws')}, Rust {rust}, {tools}; {date}.", "", ""]
    if arguments.update:
        PAGE.write_text(TABLE.sub(lambda _: "\n".join(lines), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
