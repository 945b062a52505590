"""Nothing of a connection outlives those who hold it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from wire import Pair, closing, opened

from mintws import Agreed, Extension, Http1, Http2, Offer, Text, Transform


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
