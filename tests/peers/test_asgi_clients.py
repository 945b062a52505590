"""An application of FastAPI under uvicorn, with our classes: a page in Chromium that chats, and curl that sends bodies."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conversation import PATIENCE, Certificate
from process import free_port, need_program, running
from test_chromium import FLAGS

FOLDER = Path(__file__).parent / "asgi"
#: What runs uvicorn: `make installed` names the Python of an environment that has a wheel of ours.
PYTHON = os.environ.get("MINTWS_INSTALLED", sys.executable)
CLASSES = ("--http", "mintws.uvicorn:HttpProtocol", "--ws", "mintws.uvicorn:WebSocketProtocol")


@asynccontextmanager
async def chatting(certificate: Certificate | None, events: Path) -> AsyncIterator[int]:
    """Run the chat; give its port."""
    port = free_port()
    tls = ["--ssl-certfile", certificate.cert, "--ssl-keyfile", certificate.key] if certificate else []
    command = [PYTHON, "-m", "uvicorn", "chat:app", *CLASSES, "--app-dir", str(FOLDER), "--port", str(port), *tls]
    environment = {**os.environ, "EVENTS": str(events)}
    async with running(command, ports=[port], stdout=DEVNULL, stderr=DEVNULL, env=environment):
        yield port


def test_a_page_in_chromium_chats_over_one_http2_connection(certificate: Certificate, tmp_path: Path) -> None:
    need_program("chromium", "chromium")
    events, picture = tmp_path / "events", tmp_path / "chat.png"

    async def visit() -> None:
        async with chatting(certificate, events) as port:
            trust = f"--ignore-certificate-errors-spki-list={certificate.spki}"
            shot = [f"--screenshot={picture}", "--window-size=800,600", f"--user-data-dir={tmp_path / 'profile'}"]
            command = ["chromium", *FLAGS, trust, *shot, f"https://localhost:{port}/"]
            home = {**os.environ, "HOME": str(tmp_path)}
            async with running(command, stdout=DEVNULL, stderr=DEVNULL, env=home) as browser:
                await browser.wait()

    asyncio.run(asyncio.wait_for(visit(), 3 * PATIENCE))
    [line] = events.read_text().splitlines()
    report = json.loads(line)
    assert report["told"] == {"version": "h2", "ends": [{"code": 1000, "wasClean": True}] * 2, "same": True}
    kinds, versions, ports = zip(*report["scopes"], strict=True)
    assert sorted(kinds) == ["http", "http", "websocket", "websocket"]
    assert set(versions) == {"2"}
    assert len(set(ports)) == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize("http", ["1.1", "2"])
def test_curl_sends_whole_bodies(http: str, tls: bool, certificate: Certificate, tmp_path: Path) -> None:
    need_program("curl", "curl")
    body = tmp_path / "body"
    body.write_bytes(bytes(5_000_000))
    version = {"1.1": "--http1.1", "2": "--http2" if tls else "--http2-prior-knowledge"}[http]

    async def post() -> bytes:
        async with chatting(certificate if tls else None, tmp_path / "events") as port:
            url = f"{'https' if tls else 'http'}://localhost:{port}/size"
            options = ["--silent", "--max-time", "15", "--cacert", certificate.cert, "--data-binary", f"@{body}"]
            async with running(["curl", version, *options, url], stdout=PIPE) as process:
                assert process.stdout is not None
                return await process.stdout.read()

    answer = asyncio.run(asyncio.wait_for(post(), 2 * PATIENCE))
    assert json.loads(answer) == {"size": 5_000_000, "version": http}
