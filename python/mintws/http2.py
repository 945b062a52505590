"""WebSockets over HTTP/2 (RFC 8441): many on one connection, side by side with ordinary requests.

`h2` reads and writes all frames but the DATA of WebSockets, which goes past it: the core cuts it out of what comes and hands it
to its connection. `h2` stays the owner of the windows in which we send; those in which we receive are the core's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from h2.utilities import HeaderValidationFlags, validate_headers

from mintws import _core
from mintws.connection import Carrier, Connection, Options
from mintws.errors import ExtendedConnectDisabled, LocalProtocolError, RemoteProtocolError
from mintws.events import Failed, Headers, Request, Response, Role, State, UpgradeReject

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Pairs of a connection and its event; what belongs to no WebSocket comes as `None` and the event of `h2`.
Received: TypeAlias = tuple[Sequence[tuple[Connection | None, Any]], bytes]
_Events: TypeAlias = list[tuple[Connection | None, Any]]
_Head: TypeAlias = (
    h2.events.RequestReceived
    | h2.events.ResponseReceived
    | h2.events.InformationalResponseReceived
    | h2.events.TrailersReceived
)

#: What the peer may send on one stream, and on all together, before it waits for credit.
STREAM_WINDOW = 256 * 1024
CONNECTION_WINDOW = 16 * 1024 * 1024
#: SETTINGS_MAX_FRAME_SIZE: what comes is cut out of chunks, so larger frames would only be held longer.
MAX_FRAME_SIZE = 16384
#: The most bytes of a request's headers, as RFC 9113 §6.5.2 counts them.
HEADER_LIMIT = 64 * 1024
#: The most bytes kept of the body of a refusal.
BODY_LIMIT = 64 * 1024
#: The most bytes of the body of an ordinary message that `collect` gathers.
REQUEST_LIMIT = 1024 * 1024
#: Frames that carry nothing (PING, SETTINGS, resets, empty DATA) that one chunk may have, beside one for each 512 bytes.
IDLE_FRAMES = 200
#: Requests that a client may waste, beside half of all: taken back before they are answered, or such that we must reset them.
WASTED_REQUESTS = 200

_DEFAULT_WINDOW = 65535
_NO_LIMIT = 1 << 31


class Http2:
    """One HTTP/2 connection.

    Args:
        role: which end.
        scheme: the scheme of a client's URLs, "http" or "https".
        window: what the peer may send on one stream before the application takes it, in bytes: 65535 to 2^31-1.
        enable_connect: on a server, whether WebSockets are taken at all (RFC 8441 §3).
        max_concurrent_streams: how many streams a client may have open at a time.
        options: see `Options`; they hold for each WebSocket.

    Attributes:
        h2: the `h2.connection.H2Connection`, for ordinary requests and responses. What its methods want to be sent comes with the
            next bytes that anything here returns, or from its own `data_to_send`.
    """

    def __init__(
        self,
        role: Role,
        *,
        scheme: str = "http",
        window: int = STREAM_WINDOW,
        enable_connect: bool = True,
        max_concurrent_streams: int = 100,
        **options: Unpack[Options],
    ) -> None:
        if not _DEFAULT_WINDOW <= window < 1 << 31:
            raise LocalProtocolError(f"window must be {_DEFAULT_WINDOW} to 2^31-1 bytes, not {window}")
        self.scheme = scheme
        self._role = role
        self._options = options
        self._max_concurrent_streams = max_concurrent_streams
        self._enable_connect = enable_connect
        client = role is Role.CLIENT
        # Headers are held to their rules here, stream by stream: h2 would end the connection for a fault of one stream.
        config = h2.config.H2Configuration(client_side=client, header_encoding=None, validate_inbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        settings = {
            SettingCodes.INITIAL_WINDOW_SIZE: window,
            SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_SIZE,
            SettingCodes.MAX_CONCURRENT_STREAMS: max_concurrent_streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIMIT,
        }
        if client:
            settings[SettingCodes.ENABLE_PUSH] = 0
        elif enable_connect:
            settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self.h2.local_settings = h2.settings.Settings(client=client, initial_values=settings)
        if client or not enable_connect:
            # Absent, not 0: some servers reset every extended CONNECT of a client whose SETTINGS have it.
            del self.h2.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
        self._inbound = _core.Inbound(role is Role.SERVER, MAX_FRAME_SIZE, window, CONNECTION_WINDOW)
        self._streams: dict[int, _Outbound] = {}
        #: Ordinary messages that `collect` gathers: their head and body.
        self._collected: dict[int, tuple[Headers, bytearray]] = {}
        #: Handshakes that wait for the server's SETTINGS, or for a stream to become free.
        self._waiting: deque[tuple[_Stream, Headers]] = deque()
        #: What is to be written for what is being received.
        self._replies: list[bytes] = []
        #: What an extension raised that is no `Exception`, and the events that it keeps from being handed on.
        self._raised: BaseException | None = None
        self._kept: _Events = []
        #: A window has opened.
        self._unblocked = False
        self._settings_came = False
        self._ended = False
        #: We take no new streams; the peer takes none.
        self._we_leave = False
        self._peer_leaves = False
        #: What comes is frames: a client's preface has come.
        self._begun = client
        #: The first frame has come, which is SETTINGS (RFC 9113 §3.4).
        self._greeted = False
        #: Within a header block nothing but its continuations may come (RFC 9113 §4.3): h2 is to see it if it does.
        self._in_headers = False
        #: The stream that was refused last: the end of its request is of no interest.
        self._refused = 0
        #: What our GOAWAY said of the streams that we have seen: a later one may not say more (§6.8).
        self._last_seen: int | None = None
        self._wasted = 0

    def start(self) -> bytes:
        """Give the bytes with which the connection begins: the preface and our SETTINGS (RFC 9113 §3.4)."""
        self.h2.initiate_connection()
        if self._role is Role.SERVER:
            # One stream too many is refused here; h2 would end the connection for it.
            self.h2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = _NO_LIMIT
            self.h2.local_settings.acknowledge()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW - _DEFAULT_WINDOW)
        return self.h2.data_to_send()

    @property
    def can_open(self) -> bool | None:
        """Whether the server takes WebSockets: `None` until its SETTINGS have come (RFC 8441 §3)."""
        if self._role is Role.SERVER or self._leaving:
            return False
        if not self._settings_came:
            return None
        return bool(self.h2.remote_settings.enable_connect_protocol)

    def open(self) -> Connection:
        """Make a client's WebSocket; its first event is an `UpgradeRequest`.

        Before the server's SETTINGS have come, and while all streams are taken, the request waits and goes out in a later reply.

        Raises:
            ExtendedConnectDisabled: the server takes no WebSockets over HTTP/2.
            LocalProtocolError: on a server, or when the connection is ending.
        """
        if self._role is Role.SERVER:
            raise LocalProtocolError("a server opens no WebSocket: answer the UpgradeRequest that receive() gives")
        if self._leaving:
            raise LocalProtocolError("the connection is ending and takes no new streams: make another Http2")
        if self.can_open is False:
            raise _disabled()
        return _Stream(self).connection

    @property
    def done(self) -> bool:
        """Whether the transport is to be closed now, after what was returned so far is written."""
        if self._ended or not (self._we_leave or self._peer_leaves):
            return self._ended
        return not self._streams and not self.h2.open_inbound_streams and not self.h2.open_outbound_streams

    @property
    def reading(self) -> bool:
        """Whether the transport is to be read: always, since each stream has a window of its own."""
        return True

    def receive(self, data: bytes | bytearray | memoryview) -> Received:
        """Take bytes from the peer and say what they mean.

        Args:
            data: the next bytes of the transport, however cut; empty says that the peer ended it.

        Returns:
            events: what `data` completes, oldest first, as pairs of a connection and its event. What belongs to no WebSocket comes
                as `None` and the event of `h2`, untouched.
            reply: bytes to write now, before any other: Pongs, acknowledgements, credit, the refusal of a request that is no
                handshake, frames that the peer now has room for.

        A peer that breaks a rule is no exception: the last event of what it hurts is `Failed`. That, and a `Close`, is answered by
        handing it to `Connection.send` when its turn comes. A fault of one stream hurts no other.

        Raises:
            TypeError: `data` is not bytes.

        What an extension raises that is no `Exception`, such as `KeyboardInterrupt`, is raised when all is in order: its connection has
        failed with 1011, and the events come with the next call.
        """
        events, self._kept = self._kept, []
        if self._ended:
            return events, b""
        if not data:
            self._end(events, "the transport ended without a Close")
            return self._hand_on(events, b"")
        offset = idle = 0
        allowed = IDLE_FRAMES + len(data) // 512
        while not self._ended:
            offset, frame = self._inbound.receive(data, offset, events)
            if frame is None:
                break
            if isinstance(frame, int):
                self._overrun(frame, events)
                continue
            if len(frame) - 9 != int.from_bytes(frame[:3], "big") and self._begun:
                # h2 would wait for all of it.
                self._fail(events, ErrorCodes.FRAME_SIZE_ERROR, "a frame is larger than was allowed", "RFC 9113 §4.2")
                break
            broken = self._check_order(frame)
            if broken is not None:
                self._fail(events, ErrorCodes.PROTOCOL_ERROR, *broken)
                break
            idle += _carries_nothing(frame)
            if idle > allowed:
                self._fail(
                    events, ErrorCodes.ENHANCE_YOUR_CALM, "a flood of frames that carry nothing", "RFC 9113 §10.5"
                )
                break
            try:
                if _is_goaway(frame) and not self._in_headers:
                    self._receive_goaway(frame, events)
                    continue
                if frame[3] in (1, 5, 9):
                    self._in_headers = not frame[4] & 4
                for event in self.h2.receive_data(frame):
                    self._receive_event(event, events)
            except h2.exceptions.ProtocolError as error:
                self._fail(events, error.error_code, str(error), "RFC 9113 §5.4.1")
        return self._hand_on(events, self._settle())

    def proceed(self) -> Received:
        """Say what bytes mean that were held until an answer was given.

        Call it after an `UpgradeAccept`, for frames that the client sent behind its request.
        """
        events, self._kept = self._kept, []
        replies = []
        for stream in [it for it in self._streams.values() if isinstance(it, _Stream)]:
            if stream.connection.state is not State.REQUESTED and stream.connection.held:
                stream.connection._receive_early(events)
                replies.append(self._settled(stream.connection))
        return self._hand_on(events, b"".join(replies))

    def collect(self, event: h2.events.Event) -> Request | Response | None:
        """Gather an ordinary request, or response, out of events that were handed on; it is given when it is whole.

        A body of more than 1 MiB is not kept. Credit for it is given back.
        """
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                headers = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers)
                self._collected[event.stream_id] = (headers, bytearray())
            case h2.events.DataReceived():
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                _, body = self._collected.get(event.stream_id, ((), bytearray()))
                if len(body) <= REQUEST_LIMIT:
                    body += event.data
            case h2.events.StreamReset() if event.stream_id in self._collected:
                del self._collected[event.stream_id]
            case h2.events.StreamEnded() if event.stream_id in self._collected:
                headers, body = self._collected.pop(event.stream_id)
                kept = bytes(body) if len(body) <= REQUEST_LIMIT else None
                pseudo = dict(pair for pair in headers if pair[0].startswith(":"))
                others = tuple(pair for pair in headers if not pair[0].startswith(":"))
                if self._role is Role.CLIENT:
                    return Response(int(pseudo.get(":status", 0)), others, kept or b"", event.stream_id)
                if ":authority" in pseudo and not any(name == "host" for name, _ in others):
                    others = (("host", pseudo[":authority"]), *others)
                return Request(pseudo.get(":method", ""), pseudo.get(":path", ""), others, kept, event.stream_id)
        return None

    def respond(self, request: Request, response: Response) -> bytes:
        """Write the response to an ordinary request; what the windows do not let pass follows in later replies.

        Raises:
            LocalProtocolError: the request's stream is gone, or HTTP/2 does not allow the response.
        """
        if request.stream not in self.h2.streams:
            return b""
        headers = [(":status", str(response.status)), *((name.lower(), value) for name, value in response.headers)]
        if not any(name == "content-length" for name, _ in headers) and response.status not in (204, 304):
            headers.append(("content-length", str(len(response.body))))
        outbound = _Outbound(self, request.stream)
        outbound.remote_ended = True
        self._streams[request.stream] = outbound
        return outbound.send_head(tuple(headers), b"" if request.method == "HEAD" else response.body)

    def request(self, request: Request) -> tuple[int, bytes]:
        """Write an ordinary request.

        Returns:
            The number of its stream, by which `collect` names the response, and the bytes to write now.

        Raises:
            LocalProtocolError: the connection takes no new streams now.
        """
        if self._role is Role.SERVER or self._leaving:
            raise LocalProtocolError("the connection takes no new requests")
        fields = [(":method", request.method), (":scheme", self.scheme), (":path", request.target)]
        others = [(name.lower(), value) for name, value in request.headers]
        fields += [(":authority", value) for name, value in others if name == "host"]
        outbound = _Outbound(self)
        body = request.body or b""
        headers = (*fields, *(pair for pair in others if pair[0] != "host"))
        outbound.begin(headers, end=not body)
        if body:
            return outbound.number, outbound.send_data(body) + outbound.send_end()
        outbound.closed = True
        return outbound.number, self.h2.data_to_send()

    def shutdown(self) -> bytes:
        """Take no new streams and say so (GOAWAY, RFC 9113 §6.8); open ones go on until they end, then `done` holds."""
        if self._ended or self._we_leave:
            return b""
        self._we_leave = True
        # h2 lets nothing follow its own GOAWAY, so the frame is made here.
        last = self._last_seen = self.h2.highest_inbound_stream_id
        return self.h2.data_to_send() + b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + last.to_bytes(4, "big") + bytes(4)

    def _check_order(self, frame: bytes) -> tuple[str, str] | None:
        """Say what is wrong with a frame that comes now and that `h2` would let pass, with the section that has the rule."""
        if not self._begun:
            self._begun = True
            return None
        kind, flags, number = frame[3], frame[4], int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF
        if not self._greeted:
            if kind != 4 or flags & 1:
                return "the first frame must be SETTINGS", "RFC 9113 §3.4"
            self._greeted = True
        client = self._role is Role.CLIENT
        if kind == 1 and client and number and number % 2 == 0:
            return "a server opens no stream, since push is off", "RFC 9113 §5.1"
        if kind == 3:
            ours = number % 2 == client
            if number > (self.h2.highest_outbound_stream_id if ours else self.h2.highest_inbound_stream_id):
                return "RST_STREAM came for a stream that nobody has opened", "RFC 9113 §6.4"
        return None

    def _receive_event(self, event: h2.events.Event, events: _Events) -> None:
        """Give an event of `h2` to its stream, or hand it on."""
        number = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.StreamReset) and self._role is Role.SERVER:
            stream = self.h2.streams.get(event.stream_id)
            if not event.remote_reset or (stream is not None and not stream.state_machine.headers_sent):
                self._waste(events)
                if self._ended:
                    return
        match event:
            case h2.events.RequestReceived():
                self._receive_request(event, events)
                return
            case (
                h2.events.ResponseReceived() | h2.events.InformationalResponseReceived() | h2.events.TrailersReceived()
            ) if number not in self._streams:
                self._receive_ordinary(event, events)
                return
            case h2.events.RemoteSettingsChanged():
                self._receive_settings(event, events)
                self._unblocked = True
            case h2.events.WindowUpdated(stream_id=0):
                self._unblocked = True
            case _ if number in self._streams:
                self._streams[number].receive(event, events)
                return
            case h2.events.StreamEnded() if number == self._refused:
                return
        events.append((None, event))

    def _waste(self, events: _Events) -> None:
        """Count a request that was made for nothing, and end a connection that makes little else (RFC 9113 §10.5)."""
        self._wasted += 1
        if self._wasted > WASTED_REQUESTS + self.h2.highest_inbound_stream_id // 4:
            self._fail(events, ErrorCodes.ENHANCE_YOUR_CALM, "a flood of requests that are reset", "RFC 9113 §10.5")

    def _receive_goaway(self, frame: bytes, events: _Events) -> None:
        """Let the streams that the peer has seen go on to their end (RFC 9113 §6.8).

        `h2` takes a GOAWAY for the end of the connection and lets nothing follow it, so it does not get to see one.
        """
        event = h2.events.ConnectionTerminated()
        event.last_stream_id = int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF
        event.error_code = int.from_bytes(frame[13:17], "big")
        event.additional_data = bytes(frame[17:]) or None
        self._peer_leaves = True
        ours = 1 if self._role is Role.CLIENT else 0
        for stream in list(self._streams.values()):
            if stream.number > event.last_stream_id and stream.number % 2 == ours:
                stream.lose(events, "the server went away before it saw the request")
                stream.reset(ErrorCodes.CANCEL)
        while self._waiting:
            self._waiting.popleft()[0].lose(events, "the server is going away")
        events.append((None, event))

    def _receive_request(self, event: h2.events.RequestReceived, events: _Events) -> None:
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        if self._we_leave or self.h2.open_inbound_streams > self._max_concurrent_streams:
            self.h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            self._refused = event.stream_id
            return
        if not any(name == b":protocol" for name, _ in headers):
            self._receive_ordinary(event, events)
            return
        if not self._enable_connect:
            # A pseudo-header that was never offered is malformed (RFC 9113 §8.3).
            self.h2.reset_stream(event.stream_id, ErrorCodes.PROTOCOL_ERROR)
            self._refused = event.stream_id
            self._waste(events)
            return
        stream = _Stream(self, event.stream_id)
        self._streams[event.stream_id] = stream
        stream.remote_ended = event.stream_ended is not None
        more, reply = stream.connection.receive_request(headers)
        self._replies.append(reply)
        if stream.connection.state is State.REQUESTED:
            if stream.remote_ended:
                # A WebSocket needs both ways (RFC 8441 §5).
                more, _ = stream.connection.receive_end("the request ended its stream")
                stream.reset(ErrorCodes.PROTOCOL_ERROR)
                self._waste(events)
            else:
                self._inbound.carry(event.stream_id, stream.connection)
        if stream.connection.state is State.CLOSED:
            self._refused = event.stream_id
        events += more

    def _receive_ordinary(self, event: _Head, events: _Events) -> None:
        """Hand on a head or trailers that concern no WebSocket, if they are well-formed (RFC 9113 §8.1.1)."""
        if not self._is_malformed(event):
            events.append((None, event))
            return
        number = event.stream_id
        self._refused = number
        outbound = self._streams.get(number)
        if outbound is None or not outbound.closed or getattr(event, "stream_ended", None) is None:
            self.h2.reset_stream(number, ErrorCodes.PROTOCOL_ERROR)
        if outbound is not None:
            outbound._leave()
        if not isinstance(event, h2.events.RequestReceived):
            # The start of the message was handed on.
            reset = h2.events.StreamReset(stream_id=number, error_code=ErrorCodes.PROTOCOL_ERROR, remote_reset=False)
            events.append((None, reset))
        if self._role is Role.SERVER:
            self._waste(events)

    def _is_malformed(self, event: _Head) -> bool:
        """Whether a head or trailers break a rule of RFC 9113 §8.2-8.3."""
        trailers = isinstance(event, h2.events.TrailersReceived)
        response = isinstance(event, h2.events.ResponseReceived | h2.events.InformationalResponseReceived)
        flags = HeaderValidationFlags(self._role is Role.CLIENT, trailers, response, False)
        try:
            deque(validate_headers(event.headers, flags), maxlen=0)
        except h2.exceptions.ProtocolError:
            return True
        return False

    def _receive_settings(self, event: h2.events.RemoteSettingsChanged, events: _Events) -> None:
        connect = event.changed_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL)
        if self._settings_came and connect is not None and connect.original_value and not connect.new_value:
            back = "SETTINGS_ENABLE_CONNECT_PROTOCOL went back from 1 to 0"
            self._fail(events, ErrorCodes.PROTOCOL_ERROR, back, "RFC 8441 §3")
            return
        self._settings_came = True
        if self.can_open is False:
            while self._waiting:
                self._waiting.popleft()[0].lose(events, "the server does not enable extended CONNECT (RFC 8441 §3)")

    def _overrun(self, number: int, events: _Events) -> None:
        """The peer sent more than a window lets it (RFC 9113 §5.2, §6.9.1)."""
        message = "DATA came for which there was no credit"
        if number == 0:
            self._fail(events, ErrorCodes.FLOW_CONTROL_ERROR, message, "RFC 9113 §6.9.1")
            return
        stream = self._streams[number]
        assert isinstance(stream, _Stream)
        stream.fail(events, RemoteProtocolError(message, section="RFC 9113 §6.9.1"))
        stream.reset(ErrorCodes.FLOW_CONTROL_ERROR)

    def _fail(self, events: _Events, code: int, message: str, section: str) -> None:
        """End the whole connection for a fault of the peer."""
        if self.h2.state_machine.state is not h2.connection.ConnectionState.CLOSED:
            self.h2.close_connection(code, last_stream_id=self._last_seen)
        elif self._last_seen is not None:
            # h2 has made its GOAWAY, which names the last stream that came, be it one that was refused.
            out = self.h2.data_to_send()
            self._replies.append(out[:-8] + self._last_seen.to_bytes(4, "big") + out[-4:])
        self._end(events, message)
        events.append((None, Failed(RemoteProtocolError(message, section=section))))

    def _end(self, events: _Events, message: str) -> None:
        self._ended = True
        for stream in [*self._streams.values(), *(stream for stream, _ in self._waiting)]:
            # h2 lets nothing follow the end.
            stream.closed = True
            stream._pending.clear()
            stream.lose(events, message)
        self._streams.clear()
        self._waiting.clear()

    def _settle(self) -> bytes:
        """Give what must follow what was received."""
        updates, unsettled = self._inbound.settle()
        if self._waiting:
            self._send_waiting()
        out = [*self._replies, self.h2.data_to_send(), updates]
        self._replies.clear()
        for connection in unsettled:
            out.append(self._settled(connection))
        if self._unblocked:
            self._unblocked = False
            out.append(self._pump_all())
        return b"".join(out)

    def _settled(self, connection: Connection) -> bytes:
        """Give what follows what a connection received; what that raises is raised when the other streams have had their turn."""
        try:
            return connection._settle()
        except BaseException as error:
            self._raised = error
            return b""

    def _hand_on(self, events: _Events, reply: bytes) -> Received:
        """Give what came; or raise what has to be raised, and give it with the next call."""
        if self._raised is None:
            return events, reply
        raised, self._raised = self._raised, None
        self._kept = events
        self._replies.append(reply)
        raise raised

    def _send_waiting(self) -> None:
        """Send handshakes that waited, as many as there are streams for."""
        while self._waiting and self.can_open and self.h2.open_outbound_streams < self._most_streams:
            stream, headers = self._waiting.popleft()
            if stream.connection.state is State.REQUESTED:
                stream.begin(headers)

    @property
    def _leaving(self) -> bool:
        """No new streams are begun."""
        return self._ended or self._we_leave or self._peer_leaves

    @property
    def _most_streams(self) -> int:
        return self.h2.remote_settings.max_concurrent_streams

    def _pump_all(self) -> bytes:
        """Write what the windows now let pass, a frame of each stream in turn so that none waits for another."""
        out = []
        blocked = [stream for stream in self._streams.values() if stream.buffered]
        while blocked:
            for stream in blocked:
                out.append(stream.pump(self.h2.max_outbound_frame_size))
            blocked = [stream for stream in blocked if stream.buffered and stream.window > 0]
        return b"".join(out)


class _Outbound:
    """What is sent on one stream: held back where the windows do not let it pass."""

    def __init__(self, http: Http2, number: int = 0) -> None:
        self._http = http
        #: 0 until the request is sent.
        self.number = number
        #: The stream as h2 knows it: it owns the window in which we send.
        self.h2 = http.h2.streams[number] if number else None
        self._pending = bytearray()
        #: END_STREAM follows what is pending.
        self.ending = False
        self.remote_ended = False
        #: Nothing more is sent on the stream.
        self.closed = False

    @property
    def buffered(self) -> int:
        return len(self._pending)

    @property
    def done(self) -> bool:
        return self.number != 0 and self.number not in self._http._streams

    @property
    def window(self) -> int:
        """How much may be sent now."""
        if self.h2 is None or self.closed:
            return 0
        return min(self.h2.outbound_flow_control_window, self._http.h2.outbound_flow_control_window)

    def begin(self, headers: Headers, *, end: bool = False) -> None:
        """Open the stream with a request."""
        http = self._http
        number = http.h2.get_next_available_stream_id()
        try:
            http.h2.send_headers(number, list(headers), end_stream=end)
        except h2.exceptions.ProtocolError as error:
            raise LocalProtocolError(f"HTTP/2 does not allow this now: {error}") from error
        self.number = number
        self.h2 = http.h2.streams[number]
        http._streams[number] = self

    def send_head(self, headers: Headers, body: bytes | None) -> bytes:
        """Write a response's head and its body; `None` says that the stream goes on."""
        http = self._http
        try:
            http.h2.send_headers(self.number, list(headers), end_stream=body == b"")
        except h2.exceptions.ProtocolError as error:
            raise LocalProtocolError(f"HTTP/2 does not allow this now: {error}") from error
        out = http.h2.data_to_send()
        if body is None:
            return out
        if body:
            self._pending += body
            self.ending = True
            return out + self.pump()
        self._finish()
        return out + http.h2.data_to_send()

    def send_data(self, data: bytes) -> bytes:
        if self.closed or self.ending:
            return b""
        window = self.window
        if not self._pending and len(data) <= window:
            return self._http.h2.data_to_send() + self._frames(data)
        self._pending += data
        return self.pump()

    def send_end(self) -> bytes:
        self.ending = True
        return self.pump()

    def pump(self, most: int | None = None) -> bytes:
        """Write what is pending, as far as the windows and `most` let it, and the end behind it."""
        if self.closed or self._http._ended:
            return b""
        out = self._http.h2.data_to_send()
        size = min(len(self._pending), self.window if most is None else min(self.window, most))
        if size > 0:
            out += self._frames(bytes(memoryview(self._pending)[:size]))
            del self._pending[:size]
        if self.ending and not self._pending:
            self._http.h2.end_stream(self.number)
            self._finish()
            out += self._http.h2.data_to_send()
        return out

    def reset(self, code: int) -> None:
        """Reset the stream."""
        http = self._http
        if self.number in http._streams and not (self.closed and self.remote_ended) and not http._ended:
            http.h2.reset_stream(self.number, code)
        self._leave()

    def receive(self, event: h2.events.Event, events: _Events) -> None:
        """Take an event of `h2` that is the stream's."""
        match event:
            case h2.events.WindowUpdated():
                self._http._unblocked = True
                return
            case (
                h2.events.ResponseReceived() | h2.events.InformationalResponseReceived() | h2.events.TrailersReceived()
            ):
                self._http._receive_ordinary(event, events)
                return
            case h2.events.StreamEnded():
                self.remote_ended = True
                if self.closed:
                    self._leave()
            case h2.events.StreamReset():
                self._leave()
        events.append((None, event))

    def lose(self, events: _Events, message: str) -> None:
        """Take note that nothing more comes."""

    def _frames(self, data: bytes) -> bytes:
        """Write DATA and take it off both windows, of which h2 keeps the books."""
        http = self._http
        assert self.h2 is not None
        self.h2.outbound_flow_control_window -= len(data)
        http.h2.outbound_flow_control_window -= len(data)
        return _core.data_frames(self.number, data, http.h2.max_outbound_frame_size)

    def _finish(self) -> None:
        """Note that END_STREAM is sent."""
        self.closed = True
        if self.remote_ended:
            self._leave()

    def _leave(self) -> None:
        """Forget the stream."""
        self.closed = True
        self._pending.clear()
        self._http._inbound.drop(self.number)
        self._http._streams.pop(self.number, None)


