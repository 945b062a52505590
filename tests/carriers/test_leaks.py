"""Messages, openings and closings leave no memory behind: counted in blocks of Python's allocator, which any object takes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
from wire import Pair, Wire, closing, opened

from mintws import Binary, Http1, Http2, PerMessageDeflate, Text
from mintws.events import Request, Response

#: The blocks that may be left whatever is done: caches of the interpreter, and tables that grew.
SPARE = 200

CARRIERS = pytest.mark.parametrize("cls", [Http1, Http2], ids=["1.1", "2"])
EXTENSIONS = pytest.mark.parametrize("extensions", [(), (PerMessageDeflate(threshold=0),)], ids=["plain", "deflate"])
TIMES = [pytest.param(1_000, id="1,000"), pytest.param(100_000, id="100,000", marks=pytest.mark.slow)]


def left_behind(work: Callable[[int], None], times: int, warm: int) -> int:
    """Give the blocks that are left of work which was done so many times, once it was done `warm` times."""
    work(warm)
    gc.collect()
    before = sys.getallocatedblocks()
    work(times)
    gc.collect()
    return sys.getallocatedblocks() - before


@CARRIERS
@EXTENSIONS
@pytest.mark.parametrize("times", TIMES)
def test_messages_of_all_sizes_leave_nothing_behind(cls: Any, extensions: Any, times: int) -> None:
    pair = opened(cls, extensions, extensions)

    def exchange(count: int) -> None:
        for number in range(count):
            # Sizes of all forms of a length, each in chunks of its own.
            size = (number * 797) % 3000 if number % 50 else 70_000
            event = Binary(bytes(size)) if number % 2 else Text("m" * size)
            for send in (pair.to_server, pair.to_client):
                assert send(event) == [event]

    assert left_behind(exchange, times, 200) < SPARE


@CARRIERS
@EXTENSIONS
@pytest.mark.parametrize(
    "times", [pytest.param(200, id="200"), pytest.param(2_000, id="2,000", marks=pytest.mark.slow)]
)
def test_openings_and_closings_leave_nothing_behind(cls: Any, extensions: Any, times: int) -> None:
    def live(count: int) -> None:
        for _ in range(count):
            pair = opened(cls, extensions, extensions)
            assert pair.to_server(Text("hello")) == [Text("hello")]
            closing(pair)

    assert left_behind(live, times, 20) < SPARE


@pytest.mark.parametrize(
    "times", [pytest.param(500, id="500"), pytest.param(4_000, id="4,000", marks=pytest.mark.slow)]
)
def test_streams_and_ordinary_requests_of_one_connection_leave_nothing_behind(times: int) -> None:
    wire = Wire(Http2)

    def live(count: int) -> None:
        for _ in range(count):
            closing(Pair(wire))
            _, data = wire.client.request(Request("POST", "/", (("host", "a"),), bytes(1000)))
            wire.to_server(data)
            (asked,) = [made for _, event in wire.server_said if (made := wire.server.collect(event))]
            wire.to_client(wire.server.respond(asked, Response(200, body=bytes(1000))))
            (answer,) = [made for _, event in wire.client_said if (made := wire.client.collect(event))]
            assert answer.body == bytes(1000)
            wire._forget()

    # h2 remembers how streams have ended, up to a number of them.
    assert left_behind(live, times, 600) < SPARE
