"""Gateways between a client and a server, with the configurations of docs/gateways.md as they stand there."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import ClassVar

from conversation import Certificate, Variant
from process import free_port, need_program, printed, python_package, running

PAGE = Path(__file__).parents[2] / "docs" / "gateways.md"


@cache
def recipes() -> dict[str, str]:
    """Give the configurations of the page, by the file names in their first lines."""
    return dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))


class Gateway(ABC):
    """A proxy that takes WebSockets on one side and hands them on, in the other version of HTTP or in the same.

    Its configuration has TLS in front, with both versions of HTTP by ALPN, and none to the server.

    Attributes:
        files: its configurations in docs/gateways.md, by the version of HTTP that the server is spoken to.
        clear_front: the edit, what and by what, that takes TLS from the front; None if there is none.
        tls_back: for each version of HTTP, the edit that puts TLS on the way to the server.
        fronts: the versions of HTTP in which it takes WebSockets.
        at_once: how many WebSockets it takes at a time on an HTTP/2 connection; None for as many as the server does.
        recorded: CI does not have it: it takes part with `--recorded` alone.
        environment: variables that it needs.
    """

    name: str
    files: ClassVar[dict[str, str]]
    clear_front: ClassVar[tuple[str, str] | None] = None
    tls_back: ClassVar[dict[str, tuple[str, str]]] = {}
    fronts: ClassVar[tuple[str, ...]] = ("1.1", "2")
    at_once: ClassVar[int | None] = None
    recorded: ClassVar[bool] = False
    environment: ClassVar[dict[str, str]] = {}

    @property
    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def check(self) -> None:
        """Skip, or fail in CI, if it is missing."""

    @abstractmethod
    def command(self, config: Path) -> list[str]:
        """Give the command that runs it in the foreground."""

    def takes(self, front: Variant, back: Variant) -> bool:
        """Tell whether it goes between such connections."""
        return (
            front.http in self.fronts
            and back.http in self.files
            and (front.tls or self.clear_front is not None)
            and (back.http in self.tls_back or not back.tls)
        )

    @asynccontextmanager
    async def between(self, front: Variant, back: Variant, url: str, certificate: Certificate) -> AsyncIterator[str]:
        """Run it before a server; gives the URL for clients."""
        port = free_port()
        config = self._configure(front, port, back, url.split(":")[2].split("/", maxsplit=1)[0], certificate)
        # What it keeps is kept with its configuration.
        kept = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(config.parent))
        environment = {**os.environ, **kept, **self.environment}
        async with running(self.command(config), ports=[port], stdout=DEVNULL, stderr=DEVNULL, env=environment):
            yield f"{front.scheme}://localhost:{port}/chat?room=1"

    def _configure(self, front: Variant, port: int, back: Variant, onward: str, certificate: Certificate) -> Path:
        """Write its configuration, with our ports and certificate for those of the page."""
        text = recipes()[self.files[back.http]]
        folder = Path(certificate.cert).parent
        edits = [self.clear_front] if self.clear_front and not front.tls else []
        edits += [self.tls_back[back.http]] if back.tls else []
        for old, new in edits:
            assert old in text, f"{self.files[back.http]} lacks {old!r}"
            text = text.replace(old, new)
        ours = {"8443": str(port), "8765": onward, "/etc/tls": str(folder)}
        text = re.sub("|".join(ours), lambda found: ours[found[0]], text)
        config = folder / f"{port}-{self.files[back.http]}"
        config.write_text(text)
        return config


class Envoy(Gateway):
    name = "Envoy"
    files: ClassVar[dict[str, str]] = {"1.1": "envoy-http1.yaml", "2": "envoy-http2.yaml"}

    @property
    def version(self) -> str:
        found = re.search(r"/(\d\S+?)/", printed(str(self._program), "--version"))
        return found[1] if found else "-"

    def check(self) -> None:
        assert self._program.exists()

    def command(self, config: Path) -> list[str]:
        return [str(self._program), "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1"]

    @property
    def _program(self) -> Path:
        return python_package("envoy") / "envoy" / "_bin" / "envoy"


class Haproxy(Gateway):
    name = "HAProxy"
    files: ClassVar[dict[str, str]] = {"1.1": "haproxy-http1.cfg", "2": "haproxy-http2.cfg"}
    clear_front = (" ssl crt /etc/tls/both.pem alpn h2,http/1.1", "")
    tls_back: ClassVar[dict[str, tuple[str, str]]] = {
        "1.1": (" proto h1 ", " ssl verify none alpn http/1.1 "),
        "2": (" proto h2 ", " ssl verify none alpn h2 "),
    }

    @property
    def version(self) -> str:
        found = re.search(r"version (\S+?)[-+ ]", printed("haproxy", "-v"))
        return found[1] if found else "-"

    def check(self) -> None:
        need_program("haproxy", "haproxy")

    def command(self, config: Path) -> list[str]:
        return ["haproxy", "-db", "-f", str(config)]


class Nghttpx(Gateway):
    name = "nghttpx"
    files: ClassVar[dict[str, str]] = {"1.1": "nghttpx-http1.conf", "2": "nghttpx-http2.conf"}
    clear_front = ("frontend=127.0.0.1,8443", "frontend=127.0.0.1,8443;no-tls")
    tls_back: ClassVar[dict[str, tuple[str, str]]] = {
        "1.1": (";;proto=http/1.1", ";;proto=http/1.1;tls\ninsecure=yes"),
        "2": (";;proto=h2", ";;proto=h2;tls\ninsecure=yes"),
    }

    @property
    def version(self) -> str:
        return printed("nghttpx", "--version").removeprefix("nghttpx nghttp2/")

    def check(self) -> None:
        need_program("nghttpx", "nghttp2-proxy")

    def command(self, config: Path) -> list[str]:
        return ["nghttpx", f"--conf={config}"]


class Caddy(Gateway):
    name = "Caddy"
    files: ClassVar[dict[str, str]] = {"1.1": "Caddyfile"}
    recorded = True
    environment: ClassVar[dict[str, str]] = {"GODEBUG": "http2xconnect=1"}

    @property
    def version(self) -> str:
        found = re.search(r"github.com/caddyserver/caddy/v2\s+v(\S+)", printed("caddy", "build-info"))
        return found[1] if found else "-"

    def check(self) -> None:
        need_program("caddy", "caddy", "go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9")

    def command(self, config: Path) -> list[str]:
        return ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]


class Apache(Gateway):
    name = "Apache"
    files: ClassVar[dict[str, str]] = {"1.1": "httpd.conf"}
    at_once = 6
    recorded = True

    @property
    def version(self) -> str:
        found = re.search(r"Apache/(\S+)", printed("apache2", "-v"))
        return found[1] if found else "-"

    def check(self) -> None:
        need_program("apache2", "apache2-bin")

    def command(self, config: Path) -> list[str]:
        here = [f"PidFile {config}.pid", "ErrorLog /dev/null", "User nobody", "Group nogroup"]
        options = [option for it in here for option in ("-c", it)]
        return ["apache2", "-D", "FOREGROUND", "-d", str(config.parent), "-f", str(config), *options]


class Lighttpd(Gateway):
    name = "lighttpd"
    files: ClassVar[dict[str, str]] = {"1.1": "lighttpd.conf"}
    at_once = 8
    recorded = True

    @property
    def version(self) -> str:
        return printed("lighttpd", "-v").split(" ")[0].removeprefix("lighttpd/")

    def check(self) -> None:
        need_program("lighttpd", "lighttpd, lighttpd-mod-openssl")

    def command(self, config: Path) -> list[str]:
        return ["lighttpd", "-D", "-f", str(config)]


class Nginx(Gateway):
    """nginx, which takes WebSockets over HTTP/1.1 alone."""

    name = "nginx"
    files: ClassVar[dict[str, str]] = {"1.1": "nginx.conf"}
    fronts = ("1.1",)
    recorded = True

    @property
    def version(self) -> str:
        return printed("nginx", "-v").removeprefix("nginx version: nginx/")

    def check(self) -> None:
        need_program("nginx", "nginx")

    def command(self, config: Path) -> list[str]:
        return ["nginx", "-c", str(config), "-e", "/dev/null", "-g", f"daemon off; pid {config}.pid;"]


GATEWAYS = (Envoy(), Haproxy(), Nghttpx(), Caddy(), Apache(), Lighttpd(), Nginx())
