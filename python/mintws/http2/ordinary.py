"""Ordinary requests and responses beside the WebSockets (RFC 9113 §8.1): written, and gathered out of what is handed on."""

from __future__ import annotations

import h2.events
from h2.errors import ErrorCodes

from mintws import _core
from mintws.collector import Collector
from mintws.errors import LocalProtocolError
from mintws.events import (
    BodyData,
    Headers,
    MessageEnded,
    MessageReset,
    OrdinaryEvent,
    Request,
    RequestStarted,
    Response,
    ResponseStarted,
    Role,
    decoded,
)
from mintws.http2.stream import Events, HttpStream, Streams
from mintws.http2.wire import Wire
from mintws.response_order import content


class OrdinaryStream(HttpStream):
    """One stream whose request or response was written here."""

    def receive_event(self, event: h2.events.Event) -> Events:
        match event:
            case h2.events.WindowUpdated():
                return []
            case h2.events.StreamEnded() | h2.events.TrailersReceived() if self.closed:
                self.leave()
            case h2.events.StreamReset():
                self.leave()
        return [(None, translated(event))]


class RefusedStream(OrdinaryStream):
    """One stream whose request is answered here, and not handed on."""

    def receive_event(self, event: h2.events.Event) -> Events:
        super().receive_event(event)
        return []

    @property
    def _is_refusal(self) -> bool:
        return True


class Ordinary:
    """The ordinary requests and responses of a connection.

    Args:
        wire: what writes.
        streams: the streams of the connection.
        scheme: that of a client's requests.
    """

    def __init__(self, wire: Wire, streams: Streams, scheme: str) -> None:
        self._wire = wire
        self._streams = streams
        self._scheme = scheme
        self._collector = Collector()

    def collect(self, event: object, limit: int | None) -> Request | Response | None:
        """Take an event, as `Collector` does, and give credit for what is kept of a body; what is too long gets none."""
        message = self._collector.collect(event, limit)
        if isinstance(event, BodyData) and self._collector.gathers(event.stream):
            self._wire.h2.acknowledge_received_data(event.flow_controlled_len, event.stream)
        return message

    @property
    def collecting(self) -> list[tuple[Request, int]]:
        """The requests that have begun, and how many bytes of their bodies have come."""
        return self._collector.requests

    def respond(self, request: Request, response: Response) -> None:
        """Write the response to a request."""
        if not self.awaits_response(request.stream):
            return
        if response.body is None:
            raise LocalProtocolError('the body was not kept: give one, or b"" for none')
        body = content(response.body)
        if not 0 <= response.status < 1000:
            raise LocalProtocolError(f"status {response.status} must be 200 to 599")
        head = request.method == "HEAD"
        headers = _core.write_ordinary_response(
            response.status, list(response.headers), len(body), head=head, http2=True
        )
        self._wire.flood_guard.answer()
        self._collector.forget(request.stream)
        stream = OrdinaryStream(self._wire, self._streams, request.stream)
        stream.respond(tuple(headers), b"" if head else body)

    def refuse(self, number: int, status: int, why: str) -> None:
        """Answer a request that is not handed on."""
        body = f"{why}\n".encode()
        headers = [("content-type", "text/plain; charset=utf-8")]
        lines = _core.write_ordinary_response(status, headers, len(body), head=False, http2=True)
        RefusedStream(self._wire, self._streams, number).respond(tuple(lines), body)

    def request(self, request: Request) -> int:
        """Write a request; give the number of its stream."""
        if self._wire.role is Role.SERVER:
            raise LocalProtocolError("a server makes no requests: it responds to those that receive() gives")
        self._wire.check_not_full()
        if not self._wire.has_room:
            raise LocalProtocolError("no more streams may be open at a time: wait until one has ended")
        body = content(request.body or b"")
        headers = _core.write_ordinary_request(
            request.method, request.target, list(request.headers), len(body), scheme=self._scheme
        )
        stream = OrdinaryStream(self._wire, self._streams)
        stream.begin(tuple(headers), end=not body)
        if body:
            stream.write(body)
            stream.end()
        return stream.number

    def cancel(self, number: int) -> None:
        """Take a request back."""
        self._collector.forget(number)
        stream = self._streams.get(number)
        if isinstance(stream, OrdinaryStream):
            stream.reset(ErrorCodes.CANCEL)

    def awaits_response(self, number: int) -> bool:
        """Whether a request still waits for its response: not if the client has taken it back.

        Raises:
            LocalProtocolError: there is no such request, or it was answered.
        """
        if self._wire.role is Role.CLIENT:
            raise LocalProtocolError("a client makes requests: only a server responds to them")
        library = self._wire.h2
        if not 0 < number <= library.highest_inbound_stream_id:
            raise LocalProtocolError("there is no such request: respond to one that collect() gave")
        if self._wire.end_reason:
            return False
        stream = library.streams.get(number)
        if stream is None and library.was_reset(number):
            return False
        if stream is None or number in self._streams or stream.state_machine.headers_sent:
            raise LocalProtocolError("the request has been answered: one response is all that it gets")
        return True


def translated(event: h2.events.Event) -> OrdinaryEvent | h2.events.Event:
    """Make an event of ordinary HTTP of one of `h2`; give any other as it is."""
    match event:
        case h2.events.RequestReceived():
            return RequestStarted(_request(event.stream_id, decoded(event.headers)))
        case h2.events.ResponseReceived() | h2.events.InformationalResponseReceived():
            return ResponseStarted(_response(event.stream_id, decoded(event.headers)))
        case h2.events.DataReceived():
            return BodyData(event.data, event.stream_id, event.flow_controlled_length)
        case h2.events.TrailersReceived():
            return MessageEnded(event.stream_id, decoded(event.headers))
        case h2.events.StreamEnded():
            return MessageEnded(event.stream_id)
        case h2.events.StreamReset():
            return MessageReset(event.stream_id, event.error_code)
    return event


def _parted(headers: Headers) -> tuple[dict[str, str], Headers]:
    """Part the pseudo-headers from the others."""
    pseudo = dict(pair for pair in headers if pair[0].startswith(":"))
    return pseudo, headers[len(pseudo) :]


def _request(number: int, headers: Headers) -> Request:
    pseudo, others = _parted(headers)
    if ":authority" in pseudo:
        # A Host that is there says the same (RFC 9113 §8.3.1).
        others = (("host", pseudo[":authority"]), *(pair for pair in others if pair[0] != "host"))
    return Request(pseudo[":method"], pseudo.get(":path", ""), others, None, number)


def _response(number: int, headers: Headers) -> Response:
    pseudo, others = _parted(headers)
    return Response(int(pseudo[":status"]), _core.well_formed(others), None, number)
