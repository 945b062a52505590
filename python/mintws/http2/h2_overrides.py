"""The HTTP/2 library as it is used here: `h2`, with what it would do to all streams done to the one that is concerned.

What is overridden is not of the public interface of `h2`; nothing else of mintws names such parts.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from weakref import WeakMethod, ref

import h2.config
import h2.connection
import h2.stream
import h2.windows
import hpack
from h2.connection import AllowedStreamIDs
from h2.errors import ErrorCodes
from h2.events import (
    Event,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import InvalidBodyLengthError, ProtocolError, StreamClosedError
from h2.stream import StreamClosedBy, StreamInputs, StreamState
from h2.utilities import HeaderValidationFlags, validate_headers
from hpack.struct import Header
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from mintws import _core
from mintws.http2.field_blocks import Decoder
from mintws.limits import DEFAULT_WINDOW

#: What begins or ends a message.
Head: TypeAlias = RequestReceived | ResponseReceived | InformationalResponseReceived | TrailersReceived

#: What holds for the peer's frames before its SETTINGS have come (RFC 9113 §6.5.2).
MIN_FRAME_SIZE = 16384
#: The most bytes of the table by which we compress headers: what holds if the peer says nothing.
TABLE_SIZE = 4096
#: RFC 9110 §15
_STATUS = re.compile(rb"[1-5][0-9][0-9]")


class H2Connection(h2.connection.H2Connection):
    """`H2Connection`, which knows at any time how many streams are open.

    `h2` looks through all streams for each that is opened, and forgets those that have closed only then.

    Args:
        config: that of `h2`.
        closed: a method, called with each stream when it closes; its object is not kept alive by that.
    """

    #: How many streams that have closed are remembered, with how they did: some 200 bytes each, for header blocks that come late.
    MAX_CLOSED_STREAMS = 1024

    def __init__(self, config: h2.config.H2Configuration, closed: Callable[[Stream], None]) -> None:
        #: It owns the windows in which we send, and what is to be written.
        self.sender = _core.DataSender(DEFAULT_WINDOW, MIN_FRAME_SIZE)
        super().__init__(config)
        self.encoder = _Encoder()
        decoder = Decoder()
        decoder.max_header_list_size = self.decoder.max_header_list_size
        self.decoder = decoder
        self._inbound_flow_control_window_manager = _Uncounted(self.local_settings.initial_window_size)
        self._closed = WeakMethod(closed)
        receivers = {kind: method.__name__ for kind, method in self._frame_dispatch_table.items()}
        self._frame_dispatch_table = _Receivers(self, receivers)  # type: ignore[assignment]
        #: How many streams are open of those that a server has opened, and of those that a client has.
        self._open = [0, 0]

    def stream(self, number: int) -> Stream:
        """Give a stream that is open."""
        return self.streams[number]  # type: ignore[return-value]

    @property
    def outbound_flow_control_window(self) -> int:
        return self.sender.window(0)

    @outbound_flow_control_window.setter
    def outbound_flow_control_window(self, window: int) -> None:
        self.sender.set_window(0, window)

    @property
    def max_outbound_frame_size(self) -> int:
        return self.sender.max_frame_size

    @max_outbound_frame_size.setter
    def max_outbound_frame_size(self, size: int) -> None:
        self.sender.max_frame_size = size

    def initiate_connection(self) -> None:
        super().initiate_connection()
        self.sender.write(super().data_to_send())

    def data_to_send(self, amount: int | None = None) -> bytes:
        out = self.sender.take()
        if amount is None:
            return out
        self.sender.write(out[amount:])
        return out[:amount]

    def clear_outbound_data_buffer(self) -> None:
        self.sender.take()

    def _terminate_connection(self, error_code: ErrorCodes) -> None:
        """Leave the GOAWAY to whoever knows the last stream that it is to name (RFC 9113 §6.8)."""

    def _prepare_for_sending(self, frames: list[Frame]) -> None:
        self.sender.write(b"".join(frame.serialize() for frame in frames))

    def announce_leaving(self) -> int:
        """Write a GOAWAY after which open streams go on, and give the last stream that it names: `h2` lets nothing follow its own."""
        last = self.highest_inbound_stream_id
        self._prepare_for_sending([GoAwayFrame(0, last_stream_id=last)])
        return last

    def has_closed(self, number: int) -> bool:
        """Whether a stream was open and is no more, or was passed over."""
        ours = number % 2 == self.config.client_side
        highest = self.highest_outbound_stream_id if ours else self.highest_inbound_stream_id
        return 0 < number <= highest and number not in self.streams

    def was_reset(self, number: int) -> bool:
        """Whether a stream that has closed was reset, by either side."""
        return self._stream_is_closed_by_reset(number)

    def break_stream(self, number: int, fault: ProtocolError, section: str) -> StreamReset:
        """Reset an open stream for what came on it."""
        stream = self.stream(number)
        stream.section = section
        frames, (event,) = stream.refuse(fault)
        self._prepare_for_sending(frames)
        assert isinstance(event, StreamReset)
        return event

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> Stream:
        plain = super()._begin_new_stream(stream_id, allowed_ids)
        stream = Stream(
            stream_id, self.config, plain.inbound_flow_control_window, plain.outbound_flow_control_window, self
        )
        stream.max_outbound_frame_size = plain.max_outbound_frame_size
        self.streams[stream_id] = stream
        self._open[stream_id % 2] += 1
        return stream

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
        # Priorities of streams are deprecated (RFC 9113 §5.3.2), and h2 expects the head of a message where one is told.
        frame.flags.discard("PRIORITY")
        return super()._receive_headers_frame(frame)

    def _open_streams(self, remainder: int) -> int:
        return self._open[remainder]

    def forget(self, number: int) -> None:
        """Forget a stream that has closed."""
        stream: Stream = self.streams.pop(number)  # type: ignore[assignment]
        self._closed_streams[number] = stream.closed_by
        self._open[number % 2] -= 1
        stream.detach()
        closed = self._closed()
        if closed is not None:
            closed(stream)


class Stream(h2.stream.H2Stream):
    """`H2Stream`, which says when it has closed, and is reset for what is wrong with its messages (RFC 9113 §8.1.1).

    `h2` would end the connection for it.

    Attributes:
        fault: what was wrong with what came, if the stream was reset for it.
        section: where the rule stands, if it is none of messages (RFC 9113 §8.1.1).
        owned: what is sent on it is written by `mintws`, not by means of `h2`.
    """

    def __init__(
        self,
        stream_id: int,
        config: h2.config.H2Configuration,
        inbound_window_size: int,
        outbound_window_size: int,
        library: H2Connection,
    ) -> None:
        self._sender = library.sender
        #: The window in which we send, once the stream has closed.
        self._window: int | None = None
        self.stream_id = stream_id
        super().__init__(stream_id, config, inbound_window_size, outbound_window_size)
        self.fault = ""
        self.section = ""
        self.owned = False
        self.state_machine = _States(stream_id, library)

    @property
    def outbound_flow_control_window(self) -> int:
        return self._sender.window(self.stream_id) if self._window is None else self._window

    @outbound_flow_control_window.setter
    def outbound_flow_control_window(self, window: int) -> None:
        if self._window is None:
            self._sender.set_window(self.stream_id, window)
        else:
            self._window = window

    def detach(self) -> None:
        """Have the core forget the stream, which has closed: `h2` may still count what ended it."""
        self._window = self.outbound_flow_control_window
        self._sender.drop(self.stream_id)

    def receive_headers(
        self, headers: Iterable[Header], end_stream: bool, header_encoding: bool | str | None
    ) -> tuple[list[Frame], list[Event]]:
        expected = self._expected_content_length
        try:
            frames, events = super().receive_headers(headers, end_stream, header_encoding)
            self._check_headers(events)
            if isinstance(events[0], TrailersReceived):
                # h2 would read it anew from them.
                self._expected_content_length = expected
            elif isinstance(events[0], ResponseReceived):
                self._expect_content(dict(events[0].headers)[b":status"])
            if end_stream and self._expected_content_length not in (None, self._actual_content_length):
                raise InvalidBodyLengthError(self._expected_content_length or 0, self._actual_content_length)
        except StreamClosedError:
            raise
        except ProtocolError as error:
            return self.refuse(error)
        return frames, events

    def receive_data(self, data: bytes, end_stream: bool, flow_control_len: int) -> tuple[list[Frame], list[Event]]:
        try:
            return super().receive_data(data, end_stream, flow_control_len)
        except StreamClosedError:
            raise
        except ProtocolError as error:
            return self.refuse(error)

    def _process_received_headers(
        self,
        headers: Iterable[Header],
        header_validation_flags: HeaderValidationFlags,
        header_encoding: bool | str | None,
    ) -> list[Header]:
        received = list(headers)
        if _is_handshake(received):
            # The handshake is given them as they came. h2 would join its cookies, and put them last.
            return received
        return super()._process_received_headers(received, header_validation_flags, header_encoding)

    def _check_headers(self, events: list[Event]) -> None:
        """Raise if a head or trailers break a rule of RFC 9113 §8.2-8.3."""
        head = events[0]
        assert isinstance(head, Head)
        if isinstance(head, RequestReceived) and _is_handshake(head.headers):
            # The handshake of a WebSocket is answered with the rule that it breaks.
            return
        headers = _without_host(head.headers) if isinstance(head, RequestReceived) else head.headers
        deque(validate_headers(headers, self._build_hdr_validation_flags(events)), maxlen=0)
        if isinstance(head, RequestReceived) and (fault := _core.check_fields(head.headers)):
            raise ProtocolError(fault.args[0])
        status = dict(head.headers).get(b":status")
        if status is not None and not _STATUS.fullmatch(status):
            raise ProtocolError(f":status must be three digits, 100 to 599, not {status!r}")

    def _expect_content(self, status: bytes) -> None:
        """Set the length of a response's content by its status, whatever its Content-Length says."""
        if self.request_method == b"CONNECT" and status.startswith(b"2"):
            # What follows is no content (RFC 9110 §9.3.6).
            self._expected_content_length = None
        elif status in (b"204", b"304"):
            # There is none, which may be told the length that it would have (RFC 9110 §6.4.1, §8.6).
            self._expected_content_length = 0

    def refuse(self, error: ProtocolError) -> tuple[list[Frame], list[Event]]:
        """Reset the stream for what came on it, as h2 does for a window that overflows."""
        frames: list[Frame] = []
        if self.closed_by is not StreamClosedBy.RECV_END_STREAM:
            frame = RstStreamFrame(self.stream_id)
            frame.error_code = error.error_code
            frames.append(frame)
        if not self.closed:
            self.state_machine.process_input(StreamInputs.SEND_RST_STREAM)
        self.fault = str(error)
        return frames, [StreamReset(stream_id=self.stream_id, error_code=error.error_code, remote_reset=False)]


