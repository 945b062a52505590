"""The response to an ordinary request, sent in parts (RFC 9112 §6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import h11

from mintws.events import Headers
from mintws.response_order import ResponseOrder


class Writer(Protocol):
    """A writer of the parts of a response, as `Http1` is."""

    h11: h11.Connection

    def _is_streaming(self, response: StreamedResponse) -> bool: ...
    def _write(self, *events: Any) -> bytes: ...
    def _write_interim(self, status: int, headers: Headers) -> bytes: ...
    def _begin_response(self, status: int, headers: Headers) -> bytes: ...
    def _end_response(self, trailers: Headers) -> bytes: ...
    def _abandon_response(self) -> None: ...
    def _acknowledge(self, size: int) -> None: ...


class StreamedResponse:
    """A response that is sent in parts: `send_head`, then `send` and at last, if there are trailers, `send_trailers`.

    Each method gives the bytes to write now. Without a Content-Length the body goes out in chunks or, to a client of HTTP/1.0, until the
    connection is closed. When the response is whole or was abandoned, or the client broke a rule, nothing more is written.

    Attributes:
        buffered: how many bytes wait for the client's windows, which HTTP/1.1 does not have: none.
    """

    __slots__ = ("__weakref__", "_http", "_order")

    buffered = 0

    def __init__(self, http: Writer, *, head: bool) -> None:
        self._http = http
        self._order = ResponseOrder(http2=False, head=head)

    @property
    def closed(self) -> bool:
        """Whether nothing more is sent: the response is whole, or nobody waits for it any more."""
        return not self._http._is_streaming(self)

    def has_room_for(self, size: int) -> bool:
        """Whether a part of `size` bytes should be sent now: always, over HTTP/1.1."""
        return True

    def send_interim(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> bytes:
        """Write an interim response, such as 100 or 103 (RFC 9110 §15.2), which a client of HTTP/1.0 does not get.

        Raises:
            LocalProtocolError: the status is not 100 to 199 or that of an Upgrade, a header is malformed, or the response has begun.
        """
        lines = self._order.interim(status, headers)
        if self.closed or self._version < b"1.1":
            return b""
        return self._http._write_interim(status, lines)

    def check_head(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Raise if `send_head` would, without writing anything.

        Raises:
            LocalProtocolError: the status or a header is not allowed, or the response has begun.
        """
        self._order.check_head(status, headers)

    def send_head(
        self,
        status: int,
        headers: Iterable[tuple[str, str]] = (),
        data: bytes | bytearray | memoryview = b"",
        *,
        end: bool = False,
    ) -> bytes:
        """Write the head, and the first part of the body.

        Args:
            status: 200 to 599.
            headers: further headers. Transfer-Encoding is left out: how the body is framed is seen to here.
            data: the first part of the body.
            end: whether nothing follows it.

        Raises:
            LocalProtocolError: the status or a header is not allowed, `data` has more bytes, or with `end` less, than Content-Length says,
                or the response has begun. Nothing was written.
        """
        lines, data = self._order.begin(status, headers, data, end=end)
        if self.closed:
            return b""
        return self._http._begin_response(status, lines) + self._write(data, end=end)

    def send(self, data: bytes | bytearray | memoryview, *, end: bool = False) -> bytes:
        """Write a part of the body; `end` says that it is the last, and no trailers follow.

        Raises:
            LocalProtocolError: the body has more bytes, or at its end less, than its Content-Length says, or no head was sent. Nothing
                was written.
        """
        if self.closed:
            return b""
        return self._write(self._order.add(data, end=end), end=end)

    def send_trailers(self, trailers: Iterable[tuple[str, str]]) -> bytes:
        """Write the end of the response, with headers after its body where it goes out in chunks (RFC 9112 §7.1.2).

        Raises:
            LocalProtocolError: a header is malformed, the body has less bytes than its Content-Length says, or no head was sent.
        """
        if self.closed:
            return b""
        lines = self._order.end(trailers)
        is_chunked = self._order.left is None and self._version >= b"1.1"
        return self._http._end_response(lines if is_chunked else ())

    def abandon(self) -> bytes:
        """Give the response up, which cannot be finished: the connection ends, and the client sees that something is missing."""
        if not self.closed:
            self._http._abandon_response()
        return b""

    def acknowledge(self, size: int) -> bytes:
        """Have so many bytes of the request's body taken: `flow_controlled_len` of its events. Where much waits, nothing is read."""
        self._http._acknowledge(size)
        return b""

    @property
    def _version(self) -> bytes:
        return self._http.h11.their_http_version or b"1.0"

    def _write(self, data: bytes, *, end: bool) -> bytes:
        written = self._http._write(h11.Data(data=data)) if data else b""
        return written + (self._http._end_response(()) if end else b"")
