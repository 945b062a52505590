"""The stream that carries a WebSocket (RFC 8441 §5): its handshake, its closing, its resets."""

from __future__ import annotations

from weakref import ref

import h2.events
from h2.errors import ErrorCodes

from mintws.connection import Carrier, Connection, Options, Rejection, StreamSigns
from mintws.errors import RemoteProtocolError
from mintws.events import Headers, State, UpgradeReject, decoded
from mintws.http2.frames import code_name
from mintws.http2.response import StreamedResponse
from mintws.http2.stream import Events, HttpStream, Streams
from mintws.http2.wire import MAX_FRAME_SIZE, Wire
from mintws.response_order import content

#: Where the rules stand for which a stream is reset here, by the code.
_SECTIONS = {ErrorCodes.FLOW_CONTROL_ERROR: "RFC 9113 §6.9.1", ErrorCodes.STREAM_CLOSED: "RFC 9113 §5.1"}


class WebSocketStream(HttpStream, Carrier):
    """One stream that carries a WebSocket.

    Args:
        wire, streams, number: as of `HttpStream`.
        scheme: that of a client's URLs.
        options: those of its connection.
    """

    http_version = "2"

    def __init__(self, wire: Wire, streams: Streams, number: int = 0, *, scheme: str, options: Options) -> None:
        super().__init__(wire, streams, number)
        self.scheme = scheme
        #: It holds the stream too: that goes one way only once the stream is left, lest both wait for the collector.
        self._held: Connection | None = Connection(wire.role, self, **options)
        self._connection = ref(self._held)
        self._rejection: Rejection | None = None
        #: The caller wants no more for now.
        self._paused = False
        #: The server has said that it has not processed the request.
        self._refused = False

    @property
    def connection(self) -> Connection:
        """The WebSocket."""
        connection = self._connection()
        assert connection is not None
        return connection

    # What the connection calls, which gives what is to be written.

    def send_request(self, target: str, headers: Headers) -> bytes:
        self._wire.check_can_open()
        # Behind those that wait already.
        self._streams.waiting[self] = headers
        self._streams.open_waiting()
        return self._wire.take()

    def send_response(self, status: int, headers: Headers, body: bytes | None) -> bytes:
        if self.closed:
            return b""
        connection = self.connection
        if connection.request is not None:
            self._wire.flood_guard.answer()
        if body is None:
            if connection.undelivered_bytes:
                self._streams.accepted[self.number] = connection
            connection._send_by(self._wire.sender, self.number)
        self.respond(headers, body if body is None else content(body))
        return self._wire.take()

    def stream_refusal(self) -> StreamedResponse:
        # From now on the stream is an ordinary one.
        self.hand_over()
        return StreamedResponse(self._wire, self._streams, self.number, head=False)

    def send_data(self, data: bytes) -> bytes:
        self.write(data)
        return self._wire.take()

    def send_end(self) -> bytes:
        self.end()
        return self._wire.take()

    def pause(self) -> None:
        self._paused = True
        if self.number:
            self._wire.data_receiver.pause(self.number, True)

    def resume(self) -> bytes:
        self._paused = False
        if not self.number:
            return b""
        self._wire.data_receiver.pause(self.number, False)
        self._wire.data_receiver.look(self.number, self.connection)
        self._streams.write_replies()
        return self._wire.take()

    def abort(self) -> bytes:
        self.reset(ErrorCodes.CANCEL)
        return self._wire.take()

    def refuse(self) -> bytes:
        self.reset(ErrorCodes.REFUSED_STREAM)
        return self._wire.take()

    @property
    def life_signs(self) -> StreamSigns:
        receiver = self._wire.data_receiver
        left, _ = receiver.window(self.number) or (0, 0)
        # A peer may wait for the room that a whole frame takes.
        withheld = self._paused or self.buffered > 0 or left < MAX_FRAME_SIZE
        return StreamSigns(receiver.life_signs(self.number), self._wire.probes_answered, withheld)

    @property
    def refusal(self) -> Rejection | None:
        return self._rejection

    @property
    def unprocessed(self) -> bool:
        return self._refused or self.number == 0

    # What the HTTP/2 connection calls.

    def write_replies(self) -> None:
        """Write what answers by itself: Pongs, and the end of the stream when both Closes have passed."""
        connection = self.connection
        self._write_own_replies()
        if connection.state is State.CLOSED and connection.request is not None and connection.response is None:
            # Too much came ahead of the answer, and now there will be none.
            self._wire.waste()
            self.reset(ErrorCodes.ENHANCE_YOUR_CALM)

    def receive_request(self, headers: list[tuple[bytes, bytes]]) -> Events:
        """Take the request that has opened the stream."""
        connection = self.connection
        self._streams.add(self)
        events: Events = []
        more, reply = connection.receive_request(headers)
        events += more
        self._wire.sender.write(reply)
        if connection.state is State.REQUESTED:
            if self.remote_ended:
                # A WebSocket needs both ways (RFC 8441 §5).
                more, _ = connection.receive_end("the request ended its stream")
                events += more
                self.reset(ErrorCodes.PROTOCOL_ERROR)
            else:
                self._carry()
        if connection.state is State.CLOSED:
            self._wire.waste()
        return events

    def receive_early(self) -> Events:
        """Say what the frames mean that came before the handshake was accepted."""
        events: Events = []
        self.connection._receive_early(events)
        self._write_own_replies()
        return events

    def receive_event(self, event: h2.events.Event) -> Events:
        match event:
            case h2.events.ResponseReceived():
                return self._receive_response(event)
            case h2.events.TrailersReceived():
                # They end the stream. A refusal may have them; on a connected stream comes nothing but DATA.
                if self._rejection is None:
                    return self._break("HEADERS came on the stream of a WebSocket", "RFC 9113 §8.5")
                return self._receive_end()
            case h2.events.DataReceived() if event.flow_controlled_length:
                # Of a refusal; of that of a WebSocket h2 sees its end alone.
                self._wire.h2.acknowledge_received_data(event.flow_controlled_length, self.number)
                if self._rejection and self._rejection.add(event.data):
                    events = self._reject()
                    self.reset(ErrorCodes.CANCEL)
                    return events
            case h2.events.StreamEnded():
                return self._receive_end()
            case h2.events.StreamReset(remote_reset=False):
                # For what came on it, which is then no answer either.
                self._rejection = None
                assert self.h2 is not None
                section = self.h2.section or _SECTIONS.get(ErrorCodes(event.error_code), "RFC 9113 §8.1.1")
                events = self.fail(RemoteProtocolError(self.h2.fault or code_name(event.error_code), section=section))
                self.leave()
                return events
            case h2.events.StreamReset():
                self._refused = event.error_code == ErrorCodes.REFUSED_STREAM
                events = self.lose(f"the peer reset the stream with {code_name(event.error_code)}")
                self.leave()
                return events
        return []

    def lose_unprocessed(self, message: str) -> Events:
        self._refused = True
        return self.lose(message)

    def lose(self, message: str) -> Events:
        events = self._reject() if self._rejection else []
        self.connection._lose(events, message)
        self._write_own_replies()
        return events

    def fail(self, error: RemoteProtocolError) -> Events:
        """Tell the connection what the peer did wrong."""
        events: Events = []
        events += self.connection.fail(error)[0]
        return events

    def hand_over(self) -> None:
        self._held = None
        super().hand_over()

    def _write_own_replies(self) -> None:
        """Write what follows what the connection received; what that raises is raised when the other streams have had their turn."""
        try:
            self._wire.sender.write(self.connection._take_replies())
        except BaseException as error:
            self._streams.raised = error

    def _carry(self) -> None:
        """Have DATA come to the WebSocket from now on."""
        self._wire.data_receiver.carry(self.number, self.connection)
        self._wire.data_receiver.pause(self.number, self._paused)

    def _break(self, message: str, section: str) -> Events:
        """Fail the connection for what came on its stream, and reset the stream."""
        events = self.fail(RemoteProtocolError(message, section=section))
        self.reset(ErrorCodes.PROTOCOL_ERROR)
        self._wire.waste()
        return events

    def _receive_response(self, event: h2.events.ResponseReceived) -> Events:
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        status = next((value for name, value in headers if name == b":status"), b"")
        events: Events = []
        if self.connection.state is not State.REQUESTED:
            return events
        if not status.startswith(b"2"):
            others = decoded(pair for pair in headers if not pair[0].startswith(b":"))
            self._rejection = Rejection(int(status), others, bytearray())
            return events
        if event.stream_ended is not None:
            # The StreamEnded that follows loses the connection.
            return events
        events += self.connection.receive_response(headers)[0]
        if self.connection.response is not None:
            self._carry()
            self.connection._send_by(self._wire.sender, self.number)
        else:
            self.reset(ErrorCodes.PROTOCOL_ERROR)
        return events

    def _receive_end(self) -> Events:
        connection = self.connection
        events = self._reject() if self._rejection else self.lose("the peer ended the stream without a Close")
        if connection.state is State.CLOSED and not self.closed and not connection.corked_bytes:
            self.end()
        if self.closed:
            self.leave()
        return events

    @property
    def _is_refusal(self) -> bool:
        connection = self.connection
        refused = connection.request is None or connection.state is State.REQUESTED
        return refused or isinstance(connection.response, UpgradeReject)

    def _reject(self) -> Events:
        assert self._rejection is not None
        status, headers, body = self._rejection
        self._rejection = None
        events: Events = []
        events += self.connection.receive_rejection(status, headers, bytes(body))[0]
        return events
