"""The ordinary requests of one connection, each of which an application answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from mintws.asgi.http import HttpCycle, Responder
from mintws.errors import LocalProtocolError
from mintws.events import BodyData, Headers, MessageEnded, MessageReset, Request, RequestStarted
from mintws.session import WRITE_HIGH

if TYPE_CHECKING:
    from mintws.http2 import Http2, StreamedResponse

#: The extensions of a request's scope that the response can use.
EXTENSIONS = ("http.response.trailers", "http.response.early_hint")


class Output(Protocol):
    """The transport of a connection, as far as a response has to do with it.

    Attributes:
        blocked_senders: what it calls `_wake_senders` of when the client may have taken something, or has gone.
    """

    blocked_senders: set[Any]

    @property
    def full(self) -> bool:
        """Whether more waits to be written than it likes."""

    @property
    def closing(self) -> bool:
        """Whether nothing more is written."""

    def write(self, data: bytes) -> None:
        """Write bytes."""


class RequestTransport(Output, Protocol):
    """The transport of a connection, as far as its requests have to do with it.

    Attributes:
        http: the HTTP connection.
    """

    http: Any

    def make_cycle(self, request: Request, responder: Responder) -> HttpCycle:
        """Make the cycle of a request, whose response the responder sends."""

    def start_cycle(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task that runs a cycle."""


class StreamResponder:
    """A sender of one response.

    Args:
        protocol: the transport.
        response: a `StreamedResponse`.
        begun: its head is sent.
    """

    __slots__ = ("_head", "_protocol", "_response", "_waiting", "begun")

    def __init__(self, protocol: Output, response: Any, *, begun: bool = False) -> None:
        self._protocol = protocol
        self._response: StreamedResponse = response
        self._head: tuple[int, Headers] | None = None
        #: What is waited for, each with what is done when it holds.
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.begun = begun

    @property
    def has_room(self) -> bool:
        return self.gone or (not self._protocol.full and self._response.buffered <= WRITE_HIGH)

    @property
    def gone(self) -> bool:
        """Whether nobody takes the response any more, or it is whole."""
        return self._protocol.closing or self._response.closed

    async def drained(self) -> None:
        await self._until(lambda: self.has_room)

    async def make_room(self, size: int) -> None:
        await self._until(lambda: self.gone or self._response.has_room_for(size))

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            woken = asyncio.get_running_loop().create_future()
            self._waiting.append((holds, woken))
            self._protocol.blocked_senders.add(self)
            await woken

    def _wake_senders(self) -> None:
        """Let the application go on, if the client has taken enough or has gone."""
        still = []
        for holds, woken in self._waiting:
            if woken.done():
                # It was cancelled.
                continue
            if holds():
                woken.set_result(None)
            else:
                still.append((holds, woken))
        self._waiting = still
        if not still:
            self._protocol.blocked_senders.discard(self)

    def acknowledge(self, credit: int) -> None:
        self._protocol.write(self._response.acknowledge(credit))

    def send_interim(self, status: int, headers: Headers = ()) -> None:
        self._protocol.write(self._response.send_interim(status, headers))

    def set_head(self, status: int, headers: Headers) -> None:
        self._response.check_head(status, headers)
        self._head = status, headers

    def send(self, data: bytes, *, end: bool) -> None:
        if self.begun:
            self._protocol.write(self._response.send(data, end=end))
            return
        if self._head is None:
            raise LocalProtocolError("a response begins with its head: call set_head()")
        status, headers = self._head
        written = self._response.send_head(status, headers, data, end=end)
        self.begun = True
        self._protocol.write(written)

    def send_trailers(self, trailers: Headers) -> None:
        self._protocol.write(self._response.send_trailers(trailers))

    def abandon(self) -> None:
        self._protocol.write(self._response.abandon())


class Requests:
    """The requests of one connection that are under way.

    Args:
        protocol: its transport.
    """

    __slots__ = ("_cycles", "_protocol")

    responder_class: type[StreamResponder] = StreamResponder

    def __init__(self, protocol: RequestTransport) -> None:
        # The protocol holds this.
        self._protocol = ref(protocol)
        self._cycles: dict[int, tuple[HttpCycle, StreamResponder]] = {}

    def __len__(self) -> int:
        return len(self._cycles)

    def receive_event(self, event: Any) -> None:
        """Take an event of the connection that concerns no WebSocket."""
        if isinstance(event, RequestStarted):
            self._begin(event.request)
            return
        if not isinstance(event, BodyData | MessageEnded | MessageReset) or event.stream not in self._cycles:
            return
        cycle, responder = self._cycles[event.stream]
        match event:
            case BodyData():
                cycle.receive_body(event.data, event.flow_controlled_len)
            case MessageEnded():
                cycle.receive_end()
            case MessageReset():
                cycle.lose()
                responder._wake_senders()

    def lose(self) -> None:
        """Take the end of the connection."""
        for cycle, responder in list(self._cycles.values()):
            cycle.lose()
            responder._wake_senders()

    def _begin(self, request: Request) -> None:
        protocol = self._protocol()
        assert protocol is not None
        http: Http2 = protocol.http
        response = http.stream_response(request)
        if response is None:
            # The client has taken it back at once.
            return
        responder = self.responder_class(protocol, response)
        cycle = protocol.make_cycle(request, responder)
        self._cycles[request.stream] = cycle, responder
        protocol.start_cycle(self._run(request.stream, cycle))

    async def _run(self, stream: int, cycle: HttpCycle) -> None:
        try:
            await cycle.run()
        finally:
            # Over HTTP/1.1 the next request may have begun.
            if stream in self._cycles and self._cycles[stream][0] is cycle:
                del self._cycles[stream]