class _Stream(_Outbound, Carrier):
    """One stream that carries a WebSocket."""

    http_version = "2"

    def __init__(self, http: Http2, number: int = 0) -> None:
        super().__init__(http, number)
        self.connection = Connection(http._role, self, **http._options)
        self._rejection: tuple[int, Headers, bytearray] | None = None

    @property
    def scheme(self) -> str:  # type: ignore[override]
        return self._http.scheme

    def send_request(self, target: str, headers: Headers) -> bytes:
        http = self._http
        if http._leaving:
            raise LocalProtocolError("the connection is ending and takes no new streams: make another Http2")
        if http.can_open is False:
            raise _disabled()
        if not http.can_open or http.h2.open_outbound_streams >= http._most_streams:
            http._waiting.append((self, headers))
            return b""
        self.begin(headers)
        return http.h2.data_to_send()

    def send_response(self, status: int, headers: Headers, body: bytes | None) -> bytes:
        return b"" if self.closed else self.send_head(headers, body)

    def pause(self) -> None:
        if self.number:
            self._http._inbound.pause(self.number, True)

    def resume(self) -> bytes:
        if not self.number:
            return b""
        self._http._inbound.pause(self.number, False)
        return self._http._settle()

    def abort(self) -> bytes:
        self.reset(ErrorCodes.CANCEL)
        return self._http.h2.data_to_send()

    def receive(self, event: h2.events.Event, events: _Events) -> None:
        match event:
            case h2.events.WindowUpdated():
                self._http._unblocked = True
            case h2.events.ResponseReceived():
                self._receive_response(event, events)
            case h2.events.InformationalResponseReceived():
                if self._http._is_malformed(event):
                    self._break(events, "an interim response is malformed", "RFC 9113 §8.1.1")
            case h2.events.TrailersReceived():
                # They end the stream. A refusal may have them; on a connected stream comes nothing but DATA.
                self.remote_ended = True
                if self._rejection is None:
                    self._break(events, "HEADERS came on the stream of a WebSocket", "RFC 9113 §8.5")
                elif self._http._is_malformed(event):
                    self._rejection = None
                    self._break(events, "the trailers of the response are malformed", "RFC 9113 §8.1")
            case h2.events.DataReceived():
                # Of a refusal; that of a WebSocket does not pass h2.
                self._http.h2.acknowledge_received_data(event.flow_controlled_length, self.number)
                if self._rejection:
                    body = self._rejection[2]
                    body += event.data[: BODY_LIMIT - len(body)]
                    if len(body) == BODY_LIMIT:
                        self._reject(events)
                        self.reset(ErrorCodes.CANCEL)
            case h2.events.StreamEnded():
                self._receive_end(events)
            case h2.events.StreamReset():
                # Nothing can follow, not even the end of the stream.
                self.closed = True
                self.lose(events, f"the peer reset the stream with {_name(event.error_code)}")
                self._leave()

    def lose(self, events: _Events, message: str) -> None:
        """Tell the connection that nothing more comes."""
        if self._rejection:
            self._reject(events)
        self.connection._lose(events, message)
        self._http._replies.append(self._http._settled(self.connection))

    def fail(self, events: _Events, error: RemoteProtocolError) -> None:
        """Tell the connection what the peer did wrong."""
        more, _ = self.connection.fail(error)
        events += more

    def _break(self, events: _Events, message: str, section: str) -> None:
        """Fail the connection for what came on its stream, and reset the stream."""
        self.fail(events, RemoteProtocolError(message, section=section))
        self._http._refused = self.number
        self.reset(ErrorCodes.PROTOCOL_ERROR)

    def _receive_response(self, event: h2.events.ResponseReceived, events: _Events) -> None:
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        status = next((value for name, value in headers if name == b":status"), b"")
        if self.connection.state is not State.REQUESTED:
            return
        if not status.startswith(b"2"):
            if self._http._is_malformed(event) or len(status) != 3 or not status.isdigit():
                self.remote_ended = event.stream_ended is not None
                self._break(events, "the response is malformed", "RFC 9113 §8.1.1")
                return
            others = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in headers if not n.startswith(b":"))
            self._rejection = (int(status), others, bytearray())
            return
        if event.stream_ended is not None:
            # The StreamEnded that follows loses the connection.
            return
        more, _ = self.connection.receive_response(headers)
        events += more
        if self.connection.response is not None:
            assert self.h2 is not None
            # Content-Length means nothing here (RFC 9110 §9.3.6); h2 would compare it when the stream ends.
            self.h2._expected_content_length = None
            self._http._inbound.carry(self.number, self.connection)
        else:
            self.reset(ErrorCodes.PROTOCOL_ERROR)

    def _receive_end(self, events: _Events) -> None:
        self.remote_ended = True
        self._http._inbound.drop(self.number)
        if self._rejection:
            self._reject(events)
        else:
            self.lose(events, "the peer ended the stream without a Close")
        if self.connection.state is State.CLOSED and not self.closed and not self.connection.corked:
            self.ending = True
            self._http._replies.append(self.pump())
        if self.closed:
            self._leave()

    def _reject(self, events: _Events) -> None:
        assert self._rejection is not None
        status, headers, body = self._rejection
        self._rejection = None
        more, _ = self.connection.receive_rejection(status, headers, bytes(body))
        events += more

    def _finish(self) -> None:
        self.closed = True
        connection = self.connection
        refused = connection.request is None or connection.state is State.REQUESTED
        if not self.remote_ended and (refused or isinstance(connection.response, UpgradeReject)):
            # Nothing that the client still sends on a refused request is of use (RFC 9113 §8.1).
            self._http.h2.reset_stream(self.number, ErrorCodes.NO_ERROR)
            self.remote_ended = True
        if self.remote_ended:
            self._leave()


def _carries_nothing(frame: bytes) -> bool:
    """Whether a frame is one of those with which peers are kept busy: empty DATA, PRIORITY, RST_STREAM, SETTINGS, PING."""
    if len(frame) < 9:
        return False
    kind = frame[3]
    return kind in (2, 3, 4, 6) or (kind in (0, 9) and len(frame) == 9) or kind > 9


def _is_goaway(frame: bytes) -> bool:
    """Whether a frame is a well-formed GOAWAY; any other is `h2`'s to refuse."""
    return len(frame) >= 17 and frame[3] == 7 and not int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF


def _name(code: int | None) -> str:
    try:
        return ErrorCodes(code or 0).name
    except ValueError:
        return str(code)


def _disabled() -> ExtendedConnectDisabled:
    return ExtendedConnectDisabled(
        "the server does not enable extended CONNECT (RFC 8441 §3): connect again with HTTP/1.1 for a WebSocket"
    )
