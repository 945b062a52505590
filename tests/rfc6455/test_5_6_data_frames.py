"""Text and binary messages (RFC 6455 §5.6)."""

import pytest
from wire import BINARY, TEXT, client, frames_of, masked, server

from mintws import Binary, LocalProtocolError, State, Text


@pytest.mark.parametrize(
    "text", ["", "Hello", "caf\u00e9", "\u20ac" * 100, "\U0001f600", "\x00", "\ufeff", "\uffff", "a" * 100_000]
)
def test_text_is_utf8_both_ways(text):
    assert frames_of(server().conn.send(Text(text))) == [(1, 0, TEXT, text.encode())]
    assert server().receive(masked(TEXT, text.encode())) == [Text(text)]


@pytest.mark.parametrize("data", [b"", b"\x00", bytes(range(256)), b"\xff" * 100_000])
def test_binary_is_any_bytes_both_ways(data):
    assert frames_of(client().conn.send(Binary(data))) == [(1, 0, BINARY, data)]
    assert server().receive(masked(BINARY, data)) == [Binary(data)]


def test_received_binary_is_bytes_and_text_is_str():
    (event,) = server().receive(masked(BINARY, b"a"))
    assert type(event.data) is bytes
    (event,) = server().receive(masked(TEXT, b"a"))
    assert type(event.data) is str


@pytest.mark.parametrize("size", [0, 5, 126, 70_000])
def test_text_comes_as_bytes_on_request(size):
    end = server(text_as_bytes=True)
    (event,) = end.receive(masked(TEXT, b"a" * size))
    assert (type(event), type(event.data), event.data) == (Text, bytes, b"a" * size)


@pytest.mark.parametrize("options", [{}, {"parts": True}])
def test_text_as_bytes_is_checked_to_be_utf8(options):
    assert server(text_as_bytes=True, **options).fails(masked(TEXT, b"\xff")) == 1007
    assert server(text_as_bytes=True, **options).fails(masked(TEXT, b"a\xe2\x82", fin=False), masked(0, b"x")) == 1007


def test_text_may_be_sent_as_bytes():
    assert server().conn.send(Text(b"caf\xc3\xa9")) == b"\x81\x05caf\xc3\xa9"


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"a\xe2\x82"])
def test_text_of_bytes_that_are_no_utf8_is_refused_locally(text):
    conn = server().conn
    with pytest.raises(LocalProtocolError):
        conn.send(Text(text))
    assert conn.state is State.OPEN


def test_text_with_surrogates_is_refused_locally():
    conn = server().conn
    with pytest.raises(LocalProtocolError):
        conn.send(Text("a\ud800"))
    assert conn.send(Text("b")) == b"\x81\x01b"


@pytest.mark.parametrize("wrong", ["text", b"bytes", None, 5, object()])
def test_what_is_no_event_is_a_type_error(wrong):
    conn = server().conn
    with pytest.raises(TypeError):
        conn.send(wrong)
    assert conn.state is State.OPEN


@pytest.mark.parametrize(
    "make",
    [
        lambda: Text(5),
        lambda: Binary("a"),
        lambda: Binary(5),
        lambda: Text(None),
        lambda: Text("a", fin=1),
        lambda: Text(),
        lambda: Binary(b"", b""),
        lambda: Text("a", other=1),
    ],
)
def test_event_of_the_wrong_type_is_a_type_error(make):
    with pytest.raises(TypeError):
        make()
