"""Chromium, headless, with a page that our own server serves.

One browser visits a server for each variant; its page holds all conversations, and posts how they went.
"""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import DEVNULL
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import hpack
import known
import pytest
from conversation import CHECKS, HTTP1, HTTP2, Certificate, Ending, Variant, agree
from ours import Mintws
from process import need_program, printed, running
from table import Row

from mintws import State
from mintws.asyncio import WebSocket
from mintws.events import Request, Response

PAGE = Path(__file__).parent / "chromium" / "page.html"
#: A browser speaks HTTP/2 under TLS only.
VARIANTS = (*HTTP1, *(it for it in HTTP2 if it.tls))
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-popup-blocking",
    "--no-proxy-server",
)
#: Seconds for all that the browser does.
PATIENCE = 90.0


@dataclass
class Visit:
    """What a browser and a server said of each other."""

    ours: Mintws
    url: str = ""
    #: What the page told, by check.
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: How many WebSockets were open at one time on each connection.
    together: Counter[Any] = field(default_factory=Counter)
    #: Over HTTP/2 the heads of its requests, as HPACK decoded them.
    heads: list[dict[str, str]] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def websocket(self, check: str) -> WebSocket:
        """The one of a check, as our server has it."""
        asked = check.replace(" ", "%20")
        found = [it for it in self.ours.seen if it.request is not None and it.request.target == f"/chat?check={asked}"]
        assert len(found) == 1, f"the server saw {len(found)} requests for {check!r}"
        return found[0]


@pytest.fixture(scope="module")
def visits(certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> dict[Variant, Visit]:
    need_program("chromium", "chromium")
    return asyncio.run(_visit_all(certificate, tmp_path_factory.mktemp("chromium")))


async def _visit_all(certificate: Certificate, folder: Path) -> dict[Variant, Visit]:
    visits: dict[Variant, Visit] = {}
    async with AsyncExitStack() as stack:
        following = ""
        for variant in reversed(VARIANTS):
            visit = visits[variant] = Visit(Mintws())
            visit.ours.how["respond"] = _responder(visit, following)
            serving = await stack.enter_async_context(visit.ours.serve(variant, certificate))
            following = visit.url = serving.url.replace("ws", "http", 1).split("/chat")[0] + "/"
        trust = f"--ignore-certificate-errors-spki-list={certificate.spki}"
        command = ["chromium", *FLAGS, trust, f"--user-data-dir={folder}", following]
        home = {**os.environ, "HOME": str(folder)}
        heads = stack.enter_context(_decoded())
        async with running(command, stdout=DEVNULL, stderr=DEVNULL, env=home):
            waiting = [asyncio.ensure_future(visit.done.wait()) for visit in visits.values()]
            await asyncio.wait(waiting, timeout=PATIENCE)
            for one in waiting:
                one.cancel()
    for visit in visits.values():
        visit.heads = [head for head in heads if f"//{head.get(':authority')}/" in visit.url]
    return visits


@contextmanager
def _decoded() -> Iterator[list[dict[str, str]]]:
    """Give all heads that come over HTTP/2, before our code sees them."""
    heads: list[dict[str, str]] = []
    decode = hpack.Decoder.decode

    def recorded(self: hpack.Decoder, data: bytes, raw: bool = False) -> Any:
        fields = decode(self, data, raw)
        heads.append({bytes(it[0]).decode(): bytes(it[1]).decode() for it in fields} if raw else dict(fields))
        return fields

    with mock.patch.object(hpack.Decoder, "decode", recorded):
        yield heads


def _responder(visit: Visit, following: str) -> Any:
    def respond(request: Request) -> Response:
        path = request.target.partition("?")[0]
        if request.method == "POST" and path == "/report":
            visit.told = json.loads(request.body or b"{}")
            visit.done.set()
            return Response(200, (("Content-Type", "text/plain"),), following.encode())
        if request.method == "POST" and path == "/together":
            visit.together.update(_peer(it) for it in visit.ours.seen if it.state is State.OPEN)
            return Response(200)
        if request.method == "GET" and path in ("/", "/tab"):
            return Response(200, (("Content-Type", "text/html; charset=utf-8"),), PAGE.read_bytes())
        return Response(404)

    return respond


def _peer(websocket: WebSocket) -> Any:
    """The other end of the TCP connection."""
    return websocket.transport.get_extra_info("peername")


def _fill(row: Row, variant: Variant, check: str) -> None:
    row.peer, row.version, row.direction = "Chromium", printed("chromium", "--version").split()[1], "client"
    row.http, row.tls, row.deflate, row.check = variant.http, variant.tls, variant.deflate, check
    row.known = known.find(row.peer, False, variant, check)
    if variant.http == "2":
        row.remark = "by extended CONNECT: `:method` and `:protocol` as they came to our server"


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_chromium(visits: dict[Variant, Visit], variant: Variant, check: str, row: Row) -> None:
    _fill(row, variant, check)
    visit = visits[variant]
    assert check in visit.told, f"the page told nothing of it, but {visit.told}"
    told = visit.told[check]
    assert "error" not in told, told["error"]
    assert told["wasClean"], told
    websocket = visit.websocket(check)
    assert websocket.connection.carrier.http_version == variant.http
    assert bool(websocket.connection.extensions) is variant.deflate
    assert websocket.ending.clean, websocket.ending
    agree(check, Ending(told["code"], told["reason"]), visit.ours.told[websocket])
    heads = [head for head in visit.heads if websocket.request and head[":path"] == websocket.request.target]
    if variant.http == "2":
        (head,) = heads
        assert (head[":method"], head[":protocol"], head[":scheme"]) == ("CONNECT", "websocket", "https")
    else:
        assert not heads


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_sockets_of_several_tabs(visits: dict[Variant, Visit], variant: Variant, row: Row) -> None:
    """Over HTTP/2 they share one connection; over HTTP/1.1 each has its own. A tab that is closed abruptly hurts none."""
    _fill(row, variant, "16 sockets of 3 tabs, and 3 of one that is closed")
    visit = visits[variant]
    assert visit.told.get("together") == {"code": 1000}, visit.told
    expected = [16] if variant.http == "2" else [1] * 16
    assert list(visit.together.values()) == expected
