"""The half of a driver that needs no I/O: WebSockets, and the transport that they are on, do what their sessions say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

from mintws.connection import Connection, Counters
from mintws.events import Close, Failed, Pong, State, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.http1 import Http1
from mintws.session.bounds import WRITE_HIGH
from mintws.session.closing import Order, Ordered
from mintws.session.ending import Ending
from mintws.session.linger import Due
from mintws.session.transport import TransportSession
from mintws.session.websocket import WebSocketSession

if TYPE_CHECKING:
    from mintws._core import MessageQueue
    from mintws.http2 import Http2
    from mintws.session.driver import Transport
else:
    # What the other bases of a subclass have, or it itself.
    MessageQueue = Transport = object


class Owner(ReferenceType["DriverWebSocket"]):
    """The owner of a connection: a WebSocket, which holds the connection."""

    __slots__ = ()


class DriverWebSocket(MessageQueue):
    """A driver's WebSocket, but for its I/O and the tasks that wait for it.

    A subclass is a `_core.MessageQueue` too. It has the attributes of `Messages` and those below, writes (`_flush`, `send_ping`)
    and waits (`_over`).

    Attributes:
        connection: the `Connection` beneath, with its request, response, extensions and subprotocol.
    """

    __slots__ = ()

    connection: Connection
    _link: DriverTransport
    _session: WebSocketSession

    if TYPE_CHECKING:

        @property
        def awaited(self) -> bool: ...
        @property
        def owes_answer(self) -> bool: ...

    def _flush(self) -> None:
        """Write what was sent on the connection."""
        raise NotImplementedError

    async def _over(self) -> None:
        """Wait until the session is over."""
        raise NotImplementedError

    def send_ping(self) -> None:
        """Send a Ping that nobody waits for."""
        raise NotImplementedError

    def pong(self, data: bytes) -> None:
        """Take a Pong."""
        raise NotImplementedError

    @property
    def counters(self) -> Counters:
        """How many messages, frames and bytes have passed."""
        return self.connection.counters

    @property
    def request(self) -> UpgradeRequest | None:
        """The request of the opening handshake."""
        return self.connection.request

    @property
    def response(self) -> UpgradeAccept | UpgradeReject | None:
        """The answer to it."""
        return self.connection.response

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self.connection.subprotocol

    @property
    def app(self) -> Any:
        """Whatever the application keeps here; what a server's `upgrade` hook has set as `connection.app`, else `None` at first."""
        return self.connection.app

    @app.setter
    def app(self, kept: Any) -> None:
        self.connection.app = kept

    @property
    def http_version(self) -> str:
        """The version of HTTP beneath: "1.1" or "2"."""
        return self.connection.carrier.http_version

    @property
    def ending(self) -> Ending:
        """How it ended, in detail."""
        ending = self._session.ending
        ending.discarded = self.discarded
        return ending

    @property
    def state(self) -> State:
        """Where the connection is: `CLOSED` as soon as nothing more can be sent, though messages may still be there to be received."""
        return State.CLOSED if self._gone() else self.connection.state

    @property
    def close_code(self) -> int | None:
        """The status code with which it ended (RFC 6455 §7.1.5), or `None` while it is open."""
        return self.ending.code if self._session.last is not None or self._gone() else None

    @property
    def close_reason(self) -> str | None:
        """The reason with which it ended, or `None` while it is open."""
        return None if self.close_code is None else self.ending.reason

    @property
    def latency(self) -> float | None:
        """Seconds between the last Ping that was answered and its Pong."""
        return self._session.pings.latency

    @property
    def awaits_pong(self) -> bool:
        """Whether a Ping is under way."""
        return self._session.pings.under_way

    @property
    def written(self) -> int:
        """How many bytes were given to the transport so far, for all WebSockets that share it."""
        return self._link.written

    @property
    def unsent(self) -> int:
        """How many bytes of what was sent the system has not taken yet.

        They wait in a batch, for the peer's flow control, or in the transport, which all WebSockets of an HTTP/2 connection share.
        """
        return self.connection.corked + self.connection.buffered + self._link.buffered

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, and wait until the peer has done so too, at most for the close timeout.

        A client does not wait for a server that takes its time to end the transport: that goes on by itself.

        Closing twice does nothing more. Messages that still come are there to be received; if nobody takes them, they are dropped and
        counted in `ending.discarded`.

        Args:
            code: the status code, 1000-1003, 1007-1014 or 3000-4999; `None` sends none.
            reason: text of at most 123 bytes in UTF-8.

        Raises:
            LocalProtocolError: the code or the reason may not be sent.
        """
        self.begin_close(code, reason)
        self._session.begin_close(self._link.now(), self)
        self.obey(None)
        try:
            await self._over()
        finally:
            self._session.end_close()
            self.obey(None)

    def discard(self) -> None:
        """Take no more messages than those that wait already: later ones are counted in `ending.discarded`."""
        if self._discard():
            self._resume()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, whoever ends it. Then `close_code`, `close_reason` and `state` say how.

        A Close of the peer is answered at once where no message is unread. Unread messages do not stand in its way: if no task receives
        within a moment, or within a second where some have been received before, those beyond what may wait are discarded, and counted
        in `ending.discarded`.
        """
        self.obey(self._session.begin_wait(self._link.now(), self))
        try:
            if not self._link.left(self):
                await self._over()
        finally:
            self.obey(self._session.end_wait())

    def begin_close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a Close without waiting for the peer's; if the peer's has come, answer it."""
        self.obey(self._session.close(self._link.now(), code, reason))

    def answer(self) -> None:
        """Answer the peer's Close, or its fault, once."""
        self.obey(self._session.answer())

    def receive(self, event: Any) -> None:
        """Take an event of the connection that is no message."""
        if isinstance(event, Pong):
            self.pong(event.data)
        elif isinstance(event, (Close, Failed)):
            self._end(event)
            self._link.check_done(self)

    def _end(self, event: Close | Failed) -> None:
        """Take the peer's Close, or its fault: it is answered when the messages before it have been taken."""
        self._finish()
        self.obey(self._session.receive(self._link.now(), event, self))

    def finish(self) -> None:
        """End both ways: the transport is gone, or the stream."""
        self.obey(self._session.finish(self._link.now(), self))
        self._finish()

    def obey(self, ordered: Ordered) -> None:
        """Do what the session orders, and see to its deadline, which may be another one by then."""
        match ordered:
            case Close() | Order.FLUSH:
                self._flush()
                self._link.check_done(self)
            case Order.PING:
                self.send_ping()
            case Order.PROBE:
                self._link.write(self._link.http.probe())
            case Order.KEEP:
                self._keep()
            case Order.ABANDON:
                if self._abandon():
                    self._resume()
                self.answer()
            case Order.DISCARD:
                self.discard()
            case Order.ABORT:
                self._link.abort(self)
        self._link.schedule(self._session)

    def _pause(self) -> None:
        """Have the peer send no more, each time that more comes than is taken."""
        self.connection.pause()
        self.obey(self._session.pause(self._link.now(), self))

    def _resume(self) -> None:
        """Decode what has waited, and have the peer go on."""
        self._session.resume()
        # First what has waited: there is no credit for what goes on waiting.
        events: list[Any] = []
        self.connection._receive_early(events)
        # Over HTTP/2 this answers Pings within the bounds of what is kept for them.
        self._link.write(self.connection.resume())
        self._link.go_on(events, self.connection._settle(events))

    def _gone(self) -> bool:
        """Whether nothing more can be sent."""
        return self._link.closing or self._link.left(self) or self.connection.state is State.CLOSED

    def _is_held_back(self) -> bool:
        """Whether the peer's flow control lets no more pass."""
        return self.connection.buffered > WRITE_HIGH


