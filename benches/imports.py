"""Measure what `import mintws` costs beyond `h11`, and how much of it is whose: `python benches/imports.py`."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys


def durations(code: str) -> dict[str, int]:
    """Give the microseconds that each module took in a new process, those that it imports included."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], stderr=subprocess.PIPE, text=True, check=True
    )
    return {name: int(time) for time, name in re.findall(r"\| +(\d+) \| *(\S+)$", done.stderr, re.MULTILINE)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="how many processes; the fastest counts (default: 7)")
    runs = parser.parse_args().runs
    print("milliseconds")
    for label, code, module in [
        ("h11 alone", "import h11", "h11"),
        ("mintws beyond h11", "import h11, mintws", "mintws"),
        ("Http2 beyond mintws", "import mintws; mintws.Http2", "mintws.http2"),
        (
            "mintws.asyncio beyond asyncio and mintws, without h2",
            "import asyncio, ssl, mintws, mintws.asyncio",
            "mintws.asyncio",
        ),
    ]:
        least = min(durations(code)[module] for _ in range(runs))
        print(f"{least / 1000:7.1f}  {label}")


if __name__ == "__main__":
    main()
