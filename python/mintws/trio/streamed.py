"""One stream with what it carries: bytes from it to the connection, events to WebSockets, and bytes back."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from mintws._core import ReadyList
from mintws.connection import Connection
from mintws.drivers import log
from mintws.drivers.transport import numbers
from mintws.events import Peer
from mintws.http1 import Http1
from mintws.session import WRITE_HIGH, Step, TransportSession
from mintws.tls import Tls, TlsState
from mintws.trio.stream import Stream, aclose_now, address_of, end_cause
from mintws.trio.transport import TrioTransport
from mintws.trio.waiter import Waiter
from mintws.trio.websocket import WebSocket

if TYPE_CHECKING:
    from mintws.http2 import Http2

#: The most bytes that are read at a time, and decrypted before other tasks may run.
READ_SIZE = 64 * 1024
TLS_SIZE = 16 * 1024
#: The most bytes that are written in one call of the stream: how many have gone is known after each.
WRITE_SIZE = 64 * 1024
#: Seconds after which the transport reads again, if the task that receives does not.
LENT = 0.02
#: The unwritten bytes at which senders go on that wait for room.
WRITE_LOW = WRITE_HIGH // 4
#: The cost of what is decoded in one turn over HTTP/2: see `_core.DataReceiver.begin_turn`.
TURN = 1 << 20


class StreamTransport(TrioTransport):
    """A stream and its HTTP connection. A server's and a client's differ in what they make of the opening handshake.

    `run` carries bytes both ways: it writes, and has a task that reads and one that keeps the time.

    Args:
        stream: the stream, which is the transport's from then on.
        session: the rules of this side.
        tls: TLS whose handshake is done, if it is spoken on the stream.
        early: ciphertext that came with the end of the handshake.
    """

    __slots__ = (
        "__weakref__",
        "_alarm",
        "_drains",
        "_early",
        "_handed",
        "_last",
        "_later",
        "_left",
        "_needed",
        "_only",
        "_output",
        "_peer_ended",
        "_posted",
        "_reading",
        "_reads",
        "_resting",
        "_scope",
        "_send_now",
        "_session",
        "_sleeping",
        "_tls",
        "_token",
        "_unwritten",
        "blocked_senders",
        "closing",
        "error",
        "full",
        "gone",
        "half_closes",
        "heard",
        "http",
        "id",
        "lost",
        "multiplexed",
        "peer",
        "ready_list",
        "stream",
        "timeouts",
        "websockets",
        "written",
    )

    websockets: set[WebSocket]
    half_closes: bool
    closing: bool
    full: bool
    heard: int
    lost: bool
    written: int

    def __init__(self, stream: Stream, session: TransportSession, tls: Tls | None = None, early: bytes = b"") -> None:
        self.id = next(numbers)
        self.stream = stream
        self._session = session
        self._token = trio.lowlevel.current_trio_token()
        self.timeouts = session.timeouts
        self.peer = Peer(address_of(stream), None if tls is None else tls.ssl_object)
        #: None before it is known which version is spoken.
        self.http: Http1 | Http2 = None  # type: ignore[assignment]
        #: The connection that has the stream for itself.
        self._only: Connection | None = None
        self._tls = tls
        self._early = early
        self.websockets = set()
        self.blocked_senders: set[WebSocket] = set()
        self.ready_list = ReadyList()
        self.error: Exception | None = None
        self.gone = trio.Event()
        self.half_closes = tls is None and hasattr(stream, "send_eof")
        self.multiplexed = self.closing = self.lost = False
        self.heard = self.written = 0
        #: What waits to be written; how many bytes that are, with those of the call that is under way; whether they are too many.
        self._output = bytearray()
        self._unwritten = 0
        self.full = False
        self._send_now = getattr(stream, "send_now", None)
        #: The WebSockets whose frames are written in the next turn.
        self._posted: list[WebSocket] = []
        #: What is called when what has come is handled.
        self._later: list[Callable[[], None]] = []
        self._peer_ended = False
        #: The stream is to be read.
        self._reads = True
        #: A task reads, be it the transport's or the one that receives; that one has been given what it waited for, and may read on.
        self._reading = self._handed = False
        #: The task that receives reads no more; somebody waits for what the peer sends who does not read.
        self._left = trio.Event()
        self._needed = trio.Event()
        #: How the transport ends, once it does.
        self._last: Step | None = None
        #: The tasks that wait: the writer for bytes, the reader for room.
        self._sleeping: trio.lowlevel.Task | None = None
        self._resting: trio.lowlevel.Task | None = None
        #: The tasks that wait for room for a response.
        self._drains = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._alarm = trio.CancelScope()

    async def begin_in(self, nursery: trio.Nursery, *, shield: bool) -> None:
        """Have a nursery run it; see `run`.

        Raises:
            RuntimeError: the nursery is closed; so is the stream then.
        """
        try:
            nursery.start_soon(partial(self.run, shield=shield))
        except BaseException:
            await aclose_now(self.stream)
            raise

    async def run(self, *, shield: bool = False) -> None:
        """Carry bytes both ways until the transport is gone.

        Args:
            shield: whether only `cut` ends it before its time, not a cancelled scope outside.
        """
        self._scope.shield = shield
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._keep_time)
                    nursery.start_soon(self._read)
                    await self._write()
                    nursery.cancel_scope.cancel()
                await self._aclose()
        finally:
            self._send_last()
            self.lose()
            await aclose_now(self.stream)

    async def _aclose(self) -> None:
        """Close the stream, which may have something to say to the peer."""
        with trio.move_on_after(self.timeouts.close_timeout):
            try:
                await self.stream.aclose()
            except Exception as error:
                self._note(error)

    # Downwards.

    async def _read(self) -> None:
        """Read until the peer has ended its half."""
        if self._tls is not None and self._early:
            early, self._early = self._early, b""
            await self._decrypt(self._tls, early)
        while not self._peer_ended:
            while not self._reads:
                self._resting = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_resting)
            if self._handed or self._reading:
                await self._lend()
                continue
            data = await self._receive_some()
            if data is None:
                return
            if self._tls is not None:
                await self._decrypt(self._tls, data)
            elif data and self._only is not None:
                self.go_on(*self._only.receive(data))
            else:
                await self._take(data)

    async def _receive_some(self) -> bytes | bytearray | None:
        """Read as the only task that does; `None` if the stream has failed."""
        self._reading = True
        try:
            data = await self.stream.receive_some(READ_SIZE)
        except Exception as error:
            if not self.lost:
                self._note(error)
            self._peer_ended = True
            self.cut()
            return None
        finally:
            self._reading = False
        self.heard += 1
        return data

    async def read_here(self) -> bool:
        if not self._lends or self._reading or self._peer_ended or self.lost:
            return False
        if not self._reads:
            self.read_on()
            return False
        try:
            data = await self._receive_some()
        finally:
            self._left.set()
        if data and self._only is not None:
            self.go_on(*self._only.receive(data))
        elif data is not None:
            self._receive_eof()
        return True

    @property
    def _lends(self) -> bool:
        """Whether the task that receives may read by itself: it need not be woken then, and a socket loses nothing if it is cancelled."""
        return self._only is not None and self._tls is None and self._send_now is not None

    async def _lend(self) -> None:
        """Leave reading to the task that receives, until it has not done so for a while, or somebody waits for something else."""
        self._handed = False
        while not self._peer_ended:
            with trio.move_on_after(LENT):
                await self._needed.wait()
            if not self._reading:
                self._needed = trio.Event()
                return
            self._left = trio.Event()
            await self._left.wait()

    def read_on(self) -> None:
        self._needed.set()

    async def _decrypt(self, tls: Tls, ciphertext: bytes | bytearray) -> None:
        """Take ciphertext, a part at a time: a peer may have each of many small records cost much."""
        closed = tls.state is TlsState.CLOSED
        for start in range(0, len(ciphertext) or 1, TLS_SIZE):
            if start:
                await trio.lowlevel.checkpoint()
            plaintext, reply = tls.receive(bytes(ciphertext[start : start + TLS_SIZE]))
            self._put(reply)
            if plaintext:
                await self._take(plaintext)
        if tls.end is None or self._peer_ended:
            return
        if not (closed or isinstance(tls.end, ssl.SSLZeroReturnError)):
            # What was not said with close_notify may be missing (RFC 8446 §6.1).
            self._note(tls.end)
        await self._take(b"")

    async def _take(self, data: bytes | bytearray) -> None:
        """Take bytes, or none where the peer has ended its half, in as many turns as that needs."""
        if not data:
            self._receive_eof()
            return
        self.receive(data)
        while self.multiplexed and self.behind:
            await trio.lowlevel.checkpoint()
            self.catch_up()

    def _receive_eof(self) -> None:
        """Take the end of the peer's half."""
        self._peer_ended = True
        stays = self._session.receive_eof(self)
        if self.error is not None:
            # What has come may not be all.
            self.cut()
            return
        self.receive(b"")
        self.close_if_done()
        if not stays and self._last is None:
            self._stop_writing()
            self._last = Step.CLOSE
        self._wake_writer()

    def receive(self, data: bytes | bytearray) -> None:
        """Take bytes of the peer."""
        if self._only is not None and data:
            self.go_on(*self._only.receive(data))
            return
        if self.multiplexed:
            self._begin_turn()
        self.go_on(*self.http.receive(data))

    def catch_up(self) -> None:
        """Take what has waited for a turn, over HTTP/2."""
        self._begin_turn()
        self.go_on(*self.http._catch_up())  # type: ignore[union-attr]

    @property
    def behind(self) -> bool:
        """Whether some of what has come waits for a later turn, over HTTP/2."""
        return bool(self.http._data_receiver.behind)  # type: ignore[union-attr]

    def _begin_turn(self) -> None:
        self.http._data_receiver.begin_turn(TURN)  # type: ignore[union-attr]

    def go_on(self, events: Sequence[tuple[Connection | None, Any]], reply: bytes) -> None:
        if reply:
            self.write(reply)
        if events:
            self.handle(events)
            self._call_later()
        crowded = self._wake_readers()
        if events or reply or crowded or self.full or self.multiplexed:
            self._end_chunk(crowded, len(reply) if self.full else 0)
        if not self._reads:
            self.update_reading()

    def _end_chunk(self, crowded: bool, replied: int) -> None:
        """See to what a chunk has left to do; there is nothing if it had but messages."""
        self._session.receive_chunk(self.now(), crowded=crowded, replied=replied)
        self.update_reading()
        if self.multiplexed:
            self._wake_senders()
        self.close_if_done()

    def adopt(self, connection: Connection) -> WebSocket:
        """Make the WebSocket of a connection that has opened."""
        websocket = WebSocket(self, connection)
        if not self.multiplexed:
            self._only = connection
        self.add(websocket)
        log.opened(self, connection)
        return websocket

    def new_waiter(self) -> Waiter[Any]:
        return Waiter()

    def call_soon(self, call: Callable[[], None]) -> None:
        self._later.append(call)
        self._wake_writer()

    def _call_later(self) -> None:
        later, self._later = self._later, []
        for call in later:
            call()

    async def drained(self) -> None:
        while self.full and not self.lost:
            await self._drains.park()

    def update_reading(self) -> None:
        self._reads = self.is_reading
        if self._reads and self._resting is not None:
            task, self._resting = self._resting, None
            trio.lowlevel.reschedule(task)

    def wake(self) -> None:
        self._wake_readers()

    def _wake_readers(self) -> bool:
        """Wake the tasks whose messages have come, or whose WebSockets have ended; return whether a WebSocket has too many."""
        crowded = False
        for websocket in self.ready_list.drain():
            if websocket._paused:
                websocket._pause()  # type: ignore[attr-defined]
                crowded = True
            if websocket._wake_reader() and self._lends:  # type: ignore[attr-defined]
                self._handed = True
        return crowded

    def _wake_senders(self) -> None:
        for websocket in list(self.blocked_senders):
            websocket._wake_senders()

    # Upwards.

    def write(self, data: bytes | memoryview) -> None:
        if not data or self.closing:
            return
        self.written += len(data)
        tls = self._tls
        if tls is None:
            self._put(data)
        elif tls.state is TlsState.OPEN:
            try:
                encrypted = tls.send(data)
            except ssl.SSLError as error:
                self._note(error)
                self.cut()
            else:
                self._put(encrypted)

    def _put(self, data: bytes | memoryview) -> None:
        """Write bytes as they are; over HTTP/1.1 the system takes them at once if it can."""
        if not (self._unwritten or self.multiplexed or self._send_now is None) and data:
            try:
                sent = self._send_now(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._note(error)
                self.cut()
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        if data:
            self._output += data
            self._unwritten += len(data)
            if self._unwritten > WRITE_HIGH and not self.full:
                self.full = True
                self.update_reading()
            self._wake_writer()

    def check_run(self) -> None:
        if self.lost:
            # Nothing is written.
            return
        try:
            token = trio.lowlevel.current_trio_token()
        except RuntimeError:
            token = None
        if token is not self._token:
            raise RuntimeError(
                "the WebSocket belongs to another run of trio: call it there, by trio.from_thread.run_sync()"
            )

    def post(self, websocket: WebSocket) -> None:
        self._posted.append(websocket)
        self._wake_writer()

    def _flush_posted(self) -> None:
        posted, self._posted = self._posted, []
        for websocket in posted:
            websocket._flush()

    def _wake_writer(self) -> None:
        task, self._sleeping = self._sleeping, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def _write(self) -> None:
        """Write until nothing more is to be written, and the stream can be closed."""
        told = False
        while True:
            self._flush_posted()
            self._call_later()
            if self._output:
                if not await self._write_output():
                    return
            elif self._says_last:
                self._put(self._tls.close())  # type: ignore[union-attr]
            elif self.closing and (self._peer_ended or (self._last is Step.CLOSE and self._tls is None)):
                return
            elif self._last is not None and not told and (self._tls is None or self._last is Step.CLOSE):
                told = True
                await self._end_half()
            else:
                self._sleeping = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_sleeping)

    @property
    def _says_last(self) -> bool:
        """Whether close_notify is due: nothing more is written over TLS."""
        if self._tls is None or self._tls.state is not TlsState.OPEN:
            return False
        return self._last is Step.CLOSE or (self.closing and self._peer_ended)

    async def _write_output(self) -> bool:
        """Write what waits; return whether the stream takes it."""
        output, self._output = self._output, bytearray()
        with memoryview(output) as rest:
            for start in range(0, len(rest), WRITE_SIZE):
                with rest[start : start + WRITE_SIZE] as piece:
                    try:
                        await self.stream.send_all(piece)
                    except Exception as error:
                        self._note(error)
                        self.cut()
                        return False
                    self._unwritten -= len(piece)
                if self._unwritten <= WRITE_LOW:
                    self._have_room()
        return True

    def _have_room(self) -> None:
        """Go on with what waits for room: the peer takes what is written."""
        self._session.taken()
        if self.full:
            self.full = False
            self._drains.unpark_all()
            self.update_reading()
            self._wake_senders()

    async def _end_half(self) -> None:
        """Write no more, and read, and discard, what still comes."""
        if hasattr(self.stream, "send_eof"):
            try:
                await self.stream.send_eof()
            except Exception as error:
                # The peer was quicker.
                self._note(error)
                self.cut()

    def _send_last(self) -> None:
        """Write what the system takes at once of what is left, as the transport is cut."""
        if self._send_now is None or self._unwritten > len(self._output):
            # Nothing is written after what was not written whole: the peer would take it for the rest of that.
            return
        try:
            while self._output:
                del self._output[: self._send_now(self._output)]
        except (BlockingIOError, InterruptedError):
            # The rest is lost.
            return
        except OSError as error:
            self._note(error)

    @property
    def buffered(self) -> int:
        return 0 if self.lost else self._unwritten

    @property
    def unsent(self) -> int:
        """How many bytes the peer has not taken yet, as far as is known."""
        if self.lost:
            return 0
        return self._unwritten + int(getattr(self.stream, "untaken", 0))

    # Timers.

    def arm(self) -> None:
        deadline = self._session.deadline
        if deadline is not None and deadline < self._alarm.deadline:
            self._alarm.deadline = deadline

    async def _keep_time(self) -> None:
        """Call `expire` at each deadline of the session."""
        while True:
            with trio.CancelScope(deadline=self.next_deadline) as self._alarm:
                await trio.sleep_forever()
            self.expire()

    def take_step(self, step: Step) -> None:
        match step:
            case Step.CUT:
                self.cut()
            case Step.CLOSE | Step.LINGER:
                self._stop_writing()
                self._last = step
                self._wake_writer()
                self.update_reading()

    # The tasks.

    def _stop_resting(self, _: Any) -> trio.lowlevel.Abort:
        self._resting = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _stop_sleeping(self, _: Any) -> trio.lowlevel.Abort:
        self._sleeping = None
        return trio.lowlevel.Abort.SUCCEEDED

    # Ends.

    def _note(self, error: Exception) -> None:
        """Keep what ended the transport."""
        self.record_loss(end_cause(error))

    def cut(self) -> None:
        self._flush_posted()
        self._stop_writing()
        self._scope.cancel()

    def _stop_writing(self) -> None:
        """Write nothing more that is not written yet."""
        self.closing = True
        for websocket in self.websockets:
            websocket._blocked = True

    def lose(self) -> None:
        self.lost = self.closing = True
        self.record_loss(None)
        super().lose()
        self._drains.unpark_all()
        self._wake_senders()
        self.gone.set()
