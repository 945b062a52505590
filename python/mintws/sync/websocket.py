"""One WebSocket as threads see it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from mintws import _core
from mintws.connection import Connection
from mintws.drivers.broadcast import Fates
from mintws.drivers.messages import LARGE, Fragments, check_several, event_of, no_message
from mintws.drivers.websocket import LoggedWebSocket
from mintws.errors import ConnectionClosed, LocalProtocolError
from mintws.events import Binary, PreparedMessage, State, Text
from mintws.session import Ordered
from mintws.sync.background import background
from mintws.sync.deadlines import deadline_after, seconds_until
from mintws.sync.parking import Late, Parking, park
from mintws.sync.transport import Outcome, ThreadTransport, Until

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    # What `typing.get_type_hints` gives: before Python 3.12 there is no class for it.
    Buffer = bytes | bytearray | memoryview

#: What is sent as one message.
Message: TypeAlias = str | Buffer | Text | Binary | PreparedMessage | Iterable[Any]


class _Fate(Enum):
    """What becomes of a WebSocket that a message is to be sent on without waiting, in the order of `Fates`."""

    SENT = auto()
    CROWDED = auto()
    WITHIN = auto()
    GONE = auto()


class WebSocket(_core.BlockingWebSocket, LoggedWebSocket):
    """An open WebSocket.

    `recv` and `send` take and give `str` for text and `bytes` for binary messages. Iterating gives messages until the peer closes. Threads
    may share it: one receives while others send, and any of them closes it. A `timeout` is in seconds, and `None` is no limit.

    Attributes:
        connection: the `Connection` beneath, with its request, response, extensions and subprotocol.
    """

    _how_to_wait = "use send()"
    _protocol: ThreadTransport

    def __init__(self, protocol: ThreadTransport, connection: Connection) -> None:
        #: The threads that wait for something of it, and how many of them wait until the peer takes something.
        self._parking = Parking()
        self._blocked_senders = 0
        #: The thread that sends a message in fragments.
        self._fragmenting: int | None = None
        self._attach(protocol, connection)

    @property
    def transport(self) -> ThreadTransport:
        """The transport, for its `get_extra_info`."""
        return self._protocol

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self._end_body()
        if error is None or isinstance(error, Exception):
            self.close(1000 if error is None else 1011)
        else:
            # Whoever ends the program does not want to wait for the peer.
            self._begin_close(1001)
        return self._is_left_to_loop(error)

    def _offer_now(
        self, event: Text | Binary | PreparedMessage, compress: bool | None, max_unsent: int
    ) -> Fates[WebSocket]:
        return send_to_all([self], event, compress, max_unsent)

    def send_many(self, messages: Iterable[Any], *, compress: bool | None = None, timeout: float | None = None) -> None:
        """Send several messages, and write them together.

        Args:
            messages: any that `send` takes.
            compress: as in `send`, for each of them.
            timeout: seconds to wait until the system has taken them.

        Raises:
            ConnectionClosed, TimeoutError, LocalProtocolError, TypeError: as from `send`; the messages before the one that it concerns
                were sent.
        """
        check_several(messages)
        deadline = deadline_after(timeout)
        try:
            with self.batch():
                for message in messages:
                    if deadline is None:
                        self.send(message, compress=compress)
                    else:
                        self._send_until(deadline, message, compress)
            self._wait_for_room(deadline)
        except Late:
            raise _not_taken(timeout) from None

    def ping(self, data: bytes | None = None, *, timeout: float | None = None) -> float:
        """Ask whether the peer is there; wait for its Pong and give the seconds until it came (RFC 6455 §5.5.2).

        Args:
            data: at most 125 bytes, different from those of other Pings under way; chosen if `None`.
            timeout: seconds to wait for the Pong.

        Raises:
            ConnectionClosed: the connection ended before the Pong came.
            TimeoutError: no Pong came in time.
            LocalProtocolError: a Ping with the same data is under way, or there is too much of it.
        """
        deadline = deadline_after(timeout)
        pong: Outcome[float] = Outcome(self._parking)
        try:
            self._learn_loss(deadline)
            with self._protocol.lock:
                self._send_ping(pong, data)
            self._protocol.wait(self._parking, pong.done, deadline)
            return pong.result()
        except Late:
            raise TimeoutError(f"no Pong came within {timeout:g} s (`timeout`)") from None
        finally:
            # It holds what it raises, and that this frame.
            del pong

    def close(self, code: int | None = 1000, reason: str = "") -> None:  # type: ignore[override]
        """Close, and wait for the peer to close too, at most for the close timeout.

        Any thread may call it. A client does not wait for a server that is slow to end the transport, which then ends in the background.

        A second call has no further effect. Messages that arrive meanwhile can still be received. If nobody takes them, they are discarded
        and counted in `ending.discarded`. A call that is interrupted leaves the rest to the background.

        Args:
            code: the status code, 1000-1003, 1007-1014 or 3000-4999; `None` sends none.
            reason: text of at most 123 bytes in UTF-8.

        Raises:
            LocalProtocolError: the code or the reason may not be sent.
        """
        self._protocol.carry_out(super().close(code, reason))
        background().join()

    def wait_closed(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Wait until the connection has ended, on either side. `close_code`, `close_reason` and `state` then describe its end.

        A Close of the peer is answered at once if no message is unread. Unread messages do not block it: if no thread receives for 0.05
        seconds, or for a second if messages were received before, those above the queue's limit are discarded and counted in
        `ending.discarded`.

        Args:
            timeout: seconds to wait.

        Raises:
            TimeoutError: the connection has not ended in time.
        """
        deadline = deadline_after(timeout)
        try:
            self._protocol.carry_out(super().wait_closed(), deadline)
        except Late:
            raise TimeoutError(f"the connection did not end within {timeout:g} s (`timeout`)") from None
        background().join()

    def discard(self) -> None:
        with self._protocol.lock:
            super().discard()

    # What the layers around call.

    @property
    def _is_traced(self) -> bool:
        """Whether its frames are logged."""
        return self._traced

    def _leave(self) -> None:
        """Close it in the background: nobody waits for that."""
        background().call(self._leave_now)

    def _leave_now(self) -> None:
        # A fork leaves it to its parent.
        with contextlib.suppress(LocalProtocolError), self._protocol.lock:
            super()._leave()

    # What the layers below call, under the lock.

    async def _over(self) -> None:
        await Until(self._parking, lambda: self._session.is_over)

    def _wake(self) -> None:
        """Wake the threads that wait for a change of it, the one that reads the socket included."""
        self._parking.wake()
        self._interrupt()

    def _wake_senders(self) -> None:
        self._parking.wake()

    def _end_fragments(self) -> None:
        """Let messages go on that wait for one in fragments."""
        self._fragmenting, self._is_fragmenting = None, False
        self._parking.wake()

    def _obey(self, ordered: Ordered) -> None:
        super()._obey(ordered)
        if self._session.is_over:
            self._wake()

    def _begin_close(self, code: int | None = 1000, reason: str = "") -> None:
        self._protocol.make(partial(super()._begin_close, code, reason))

    # What the core calls.

    def _receive(self, timeout: float | None) -> None:
        """Wait until there is a message to be taken."""
        deadline = deadline_after(timeout)
        while not self._has_message():
            came = self._wait_message(deadline)
            if not self._has_message() and (not came or seconds_until(deadline) == 0):
                # Control frames and parts of messages may have come all the time.
                raise TimeoutError(f"no message came within {timeout:g} s (`timeout`)")

    def _next(self) -> bool:
        """Wait until there is a message to be taken; return whether there is one, or the iteration ends."""
        try:
            self._receive(None)
        except ConnectionClosed as closed:
            if self._ends_quietly(closed):
                return False
            raise
        return True

    def _send(self, message: Any, compress: bool | None, timeout: float | None) -> None:
        try:
            self._send_until(deadline_after(timeout), message, compress)
        except Late:
            raise _not_taken(timeout) from None

    # Its own parts.

    def _send_until(self, deadline: float | None, message: Any, compress: bool | None) -> None:
        """Send a message; raise `Late` if the system has not taken it by the deadline."""
        event = event_of(message)
        if event is None:
            self._send_fragments(_fragments(message), compress, deadline)
            return
        while not self._send_in_turn(event, compress, deadline):
            pass
        self._wait_for_room(deadline)

    def _send_in_turn(
        self, event: Text | Binary | PreparedMessage, compress: bool | None, deadline: float | None
    ) -> bool:
        """Send a message that is not in fragments; return whether that was done, and no message in fragments came before."""
        self._wait_turn(deadline)
        with self._protocol.lock:
            if not self._is_its_turn():
                return False
            self._send_event(event, compress)
            return True

    def _send_event(self, event: Text | Binary | PreparedMessage, compress: bool | None) -> None:
        self._has_sent()
        if isinstance(event, (Text, Binary)) and len(event.data) > LARGE:
            self._encode_by(self._send_large, event, compress)
            return
        try:
            self._encode(event, compress)
        finally:
            # Also if a signal has interrupted it when it was encoded.
            self._post(False)

    def _offer(
        self, event: Text | Binary | PreparedMessage, compress: bool | None, max_unsent: int, posted: list[WebSocket]
    ) -> _Fate:
        """Encode a message, unless it would have to wait; `posted` gets this WebSocket if its frames are to be written."""
        if self._gone() or self.connection.state > State.OPEN:
            return _Fate.GONE
        if self.unsent > max_unsent:
            return _Fate.CROWDED
        if self._fragmenting is not None:
            return _Fate.WITHIN
        posted.append(self)
        self._encode_whole(event, compress)
        self._has_sent()
        return _Fate.SENT

    def _has_message(self) -> bool:
        """Whether a message has come."""
        with self._protocol.lock:
            has = self._keep_message()
            if not has and self._protocol.left(self) and self._take_resume():
                # The background has nothing to do with it any more.
                self._resume()
                has = self._keep_message()
            if not has and self._has_ended():
                self._answer()
                raise self.ending.exception()
            return has

    def _wait_message(self, deadline: float | None) -> bool:
        """Wait until something comes; return whether something did before the deadline."""
        came = self._wait_leading(seconds_until(deadline))
        if came is None:
            came = self._wait_parked(deadline)
        return came or self._waiting > 0 or self._has_ended()

    def _wait_parked(self, deadline: float | None) -> bool:
        """Wait for what the background reads."""
        protocol = self._protocol
        place = here = None
        try:
            with protocol.lock:
                if self._waiting or self._has_ended():
                    return True
                place, here = protocol.enter_parking(self._parking)
                self._begin_wait(place)
            return park(place, seconds_until(deadline))
        finally:
            del here
            if place is not None:
                with protocol.lock:
                    self._end_wait(place)
                    self._parking.leave(place)

    def _has_ended(self) -> bool:
        """Whether no further message comes."""
        return self._session.last is not None or self._protocol.left(self)

    def _wait_turn(self, deadline: float | None) -> None:
        """Wait until no other thread sends a message in fragments, and, if nothing more can be sent, until it is known why."""
        if self._fragmenting is None and not self._protocol.closing:
            return
        if self._fragmenting == threading.get_ident():
            raise LocalProtocolError("this thread is sending a message in fragments, and no other fits in between")
        self._protocol.wait(self._parking, self._is_its_turn, deadline)

    def _is_its_turn(self) -> bool:
        protocol = self._protocol
        if protocol.closing:
            # Its loss says why nothing can be sent.
            return protocol.lost or self.connection.state is State.CLOSED
        return self._fragmenting is None or self._gone()

    def _learn_loss(self, deadline: float | None) -> None:
        """Wait for the loss of a transport that nothing can be written to: it says why."""
        if self._protocol.closing:
            self._protocol.wait(self._parking, self._is_its_turn, deadline)

    def _drain(self) -> None:
        self._wait_for_room(None)

    def _wait_for_room(self, deadline: float | None) -> None:
        """Wait until the system has what was sent, and the peer's flow control holds few bytes back."""
        with self._protocol.lock:
            if self._has_room():
                return
            self._blocked_senders += 1
            if self._traced:
                self._session.log_stall(self._protocol.now())
                self._protocol.schedule(self._session)
        try:
            self._protocol.wait(self._parking, self._has_room, deadline)
        finally:
            with self._protocol.lock:
                self._blocked_senders -= 1
                if not self._blocked_senders:
                    self._session.log_stall(None)

    def _has_room(self) -> bool:
        """Whether a sender need not wait."""
        return self._gone() or not (self._protocol.buffered or self._is_held_back())

    def _send_fragments(self, fragments: Iterable[Any], compress: bool | None, deadline: float | None) -> None:
        """Send an iterable as the fragments of one message; a peer that has seen some of it is told if the rest does not come."""
        ours = threading.get_ident()
        # It raises if this thread sends another such message; then that is not to be ended here.
        self._wait_turn(deadline)
        made = Fragments()
        try:
            while self._fragmenting != ours:
                self._wait_turn(deadline)
                with self._protocol.lock:
                    if self._gone():
                        raise self.ending.exception()
                    if self._fragmenting is None:
                        self._fragmenting, self._is_fragmenting = ours, True
            for fragment in fragments:
                self._send_fragment(made.next(fragment), compress, deadline)
            self._send_fragment(made.last(), compress, deadline)
        except BaseException as error:
            if made.begun and not isinstance(error, ConnectionClosed):
                self._begin_close(1011, "a message was not finished")
            raise
        finally:
            with self._protocol.lock:
                if self._fragmenting == ours:
                    # No signal raises before this, as it might at the begin of a function.
                    self._fragmenting, self._is_fragmenting = None, False
                try:
                    self._parking.wake()
                finally:
                    # Also if a signal has interrupted it.
                    self._parking.wake()

    def _send_fragment(self, event: Text | Binary, compress: bool | None, deadline: float | None) -> None:
        self._learn_loss(deadline)
        with self._protocol.lock:
            self._send_event(event, compress)
        self._wait_for_room(deadline)


