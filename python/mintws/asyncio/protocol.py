"""One transport with what it carries: bytes from it to the connection, events to WebSockets, and bytes back."""

from __future__ import annotations

import asyncio
import math
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mintws import _core
from mintws.asyncio.relayed import RelayedTransport
from mintws.asyncio.timers import rearm
from mintws.asyncio.transport import LoopTransport
from mintws.asyncio.websocket import WebSocket
from mintws.connection import Connection
from mintws.drivers import log
from mintws.drivers.transport import numbers
from mintws.events import Peer
from mintws.http1 import Http1
from mintws.session import DriverWebSocket, Step, TransportSession

if TYPE_CHECKING:
    from mintws.http2 import Http2
    from mintws.http2.connection import Begun

if sys.platform != "win32":
    import fcntl
    import termios

#: The most bytes that are read at a time: more would leave the processor's cache before they are decoded.
READ_SIZE = 256 * 1024

#: On Python 3.10 a transport over TLS has let go of what it stands on a turn of the loop before `connection_lost` says so. Its
#: get_write_buffer_size, pause_reading and resume_reading raise AttributeError then.
_TLS_ENDS_EARLY = sys.version_info < (3, 11)

#: The state that the transports of a loop share: a buffer to read into, and what is sent within a read callback.
_states: WeakKeyDictionary[asyncio.AbstractEventLoop, _core.LoopState] = WeakKeyDictionary()


