"""All benchmarks: `python benches/run.py [--full]` measures, keeps the figures in `results/`, and draws the charts."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import charts
import core
import echo
import fanout
import measure
import memory
import on_trio
import sync


def threads(*, full: bool) -> list[dict[str, Any]]:
    """Measure the driver for threads."""
    return sync.run(5 if full else 2, ["clients", "servers"], 1.0 if full else 0.5)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="all cases, more rounds: about 25 minutes")
    args = parser.parse_args()
    start = time.monotonic()
    print(measure.describe(measure.machine()))
    suites: dict[str, Callable[..., list[dict[str, Any]]]] = {
        "echo": echo.run,
        "sync": threads,
        "trio": on_trio.run,
        "fanout": fanout.run,
        "memory": memory.run,
        "core": core.run,
    }
    for name, suite in suites.items():
        measure.keep(name, suite(full=args.full), full=args.full)
    print(f"\nthe targets, after {time.monotonic() - start:.0f} s")
    charts.main()


if __name__ == "__main__":
    sys.exit(main())
