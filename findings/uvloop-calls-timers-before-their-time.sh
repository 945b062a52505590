#!/usr/bin/env bash
# Surprise: uvloop rounds the time of a timer to the nearest millisecond. A callback of loop.call_at() can run up to half
# a millisecond before the time that it was set for, by the same loop.time(); code that looks again at its deadline in the
# callback finds that it is not due yet, and a repeat that adds its interval to "when it ran" drifts. Half a millisecond
# or less is no timer at all: call_later(0.0004, f) is a call_soon(f), which runs before another call_soon() that
# follows it, and gives a handle without when(), though asyncio documents a TimerHandle. No handle of uvloop is an
# instance of asyncio.TimerHandle. asyncio's own loop runs none of 100 early.
# Versions: uvloop 0.23.0, and asyncio of the python3 that runs this (3.10 and newer).
# Source: asyncio's documentation of loop.call_later(), loop.call_at() and asyncio.TimerHandle.when(); uvloop's issues
# 482 (the handle, open since 2022) and 233 (the rounding, closed in 2019 as solved); all of it is observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0

cat > "$folder/main.py" <<'PYTHON'
import asyncio
import sys

import uvloop


async def earliness(loop, delay):
    """How long before its time a timer ran; negative if after it."""
    at, ran = loop.time() + delay, loop.create_future()
    loop.call_at(at, lambda: ran.set_result(loop.time()))
    return at - await ran


async def look():
    loop = asyncio.get_running_loop()
    early = [it for i in range(100) if (it := await earliness(loop, 0.0014 + i * 0.00001)) > 0]
    order = []
    short = loop.call_later(0.0004, order.append, "call_later(0.0004)")
    loop.call_soon(order.append, "call_soon()")
    longer = loop.call_later(0.01, order.append, "call_later(0.01)")
    await asyncio.sleep(0.05)
    return early, order, [hasattr(it, "when") for it in (short, longer)], isinstance(longer, asyncio.TimerHandle)


print("Python", sys.version.split()[0], "uvloop", uvloop.__version__)
for name, run, expected in (
    ("asyncio", asyncio.run, (False, "call_soon()", [True, True], True)),
    ("uvloop", uvloop.run, (True, "call_later(0.0004)", [False, True], False)),
):
    early, order, tells, is_timer = run(asyncio.wait_for(look(), 20))
    most = max(early, default=0) * 1000
    print(f"{name}: {len(early)} of 100 timers ran early, by up to {most:.2f} ms; order of calls: {', '.join(order)}")
    print(f"    handles of 0.4 ms and of 10 ms have when(): {tells}; that of 10 ms is an asyncio.TimerHandle: {is_timer}")
    assert (bool(early), order[0], tells, is_timer) == expected, f"{name} behaves differently now"
    assert most <= 0.6, f"{name} runs timers even earlier"
PYTHON
timeout 60 "$folder/venv/bin/python" "$folder/main.py"
