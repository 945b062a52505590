"""One socket with what it carries: bytes from it to the connection, events to WebSockets, and bytes back."""

from __future__ import annotations

import math
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mintws import _core
from mintws.connection import Connection
from mintws.drivers import log
from mintws.drivers.transport import numbers
from mintws.events import Peer
from mintws.http1 import Http1
from mintws.session import WRITE_HIGH, Step, TlsTimeouts, TransportSession, earliest
from mintws.sync.background import READ, WRITE, background
from mintws.sync.parking import Parking
from mintws.sync.transport import Outcome, ThreadTransport
from mintws.sync.websocket import WebSocket
from mintws.tls import Tls, TlsState

if TYPE_CHECKING:
    from mintws.http2 import Http2
    from mintws.session import DriverWebSocket

if sys.platform != "win32":
    import fcntl
    import termios


#: Seconds after which the background reads a socket that a thread of the application has read itself, and no longer reads; and one of
#: HTTP/2, on which a stream may be opened meanwhile.
UNATTENDED = 0.25
STREAMS_UNATTENDED = 0.02


class SocketTransport(_core.SocketBase, ThreadTransport):
    """A connected socket, over TLS or not, with its HTTP connection. A server's and a client's differ in the opening handshake.

    A thread that waits for a message reads the socket itself, if it carries one WebSocket, or no other thread waits for what it carries; at
    all other times the background does.

    Args:
        sock: the socket, which is the transport's from now on.
        session: the rules.
        tls: one side of TLS, whose handshake comes first.
        handshake_timeout: seconds for that; `None` is no limit.
    """

    websockets: set[WebSocket]
    half_closes: bool
    lost: bool
    multiplexed: bool

    #: Whether what the peer sends after a fault of TLS is read for a while, so that the alert reaches it.
    lingers_after_fault: bool

    def __init__(
        self,
        sock: socket.socket,
        session: TransportSession,
        tls: Tls | None,
        handshake_timeout: float | None,
    ) -> None:
        self.id = next(numbers)
        self.parking = Parking()
        self.websockets = set()
        self.timeouts = session.timeouts
        self.multiplexed = self.lost = False
        self.half_closes = tls is None
        self.error: Exception | None = None
        self.expires_at = math.inf
        self._session = session
        self._sock = sock
        self._tls = tls
        self._tls_timeouts = TlsTimeouts(self.now(), handshake_timeout, self.timeouts.close_timeout)
        if tls is None:
            self._tls_timeouts.stop()
        #: Who waits for room among the bytes that the system has not taken yet.
        self._room: list[Outcome[None]] = []
        self._peer_ended = False
        #: How the transport ends, once it does, and whether our half has.
        self._last: Step | None = None
        self._half_ended = False
        self._soon: list[Callable[[], None]] = []
        _prepare(sock)
        self._attach(descriptor=sock.fileno())
        self.peer = Peer(address_of(sock.getpeername), None if tls is None else tls.ssl_object)

    # What a subclass has.

    def connected(self) -> None:
        """Begin: the handshake of TLS, if there is one, is done."""
        raise NotImplementedError

    def failed(self, error: Exception) -> None:
        """Handle that the handshake of TLS failed."""
        raise NotImplementedError

    # What threads of the application call.

    def start(self, early: bytes = b"") -> None:
        """Begin to read and write; `early` has been read already."""
        with self.lock:
            # What the background reads waits for the lock: nothing may come before `connected`.
            background().add(self)
            if self._tls is None:
                self.connected()
            else:
                self._put(self._tls.start())
                if self._tls.end is not None:
                    self._fail_handshake(self._tls.end)
            if early:
                self._receive_chunk(early)
            self.arm()

    def attend(self) -> None:
        if self._follow() or self.buffered:
            background().watch(self)

    def new_waiter(self) -> Outcome[Any]:
        return Outcome(self.parking)

    def call_soon(self, call: Callable[[], None]) -> None:
        self._soon.append(call)

    def run_soon(self) -> None:
        while self._soon:
            self._soon.pop(0)()

    def leave_to_background(self, call: Callable[[], None]) -> None:
        self._soon.append(call)
        background().watch(self)

    def withdraw(self, call: Callable[[], None]) -> None:
        with suppress(ValueError):
            self._soon.remove(call)

    async def drained(self) -> None:
        while self.full and not self.lost:
            room: Outcome[None] = self.new_waiter()
            self._room.append(room)
            await room

    # What the background calls.

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def interest(self) -> int:
        """The events that the background is to wait for."""
        if self.lost:
            return 0
        return (READ if self._reading and not self._was_led else 0) | (WRITE if self.buffered else 0)

    @property
    def attended(self) -> float | None:
        """Seconds until this is to be asked again, if a thread of the application has begun to read since the last time."""
        if not self._is_attended():
            return None
        return STREAMS_UNATTENDED if self.multiplexed else UNATTENDED

    @property
    def ended(self) -> bool:
        return self.lost

    def process(self, events: int) -> None:
        with self.lock:
            if events & WRITE and not self.lost:
                self._write_waiting()
            self._handle_left()
            if events & READ and not (self.lost or self._is_led):
                data = self._read()
                if data is not None:
                    self._receive_chunk(data)

    def expire(self) -> None:
        with self.lock:
            self.expires_at = math.inf
            if self._tls_timeouts.expire(self.now()):
                if self._tls is not None and self._tls.state is TlsState.HANDSHAKE and self.error is None:
                    late = f"the TLS handshake did not end within {self._tls_timeouts.handshake_timeout:g} s"
                    self.failed(TimeoutError(late))
                self.cut()
            super().expire()
            self.run_soon()
            self.arm()
            # Something of the peer may be waited for, such as a Pong.
            self.attend()

    def close_socket(self) -> bool:
        if self._is_led:
            return False
        self._sock.close()
        # What wakes a leader has descriptors too.
        self._decode_by(None)
        return True

    # What the core calls.

    def led(self) -> None:
        self.attend()
        background().watch(self)

    def watch(self) -> None:
        background().watch(self)

    def stop_writing(self, error: OSError) -> None:
        """Handle that nothing more can be written. What the peer has sent before is still to be read, up to its end."""
        self.record_loss(error)
        self.update_reading()
        self._offer_write_room()
        self.wake()
        self.led()
        self._settle()

    def fail(self, error: BaseException) -> None:
        if isinstance(error, ssl.SSLWantReadError):
            # What is to be sent would have to wait for another handshake.
            error = ssl.SSLError("the server renegotiates TLS while data is sent: set ssl.OP_NO_RENEGOTIATION")
        if not isinstance(error, ssl.SSLError):
            # What the peer can decrypt ends here.
            self.cut()
            raise error
        self._lose_with(error)

    # Downwards.

    def _handle_left(self) -> None:
        """Handle what threads of the application have read, beside messages, and have left to be done."""
        self._encrypt_left()
        if not self.buffered:
            self._wake_senders()
            self._settle()
        events, end, replied, resumes, begun = self._take_left()
        if resumes:
            for websocket in list(self.websockets):
                if websocket._take_resume():
                    websocket._resume()
        if begun is not None:
            assert not isinstance(self.http, Http1)
            self.go_on(*self.http._receive(*begun))
        elif events is not None or replied or not self.ready_list.empty:
            self._take(events or [], replied)
        self.run_soon()
        if end is not None and not self.lost:
            if self._tls is not None and isinstance(end, ssl.SSLError):
                self._tls.receive_end(end)
                self._receive_tls_end(self._tls)
                self._settle()
            else:
                self._receive_chunk(end)

    def _receive_chunk(self, data: bytes | Exception) -> None:
        """Take what was read: bytes, their end, or an error."""
        if isinstance(data, Exception):
            if self._tls is not None and self._tls.state is TlsState.HANDSHAKE:
                self.failed(data)
            self._lose_with(data)
        elif self._tls is not None:
            self._receive_ciphertext(self._tls, data)
        elif data:
            self.receive(data)
        else:
            self._receive_eof()
        self.run_soon()
        self._settle()

    def _receive_ciphertext(self, tls: Tls, data: bytes) -> None:
        if tls.end is not None and self._last is Step.LINGER:
            # After a fault only the end of the peer's bytes matters.
            self._peer_ended = not data
            self.update_reading()
            return
        if tls.state is TlsState.HANDSHAKE:
            if data:
                reply, data = tls.shake_hands(data)
                self._put(reply)
            else:
                tls.receive_eof()
            if not self._has_shaken_hands(tls) or not data:
                return
        plaintext, reply = tls.receive(data)
        self._put(reply)
        if plaintext and not (self._peer_ended or self.lost):
            self.receive(plaintext)
        self._receive_tls_end(tls)

    def _has_shaken_hands(self, tls: Tls) -> bool:
        """Begin, if the handshake is done now; return whether it is."""
        if tls.end is not None:
            self._fail_handshake(tls.end)
        elif tls.state is TlsState.OPEN:
            self._tls_timeouts.stop()
            self._attach(records=tls.records, plaintext=tls.plaintext)
            self.connected()
            return True
        return False

    def _receive_tls_end(self, tls: Tls) -> None:
        if tls.end is None or self._peer_ended or self.lost:
            return
        if isinstance(tls.end, ssl.SSLZeroReturnError):
            self._receive_eof()
        else:
            self._fail(tls.end)

    def _fail_handshake(self, error: Exception) -> None:
        self.failed(error)
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End the transport for a fault of TLS, of which an alert has told the peer."""
        if not self.lingers_after_fault or isinstance(error, ssl.SSLEOFError):
            self._lose_with(error)
            return
        self.error = error.with_traceback(None)
        self.closing, self._last = True, Step.LINGER
        self._tls_timeouts.linger(self.now())
        self.arm()
        self._settle()

    def _receive_eof(self) -> None:
        """Take the end of what the peer sends."""
        self._peer_ended = True
        self._reading = False
        background().watch(self)
        stays = self._session.receive_eof(self)
        if self._unwritable or not self.closing:
            self.receive(b"")
            self.close_if_done()
        if (self._unwritable or not (stays and self.speaks)) and not self.lost and self._last is None:
            self.take_step(Step.CLOSE)

    def speak(self, http: Http1 | Http2) -> None:
        self._decode_by(http._data_receiver)
        super().speak(http)

    def receive(self, data: bytes) -> None:
        """Take plaintext of the peer; empty if it has ended its half."""
        if self.speaks:
            self.go_on(*self.http.receive(data))

    def go_on(self, events: Sequence[tuple[Connection | None, Any]], reply: bytes) -> None:
        self.write(reply)
        self._take(events, len(reply))

    def _take(self, events: Sequence[tuple[Connection | None, Any]], replied: int) -> None:
        """Take events, and look at the queues of their messages, after a reply of so many bytes."""
        if events:
            self.handle(events)
        crowded = False
        for queue in self.ready_list.drain():
            assert isinstance(queue, WebSocket)
            if queue._paused:
                crowded = True
                queue._pause()
            queue._wake()
        self._session.receive_chunk(self.now(), crowded=crowded, replied=replied if self.full else 0)
        self.update_reading()
        self.close_if_done()
        if self.multiplexed:
            self._wake_senders()
        else:
            self._wake_readers()

    def _wake_readers(self) -> None:
        """Have threads that wait for a message look whether they can read the socket themselves."""
        for websocket in self.websockets:
            websocket._wake()

    def _wake_senders(self) -> None:
        for websocket in self.websockets:
            if websocket._blocked_senders:
                websocket._parking.wake()

    # Upwards.

    def adopt(self, connection: Connection) -> WebSocket:
        websocket = WebSocket(self, connection)
        if websocket._is_traced:
            # What is logged is to be logged before a reader has it.
            self._decode_by(None)
        elif not self.multiplexed:
            self._decode_by(connection)
        self.add(websocket)
        log.opened(self, connection)
        return websocket

    @property
    def full(self) -> bool:
        return self.buffered > WRITE_HIGH

    @property
    def unsent(self) -> int:
        """How many bytes the peer has not taken yet, as far as is known."""
        return 0 if self.lost else self.buffered + _in_system(self._sock)

    def _write_waiting(self) -> None:
        """Write what has waited."""
        was_full = self.full
        if not self._push():
            return
        if was_full and not self.full:
            self._session.taken()
            self.update_reading()
            self._offer_write_room()
        if not self.buffered:
            self._wake_senders()
            self._settle()

    def _offer_write_room(self) -> None:
        room, self._room = self._room, []
        for waiting in room:
            waiting.set_result(None)

    def update_reading(self) -> None:
        reading = not self._peer_ended and (self._unwritable or self.is_reading)
        if reading is not self._reading:
            self._reading = reading
            background().watch(self)

    # Time.

    def arm(self) -> None:
        deadline = earliest(self._session.deadline, self._tls_timeouts.deadline)
        if deadline is not None and deadline < self.expires_at:
            self.expires_at = deadline
            background().schedule(self)

    # Ends.

    def take_step(self, step: Step) -> None:
        if step is Step.CUT:
            self.cut()
        elif step is not Step.LET_GO:
            self.closing, self._last = True, step
            self.update_reading()
            self._settle()

    def _settle(self) -> None:
        """Go on with the end of the transport, as far as what is written lets it."""
        if self.lost or self._last is None or self.buffered:
            return
        tls = self._tls
        if self._last is Step.CLOSE and tls is not None and tls.state is TlsState.OPEN:
            self._put(tls.close())
            if self.buffered:
                return
        if tls is None and self._last is Step.CLOSE:
            self._finish()
            return
        # Over TLS a peer that lingers is not told.
        if not self._half_ended and (tls is None or tls.state is TlsState.CLOSED):
            self._half_ended = True
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        if self._peer_ended or (tls is not None and tls.end is not None and self._last is Step.CLOSE):
            self._finish()

    def _lose_with(self, error: Exception) -> None:
        """End the transport for an error."""
        self.record_loss(error)
        self._finish()

    def cut(self) -> None:
        with self.lock:
            self._finish()

    def _finish(self) -> None:
        """End the transport now."""
        if self.lost:
            return
        self.lost = self.closing = True
        self._reading = False
        self._drop_output()
        self._tls_timeouts.stop()
        self.record_loss(None)
        with suppress(OSError):
            # A thread that reads it gets its end.
            self._sock.shutdown(socket.SHUT_RDWR)
        try:
            self._offer_write_room()
            self.lose()
        finally:
            # Its leader, if it has one, has to go before it is closed.
            self._follow()
            background().watch(self)

    def wake(self) -> None:
        self.parking.wake()
        for websocket in self.websockets:
            websocket._wake()

    def let_go(self, websocket: DriverWebSocket) -> None:
        super().let_go(websocket)
        self.parking.wake()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        tls = self.peer.tls
        match name:
            case "peername":
                return self.peer.address
            case "socket":
                return self._sock
            case "sockname":
                return address_of(self._sock.getsockname)
            case "ssl_object" if tls is not None:
                return tls
            case "sslcontext" if tls is not None:
                return tls.context
            case "peercert" if tls is not None:
                return tls.getpeercert()
            case "cipher" if tls is not None:
                return tls.cipher()
        return default


def _prepare(sock: socket.socket) -> None:
    """Have a socket block, where single calls can do without, and send each write at once."""
    sock.setblocking(_core.CAN_LEAD)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        # One that is lost already has no options any more.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def address_of(getter: Callable[[], Any]) -> Any:
    """Give the address that a method of a socket tells, or `None` for one that is lost already."""
    try:
        return getter()
    except OSError:
        return None


def _in_system(sock: socket.socket) -> int:
    """How many bytes the system still keeps of what was written to a socket."""
    if sys.platform == "win32":
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0
