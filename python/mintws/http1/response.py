"""The response to an ordinary request, sent in parts (RFC 9112 §6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import h11

from mintws.errors import LocalProtocolError
from mintws.events import Headers
from mintws.response_order import BODILESS, ResponseOrder, response_head

_SHORT = "the body is shorter than its Content-Length"


class Writer(Protocol):
    """What writes the parts of a response, as `Http1` does."""

    h11: h11.Connection

    def _is_streaming(self, response: StreamedResponse) -> bool: ...
    def _write(self, *events: Any) -> bytes: ...
    def _write_interim(self, status: int, headers: Headers) -> bytes: ...
    def _begin_response(self, status: int, headers: Headers) -> bytes: ...
    def _end_response(self, trailers: Headers) -> bytes: ...
    def _abandon_response(self) -> None: ...
    def _acknowledge(self, size: int) -> None: ...


class StreamedResponse(ResponseOrder):
    """A response that is sent in parts: `send_head`, then `send` and at last, if there are trailers, `send_trailers`.

    Each method gives the bytes to write now. Without a Content-Length the body goes out in chunks or, to a client of HTTP/1.0, until the
    connection is closed. Where the client broke a rule, or the response was abandoned, nothing is written.

    Attributes:
        buffered: how many bytes wait for the client's windows, which HTTP/1.1 does not have: none.
    """

    __slots__ = ("__weakref__", "_begun", "_head", "_http", "_left")

    buffered = 0

    def __init__(self, http: Writer, *, head: bool) -> None:
        self._http = http
        #: It answers a HEAD, so that its body is not sent.
        self._head = head
        self._begun = False
        #: How many bytes are still to be sent of the body; `None` if nothing says how long it is.
        self._left: int | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing more is sent: the response is whole, or nobody waits for it any more."""
        return not self._http._is_streaming(self)

    def send_interim(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> bytes:
        """Write an interim response, such as 100 or 103 (RFC 9110 §15.2), which a client of HTTP/1.0 does not get.

        Raises:
            LocalProtocolError: the status is not 100 to 199 or that of an Upgrade, a header is malformed, or the response has begun.
        """
        self._check_interim(status)
        lines = response_head(200, headers, http2=False)
        if self.closed or self._version < b"1.1":
            return b""
        return self._http._write_interim(status, lines)

    def check_head(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Raise if `send_head` would, without writing anything.

        Raises:
            LocalProtocolError: the status or a header is not allowed, or the response has begun.
        """
        self._check_not_begun()
        response_head(status, headers, http2=False)

    def send_head(self, status: int, headers: Iterable[tuple[str, str]] = (), *, end: bool = False) -> bytes:
        """Write the head.

        Args:
            status: 200 to 599.
            headers: further headers. Transfer-Encoding is left out: how the body is framed is seen to here.
            end: whether no body follows.

        Raises:
            LocalProtocolError: the status or a header is not allowed, or the response has begun. Nothing was written.
        """
        self._check_not_begun()
        lines = response_head(status, headers, http2=False)
        length = next((int(value) for name, value in lines if name.lower() == "content-length"), None)
        if self._head or status in BODILESS:
            self._left = 0
        elif length is None and end:
            lines = (*lines, ("Content-Length", "0"))
            self._left = 0
        else:
            self._left = length
        if end and self._left:
            raise LocalProtocolError(_SHORT)
        self._begun = True
        if self.closed:
            return b""
        return self._http._begin_response(status, lines) + (self._end() if end else b"")

    def send(self, data: bytes | bytearray | memoryview, *, end: bool = False) -> bytes:
        """Write a part of the body; `end` says that it is the last, and no trailers follow.

        Raises:
            LocalProtocolError: the body has more bytes, or at its end less, than its Content-Length says, or no head was sent. Nothing
                was written.
        """
        self._check_begun()
        size = 0 if self._head else len(data)
        if self._left is not None:
            if size > self._left:
                raise LocalProtocolError("the body is longer than its Content-Length, or the status has none")
            if end and size < self._left:
                raise LocalProtocolError(_SHORT)
            self._left -= size
        if self.closed:
            return b""
        written = self._http._write(h11.Data(data=bytes(data))) if size else b""
        return written + (self._end() if end else b"")

    def send_trailers(self, trailers: Iterable[tuple[str, str]]) -> bytes:
        """Write the end of the response, with headers behind its body where it goes out in chunks (RFC 9112 §7.1.2).

        Raises:
            LocalProtocolError: a header is malformed, the body has less bytes than its Content-Length says, or no head was sent.
        """
        self._check_begun()
        lines = response_head(200, trailers, http2=False)
        if self._left:
            raise LocalProtocolError(_SHORT)
        if self.closed:
            return b""
        is_chunked = self._left is None and self._version >= b"1.1"
        return self._end(tuple(pair for pair in lines if pair[0].lower() != "content-length") if is_chunked else ())

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

    def _end(self, trailers: Headers = ()) -> bytes:
        return self._http._end_response(trailers)
