"""Node: npm's `ws` over HTTP/1.1, and on streams of Node's own http2 (RFC 8441)."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from conversation import HTTP1, HTTP2, Certificate, Ending, Peer, Serving, Variant
from process import node_modules, printed, running

_SCRIPTS = Path(__file__).parent / "node"


class Node(Peer):
    name = "node http2 + ws"
    serves = calls = (*HTTP1, *HTTP2)

    @property
    def version(self) -> str:
        wanted = json.loads((_SCRIPTS / "package.json").read_text())["dependencies"]["ws"]
        return f"{printed('node', '--version')}, ws {wanted}"

    def check(self) -> None:
        node_modules()

    @asynccontextmanager
    async def serve(self, variant: Variant, certificate: Certificate) -> AsyncIterator[Serving]:
        tls = [certificate.cert, certificate.key] if variant.tls else []
        async with running([*_script("server", variant), *tls], stdout=PIPE, env=_env()) as process:
            assert process.stdout is not None
            port = json.loads(await asyncio.wait_for(process.stdout.readline(), 10))["port"]
            serving = Serving(f"{variant.scheme}://localhost:{port}/chat?room=1")
            reading = asyncio.ensure_future(_read(process.stdout, serving))
            yield serving
            reading.cancel()

    async def converse(self, url: str, variant: Variant, certificate: Certificate, check: str, server: Peer) -> Ending:
        command = ["node", str(_SCRIPTS / "client.cjs"), url, variant.http, _compression(variant), check]
        tls = [certificate.cert] if variant.tls else []
        async with running([*command, *tls], stdout=PIPE, env=_env()) as process:
            assert process.stdout is not None
            told: dict[str, Any] = json.loads(await process.stdout.readline() or b'{"error": "it said nothing"}')
            assert "error" not in told, told["error"]
            assert await asyncio.wait_for(process.wait(), 3) == 0
            return Ending(told["code"], told["reason"])


async def _read(stdout: asyncio.StreamReader, serving: Serving) -> None:
    while line := await stdout.readline():
        told = json.loads(line)
        serving.endings.put_nowait(Ending(told["code"], told["reason"]))


def _script(name: str, variant: Variant) -> list[str]:
    return ["node", str(_SCRIPTS / f"{name}.cjs"), variant.http, _compression(variant)]


def _compression(variant: Variant) -> str:
    return "deflate" if variant.deflate else "plain"


def _env() -> dict[str, str]:
    return {**os.environ, "NODE_PATH": str(node_modules()), "NODE_OPTIONS": ""}
