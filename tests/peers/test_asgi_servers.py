"""How servers of ASGI applications treat WebSockets, case by case: docs/asgi.md has the table, and this run is held to it.

`ASGI_TABLE=write pytest tests/peers/test_asgi_servers.py -n 0` writes it.
"""

from __future__ import annotations

import asyncio
import os
from importlib import metadata
from pathlib import Path

import pytest
from process import python_package
from with_asgi import CASES, OLDEST, SERVERS, AsgiServer, request

PAGE = Path(__file__).parents[2] / "docs" / "asgi.md"
BEGIN = "<!-- made by tests/peers/test_asgi_servers.py -->\n"
END = "<!-- end of what tests/peers/test_asgi_servers.py makes -->\n"
#: What mintws wants of itself; the specification says the first of these, the codes of its table and the rest where it says anything.
OURS = {
    "returns before its answer: the client gets": "500",
    "raises before its answer: the client gets": "500",
    "closes before its answer: the client gets": "403",
    "refuses with 418, in two parts: the client gets": "418 'teapot'",
    "returns: the client gets": "1000",
    "raises: the client gets": "1011",
    "closes with 4002 and a reason: the client gets": "4002 'enough'",
    "accepts with a subprotocol and a header twice: the client gets": "tea; mint, green",
    "the client closes with 4003 and a reason: it is told": "4003 'off'",
    "the client closes without a code: it is told": "1005",
    "the client vanishes: it is told": "1006",
    "sends after the client has closed: it gets": "OSError",
    "sends back empty messages": "they come back",
    "headers of its scope": "all, in order",
    "ports of its scope; version of the specification": "int; 2.5",
    "path and raw_path of its scope": "/path/räume; /path/r%C3%A4ume",
    "its scope has a state; extensions": "yes; websocket.http.response",
    "accepts twice: it gets": "an exception",
    "is sent empty text and empty bytes: the keys of the events": "text, bytes",
    "frames in one segment with the request": "they are received",
    "the server stops: the client gets": "1012",
}

#: Where it cannot be so, by the servers that we have a part in.
OVER_HTTP2 = {"headers of its scope": "-", "frames in one segment with the request": "-"}
# uvicorn reads the head, and what came with it, before our class is asked.
READ_BY_UVICORN = {"frames in one segment with the request": "they are lost"}
EXCEPTIONS = {
    "mintws": {},
    "mintws, HTTP/2": OVER_HTTP2,
    "uvicorn, mintws, HTTP/2": OVER_HTTP2,
    "uvicorn, mintws": READ_BY_UVICORN,
    "uvicorn, mintws, HTTP/1.1 by our class": READ_BY_UVICORN,
}


def table() -> list[list[str]]:
    text = PAGE.read_text(encoding="utf-8")
    made = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    rows = [line.strip("|").split("|") for line in made.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in row] for row in rows]


def write(results: dict[str, dict[str, str]]) -> None:
    versions = {"mintws": metadata.version("mintws")}
    for it in metadata.distributions(path=[str(python_package("asgi"))]):
        versions[it.name.lower()] = it.version
    text = PAGE.read_text(encoding="utf-8")
    rows = [["an application", *results], *([case, *(it[case] for it in results.values())] for case in CASES)]
    rows.insert(1, ["---"] * len(rows[0]))
    said = ", ".join(
        f"{it} {versions[it.lower()]}" for it in ("uvicorn", "hypercorn", "granian", "daphne", "websockets", "wsproto")
    )
    made = "\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows) + f"\n{said}.\n\n"
    PAGE.write_text(text[: text.index(BEGIN) + len(BEGIN)] + made + text[text.index(END) :], encoding="utf-8")


async def observed(server: AsgiServer, folder: Path) -> dict[str, str]:
    async with server.serve(folder) as served:
        return {name: await asyncio.wait_for(case(served), 20) for name, case in CASES.items()}


@pytest.mark.parametrize("server", SERVERS, ids=lambda it: it.name)
def test_the_table_says_what_a_server_does(server: AsgiServer, tmp_path: Path) -> None:
    found = asyncio.run(observed(server, tmp_path))
    if server.name in EXCEPTIONS:
        assert found == OURS | EXCEPTIONS[server.name]
    if os.environ.get("ASGI_TABLE") == "write":
        RESULTS[server.name] = found
        if len(RESULTS) == len(SERVERS):
            write(RESULTS)
        return
    head, *rows = table()
    column = head.index(server.name)
    assert found == {row[0]: row[column] for row in rows}


@pytest.mark.parametrize("server", OLDEST, ids=lambda it: it.name)
def test_the_oldest_uvicorn_that_is_promised_does_the_same(server: AsgiServer, tmp_path: Path) -> None:
    async def work() -> tuple[dict[str, str], tuple[int, bytes]]:
        async with server.serve(tmp_path) as served:
            response = await asyncio.wait_for(request(served.port, served.http, "GET", "/"), 20)
        return await observed(server, tmp_path), response

    found, response = asyncio.run(work())
    assert found == OURS | EXCEPTIONS[server.name]
    assert response == (200, server.http.encode())


RESULTS: dict[str, dict[str, str]] = {}
