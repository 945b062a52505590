"""JavaScript runtimes with a WebSocket of their own, which is that of browsers, and servers: Node and its undici, Bun, Deno."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from conversation import HTTP1, HTTP2, Certificate, Ending, Peer, Serving, Variant
from process import missing, node_modules, printed, running

_SCRIPTS = Path(__file__).parent / "runtimes"
#: Two of four, since there are many of them: in clear text without permessage-deflate, and with both.
_HTTP1 = tuple(it for it in HTTP1 if it.tls is it.deflate)
#: They speak HTTP/2 by ALPN, so under TLS only.
_HTTP2 = tuple(it for it in HTTP2 if it.tls)


class Runtime(Peer):
    """One runtime, as a client by the interface of browsers: without Pings and fragments.

    Attributes:
        program: where it is, from node_modules on.
        flags: what stands between it and a script.
        package: what it uses in place of its own WebSocket.
    """

    fragments = pings = False
    program: ClassVar[str]
    flags: ClassVar[tuple[str, ...]] = ()
    package: ClassVar[str] = ""

    @property
    def version(self) -> str:
        return printed(str(self._path), "--version").splitlines()[0].removeprefix("deno ").split(" ")[0]

    def check(self) -> None:
        if not self._path.exists():
            missing(self.name, "npm has none for this system")

    @asynccontextmanager
    async def serve(self, variant: Variant, certificate: Certificate) -> AsyncIterator[Serving]:
        tls = [certificate.cert, certificate.key] if variant.tls else []
        command = self._command("server", "deflate" if variant.deflate else "plain", *tls)
        async with running(command, stdout=PIPE, stderr=DEVNULL, env=_env(certificate)) as process:
            assert process.stdout is not None
            port = json.loads(await asyncio.wait_for(process.stdout.readline(), 10))["port"]
            serving = Serving(f"{variant.scheme}://localhost:{port}/chat?room=1")
            reading = asyncio.ensure_future(_read(process.stdout, serving))
            yield serving
            reading.cancel()

    async def converse(self, url: str, variant: Variant, certificate: Certificate, check: str, server: Peer) -> Ending:
        told = await self.tell(url, variant, certificate, check)
        return Ending(told["code"], told["reason"])

    async def tell(self, url: str, variant: Variant, certificate: Certificate, check: str) -> dict[str, Any]:
        """Hold one conversation as a client, and give what the script prints: code, reason, and whether the end was clean."""
        command = self._command("client", url, variant.http, check, self.package)
        async with running(command, stdout=PIPE, stderr=DEVNULL, env=_env(certificate)) as process:
            assert process.stdout is not None
            told: dict[str, Any] = json.loads(await process.stdout.readline() or b'{"error": "it said nothing"}')
            assert "error" not in told, told["error"]
            assert await asyncio.wait_for(process.wait(), 3) == 0
            return told

    @property
    def _path(self) -> Path:
        return node_modules("runtimes") / self.program

    def _command(self, script: str, *arguments: str) -> list[str]:
        return [str(self._path), *self.flags, str(_SCRIPTS / f"{script}.cjs"), *arguments]


class Node(Runtime):
    """Node's own WebSocket, which waits for the end of the server's stream before it tells of its own."""

    name = "Node"
    calls = (*_HTTP1, *_HTTP2)
    program = f"node-linux-{'arm64' if os.uname().machine == 'aarch64' else 'x64'}/bin/node"


class Undici(Node):
    name = "undici"
    package = "undici"

    @property
    def version(self) -> str:
        wanted = json.loads((_SCRIPTS / "package.json").read_text())["dependencies"]["undici"]
        return f"{wanted}, Node {super().version}"


class Bun(Runtime):
    name = "Bun"
    serves = calls = _HTTP1
    program = f"@oven/bun-linux-{'aarch64' if os.uname().machine == 'aarch64' else 'x64'}/bin/bun"


class Deno(Runtime):
    """Deno, which knows no permessage-deflate, and speaks HTTP/2 as a client that is told to."""

    name = "Deno"
    serves = tuple(it for it in HTTP1 if not it.deflate)
    calls = tuple(it for it in (*HTTP1, *_HTTP2) if not it.deflate)
    program = f"@deno/linux-{'arm64' if os.uname().machine == 'aarch64' else 'x64'}-glibc/deno"
    flags = ("run", "--allow-all", "--no-lock")


async def _read(stdout: asyncio.StreamReader, serving: Serving) -> None:
    while line := await stdout.readline():
        told = json.loads(line)
        serving.endings.put_nowait(Ending(told["code"], told["reason"]))


def _env(certificate: Certificate) -> dict[str, str]:
    trusted = {"NODE_EXTRA_CA_CERTS": certificate.cert, "DENO_CERT": certificate.cert}
    return {**os.environ, **trusted, "NODE_PATH": str(node_modules("runtimes")), "NODE_OPTIONS": ""}
