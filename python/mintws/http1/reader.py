"""The parser of HTTP/1.1: `h11`, given one message at a time, with checks that `h11` lacks."""

from __future__ import annotations

import sys
from typing import TypeAlias

import h11

from mintws import _core
from mintws.errors import RemoteProtocolError
from mintws.http1.receive_buffer import ReceiveBuffer

#: The most bytes of a request's or a response's head, unless `max_header_size` is given.
HEAD_LIMIT = 32 * 1024
#: The most lines of a head. A line costs more than its bytes.
LINES_LIMIT = 512

_Head: TypeAlias = h11.Request | h11.Response | h11.InformationalResponse
H11Event: TypeAlias = _Head | h11.Data | h11.EndOfMessage | h11.ConnectionClosed

#: The peer's states before a head, those in which its bytes are parsed, and those in which only its end may follow.
_BEFORE_HEAD = frozenset({h11.IDLE, h11.SEND_RESPONSE})
_READABLE = _BEFORE_HEAD | {h11.SEND_BODY}
_BEHIND_MESSAGE = frozenset({h11.DONE, h11.MUST_CLOSE})


class Reader:
    """Feeds `h11` with one message at a time, and no byte after it.

    Args:
        connection: the parser.
        head_limit: how many bytes the head of a message may have.

    Attributes:
        buffer: the bytes that it has not been given yet.
        ended: whether the peer has ended its half.
    """

    __slots__ = ("_head", "_head_len", "_head_limit", "_head_lines", "_left", "buffer", "connection", "ended")

    def __init__(self, connection: h11.Connection, head_limit: int) -> None:
        self.connection = connection
        self._head_limit = head_limit
        self.buffer = ReceiveBuffer()
        self.ended = False
        #: Whether the last request is a HEAD.
        self._head = False
        #: The bytes and lines given to `h11` of the current head.
        self._head_len = 0
        self._head_lines = 0
        #: The remaining bytes of the current body; `None` if an empty line ends the message.
        self._left: int | None = None

    @property
    def answers_head(self) -> bool:
        """Whether the next response answers a HEAD, and so has no body."""
        return self._head and self.connection.our_state is h11.SEND_RESPONSE

    @property
    def begun(self) -> bool:
        """Whether a message is incomplete."""
        return self._head_len > 0 or len(self.buffer) > 0 or self.connection.their_state is h11.SEND_BODY

    @property
    def body_follows(self) -> bool:
        """Whether more of the current message's body follows."""
        return self.connection.their_state is h11.SEND_BODY and self._left != 0

    def next_event(self) -> H11Event | RemoteProtocolError | None:
        """Parse the next event.

        Returns:
            The event; or a fault, with the `status` of a server's answer; or `None` if more bytes are needed, or a request has to be
            answered first.
        """
        theirs = self.connection.their_state
        if theirs is h11.MUST_CLOSE:
            # The peer has announced that this was its last message (RFC 9112 §9.6).
            self.buffer.clear()
        if theirs in (h11.IDLE, h11.DONE) and self.connection.our_role is h11.CLIENT:
            if self.buffer.skip_empty_lines():
                return RemoteProtocolError("bytes came that answer no request", section="RFC 9112 §9.2")
            goes_on = self.ended
        elif theirs in _BEHIND_MESSAGE:
            goes_on = self.ended and not self.buffer
        elif theirs is h11.IDLE and not self._head_len:
            goes_on = self.buffer.skip_empty_lines() or self.ended
        else:
            goes_on = theirs in _READABLE
        try:
            return self._read_on() if goes_on else None
        except h11.RemoteProtocolError as error:
            # The message quotes all received bytes.
            why, status = str(error).partition(": bytearray(")[0], error.error_status_hint
            # A frame of h11 in the traceback refers to the error.
            error.__traceback__ = None
            return RemoteProtocolError(why, section="RFC 9112", status=status)

    def _read_on(self) -> H11Event | RemoteProtocolError | None:
        """Feed `h11` up to its next event, or tell it of the end."""
        # A head needs bytes; a body may end without any.
        before_head = self.connection.their_state in _BEFORE_HEAD
        event = h11.NEED_DATA if before_head else self.connection.next_event()
        while event is h11.NEED_DATA:
            piece = self.buffer.cut(self._left)
            if not piece and not self.ended:
                return None
            if before_head:
                self._head_len += len(piece)
                if self._head_len > self._head_limit:
                    too_long = f"the head has more than {self._head_limit} bytes"
                    return RemoteProtocolError(too_long, section="RFC 9110 §5.4", status=431)
                self._head_lines += piece.count(b"\n")
                if self._head_lines > LINES_LIMIT:
                    too_many = f"the head has more than {LINES_LIMIT} lines"
                    return RemoteProtocolError(too_many, section="RFC 9110 §5.4", status=431)
            self.connection.receive_data(piece)
            event = self.connection.next_event()
        match event:
            case h11.Request() | h11.Response() | h11.InformationalResponse():
                self._head = isinstance(event, h11.Request) and event.method == b"HEAD"
                headers = dict(event.headers)
                self._head_len, self._head_lines, self._left = 0, 0, _body_len(event, headers)
                return _fault(event, headers) or event
            case h11.Data():
                if self._left is not None:
                    self._left -= len(event.data)
                return event
            case h11.EndOfMessage():
                self._left = None
                return event
            case h11.ConnectionClosed():
                return event
        return None


def _fault(head: _Head, headers: dict[bytes, bytes]) -> RemoteProtocolError | None:
    """Return the fault of a head that `h11` accepts, or `None`."""
    if not head.http_version.startswith(b"1."):
        return RemoteProtocolError("the version of HTTP must be 1.1", section="RFC 9112 §2.3", status=505)
    if not isinstance(head, h11.Request):
        return None
    if head.method == b"CONNECT":
        # A 2xx answer to it would turn the connection into a tunnel.
        return RemoteProtocolError("CONNECT is for a proxy", section="RFC 9110 §9.3.6", status=501)
    if b"transfer-encoding" in headers and (b"content-length" in headers or head.http_version == b"1.0"):
        # An intermediary may have seen another body.
        ambiguous = "Transfer-Encoding may not come with Content-Length, nor over HTTP/1.0"
        return RemoteProtocolError(ambiguous, section="RFC 9112 §6.1", status=400)
    return _core.check_fields(list(head.headers))


def _body_len(head: _Head, headers: dict[bytes, bytes]) -> int | None:
    """Return the length of a body (RFC 9112 §6.3), or `None` if it is chunked."""
    if b"transfer-encoding" in headers:
        return None
    if b"content-length" in headers:
        return int(headers[b"content-length"])
    if isinstance(head, h11.Request):
        return 0
    # The body of a response may end with the transport. An interim response is followed by another head.
    return sys.maxsize if isinstance(head, h11.Response) else None
