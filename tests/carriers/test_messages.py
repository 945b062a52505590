"""Messages over both carriers: what one end sends, the other receives."""

import pytest
from wire import closing, echo, opened

from mintws import Binary, Close, Http1, Http2, PerMessageDeflate, Ping, Pong, State, Text

PMD = PerMessageDeflate(threshold=0)
EVENTS = [
    Text(""),
    Text("Hello"),
    Text("caf\u00e9 \u20ac \U0001f600"),
    Text("x" * 200_000),
    Binary(b""),
    Binary(bytes(range(256))),
    Binary(b"\xff" * 200_000),
    Ping(b""),
    Ping(b"x" * 125),
    Pong(b""),
    Pong(b"unasked"),
]


@pytest.fixture(params=[Http1, Http2])
def carrier(request):
    return request.param


@pytest.fixture(params=["plain", "deflate"])
def extensions(request):
    return [PMD] if request.param == "deflate" else []


def both(pair):
    """The two ways to send."""
    return [pair.to_server, pair.to_client]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: repr(event)[:20])
def test_event_arrives(carrier, extensions, event):
    for send in both(opened(carrier, extensions, extensions)):
        assert send(event) == [event]


def test_all_events_arrive_in_their_order(carrier, extensions):
    for send in both(opened(carrier, extensions, extensions)):
        assert send(*EVENTS) == EVENTS


def test_fragments_arrive_as_one_message(carrier, extensions):
    for send in both(opened(carrier, extensions, extensions)):
        parts = [Text("a", fin=False), Ping(b"within"), Text("", fin=False), Text("b" * 1000, fin=False), Text("c")]
        assert send(*parts) == [Ping(b"within"), Text("a" + "b" * 1000 + "c")]


def test_fragments_arrive_one_by_one_with_parts(carrier, extensions):
    pair = opened(carrier, extensions, extensions, parts=True)
    for send in both(pair):
        assert send(Binary(b"one", fin=False)) == [Binary(b"one", fin=False)]
        assert send(Binary(b"two", fin=False)) == [Binary(b"two", fin=False)]
        assert send(Binary(b"")) == [Binary(b"")]
        assert send(Text("whole")) == [Text("whole")]


def test_text_arrives_as_bytes(carrier, extensions):
    pair = opened(carrier, extensions, extensions, text_as_bytes=True)
    for send in both(pair):
        (event,) = send(Text("caf\u00e9"))
        assert event == Text("caf\u00e9".encode())
        (event,) = send(Text("x" * 100_000))
        assert event.data == b"x" * 100_000


def test_ping_is_answered_by_itself(carrier):
    pair = opened(carrier)
    pair.to_server(Ping(b"p"))
    assert [event for _, event in pair.wire.client_said] == [Pong(b"p")]


def test_ping_is_left_to_the_caller(carrier):
    pair = opened(carrier, auto_pong=False)
    assert pair.to_server(Ping(b"p")) == [Ping(b"p")]
    assert pair.wire.client_said == []
    assert pair.to_client(Pong(b"p")) == [Pong(b"p")]


def test_closing_begun_by_either(carrier, extensions):
    pair = opened(carrier, extensions, extensions)
    closing(pair)
    assert pair.client.state is pair.server.state is State.CLOSED
    pair = opened(carrier, extensions, extensions)
    assert pair.to_client(Close(1001, "away")) == [Close(1001, "away")]
    assert pair.to_server(Close(1001)) == [Close(1001)]
    assert pair.client.state is pair.server.state is State.CLOSED


def test_answer_goes_out_before_our_close(carrier):
    # A message and a Close in one chunk: the answer is owed before the Close.
    pair = opened(carrier)
    message, close = pair.to_server(Text("question"), Close(1000))
    assert pair.to_client(Text("answer to " + message.data), close) == [Text("answer to question"), Close(1000)]
    assert pair.client.state is State.CLOSED


def test_answer_goes_out_before_the_close_of_a_fault(carrier):
    pair = opened(carrier, server={"limit": 10})
    message, failed = pair.to_server(Text("question"), Text("x" * 11))
    answer, close = pair.to_client(Text("answer to " + message.data), failed)
    assert answer == Text("answer to question")
    assert close.code == 1009


def test_limit_is_inclusive(carrier, extensions):
    pair = opened(carrier, extensions, extensions, limit=1000)
    for send in both(pair):
        assert send(Binary(bytes(1000))) == [Binary(bytes(1000))]
    (failed,) = pair.to_server(Binary(bytes(1001)))
    assert failed.error.code == 1009


def test_after_release_all_goes_on(carrier, extensions):
    pair = opened(carrier, extensions, extensions)
    for _ in range(3):
        echo(pair, "some text " * 20)
        pair.client.release()
        pair.server.release()


def test_ends_say_what_was_agreed(carrier):
    pair = opened(carrier, [PMD], [PMD])
    assert [it.answer.name for it in pair.client.extensions] == ["permessage-deflate"]
    assert [it.answer for it in pair.client.extensions] == [it.answer for it in pair.server.extensions]
    assert pair.client.request.host == pair.server.request.host == "example.com"
    assert pair.client.subprotocol is None
    assert "OPEN" in repr(pair.client)


def test_unknown_option_is_a_type_error(carrier):
    with pytest.raises(TypeError):
        opened(carrier, max_size=5)


def test_sequence_of_the_same_entropy_gives_the_same_bytes(carrier):
    # A connection is the fold of its inputs.
    def run() -> list[bytes]:
        pair = opened(carrier, [PMD], [PMD], entropy=lambda n: bytes(range(n)))
        return [pair.client.send(event) for event in EVENTS] + [pair.server.send(event) for event in EVENTS]

    assert run() == run()


def test_pause_and_resume_lose_nothing(carrier):
    pair = opened(carrier)
    pair.server.pause()
    assert pair.to_server(Text("a")) == [Text("a")]
    pair.wire.to_client(pair.server.resume())
    assert pair.to_server(Text("b")) == [Text("b")]


def test_buffered_is_0_when_all_has_gone(carrier):
    pair = opened(carrier)
    echo(pair)
    assert pair.client.buffered == pair.server.buffered == 0