def _is_handshake(headers: list[Header]) -> bool:
    """Whether a request asks for a WebSocket, or for what else extended CONNECT is for (RFC 8441 §4)."""
    return b":protocol" in [name for name, _ in headers]


def _without_host(headers: list[Header]) -> list[Header]:
    """Leave out a Host that is the `:authority` (RFC 9113 §8.3.1): `h2` compares the two letter by letter."""
    hosts = [value for name, value in headers if name == b"host"]
    pseudo = {name: value for name, value in headers if name in (b":authority", b":scheme")}
    if len(hosts) != 1 or b":authority" not in pseudo:
        return headers
    host, authority, scheme = (
        it.decode("latin-1") for it in (hosts[0], pseudo[b":authority"], pseudo.get(b":scheme", b""))
    )
    same = _core.is_same_host(host, authority, scheme)
    return [pair for pair in headers if pair[0] != b"host"] if same else headers


class _Encoder(hpack.Encoder):
    """An encoder of header blocks whose table is bounded: each header that is sent is looked for in all of it."""

    @property
    def header_table_size(self) -> int:
        """The size that the peer allows (RFC 7541 §4.2), up to `TABLE_SIZE`."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size = min(value, TABLE_SIZE)
        if size == self.header_table.maxsize:
            # hpack would forget a change that it has not told of yet.
            return
        self.header_table.maxsize = size
        # What changes several times between two blocks is told by the smallest size and the last.
        smallest = min(*self.table_size_changes, size) if self.table_size_changes else size
        self.table_size_changes = [smallest, size] if smallest < size else [size]


class _Uncounted(h2.windows.WindowManager):
    """The window of the connection, in which `h2` sees but a part of the DATA: the core keeps its books."""

    def window_consumed(self, size: int) -> None:
        pass

    def process_bytes(self, size: int) -> int | None:
        return None


class _Receivers:
    """What `h2` calls for a frame of each kind: its own table of bound methods would keep the connection from being freed."""

    def __init__(self, library: H2Connection, names: dict[type[Frame], str]) -> None:
        self._library = ref(library)
        self._names = names

    def __getitem__(self, kind: type[Frame]) -> Any:
        return getattr(self._library(), self._names[kind])


class _States(h2.stream.H2StreamStateMachine):
    """The states of a stream, which has the library forget it when it has closed."""

    def __init__(self, stream_id: int, library: H2Connection) -> None:
        super().__init__(stream_id)
        self._library = ref(library)

    def process_input(self, input_: StreamInputs) -> list[Event]:
        try:
            return super().process_input(input_)
        except ProtocolError:
            if input_ in (StreamInputs.RECV_HEADERS, StreamInputs.RECV_INFORMATIONAL_HEADERS, StreamInputs.RECV_DATA):
                # An error has closed it, for which it is reset.
                self.stream_closed_by = self.stream_closed_by or StreamClosedBy.SEND_RST_STREAM
            raise
        finally:
            library = self._library()
            if self.state is StreamState.CLOSED and library is not None and self.stream_id in library.streams:
                library.forget(self.stream_id)
