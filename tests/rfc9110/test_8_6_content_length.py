"""The content of a response that is sent in parts has the length that Content-Length announces (§8.6), over both versions."""

from __future__ import annotations

import h2.events
import pytest
from wire import GET, H2Peer, header_of, said

from mintws import Http1, LocalProtocolError, Role
from mintws.events import RequestStarted

LONGER = "longer than its Content-Length"
SHORTER = "shorter than its Content-Length"


class OverHttp1:
    """A request over HTTP/1.1 and the response to it."""

    def __init__(self, method: str = "GET") -> None:
        self._method = method
        self.http = Http1(Role.SERVER)
        [started, *_] = said(self.http.receive(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode()))
        assert isinstance(started, RequestStarted)
        self.response = self.http.stream_response(started.request)
        self._written = b""

    def hear(self, data: bytes) -> None:
        self._written += data

    @property
    def length(self) -> str | None:
        return header_of(self._written, "Content-Length")

    @property
    def content(self) -> bytes:
        _, _, rest = self._written.partition(b"\r\n\r\n")
        if self._method == "HEAD" or header_of(self._written, "Transfer-Encoding") is None:
            return rest
        return b"".join(rest.split(b"\r\n")[1::2])

    @property
    def ended(self) -> bool:
        return bool(said(self.http.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")))


class OverHttp2:
    """A request over HTTP/2 and the response to it."""

    def __init__(self, method: str = "GET") -> None:
        self.peer = H2Peer(Role.SERVER)
        self._number = self.peer.ask([(":method", method), *GET[1:]], end=True)
        [started] = [event for _, event in self.peer.deliver() if isinstance(event, RequestStarted)]
        response = self.peer.http.stream_response(started.request)
        assert response is not None
        self.response = response

    def hear(self, data: bytes) -> None:
        self.peer.hear(data)

    @property
    def length(self) -> str | None:
        [head] = self.peer.of(h2.events.ResponseReceived, self._number)
        return dict(head.headers).get("content-length")

    @property
    def content(self) -> bytes:
        return self.peer.data(self._number)

    @property
    def ended(self) -> bool:
        return bool(self.peer.of(h2.events.StreamEnded, self._number))


@pytest.fixture(params=[OverHttp1, OverHttp2], ids=["1.1", "2"])
def over(request):
    return request.param


def test_a_body_in_parts_has_the_length_that_was_announced(over):
    asked = over()
    response = asked.response
    asked.hear(response.send_head(200, [("Content-Length", "6")]))
    asked.hear(response.send(b"tea"))
    with pytest.raises(LocalProtocolError, match=LONGER):
        response.send(b"pots")
    with pytest.raises(LocalProtocolError, match=LONGER):
        response.send(b"pots", end=True)
    for end in (lambda: response.send(b"", end=True), lambda: response.send(b"po", end=True)):
        with pytest.raises(LocalProtocolError, match=SHORTER):
            end()
    # A call that raises has written nothing.
    asked.hear(response.send(b"pot", end=True))
    assert (asked.length, asked.content, asked.ended) == ("6", b"teapot", True)


def test_trailers_follow_no_body_that_is_too_short(over):
    asked = over()
    response = asked.response
    asked.hear(response.send_head(200, [("Content-Length", "6")], b"tea"))
    with pytest.raises(LocalProtocolError, match=SHORTER):
        response.send_trailers([("X-Sum", "7")])
    asked.hear(response.send(b"pot"))
    asked.hear(response.send_trailers([("X-Sum", "7")]))
    assert (asked.content, asked.ended) == (b"teapot", True)


@pytest.mark.parametrize(
    ("data", "end", "why"),
    [(b"teapot", False, LONGER), (b"teapot", True, LONGER), (b"tea", True, SHORTER), (b"", True, SHORTER)],
)
def test_a_head_with_a_wrong_length_is_not_written_and_another_may_follow(over, data, end, why):
    asked = over()
    with pytest.raises(LocalProtocolError, match=why):
        asked.response.send_head(200, [("Content-Length", "4")], data, end=end)
    asked.hear(asked.response.send_head(500, (), b"sorry", end=True))
    assert (asked.length, asked.content, asked.ended) == ("5", b"sorry", True)


@pytest.mark.parametrize("data", [b"", b"tea", bytearray(b"tea"), memoryview(b"tea")])
def test_a_body_that_is_given_whole_with_the_head_has_its_length(over, data):
    asked = over()
    asked.hear(asked.response.send_head(200, [("X-Tea", "mint")], data, end=True))
    assert (asked.length, asked.content, asked.ended) == (str(len(data)), bytes(data), True)
    assert asked.response.closed


def test_a_length_that_was_not_announced_may_be_any(over):
    asked = over()
    asked.hear(asked.response.send_head(200))
    asked.hear(asked.response.send(b"tea"))
    asked.hear(asked.response.send(b"", end=True))
    assert (asked.length, asked.content, asked.ended) == (None, b"tea", True)


@pytest.mark.parametrize("length", ["6", None])
def test_the_response_to_head_has_no_content_whatever_was_announced(over, length):
    headers = [] if length is None else [("Content-Length", length)]
    for parts in ([b"teapot"], [b"tea", b"pot"], [b""], [b"t"], [b"a tea", b"pot too many"]):
        asked = over("HEAD")
        asked.hear(asked.response.send_head(200, headers))
        for part in parts:
            asked.hear(asked.response.send(part))
        asked.hear(asked.response.send(b"", end=True))
        assert (asked.length, asked.content, asked.ended) == (length, b"", True)
    asked = over("HEAD")
    asked.hear(asked.response.send_head(200, headers, b"tea", end=True))
    assert (asked.length, asked.content, asked.ended) == (length, b"", True)
    asked = over("HEAD")
    asked.hear(asked.response.send_head(200, headers))
    asked.hear(asked.response.send_trailers([]))
    assert (asked.length, asked.content, asked.ended) == (length, b"", True)


@pytest.mark.parametrize(("status", "length"), [(204, None), (304, "6")])
def test_a_status_without_content_has_none(over, status, length):
    asked = over()
    headers = [] if length is None else [("Content-Length", length)]
    with pytest.raises(LocalProtocolError, match="or the status has none"):
        asked.response.send_head(status, headers, b"teapot", end=True)
    asked.hear(asked.response.send_head(status, headers, end=True))
    assert (asked.length, asked.content, asked.ended) == (length, b"", True)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_may_be_ended_later(over, status):
    asked = over()
    asked.hear(asked.response.send_head(status))
    for end in (False, True):
        with pytest.raises(LocalProtocolError, match="or the status has none"):
            asked.response.send(b"teapot", end=end)
    asked.hear(asked.response.send(b"", end=True))
    assert (asked.length, asked.content, asked.ended) == (None, b"", True)
