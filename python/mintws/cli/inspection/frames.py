"""The frames of one side of a WebSocket. Their headers are measured here; a `Connection` judges them."""

from __future__ import annotations

from collections.abc import Iterator

from mintws import Binary, Close, Connection, Failed, Ping, Pong, Text
from mintws.cli.inspection.findings import Finding, counted, fault, shown

_OPCODES = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}


class FrameReader:
    """Finds the frames in the bytes of one sender.

    Args:
        connection: the receiver of the bytes, which is open.
        within: whether the frames lie in others.
    """

    def __init__(self, connection: Connection, *, within: bool = False) -> None:
        self._connection = connection
        self._within = within
        #: Where the current frame begins; its header so far; the bytes of its payload that are missing.
        self._start = 0
        self._header = bytearray()
        self._left = 0
        self._events: list[object] = []
        #: No further frame may follow.
        self._over = False
        #: Bytes after the Close, and where they begin.
        self._excess = 0
        self._excess_at = 0
        self._is_closed = False

    def feed(self, data: bytes, offset: int) -> Iterator[Finding]:
        """Take the next bytes, which begin at `offset`; yield each frame that they complete."""
        at = 0
        while at < len(data) and not self._over:
            if not self._header:
                self._start = offset + at
            is_header = len(self._header) < _header_size(self._header)
            missing = _header_size(self._header) - len(self._header) if is_header else self._left
            piece = data[at : at + missing]
            at += len(piece)
            if not is_header:
                self._left -= len(piece)
            else:
                self._header += piece
                if len(self._header) == _header_size(self._header):
                    self._left = _payload_size(self._header)
            yield from self._judge(piece)
            if self._is_whole():
                yield self._finding()
        if self._is_closed and at < len(data):
            self._excess_at = self._excess_at or offset + at
            self._excess += len(data) - at

    def finish(self) -> Iterator[Finding]:
        """Take the end of the bytes; yield what is left."""
        if self._excess:
            text = f"{counted(self._excess)} after the Close, which ends what its sender sends (RFC 6455 §5.5.1)"
            yield Finding(self._excess_at, text, broken=True, within=self._within)
        elif self._header and not self._over:
            missing = f"{counted(self._left)} of its payload are" if self._left else "a part of its header is"
            yield Finding(self._start, f"a frame that is not whole: {missing} missing", within=self._within)

    def _judge(self, piece: bytes) -> Iterator[Finding]:
        events, _ = self._connection.receive(piece)
        for _, event in events:
            if isinstance(event, Failed):
                self._over = True
                if _header_size(self._header) == len(self._header):
                    yield self._finding()
                yield fault(self._start, event.error, within=self._within)
                return
            self._events.append(event)

    def _is_whole(self) -> bool:
        """Check whether nothing of the current frame is missing."""
        return not self._over and len(self._header) == _header_size(self._header) and not self._left

    def _finding(self) -> Finding:
        """Describe the current frame, and what it completes; go on to the next one."""
        first, second = self._header[:2]
        rsv = [f"rsv{bit}" for bit, mask in ((1, 0x40), (2, 0x20), (3, 0x10)) if first & mask]
        kind = _OPCODES.get(first & 15, f"opcode {first & 15:#x}")
        flags = " ".join([*(["fin"] if first & 0x80 else []), *rsv, *(["masked"] if second & 0x80 else [])])
        text = ", ".join(filter(None, [kind, flags, counted(_payload_size(self._header))]))
        for event in self._events:
            text += self._contents(event, fragmented=not first & 15, compressed=bool(first & 0x40))
            if isinstance(event, Close):
                self._over = self._is_closed = True
        self._events.clear()
        self._header.clear()
        return Finding(self._start, text, within=self._within)

    def _contents(self, event: object, *, fragmented: bool, compressed: bool) -> str:
        match event:
            case Text(data) | Binary(data):
                size = len(data.encode() if isinstance(data, str) else data)
                # The bit stands on the first frame of a message.
                whole = fragmented or compressed
                kind = "text" if isinstance(event, Text) else "binary"
                return f"; the message: {kind}, {counted(size)}: {shown(data)}" if whole else f": {shown(data)}"
            case Ping(data) | Pong(data):
                return f": {shown(data)}" if data else ""
            case Close(code, reason):
                return "" if code is None else f": {code}" + (f" {shown(reason)}" if reason else "")
        return ""


def _header_size(header: bytes | bytearray) -> int:
    """Return the size of a header of which at least this much has come (RFC 6455 §5.2)."""
    if len(header) < 2:
        return 2
    return 2 + {126: 2, 127: 8}.get(header[1] & 0x7F, 0) + (4 if header[1] & 0x80 else 0)


def _payload_size(header: bytes | bytearray) -> int:
    short = header[1] & 0x7F
    if short < 126:
        return short
    return int.from_bytes(header[2 : 4 if short == 126 else 10], "big")
