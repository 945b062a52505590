"""h2spec, a suite of cases of HTTP/2: all pass but those that RFC 9113 does not ask for."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conversation import PATIENCE, Certificate
from process import h2spec, running, server_context

from mintws.asyncio import WebSocket, serve
from mintws.events import Request, Response

#: Cases of RFC 7540 that are not of RFC 9113: their section, the case and the reason.
EXCEPTED = {
    # What comes behind a RST_STREAM of the peer was on its way, and is dropped: a reset would be no news (RFC 9113 §5.1).
    ("5.1. Stream States", "closed: Sends a DATA frame after sending RST_STREAM frame"),
    ("5.1. Stream States", "closed: Sends a HEADERS frame after sending RST_STREAM frame"),
    # The same behind both ends of the stream, which RFC 9113 §5.1 allows to be an error and does not make one.
    ("5.1. Stream States", "closed: Sends a DATA frame"),
    # RFC 9113 §5.3.2 deprecates the priorities in HEADERS: they are passed over.
    ("5.3.1. Stream Dependencies", "Sends HEADERS frame that depend on itself"),
}
#: Without TLS the port takes HTTP/1.1 too: what is not HTTP/2 is answered with a 400.
EXCEPTED_IN_CLEAR_TEXT = {("3.5. HTTP/2 Connection Preface", "Sends invalid connection preface")}


async def respond(request: Request) -> Response:
    """Answer after what the case sends next, so that its stream is still open here when that comes."""
    await asyncio.sleep(0.2)
    return Response(200, [("Content-Type", "text/plain")], b"a page\n")


async def no_websocket(websocket: WebSocket) -> None:
    raise AssertionError("h2spec opens no WebSocket")


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_cases_of_h2spec_pass_that_rfc_9113_asks_for(tls: bool, certificate: Certificate, tmp_path: Path) -> None:
    program, report = h2spec(), tmp_path / "report.xml"

    async def converse() -> None:
        ssl = server_context(certificate) if tls else None
        async with serve(no_websocket, "localhost", 0, ssl=ssl, respond=respond) as server:
            where = ["--host", "localhost", "--port", str(server.port), *(["--tls", "--insecure"] if tls else [])]
            command = [str(program), *where, "--strict", "--junit-report", str(report)]
            async with running(command, stdout=DEVNULL, stderr=DEVNULL) as process:
                await process.wait()

    asyncio.run(asyncio.wait_for(converse(), 5 * PATIENCE))
    cases = [(suite.get("name"), case.get("classname"), case) for suite in ET.parse(report).getroot() for case in suite]
    failed = {(suite, name) for suite, name, case in cases if len(case)}
    assert failed == EXCEPTED | (set() if tls else EXCEPTED_IN_CLEAR_TEXT)
    assert len(cases) == 146
