"""WebSockets over HTTP/2: frames of streams, and in their DATA frames of WebSockets (RFC 8441, RFC 9113)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import hpack
from hyperframe import frame as frames
from hyperframe.exceptions import HyperframeError

from mintws.cli.inspection.findings import Finding, counted, fault
from mintws.cli.inspection.frames import FrameReader
from mintws.cli.inspection.handshakes import ANY_SIZE, Stream, accept, ask, ask_for, failed
from mintws.cli.inspection.http2_states import SentStreams, highest_promise
from mintws.connection import Connection
from mintws.events import Role, UpgradeAccept, UpgradeRequest
from mintws.extensions import Offer
from mintws.http2.field_blocks import describe

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADER_SIZE = 9
#: A capture may have any dynamic table (RFC 7541 §4.2): that of the other side's SETTINGS may not be there.
_ANY_TABLE = (1 << 32) - 1

#: The sections of RFC 9113 with the rules of each type of frame.
_SECTIONS: dict[int | None, str] = {number: f"6.{number + 1}" for number in range(10)}

_Fields = list[tuple[bytes, bytes]]


class Http2Conversation:
    """One connection over HTTP/2, of which one side may be missing.

    Args:
        client, server: the bytes of each side, or `None` if they are not there.
        answers: the extensions that are agreed on where the server's answer is not there.
        whole: whether all that each side has sent is there, up to the end of its bytes.
    """

    def __init__(
        self, client: bytes | None, server: bytes | None, answers: Sequence[Offer], *, whole: bool = True
    ) -> None:
        self.client: list[Finding] = []
        self.server: list[Finding] = []
        if server is not None and not whole and not begins_with_settings(server):
            self.server.append(Finding(0, "its first bytes are not there, so that its frames cannot be found"))
            server = None
        requests: dict[int, _Fields] = {}
        responses: dict[int, _Fields] = {}
        promised = highest_promise(server) if server is not None and whole else None
        streams = SentStreams(Role.CLIENT, promised)
        asked = None if client is None else _Side(client, requests, streams)
        opened = streams.last if asked is not None and asked.is_read and whole else None
        answered = None if server is None else _Side(server, responses, SentStreams(Role.SERVER, opened))
        self._receivers = {number: _Streams(requests[number], responses.get(number), answers) for number in requests}
        for number in responses.keys() - requests.keys():
            self._receivers[number] = _Streams(None, responses[number], answers)
        if asked is not None:
            self.client += self._read(asked, Role.CLIENT)
        if answered is not None:
            self.server += self._read(answered, Role.SERVER)

    def _read(self, side: _Side, sender: Role) -> Iterable[Finding]:
        """Yield the frames of a side, and within its DATA those of WebSockets."""
        readers: dict[int, FrameReader | None] = {}
        for found, data in side.frames:
            yield found
            if data is None:
                continue
            number, offset, payload = data
            if payload is None:
                # A head, which may break a rule.
                if number not in readers and number in self._receivers:
                    broken, reader = self._receivers[number].reader(sender)
                    readers[number] = reader
                    if broken is not None:
                        yield broken._replace(offset=offset)
                continue
            reader = readers.get(number)
            if reader is not None:
                yield from reader.feed(payload, offset)
        for reader in readers.values():
            if reader is not None:
                yield from reader.finish()


class _Streams:
    """The two receivers of one stream, which judge what the other side sends."""

    def __init__(self, request: _Fields | None, response: _Fields | None, answers: Sequence[Offer]) -> None:
        self._findings: dict[Role, Finding | None] = {Role.CLIENT: None, Role.SERVER: None}
        self._connections: dict[Role, Connection | None] = {Role.CLIENT: None, Role.SERVER: None}
        asked = self._read_request(request)
        accepted = self._read_response(asked, response, known=request is not None)
        server = self._connections[Role.CLIENT]
        if server is None or asked is None:
            return
        if response is not None and accepted is None:
            self._connections[Role.CLIENT] = None
            return
        if accepted is None:
            names = {it.name for it in asked.extensions if isinstance(it, Offer)}
            accepted = UpgradeAccept(extensions=[it for it in answers if it.name in names])
        server.send(accept([it for it in accepted.extensions if isinstance(it, Offer)], accepted.subprotocol))

    def reader(self, sender: Role) -> tuple[Finding | None, FrameReader | None]:
        """Return the broken rule in the head of a sender, and the reader of its frames."""
        connection = self._connections[sender]
        return self._findings[sender], None if connection is None else FrameReader(connection, within=True)

    def _read_request(self, request: _Fields | None) -> UpgradeRequest | None:
        if request is None:
            return None
        connection = Connection(Role.SERVER, Stream(), **ANY_SIZE)
        events, _ = connection.receive_request(request)
        broken = failed(events)
        if broken is not None:
            self._findings[Role.CLIENT] = fault(0, broken.error, within=True)
        asked = next((event for _, event in events if isinstance(event, UpgradeRequest)), None)
        if asked is not None:
            self._connections[Role.CLIENT] = connection
        return asked

    def _read_response(
        self, asked: UpgradeRequest | None, response: _Fields | None, *, known: bool
    ) -> UpgradeAccept | None:
        if response is None or (known and asked is None) or not dict(response).get(b":status", b"").startswith(b"2"):
            return None
        if asked is None and b"content-length" in dict(response):
            # An ordinary response.
            return None
        connection = Connection(Role.CLIENT, Stream(), **ANY_SIZE)
        connection.send(ask(asked) if asked is not None else _fitting(response))
        events, _ = connection.receive_response(response)
        broken = failed(events)
        if broken is not None:
            self._findings[Role.SERVER] = fault(0, broken.error, within=True)
            return None
        self._connections[Role.SERVER] = connection
        return next((event for _, event in events if isinstance(event, UpgradeAccept)), None)


class _Side:
    """The frames of HTTP/2 that one side has sent.

    Attributes:
        frames: a finding for each, and where there is one the head of a stream, without bytes, or DATA, with them, and their offset.
        is_read: whether all frames could be read.
    """

    def __init__(self, data: bytes, heads: dict[int, _Fields], streams: SentStreams) -> None:
        self.frames: list[tuple[Finding, tuple[int, int, bytes | None] | None]] = []
        self._heads = heads
        self._streams = streams
        self._is_begun = False
        self.is_read = False
        self._decoder = hpack.Decoder(max_header_list_size=1 << 24)
        self._decoder.max_allowed_table_size = _ANY_TABLE
        #: A block of fields that is not whole: the stream whose head it may be, or `None`, its offset and its fragments.
        self._block: tuple[int | None, int, bytearray] | None = None
        #: The stream of its frames.
        self._block_stream = 0
        self._read(data)

    def _read(self, data: bytes) -> None:
        at = 0
        if data.startswith(PREFACE):
            self.frames.append((Finding(0, f"the preface: {counted(len(PREFACE))}"), None))
            at = len(PREFACE)
        while at < len(data):
            if len(data) - at < _HEADER_SIZE:
                self._note(at, "a frame that is not whole")
                return
            try:
                frame, size = frames.Frame.parse_frame_header(memoryview(data)[at : at + _HEADER_SIZE])
                body = memoryview(data)[at + _HEADER_SIZE : at + _HEADER_SIZE + size]
                if len(body) < size:
                    missing = counted(size - len(body))
                    self._note(at, f"{_name(frame)}: a frame that is not whole: {missing} of its payload are missing")
                    return
                frame.parse_body(body)
            except HyperframeError as error:
                section = _SECTIONS.get(data[at + 3], "4.1")
                self._note(at, f"a frame of type {data[at + 3]:#x}: {error} (RFC 9113 §{section})", broken=True)
                return
            if not self._take(frame, size, at):
                return
            at += _HEADER_SIZE + size
        self.is_read = True

    def _take(self, frame: Any, size: int, at: int) -> bool:
        """Take a frame; return whether others can be read after it."""
        broken = self._streams.judge(frame)
        is_readable = self._put(frame, size, at, allowed=not broken)
        if not self._is_begun and (not isinstance(frame, frames.SettingsFrame) or "ACK" in frame.flags):
            broken.insert(0, "the first frame of a side must be its SETTINGS (RFC 9113 §3.4)")
        self._is_begun = True
        for text in broken:
            self._note(at, text, broken=True)
        return is_readable

    def _put(self, frame: Any, size: int, at: int, *, allowed: bool) -> bool:
        """Put a frame into words; return whether others can be read after it.

        Args:
            allowed: whether the state of its stream allows it, so that its contents belong to a WebSocket.
        """
        number = frame.stream_id
        about = f"{_name(frame)}, stream {number}" if number else _name(frame)
        flags = " ".join(sorted(frame.flags))
        text = ", ".join(filter(None, [about, flags, counted(size)]))
        if isinstance(frame, frames.DataFrame):
            padding = 1 if "PADDED" in frame.flags else 0
            contents = (number, at + _HEADER_SIZE + padding, frame.data) if allowed else None
            self.frames.append((Finding(at, text), contents))
            return self._is_between_blocks(at)
        if isinstance(frame, frames.SettingsFrame) and frame.settings:
            known = {value: name for name, value in vars(frames.SettingsFrame).items() if isinstance(value, int)}
            text += ": " + ", ".join(f"{known.get(key, hex(key))}={value}" for key, value in frame.settings.items())
        elif isinstance(frame, (frames.RstStreamFrame, frames.GoAwayFrame)):
            text += f": error code {frame.error_code:#x}"
        elif isinstance(frame, frames.WindowUpdateFrame):
            text += f": {counted(frame.window_increment)}"
        self.frames.append((Finding(at, text), None))
        if isinstance(frame, frames.ContinuationFrame):
            if self._block is None or self._block_stream != number:
                self._note(at, "CONTINUATION follows no HEADERS of its stream (RFC 9113 §6.10)", broken=True)
                return False
            self._block[2].extend(frame.data)
        elif not self._is_between_blocks(at):
            return False
        elif isinstance(frame, (frames.HeadersFrame, frames.PushPromiseFrame)):
            is_head = allowed and isinstance(frame, frames.HeadersFrame) and number % 2 == 1
            self._block = number if is_head else None, at, bytearray(frame.data)
            self._block_stream = number
        if self._block is not None and "END_HEADERS" in frame.flags:
            return self._decode(*self._block)
        return True

    def _is_between_blocks(self, at: int) -> bool:
        if self._block is not None:
            self._note(at, "a frame stands within a block of HEADERS (RFC 9113 §4.3)", broken=True)
        return self._block is None

    def _decode(self, number: int | None, at: int, block: bytearray) -> bool:
        self._block = None
        try:
            decoded = self._decoder.decode(bytes(block), raw=True)
        except hpack.HPACKError as error:
            self._note(at, f"the block of HEADERS cannot be decoded: {describe(error)} (RFC 9113 §4.3)", broken=True)
            return False
        fields = [(bytes(it[0]), bytes(it[1])) for it in decoded]
        values = dict(fields)
        shown = [
            values[name].decode("latin-1")
            for name in (b":method", b":protocol", b":path", b":status")
            if name in values
        ]
        finding, _ = self.frames[-1]
        self.frames[-1] = finding._replace(text=f"{finding.text}: {' '.join(shown) or 'trailers'}"), None
        # An interim response is not the answer (RFC 9113 §8.1).
        if number is not None and number not in self._heads and not values.get(b":status", b"").startswith(b"1"):
            self._heads[number] = fields
            self.frames[-1] = self.frames[-1][0], (number, at, None)
        return True

    def _note(self, at: int, text: str, *, broken: bool = False) -> None:
        self.frames.append((Finding(at, text, broken=broken), None))


def begins_with_settings(data: bytes) -> bool:
    """Check for the SETTINGS with which a server begins (RFC 9113 §3.4)."""
    return (
        len(data) >= _HEADER_SIZE
        and data[3:9] == b"\x04\x00\x00\x00\x00\x00"
        and data[0] == 0
        and int.from_bytes(data[:3], "big") % 6 == 0
    )


def _fitting(response: _Fields) -> UpgradeRequest:
    """Return a request that a response fits, where the one that was sent is unknown."""
    values = dict(response)
    names = [
        it.partition(b";")[0].strip().decode("latin-1")
        for it in values.get(b"sec-websocket-extensions", b"").split(b",")
    ]
    subprotocol = values.get(b"sec-websocket-protocol", b"").decode("latin-1")
    return ask_for([Offer(it) for it in names if it], [subprotocol] if subprotocol else [])


def _name(frame: Any) -> str:
    names = (
        "DATA",
        "HEADERS",
        "PRIORITY",
        "RST_STREAM",
        "SETTINGS",
        "PUSH_PROMISE",
        "PING",
        "GOAWAY",
        "WINDOW_UPDATE",
        "CONTINUATION",
    )
    return names[frame.type] if frame.type < len(names) else f"a frame of type {frame.type:#x}"
