"""What a connection counts: messages, frames and payload bytes, both ways."""

from __future__ import annotations

import pytest
from wire import frames_of, masked, opened

from mintws import (
    Agreed,
    Binary,
    Close,
    Extension,
    Http1,
    Http2,
    LocalProtocolError,
    Offer,
    PerMessageDeflate,
    Ping,
    Pong,
    PreparedMessage,
    State,
    Text,
    Transform,
)

DEFLATE = PerMessageDeflate(threshold=0)


@pytest.fixture(params=[Http1, Http2])
def carrier(request):
    return request.param


@pytest.fixture(params=["plain", "deflate"])
def pair(request, carrier):
    extensions = [DEFLATE] if request.param == "deflate" else []
    return opened(carrier, extensions, extensions)


def sent(connection):
    counters = connection.counters
    return counters.messages_sent, counters.frames_sent, counters.bytes_sent


def received(connection):
    counters = connection.counters
    return counters.messages_received, counters.frames_received, counters.bytes_received


#: Events, and how many messages, frames and bytes they are.
CASES = {
    "text": ([Text("hé"), Text("")], (2, 2, 3)),
    "binary": ([Binary(b"x" * 70_000)], (1, 1, 70_000)),
    "fragments": ([Text("ab", fin=False), Ping(b"1"), Text("c", fin=False), Text("")], (1, 4, 3)),
    "prepared": ([PreparedMessage(Text("abc")), PreparedMessage(Binary(b"d" * 500))], (2, 2, 503)),
    "control": ([Ping(b"1234"), Pong(b""), Close(1000, "bye")], (0, 3, 0)),
}


@pytest.mark.parametrize(("events", "counts"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("how", ["send", "send_many", "corked", "vectored"])
def test_both_ends_count_the_same(pair, events, counts, how):
    for ours, theirs, carry in (
        (pair.client, pair.server, pair.wire.to_server),
        (pair.server, pair.client, pair.wire.to_client),
    ):
        if ours.state is not State.OPEN:
            continue
        assert sent(ours)[0] == received(theirs)[0] == 0
        before = sent(ours)[1]
        match how:
            case "send":
                data = b"".join(ours.send(event) for event in events)
            case "send_many":
                data = ours.send_many(events)
            case "vectored":
                data = b"".join(bytes(part) for event in events for part in ours.send_vectored(event))
            case _:
                ours.cork()
                for event in events:
                    ours.send(event)
                data = ours.uncork()
        messages, frames, size = sent(ours)
        assert (messages, frames - before, size) == counts
        carry(data)
        assert received(theirs)[0] == counts[0]
        assert received(theirs)[2] == counts[2]
        assert received(theirs)[1] == sent(ours)[1]


def test_a_pong_that_answers_by_itself_is_counted(pair):
    pair.to_server(Ping(b"1"), Ping(b"2"))
    assert sent(pair.server) == (0, 2, 0)
    assert received(pair.client) == (0, 2, 0)


def test_what_comes_in_pieces_is_counted_when_it_is_there():
    pair = opened(Http1)
    data = masked(2, b"x" * 100)
    for at in range(len(data)):
        pair.wire.to_server(data[at : at + 1])
        assert received(pair.server)[0] == (at == len(data) - 1)
    assert received(pair.server) == (1, 1, 100)


def test_parts_count_their_bytes_as_they_come():
    pair = opened(Http1, server={"parts": True})
    pair.wire.to_server(masked(2, b"x" * 10, fin=False))
    assert received(pair.server) == (0, 1, 10)
    pair.wire.to_server(masked(0, b"x" * 5))
    assert received(pair.server) == (1, 2, 15)


def test_a_message_that_breaks_a_rule_is_not_counted():
    pair = opened(Http1)
    pair.wire.to_server(masked(1, b"fine") + masked(1, b"\xff"))
    assert received(pair.server) == (1, 2, 4)


def test_the_counts_stay_when_the_connection_has_ended(pair):
    pair.to_server(Text("abc"))
    (close,) = pair.to_server(Close(1000))
    pair.to_client(close)
    assert pair.client.state is pair.server.state is State.CLOSED
    assert sent(pair.client) == received(pair.server) == (1, 2, 3)
    assert received(pair.client) == sent(pair.server) == (0, 1, 0)


def test_what_may_not_be_sent_is_not_counted(pair):
    pair.client.send(Text("a", fin=False))
    with pytest.raises(LocalProtocolError):
        pair.client.send(Binary(b"b"))
    with pytest.raises(LocalProtocolError):
        pair.client.send_many([Text("c"), Close(1005)])
    assert sent(pair.client) == (0, 1, 1)


class Picky(Transform):
    def send(self, data, *, text):
        if data == b"no":
            raise ValueError(data)
        return data, 0

    def receive(self, data, rsv, *, text):
        return data


class PickyExtension(Extension):
    name = "x-picky"

    def offer(self):
        return ()

    def accept(self, offer):
        return Agreed(Offer(self.name), Picky())

    def agree(self, answer):
        return Agreed(Offer(self.name), Picky())


def test_what_an_extension_keeps_from_being_sent_is_not_counted(carrier):
    pair = opened(carrier, [PickyExtension()], [PickyExtension()])
    with pytest.raises(ValueError, match="no"):
        pair.client.send_many([Binary(b"yes"), Binary(b"no")])
    assert sent(pair.client) == (0, 0, 0)
    assert pair.to_server(Binary(b"yes")) == [Binary(b"yes")]
    assert sent(pair.client) == received(pair.server) == (1, 1, 3)


def test_the_frames_are_those_on_the_wire():
    pair = opened(Http1, [DEFLATE], [DEFLATE])
    data = pair.server.send_many([Text("a" * 1000), Ping(b""), Text("b", fin=False), Text("c"), Close(1000)])
    assert len(frames_of(data)) == sent(pair.server)[1] == 5
