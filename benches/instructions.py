"""Instructions of the hot paths, counted by valgrind's callgrind: no clock, so that a busy machine sees a regression too.

    python benches/instructions.py            compare with instructions.json; fail at more than 3 %
    python benches/instructions.py --record   write instructions.json

Those of Python depend on its version, so they are compared with the same version only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import measure
import paths

RECORD = measure.ROOT / "benches" / "instructions.json"
TOLERANCE = 0.03


def count(command: list[str]) -> int:
    """Count the instructions of a program."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*valgrind, *command], env=environment, capture_output=True, text=True, check=False)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not collected:
        raise RuntimeError(f"{command} failed: {done.stderr[-2000:]}")
    return int(collected[1])


def measured(recorded: dict[str, int]) -> dict[str, int]:
    """Count each path: instructions a round. What starting costs is counted by itself and taken off.

    What seems worse than `recorded` is counted once more, and the smaller number holds: where memory lies differs from run to run.
    """
    hot = str(measure.build_load() / "hot")
    native = subprocess.run([hot], capture_output=True, text=True, check=True).stdout.splitlines()
    runs: dict[str, list[str]] = {}
    for name in native:
        runs[name], runs[f"{name} start"] = [hot, name, "150"], [hot, name, "50"]
    for name in paths.PATHS:
        runs[name], runs[f"{name} start"] = list(measure.python("paths.py", name)), list(measure.python("paths.py"))

    def counted(names: list[str]) -> dict[str, int]:
        wanted = {tuple(runs[key]) for name in names for key in (name, f"{name} start")}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            counts = dict(zip(wanted, pool.map(count, map(list, wanted)), strict=True))
        rounds = {name: 100 if name in native else paths.ROUNDS.get(name, 20_000) for name in names}
        return {
            name: (counts[tuple(runs[name])] - counts[tuple(runs[f"{name} start"])]) // rounds[name] for name in names
        }

    found = counted([*native, *paths.PATHS])
    worse = [name for name, it in found.items() if it > recorded.get(name, it) * (1 + TOLERANCE)]
    for name, again in counted(worse).items() if worse else ():
        found[name] = min(found[name], again)
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    version = ".".join(platform.python_version_tuple()[:2])
    if args.record:
        RECORD.write_text(json.dumps({"python": version, "instructions": measured({})}, indent=1) + "\n")
        return 0
    recorded = json.loads(RECORD.read_text())
    now = measured(recorded["instructions"])
    same_python = recorded["python"] == version
    worse = []
    for name, instructions in now.items():
        before = recorded["instructions"].get(name)
        if before is None or (name in paths.PATHS and not same_python):
            print(f"{name:45} {instructions:>10,}  not recorded for this Python")
            continue
        change = instructions / before - 1
        mark = "  WORSE" if change > TOLERANCE else "  better: record it" if change < -TOLERANCE else ""
        print(f"{name:45} {instructions:>10,} {change:+8.1%}{mark}")
        if change > TOLERANCE:
            worse.append(name)
    if worse:
        print(f"\nmore than {TOLERANCE:.0%} above {RECORD.relative_to(measure.ROOT)}: {', '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
