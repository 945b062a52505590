"""Chromium, headless, driven by its DevTools protocol, which is spoken over a WebSocket of ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from process import need_program

from mintws.asyncio import WebSocket, connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)
#: Seconds for a command, or for what is waited for on a page.
BOUND = 60.0


class Tab:
    """One page.

    Attributes:
        faults: what was logged as an error, or thrown.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.faults: list[Any] = []
        self._websocket = websocket
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.ensure_future(self._read())

    async def call(self, method: str, **params: Any) -> Any:
        """Carry out a command; return its result."""
        number = len(self._waiting)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._websocket.send(json.dumps({"id": number, "method": method, "params": params}))
        told = await asyncio.wait_for(answer, BOUND)
        assert "error" not in told, (method, told)
        return told["result"]

    async def evaluate(self, script: str) -> Any:
        """Evaluate an expression on the page; return its value."""
        told = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def wait_for(self, script: str) -> None:
        """Wait until an expression is true on the page."""
        end = asyncio.get_running_loop().time() + BOUND
        while not await self.evaluate(script):
            assert asyncio.get_running_loop().time() < end, f"never true: {script}; faults: {self.faults}"
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._websocket:
            told = json.loads(message)
            if "id" in told:
                self._waiting[told["id"]].set_result(told)
            elif (
                told["method"] == "Runtime.exceptionThrown"
                or told.get("params", {}).get("entry", {}).get("level") == "error"
            ):
                self.faults.append(told["params"])


@asynccontextmanager
async def browsing(folder: Path) -> AsyncIterator[Tab]:
    """Run the browser, with its files in a folder; give its page."""
    need_program("chromium", "chromium")
    command = [
        "chromium",
        *FLAGS,
        "--ignore-certificate-errors",
        f"--user-data-dir={folder / 'profile'}",
        "about:blank",
    ]
    home = {**os.environ, "HOME": str(folder)}
    process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=PIPE, env=home)
    try:
        assert process.stderr is not None
        line = b""
        while b"DevTools listening on ws://" not in line:
            line = await asyncio.wait_for(process.stderr.readline(), BOUND)
            assert line, "the browser has ended"
        # Read on, so that the browser is not held up.
        draining = asyncio.ensure_future(process.stderr.read())
        port = int(line.split(b"127.0.0.1:")[1].split(b"/")[0])
        address = f"ws://127.0.0.1:{port}/devtools/page/{await _page(line.decode().split()[-1])}"
        async with connect(address, limit=None, ping_interval=None) as websocket:
            tab = Tab(websocket)
            for domain in ("Page", "Runtime", "Log"):
                await tab.call(f"{domain}.enable")
            yield tab
            await tab.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        draining.cancel()


async def _page(browser: str) -> str:
    """Return the identifier of the first page."""
    async with connect(browser, ping_interval=None) as websocket:
        found: list[Any] = []
        while not found:
            await websocket.send(json.dumps({"id": 0, "method": "Target.getTargets"}))
            told = json.loads(await websocket.recv())
            found = [it for it in told["result"]["targetInfos"] if it["type"] == "page"]
        return str(found[0]["targetId"])