def _not_taken(timeout: float | None) -> TimeoutError:
    return TimeoutError(f"the peer did not take enough within {timeout:g} s (`timeout`)")


def _fragments(message: Any) -> Iterable[Any]:
    if isinstance(message, Iterable) and not isinstance(message, Mapping):
        return message
    raise no_message(message)


def send_to_all(
    websockets: list[WebSocket], event: Text | Binary | PreparedMessage, compress: bool | None, max_unsent: int
) -> Fates[WebSocket]:
    """Send a whole message on each WebSocket that takes one without waiting. Those on one transport are written together.

    Raises:
        LocalProtocolError: the message may not be sent.
        TypeError: one of them is not a WebSocket; nothing was sent.

    An exception of an extension is raised after the message was sent to all others.
    """
    transports: dict[ThreadTransport, list[WebSocket]] = {}
    for websocket in websockets:
        if not isinstance(websocket, WebSocket):
            raise TypeError("a message is broadcast to WebSockets of mintws.sync alone")
        transports.setdefault(websocket._protocol, []).append(websocket)
    fates: dict[WebSocket, _Fate] = {}
    errors: list[Exception] = []
    for transport, members in transports.items():
        posted: list[WebSocket] = []
        with transport.lock:
            try:
                for websocket in members:
                    try:
                        fates[websocket] = websocket._offer(event, compress, max_unsent, posted)
                    except Exception as error:
                        errors.append(error)
            finally:
                # Also if a signal has interrupted it.
                if posted:
                    posted[0]._post_with(posted[1:])
    try:
        if errors:
            raise errors[0]
    finally:
        # The error holds this frame.
        del errors
    sent, crowded, within, gone = ([it for it in websockets if fates[it] is fate] for fate in _Fate)
    return sent, crowded, within, gone