class DriverTransport(Transport):
    """A driver's transport, but for its I/O and the tasks that wait for it.

    A subclass has what `Transport` tells, and takes events of opening handshakes and of ordinary HTTP.

    Attributes:
        http: the HTTP connection, once it is known which version is spoken.
        websockets: the open WebSockets on it.
    """

    __slots__ = ()

    http: Http1 | Http2
    websockets: set[Any]
    multiplexed: bool
    _session: TransportSession

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        """Take an event of the opening handshake."""
        raise NotImplementedError

    def receive_ordinary(self, event: Any) -> None:
        """Take an event that concerns no WebSocket."""
        raise NotImplementedError

    # Downwards.

    def speak(self, http: Http1 | Http2) -> None:
        """Begin with the version of HTTP that is spoken."""
        self.http = self._session.http = http
        self.multiplexed = http.multiplexed
        self.write(http.start())

    @property
    def speaks(self) -> bool:
        """Whether it is known which version of HTTP is spoken."""
        return self._session.http is not None

    def add(self, websocket: DriverWebSocket) -> None:
        """Take a WebSocket that has opened."""
        self.websockets.add(websocket)
        self.schedule(websocket._session)

    def handle(self, events: Sequence[tuple[Connection | None, Any]]) -> None:
        """Bring events to those whom they concern."""
        ordinary = False
        for connection, event in events:
            if connection is None:
                ordinary = True
                self.receive_ordinary(event)
            elif isinstance(connection.owner, Owner):
                websocket = connection.owner()
                if websocket is not None:
                    websocket.receive(event)
            else:
                self.receive_handshake(connection, event)
        if ordinary:
            # Bodies that were collected have credit to give back.
            self.proceed()

    def proceed(self) -> None:
        """Handle what was held until an answer was given."""
        self.go_on(*self.http.proceed())

    # Upwards.

    @property
    def buffered(self) -> int:
        """How many bytes wait in the transport."""
        return self.unsent

    @property
    def full(self) -> bool:
        """Whether more waits to be written than it likes."""
        return self.unsent > WRITE_HIGH

    @property
    def is_reading(self) -> bool:
        """Whether what the peer sends is read."""
        return self._session.is_reading(self)

    # Time.

    def schedule(self, session: WebSocketSession) -> None:
        """See to the deadline of a WebSocket, which may be another one."""
        self.obey(self._session.schedule(session))

    def obey(self, due: Due | None) -> None:
        """Do what the session says, and see to its deadline, which may be another one by then."""
        if due is None:
            return
        if due.data:
            self.say_last(due.data)
        if due.step is not None:
            self.take_step(due.step)
        self.arm()

    def expire(self) -> None:
        """Do what is due."""
        now = self.now()
        for session in self._session.websockets.due(now):
            websocket = session.connection.owner()
            if websocket is not None:
                websocket.obey(session.expire(now, websocket))
        self.obey(self._session.expire(now, self))

    # Ends.

    @property
    def busy(self) -> bool:
        """Whether something is under way, or nothing more is written."""
        return bool(self.websockets) or self.lost or self.closing

    def check_done(self, websocket: DriverWebSocket) -> None:
        """Let go of a WebSocket whose closing handshake is done, and of the transport if that was all."""
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
        """Whether the transport is for more than one WebSocket, and outlives each."""
        return self.multiplexed

    def let_go(self, websocket: DriverWebSocket) -> None:
        """Have done with a WebSocket, over HTTP/2 long before the transport ends."""
        if websocket in self.websockets:
            self.websockets.discard(websocket)
            websocket.finish()

    def left(self, websocket: DriverWebSocket) -> bool:
        """Whether a WebSocket has been let go, or can never be."""
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
        """Close the transport if the connection says so; a client waits for the server to do it, a while."""
        self.obey(self._session.close_if_done(self.now(), self))

    def leave(self) -> None:
        """Take nothing new, and close the transport when what is under way has ended."""
        self.obey(self._session.leave(self.now(), self))

    def close(self) -> None:
        """Close the transport after what was written, and bound the time until it is gone."""
        self.obey(self._session.close(self.now(), self))

    def lose(self) -> None:
        """Take the end of the transport, which is `lost`, to all that stands on it."""
        if self.speaks:
            self.handle(self.http.receive(b"")[0])
        for websocket in list(self.websockets):
            websocket.finish()
        self.websockets.clear()
        self.obey(self._session.lose())
        self.wake()

    def say_last(self, data: bytes) -> None:
        """Write, if that is still possible, what nobody waits for."""
        if not self.lost:
            self.write(data)
