"""The response to an ordinary request, sent in parts (RFC 9113 §8.1)."""

from __future__ import annotations

from collections.abc import Iterable

from h2.errors import ErrorCodes

from mintws.events import Headers
from mintws.http2.ordinary import OrdinaryStream
from mintws.http2.stream import Streams
from mintws.http2.wire import Wire
from mintws.response_order import ResponseOrder


class StreamedResponse(OrdinaryStream):
    """A response that is sent in parts: `send_head`, then `send` and at last, if there are trailers, `send_trailers`.

    Each method gives the bytes to write now. What the client's windows do not let pass is kept, and follows in later replies. When
    the response is whole, the client has taken its request back, or the connection has ended, nothing more is written.

    Attributes:
        buffered: how many bytes wait for the client's windows.
        closed: nothing more is sent: the response is whole, or nobody waits for it any more.
    """

    def __init__(self, wire: Wire, streams: Streams, number: int, *, head: bool) -> None:
        super().__init__(wire, streams, number)
        self._order = ResponseOrder(http2=True, head=head)
        self._trailers: Headers = ()

    def has_room_for(self, size: int) -> bool:
        """Whether a part of `size` bytes should be sent now: as `Http2.has_room_for` says."""
        return self.closed or self._wire.has_room_for(self.number, size)

    def send_interim(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> bytes:
        """Write an interim response, such as 100 or 103 (RFC 9110 §15.2).

        Raises:
            LocalProtocolError: the status is not 100 to 199 or that of an Upgrade, a header is malformed, or the response has begun.
        """
        lines = self._order.interim(status, headers)
        if not self.closed:
            self._wire.write_head(self.number, ((":status", str(status)), *lines), end=False)
        return self._wire.take()

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
            headers: further headers. Those of the connection are left out, which HTTP/2 does not carry (RFC 9113 §8.2.2).
            data: the first part of the body.
            end: whether nothing follows it.

        Raises:
            LocalProtocolError: the status or a header is not allowed, `data` has more bytes, or with `end` less, than Content-Length says,
                or the response has begun. Nothing was written.
        """
        lines, data = self._order.begin(status, headers, data, end=end)
        if not self.closed:
            self._wire.flood_guard.answer()
            self.respond(lines, data if end else None)
            if data and not end:
                self.write(data)
        return self._wire.take()

    def send(self, data: bytes | bytearray | memoryview, *, end: bool = False) -> bytes:
        """Write a part of the body; `end` says that it is the last, and no trailers follow.

        Raises:
            LocalProtocolError: the body has more bytes, or at its end less, than its Content-Length says, or no head was sent. Nothing
                was written.
        """
        if not self.closed:
            data = self._order.add(data, end=end)
            if data:
                self.write(data)
            if end:
                self.end()
        return self._wire.take()

    def send_trailers(self, trailers: Iterable[tuple[str, str]]) -> bytes:
        """Write the end of the response, with headers after its body (RFC 9110 §6.5).

        Raises:
            LocalProtocolError: a header is malformed, the body has less bytes than its Content-Length says, or no head was sent.
        """
        if not self.closed:
            self._trailers = self._order.end(trailers)
            self.end()
        return self._wire.take()

    def abandon(self) -> bytes:
        """Reset the stream: the response cannot be finished (INTERNAL_ERROR, RFC 9113 §7)."""
        if not self.closed:
            self.reset(ErrorCodes.INTERNAL_ERROR)
        return self._wire.take()

    def acknowledge(self, size: int) -> bytes:
        """Give the client credit for so many bytes of the request's body: `flow_controlled_len` of its events (RFC 9113 §6.9.1)."""
        if size and not self.remote_ended and not self._wire.end_reason:
            self._wire.h2.acknowledge_received_data(size, self.number)
        return self._wire.take()

    def _write_end(self) -> None:
        if self._trailers:
            self._wire.write_head(self.number, self._trailers, end=True)
        else:
            super()._write_end()
