"""One transport with what it carries: bytes from it to the connection, events to WebSockets, and bytes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from mintws.asyncio.websocket import Arrival, WebSocket
from mintws.connection import Connection
from mintws.events import Binary, Close, Failed, Pong, State, Text
from mintws.http1 import Http1
from mintws.http2 import Http2

#: The most bytes that are read at a time: more would leave the processor's cache before they are decoded.
READ_SIZE = 256 * 1024

_MESSAGES = frozenset({Text, Binary})

#: What is read is used up before the next read, so one buffer serves all connections of a loop.
_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for the peer, in seconds; `None` is without end.

    Attributes:
        open_timeout: for the opening handshake.
        close_timeout: for the peer's half of the closing handshake.
        ping_interval: between two Pings of the keepalive; `None` sends none.
        ping_timeout: for the Pong of the keepalive's Ping; `None` does not mind.
    """

    open_timeout: float | None = 10.0
    close_timeout: float = 10.0
    ping_interval: float | None = 20.0
    ping_timeout: float | None = 20.0


class Link(asyncio.BufferedProtocol):
    """A transport and its HTTP connection. A server's and a client's differ in what they make of the opening handshake."""

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_close_timer",
        "_corked",
        "arrivals",
        "eager",
        "full",
        "gone",
        "http",
        "loop",
        "lost",
        "multiplexed",
        "receiving",
        "timing",
        "transport",
        "websockets",
    )

    http: Http1 | Http2

    def __init__(self, loop: asyncio.AbstractEventLoop, timing: Timing) -> None:
        self.loop = loop
        self.timing = timing
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        #: Many WebSockets share the transport.
        self.multiplexed = False
        #: The transport is gone.
        self.lost = False
        #: The transport has more to write than it likes.
        self.full = False
        #: A send may be written at once: something has come since the last.
        self.eager = True
        #: A chunk is being handled; what is sent meanwhile is written behind it.
        self.receiving = False
        #: Readers for whom something has come.
        self.arrivals: list[Arrival] = []
        self.websockets: set[WebSocket] = set()
        self.gone: asyncio.Future[None] | None = None
        #: Connections with frames that wait to be written together.
        self._corked: list[Connection] = []
        self._close_timer: asyncio.TimerHandle | None = None
        buffer = _buffers.get(loop)
        if buffer is None:
            buffer = _buffers[loop] = memoryview(bytearray(READ_SIZE))
        self._buffer = buffer

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.receive(self._buffer[:nbytes])

    def eof_received(self) -> bool:
        self.receive(b"")
        # The transport stays open for what is still to be written; `check_done` closes it.
        return not self.transport.get_extra_info("ssl_object") and not self.lost

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        for websocket in list(self.websockets):
            websocket.relieve()

    def connection_lost(self, error: Exception | None) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
        if hasattr(self, "http"):
            events, _ = self.http.receive(b"")
            self.lost = True
            self.handle(events)
            self.wake()
        self.lost = True
        for websocket in list(self.websockets):
            websocket.finish()
        self.websockets.clear()
        if self.gone is not None and not self.gone.done():
            self.gone.set_result(None)

    # Downwards.

    def receive(self, data: bytes | memoryview) -> None:
        """Take bytes of the peer."""
        events, reply = self.http.receive(data)
        if reply:
            self.transport.write(reply)
        self.receiving = True
        try:
            self.handle(events)
            self.wake()
        finally:
            self.receiving = False
            self.eager = True
            if self._corked:
                self.flush()
        if self.multiplexed:
            for websocket in self.websockets:
                if websocket._drain is not None:
                    websocket.relieve()
        if not self.http.reading:
            self.update_reading()
        if not events or type(events[-1][1]) not in _MESSAGES:
            self.close_if_done()

    def handle(self, events: Sequence[tuple[Connection | None, Any]]) -> None:
        """Bring events to those whom they concern."""
        for connection, event in events:
            kind = type(event)
            if kind is Text or kind is Binary:
                connection.owner.deliver(event)  # type: ignore[union-attr]
            elif connection is None:
                self.receive_ordinary(event)
            elif kind is Pong:
                connection.owner.pong(event.data)
            elif (kind is Close or kind is Failed) and isinstance(connection.owner, WebSocket):
                connection.owner.end(event)
                self.check_done(connection.owner)
            else:
                self.receive_handshake(connection, event)

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        """Take an event of the opening handshake."""
        raise NotImplementedError

    def receive_ordinary(self, event: Any) -> None:
        """Take an event that concerns no WebSocket."""

    def wake(self) -> None:
        """Let readers go on for whom something has come: at once, unless another task is running."""
        arrivals, self.arrivals = self.arrivals, []
        for arrival in arrivals:
            if asyncio.current_task(self.loop) is None:
                arrival.wake()
            else:
                self.loop.call_soon(arrival.wake)

    def proceed(self) -> None:
        """Handle what was held until an answer was given."""
        events, reply = self.http.proceed()
        self.write(reply)
        self.handle(events)
        self.wake()
        self.update_reading()

    # Upwards.

    def adopt(self, connection: Connection) -> WebSocket:
        """Make the WebSocket of a connection that has opened."""
        websocket = WebSocket(self, connection)
        connection.cork()
        self.websockets.add(websocket)
        websocket.start_keepalive(self.timing)
        return websocket

    def write(self, data: bytes) -> None:
        """Write what is due."""
        if data and not self.lost:
            self.transport.write(data)

    def write_all(self, data: list[Any]) -> None:
        """Write buffers behind each other."""
        if data and not self.lost:
            self.transport.writelines(data)

    def flush_soon(self, connection: Connection) -> None:
        """Write what is collected at the end of the loop's turn."""
        if not self._corked and not self.receiving:
            self.loop.call_soon(self.flush)
        if connection not in self._corked:
            self._corked.append(connection)

    def flush_one(self, connection: Connection) -> None:
        """Write what one connection has collected, now."""
        self.write(connection.flush())

    def flush(self) -> None:
        """Write all that is collected."""
        if self._corked:
            corked, self._corked = self._corked, []
            self.write(b"".join([connection.flush() for connection in corked]))

    def update_reading(self) -> None:
        """Read the transport, or not, as the connection wants."""
        if self.lost or self.transport.is_closing():
            return
        if self.http.reading:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    # Ends.

    def check_done(self, websocket: WebSocket) -> None:
        """Let go of a WebSocket whose closing handshake is done, and of the transport if that was all."""
        if websocket.connection.state is not State.CLOSED:
            return
        if self.multiplexed and websocket in self.websockets:
            self.websockets.discard(websocket)
            websocket.finish()
            if not websocket.connection.carrier.done:
                # The peer is to end the stream too; if it does not, the stream is reset.
                self.loop.call_later(self.timing.close_timeout, self._reset, websocket.connection)
        self.close_if_done()

    def left(self, websocket: WebSocket) -> bool:
        """Whether a WebSocket has been let go."""
        return websocket not in self.websockets

    def close_if_done(self) -> None:
        """Close the transport if the connection says so; a client waits for the server to do it, a while."""
        if self.lost or self.transport.is_closing():
            return
        if self.http.done:
            self.transport.close()
            self._limit_close()
        elif not self.multiplexed and any(it.connection.state is State.CLOSED for it in self.websockets):
            self._limit_close()

    def abort(self, websocket: WebSocket) -> None:
        """End a WebSocket without a closing handshake."""
        if self.multiplexed:
            self.write(websocket.connection.abort())
            if websocket in self.websockets:
                self.websockets.discard(websocket)
                websocket.finish()
        elif not self.lost:
            self.transport.abort()

    def _reset(self, connection: Connection) -> None:
        if not connection.carrier.done:
            self.write(connection.abort())

    def _limit_close(self) -> None:
        """Bound the time until the transport is gone: the peer may never read, or never close."""
        if self._close_timer is None:
            self._close_timer = self.loop.call_later(self.timing.close_timeout, self.transport.abort)
