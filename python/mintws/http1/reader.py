"""What a peer sends as HTTP/1.1, read by `h11`: no further than HTTP lets, and held to what `h11` lets pass."""

from __future__ import annotations

import sys
from typing import TypeAlias

import h11

from mintws import _core
from mintws.errors import RemoteProtocolError
from mintws.http1.receive_buffer import ReceiveBuffer

#: The most bytes of a request's or a response's head.
HEAD_LIMIT = 32 * 1024
#: The most lines of one: each costs more than its bytes.
LINES_LIMIT = 512

_Head: TypeAlias = h11.Request | h11.Response | h11.InformationalResponse
H11Event: TypeAlias = _Head | h11.Data | h11.EndOfMessage | h11.ConnectionClosed

#: States of the peer in which its bytes are read, a head or a body; and those in which nothing but its end is still to come.
_BEFORE_HEAD = frozenset({h11.IDLE, h11.SEND_RESPONSE})
_READABLE = _BEFORE_HEAD | {h11.SEND_BODY}
_BEHIND_MESSAGE = frozenset({h11.DONE, h11.MUST_CLOSE})


class Reader:
    """Gives `h11` what it may have: a message at a time, and no byte behind it.

    Args:
        connection: what reads.

    Attributes:
        buffer: what it has not been given yet.
        ended: nothing more comes.
    """

    __slots__ = ("_head", "_head_len", "_head_lines", "_left", "buffer", "connection", "ended")

    def __init__(self, connection: h11.Connection) -> None:
        self.connection = connection
        self.buffer = ReceiveBuffer()
        self.ended = False
        #: The request that was read last is a HEAD.
        self._head = False
        #: How much `h11` was given of the head that it reads.
        self._head_len = 0
        self._head_lines = 0
        #: How many bytes are still to come of the body that it reads; `None` if lines say where a message ends.
        self._left: int | None = None

    @property
    def answers_head(self) -> bool:
        """The response that is due is to a HEAD, and has no body."""
        return self._head and self.connection.our_state is h11.SEND_RESPONSE

    @property
    def begun(self) -> bool:
        """A message has begun and is not whole."""
        return self._head_len > 0 or len(self.buffer) > 0 or self.connection.their_state is h11.SEND_BODY

    @property
    def body_follows(self) -> bool:
        """The message that is being read has a body, or more of it."""
        return self.connection.their_state is h11.SEND_BODY and self._left != 0

    def next_event(self) -> H11Event | RemoteProtocolError | None:
        """Read on.

        Returns:
            The next event; what is wrong with what came, its `status` what a server answers; or `None` if more must come first, or a
            request be answered.
        """
        theirs = self.connection.their_state
        if theirs is h11.MUST_CLOSE:
            # The peer said that this was its last message (RFC 9112 §9.6).
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
            # It quotes what came, as much as it was.
            why, status = str(error).partition(": bytearray(")[0], error.error_status_hint
            # A frame of h11 that it names holds the error.
            error.__traceback__ = None
            return RemoteProtocolError(why, section="RFC 9112", status=status)

    def _read_on(self) -> H11Event | RemoteProtocolError | None:
        """Let `h11` read the message to its next event, or learn of the end."""
        # A head takes bytes; a body may be over without.
        before_head = self.connection.their_state in _BEFORE_HEAD
        event = h11.NEED_DATA if before_head else self.connection.next_event()
        while event is h11.NEED_DATA:
            piece = self.buffer.cut(self._left)
            if not piece and not self.ended:
                return None
            if before_head:
                self._head_len += len(piece)
                if self._head_len > HEAD_LIMIT:
                    too_long = f"the head has more than {HEAD_LIMIT} bytes"
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
    """Say what is wrong with a head that `h11` lets pass."""
    if not head.http_version.startswith(b"1."):
        return RemoteProtocolError("the version of HTTP must be 1.1", section="RFC 9112 §2.3", status=505)
    if not isinstance(head, h11.Request):
        return None
    if head.method == b"CONNECT":
        # An ordinary answer to it, a 2xx, would make a tunnel of the connection.
        return RemoteProtocolError("CONNECT is for a proxy", section="RFC 9110 §9.3.6", status=501)
    if b"transfer-encoding" in headers and (b"content-length" in headers or head.http_version == b"1.0"):
        # Whoever handed it on may have read another body.
        ambiguous = "Transfer-Encoding may not come with Content-Length, nor over HTTP/1.0"
        return RemoteProtocolError(ambiguous, section="RFC 9112 §6.1", status=400)
    return _core.check_fields(list(head.headers))


def _body_len(head: _Head, headers: dict[bytes, bytes]) -> int | None:
    """Say how many bytes a body has (RFC 9112 §6.3): `None` if its chunks do."""
    if b"transfer-encoding" in headers:
        return None
    if b"content-length" in headers:
        return int(headers[b"content-length"])
    if isinstance(head, h11.Request):
        return 0
    # The body of a response may end with the transport; behind an interim one comes another head.
    return sys.maxsize if isinstance(head, h11.Response) else None
