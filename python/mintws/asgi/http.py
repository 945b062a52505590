"""One ordinary request as an ASGI application sees it: its body in parts, and the parts of the response that it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, MutableMapping
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

from mintws.asgi.messages import Application, ClientDisconnected, Message, is_of_the_end, texts
from mintws.errors import LocalProtocolError
from mintws.events import Headers
from mintws.response_order import BODILESS
from mintws.session import BodyTimeout

#: The version of the specification that a scope tells from when the application has the whole body of the request. From 2.4 on Starlette
#: learns only by `send` that a client has gone: a response that waits for something to send would be kept until that comes. Before, it
#: listens by `receive`, and drops what comes of the body.
_LISTENS = "2.3"

#: Takes the scope of a request and the status of its response, when that begins.
LogResponse: TypeAlias = Callable[[MutableMapping[str, Any], int], None]


class Responder(Protocol):
    """A sender of the response to one request, which also gives credit for the body of the request.

    Attributes:
        begun: something of the response was sent.
        has_room: more may be sent without waiting.
    """

    @property
    def begun(self) -> bool: ...
    @property
    def has_room(self) -> bool: ...

    async def drained(self) -> None:
        """Wait until there is room, or nobody takes the response any more."""

    async def make_room(self, size: int) -> None:
        """Wait until so many bytes of the body should be sent, or nobody takes the response any more."""

    def acknowledge(self, credit: int) -> None:
        """Let the client send more, since the application has taken what `credit` was counted for."""

    def send_interim(self, status: int, headers: Headers = ()) -> None:
        """Send an interim response, 100 or 103 (RFC 9110 §15.2)."""

    def set_head(self, status: int, headers: Headers) -> None:
        """Check the head of the response, and keep it: it is sent with the first part of the body.

        Raises:
            LocalProtocolError: it is not allowed.
        """

    def send(self, data: bytes, *, end: bool) -> None:
        """Send a part of the body; `end` says that it is the last, and no trailers follow.

        Raises:
            LocalProtocolError: the body has another length than its Content-Length says. Nothing was sent.
        """

    def send_trailers(self, trailers: Headers) -> None:
        """End the response with trailers.

        Raises:
            LocalProtocolError: a trailer is not allowed, or the body is shorter than its Content-Length says. Nothing was sent.
        """

    def abandon(self) -> None:
        """Give up a response that has begun and cannot be finished, so that the client learns that it is not whole."""


class _Phase(Enum):
    """Where the conversation with the application is.

    Attributes:
        HEAD: the head of the response is to come.
        BODY: its body is to come, or more of it.
        TRAILERS: its trailers are to come, or more of them.
        DONE: the response is whole.
        GONE: the client has taken the request back, its connection is lost, or the response was given up.
    """

    HEAD = auto()
    BODY = auto()
    TRAILERS = auto()
    DONE = auto()
    GONE = auto()


class HttpCycle:
    """The life of one request in an application, over any version of HTTP.

    What comes is handed in by `receive_body`, `receive_end` and `lose`; what is sent goes to the responder.

    Args:
        responder: what sends the response.
        scope: the scope, see `http_scope`.
        application: the application.
        log: called when the response begins.
        body_timeout: how long the client may let the application wait for the body of the request before that begins its response, in
            seconds, plus one for each 240 bytes received; then the client gets a 408 (RFC 9110 §15.5.9). `None` is no limit.
    """

    __slots__ = (
        "_application",
        "_body",
        "_body_timeout",
        "_credit",
        "_expects_continue",
        "_has_dropped",
        "_has_trailers",
        "_log",
        "_loop",
        "_news",
        "_phase",
        "_request_ended",
        "_request_taken",
        "_responder",
        "_scope",
        "_status",
        "_takes_trailers",
        "_timer",
        "_trailers",
    )

    def __init__(
        self,
        responder: Responder,
        scope: MutableMapping[str, Any],
        application: Application,
        log: LogResponse,
        body_timeout: float | None = None,
    ) -> None:
        self._responder = responder
        self._scope = scope
        self._application = application
        self._log = log
        self._phase = _Phase.HEAD
        headers = dict(scope["headers"])
        self._expects_continue = headers.get(b"expect", b"").lower() == b"100-continue"
        self._takes_trailers = b"te" in headers and _takes_trailers(scope["headers"])
        #: What has come of the body and was not taken, and the credit to give for it.
        self._body = bytearray()
        self._credit = 0
        #: The body has come whole, and the application has taken all of it.
        self._request_ended = False
        self._request_taken = False
        #: Set when there may be something to receive.
        self._news = asyncio.Event()
        self._status = 0
        self._has_trailers = False
        self._trailers: list[tuple[str, str]] = []
        #: A part of the body came when the client had gone.
        self._has_dropped = False
        self._loop = asyncio.get_running_loop()
        self._body_timeout = BodyTimeout(body_timeout)
        self._timer: asyncio.TimerHandle | None = None

    def receive_body(self, data: bytes, credit: int = 0) -> None:
        """Take a part of the body of the request.

        Args:
            data: the part.
            credit: what `Responder.acknowledge` is given when the application has taken it.
        """
        self._expects_continue = False
        self._body_timeout.receive(self._loop.time(), len(data))
        if not data:
            # Padding alone, which nobody takes.
            self._responder.acknowledge(credit)
            return
        self._body += data
        self._credit += credit
        self._news.set()

    def receive_end(self) -> None:
        """Take the end of the request."""
        self._request_ended = True
        self._note_taken()
        self._expects_continue = False
        self._body_timeout.stop(self._loop.time())
        self._news.set()

    def lose(self) -> None:
        """Take that the client has gone, or wants no response any more."""
        if self._phase is not _Phase.DONE:
            self._phase = _Phase.GONE
        self._news.set()

    async def run(self) -> None:
        """Run the application, and end what it leaves open: with 500 before the response has begun, and else by giving it up."""
        try:
            await self._run()
        finally:
            # The timer refers to this.
            if self._timer is not None:
                self._timer.cancel()

    async def _run(self) -> None:
        try:
            result = await self._application.app(self._scope, self.receive, self.send)
        except Exception as error:
            if not is_of_the_end(error):
                self._application.logger.error("Exception in ASGI application\n", exc_info=error)
        except BaseException:
            # It is cancelled, or the process ends.
            self._end(503)
            raise
        else:
            if result is not None:
                self._log_error("ASGI callable should return None, but returned '%s'.", result)
            if self._phase is _Phase.HEAD:
                self._log_error("ASGI callable returned without starting response.")
            elif self._phase in (_Phase.BODY, _Phase.TRAILERS):
                self._log_error("ASGI callable returned without completing response.")
        self._end(500)

    async def receive(self) -> Message:
        """Give the next event: parts of the body, as far as they have come, and at last the end."""
        if self._expects_continue and self._phase is _Phase.HEAD:
            self._expects_continue = False
            self._responder.send_interim(100)
        while True:
            if self._is_over:
                return {"type": "http.disconnect"}
            if self._body or (self._request_ended and not self._request_taken):
                return self._take_body()
            self._news.clear()
            if self._phase is _Phase.HEAD and not self._request_ended:
                self._body_timeout.wait(self._loop.time())
                self._set_timer()
            try:
                await self._news.wait()
            finally:
                self._body_timeout.stop(self._loop.time())

    async def send(self, message: Message) -> None:
        """Take an event of the application, and wait until the client has taken most of what was sent.

        Where the client has gone, a response is dropped, as the application may have work to do behind it, unless it goes on and on.

        Raises:
            ClientDisconnected: the client has gone, and this is the second part of the body since that is not the last.
            LocalProtocolError: the event is not allowed, or not now.
        """
        match self._phase, message["type"]:
            case (_Phase.GONE, _):
                await self._drop(message)
            case (_Phase.HEAD, "http.response.early_hint"):
                links = [("link", bytes(link).decode("latin-1")) for link in message["links"]]
                self._responder.send_interim(103, tuple(links))
            case (_Phase.HEAD, "http.response.start"):
                self._start(message)
            case (_Phase.BODY, "http.response.body"):
                await self._responder.make_room(len(message.get("body", b"")))
                if self._is_over:
                    await self._drop(message)
                    return
                self._send_body(message.get("body", b""), more=message.get("more_body", False))
            case (_Phase.TRAILERS, "http.response.trailers"):
                self._trailers += texts(message.get("headers", ()))
                if not message.get("more_trailers", False):
                    self._responder.send_trailers(tuple(self._trailers) if self._takes_trailers else ())
                    self._finish()
            case (phase, kind):
                raise LocalProtocolError(f"an application may not send {kind!r} {_WHEN[phase]}")
        if not (self._is_over or self._responder.has_room):
            await self._responder.drained()

    async def _drop(self, message: Message) -> None:
        """Take an event that nobody gets. Middleware may send the whole body as a part that is not the last."""
        if message["type"] != "http.response.body" or not message.get("more_body", False):
            return
        if self._has_dropped:
            raise ClientDisconnected("the client has gone")
        self._has_dropped = True
        # A task that waits for the end of the client is told of it first.
        await asyncio.sleep(0)

    @property
    def _is_over(self) -> bool:
        """Whether nothing more is sent."""
        return self._phase in (_Phase.DONE, _Phase.GONE)

    def _set_timer(self) -> None:
        """Arm the timer, if the client is waited for. The deadline only moves later, which is seen when the timer fires."""
        deadline = self._body_timeout.deadline
        if self._timer is None and deadline is not None:
            self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Answer with 408 if the application has waited for too long."""
        self._timer = None
        deadline = self._body_timeout.deadline
        if self._phase is not _Phase.HEAD or deadline is None:
            return
        if self._loop.time() < deadline:
            self._set_timer()
            return
        self._respond(408, (b"connection", b"close"))
        self._phase = _Phase.GONE

    def _take_body(self) -> Message:
        """Give what has come of the body, and credit for it."""
        body = bytes(self._body)
        self._body.clear()
        credit, self._credit = self._credit, 0
        self._responder.acknowledge(credit)
        self._request_taken = self._request_ended
        self._note_taken()
        return {"type": "http.request", "body": body, "more_body": not self._request_ended}

    def _note_taken(self) -> None:
        """Have the application listen for the end of its client from when nothing of the body is left."""
        if self._request_ended and not self._body:
            self._scope["asgi"]["spec_version"] = _LISTENS

    def _start(self, message: Message) -> None:
        self._status = status = message["status"]
        self._responder.set_head(status, (*texts(message.get("headers", ())), *self._application.headers))
        self._has_trailers = message.get("trailers", False)
        self._phase = _Phase.BODY

    def _send_body(self, data: bytes, *, more: bool) -> None:
        self._expects_continue = False
        begun = self._responder.begun
        # What an application sends of the body of a status that has none is left out.
        self._responder.send(b"" if self._status in BODILESS else data, end=not (more or self._has_trailers))
        if not begun:
            self._log(self._scope, self._status)
        if more:
            return
        if self._has_trailers:
            self._phase = _Phase.TRAILERS
        else:
            self._finish()

    def _end(self, status: int) -> None:
        """Answer by a status what was not answered, and give up what is not whole."""
        if self._is_over:
            return
        if self._responder.begun:
            self._responder.abandon()
            self.lose()
            return
        self._respond(status)

    def _respond(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        """Send a whole response in place of the application's."""
        body = HTTPStatus(status).phrase.encode()
        length = (b"content-length", b"%d" % len(body))
        self._start({"status": status, "headers": [(b"content-type", b"text/plain; charset=utf-8"), length, *headers]})
        self._send_body(body, more=False)

    def _finish(self) -> None:
        self._phase = _Phase.DONE
        self._news.set()

    def _log_error(self, text: str, *arguments: object) -> None:
        self._application.logger.error(text, *arguments)


_WHEN = {
    _Phase.HEAD: "before the head of the response",
    _Phase.BODY: "while the body of the response is to come",
    _Phase.TRAILERS: "while the trailers of the response are to come",
    _Phase.DONE: "after the end of the response",
}


def _takes_trailers(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a client takes trailers (RFC 9110 §10.1.4): TE is a list, of codings with parameters and of `trailers`."""
    codings = (coding for name, value in headers if name == b"te" for coding in value.split(b","))
    return any(coding.partition(b";")[0].strip().lower() == b"trailers" for coding in codings)


async def unavailable(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Answer any request with 503: an application of a server that takes no more."""
    body = HTTPStatus.SERVICE_UNAVAILABLE.phrase.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
