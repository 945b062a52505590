"""The input and output of an HTTP/2 connection: frames come in, events of `h2` and one output buffer go out."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum, auto

import h2.config
import h2.events
import h2.exceptions
import h2.settings
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from h2.stream import StreamClosedBy
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

from mintws import _core
from mintws.connection import ResponseHeaders
from mintws.errors import ExtendedConnectDisabled, LocalProtocolError
from mintws.events import Headers, Role, completed, encoded
from mintws.http2.flood_guard import FloodGuard, is_idle, useful_bytes
from mintws.http2.frames import ACK, END_HEADERS, Frame, code_name
from mintws.http2.h2_overrides import H2Connection, Stream
from mintws.limits import DEFAULT_WINDOW, INT31

#: What the peer may send on all streams together before it waits for credit.
CONNECTION_WINDOW = 16 * 1024 * 1024
#: SETTINGS_MAX_FRAME_SIZE: what comes is cut out of chunks, so larger frames would only be held longer.
MAX_FRAME_SIZE = 16384
#: The most bytes of a header list, as RFC 9113 §6.5.2 counts them, unless `max_header_size` is given.
HEADER_LIMIT = 64 * 1024
#: The most bytes of a GOAWAY's debug data that are told.
DEBUG_LIMIT = 120

NO_LIMIT = INT31 + 1

#: What a PING of ours carries.
_PROBE = bytes(8)


class ConnectionFault(Exception):
    """A fault of the peer for which the whole connection ends (RFC 9113 §5.4.1).

    Args:
        code: the error code of the GOAWAY.
        message: what was wrong.
        section: where the rule stands.
    """

    def __init__(self, code: int, message: str, section: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.section = section


class Expects(Enum):
    """The frame that is to come next."""

    PREFACE = auto()
    """A client's preface (RFC 9113 §3.4)."""
    SETTINGS = auto()
    """The first frame (§3.4)."""
    FRAME = auto()
    """Any frame."""
    CONTINUATION = auto()
    """The rest of a header block, and nothing else (§4.3): `h2` is to see it if it is."""


