"""The half of a driver that needs no I/O: WebSockets and their transport, which carry out the orders of their sessions."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

from mintws.connection import Connection, Counters
from mintws.errors import ConnectionClosed
from mintws.events import Close, Failed, Pong, State, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.http1 import Http1
from mintws.session.bounds import WRITE_HIGH
from mintws.session.close_status import CLEAN_CODES, CloseStatus
from mintws.session.closing import Order, Ordered
from mintws.session.linger import Due
from mintws.session.transport import TransportSession
from mintws.session.websocket import WebSocketSession

if TYPE_CHECKING:
    from mintws._core import MessageQueue
    from mintws.http2 import Http2
    from mintws.session.driver import Transport
else:
    # The other bases of a subclass, or the subclass itself, provide these.
    MessageQueue = Transport = object


class Owner(ReferenceType["DriverWebSocket"]):
    """The owner of a connection: a weak reference to its WebSocket."""

    __slots__ = ()


class LoopBody(Enum):
    """The state of a WebSocket in the body of a loop that connects again."""

    NONE = "it is of no such loop"
    RUNS = "it has it"
    LEFT = "it has ended while the WebSocket was open"


class DriverWebSocket(MessageQueue):
    """A driver's WebSocket without its I/O and without the tasks that wait for it.

    A subclass is also a `_core.MessageQueue`. It has the attributes of `Messages` and those below, and implements writing (`_flush`,
    `send_ping`) and waiting (`_over`).

    Attributes:
        connection: the underlying `Connection`, with its request, response, extensions and subprotocol.
    """

    __slots__ = ()

    #: A loop that connects again has it.
    _body = LoopBody.NONE

    connection: Connection
    _protocol: DriverTransport
    _session: WebSocketSession

    if TYPE_CHECKING:

        @property
        def _awaited(self) -> bool: ...
        @property
        def _owes_answer(self) -> bool: ...

    def _flush(self) -> None:
        """Write the pending frames of the connection."""
        raise NotImplementedError

    async def _over(self) -> None:
        """Wait until the session is over."""
        raise NotImplementedError

    def _send_ping(self) -> None:
        """Send a Ping for the keepalive."""
        raise NotImplementedError

    def _pong(self, data: bytes) -> None:
        """Handle a Pong."""
        raise NotImplementedError

    @property
    def counters(self) -> Counters:
        """The number of messages, frames and bytes received and sent."""
        return self.connection.counters

    @property
    def request(self) -> UpgradeRequest | None:
        """The request of the opening handshake."""
        return self.connection.request

    @property
    def response(self) -> UpgradeAccept | UpgradeReject | None:
        """The answer to the request of the opening handshake."""
        return self.connection.response

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol agreed on, or `None`."""
        return self.connection.subprotocol

    @property
    def app(self) -> Any:
        """An object of the application: `connection.app` as set by a server's `upgrade` hook, or initially `None`."""
        return self.connection.app

    @app.setter
    def app(self, kept: Any) -> None:
        self.connection.app = kept

    @property
    def http_version(self) -> str:
        """The version of the underlying HTTP connection: "1.1" or "2"."""
        return self.connection.carrier.http_version

    @property
    def ending(self) -> CloseStatus:
        """The close status in detail."""
        ending = self._session.ending
        ending.discarded = self._discarded
        if self._gone():
            error = self._protocol.error
            ending.loss = "the transport is lost" if error is None else f"the transport is lost: {error!r}"
        return ending

    @property
    def state(self) -> State:
        """The state of the connection: `CLOSED` as soon as nothing more can be sent. Messages may still wait to be received."""
        return State.CLOSED if self._gone() else self.connection.state

    @property
    def close_code(self) -> int | None:
        """The close status code (RFC 6455 §7.1.5), or `None` while it is open."""
        return self.ending.code if self._session.last is not None or self._gone() else None

    @property
    def close_reason(self) -> str | None:
        """The close reason, or `None` while it is open."""
        return None if self.close_code is None else self.ending.reason

    @property
    def latency(self) -> float | None:
        """Seconds between the last answered Ping and its Pong, or `None`."""
        return self._session.pings.latency

    @property
    def unsent(self) -> int:
        """The number of sent bytes that the system has not taken yet.

        They wait in a batch, for the peer's flow control, or in the transport, which all WebSockets of an HTTP/2 connection share.
        """
        return self.connection.corked_bytes + self.connection.buffered + self._protocol.buffered

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, and wait for the peer to close too, at most for the close timeout.

        A client does not wait for a server that is slow to end the transport, which then ends in the background.

        A second call has no further effect. Messages that arrive meanwhile can still be received. If nobody takes them, they are discarded
        and counted in `ending.discarded`.

        Args:
            code: the status code, 1000-1003, 1007-1014 or 3000-4999; `None` sends none.
            reason: text of at most 123 bytes in UTF-8.

        Raises:
            LocalProtocolError: the code or the reason may not be sent.
        """
        self._begin_close(code, reason)
        self._session.begin_close(self._protocol.now(), self)
        self._obey(None)
        try:
            await self._over()
        finally:
            self._session.end_close()
            self._obey(None)

    def discard(self) -> None:
        """Discard messages above the queue's limit from now on, and count them in `ending.discarded`: the peer is not paused any more."""
        if self._discard():
            self._resume()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, on either side. `close_code`, `close_reason` and `state` then describe its end.

        A Close of the peer is answered at once if no message is unread. Unread messages do not block it: if no task receives for 0.05
        seconds, or for a second if messages were received before, those above the queue's limit are discarded and counted in
        `ending.discarded`.
        """
        self._obey(self._session.begin_wait(self._protocol.now(), self))
        try:
            if not self._protocol.left(self):
                # The end may be the peer's answer to what a batch holds back.
                self._flush()
                await self._over()
        finally:
            self._obey(self._session.end_wait())

    def _leave(self) -> None:
        """Close, and leave the rest of the closing handshake to the transport: nobody waits for it."""
        if not self._gone():
            self.discard()
            self._begin_close()
            self._protocol.let_finish()

    def _ends_quietly(self, closed: ConnectionClosed) -> bool:
        """Whether its end ends an iteration over messages without an error."""
        return self._body is not LoopBody.NONE or (closed.clean and closed.code in CLEAN_CODES)

    def _end_body(self) -> None:
        """Discard the messages that are left, and record whether the body of the loop has ended while it was open."""
        if self._body is LoopBody.RUNS and self.state is State.OPEN:
            self._body = LoopBody.LEFT
        self.discard()

    def _is_left_to_loop(self, error: object) -> bool:
        """Whether an error of the body is the end of this WebSocket, which the loop that connects again decides on."""
        return self._body is not LoopBody.NONE and self.ending.is_of(error)

    def _begin_close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a Close without waiting for the peer's, or answer the peer's if it has been received."""
        self._obey(self._session.close(self._protocol.now(), code, reason))

    def _answer(self) -> None:
        """Answer the peer's Close, or its fault, once."""
        self._obey(self._session.answer())

    def _receive_event(self, event: Any) -> None:
        """Handle an event of the connection that is not a message."""
        if isinstance(event, Pong):
            self._pong(event.data)
        elif isinstance(event, (Close, Failed)):
            self._end(event)
            self._protocol.check_done(self)

    def _end(self, event: Close | Failed) -> None:
        """Handle the peer's Close, or its fault. It is answered when the messages before it have been taken."""
        self._finish()
        self._obey(self._session.receive_close(self._protocol.now(), event, self))

    def _end_both(self) -> None:
        """End both directions: the transport or the stream is gone."""
        self._obey(self._session.finish(self._protocol.now(), self))
        self._finish()

    def _obey(self, ordered: Ordered) -> None:
        """Carry out an order of the session, and reschedule it, because its deadline may have moved."""
        match ordered:
            case Close() | Order.FLUSH:
                self._flush()
                self._protocol.check_done(self)
            case Order.PING:
                self._send_ping()
            case Order.PROBE:
                self._protocol.write(self._protocol.http.probe())
            case Order.KEEP:
                self._keep()
            case Order.ABANDON:
                if self._abandon():
                    self._resume()
                self._answer()
            case Order.DISCARD:
                self.discard()
            case Order.ABORT:
                self._protocol.abort(self)
        self._protocol.schedule(self._session)

    def _pause(self) -> None:
        """Pause the peer, each time that more is received than is taken."""
        self.connection.pause()
        self._obey(self._session.pause(self._protocol.now(), self))

    def _resume(self) -> None:
        """Decode what has waited, and resume the peer."""
        self._session.resume()
        # Decode first, because bytes that continue to wait earn no credit.
        events: list[Any] = []
        self._protocol.receive_early(self.connection, events)
        # Over HTTP/2 this answers Pings within the bounds of what is kept for them.
        self._protocol.write(self.connection.resume())
        self._protocol.go_on(events, self.connection._take_replies(events))

    def _gone(self) -> bool:
        """Whether nothing more can be sent."""
        return self._protocol.closing or self._protocol.left(self) or self.connection.state is State.CLOSED

    def _is_held_back(self) -> bool:
        """Whether the peer's flow control holds back more bytes than may wait."""
        return self.connection.buffered > WRITE_HIGH


