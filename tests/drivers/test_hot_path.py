"""What a message costs in Python: nothing but the application's own code, in the core's steady state."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest
from drivers.conftest import listening, url

import mintws
from mintws.asyncio import connect_http2

PACKAGE = str(Path(mintws.__file__).parent)
MESSAGES = 200


async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)


@pytest.mark.parametrize("streams", [1, 20])
def test_messages_over_http2_pass_the_core_alone(run, streams):
    entered: Counter[str] = Counter()

    def see(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            entered[frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name] += 1

    async def talk(websocket):
        for _ in range(MESSAGES):
            await websocket.send("hello")
            assert await websocket.recv() == "hello"

    async def work():
        async with listening(echo, extensions=(), ping_interval=None) as server:
            async with connect_http2(url(server), ping_interval=None) as client:
                websockets = [await client.open("/", extensions=()) for _ in range(streams)]
                await asyncio.gather(*map(talk, websockets))
                sys.setprofile(see)
                try:
                    await asyncio.gather(*map(talk, websockets))
                finally:
                    sys.setprofile(None)

    run(work())
    # The frame that awaits the handler is entered anew whenever the handler goes on.
    others = {name: times for name, times in entered.items() if not name.endswith("_run")}
    assert sum(others.values()) <= MESSAGES * streams / 20, entered.most_common(10)
