"""What comes from the peer: frames, each brought to whom it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, get_args

import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from mintws.errors import RemoteProtocolError
from mintws.events import Role, State
from mintws.http2.floods import is_idle
from mintws.http2.outbound import Events, Part
from mintws.http2.websocket import WebSocketStream, code_name

if TYPE_CHECKING:
    from mintws.http2.connection import Http2

#: What `h2` says of streams.
OfStream: TypeAlias = (
    h2.events.RequestReceived
    | h2.events.ResponseReceived
    | h2.events.InformationalResponseReceived
    | h2.events.TrailersReceived
    | h2.events.DataReceived
    | h2.events.StreamEnded
    | h2.events.StreamReset
    | h2.events.WindowUpdated
)
_OF_STREAMS = get_args(OfStream)

#: The most bytes of a GOAWAY's debug data that are told.
DEBUG_LIMIT = 120


class Incoming(Part):
    """What a connection receives, and how far it has come.

    Attributes:
        hidden: the stream of which nothing is handed on as ordinary: its request was not, or it carried a WebSocket that has just
            left it.
        settings_came: the peer's SETTINGS have come.
        goaway: what the last GOAWAY said, for whoever reads why a WebSocket was lost; empty if none has come.
    """

    def __init__(self, http: Http2) -> None:
        super().__init__(http)
        self.settings_came = False
        self.goaway = ""
        #: What comes is frames: a client's preface has come.
        self._begun = http._role is Role.CLIENT
        #: The first frame has come, which is SETTINGS (RFC 9113 §3.4).
        self._greeted = False
        #: Within a header block nothing but its continuations may come (RFC 9113 §4.3): h2 is to see it if it does.
        self._in_headers = False
        self.hidden = 0

    def receive(
        self, data: bytes | bytearray | memoryview, events: Events, offset: int, frame: bytes | int | None
    ) -> None:
        """Take a frame that the core has found, and the bytes behind `offset`, and append what they mean."""
        http = self._http
        if frame is None:
            offset, frame = http._inbound.receive(data, offset, events)
        while frame is not None:
            self._receive_piece(frame, events)
            if http._floods.flood and not http._ended:
                http._fail(events, ErrorCodes.ENHANCE_YOUR_CALM, http._floods.flood, "RFC 9113 §10.5")
            if http._ended:
                return
            offset, frame = http._inbound.receive(data, offset, events)

    def _receive_piece(self, frame: bytes | int, events: Events) -> None:
        """Take a frame, or the number of a stream that was sent more than there was credit for."""
        http = self._http
        if isinstance(frame, int):
            self._overrun(frame, events)
            return
        if not self._greeted and frame.startswith(b"HTTP/1."):
            http._fail(events, ErrorCodes.PROTOCOL_ERROR, "the server does not speak HTTP/2", "RFC 9113 §3.4")
            return
        if len(frame) - 9 != int.from_bytes(frame[:3], "big") and self._begun:
            # h2 would wait for all of it.
            http._fail(events, ErrorCodes.FRAME_SIZE_ERROR, "a frame is larger than was allowed", "RFC 9113 §4.2")
            return
        broken = self._check_order(frame)
        if broken is not None:
            http._fail(events, ErrorCodes.PROTOCOL_ERROR, *broken)
            return
        late = http.h2.has_closed(_stream_of(frame))
        if is_idle(frame, late=late):
            self._count_idle()
        fault = None if self._in_headers else _fault_of_stream(frame)
        if fault is not None and late:
            return
        if fault is not None and _stream_of(frame) in http.h2.streams:
            self._receive_event(http.h2.break_stream(_stream_of(frame), *fault), events)
        elif _is_goaway(frame) and not self._in_headers:
            self._receive_goaway(frame, events)
        elif late:
            self._receive_late(frame, events)
        else:
            self._receive_frame(frame, events)

    def _overrun(self, number: int, events: Events) -> None:
        """The peer sent more than a window lets it (RFC 9113 §5.2, §6.9.1)."""
        message = "DATA came for which there was no credit"
        if number == 0:
            self._http._fail(events, ErrorCodes.FLOW_CONTROL_ERROR, message, "RFC 9113 §6.9.1")
            return
        stream = self._http._streams[number]
        assert isinstance(stream, WebSocketStream)
        stream.fail(events, RemoteProtocolError(message, section="RFC 9113 §6.9.1"))
        stream.reset(ErrorCodes.FLOW_CONTROL_ERROR)
        self._http._waste()

    def _check_order(self, frame: bytes) -> tuple[str, str] | None:
        """Say what is wrong with a frame that comes now and that `h2` would let pass, with the section that has the rule."""
        if not self._begun:
            self._begun = True
            return None
        kind, flags, number = frame[3], frame[4], _stream_of(frame)
        if not self._greeted:
            if kind != 4 or flags & 1:
                return "the first frame must be SETTINGS", "RFC 9113 §3.4"
            self._greeted = True
        if kind == 9 and not self._in_headers:
            return "CONTINUATION came where there is no header block to continue", "RFC 9113 §6.10"
        client = self._http._role is Role.CLIENT
        if kind == 1 and client and number and number % 2 == 0:
            return "a server opens no stream, since push is off", "RFC 9113 §5.1"
        if kind == 3:
            ours = number % 2 == client
            if number > (self._http.h2.highest_outbound_stream_id if ours else self._http.h2.highest_inbound_stream_id):
                return "RST_STREAM came for a stream that nobody has opened", "RFC 9113 §6.4"
        return None

    def _receive_frame(self, frame: bytes, events: Events) -> None:
        """Give a frame to `h2`, and what `h2` makes of it to whom it concerns."""
        if frame[3] in (1, 5, 9):
            self._in_headers = not frame[4] & 4
        number = _stream_of(frame)
        self._http._floods.useful += frame[3] == 0 and len(frame) > 9
        begins = self._http._role is Role.SERVER and number > self._http.h2.highest_inbound_stream_id
        self.hidden = number if begins else 0
        try:
            for event in self._http.h2.receive_data(frame):
                self._receive_event(event, events)
        except h2.exceptions.NoSuchStreamError as error:
            message = f"a frame came for stream {error.stream_id}, which is not open"
            self._http._fail(events, error.error_code, message, "RFC 9113 §5.1")
        except h2.exceptions.ProtocolError as error:
            self._http._fail(events, error.error_code, str(error), "RFC 9113 §5.4.1")

    def _receive_late(self, frame: bytes, events: Events) -> None:
        """Take a frame for a stream that has closed: it was on its way, and gets no answer (RFC 9113 §5.1, §5.4.2).

        Header blocks are decoded all the same. DATA was counted by the core.
        """
        if frame[3] == 0 and not _is_badly_padded(frame) and not self._in_headers:
            return
        self._http._replies.append(self._http._flush())
        self._receive_frame(frame, events)
        if not self._http._ended:
            self._http.h2.clear_outbound_data_buffer()

    def _count_idle(self) -> None:
        """Count a frame that does nothing."""
        floods = self._http._floods
        floods.useful += self._http._inbound.tally() + self._http.h2.sender.tally()
        floods.idle()

    def _receive_event(self, event: h2.events.Event, events: Events) -> None:
        """Give an event of `h2` to its stream, or hand it on."""
        if isinstance(event, _OF_STREAMS) and event.stream_id:
            self._receive_of_stream(event, events)
            return
        match event:
            case h2.events.RemoteSettingsChanged():
                self._receive_settings(event, events)
            case h2.events.WindowUpdated():
                self._http._unblocked = True
        if not self._http._ended and len(self._http.h2.streams) > len(self._http._streams):
            # There is a stream that the caller drives by means of h2.
            events.append((None, event))

    def _receive_of_stream(self, event: OfStream, events: Events) -> None:
        """Give an event to the stream that it is of, or hand it on if nobody here has to do with that."""
        number = event.stream_id
        if isinstance(event, h2.events.StreamReset) and not event.remote_reset:
            self._http._waste()
        elif isinstance(event, h2.events.ResponseReceived):
            self._http._floods.answer()
        elif isinstance(event, h2.events.InformationalResponseReceived):
            self._count_idle()
        if isinstance(event, h2.events.RequestReceived):
            self._receive_request(event, events)
        elif number in self._http._streams:
            self._http._streams[number].receive(event, events)
        elif number != self.hidden:
            events.append((None, event))

    def _receive_goaway(self, frame: bytes, events: Events) -> None:
        """Let the streams that the peer has seen go on to their end (RFC 9113 §6.8).

        `h2` takes a GOAWAY for the end of the connection and lets nothing follow it, so it does not get to see one.
        """
        event = h2.events.ConnectionTerminated()
        event.last_stream_id = int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF
        event.error_code = int.from_bytes(frame[13:17], "big")
        event.additional_data = bytes(frame[17:]) or None
        self._http._peer_leaves = True
        self.goaway = _described(event.error_code, frame[17:])
        events.append((None, event))
        ours = 1 if self._http._role is Role.CLIENT else 0
        for number in [it for it in self._http.h2.streams if it > event.last_stream_id and it % 2 == ours]:
            stream = self._http._streams.get(number)
            if stream is not None:
                stream.lose(events, f"the {self._http._peer} went away before it saw the request: {self.goaway}")
            if not isinstance(stream, WebSocketStream):
                # What was not seen may be asked again elsewhere (§8.7).
                refused = h2.events.StreamReset(stream_id=number, error_code=ErrorCodes.REFUSED_STREAM)
                events.append((None, refused))
            if stream is None:
                self._http._reset(number, ErrorCodes.CANCEL)
            else:
                stream.reset(ErrorCodes.CANCEL)

    def _receive_request(self, event: h2.events.RequestReceived, events: Events) -> None:
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        if self._http._we_leave or self._http.h2.open_inbound_streams > self._http._max_concurrent_streams:
            self._http.h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            self._http._waste()
            return
        if not any(name == b":protocol" for name, _ in headers):
            self.hidden = 0
            events.append((None, event))
            if event.stream_ended is None and (b"expect", b"100-continue") in [(n, v.lower()) for n, v in headers]:
                # The client waits for this before it sends the content (RFC 9110 §10.1.1).
                self._http.h2.send_headers(event.stream_id, [(":status", "100")])
            return
        if not self._http._enable_connect:
            # A pseudo-header that was never offered is malformed (RFC 9113 §8.3).
            self._http.h2.reset_stream(event.stream_id, ErrorCodes.PROTOCOL_ERROR)
            self._http._waste()
            return
        stream = WebSocketStream(self._http, event.stream_id)
        self._http._streams[event.stream_id] = stream
        stream.remote_ended = event.stream_ended is not None
        connection = stream.connection
        more, reply = connection.receive_request(headers)
        self._http._replies.append(reply)
        if connection.state is State.REQUESTED:
            if stream.remote_ended:
                # A WebSocket needs both ways (RFC 8441 §5).
                more, _ = connection.receive_end("the request ended its stream")
                stream.reset(ErrorCodes.PROTOCOL_ERROR)
            else:
                stream.carry()
        if connection.state is State.CLOSED:
            self._http._waste()
        events += more

    def _receive_settings(self, event: h2.events.RemoteSettingsChanged, events: Events) -> None:
        connect = event.changed_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL)
        if self._http._role is Role.SERVER:
            # To a server it means nothing.
            connect = None
        if self.settings_came and connect is not None and connect.original_value and not connect.new_value:
            back = "SETTINGS_ENABLE_CONNECT_PROTOCOL went back from 1 to 0"
            self._http._fail(events, ErrorCodes.PROTOCOL_ERROR, back, "RFC 8441 §3")
            return
        self.settings_came = True
        self._http._unblocked = True


def _stream_of(frame: bytes) -> int:
    """The number of the stream that a frame is of."""
    return int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF


def _fault_of_stream(frame: bytes) -> tuple[h2.exceptions.ProtocolError, str] | None:
    """Say what is wrong with a frame that concerns its stream alone and that `h2` would end the connection for, with the section."""
    kind, number = frame[3], _stream_of(frame)
    if kind == 2 and len(frame) != 14:
        return h2.exceptions.FrameDataMissingError("PRIORITY must have 5 bytes"), "RFC 9113 §6.3"
    if kind == 2 and int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF == number:
        return h2.exceptions.ProtocolError("a stream may not depend on itself"), "RFC 7540 §5.3.1"
    if kind == 8 and len(frame) == 13 and not int.from_bytes(frame[9:], "big") & 0x7FFFFFFF:
        return h2.exceptions.ProtocolError("WINDOW_UPDATE came with an increment of 0"), "RFC 9113 §6.9"
    return None


def _is_badly_padded(frame: bytes) -> bool:
    """Whether the padding of a DATA frame leaves no room for itself: `h2` is to refuse it (RFC 9113 §6.1)."""
    return bool(frame[4] & 8) and (len(frame) == 9 or frame[9] >= len(frame) - 9)


def _described(code: int, debug_data: bytes) -> str:
    """Say in a line what a GOAWAY said (RFC 9113 §6.8): its debug data are anybody's."""
    text = debug_data[:DEBUG_LIMIT].decode("utf-8", "replace")
    told = "".join(it if it.isprintable() else "\ufffd" for it in text)
    return f"GOAWAY({code_name(code)})" + (f": {told}" if told else "")


def _is_goaway(frame: bytes) -> bool:
    """Whether a frame is a well-formed GOAWAY; any other is `h2`'s to refuse."""
    return len(frame) >= 17 and frame[3] == 7 and not _stream_of(frame)