class ConnectionProtocol(_core.ProtocolBase, LoopTransport, asyncio.BufferedProtocol):
    """A transport and its HTTP connection. A server's and a client's differ in what they make of the opening handshake.

    Messages go from the core to the `WebSocket` that they are for; `handle` sees all other events.
    """

    __slots__ = (
        "__weakref__",
        "_draining",
        "_ends_early",
        "_loses",
        "_lost",
        "_session",
        "_timer",
        "_transport",
        "_wakes_at",
        "blocked_senders",
        "error",
        "gone",
        "half_closes",
        "http",
        "id",
        "loop",
        "peer",
        "timeouts",
        "websockets",
    )

    websockets: set[WebSocket]
    half_closes: bool
    #: The class of its WebSockets.
    websocket_class: type[WebSocket] = WebSocket

    def __init__(self, loop: asyncio.AbstractEventLoop, session: TransportSession) -> None:
        self.loop = loop
        self._session = session
        self._timer: asyncio.Handle | None = None
        #: When the timer is due: uvloop's handles of what is due at once cannot tell.
        self._wakes_at = math.inf
        self.timeouts = session.timeouts
        self.id = next(numbers)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        #: None before it is known which version is spoken.
        self.http: Http1 | Http2 = None  # type: ignore[assignment]
        #: The transport is gone.
        self._lost = False
        #: Its end has come, and waits for turns of the loop with what came before.
        self._loses = False
        #: It may be gone before that is told.
        self._ends_early = False
        self.error = None
        #: Either half of it can end by itself: not under TLS.
        self.half_closes = False
        self.websockets = set()
        self.blocked_senders = set()
        self.gone = loop.create_future()
        #: What waits for room in the transport.
        self._draining: asyncio.Future[None] | None = None
        shared = _states.get(loop)
        if shared is None:
            shared = _states[loop] = _core.LoopState(memoryview(bytearray(READ_SIZE)))
        self._shared = shared

    # What asyncio calls, beside what the core does.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        # Some transports do not know it any more when they have ended.
        self.peer = Peer(transport.get_extra_info("peername"), transport.get_extra_info("ssl_object"))
        self._writer = self._transport.write
        self._is_closing = self._transport.is_closing
        self._buffer_size = self._transport.get_write_buffer_size
        self._send = _send_of(transport.beneath if isinstance(transport, RelayedTransport) else transport)
        self._ends_early = _TLS_ENDS_EARLY and self.peer.tls is not None and self._has_socket
        self.half_closes = self._transport.can_write_eof()
        _write_at_once(transport.get_extra_info("socket"))

    def eof_received(self) -> bool:
        stays = self._session.receive_eof(self)
        self.receive(b"")
        self.close_if_done()
        return stays and not self.lost

    def pause_writing(self) -> None:
        self.full = True
        self.update_reading()

    def resume_writing(self) -> None:
        self.full = False
        self._session.taken()
        self.update_reading()
        if self._draining is not None:
            self._draining.set_result(None)
            self._draining = None
        self._wake_senders()

    def connection_lost(self, error: Exception | None) -> None:
        self._writer = None
        self.record_loss(error)
        if self._draining is not None:
            self._draining.set_result(None)
            self._draining = None
        self._loses = True
        if not self._behind:
            self.lose()

    def lose(self) -> None:
        self._loses = False
        self._lost = True
        super().lose()
        self._wake_senders()
        self.gone.set_result(None)
        # Where the peer closed first, TLS transports of Python 3.10 think that they are still open.
        self._transport.close()

    # Downwards.

    def speak(self, http: Http1 | Http2) -> None:
        self._data_receiver = http._data_receiver
        super().speak(http)

    def receive(self, data: bytes | memoryview, begun: Begun | None = None) -> None:
        """Take bytes of the peer, which the core may have begun to take."""
        if begun is None or isinstance(self.http, Http1):
            events, reply = self.http.receive(data)
        else:
            events, reply = self.http._receive(data, begun)
        self._take(events, reply)  # type: ignore[arg-type]

    def catch_up(self) -> None:
        """Take what has waited for a turn of the loop; the core calls this, over HTTP/2."""
        assert not isinstance(self.http, Http1)
        self.go_on(*self.http._catch_up())

    def go_on(self, events: Sequence[tuple[Connection | None, Any]], reply: bytes) -> None:
        """Handle what has waited."""
        self._take(events, reply)  # type: ignore[arg-type]
        self.update_reading()
        self.close_if_done()

    def end_chunk(self, crowded: Sequence[WebSocket], replied: int, look: bool) -> None:
        """See to what a chunk has left to do; see `border.Transport`."""
        for websocket in crowded:
            # What has come since may have ended it.
            if websocket._paused:
                websocket._pause()
        replied = replied if self.full else 0
        if self._session.receive_chunk(self.loop.time(), crowded=bool(crowded), replied=replied) or look:
            self.update_reading()
        if self.multiplexed:
            self._wake_senders()
        self.close_if_done()

    def _wake_senders(self) -> None:
        for websocket in list(self.blocked_senders):
            websocket._wake_senders()

    # Upwards.

    def adopt(self, connection: Connection) -> WebSocket:
        """Make the WebSocket of a connection that has opened."""
        websocket = self.websocket_class(self, connection)
        if not self.multiplexed:
            self._only = connection
        self.add(websocket)
        log.opened(self, connection)
        return websocket

    @property
    def buffered(self) -> int:
        return 0 if self.lost else self._transport.get_write_buffer_size()

    @property
    def unsent(self) -> int:
        """How many bytes the peer has not taken yet, as far as is known."""
        if self.lost or self._transport.is_closing():
            return 0
        return self._transport.get_write_buffer_size() + _in_system(self._transport.get_extra_info("socket"))

    @property
    def is_reading(self) -> bool:
        return not self._behind and super().is_reading

    def new_waiter(self) -> asyncio.Future[Any]:
        return self.loop.create_future()

    def call_soon(self, call: Callable[[], None]) -> None:
        self.loop.call_soon(call)

    # Timers.

    def now(self) -> float:
        return self.loop.time()

    def arm(self) -> None:
        """Have `expire` called at the session's deadline, or before: one that moves later need not move the timer."""
        deadline = self._session.deadline
        if (deadline is None or deadline < self._wakes_at) and not self.loop.is_closed():
            self._timer = rearm(self._timer, self.loop, deadline, self.expire)
            self._wakes_at = math.inf if deadline is None else deadline

    def expire(self) -> None:
        self._timer, self._wakes_at = None, math.inf
        super().expire()

    def take_step(self, step: Step) -> None:
        match step:
            case Step.CLOSE:
                self._writer = None
                self._transport.close()
            case Step.LINGER:
                self._writer = None
                self._linger()
            case Step.CUT:
                self.cut()

    async def drained(self) -> None:
        while self.full and not self.lost:
            if self._draining is None:
                self._draining = self.loop.create_future()
            await asyncio.shield(self._draining)

    def update_reading(self) -> None:
        """Read the transport, or not, as the session wants; take its end if that has waited for what came before."""
        if self._loses and not self._behind:
            self.lose()
        if self.lost or self._transport.is_closing():
            return
        if self.is_reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # Ends.

    @property
    def transport(self) -> asyncio.Transport:
        """The transport. Whoever asks for it can end it or write to it, so all is written by its `write` from then on."""
        self._send = None
        return self._transport

    @property
    def lost(self) -> bool:
        """Whether the transport is gone, or its loop is closed, so that nothing can be done with it."""
        return self._lost or self.loop.is_closed() or (self._ends_early and not self._has_socket)

    @property
    def _has_socket(self) -> bool:
        return self._transport.get_extra_info("socket") is not None

    def left(self, websocket: DriverWebSocket) -> bool:
        return super().left(websocket) or self.loop.is_closed()

    @property
    def closing(self) -> bool:
        """Whether nothing more is written: `close` was called, or the transport has failed or is gone."""
        return self._writer is None

    def _linger(self) -> None:
        if self._transport.is_closing():
            return
        if self.half_closes:
            try:
                self._transport.write_eof()
            except OSError:
                # The peer was quicker, which the transport does not know yet.
                self._transport.abort()
                return
        self._transport.resume_reading()

    def cut(self) -> None:
        """End the transport at once."""
        if self._loses:
            self.lose()
        elif not self.lost:
            self._transport.abort()


def _write_at_once(sock: Any) -> None:
    """Have a TCP socket send each write at once, not when the peer has acknowledged the one before.

    asyncio does so for sockets that were made with the number of TCP alone.
    """
    if getattr(sock, "family", None) in (socket.AF_INET, socket.AF_INET6):
        # A transport that is lost already has no socket any more.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _send_of(transport: asyncio.BaseTransport) -> Callable[[Any], int] | None:
    """Return the `send` of a transport's socket, if the transport calls it first in each write when its write buffer is empty.

    asyncio's own transports do, without TLS. uvloop's collect the writes of a turn of the loop.
    """
    if type(transport).__module__ != "asyncio.selector_events":
        return None
    sock = getattr(transport.get_extra_info("socket"), "_sock", None)
    return getattr(sock, "send", None)


def _in_system(sock: Any) -> int:
    """How many bytes the system still keeps of what was written to a socket."""
    if sys.platform == "win32" or sock is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0
