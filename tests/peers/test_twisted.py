"""The protocol of Twisted in docs/asgi.md."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path

from conversation import PATIENCE
from process import free_port, python_package, running

from mintws.asyncio import connect

PAGE = Path(__file__).parents[2] / "docs" / "asgi.md"


def test_the_protocol_of_twisted_sends_messages_back(tmp_path: Path) -> None:
    [code] = [
        it.partition("```")[0]
        for it in PAGE.read_text(encoding="utf-8").split("```python\n")
        if "protocol.Protocol" in it.partition("```")[0]
    ]
    port = free_port()
    assert code.count("tcp:8765:") == 1
    program = tmp_path / "echo.py"
    program.write_text(code.replace("tcp:8765:", f"tcp:{port}:"), encoding="utf-8")
    # Daphne brings it along.
    environment = {**os.environ, "PYTHONPATH": str(python_package("asgi"))}
    command = [sys.executable, str(program)]

    async def converse() -> None:
        async with running(command, ports=[port], stdout=DEVNULL, stderr=DEVNULL, env=environment):
            async with connect(f"ws://127.0.0.1:{port}/", http="1.1") as websocket:
                for message in ("hello", b"\0\xff", "x" * 300_000):
                    await websocket.send(message)
                    assert await websocket.recv() == message
            assert websocket.close_code == 1000 and websocket.ending.clean

    asyncio.run(asyncio.wait_for(converse(), PATIENCE))
