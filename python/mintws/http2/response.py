"""The response to an ordinary request, sent in parts (RFC 9113 §8.1)."""

from __future__ import annotations

from collections.abc import Iterable

from h2.errors import ErrorCodes

from mintws.events import Headers
from mintws.http2.ordinary import OrdinaryStream, content
from mintws.http2.stream import Streams
from mintws.http2.wire import Wire
from mintws.response_order import ResponseOrder, response_head


class StreamedResponse(ResponseOrder, OrdinaryStream):
    """A response that is sent in parts: `send_head`, then `send` and at last, if there are trailers, `send_trailers`.

    Each method gives the bytes to write now. What the client's windows do not let pass is kept, and follows in later replies. Where the
    client has taken its request back, or the connection has ended, nothing is written.

    Attributes:
        buffered: how many bytes wait for the client's windows.
        closed: nothing more is sent: the response is whole, or nobody waits for it any more.
    """

    def __init__(self, wire: Wire, streams: Streams, number: int) -> None:
        super().__init__(wire, streams, number)
        self._begun = False
        self._trailers: Headers = ()

    def send_interim(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> bytes:
        """Write an interim response, such as 100 or 103 (RFC 9110 §15.2).

        Raises:
            LocalProtocolError: the status is not 100 to 199 or that of an Upgrade, a header is malformed, or the response has begun.
        """
        self._check_interim(status)
        lines = ordinary_headers(headers)
        if not self.closed:
            self._wire.write_head(self.number, ((":status", str(status)), *lines), end=False)
        return self._wire.take()

    def check_head(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Raise if `send_head` would, without writing anything.

        Raises:
            LocalProtocolError: the status or a header is not allowed, or the response has begun.
        """
        self._check_not_begun()
        response_head(status, headers, http2=True)

    def send_head(self, status: int, headers: Iterable[tuple[str, str]] = (), *, end: bool = False) -> bytes:
        """Write the head.

        Args:
            status: 200 to 599.
            headers: further headers. Those of the connection are left out, which HTTP/2 does not carry (RFC 9113 §8.2.2).
            end: whether no body follows.

        Raises:
            LocalProtocolError: the status or a header is not allowed, or the response has begun. Nothing was written.
        """
        self._check_not_begun()
        lines = response_head(status, headers, http2=True)
        self._begun = True
        if not self.closed:
            self._wire.flood_guard.answer()
            self.respond(lines, b"" if end else None)
        return self._wire.take()

    def send(self, data: bytes | bytearray | memoryview, *, end: bool = False) -> bytes:
        """Write a part of the body; `end` says that it is the last, and no trailers follow."""
        self._check_begun()
        if len(data):
            self.write(content(data))
        if end:
            self.end()
        return self._wire.take()

    def send_trailers(self, trailers: Iterable[tuple[str, str]]) -> bytes:
        """Write the end of the response, with headers behind its body (RFC 9110 §6.5).

        Raises:
            LocalProtocolError: a header is malformed, or no head was sent.
        """
        self._check_begun()
        self._trailers = tuple(pair for pair in ordinary_headers(trailers) if pair[0] != "content-length")
        self.end()
        return self._wire.take()

    def abandon(self) -> bytes:
        """Reset the stream: the response cannot be finished (INTERNAL_ERROR, RFC 9113 §7)."""
        if not self.closed:
            self.reset(ErrorCodes.INTERNAL_ERROR)
        return self._wire.take()

    def acknowledge(self, size: int) -> bytes:
        """Give the client credit for so many bytes of the request's body: `flow_controlled_len` of its events (RFC 9113 §6.9.1)."""
        if size and not self.remote_ended and not self._wire.ended:
            self._wire.h2.acknowledge_received_data(size, self.number)
        return self._wire.take()

    def _write_end(self) -> None:
        if self._trailers:
            self._wire.write_head(self.number, self._trailers, end=True)
        else:
            super()._write_end()


def ordinary_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Check headers, and give those that HTTP/2 carries, names in lower case."""
    return response_head(200, headers, http2=True)[1:]
