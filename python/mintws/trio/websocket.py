"""One WebSocket as tasks see it."""

from __future__ import annotations

import contextlib
import math
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from mintws import _core
from mintws.connection import Connection
from mintws.drivers.broadcast import Fates
from mintws.drivers.messages import LARGE, Fragments, check_several, event_of, no_message
from mintws.drivers.methods import of_the_core
from mintws.drivers.websocket import LoggedWebSocket
from mintws.errors import ConnectionClosed, LocalProtocolError
from mintws.events import Binary, PreparedMessage, State, Text
from mintws.session import LoopBody, Ordered
from mintws.trio.blocks import raising
from mintws.trio.stream import Stream
from mintws.trio.transport import TrioTransport
from mintws.trio.waiter import Waiter

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    # What `typing.get_type_hints` gives: before Python 3.12 there is no class for it.
    Buffer = bytes | bytearray | memoryview

#: What is sent as one message.
Message: TypeAlias = str | Buffer | Text | Binary | PreparedMessage | Iterable[Any] | AsyncIterable[Any]

#: The most bytes that a batch collects.
BATCH = 32 * 1024

_method = of_the_core(_core.BurstWebSocket)


class WebSocket(_core.BurstWebSocket, LoggedWebSocket):
    """An open WebSocket.

    `recv` and `send` take and give `str` for text and `bytes` for binary messages. Iterating with `async for` gives messages until the
    peer closes. One task may receive and others send at the same time.

    Attributes:
        connection: the `Connection` beneath, with its request, response, extensions and subprotocol.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_ends",
        "_fragmenting",
        "_protocol",
        "_reader",
        "_room",
        "_session",
        "_traced",
        "_whole",
        "connection",
    )

    _protocol: TrioTransport

    def __new__(cls, protocol: TrioTransport, connection: Connection) -> WebSocket:
        return super().__new__(cls, protocol.ready_list, connection)

    def __init__(self, protocol: TrioTransport, connection: Connection) -> None:
        self._attach(protocol, connection)
        self._body = LoopBody.NONE
        #: The task that waits for a message.
        self._reader: trio.lowlevel.Task | None = None
        #: Tasks that wait for room, for the end of a message in fragments, and for the end.
        self._room = trio.lowlevel.ParkingLot()
        self._whole = trio.lowlevel.ParkingLot()
        self._ends = trio.lowlevel.ParkingLot()
        #: A message in fragments is being sent.
        self._fragmenting = False

    @property
    def stream(self) -> Stream:
        """The stream beneath, which only the driver reads and writes."""
        return self._protocol.stream

    @property
    def ssl_object(self) -> ssl.SSLObject | None:
        """The TLS connection, for what it has agreed on; `None` without TLS."""
        tls: ssl.SSLObject | None = self._protocol.peer.tls
        return tls

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        ended = self._is_left_to_loop(error)
        self._end_body()
        if error is None or ended:
            await self.close()
        else:
            with raising(error):
                await self.close(1011 if isinstance(error, Exception) else 1001)
        return ended

    @_method
    async def recv(self) -> str | bytes:
        raise NotImplementedError

    @_method
    async def recv_event(self) -> Text | Binary:
        raise NotImplementedError

    @_method
    async def send(self, message: Message, *, compress: bool | None = None) -> None:
        raise NotImplementedError

    def _offer_now(
        self, event: Text | Binary | PreparedMessage, compress: bool | None, max_unsent: int
    ) -> Fates[WebSocket]:
        return send_to_all([self], event, compress, max_unsent)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Write messages together that are sent within `with websocket.batch():`, instead of each by itself.

        They are written when the block ends, and earlier whenever there are 32 KiB of them, or `recv` waits. Messages that other tasks
        send meanwhile are written with them.
        """
        self._begin_batch()
        try:
            yield
        finally:
            self._end_batch()
            self._post(False)

    async def send_many(self, messages: Iterable[Any], *, compress: bool | None = None) -> None:
        """Send several messages, and write them together.

        Args:
            messages: any that `send` takes.
            compress: as in `send`, for each of them.

        Raises:
            ConnectionClosed, LocalProtocolError, TypeError: as from `send`; the messages before the one that it concerns were sent.
        """
        check_several(messages)
        with self.batch():
            for message in messages:
                await self.send(message, compress=compress)
        await self._drained()

    async def ping(self, data: bytes | None = None) -> float:
        """Ask whether the peer is there; wait for its Pong and give the seconds until it came (RFC 6455 §5.5.2).

        Args:
            data: at most 125 bytes, different from those of other Pings under way; chosen if `None`.

        Raises:
            ConnectionClosed: the connection ended before the Pong came.
            LocalProtocolError: a Ping with the same data is under way, or there is too much of it.
        """
        await self._learn_loss()
        pong: Waiter[float] = Waiter()
        self._send_ping(pong, data)
        self._protocol.read_on()
        return await pong

    async def wait_closed(self) -> None:
        await trio.lowlevel.checkpoint()
        await super().wait_closed()

    # What the transport calls.

    def _wake_reader(self) -> bool:
        """Let the task go on that waits for a message: there is one, or none can come. Return whether there is such a task."""
        task = self._reader
        if task is None:
            return False
        self._reader = None
        trio.lowlevel.reschedule(task)
        return True

    def _wake_senders(self) -> None:
        """Let senders go on whose bytes have gone, or can no more go."""
        if self in self._protocol.blocked_senders and (self._gone() or self._has_room()):
            self._protocol.blocked_senders.discard(self)
            self._session.log_stall(None)
            self._unblock()
            self._room.unpark_all()

    def _end_both(self) -> None:
        self._blocked = True
        super()._end_both()
        # Whoever waits for the end keeps the time from now on.
        self._ends.unpark_all()

    def _obey(self, ordered: Ordered) -> None:
        super()._obey(ordered)
        if self._session.is_over:
            self._ends.unpark_all()

    def _post(self, urgent: bool) -> None:
        if urgent or not self._batching or self.connection.corked_bytes > BATCH:
            self._protocol.write(self._take_frames())

    # What the core calls.

    def _post_later(self) -> None:
        self._protocol.post(self)

    async def _receive(self, event: bool, iterating: bool) -> Any:
        if self._awaited:
            raise LocalProtocolError("another task is receiving already: messages go to one reader")
        self._awaited = True
        try:
            if self._waiting:
                await trio.lowlevel.checkpoint()
            while (taken := self._take(event)) is None:
                if self._session.last is not None or self._protocol.left(self):
                    raise self._ended(iterating)
                if self._batching:
                    # The peer may answer what the batch holds back.
                    self._post(True)
                if await self._protocol.read_here():
                    continue
                self._reader = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._leave_waiting)
            return taken[0]
        finally:
            self._awaited = False
            self._begin_turn()

    async def _send(self, message: Any, compress: bool | None) -> None:
        event = event_of(message)
        self._has_sent()
        while self._fragmenting and not self._gone():
            await self._whole.park()
        await self._learn_loss()
        if event is None:
            await self._send_fragments(message, compress)
            return
        if isinstance(event, (Text, Binary)) and len(event.data) > LARGE:
            self._write_large(event, compress)
        else:
            self._encode(event, compress)
            self._post(False)
        await self._drained()

    def _write(self) -> bool:
        self._protocol.write(self._take_frames())
        return self._has_room()

    async def _sent(self) -> None:
        if self._write():
            await trio.lowlevel.checkpoint()
            self._begin_turn()
        else:
            await self._drained()

    # Its own parts.

    def _leave_waiting(self, _: Any) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _ended(self, iterating: bool) -> Exception:
        """Answer the peer's Close, and return what a reader is told; an iteration may end without an error."""
        self._answer()
        closed = self.ending.exception()
        return StopAsyncIteration() if iterating and self._ends_quietly(closed) else closed

    async def _send_fragments(self, fragments: Any, compress: bool | None) -> None:
        """Send an iterable as the fragments of one message; a peer that has seen some of it is told if the rest does not come."""
        if self._gone():
            raise self.ending.exception()
        self._fragmenting = self._blocked = True
        parts = Fragments()
        try:
            if isinstance(fragments, AsyncIterable):
                # trio wants an asynchronous generator to be closed by whoever goes through it.
                async with contextlib.AsyncExitStack() as stack:
                    if isinstance(fragments, AsyncGenerator):
                        stack.push_async_callback(fragments.aclose)
                    async for fragment in fragments:
                        await self._send_fragment(parts.next(fragment), compress)
            elif isinstance(fragments, Iterable) and not isinstance(fragments, Mapping):
                for fragment in fragments:
                    await self._send_fragment(parts.next(fragment), compress)
            else:
                raise no_message(fragments)
            self._encode(parts.last(), compress)
            self._post(False)
        except BaseException as error:
            if parts.begun and not isinstance(error, ConnectionClosed):
                self._begin_close(1011, "a message was not finished")
            raise
        finally:
            self._end_fragments()

    async def _send_fragment(self, fragment: Text | Binary, compress: bool | None) -> None:
        await self._learn_loss()
        self._encode(fragment, compress)
        self._post(False)
        await self._drained()

    async def _learn_loss(self) -> None:
        """Wait for the loss of a transport that nothing can be written to: it says why."""
        if self.connection.state is not State.CLOSED and self._protocol.closing:
            await self._protocol.gone.wait()

    async def _drained(self) -> None:
        """Wait until what was sent has mostly gone; let other tasks run in any case."""
        if self._gone() or self._has_room():
            await trio.lowlevel.checkpoint()
        while not (self._gone() or self._has_room()):
            self._blocked = True
            self._protocol.blocked_senders.add(self)
            if self._traced:
                self._session.log_stall(self._protocol.now())
                self._protocol.schedule(self._session)
            await self._room.park()
        self._begin_turn()

    def _end_fragments(self) -> None:
        """Let messages go on that wait for the end of one in fragments."""
        if self._fragmenting:
            self._fragmenting = False
            self._unblock()
            self._whole.unpark_all()

    async def _over(self) -> None:
        if self._session.is_over:
            await trio.lowlevel.checkpoint()
        self._protocol.read_on()
        protocol = self._protocol
        while not self._session.is_over:
            # The transport keeps no time for what it has released: it may end at any moment.
            alone = protocol.lost or protocol.left(self)
            with trio.move_on_at(protocol.next_deadline if alone else math.inf):
                await self._ends.park()
            if alone:
                protocol.expire()

    def _unblock(self) -> None:
        """Let the core send, if nothing is to be waited for."""
        self._blocked = self._fragmenting or self._gone() or not self._has_room()

    def _has_room(self) -> bool:
        return not self._protocol.full and not (self._protocol.multiplexed and self._is_held_back())


