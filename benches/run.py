"""All benchmarks: `python benches/run.py [--full]` measures, keeps the figures in `results/`, and draws the charts."""

from __future__ import annotations

import argparse
import sys
import time

import charts
import core
import echo
import fanout
import measure
import memory


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="all cases, more rounds: about 25 minutes")
    args = parser.parse_args()
    start = time.monotonic()
    print(measure.describe(measure.machine()))
    for name, suite in (("echo", echo.run), ("fanout", fanout.run), ("memory", memory.run), ("core", core.run)):
        measure.keep(name, suite(full=args.full), full=args.full)
    print(f"\nthe targets, after {time.monotonic() - start:.0f} s")
    charts.main()


if __name__ == "__main__":
    sys.exit(main())