class DriverTransport(Transport):
    """A driver's transport without its I/O and without the tasks that wait for it.

    A subclass implements `Transport`, and handles events of opening handshakes and of ordinary HTTP.

    Attributes:
        http: the HTTP connection, once its version is known.
        websockets: the open WebSockets on it.
        error: what ended it: the transport's own error, or the fault of the peer that ended the whole HTTP/2 connection.
    """

    __slots__ = ()

    http: Http1 | Http2
    websockets: set[Any]
    error: Exception | None
    multiplexed: bool
    _session: TransportSession

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        """Handle an event of the opening handshake."""
        raise NotImplementedError

    def receive_ordinary(self, event: Any) -> None:
        """Handle an event of ordinary HTTP or of the whole connection."""
        raise NotImplementedError

    # Downwards.

    def speak(self, http: Http1 | Http2) -> None:
        """Begin to speak a version of HTTP."""
        self.http = self._session.http = http
        self.multiplexed = http.multiplexed
        self.write(http.start())

    @property
    def speaks(self) -> bool:
        """Whether the version of HTTP is known."""
        return self._session.http is not None

    def add(self, websocket: DriverWebSocket) -> None:
        """Add a WebSocket that has opened."""
        self.websockets.add(websocket)
        self.schedule(websocket._session)

    def handle(self, events: Sequence[tuple[Connection | None, Any]]) -> None:
        """Dispatch events to their WebSockets, or to the methods above."""
        ordinary = False
        for connection, event in events:
            if connection is None:
                ordinary = True
                self.receive_ordinary(event)
            elif isinstance(connection.owner, Owner):
                websocket = connection.owner()
                if websocket is not None:
                    websocket._receive_event(event)
            else:
                self.receive_handshake(connection, event)
        if ordinary:
            # Collected bodies have credit to return.
            self.proceed()

    def receive_early(self, connection: Connection, events: list[Any]) -> None:
        """Decode what a connection has left undecoded; a driver may leave some of it to a later turn of its loop."""
        connection._receive_early(events)

    def proceed(self) -> None:
        """Process the bytes that waited for an answer."""
        self.go_on(*self.http.proceed())

    # Upwards.

    @property
    def buffered(self) -> int:
        """The number of bytes in the write buffer of the transport."""
        return self.unsent

    @property
    def full(self) -> bool:
        """Whether the write buffer is above its high-water mark."""
        return self.unsent > WRITE_HIGH

    @property
    def is_reading(self) -> bool:
        """Whether the transport is to be read."""
        return self._session.is_reading(self)

    # Time.

    def schedule(self, session: WebSocketSession) -> None:
        """Reschedule a WebSocket, whose deadline may have moved."""
        self.obey(self._session.schedule(session))

    def obey(self, due: Due | None) -> None:
        """Carry out an order of the session, and arm the timer, because its deadline may have moved."""
        if due is None:
            return
        if due.data:
            self.say_last(due.data)
        if due.step is not None:
            self.take_step(due.step)
        self.arm()

    def expire(self) -> None:
        """Carry out what is due."""
        now = self.now()
        for session in self._session.websockets.due(now):
            websocket = session.connection.owner()
            if websocket is not None:
                websocket._obey(session.expire(now, websocket))
        self.obey(self._session.expire(now, self))

    # Ends.

    @property
    def busy(self) -> bool:
        """Whether a WebSocket is open, or nothing more is written."""
        return bool(self.websockets) or self.lost or self.closing

    def check_done(self, websocket: DriverWebSocket) -> None:
        """Release a WebSocket whose closing handshake is done, and close the transport if it was the last."""
        if websocket.connection.state is not State.CLOSED:
            return
        self.obey(self._session.sweep_later(self.now(), websocket.connection))
        if self.shared:
            self.let_go(websocket)
        else:
            websocket.discard()
        self.close_if_done()

    @property
    def shared(self) -> bool:
        """Whether the transport carries more than one WebSocket, and outlives each."""
        return self.multiplexed

    def let_go(self, websocket: DriverWebSocket) -> None:
        """Release a WebSocket, over HTTP/2 long before the transport ends."""
        if websocket in self.websockets:
            self.websockets.discard(websocket)
            websocket._end_both()

    def left(self, websocket: DriverWebSocket) -> bool:
        """Whether a WebSocket has been released, or can never be."""
        return websocket not in self.websockets

    def abort(self, websocket: DriverWebSocket) -> None:
        """End a WebSocket without a closing handshake."""
        if not self.multiplexed:
            self.cut()
            return
        self.say_last(websocket.connection.abort())
        self.let_go(websocket)
        self.wake()
        self.close_if_done()

    def close_if_done(self) -> None:
        """Close the transport if the connection is done. A client first waits for the server to close it."""
        self.obey(self._session.close_if_done(self.now(), self))

    def leave(self) -> None:
        """Accept nothing new, and close the transport when its current work has ended."""
        self.obey(self._session.leave(self.now(), self))

    def close(self) -> None:
        """Close the transport after its write buffer is flushed, and limit the time until it is gone."""
        self.obey(self._session.close(self.now(), self))

    def lose(self) -> None:
        """Report the end of the transport, which is `lost`, to its WebSockets."""
        if self.speaks:
            self.handle(self.http.receive(b"")[0])
        for websocket in list(self.websockets):
            websocket._end_both()
        self.websockets.clear()
        self.obey(self._session.lose())
        self.wake()

    def let_finish(self) -> None:
        """Let the closing handshake of a WebSocket go on that nobody waits for any more; whoever owns the transport waits for that."""

    def say_last(self, data: bytes) -> None:
        """Write bytes that no task waits for, unless the transport is gone."""
        if not self.lost:
            self.write(data)