def send_to_all(websockets: list[WebSocket], event: Any, compress: bool | None, max_unsent: int) -> Fates[WebSocket]:
    """Send a whole message on each WebSocket that takes one without waiting.

    Raises:
        LocalProtocolError: the message may not be sent.
        RuntimeError: a WebSocket belongs to another run; nothing was sent.
        TypeError: one of them is not a WebSocket; nothing was sent.

    An exception of an extension is raised after the message was sent to all others.
    """
    for websocket in websockets:
        if not isinstance(websocket, WebSocket):
            raise TypeError("a message is broadcast to WebSockets of mintws.trio alone")
        websocket._protocol.check_run()
    fates: Fates[WebSocket] = [], [], [], []
    sent, crowded, within, gone = fates
    failure: Exception | None = None
    for websocket in websockets:
        if websocket._gone() or websocket.connection.state > State.OPEN:
            gone.append(websocket)
        elif websocket.unsent > max_unsent:
            crowded.append(websocket)
        elif websocket._fragmenting:
            within.append(websocket)
        else:
            try:
                websocket._has_sent()
                websocket._encode_whole(event, compress)
                websocket._post(False)
            except Exception as error:
                # A failure must not affect the others.
                failure = failure or error
            else:
                sent.append(websocket)
    if failure is None:
        return fates
    try:
        raise failure
    finally:
        # This frame is in its traceback.
        del failure
