"""Nothing of a connection outlives those who hold it."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest
from wire import REQUEST, Pair, closing, opened

from mintws import Agreed, Extension, Http1, Http2, Offer, Role, Text, Transform, UpgradeAccept
from mintws.events import Response


class Plain(Transform):
    def send(self, data: bytes, *, text: bool) -> tuple[bytes, int]:
        return data, 0

    def receive(self, data: bytes, rsv: int, *, text: bool) -> bytes:
        return data


class Own(Extension):
    """An extension written in Python, which does nothing."""

    name = "plain"

    def offer(self) -> Any:
        return ()

    def accept(self, offer: Any) -> Agreed:
        return Agreed(Offer(self.name), Plain())

    agree = accept


def talk(pair: Pair) -> None:
    assert pair.to_server(Text("hello")) == [Text("hello")]


def close(pair: Pair) -> None:
    talk(pair)
    closing(pair)


@pytest.mark.parametrize("cls", [Http1, Http2])
@pytest.mark.parametrize("extensions", [(), (Own(),)], ids=["plain", "transforms"])
@pytest.mark.parametrize("live", [talk, close], ids=["left open", "closed"])
def test_a_connection_that_nobody_holds_is_gone(cls: Any, extensions: Any, live: Any) -> None:
    pair = opened(cls, extensions, extensions)
    live(pair)
    alive = [weakref.ref(it) for it in (pair.client, pair.server, pair.wire.client, pair.wire.server)]
    del pair
    gc.collect()
    assert [ref() for ref in alive] == [None] * 4


def test_a_websocket_does_not_keep_the_body_of_an_earlier_request() -> None:
    http = Http1(Role.SERVER)
    body = b"x" * 1_000_000
    events, _ = http.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    (request,) = filter(None, (http.collect(event) for _, event in events))
    assert request.body == body
    http.respond(request, Response(200))
    ((conn, _),), _ = http.receive(REQUEST + b"\r\n")
    conn.send(UpgradeAccept())
    del events, request
    kept = [it for it in gc.get_referents(http) if isinstance(it, bytes | bytearray | tuple)]
    assert sum(map(sys.getsizeof, kept)) < 1000


def test_a_closed_stream_is_forgotten_by_its_http2_connection() -> None:
    pair = opened(Http2)
    close(pair)
    alive = [weakref.ref(pair.client), weakref.ref(pair.server)]
    wire = pair.wire
    wire._forget()
    del pair
    gc.collect()
    assert [ref() for ref in alive] == [None] * 2
    assert wire.client.can_open
