"""WebSockets over HTTP/1.1 (RFC 6455 §4): `h11` reads and writes the heads, then the transport is the WebSocket's."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import h11

from mintws import _core
from mintws.connection import Connection, Direct, Options
from mintws.errors import LocalProtocolError, RemoteProtocolError
from mintws.events import Headers, Request, Response, Role, State

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Pairs of the connection and its event; ordinary requests and responses come as `None` and the event of `h11`.
Received: TypeAlias = tuple[Sequence[tuple[Connection | None, Any]], bytes]

#: The most bytes of a request's or a response's head.
HEAD_LIMIT = 32 * 1024
#: The most bytes kept of the body of a refusal.
BODY_LIMIT = 64 * 1024
#: The most bytes of the body of a request that `collect` gathers.
REQUEST_LIMIT = 1024 * 1024
#: Behind a request that is not answered yet, the most bytes for which the transport is still read.
UNREAD_LIMIT = 64 * 1024
#: The most interim responses that may come before the answer.
INTERIM_LIMIT = 32

_HEADS = (h11.Request, h11.InformationalResponse, h11.Response)


class Http1(Direct):
    """One HTTP/1.1 connection, which carries ordinary requests until one of them asks for a WebSocket.

    Args:
        role: which end.
        header_case: how the names of headers are written: "title" as in `Sec-WebSocket-Key`, or "lower".
        options: see `Options`.

    Attributes:
        h11: the `h11.Connection`, for ordinary requests and responses; gone when the transport has become the WebSocket's.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_connection",
        "_ended",
        "_head_only",
        "_header_case",
        "_interim",
        "_opened",
        "_reading",
        "_rejection",
        "_request",
        "_role",
        "_switched",
        "_unread",
        "h11",
    )

    http_version = "1.1"

    def __init__(
        self, role: Role, *, header_case: Literal["title", "lower"] = "title", **options: Unpack[Options]
    ) -> None:
        ours = h11.CLIENT if role is Role.CLIENT else h11.SERVER
        self.h11 = h11.Connection(ours, max_incomplete_event_size=HEAD_LIMIT)
        self._role = role
        self._header_case = header_case
        self._connection = Connection(role, self, **options)
        #: The transport is the WebSocket's.
        self._switched = False
        self._ended = False
        self._reading = True
        #: How many bytes have come behind a request that is not answered yet.
        self._unread = 0
        self._opened = False
        self._interim = 0
        self._rejection: tuple[int, Headers, bytearray] | None = None
        self._request: Any = None
        self._body = bytearray()
        #: The request is a HEAD, whose response has no body.
        self._head_only = False

    def start(self) -> bytes:
        """Give the bytes with which the connection begins: none over HTTP/1.1."""
        return b""

    @property
    def can_open(self) -> bool:
        """Whether `open` may be called: once."""
        return self._role is Role.CLIENT and not self._opened and not self._ended

    def open(self) -> Connection:
        """Make a client's WebSocket; its first event is an `UpgradeRequest`.

        Raises:
            LocalProtocolError: on a server, or for the second time: an HTTP/1.1 connection carries one WebSocket.
        """
        if self._role is Role.SERVER:
            raise LocalProtocolError("a server opens no WebSocket: answer the UpgradeRequest that receive() gives")
        if self._opened:
            raise LocalProtocolError("an HTTP/1.1 connection carries one WebSocket: make another Http1")
        self._opened = True
        return self._connection

    @property
    def done(self) -> bool:
        """Whether the transport is to be closed now, after what was returned so far is written (RFC 6455 §7.1.1).

        A server closes it when both Closes have passed. A client waits for that, a while; it closes at once when the opening
        handshake failed or the peer broke a rule.
        """
        if self._connection.state is State.CLOSED:
            return self._role is Role.SERVER or self._ended or self._failed
        if self._connection.state is State.REMOTE_CLOSING or self._switched:
            return False
        return self.h11.our_state in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR) or (
            self._ended and self.h11.our_state is not h11.SEND_RESPONSE and self.h11.our_state is not h11.SEND_BODY
        )

    @property
    def reading(self) -> bool:
        """Whether the transport is to be read: not while the connection is paused, or much waits behind a request without answer."""
        return self._reading and self._unread <= UNREAD_LIMIT

    def receive(self, data: bytes | bytearray | memoryview) -> Received:
        """Take bytes from the peer and say what they mean.

        Args:
            data: the next bytes of the transport, however cut; empty says that the peer ended it.

        Returns:
            events: what `data` completes, oldest first, as pairs of the connection and its event. Ordinary requests and responses
                come as `None` and the event of `h11`; answer them by `h11.send`.
            reply: bytes to write now, before any other: a Pong for each Ping (RFC 6455 §5.5.2), the refusal of a request that is no
                handshake (§4.2.2).

        A peer that breaks a rule is no exception: its last event is `Failed`. That, and a `Close`, is answered by handing it to
        `Connection.send` when its turn comes.

        Raises:
            TypeError: `data` is not bytes.
        """
        if self._switched:
            if not data:
                self._ended = True
            return self._connection.receive(data)
        return self._receive_head(bytes(data))

    def proceed(self) -> Received:
        """Say what bytes mean that were held until an answer was given.

        Call it after an `UpgradeAccept`, for frames that the client sent behind its request; and after an ordinary response, for
        the next request.
        """
        if self._switched:
            return self._connection.receive_early()
        return self._read_heads()

    def collect(self, event: Any) -> Request | None:
        """Gather an ordinary request out of events that were handed on; it is given when it is whole.

        A body of more than 1 MiB is not kept.
        """
        match event:
            case h11.Request():
                self._request, self._body = event, bytearray()
            case h11.Data() if self._request is not None:
                if len(self._body) <= REQUEST_LIMIT:
                    self._body += event.data
            case h11.EndOfMessage() if self._request is not None:
                request, self._request = self._request, None
                headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)
                body = bytes(self._body) if len(self._body) <= REQUEST_LIMIT else None
                return Request(request.method.decode(), request.target.decode("latin-1"), headers, body)
        return None

    def respond(self, request: Request, response: Response) -> bytes:
        """Write the response to an ordinary request; then call `proceed` for the next one.

        Raises:
            LocalProtocolError: there is no request to respond to, or HTTP/1.1 does not allow the response.
        """
        if response.body is None:
            raise LocalProtocolError('the body was not kept: give one, or b"" for none')
        bodiless = request.method == "HEAD" or response.status in (204, 304)
        headers = list(response.headers)
        if (
            not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers)
            and response.status != 204
        ):
            headers.append(("Content-Length", str(len(response.body))))
        head = h11.Response(status_code=response.status, headers=headers, reason=_reason(response.status))
        body = [] if bodiless or not response.body else [h11.Data(data=response.body)]
        return self._write(head, *body, h11.EndOfMessage())

    def send_request(self, target: str, headers: Headers) -> bytes:
        return self._write(h11.Request(method="GET", target=target, headers=self._cased(headers)), h11.EndOfMessage())

    def send_response(self, status: int, headers: Headers, body: bytes | None) -> bytes:
        cased = self._cased(headers)
        if body is None:
            answer = self._write(h11.InformationalResponse(status_code=status, headers=cased, reason=_reason(status)))
            self._switched = True
            del self.h11
            return answer
        head = h11.Response(status_code=status, headers=cased, reason=_reason(status))
        return self._write(head, *([h11.Data(data=body)] if body and not self._head_only else []), h11.EndOfMessage())

    def pause(self) -> None:
        self._reading = False

    def resume(self) -> bytes:
        self._reading = True
        return b""

    def abort(self) -> bytes:
        self._ended = True
        return b""

    @property
    def _failed(self) -> bool:
        """The client has nothing to wait for."""
        return not self._switched or self._connection.failed

    def _receive_head(self, data: bytes) -> Received:
        if not data:
            self._ended = True
        try:
            if self.h11.their_state is h11.DONE:
                self._unread += len(data)
            self.h11.receive_data(data)
        except RuntimeError:
            # Bytes behind the end of the stream.
            return [], b""
        except h11.RemoteProtocolError as error:
            return self._broken(error)
        return self._read_heads()

    def _read_heads(self) -> Received:
        """Read requests or responses as far as they have come."""
        if self.h11.our_state is h11.DONE and self.h11.their_state is h11.DONE and self._role is Role.SERVER:
            self.h11.start_next_cycle()
            self._unread = 0
        events: list[tuple[Connection | None, Any]] = []
        replies: list[bytes] = []
        while not self._switched and self._connection.state is not State.CLOSED:
            try:
                event = self._next_event()
            except h11.RemoteProtocolError as error:
                more = self._broken(error)
            else:
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                more = self._receive_event(event)
                if isinstance(event, h11.ConnectionClosed):
                    # h11 says so for ever.
                    return [*events, *more[0]], b"".join([*replies, more[1]])
            events += more[0]
            replies.append(more[1])
        if self._switched:
            more = self._switch()
            events += more[0]
            replies.append(more[1])
        return events, b"".join(replies)

    def _next_event(self) -> Any:
        """Give the next event of `h11`, whose limit holds only for heads that come in several chunks."""
        if self.h11.their_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return self.h11.next_event()
        before = len(self.h11.trailing_data[0])
        event = self.h11.next_event()
        if isinstance(event, h11.Request):
            self._head_only = event.method == b"HEAD"
            if not event.http_version.startswith(b"1."):
                raise h11.RemoteProtocolError("the version of HTTP must be 1.1", error_status_hint=505)
        if isinstance(event, _HEADS) and before - len(self.h11.trailing_data[0]) > HEAD_LIMIT:
            raise h11.RemoteProtocolError(f"the head has more than {HEAD_LIMIT} bytes", error_status_hint=431)
        return event

    def _receive_event(self, event: Any) -> Received:
        if self._role is Role.SERVER:
            if isinstance(event, h11.Request) and _core.is_upgrade(list(event.headers)):
                return self._receive_upgrade(event)
            return [(None, event)], b""
        if self._connection.state is not State.REQUESTED:
            return [(None, event)], b""
        match event:
            case h11.InformationalResponse(status_code=101):
                self._switched = True
                return self._connection.receive_response(list(event.headers))
            case h11.InformationalResponse():
                self._interim += 1
                if self._interim > INTERIM_LIMIT:
                    many = "too many interim responses"
                    return self._connection.fail(RemoteProtocolError(many, section="RFC 9110 §15.2"))
            case h11.Response():
                headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
                self._rejection = (event.status_code, headers, bytearray())
            case h11.Data() if self._rejection:
                body = self._rejection[2]
                body += event.data[: BODY_LIMIT - len(body)]
                if len(body) == BODY_LIMIT:
                    return self._reject()
            case h11.EndOfMessage():
                return self._reject()
            case h11.ConnectionClosed():
                return self._connection.receive_end("the server closed the connection without an answer")
        return [], b""

    def _receive_upgrade(self, request: h11.Request) -> Received:
        events, reply = self._connection.receive_request(
            list(request.headers), method=request.method, target=request.target, http_version=request.http_version
        )
        if self._connection.state is State.REQUESTED:
            # A handshake has no body, so h11 has nothing more to read: what follows is the WebSocket's.
            while self.h11.next_event() not in (h11.PAUSED, h11.NEED_DATA):
                pass
            self._switched = True
        return events, reply

    def _switch(self) -> Received:
        """Hand on what `h11` has read behind the handshake."""
        data, _ = self.h11.trailing_data
        if self._role is Role.CLIENT:
            del self.h11
        if not data:
            return [], b""
        return self._connection.receive(data)

    def _reject(self) -> Received:
        assert self._rejection is not None
        status, headers, body = self._rejection
        return self._connection.receive_rejection(status, headers, bytes(body))

    def _broken(self, error: h11.RemoteProtocolError) -> Received:
        """Fail the connection over HTTP that is none."""
        if self._ended and self._role is Role.CLIENT:
            if self._rejection is not None:
                return self._reject()
            return self._connection.receive_end("the server closed the connection without an answer")
        status = error.error_status_hint if self._role is Role.SERVER else None
        events, _ = self._connection.fail(RemoteProtocolError(str(error), section="RFC 9112", status=status))
        reply = b""
        if self.h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = str(error).encode()
            headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")]
            reply = self.send_response(error.error_status_hint, tuple(headers), body)
        return events, reply

    def _write(self, *events: Any) -> bytes:
        try:
            return b"".join(self.h11.send(event) or b"" for event in events)
        except h11.LocalProtocolError as error:
            raise LocalProtocolError(f"HTTP/1.1 does not allow this now: {error}") from error

    def _cased(self, headers: Headers) -> list[tuple[str, str]]:
        if self._header_case == "lower":
            return [(name.lower(), value) for name, value in headers]
        return list(headers)


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
