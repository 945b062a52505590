"""What all benchmarks share: where they run, how they repeat, what they keep."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches" / "results"
TARGET = ROOT / "target" / "benches"
PACKAGES = (
    "mintws",
    "h11",
    "h2",
    "wsproto",
    "websockets",
    "aiohttp",
    "picows",
    "websocket-rs",
    "uvicorn",
    "hypercorn",
    "uvloop",
)
#: What is measured runs on the first of these, what drives it on the last.
CORES = sorted(os.sched_getaffinity(0))


def machine() -> dict[str, Any]:
    """Say where the figures come from."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": f"{model}, {os.cpu_count()} cores, {platform.machine()}",
        # Of the release what says something: the rest names a build.
        "system": f"{platform.system()} {'.'.join(platform.release().split('-')[0].split('.')[:2])}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def describe(where: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    return f"{where['processor']}; {where['system']}; CPython {where['python']}; {versions}; {where['date']}"


def keep(name: str, rows: list[dict[str, Any]], *, full: bool) -> None:
    """Write a run's figures to `results/NAME.json`, a row a line."""
    RESULTS.mkdir(exist_ok=True)
    head = json.dumps({"machine": machine(), "full": full})[1:-1]
    lines = ",\n".join(json.dumps(row) for row in rows)
    (RESULTS / f"{name}.json").write_text(f'{{{head}, "rows": [\n{lines}\n]}}\n')


def kept(name: str) -> dict[str, Any] | None:
    """Read what `keep` wrote."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def interleave(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, dict[str, float]]:
    """Run all cases by turns, so that what disturbs the machine disturbs all alike; give each one's minimum and median."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            times[name].append(case())
    return {name: {"min": min(them), "median": statistics.median(them)} for name, them in times.items() if them}


def table(title: str, rows: Mapping[str, Mapping[str, float]], unit: str = "") -> None:
    """Print cases by peers: the minimum, and how many times the first peer's it is."""
    peers = list(dict.fromkeys(peer for row in rows.values() for peer in row))
    width = max([len(name) for name in rows] + [len(title)])
    print(f"\n{title.ljust(width)} " + " ".join(f"{peer[:18]:>18}" for peer in peers) + f"   {unit}")
    for name, row in rows.items():
        first = row.get(peers[0])
        cells = []
        for peer in peers:
            value = row.get(peer)
            if value is None:
                cells.append(f"{'-':>18}")
                continue
            ratio = f" {value / first:6.2f}x" if first and peer != peers[0] else ""
            cells.append(f"{value:{18 - len(ratio)},.{0 if value >= 100 else 2}f}{ratio}")
        print(name.ljust(width) + " " + " ".join(cells), flush=True)


def build_load() -> Path:
    """Build the native load generator and give its folder."""
    command = ["cargo", "build", "--release", "--quiet", "--target-dir", str(TARGET)]
    subprocess.run([*command, "--manifest-path", str(ROOT / "benches" / "load" / "Cargo.toml")], check=True)
    return TARGET / "release"


@contextmanager
def process(*command: str, core: int, stdin: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run a program on one core, and end it."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE if stdin else None,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509  (no threads here)
    ) as running:
        try:
            yield running
        finally:
            running.terminate()


def cpu_seconds(pid: int) -> float:
    """How long the threads of a process have run, to the nanosecond where the kernel says so."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except FileNotFoundError:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """How many bytes of a process are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def python(*args: str) -> tuple[str, ...]:
    """The command that runs a script of this folder."""
    return (sys.executable, str(ROOT / "benches" / args[0]), *args[1:])


def installed(name: str) -> bool:
    return _version(name) is not None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
