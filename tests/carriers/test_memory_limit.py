"""A connection holds so much for its peer, over all of its WebSockets; beyond that little is inflated, and much gets no credit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import h2.events
import pytest
from wire import BINARY, CLOSE, PING, PONG, RSV1, TEXT, H2Peer, close_payload, deflated, frames_of, masked, opened

from mintws import (
    Binary,
    Close,
    Connection,
    Http1,
    Http2,
    LocalProtocolError,
    PerMessageDeflate,
    Role,
    Text,
    UpgradeAccept,
)
from mintws._core import MessageQueue, ReadyList

KIB, MIB = 1 << 10, 1 << 20
COMPRESSED = ("sec-websocket-extensions", "permessage-deflate; client_no_context_takeover")
ACCEPT = UpgradeAccept(extensions=[PerMessageDeflate()])
LIMIT = 64 * KIB
#: A message of `LIMIT` bytes, in a few.
COMPRESSED_ZEROS = deflated(bytes(LIMIT))
BOMB = masked(BINARY, COMPRESSED_ZEROS, rsv=RSV1)
#: What one queue takes before it is full: that much may come at once when the limit is passed.
QUEUE = 256 * KIB + LIMIT


class Reader:
    """One WebSocket, and who drives it: takes messages from its queue, and lets the peer go on when it may."""

    def __init__(self, peer: H2Peer, ready: ReadyList, run: Callable[[], None]) -> None:
        self.peer = peer
        self.run = run
        self.stream, self.connection = peer.open(COMPRESSED, accept=ACCEPT)
        self.queue = MessageQueue(ready)
        self.connection._deliver_to(self.queue)
        self.sizes: list[int] = []

    def take(self) -> bool:
        """Take a message, or ask for one; say whether there was one."""
        event = self._pop()
        event = self._pop() if event is None else event
        if event is None:
            return False
        assert isinstance(event, (Text, Binary))
        self.sizes.append(len(event.data))
        return True

    def _pop(self) -> Any:
        paused = self.queue._paused
        event = self.queue._pop()
        if paused and not self.queue._paused:
            self.connection._receive_early([])
            self.peer.hear(self.connection.resume())
            self.run()
        return event


class Driven:
    """A server with some WebSockets on one connection."""

    def __init__(self, count: int, **options: Any) -> None:
        self.peer = H2Peer(Role.SERVER, **{"limit": LIMIT, **options})
        self.ready = ReadyList()
        self.readers = [Reader(self.peer, self.ready, self.catch_up) for _ in range(count)]
        self.data_receiver = self.peer.http._data_receiver

    def __iter__(self) -> Iterator[Reader]:
        return iter(self.readers)

    def catch_up(self) -> None:
        """Take what has waited and may go on."""
        while self.data_receiver.behind:
            events, reply = self.peer.http._catch_up()
            assert events == []
            self.peer.hear(reply)

    def deliver(self) -> None:
        """Take what the peer has to send; those are paused whose applications take too little."""
        assert self.peer.deliver() == []
        self.catch_up()
        for queue in self.ready.drain():
            if queue._paused:
                next(it for it in self if it.queue is queue).connection.pause()

    def send(self, reader: Reader, data: bytes) -> None:
        self.peer.h2.send_data(reader.stream, data)
        self.deliver()

    def resets(self) -> list[Any]:
        return self.peer.of(h2.events.StreamReset)


def test_nothing_is_inflated_over_the_limit_for_which_no_reader_waits() -> None:
    driven = Driven(50)
    for reader in driven:
        driven.send(reader, BOMB * 10)
    assert driven.data_receiver.over
    assert driven.data_receiver.held_bytes < 8 * LIMIT + QUEUE + 50 * 10 * len(BOMB)
    assert sum(reader.queue._waiting for reader in driven) * LIMIT <= 8 * LIMIT + QUEUE
    assert driven.resets() == []


def test_each_message_comes_to_the_reader_that_asks_for_it() -> None:
    driven = Driven(50)
    for reader in driven:
        driven.send(reader, BOMB * 10)
    most = 0
    for _ in range(11):
        for reader in driven:
            reader.take()
            most = max(most, driven.data_receiver.held_bytes)
    assert [reader.sizes for reader in driven] == [[LIMIT] * 10] * 50
    assert most < 9 * LIMIT + QUEUE + 50 * 10 * len(BOMB)
    # What the application has taken is seen when something comes.
    driven.send(driven.readers[0], masked(TEXT, b"more"))
    assert (driven.data_receiver.over, driven.resets()) == (False, [])


def test_what_waits_to_be_inflated_goes_on_when_there_is_room_again() -> None:
    driven = Driven(20)
    for reader in driven:
        driven.send(reader, BOMB * 2 + masked(TEXT, b"last"))
    first = [reader for reader in driven if reader.queue._waiting]
    others = [reader for reader in driven if not reader.queue._waiting]
    assert first
    assert others
    for reader in first:
        while reader.take():
            pass
    # Nobody has asked for these; what comes on any stream has all of them be looked at.
    driven.send(first[0], masked(TEXT, b"more"))
    assert first[0].take()
    assert any(reader.queue._waiting for reader in others)
    for reader in driven:
        while reader.take():
            pass
    assert [reader.sizes[:3] for reader in driven] == [[LIMIT, LIMIT, 4]] * 20


def test_messages_that_are_not_compressed_and_control_frames_come_over_the_limit() -> None:
    driven = Driven(20)
    for reader in driven:
        driven.send(reader, BOMB * 2)
    assert driven.data_receiver.over
    last = driven.readers[-1]
    stream, connection = driven.peer.open(COMPRESSED, accept=ACCEPT)
    queue = MessageQueue(driven.ready)
    connection._deliver_to(queue)
    ((_, ping),) = driven.peer.send(stream, masked(TEXT, b"plain") + masked(PING, b"there?") + BOMB)
    assert (queue._waiting, ping.data) == (1, b"there?")
    assert frames_of(driven.peer.data(stream))[-1][2:] == (PONG, b"there?")
    assert last.queue._waiting == 0


def test_what_was_unfinished_when_the_limit_was_passed_is_not_inflated_either() -> None:
    driven = Driven(40)
    half = len(BOMB) // 2
    cut = [masked(BINARY, COMPRESSED_ZEROS[:half], rsv=RSV1, fin=False), masked(0, COMPRESSED_ZEROS[half:])]
    for number, reader in enumerate(driven):
        driven.send(reader, BOMB[:half] if number % 2 else cut[0])
    driven.send(driven.readers[0], b"")
    assert not driven.data_receiver.over
    for number, reader in enumerate(driven):
        driven.send(reader, BOMB[half:] if number % 2 else cut[1])
    assert driven.data_receiver.over
    assert sum(reader.queue._waiting for reader in driven) == 8
    for _ in range(2):
        for reader in driven:
            reader.take()
    assert [sum(reader.sizes) for reader in driven] == [LIMIT] * 40


def test_discarded_messages_take_no_room() -> None:
    driven = Driven(20)
    for reader in driven:
        driven.send(reader, BOMB * 2)
    stalled = driven.readers[-1]
    assert stalled.queue._discard()
    stalled.connection._receive_early([])
    driven.peer.hear(stalled.connection.resume())
    assert (stalled.queue._waiting, stalled.queue._discarded) == (0, 2)


def test_what_waits_for_the_windows_of_the_peer_counts() -> None:
    peer = H2Peer(Role.SERVER, {4: 0}, limit=LIMIT)
    _, one = peer.open()
    stream, other = peer.open(COMPRESSED, accept=ACCEPT)
    queue = MessageQueue(ReadyList())
    other._deliver_to(queue)
    one.send(Binary(bytes(7 * LIMIT)))
    assert peer.http._data_receiver.held_bytes == one.buffered
    for _ in range(4):
        peer.send(stream, BOMB)
    assert (peer.http._data_receiver.over, queue._waiting) == (True, 1)
    peer.h2.increment_flow_control_window(8 * LIMIT)
    peer.h2.increment_flow_control_window(8 * LIMIT, one.carrier.number)
    peer.deliver()
    assert one.buffered == 0
    assert (peer.http._data_receiver.over, queue._paused) == (False, False)
    one.send(Binary(bytes(2 * LIMIT)))
    one.abort()
    assert peer.http._data_receiver.held_bytes < 2 * LIMIT


# A peer that is slow, and no more than that, is never reset, and is never kept waiting for ever.


def sent_as_windows_let(driven: Driven, left: dict[int, bytes], order: random.Random) -> bool:
    """Send what the peer still has, a piece of each message in a random order; say whether it could send anything."""
    progress = False
    for stream in order.sample(list(left), len(left)):
        room = driven.peer.h2.local_flow_control_window(stream)
        size = min(room, len(left[stream]), order.choice([1000, 16_000]), driven.peer.h2.max_outbound_frame_size)
        if size > 0:
            driven.peer.h2.send_data(stream, left[stream][:size])
            left[stream] = left[stream][size:]
            progress = True
            driven.deliver()
        if not left[stream]:
            del left[stream]
    return progress


@pytest.mark.parametrize("memory", [1, 2, 8])
@pytest.mark.parametrize("takes", ["at once", "seldom"])
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_large_messages_side_by_side_all_come_whatever_the_limit(memory: int, takes: str, compress: bool) -> None:
    order = random.Random(memory)
    limit = 600 * KIB
    driven = Driven(10, limit=limit, memory_limit=memory * limit)
    payload = order.randbytes(limit)
    message = masked(BINARY, deflated(payload[:-1000]), rsv=RSV1) if compress else masked(BINARY, payload)
    size = limit - 1000 if compress else limit
    left = {reader.stream: message * 2 for reader in driven}
    for rounds in range(10_000):
        progress = sent_as_windows_let(driven, left, order)
        for reader in driven:
            if takes == "at once" or order.random() < 0.1 or not progress:
                progress |= reader.take()
        if not left and sum(len(reader.sizes) for reader in driven) == 20:
            break
        if not progress:
            # Readers that are woken ask once more.
            assert any(reader.take() for reader in driven), f"nothing moves after {rounds} rounds"
    assert [reader.sizes for reader in driven] == [[size] * 2] * 10
    assert driven.resets() == []


def test_small_messages_go_on_beside_streams_that_hold_too_much() -> None:
    limit = 256 * KIB
    driven = Driven(101, limit=limit, memory_limit=2 * limit, window=65_535)
    *slow, good = driven.readers
    for reader in slow:
        driven.send(reader, masked(BINARY, bytes(limit))[:10_000])
    assert driven.data_receiver.over
    for number in range(1000):
        driven.send(good, masked(BINARY, bytes(1000)) * 10)
        while good.take():
            pass
        assert len(good.sizes) == (number + 1) * 10
    assert driven.resets() == []


def test_credit_is_kept_from_those_that_hold_more_than_their_share_and_given_when_there_is_room() -> None:
    limit = 256 * KIB
    driven = Driven(4, limit=limit, memory_limit=2 * limit)
    unfinished = masked(BINARY, bytes(limit))[: 220 * KIB]
    for reader in driven:
        for at in range(0, len(unfinished), 16 * KIB):
            driven.send(reader, unfinished[at : at + 16 * KIB])
    assert driven.data_receiver.over
    windows = {reader.stream: driven.peer.h2.local_flow_control_window(reader.stream) for reader in driven}
    first, second, third, fourth = driven.readers
    assert windows[first.stream] > 256 * KIB
    assert max(windows[third.stream], windows[fourth.stream]) == 256 * KIB - len(unfinished)
    rest = masked(BINARY, bytes(limit))[220 * KIB :]
    for reader in (first, second):
        for at in range(0, len(rest), 16 * KIB):
            driven.send(reader, rest[at : at + 16 * KIB])
        reader.take()
    driven.send(first, masked(TEXT, b"x"))
    assert not driven.data_receiver.over
    for reader in (third, fourth):
        left, credit = driven.data_receiver.window(reader.stream)
        assert driven.peer.h2.local_flow_control_window(reader.stream) == left
        assert left > 256 * KIB - len(unfinished)
        assert credit == 0


def test_messages_that_nobody_takes_keep_no_credit_from_others_once_they_are_taken() -> None:
    driven = Driven(5, limit=200 * KIB, memory_limit=200 * KIB)
    for reader in driven:
        for _ in range(20):
            driven.send(reader, masked(BINARY, bytes(10 * KIB)))
    assert driven.data_receiver.over
    for reader in driven:
        while reader.take():
            pass
    assert [sum(reader.sizes) for reader in driven] == [200 * KIB] * 5
    assert not driven.data_receiver.over
    for reader in driven:
        assert sum(driven.data_receiver.window(reader.stream) or ()) >= 256 * KIB


def test_a_close_behind_what_waits_to_be_inflated_is_found() -> None:
    driven = Driven(20)
    for reader in driven:
        driven.send(reader, BOMB * 2)
    stalled = driven.readers[-1]
    driven.send(stalled, masked(CLOSE, close_payload(1000)))
    assert stalled.connection._is_close_waiting()
    assert stalled.queue._abandon()
    events: list[Any] = []
    stalled.connection._receive_early(events)
    assert events == [(stalled.connection, Close(1000))]


# The argument.


def test_no_limit_is_none() -> None:
    for options in ({"memory_limit": None}, {"limit": None}):
        driven = Driven(20, **options)
        for reader in driven:
            driven.send(reader, BOMB * 4)
        assert sum(reader.queue._waiting for reader in driven) == 80
        assert not driven.data_receiver.over


@pytest.mark.parametrize("http", [Http1, Http2])
@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"memory_limit": -1}, LocalProtocolError, r"memory_limit must be 0 to 2\^63-1 bytes"),
        ({"memory_limit": MIB - 1}, LocalProtocolError, "memory_limit must be at least limit"),
        ({"memory_limit": 5 * MIB, "limit": None}, LocalProtocolError, "memory_limit must be None, as limit is"),
        ({"memory_limit": "8"}, TypeError, 'memory_limit is an int: a number of bytes, "auto" for 8 times `limit`'),
        ({"memory_limit": True}, TypeError, "memory_limit is an int"),
    ],
)
def test_a_limit_that_has_no_room_for_a_message_is_refused(http: Any, options: Any, error: Any, told: str) -> None:
    with pytest.raises(error, match=told):
        http(Role.SERVER, **options)


@pytest.mark.parametrize("http", [Http1, Http2])
def test_a_limit_for_parts_may_be_less_than_that_of_a_message(http: Any) -> None:
    http(Role.SERVER, parts=True, limit=None, memory_limit=MIB)


@pytest.mark.parametrize("cls", [Http1, Http2], ids=["1.1", "2"])
@pytest.mark.parametrize(("memory", "waiting"), [("auto", 5), (LIMIT, 2), (4 * LIMIT, 2), (None, 5)])
def test_a_queue_is_full_before_it_takes_more_than_there_is(cls: Any, memory: Any, waiting: int) -> None:
    extensions = [PerMessageDeflate()]
    pair = opened(cls, extensions, extensions, limit=LIMIT, memory_limit=memory)
    queue = MessageQueue(ReadyList())
    server: Connection = pair.server
    server._deliver_to(queue)
    for _ in range(10):
        pair.to_server(Binary(bytes(LIMIT)), compress=True)
    # One of 256 KiB is full, or of less; then it takes one more, if the connection is within its limit.
    assert 1 <= waiting - queue._waiting + 1 <= 2
    assert queue._paused
