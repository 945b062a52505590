"""Ordinary requests and responses beside the WebSockets (RFC 9113 §8.1): written, and gathered out of what is handed on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import h2.events
from h2.errors import ErrorCodes

from mintws import _core
from mintws.errors import LocalProtocolError
from mintws.events import Headers, Request, Response, Role, decoded
from mintws.http2.outbound import Events, Outbound, Part

if TYPE_CHECKING:
    from mintws.http2.connection import Http2


class OrdinaryStream(Outbound):
    """One stream whose request or response was written here."""

    def receive(self, event: h2.events.Event, events: Events) -> None:
        match event:
            case h2.events.WindowUpdated():
                self._http._unblocked = True
                return
            case h2.events.StreamEnded():
                self.remote_ended = True
                if self.closed:
                    self._leave()
            case h2.events.StreamReset():
                self._leave()
        events.append((None, event))


class Collector(Part):
    """Gathers whole messages."""

    def __init__(self, http: Http2) -> None:
        super().__init__(http)
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
                self._http.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamReset():
                self._begun.pop(event.stream_id, None)
            case h2.events.StreamEnded() if event.stream_id in self._begun:
                message, body = self._begun.pop(event.stream_id)
                return replace(message, body=bytes(body))
        return None

    @property
    def requests(self) -> list[tuple[Request, int]]:
        """The requests that have begun, and how many bytes of their bodies have come."""
        return [(message, len(body)) for message, body in self._begun.values() if isinstance(message, Request)]

    def forget(self, number: int) -> None:
        """Gather no more of a message."""
        self._begun.pop(number, None)


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


def respond(http: Http2, request: Request, response: Response) -> bytes:
    """Write the response to a request."""
    if http._role is Role.CLIENT:
        raise LocalProtocolError("a client makes requests: only a server responds to them")
    if not _awaits(http, request.stream):
        return b""
    if response.body is None:
        raise LocalProtocolError('the body was not kept: give one, or b"" for none')
    body = content(response.body)
    if not 0 <= response.status < 1000:
        raise LocalProtocolError(f"status {response.status} must be 200 to 599")
    head = request.method == "HEAD"
    headers = _core.write_ordinary_response(response.status, list(response.headers), len(body), head=head, http2=True)
    http._floods.answer()
    http._collector.forget(request.stream)
    return OrdinaryStream(http, request.stream).send_head(tuple(headers), b"" if head else body)


def request(http: Http2, request: Request) -> tuple[int, bytes]:
    """Write a request; give the number of its stream, and the bytes."""
    if http._role is Role.SERVER:
        raise LocalProtocolError("a server makes no requests: it responds to those that receive() gives")
    http._check_not_full()
    if not http.has_room:
        raise LocalProtocolError("no more streams may be open at a time: wait until one has ended")
    body = content(request.body or b"")
    headers = _core.write_ordinary_request(
        request.method, request.target, list(request.headers), len(body), scheme=http.scheme
    )
    stream = OrdinaryStream(http)
    stream.begin(tuple(headers), end=not body)
    if body:
        return stream.number, stream.send_data(body) + stream.send_end()
    stream.closed = True
    return stream.number, http._flush()


def cancel(http: Http2, number: int) -> None:
    """Take a request back."""
    stream = http._streams.get(number)
    if isinstance(stream, OrdinaryStream):
        stream.reset(ErrorCodes.CANCEL)


def content(body: object) -> bytes:
    """Give the bytes of a body; `TypeError` if it is none."""
    return body if type(body) is bytes else bytes(memoryview(body))  # type: ignore[arg-type]


def _awaits(http: Http2, number: int) -> bool:
    """Whether a request still waits for its response: not if the client has taken it back."""
    if not 0 < number <= http.h2.highest_inbound_stream_id:
        raise LocalProtocolError("there is no such request: respond to one that collect() gave")
    if http._ended:
        return False
    stream = http.h2.streams.get(number)
    if stream is None and http.h2.was_reset(number):
        return False
    if stream is None or number in http._streams or stream.state_machine.headers_sent:
        raise LocalProtocolError("the request has been answered: one response is all that it gets")
    return True
