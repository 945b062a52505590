"""One HTTP/1.1 connection: `h11` reads and writes the heads, then the transport is the WebSocket's."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Literal, TypeAlias
from weakref import ref

import h11

from mintws import _core
from mintws.arguments import explained
from mintws.collector import Collector
from mintws.connection import DEFAULT_LIMIT, Connection, Direct, MemoryLimit, Rejection, ResponseHeaders
from mintws.errors import LocalProtocolError, RemoteProtocolError
from mintws.events import (
    BodyData,
    Failed,
    Headers,
    MessageEnded,
    OrdinaryEvent,
    Request,
    RequestStarted,
    Response,
    ResponseStarted,
    Role,
    State,
    completed,
    decoded,
    encoded,
)
from mintws.http1.reader import HEAD_LIMIT, H11Event, Reader
from mintws.http1.response import StreamedResponse
from mintws.limits import check_header_size

#: Pairs of the connection and its event, and bytes to write. Ordinary HTTP has `None` for the connection; typed `Any`, so that
#: WebSocket-only callers need not handle `None`.
Received: TypeAlias = tuple[Sequence[tuple[Connection | Any, Any]], bytes]

#: The bytes after an unanswered request at which reading stops.
UNREAD_LIMIT = 64 * 1024
#: The most interim responses before the answer.
INTERIM_LIMIT = 32

#: Our states in which no more requests are made.
_ENDING = frozenset({h11.MUST_CLOSE, h11.CLOSED, h11.ERROR})
#: States of the server while a request has no response, or not all of it.
_UNANSWERED = frozenset({h11.SEND_RESPONSE, h11.SEND_BODY})

_LEFT = "the server closed the connection without an answer"
_OVER = "the connection is ending and takes no more requests: make another Http1"


class Http1(Direct):
    """One HTTP/1.1 connection, which carries ordinary requests until one of them asks for a WebSocket.

    Args:
        role: client or server.
        header_case: the case of header names: "title" as in `Sec-WebSocket-Key`, or "lower".
        response_headers: on a server, called for each response except 1xx other than 101. It returns headers that are added unless
            present: Date, which needs a clock (RFC 9110 §6.6.1), and Server.
        max_header_size: how many bytes the head of a message of the peer may have, 1 KiB to 1 MiB; 32 KiB unless it is given. A larger
            request is answered with 431 (RFC 6585 §5), a larger response is a fault.
        limit, memory_limit, max_frame, parts, text_as_bytes, auto_pong, entropy: see `Options`.

    Attributes:
        h11: the `h11.Connection`, for ordinary requests and responses. It is deleted when the opening handshake succeeds.
        auto_continue: on a server, whether a client that sends `Expect: 100-continue` gets a 100 at once (RFC 9110 §10.1.1). Set it to
            `False` to send it by `StreamedResponse.send_interim`.
    """

    __slots__ = (
        "__weakref__",
        "_collector",
        "_connection",
        "_ended",
        "_header_case",
        "_interim",
        "_leaving",
        "_opened",
        "_reader",
        "_reading",
        "_rejection",
        "_response_headers",
        "_role",
        "_streamed",
        "_switched",
        "_untaken",
        "auto_continue",
        "h11",
    )

    #: Whether many WebSockets share the connection.
    multiplexed = False
    #: The text of the peer's GOAWAY, which HTTP/1.1 does not have.
    goaway = ""
    #: The number of streams that have ended only on our side: HTTP/1.1 has no streams.
    half_closed = 0
    #: The receiver of DATA frames, which HTTP/1.1 does not have.
    _data_receiver = None

    @explained()
    def __init__(
        self,
        role: Role,
        *,
        header_case: Literal["title", "lower"] = "title",
        response_headers: ResponseHeaders = tuple,
        max_header_size: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        memory_limit: MemoryLimit = "auto",
        max_frame: int | None = None,
        parts: bool = False,
        text_as_bytes: bool = False,
        auto_pong: bool = True,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if header_case not in ("title", "lower"):
            raise LocalProtocolError(f'header_case must be "title" or "lower", not {header_case!r}')
        check_header_size(max_header_size)
        head_limit = HEAD_LIMIT if max_header_size is None else max_header_size
        self._connection = Connection(
            role,
            self,
            limit=limit,
            memory_limit=memory_limit,
            max_frame=max_frame,
            parts=parts,
            text_as_bytes=text_as_bytes,
            auto_pong=auto_pong,
            entropy=entropy,
        )
        self._connection._hold(self, weakly=True)
        ours = h11.CLIENT if role is Role.CLIENT else h11.SERVER
        self.h11 = h11.Connection(ours, max_incomplete_event_size=head_limit)
        self._role = role
        self._header_case = header_case
        self._response_headers = response_headers
        #: Whether the transport belongs to the WebSocket.
        self._switched = False
        self._ended = False
        #: Whether to accept and make no more requests.
        self._leaving = False
        self._reading = True
        #: Parses the bytes until then.
        self._reader = Reader(self.h11, head_limit)
        self._opened = False
        self._interim = 0
        self._rejection: Rejection | None = None
        self._collector = Collector()
        #: The response that is sent in parts, until it is whole or given up, which holds this; and what was not acknowledged of the body of
        #: its request.
        self._streamed: ref[StreamedResponse] | None = None
        self._untaken = 0
        self.auto_continue = True

    def start(self) -> bytes:
        """Return the bytes that begin the connection: none over HTTP/1.1."""
        return b""

    def refill(self) -> None:
        """Refill the flood budgets, which HTTP/1.1 does not have."""

    def reset_half_closed(self) -> bytes:
        """Reset streams that have ended only on our side: HTTP/1.1 has no streams."""
        return b""

    @property
    def leaving(self) -> bool:
        """Whether no more requests are made."""
        return self._leaving or self._ended

    def probe(self) -> bytes:
        """Return the bytes that probe the peer below the WebSocket: none over HTTP/1.1."""
        return b""

    @property
    def can_open(self) -> bool:
        """Whether `open` may be called: once, on a client, unless the connection is ending."""
        if self._role is Role.SERVER or self._opened or self._ended or self._connection.state is State.CLOSED:
            return False
        return not self._leaving and self.h11.our_state not in _ENDING

    def open(self) -> Connection:
        """Return a client's WebSocket, on which to send an `UpgradeRequest` first.

        The request may be sent when all earlier ordinary requests have their responses.

        Raises:
            LocalProtocolError: this is a server, the connection is ending, or the call is the second one: an HTTP/1.1 connection carries
                one WebSocket.
        """
        if self._role is Role.SERVER:
            raise LocalProtocolError("a server opens no WebSocket: answer the UpgradeRequest that receive() gives")
        if self._opened:
            raise LocalProtocolError("an HTTP/1.1 connection carries one WebSocket: make another Http1")
        if not self.can_open:
            raise LocalProtocolError(_OVER)
        self._opened = True
        self._connection._hold(self, weakly=False)
        return self._connection

    @property
    def done(self) -> bool:
        """Whether to close the transport now, after the bytes returned so far are written (RFC 6455 §7.1.1).

        A server closes it after both Closes. A client waits for the server for a while, but closes it at once if the opening handshake
        failed or the peer broke a rule. If the peer has ended its half, only its earlier requests may still get a response.
        """
        state = self._connection.state
        if self._connection.corked_bytes and not self._ended:
            return False
        if self._streamed is not None and not self._ended:
            return False
        if state is State.CLOSED:
            return self._role is Role.SERVER or self._ended or self._failed
        if self._switched:
            return self._ended
        if state is State.REQUESTED:
            return False
        if self.h11.states[h11.SERVER] in _UNANSWERED:
            return False
        return self._leaving or self.h11.our_state in _ENDING or (self._ended and not self._reader.buffer)

    @property
    def reading(self) -> bool:
        """Whether to read the transport: not while the connection is paused, or 64 KiB wait after an unanswered request.

        Up to 64 KiB of the body of a request wait to be acknowledged, if its response is sent in parts.
        Bytes that are received anyway wait too, if they may be the next request. After a request for a WebSocket they are refused with a
        400 and `Failed`.
        """
        waiting = 0 if self._switched else len(self._reader.buffer) + self._connection.undelivered_bytes
        if self._streamed is not None:
            waiting += self._untaken
        return self._reading and waiting < UNREAD_LIMIT

    @property
    def lingers(self) -> bool:
        """Whether the peer may still be sending when `done` becomes `True` (RFC 9112 §9.6).

        This is so after a fault, and on a server after a refusal or a response sent before the request was complete. The system answers
        bytes for a closed transport with a reset, which may overtake the last bytes written. So continue to read and discard for a
        while, until the peer ends the transport too.
        """
        if self._ended:
            return False
        if self._switched:
            return self._connection.failed or self._connection.state is not State.CLOSED
        return self._role is Role.SERVER and (self._connection.state is State.CLOSED or self._reader.begun)

    def receive(self, data: bytes | bytearray | memoryview) -> Received:
        """Take bytes from the peer and return their events.

        Args:
            data: the next bytes of the transport, cut anywhere; empty if the peer ended it.

        Returns:
            events: the events completed by `data`, oldest first, as pairs of the connection and its event. For ordinary requests and
                responses the pair is `None` and a `RequestStarted`, `ResponseStarted`, `BodyData` or `MessageEnded` of
                `mintws.events`; answer them by `respond`, or by `h11.send`.
            reply: bytes to write now, before any other: a Pong for each Ping (RFC 6455 §5.5.2), the refusal of an invalid handshake
                (§4.2.2), a 100 for a client that waits for it before sending its body (RFC 9110 §10.1.1).

        A peer that breaks a rule raises no exception: its last event is `Failed`. Answer that, and a `Close`, by passing it to
        `Connection.send` after the answers to earlier messages.

        Raises:
            TypeError: `data` is not bytes.
        """
        if self._switched:
            if data:
                return self._connection.receive(data)
            received = self._connection.receive(data)
            self._ended = True
            return received
        view = memoryview(data)
        if view.itemsize != 1 or not view.c_contiguous:
            raise TypeError("receive() takes bytes, or a bytearray or memoryview whose items are bytes in one piece")
        if not view.nbytes:
            self._ended = self._reader.ended = True
            self._connection._hold(self, weakly=True)
        elif not self._ended:
            self._reader.buffer.append(view)
        return self._read()

    def proceed(self) -> Received:
        """Return the events of bytes that waited for an answer.

        Call it after an `UpgradeAccept`, for frames that the client sent right after its request, and after an ordinary response, for the
        next request.
        """
        if self._switched:
            return self._connection.receive_early()
        return self._read()

    def collect(self, event: object, limit: int | None = DEFAULT_LIMIT) -> Request | Response | None:
        """Collect an ordinary request or response from its events, and return it when it is complete.

        Args:
            event: the event.
            limit: the most bytes of a body, inclusive; `None` is no limit. A request with a longer body is returned as soon as that is
                known, with `None` for `body`, and the rest is discarded: `respond` to it, for example with a 413.
        """
        return self._collector.collect(event, limit)

    @property
    def collecting(self) -> list[tuple[Request, int]]:
        """The incomplete request of `collect`, with `None` for `body`, and the number of bytes received of its body.

        If it takes too long, `respond` to it with a 408 and "Connection: close" without waiting for the rest.
        """
        return self._collector.requests

    def has_room_for(self, request: Request, size: int) -> bool:
        """Whether the response to an ordinary request should be written now that has a body of `size` bytes: always, over HTTP/1.1."""
        return True

    def respond(self, request: Request, response: Response) -> bytes:
        """Write the response to an ordinary request; then call `proceed` for the next one.

        Raises:
            LocalProtocolError: no ordinary request waits for a response, or HTTP/1.1 does not allow this one. Nothing was sent, and
                another response is possible.
            TypeError: an argument is not a `Request`, or not a `Response`.
        """
        for given, kind in ((request, Request), (response, Response)):
            if not isinstance(given, kind):
                raise TypeError(f"respond() takes a {kind.__name__} here, not {given!r}")
        self._check_awaits_response()
        if response.body is None:
            raise LocalProtocolError('the body was not kept: give one, or b"" for none')
        head, body = self._reader.answers_head, response.body
        headers = _core.write_ordinary_response(
            response.status, list(response.headers), len(body), head=head, http2=False
        )
        if self._leaving:
            headers.append(("Connection", "close"))
        written = self._write_response(response.status, headers, b"" if head else body)
        self._collector.forget(0)
        return written

    def stream_response(self, request: Request) -> StreamedResponse:
        """Give what sends the response to an ordinary request in parts; when it is whole, call `proceed` for the next request.

        Args:
            request: that of a `RequestStarted`.

        Raises:
            LocalProtocolError: no ordinary request waits for a response.
        """
        self._check_awaits_response()
        return self._stream(head=request.method == "HEAD")

    def shutdown(self) -> bytes:
        """Accept and make no more requests. `done` becomes `True` as soon as no WebSocket is open and no request is unanswered.

        The last response announces the end (RFC 9112 §9.6). A client whose WebSocket is closed still waits for the server to close the
        transport.

        Returns:
            Bytes to write now: on a server the 408 to a request with an incomplete head (RFC 9110 §15.5.9), otherwise none.
        """
        self._leaving = True
        if self._role is Role.CLIENT or self._ended or self._connection.state is not State.CONNECTING:
            return b""
        if self.h11.our_state is not h11.IDLE or not self._reader.begun:
            return b""
        return self._refuse(408, "the head of the request took too long")

    def send_request(self, target: str, headers: Headers) -> bytes:
        if {self.h11.our_state, self.h11.their_state} == {h11.DONE}:
            self.h11.start_next_cycle()
        if self._leaving or self.h11.our_state in _ENDING:
            raise LocalProtocolError(_OVER)
        if self.h11.our_state is not h11.IDLE:
            raise LocalProtocolError("an ordinary request has no response yet: ask for the WebSocket behind it")
        written = self._write(
            h11.Request(method="GET", target=target, headers=self._cased(headers)), h11.EndOfMessage()
        )
        self._connection._hold(self, weakly=True)
        return written

    def send_response(self, status: int, headers: Headers, body: bytes | None) -> bytes:
        if body is not None:
            written = self._write_response(status, headers, b"" if self._reader.answers_head else body)
        else:
            answer = h11.InformationalResponse(
                status_code=status, headers=self._complete(headers), reason=_reason(status)
            )
            written = self._write(answer)
            self._switch()
        self._connection._hold(self, weakly=True)
        return written

    def stream_refusal(self) -> StreamedResponse:
        self._connection._hold(self, weakly=True)
        return self._stream(head=self._reader.answers_head)

    @property
    def refusal(self) -> Rejection | None:
        return self._rejection

    def pause(self) -> None:
        self._reading = False

    def resume(self) -> bytes:
        self._reading = True
        return b""

    def abort(self) -> bytes:
        self._ended = True
        self._connection._hold(self, weakly=True)
        return b""

    @property
    def _failed(self) -> bool:
        """Whether a client has nothing to wait for."""
        return not self._switched or self._connection.failed

    def _read(self) -> Received:
        """Parse the received bytes, but nothing after a request until it is answered."""
        events: list[tuple[Connection | Any, Any]] = []
        replies: list[bytes] = []
        while (received := self._read_next()) is not None:
            events += received[0]
            replies.append(received[1])
        return events, b"".join(replies)

    def _read_next(self) -> Received | None:
        """Parse the next message; return `None` if there is none, or it has to wait."""
        if self._switched:
            return None
        state = self._connection.state
        if state is State.CLOSED:
            self._reader.buffer.clear()
            return None
        if self._role is Role.SERVER:
            if state is State.REQUESTED:
                return self._receive_early()
            if {self.h11.our_state, self.h11.their_state} == {h11.DONE}:
                self.h11.start_next_cycle()
        if self._leaving and self.h11.their_state is h11.IDLE:
            self._reader.buffer.clear()
        match self._reader.next_event():
            case None:
                return None
            case RemoteProtocolError() as error:
                return self._broken(error)
            case event:
                return self._receive_event(event)

    def _receive_early(self) -> Received | None:
        """Pass bytes to the connection, which keeps them until the request for a WebSocket is answered."""
        data = self._reader.buffer.take()
        if not data:
            return self._connection.receive_end() if self._ended else None
        events, reply = self._connection.receive(data)
        for _, event in events:
            if isinstance(event, Failed):
                # Too many bytes to keep. The client should have waited for the answer (RFC 6455 §4.1), so refuse it.
                event.error.status = 400
                reply += self._refuse(400, event.error.args[0])
        return events, reply

    def _receive_event(self, event: H11Event) -> Received:
        if self._role is Role.SERVER:
            # Over HTTP/1.0 an Upgrade is ignored (RFC 9110 §7.8).
            if isinstance(event, h11.Request) and event.http_version != b"1.0":
                lines = list(event.headers)
                if _core.is_upgrade(lines):
                    return self._receive_upgrade(event, lines)
            if isinstance(event, h11.Request):
                self._untaken = 0
                if not event.target.startswith(b"/"):
                    return self._receive_other_form(event)
            elif isinstance(event, h11.Data):
                self._untaken += len(event.data)
            return _ordinary(event), self._go_on()
        if isinstance(event, h11.ConnectionClosed) and self._opened:
            return self._connection.receive_end(_LEFT)
        if self._connection.state is not State.REQUESTED:
            return _ordinary(event), b""
        match event:
            case h11.InformationalResponse(status_code=101):
                return self._receive_yes(event)
            case h11.InformationalResponse():
                self._interim += 1
                if self._interim > INTERIM_LIMIT:
                    return self._broken(RemoteProtocolError("too many interim responses", section="RFC 9110 §15.2"))
            case h11.Response():
                self._rejection = Rejection(event.status_code, decoded(event.headers), bytearray())
            case h11.Data() if self._rejection:
                if self._rejection.add(event.data):
                    return self._reject()
            case h11.EndOfMessage():
                return self._reject()
        return [], b""

    def _receive_other_form(self, request: h11.Request) -> Received:
        """Take a request whose target is no path: that of an absolute one is handed on, with its host (RFC 9112 §3.2.2)."""
        match _core.read_absolute(request.target):
            case RemoteProtocolError() as error:
                error.section = "RFC 9112 §3.2.2"
                return self._broken(error)
            case (host, target):
                others = [line for line in request.headers if line[0] != b"host"]
                headers = decoded([(b"host", host.encode()), *others])
                started = RequestStarted(Request(request.method.decode(), target, headers, None))
                return [(None, started)], self._go_on()
        return _ordinary(request), self._go_on()

    def _go_on(self) -> bytes:
        """Tell a client that waits to be told so that it may send its body (RFC 9110 §10.1.1)."""
        if not self.auto_continue or not self.h11.they_are_waiting_for_100_continue or not self._reader.body_follows:
            return b""
        return self._write_interim(100)

    def _receive_upgrade(self, request: h11.Request, lines: list[tuple[bytes, bytes]]) -> Received:
        events, reply = self._connection.receive_request(
            lines, method=request.method, target=request.target, http_version=request.http_version
        )
        if self._connection.state is State.REQUESTED:
            self._connection._hold(self, weakly=False)
            # A handshake has no body, so this is the end of the message. The rest belongs to the WebSocket.
            self.h11.next_event()
        return events, reply

    def _receive_yes(self, head: h11.InformationalResponse) -> Received:
        if head.http_version == b"1.0":
            return self._broken(RemoteProtocolError("HTTP/1.0 has no 101", section="RFC 9110 §15.2"))
        frames = self._reader.buffer.take()
        self._switch()
        events, reply = self._connection.receive_response(list(head.headers))
        if not frames or self._connection.state is not State.OPEN:
            return events, reply
        try:
            more, answers = self._connection.receive(frames)
        except BaseException:
            self._connection._keep(events)
            raise
        return [*events, *more], reply + answers

    def _switch(self) -> None:
        """Leave the transport to the WebSocket."""
        self._switched = True
        del self.h11, self._reader

    def _reject(self) -> Received:
        assert self._rejection is not None
        status, headers, body = self._rejection
        return self._connection.receive_rejection(status, headers, bytes(body))

    def _broken(self, error: RemoteProtocolError) -> Received:
        """Fail the connection for invalid HTTP. A server answers with a refusal."""
        if self._role is Role.SERVER:
            self._streamed = None
            events, _ = self._connection.fail(error)
            return events, self._refuse(error.status or 400, error.args[0])
        error.status = None
        if self._rejection is not None:
            # Its head was valid, and is sufficient.
            return self._reject()
        return self._connection.receive_end(_LEFT) if self._ended else self._connection.fail(error)

    def _refuse(self, status: int, why: str) -> bytes:
        """Refuse a request as a server, unless an answer has begun."""
        if self.h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        body = f"{why}\n".encode()
        length = str(len(body))
        headers = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", length), ("Connection", "close"))
        return self.send_response(status, headers, body)

    def _write_response(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
        head = h11.Response(status_code=status, headers=self._complete(headers), reason=_reason(status))
        return self._write(head, *([h11.Data(data=body)] if body else []), h11.EndOfMessage())

    def _write_interim(self, status: int, headers: Headers = ()) -> bytes:
        return self._write(
            h11.InformationalResponse(status_code=status, headers=self._cased(headers), reason=_reason(status))
        )

    def _is_streaming(self, response: StreamedResponse) -> bool:
        return self._streamed is not None and self._streamed() is response

    def _stream(self, *, head: bool) -> StreamedResponse:
        """Give what sends a response in parts; `head` says that it answers a HEAD."""
        response = StreamedResponse(self, head=head)
        self._streamed = ref(response)
        return response

    def _begin_response(self, status: int, headers: Headers) -> bytes:
        """Write the head of a response that is sent in parts."""
        if self._leaving or (self.h11.they_are_waiting_for_100_continue and self._reader.body_follows):
            # A client that was not told to go on may send the body, or not (RFC 9110 §10.1.1).
            headers = (*headers, ("Connection", "close"))
        return self._write(h11.Response(status_code=status, headers=self._complete(headers), reason=_reason(status)))

    def _end_response(self, trailers: Headers) -> bytes:
        self._streamed = None
        return self._write(h11.EndOfMessage(headers=self._cased(trailers)))

    def _abandon_response(self) -> None:
        self._streamed = None
        self.h11.send_failed()

    def _acknowledge(self, size: int) -> None:
        self._untaken = max(0, self._untaken - size)

    def _check_awaits_response(self) -> None:
        waits = not self._switched and self._connection.state is State.CONNECTING
        if not waits or self.h11.our_state is not h11.SEND_RESPONSE:
            raise LocalProtocolError("no ordinary request waits for a response: each gets one, from the server")

    def _write(self, *events: Any) -> bytes:
        try:
            return b"".join(self.h11.send(event) or b"" for event in events)
        except h11.LocalProtocolError as error:
            raise LocalProtocolError(f"HTTP/1.1 does not allow this now: {error}") from error

    def _complete(self, headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
        """Return the complete headers of a response."""
        return self._cased(completed(headers, self._response_headers()))

    def _cased(self, headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
        lines = encoded(headers)
        return [(name.lower(), value) for name, value in lines] if self._header_case == "lower" else lines


def _ordinary(event: H11Event) -> list[tuple[None, OrdinaryEvent]]:
    """Translate an event of `h11`. The end of the transport has no translation."""
    match event:
        case h11.Request():
            target = event.target.decode("latin-1")
            return [(None, RequestStarted(Request(event.method.decode(), target, decoded(event.headers), None)))]
        case h11.Response() | h11.InformationalResponse():
            headers = _core.well_formed(decoded(event.headers))
            return [(None, ResponseStarted(Response(event.status_code, headers, None)))]
        case h11.Data():
            return [(None, BodyData(bytes(event.data), 0, len(event.data)))]
        case h11.EndOfMessage():
            return [(None, MessageEnded(trailers=decoded(event.headers)))]
    return []


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
