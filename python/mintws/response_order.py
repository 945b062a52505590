"""The rules of a response that is sent in parts, whatever the version of HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from mintws import _core
from mintws.errors import LocalProtocolError
from mintws.events import Headers, pairs

#: Statuses of responses that have no body (RFC 9110 §6.4.1).
BODILESS = frozenset({204, 304})


class ResponseOrder:
    """The order of the parts of a response, and the length of its body.

    Interim responses come first, then the head, the body, and at last trailers. The body has the length that Content-Length announces
    (RFC 9110 §8.6, RFC 9113 §8.1.1). A call that raises has changed nothing.

    Args:
        http2: whether it is a response over HTTP/2, otherwise over HTTP/1.1.
        head: whether it answers a HEAD, so that its body is not sent (RFC 9110 §9.3.2).

    Attributes:
        left: the number of bytes of the body that are still to be sent; `None` if it has not been announced.
    """

    __slots__ = ("_begun", "_head", "_http2", "left")

    def __init__(self, *, http2: bool, head: bool) -> None:
        self._http2 = http2
        self._head = head
        self._begun = False
        self.left: int | None = None

    def interim(self, status: int, headers: Iterable[tuple[str, str]]) -> Headers:
        """Check an interim response and return its headers.

        Raises:
            LocalProtocolError: the status is not 100 to 199 or that of an Upgrade (RFC 9110 §15.2), a header is malformed, or the
                response has begun.
        """
        if not 100 <= status < 200 or status == 101:
            raise LocalProtocolError(f"status {status} must be 100, or 102 to 199")
        self._check_not_begun()
        return self._checked(headers)

    def check_head(self, status: int, headers: Iterable[tuple[str, str]]) -> Headers:
        """Check a head and return its headers, over HTTP/2 with `:status`.

        Raises:
            LocalProtocolError: the status or a header is not allowed, or the response has begun.
        """
        self._check_not_begun()
        if not 0 <= status < 1000:
            raise LocalProtocolError(f"status {status} must be 200 to 599")
        return tuple(_core.write_ordinary_response(status, list(pairs(headers)), None, head=False, http2=self._http2))

    def begin(
        self, status: int, headers: Iterable[tuple[str, str]], data: bytes | bytearray | memoryview, *, end: bool
    ) -> tuple[Headers, bytes]:
        """Begin the response; return the headers and the bytes of the body to send.

        Args:
            status, headers: the head. A Content-Length is added to a response whose body is all of `data`.
            data: the first part of the body.
            end: whether nothing follows it.

        Raises:
            LocalProtocolError: as of `check_head`, or the body has another length than was announced.
        """
        lines = self.check_head(status, headers)
        data = content(data)
        length = next((int(value) for name, value in lines if name.lower() == "content-length"), None)
        if self._head or status in BODILESS:
            length = 0
        elif length is None and end:
            length = len(data)
            lines = (*lines, ("content-length" if self._http2 else "Content-Length", str(length)))
        data, self.left = self._counted(data, length, end=end)
        self._begun = True
        return lines, data

    def add(self, data: bytes | bytearray | memoryview, *, end: bool) -> bytes:
        """Check a part of the body and return the bytes to send; `end` says that nothing follows it.

        Raises:
            LocalProtocolError: the body has another length than was announced, or the response has not begun.
        """
        self._check_begun()
        data, self.left = self._counted(content(data), self.left, end=end)
        return data

    def end(self, trailers: Iterable[tuple[str, str]]) -> Headers:
        """Check the trailers at the end of the body and return them, without a Content-Length.

        Raises:
            LocalProtocolError: a header is malformed, the body is shorter than was announced, or the response has not begun.
        """
        self._check_begun()
        lines = self._checked(trailers)
        self._counted(b"", self.left, end=True)
        return tuple(line for line in lines if line[0].lower() != "content-length")

    def _counted(self, data: bytes, left: int | None, *, end: bool) -> tuple[bytes, int | None]:
        """Return the bytes to send of a part of the body, and the number of those to send after it."""
        if self._head:
            return b"", left
        if left is not None:
            left -= len(data)
            if left < 0:
                raise LocalProtocolError("the body is longer than its Content-Length, or the status has none")
            if left and end:
                raise LocalProtocolError("the body is shorter than its Content-Length")
        return data, left

    def _checked(self, headers: Iterable[tuple[str, str]]) -> Headers:
        lines = _core.write_ordinary_response(200, list(pairs(headers)), None, head=False, http2=self._http2)
        return tuple(lines[1:] if self._http2 else lines)

    def _check_not_begun(self) -> None:
        if self._begun:
            raise LocalProtocolError("a response has one head, which was sent")

    def _check_begun(self) -> None:
        if not self._begun:
            raise LocalProtocolError("a response begins with its head: call send_head()")


def content(body: object) -> bytes:
    """Return the bytes of a body; `TypeError` if it is none."""
    return body if type(body) is bytes else bytes(memoryview(body))  # type: ignore[arg-type]
