"""Frames as they come (RFC 9113 §4.1), and what can be wrong with one that concerns its stream alone."""

from __future__ import annotations

from struct import Struct

from h2.errors import ErrorCodes
from h2.exceptions import FrameDataMissingError, ProtocolError
from hyperframe.frame import DataFrame, GoAwayFrame, PriorityFrame, WindowUpdateFrame

from mintws.limits import INT31

#: Flags, of the types of frames that have them (RFC 9113 §6).
ACK = 0x1
END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8

_HEADER = Struct(">BHBBL")
_LONG = Struct(">L")


class Frame:
    """One frame.

    Args:
        data: its bytes; fewer than its header says where it is larger than was allowed.

    Attributes:
        data: its bytes.
        type: its type, as a class of `hyperframe` has it.
        flags: its flags.
        stream: the stream that it is of; 0 is the connection.
        whole: all of its bytes are there.
    """

    __slots__ = ("data", "flags", "stream", "type", "whole")

    def __init__(self, data: bytes) -> None:
        high, low, self.type, self.flags, stream = _HEADER.unpack_from(data)
        self.data = data
        self.stream = stream & INT31
        self.whole = len(data) == _HEADER.size + (high << 16) + low

    @property
    def payload(self) -> bytes:
        """The bytes after the header."""
        return self.data[_HEADER.size :]

    @property
    def is_empty(self) -> bool:
        """Whether nothing follows the header."""
        return len(self.data) == _HEADER.size

    @property
    def is_badly_padded(self) -> bool:
        """Whether the padding of DATA leaves no room for itself: `h2` is to refuse it (RFC 9113 §6.1)."""
        payload = self.payload
        return bool(self.flags & PADDED) and (not payload or payload[0] >= len(payload))

    @property
    def fault_of_stream(self) -> tuple[ProtocolError, str] | None:
        """A fault that concerns its stream alone and for which `h2` would end the connection, with the section; `None` if there is none."""
        if self.type == PriorityFrame.type:
            payload = self.payload
            if len(payload) != 5:
                return FrameDataMissingError("PRIORITY must have 5 bytes"), "RFC 9113 §6.3"
            if _LONG.unpack_from(payload)[0] & INT31 == self.stream:
                return ProtocolError("a stream may not depend on itself"), "RFC 7540 §5.3.1"
        elif self.type == WindowUpdateFrame.type:
            payload = self.payload
            if len(payload) == 4 and not _LONG.unpack(payload)[0] & INT31:
                return ProtocolError("WINDOW_UPDATE came with an increment of 0"), "RFC 9113 §6.9"
        return None

    @property
    def goaway(self) -> GoAwayFrame | None:
        """The frame as `hyperframe` reads it, if it is a well-formed GOAWAY; any other is `h2`'s to refuse."""
        if self.type != GoAwayFrame.type or self.stream or len(self.payload) < 8:
            return None
        goaway = GoAwayFrame(0)
        goaway.parse_body(memoryview(self.payload))
        return goaway

    @property
    def data_size(self) -> int:
        """How many bytes it carries without its padding, if it is DATA."""
        if self.type != DataFrame.type or self.is_badly_padded:
            return 0
        size = len(self.data) - _HEADER.size
        return size - 1 - self.payload[0] if self.flags & PADDED else size


def code_name(code: int | None) -> str:
    """Give the name of an error code (RFC 9113 §7)."""
    try:
        return ErrorCodes(code or 0).name
    except ValueError:
        return str(code)
