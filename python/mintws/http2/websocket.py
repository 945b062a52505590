"""The stream that carries a WebSocket (RFC 8441 §5): its handshake, its closing, its resets."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

import h2.events
from h2.errors import ErrorCodes

from mintws.connection import Carrier, Connection
from mintws.errors import ExtendedConnectDisabled, RemoteProtocolError
from mintws.events import Headers, State, UpgradeReject, decoded
from mintws.http2.ordinary import content
from mintws.http2.outbound import Events, Outbound

if TYPE_CHECKING:
    from mintws.http2.connection import Http2

#: The most bytes of Pongs that are kept while the peer gives no window for them.
PONG_LIMIT = 4096
#: The most bytes kept of the body of a refusal.
BODY_LIMIT = 64 * 1024

#: Where the rules stand for which a stream is reset here, by the code.
_SECTIONS = {ErrorCodes.FLOW_CONTROL_ERROR: "RFC 9113 §6.9.1", ErrorCodes.STREAM_CLOSED: "RFC 9113 §5.1"}


class WebSocketStream(Outbound, Carrier):
    """One stream that carries a WebSocket."""

    http_version = "2"

    def __init__(self, http: Http2, number: int = 0) -> None:
        super().__init__(http, number)
        #: It holds the stream too: that goes one way only once the stream is left, lest both wait for the collector.
        self._held: Connection | None = Connection(http._role, self, **http._options)
        self._connection = ref(self._held)
        self._rejection: tuple[int, Headers, bytearray] | None = None
        #: Pongs that wait behind what is pending.
        self._pongs = bytearray()
        #: The caller wants no more for now.
        self._paused = False
        #: What is being sent are Pongs.
        self._answers = False

    @property
    def connection(self) -> Connection:
        """The WebSocket."""
        connection = self._connection()
        assert connection is not None
        return connection

    @property
    def scheme(self) -> str:  # type: ignore[override]
        return self._http.scheme

    def send_request(self, target: str, headers: Headers) -> bytes:
        self._http._check_can_open()
        # Behind those that wait already.
        self._http._waiting[self] = headers
        return self._http._flush()

    def send_response(self, status: int, headers: Headers, body: bytes | None) -> bytes:
        if self.closed:
            return b""
        if self.connection.request is not None:
            self._http._floods.answer()
        if body is None and self.connection.held:
            self._http._accepted[self.number] = self.connection
        if body is None:
            self.connection._send_by(self._http.h2.sender, self.number)
        return self.send_head(headers, body if body is None else content(body))

    def pump(self, most: int | None = None) -> bytes:
        if not self._pending:
            self._pending, self._pongs = self._pongs, self._pending
        return super().pump(most)

    @property
    def buffered(self) -> int:
        return len(self._pending) + len(self._pongs)

    @property
    def refusal(self) -> tuple[int, Headers, bytearray] | None:
        return self._rejection

    def settle(self, connection: Connection) -> bytes:
        """Send what answers by itself: Pongs, and the end of the stream when both Closes have passed."""
        self._answers = True
        try:
            out = self._http._settled(connection)
        finally:
            self._answers = False
        if connection.state is State.CLOSED and connection.request is not None and connection.response is None:
            # Too much came ahead of the answer, and now there will be none.
            self._http._waste()
            self.reset(ErrorCodes.ENHANCE_YOUR_CALM)
            out += self._http._flush()
        return out

    def carry(self) -> None:
        """Have DATA come to the WebSocket from now on."""
        self._http._inbound.carry(self.number, self.connection)
        self._http._inbound.pause(self.number, self._paused)

    def pause(self) -> None:
        self._paused = True
        if self.number:
            self._http._inbound.pause(self.number, True)

    def resume(self) -> bytes:
        self._paused = False
        if not self.number:
            return b""
        self._http._inbound.pause(self.number, False)
        return self._http._settle()

    def abort(self) -> bytes:
        self._http._waiting.pop(self, None)
        self.reset(ErrorCodes.CANCEL)
        return self._http._flush()

    def receive(self, event: h2.events.Event, events: Events) -> None:
        match event:
            case h2.events.WindowUpdated():
                self._http._unblocked = True
            case h2.events.ResponseReceived():
                self._receive_response(event, events)
            case h2.events.TrailersReceived():
                # They end the stream. A refusal may have them; on a connected stream comes nothing but DATA.
                self.remote_ended = True
                if self._rejection is None:
                    self._break(events, "HEADERS came on the stream of a WebSocket", "RFC 9113 §8.5")
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
            case h2.events.StreamReset(remote_reset=False):
                # For what came on it, which is then no answer either.
                self._rejection = None
                assert self.h2 is not None
                section = self.h2.section or _SECTIONS.get(ErrorCodes(event.error_code), "RFC 9113 §8.1.1")
                self.fail(events, RemoteProtocolError(self.h2.fault or code_name(event.error_code), section=section))
                self._leave()
            case h2.events.StreamReset():
                self.lose(events, f"the peer reset the stream with {code_name(event.error_code)}")
                self._leave()

    def lose(self, events: Events, message: str) -> None:
        """Tell the connection that nothing more comes."""
        if self._rejection:
            self._reject(events)
        self.connection._lose(events, message)
        self._http._replies.append(self._http._settled(self.connection))

    def fail(self, events: Events, error: RemoteProtocolError) -> None:
        """Tell the connection what the peer did wrong."""
        more, _ = self.connection.fail(error)
        events += more

    def _hold(self, data: bytes) -> bytes:
        if not self._answers:
            self._pending += self._pongs
            self._pongs.clear()
            return super()._hold(data)
        self._pongs += data
        if len(self._pongs) > PONG_LIMIT:
            # The newest answers for all (RFC 6455 §5.5.3).
            self._pongs = _last_frame(self._pongs)
        return self.pump()

    def _leave(self) -> None:
        self._pongs.clear()
        self._http._accepted.pop(self.number, None)
        self._held = None
        super()._leave()

    def _break(self, events: Events, message: str, section: str) -> None:
        """Fail the connection for what came on its stream, and reset the stream."""
        self.fail(events, RemoteProtocolError(message, section=section))
        self.reset(ErrorCodes.PROTOCOL_ERROR)
        self._http._waste()

    def _receive_response(self, event: h2.events.ResponseReceived, events: Events) -> None:
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        status = next((value for name, value in headers if name == b":status"), b"")
        if self.connection.state is not State.REQUESTED:
            return
        if not status.startswith(b"2"):
            others = decoded(pair for pair in headers if not pair[0].startswith(b":"))
            self._rejection = (int(status), others, bytearray())
            return
        if event.stream_ended is not None:
            # The StreamEnded that follows loses the connection.
            return
        more, _ = self.connection.receive_response(headers)
        events += more
        if self.connection.response is not None:
            self.carry()
            self.connection._send_by(self._http.h2.sender, self.number)
        else:
            self.reset(ErrorCodes.PROTOCOL_ERROR)

    def _receive_end(self, events: Events) -> None:
        connection = self.connection
        self.remote_ended = True
        self._http._inbound.drop(self.number)
        if self._rejection:
            self._reject(events)
        else:
            self.lose(events, "the peer ended the stream without a Close")
        if connection.state is State.CLOSED and not self.closed and not connection.corked:
            self.ending = True
            self._http._replies.append(self.pump())
        if self.closed:
            self._leave()

    @property
    def _is_refusal(self) -> bool:
        connection = self.connection
        refused = connection.request is None or connection.state is State.REQUESTED
        return refused or isinstance(connection.response, UpgradeReject)

    def _reject(self, events: Events) -> None:
        assert self._rejection is not None
        status, headers, body = self._rejection
        self._rejection = None
        more, _ = self.connection.receive_rejection(status, headers, bytes(body))
        events += more


def _last_frame(frames: bytearray) -> bytearray:
    """Give the last of some control frames, whose payloads have at most 125 bytes."""
    at = 0
    while True:
        second = frames[at + 1]
        size = 2 + (4 if second & 0x80 else 0) + (second & 0x7F)
        if at + size >= len(frames):
            return frames[at:]
        at += size


def disabled() -> ExtendedConnectDisabled:
    """Make the error of a server that takes no WebSockets."""
    return ExtendedConnectDisabled(
        "the server does not enable extended CONNECT: connect again with HTTP/1.1 for a WebSocket"
    )


def code_name(code: int | None) -> str:
    """Give the name of an error code (RFC 9113 §7)."""
    try:
        return ErrorCodes(code or 0).name
    except ValueError:
        return str(code)
