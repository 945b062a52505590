"""Ordinary requests and responses beside the WebSockets (RFC 9113 §8.1): written, and gathered out of what is handed on."""

from __future__ import annotations

from dataclasses import replace

import h2.events
from h2.errors import ErrorCodes

from mintws import _core
from mintws.errors import LocalProtocolError
from mintws.events import Headers, Request, Response, Role, decoded
from mintws.http2.stream import Events, HttpStream, Streams
from mintws.http2.wire import Wire


class OrdinaryStream(HttpStream):
    """One stream whose request or response was written here."""

    def receive(self, event: h2.events.Event) -> Events:
        match event:
            case h2.events.WindowUpdated():
                return []
            case h2.events.StreamEnded() if self.closed:
                self.leave()
            case h2.events.StreamReset():
                self.leave()
        return [(None, event)]


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
        #: Messages that have begun, by their streams, and their bodies so far.
        self._begun: dict[int, tuple[Request | Response, bytearray]] = {}

    def collect(self, event: h2.events.Event, limit: int | None) -> Request | Response | None:
        """Take an event; give the message that it makes whole, or whose body it makes too long."""
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                self._begun[event.stream_id] = (_begin(event.stream_id, decoded(event.headers)), bytearray())
            case h2.events.DataReceived() if event.stream_id in self._begun:
                message, body = self._begun[event.stream_id]
                if limit is not None and len(body) + len(event.data) > limit:
                    # What still comes gets no credit.
                    del self._begun[event.stream_id]
                    return message
                body += event.data
                self._wire.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamReset():
                self._begun.pop(event.stream_id, None)
            case h2.events.StreamEnded() if event.stream_id in self._begun:
                message, body = self._begun.pop(event.stream_id)
                return replace(message, body=bytes(body))
        return None

    @property
    def collecting(self) -> list[tuple[Request, int]]:
        """The requests that have begun, and how many bytes of their bodies have come."""
        return [(message, len(body)) for message, body in self._begun.values() if isinstance(message, Request)]

    def respond(self, request: Request, response: Response) -> None:
        """Write the response to a request."""
        if self._wire.role is Role.CLIENT:
            raise LocalProtocolError("a client makes requests: only a server responds to them")
        if not self._awaits_response(request.stream):
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
        self._wire.floods.answer()
        self._begun.pop(request.stream, None)
        stream = OrdinaryStream(self._wire, self._streams, request.stream)
        stream.respond(tuple(headers), b"" if head else body)

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
        self._begun.pop(number, None)
        stream = self._streams.get(number)
        if isinstance(stream, OrdinaryStream):
            stream.reset(ErrorCodes.CANCEL)

    def _awaits_response(self, number: int) -> bool:
        """Whether a request still waits for its response: not if the client has taken it back."""
        library = self._wire.h2
        if not 0 < number <= library.highest_inbound_stream_id:
            raise LocalProtocolError("there is no such request: respond to one that collect() gave")
        if self._wire.ended:
            return False
        stream = library.streams.get(number)
        if stream is None and library.was_reset(number):
            return False
        if stream is None or number in self._streams or stream.state_machine.headers_sent:
            raise LocalProtocolError("the request has been answered: one response is all that it gets")
        return True


def content(body: object) -> bytes:
    """Give the bytes of a body; `TypeError` if it is none."""
    return body if type(body) is bytes else bytes(memoryview(body))  # type: ignore[arg-type]


def _begin(number: int, headers: Headers) -> Request | Response:
    """Make the request or response that begins on a stream."""
    pseudo = dict(pair for pair in headers if pair[0].startswith(":"))
    others = tuple(pair for pair in headers if not pair[0].startswith(":"))
    if ":status" in pseudo:
        return Response(int(pseudo[":status"]), _core.well_formed(others), None, number)
    if ":authority" in pseudo:
        # A Host that is there says the same (RFC 9113 §8.3.1).
        others = (("host", pseudo[":authority"]), *(pair for pair in others if pair[0] != "host"))
    return Request(pseudo.get(":method", ""), pseudo.get(":path", ""), others, None, number)