class Wire:
    """The frames and windows of one connection, and what is to be written.

    Args:
        role: which end.
        window: the window of each stream in which the peer sends, at first.
        enable_connect: on a server, whether WebSockets are taken.
        max_concurrent_streams: how many streams the peer may have open at a time.
        max_header_size: the bytes of a header list that the peer may send; `None` is 64 KiB.
        own_limit: how many streams a client opens, whatever its server takes.
        memory_limit: how many bytes may be held for the peer; `None` is no limit.
        response_headers: gives what a server adds to the heads of its responses.

    Attributes:
        role: which end.
        h2: the HTTP/2 library.
        sender: the windows in which we send, and the output buffer.
        data_receiver: cuts what comes into frames, and has the windows in which the peer sends.
        flood_guard: what the peer has done for nothing.
        closed: the streams that have closed since `take_closed`.
        end_reason: why nothing more is read, nor written; empty until then.
        we_leave: we take no new streams.
        peer_leaves: the peer takes none.
        settings_came: the peer's SETTINGS have come.
        goaway: what the peer's last GOAWAY said, for whoever reads why a WebSocket was lost; empty if none has come.
        probes_answered: how many PINGs of `probe` the peer has acknowledged.
    """

    def __init__(
        self,
        role: Role,
        *,
        window: int,
        enable_connect: bool,
        max_concurrent_streams: int,
        max_header_size: int | None,
        own_limit: int,
        memory_limit: int | None,
        response_headers: ResponseHeaders,
    ) -> None:
        client = role is Role.CLIENT
        self.role = role
        # Headers are held to their rules here, stream by stream: h2 would end the connection for a fault of one stream.
        config = h2.config.H2Configuration(client_side=client, header_encoding=None, validate_inbound_headers=False)
        self.h2 = H2Connection(config, self._stream_closed)
        header_limit = HEADER_LIMIT if max_header_size is None else max_header_size
        # Of SETTINGS that a connection begins with, h2 does not tell its decoder.
        self.h2.decoder.max_header_list_size = header_limit
        settings = {
            SettingCodes.INITIAL_WINDOW_SIZE: window,
            SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_SIZE,
            SettingCodes.MAX_CONCURRENT_STREAMS: max_concurrent_streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: header_limit,
        }
        if client:
            settings[SettingCodes.ENABLE_PUSH] = 0
        elif enable_connect:
            settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self.h2.local_settings = h2.settings.Settings(client=client, initial_values=settings)
        if client or not enable_connect:
            # Absent, not 0: some servers reset every extended CONNECT of a client whose SETTINGS have it.
            del self.h2.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
        self.sender = self.h2.sender
        self.data_receiver = _core.DataReceiver(
            self.sender, not client, MAX_FRAME_SIZE, window, CONNECTION_WINDOW, memory_limit
        )
        self.flood_guard = FloodGuard()
        #: The bytes waiting for windows above which those wait to be sent that would wait for one too.
        self._pending_limit = math.inf if memory_limit is None else memory_limit // 2
        self.end_reason = ""
        self.we_leave = False
        self.peer_leaves = False
        self.settings_came = False
        self.goaway = ""
        self._probes = self.probes_answered = 0
        self._own_limit = own_limit
        self._response_headers = response_headers
        self._expects = Expects.SETTINGS if client else Expects.PREFACE
        #: What our GOAWAY said of the streams that we have seen: a later one may not say more (§6.8).
        self._last_seen: int | None = None
        self.closed: list[int] = []
        #: Gives what is to be written to the transport now.
        self.take: Callable[[], bytes] = self.sender.take

    @property
    def peer(self) -> str:
        """The name of the peer's role: "server" or "client"."""
        return "server" if self.role is Role.CLIENT else "client"

    @property
    def leaving(self) -> bool:
        """Whether no new streams are begun any more."""
        return bool(self.end_reason) or self.we_leave or self.peer_leaves or self.h2.highest_outbound_stream_id >= INT31

    @property
    def can_open(self) -> bool | None:
        """Whether a client can open a WebSocket: `None` until the server's SETTINGS have said whether it takes any (RFC 8441 §3)."""
        if self.role is Role.SERVER or self.leaving:
            return False
        if not self.settings_came:
            return None
        return bool(self.h2.remote_settings.enable_connect_protocol)

    @property
    def stream_limit(self) -> int:
        """How many streams a client may have open at a time (RFC 9113 §5.1.2)."""
        return min(self.h2.remote_settings.max_concurrent_streams, self._own_limit)

    @property
    def has_room(self) -> bool:
        """Whether a client may begin one more stream now."""
        return not self.leaving and self.h2.open_outbound_streams < self.stream_limit

    def check_can_open(self) -> None:
        """Raise if the client can open no more WebSockets."""
        self.check_not_full()
        if self.can_open is False:
            raise disabled()

    def check_not_full(self) -> None:
        """Raise if the client can begin no more streams, ever."""
        if self.leaving:
            raise LocalProtocolError("the connection takes no new streams any more: make another Http2")

    # What is written.

    def start(self) -> None:
        """Write the preface and our SETTINGS (RFC 9113 §3.4)."""
        self.h2.initiate_connection()
        if self.role is Role.SERVER:
            # One stream too many is refused here; h2 would end the connection for it.
            self.h2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = NO_LIMIT
            self.h2.local_settings.acknowledge()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW - DEFAULT_WINDOW)

    def own(self, number: int) -> Stream:
        """Give an open stream as `h2` knows it: what is sent on it is written here from now on."""
        stream = self.h2.stream(number)
        stream.owned = True
        return stream

    def write_head(self, number: int, headers: Headers, *, end: bool) -> None:
        """Write the head of a message; `LocalProtocolError` if `h2` does not let it."""
        try:
            self.h2.send_headers(number, encoded(headers), end_stream=end)
        except h2.exceptions.ProtocolError as error:
            raise LocalProtocolError(f"HTTP/2 does not allow this now: {error}") from error

    def write_response_head(self, number: int, headers: Headers, *, end: bool) -> None:
        """Write the head of a response, with what the server adds to all."""
        self.write_head(number, completed(headers, self._response_headers()), end=end)

    def reset(self, number: int, code: int) -> None:
        """Reset a stream, if it is open."""
        if number in self.h2.streams and not self.end_reason:
            self.h2.reset_stream(number, code)

    def probe(self) -> None:
        """Write a PING, whose acknowledgement is counted (RFC 9113 §6.7)."""
        self.h2.ping(_PROBE)
        self._probes += 1

    def leave(self) -> None:
        """Write the GOAWAY of a connection that takes no new streams (RFC 9113 §6.8)."""
        self.we_leave = True
        self._last_seen = self.h2.announce_leaving()

    def fail(self, fault: ConnectionFault) -> None:
        """Write the GOAWAY that says what was wrong, and end."""
        self.h2.close_connection(fault.code, last_stream_id=self._last_seen)
        self.end_reason = fault.message
        self.data_receiver.stop()

    def has_room_for(self, stream: int, size: int) -> bool:
        """Whether `size` bytes may be sent on a stream: its window lets them pass, or not too much waits for windows as it is."""
        return self.sender.pending(0) <= self._pending_limit or size <= self.sender.window(stream)

    def take_closed(self) -> list[int]:
        """Give the streams that have closed since the last call."""
        closed, self.closed = self.closed, []
        return closed

    def waste(self) -> None:
        """Count a request that comes to nothing, through the client's fault."""
        if self.role is Role.SERVER:
            self.flood_guard.waste()

    def _stream_closed(self, stream: Stream) -> None:
        """Have no more come of a stream that has closed, whoever has closed it."""
        self.data_receiver.drop(stream.stream_id)
        self.closed.append(stream.stream_id)
        answered = stream.state_machine.headers_sent
        if not answered and stream.closed_by is StreamClosedBy.RECV_RST_STREAM:
            self.waste()
        elif answered and not stream.owned:
            self.flood_guard.answer()

    # What comes.

    def receive(self, piece: bytes | int) -> list[h2.events.Event]:
        """Read what the core has cut out of what came.

        Args:
            piece: a frame, the preface, or the number of a stream that was sent more than there was credit for (0: the connection was).

        Returns:
            What it means, all of one stream or of the connection.

        Raises:
            ConnectionFault: the connection is to end for it.
        """
        if isinstance(piece, int):
            return self._receive_overrun(piece)
        if self._expects is Expects.PREFACE:
            self._expects = Expects.SETTINGS
            return self._read(piece)
        frame = Frame(piece)
        self._check_order(frame)
        late = self.h2.has_closed(frame.stream)
        if self._is_probe_answer(frame):
            self.probes_answered += 1
        elif is_idle(frame, late=late):
            self._count_idle()
        if self._expects is not Expects.CONTINUATION:
            if fault := frame.fault_of_stream:
                if late:
                    return []
                if frame.stream in self.h2.streams:
                    return self._break(frame.stream, *fault)
            if frame.goaway is not None:
                return self._receive_goaway(frame)
        return self._receive_late(frame) if late else self._receive_frame(frame)

    def check_floods(self) -> None:
        """Raise `ConnectionFault` if the peer has done too much for nothing (RFC 9113 §10.5)."""
        if self.flood_guard.flood:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, self.flood_guard.flood, "RFC 9113 §10.5")

    def _receive_overrun(self, number: int) -> list[h2.events.Event]:
        """The peer sent more than a window lets it (RFC 9113 §5.2, §6.9.1)."""
        message, section = "DATA came for which there was no credit", "RFC 9113 §6.9.1"
        if number == 0:
            raise ConnectionFault(ErrorCodes.FLOW_CONTROL_ERROR, message, section)
        return self._break(number, h2.exceptions.FlowControlError(message), section)

    def _break(self, number: int, fault: h2.exceptions.ProtocolError, section: str) -> list[h2.events.Event]:
        """Reset an open stream for what came on it."""
        self.waste()
        return [self.h2.break_stream(number, fault, section)]

    def _check_order(self, frame: Frame) -> None:
        """Raise for a frame that may not come now and that `h2` would let pass, or would wait for."""
        client = self.role is Role.CLIENT
        first = self._expects is Expects.SETTINGS
        if first and client and frame.data.startswith(b"HTTP/1."):
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "the server does not speak HTTP/2", "RFC 9113 §3.4")
        if not frame.whole:
            raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "a frame is larger than was allowed", "RFC 9113 §4.2")
        broken = None
        if first:
            if frame.type != SettingsFrame.type or frame.flags & ACK:
                broken = "the first frame must be SETTINGS", "RFC 9113 §3.4"
            self._expects = Expects.FRAME
        elif frame.type == ContinuationFrame.type:
            if self._expects is not Expects.CONTINUATION:
                broken = "CONTINUATION came where there is no header block to continue", "RFC 9113 §6.10"
        elif frame.type == HeadersFrame.type:
            if client and frame.stream and frame.stream % 2 == 0:
                broken = "a server opens no stream, since push is off", "RFC 9113 §5.1"
        elif frame.type == RstStreamFrame.type:
            ours = frame.stream % 2 == client
            if frame.stream > (self.h2.highest_outbound_stream_id if ours else self.h2.highest_inbound_stream_id):
                broken = "RST_STREAM came for a stream that nobody has opened", "RFC 9113 §6.4"
        if broken is not None:
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, *broken)

    def _receive_frame(self, frame: Frame) -> list[h2.events.Event]:
        """Give a frame to `h2`."""
        if frame.type in (HeadersFrame.type, PushPromiseFrame.type, ContinuationFrame.type):
            self._expects = Expects.FRAME if frame.flags & END_HEADERS else Expects.CONTINUATION
        self.flood_guard.useful += useful_bytes(frame.data_size)
        begins = self.role is Role.SERVER and frame.stream > self.h2.highest_inbound_stream_id
        events = self._read(frame.data)
        for event in events:
            match event:
                case h2.events.RemoteSettingsChanged():
                    self._receive_settings(event)
                case h2.events.StreamEnded():
                    self.data_receiver.drop(event.stream_id)
                case h2.events.TrailersReceived():
                    # They end the stream: what says so once more is left out.
                    self.data_receiver.drop(event.stream_id)
                    return [event]
                case h2.events.StreamReset(remote_reset=False):
                    self.waste()
                    if begins:
                        # Nobody has heard of its request.
                        return []
                case h2.events.ResponseReceived():
                    self.flood_guard.answer()
                case h2.events.InformationalResponseReceived():
                    self._count_idle()
        return events

    def _read(self, data: bytes) -> list[h2.events.Event]:
        """Have `h2` read the preface or a frame."""
        try:
            return self.h2.receive_data(data)
        except h2.exceptions.NoSuchStreamError as error:
            message = f"a frame came for stream {error.stream_id}, which is not open"
            raise ConnectionFault(error.error_code, message, "RFC 9113 §5.1") from error
        except h2.exceptions.ProtocolError as error:
            raise ConnectionFault(error.error_code, str(error), "RFC 9113 §5.4.1") from error

    def _receive_late(self, frame: Frame) -> list[h2.events.Event]:
        """Take a frame for a stream that has closed: it was on its way, and gets no answer (RFC 9113 §5.1, §5.4.2).

        Header blocks are decoded all the same. DATA was counted by the core.
        """
        is_data = frame.type == DataFrame.type and self._expects is not Expects.CONTINUATION
        if is_data and not frame.is_badly_padded:
            return []
        before = self.take()
        try:
            events = self._receive_frame(frame)
        finally:
            self.take()
            self.sender.write(before)
        return events

    def _is_probe_answer(self, frame: Frame) -> bool:
        """Whether a frame acknowledges a PING of `probe` that was not acknowledged before."""
        awaited = self.probes_answered < self._probes
        return awaited and frame.type == PingFrame.type and bool(frame.flags & ACK) and frame.data[9:] == _PROBE

    def _count_idle(self) -> None:
        """Count a frame that does nothing."""
        self.flood_guard.useful += self.data_receiver.tally() + self.sender.tally()
        self.flood_guard.idle()

    def _receive_goaway(self, frame: Frame) -> list[h2.events.Event]:
        """Have no new streams begin (RFC 9113 §6.8).

        `h2` takes a GOAWAY for the end of the connection and lets nothing follow it, so it does not get to see one.
        """
        goaway = frame.goaway
        assert goaway is not None
        self.peer_leaves = True
        self.goaway = _described(goaway.error_code, goaway.additional_data)
        event = h2.events.ConnectionTerminated()
        event.last_stream_id = goaway.last_stream_id & INT31
        event.error_code = goaway.error_code
        event.additional_data = goaway.additional_data or None
        return [event]

    def _receive_settings(self, event: h2.events.RemoteSettingsChanged) -> None:
        connect = event.changed_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL)
        # To a server it means nothing.
        known = self.settings_came and self.role is Role.CLIENT
        if known and connect is not None and connect.original_value and not connect.new_value:
            back = "SETTINGS_ENABLE_CONNECT_PROTOCOL went back from 1 to 0"
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, back, "RFC 8441 §3")
        self.settings_came = True


def disabled() -> ExtendedConnectDisabled:
    """Make the error of a server that takes no WebSockets."""
    return ExtendedConnectDisabled(
        "the server does not enable extended CONNECT: connect again with HTTP/1.1 for a WebSocket"
    )


def _described(code: int, debug_data: bytes) -> str:
    """Say in a line what a GOAWAY said (RFC 9113 §6.8): its debug data are anybody's."""
    text = bytes(debug_data[:DEBUG_LIMIT]).decode("utf-8", "replace")
    told = "".join(it if it.isprintable() else "\ufffd" for it in text)
    return f"GOAWAY({code_name(code)})" + (f": {told}" if told else "")
