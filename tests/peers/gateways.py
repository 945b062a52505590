"""HAProxy and nghttpx, between a client and a server."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from conversation import Certificate, Variant
from process import free_port, need_program, printed, running


class Gateway(ABC):
    """A proxy that takes WebSockets on one side and hands them on, in the other version of HTTP or in the same."""

    name: str

    @property
    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def check(self) -> None:
        """Skip, or fail in CI, if it is missing."""

    @abstractmethod
    def command(self, front: Variant, port: int, back: Variant, onward: int, certificate: Certificate) -> list[str]:
        """Give the command that takes connections on `port` and makes them to `onward`."""

    @asynccontextmanager
    async def between(self, front: Variant, back: Variant, url: str, certificate: Certificate) -> AsyncIterator[str]:
        """Run it before a server; gives the URL for clients."""
        onward = int(url.split(":")[2].split("/", maxsplit=1)[0])
        port = free_port()
        command = self.command(front, port, back, onward, certificate)
        async with running(command, ports=[port], stdout=DEVNULL, stderr=DEVNULL):
            yield f"{front.scheme}://localhost:{port}/chat?room=1"


class Haproxy(Gateway):
    name = "HAProxy"

    @property
    def version(self) -> str:
        found = re.search(r"version (\S+?)[-+ ]", printed("haproxy", "-v"))
        return found[1] if found else "-"

    def check(self) -> None:
        need_program("haproxy", "haproxy")

    def command(self, front: Variant, port: int, back: Variant, onward: int, certificate: Certificate) -> list[str]:
        folder = Path(certificate.cert).parent
        tls = f"ssl crt {folder / 'both.pem'} alpn {'h2' if front.http == '2' else 'http/1.1'}" if front.tls else ""
        version = "h2" if back.http == "2" else "h1"
        onto = f"ssl verify none alpn {'h2' if back.http == '2' else 'http/1.1'}" if back.tls else f"proto {version}"
        config = folder / f"haproxy-{port}.cfg"
        config.write_text(
            "global\n maxconn 100\n"
            "defaults\n mode http\n timeout connect 3s\n timeout client 15s\n timeout server 15s\n timeout tunnel 15s\n"
            f"frontend front\n bind 127.0.0.1:{port} {tls}\n default_backend back\n"
            f"backend back\n server server 127.0.0.1:{onward} {onto} ws {version}\n"
        )
        return ["haproxy", "-db", "-f", str(config)]


class Nghttpx(Gateway):
    name = "nghttpx"

    @property
    def version(self) -> str:
        return printed("nghttpx", "--version").removeprefix("nghttpx nghttp2/")

    def check(self) -> None:
        need_program("nghttpx", "nghttp2-proxy")

    def command(self, front: Variant, port: int, back: Variant, onward: int, certificate: Certificate) -> list[str]:
        proto = "h2" if back.http == "2" else "http/1.1"
        return [
            "nghttpx",
            f"--frontend=127.0.0.1,{port}" + ("" if front.tls else ";no-tls"),
            f"--backend=127.0.0.1,{onward};;proto={proto}" + (";tls" if back.tls else ""),
            f"--npn-list={'h2' if front.http == '2' else 'http/1.1'}",
            "--conf=/dev/null",
            "--insecure",
            "--no-ocsp",
            "--workers=1",
            "--log-level=ERROR",
            "--errorlog-file=/dev/null",
            certificate.key,
            certificate.cert,
        ]
