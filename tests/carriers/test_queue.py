"""A driver of any kind takes messages from queues: they know no event loop, and say on a list that they are worth a look."""

from __future__ import annotations

from typing import Any

import pytest
from wire import opened

from mintws import Close, Http1, Http2, Text
from mintws._core import MessageQueue, ReadyList

CARRIERS = pytest.mark.parametrize("cls", [Http1, Http2], ids=["1.1", "2"])

#: The messages that wait before a queue is full.
FULL = 257


def queued(cls: Any) -> tuple[Any, ReadyList, MessageQueue]:
    pair = opened(cls, (), ())
    ready = ReadyList()
    queue = MessageQueue(ready)
    pair.server._deliver_to(queue)
    return pair, ready, queue


def pop_all(queue: MessageQueue) -> list[Any]:
    return list(iter(queue._pop, None))


@CARRIERS
def test_messages_go_to_the_queue_in_order_and_it_is_listed_once(cls: Any) -> None:
    pair, ready, queue = queued(cls)
    texts = [Text(str(number)) for number in range(10)]
    events = [event for text in texts for event in pair.to_server(text)]
    assert events == []
    assert ready.drain() == [queue]
    assert queue._waiting == 10
    assert pop_all(queue) == texts
    assert (queue._taken, queue._waiting) == (10, 0)
    pair.to_server(Text("again"))
    assert ready.drain() == [queue]
    assert ready.drain() == []


@CARRIERS
def test_a_full_queue_is_listed_and_keeps_what_follows_as_bytes(cls: Any) -> None:
    pair, ready, queue = queued(cls)
    for number in range(FULL - 1):
        pair.to_server(Text(str(number)))
    assert ready.drain() == [queue]
    assert not queue._paused
    pair.to_server(Text("fills it"))
    pair.to_server(Text("waits as bytes"))
    assert ready.drain() == [queue]
    assert queue._paused
    assert len(pop_all(queue)) == FULL
    assert not queue._paused
    pair.server._receive_early([])
    assert ready.drain() == [queue]
    assert pop_all(queue) == [Text("waits as bytes")]


@CARRIERS
def test_what_is_no_message_stays_an_event(cls: Any) -> None:
    pair, ready, queue = queued(cls)
    pair.to_server(Text("last"))
    assert pair.to_server(Close(1000)) == [Close(1000)]
    queue._finish()
    assert ready.drain() == [queue]
    assert pop_all(queue) == [Text("last")]


def test_the_end_lists_an_empty_queue_once() -> None:
    _, ready, queue = queued(Http1)
    queue._finish()
    queue._finish()
    assert ready.drain() == [queue]
    assert queue._pop() is None


@CARRIERS
@pytest.mark.parametrize("drop", ["_discard", "_abandon"])
def test_beyond_what_may_wait_messages_are_dropped_and_counted(cls: Any, drop: str) -> None:
    pair, _, queue = queued(cls)
    for number in range(FULL):
        pair.to_server(Text(str(number)))
    pair.to_server(Text("waits as bytes"))
    assert queue._paused
    assert getattr(queue, drop)(), "the peer may go on"
    assert not getattr(queue, drop)(), "it was told so before"
    pair.server._receive_early([])
    pair.to_server(Text("is dropped too"))
    assert (queue._waiting, queue._discarded, queue._paused) == (FULL, 2, False)


@CARRIERS
def test_abandoned_messages_wait_again_where_that_is_asked_for(cls: Any) -> None:
    pair, _, queue = queued(cls)
    assert not queue._abandon()
    queue._keep()
    for number in range(FULL + 1):
        pair.to_server(Text(str(number)))
    assert (queue._waiting, queue._discarded, queue._paused) == (FULL, 0, True)


def test_discarded_messages_never_wait_again() -> None:
    pair, _, queue = queued(Http1)
    queue._discard()
    queue._keep()
    assert not queue._abandon()
    for number in range(FULL + 1):
        pair.to_server(Text(str(number)))
    assert not queue._paused
    assert queue._discarded > 0
