"""One WebSocket: what all drivers do with its events and its frames, the log included."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Literal

from mintws.drivers import log
from mintws.drivers.broadcast import MAX_UNSENT, Fates, check_max_unsent, whole
from mintws.drivers.messages import WholeMessage
from mintws.drivers.transport import LoggedTransport, Waiter
from mintws.errors import LocalProtocolError, SendBufferFull
from mintws.events import Binary, Close, Failed, Ping, Pong, PreparedMessage, State, Text
from mintws.session import DriverWebSocket, Order, Ordered, Owner, WebSocketSession

if TYPE_CHECKING:
    from mintws.connection import Connection


class LoggedWebSocket(DriverWebSocket):
    """A driver's WebSocket without its I/O and without the tasks that wait for it, as `DriverWebSocket` is; it logs.

    A subclass calls `_attach` first, and has `_wake_senders`, `_post`, and `_end_fragments`.
    """

    __slots__ = ()

    _protocol: LoggedTransport
    _traced: bool
    #: What errors advise instead of `send_nowait`.
    _how_to_wait = "await send()"

    def _attach(self, protocol: LoggedTransport, connection: Connection) -> None:
        """Take the events of a connection from now on."""
        self._protocol = protocol
        self.connection = connection
        self._session = WebSocketSession(protocol.now(), connection, protocol, protocol.timeouts)
        #: Frames are logged.
        self._traced = protocol.logger.isEnabledFor(logging.DEBUG)
        connection.owner = Owner(self)
        connection.cork()
        connection._deliver_to(self, traced=self._traced)

    def __repr__(self) -> str:
        return f"<WebSocket {self.connection!r}>"

    @property
    def id(self) -> str:
        """Its name in the log: the number of its transport in this process and, over HTTP/2, a dot and that of its stream."""
        return log.name(self._protocol, self.connection)

    def _post(self, urgent: bool) -> None:
        """Write the frames of the connection: at once if it is urgent, else when a batch ends."""
        raise NotImplementedError

    def _wake_senders(self) -> None:
        """Let senders go on whose bytes have gone, or can no more go."""
        raise NotImplementedError

    def _end_fragments(self) -> None:
        """Let messages go on that wait for the end of one in fragments."""
        raise NotImplementedError

    def _offer_now(self, event: Text | Binary | PreparedMessage, compress: bool | None, max_unsent: int) -> Fates[Any]:
        """Send a whole message if that needs no waiting; tell what became of it as for a broadcast to this WebSocket alone."""
        raise NotImplementedError

    def send_nowait(self, message: WholeMessage, *, compress: bool | None = None, max_unsent: int = MAX_UNSENT) -> None:
        """Send a message without waiting, unless too much waits to be sent.

        The message is written as by `send`. What the system does not take at once waits in the transport, or, over HTTP/2, for the peer's
        flow control.

        Args:
            message: a whole message: `str`, bytes, `Text`, `Binary` or a `PreparedMessage`.
            compress: as in `send`.
            max_unsent: the message is not sent if `unsent` is more than this, in bytes.

        Raises:
            ConnectionClosed: the WebSocket has ended, or is closing.
            LocalProtocolError: the message may not be sent, or a message in fragments is under way: `send` waits for it. Nothing was sent.
            RuntimeError: the WebSocket belongs to another loop or run; nothing was sent.
            SendBufferFull: more than `max_unsent` bytes wait to be sent; nothing was sent.
            TypeError: `message` is not a whole message.
        """
        check_max_unsent(max_unsent)
        _, crowded, within, gone = self._offer_now(whole(message, "send_nowait"), compress, max_unsent)
        if gone:
            raise self.ending.exception()
        if crowded:
            raise SendBufferFull(self.unsent, max_unsent)
        if within:
            raise LocalProtocolError(
                f"a message in fragments is being sent: {self._how_to_wait}, which waits for its end"
            )

    # What the transport calls.

    def _receive_event(self, event: Any) -> None:
        self._trace("received", event)
        if isinstance(event, Ping) and self.connection._auto_pong:
            self._trace("sent", Pong(event.data))
        super()._receive_event(event)

    def _end(self, event: Close | Failed) -> None:
        if isinstance(event, Failed) and event.error.code == 1006 and event.error.__cause__ is None:
            # A GOAWAY is named already.
            event.error.__cause__ = None if self._protocol.http.goaway else self._protocol.error
        super()._end(event)
        self._wake_senders()

    def _pong(self, data: bytes) -> None:
        for token, latency in self._session.pings.answer(time.perf_counter(), data):
            if token is not None and not token.done():
                token.set_result(latency)

    def _end_both(self) -> None:
        self._suspend()
        super()._end_both()
        self._end_fragments()
        self._wake_senders()
        for token in self._session.pings.drop():
            if token is not None and not token.done():
                token.set_exception(self.ending.exception())
        log.ended(self._protocol, self)
        self._protocol.count_end(self)

    def _trace(self, way: Literal["received", "sent"], event: object) -> None:
        """Log a frame, if frames are logged."""
        if self._traced:
            log.frame(self._protocol, self.connection, way, event)

    def _send_ping(self, token: Waiter[float] | None = None, data: bytes | None = None) -> None:
        """Send a Ping, whose Pong `token` waits for."""
        pings = self._session.pings
        payload = pings.choose(data)
        self._encode(Ping(payload), None)
        pings.add(time.perf_counter(), token, payload)
        self._post(True)

    def _obey(self, ordered: Ordered) -> None:
        if isinstance(ordered, Close):
            self._trace("sent", ordered)
        elif ordered is Order.LOG:
            log.stalled(self._protocol, self)
        super()._obey(ordered)

    def _flush(self) -> None:
        self._post(True)

    def _resume(self) -> None:
        self.connection._deliver_to(self, traced=self._traced)
        super()._resume()
        if self._protocol.left(self):
            self._suspend()

    # Its own parts.

    def _encode(self, event: Any, compress: bool | None) -> None:
        self._encode_by(self.connection.send, event, compress)

    def _encode_whole(self, message: Any, compress: bool | None) -> None:
        """Encode a message that goes to many: a prepared one passes extensions of the application's own."""
        self._encode_by(self.connection._cork_message, message, compress)

    def _encode_by(self, encode: Any, event: Any, compress: bool | None) -> Any:
        if self._gone():
            raise self.ending.exception()
        try:
            encoded = encode(event, compress=compress)
        except LocalProtocolError:
            if self.connection.state > State.OPEN:
                raise self.ending.exception() from None
            raise
        self._trace("sent", event)
        return encoded

    def _write_large(self, event: Any, compress: bool | None) -> None:
        """Write a payload without copying it, where that can be."""
        parts = self._encode_by(self.connection.send_vectored, event, compress)
        for part in parts:
            self._protocol.write(part)
        if not parts:
            self._post(True)

    def _suspend(self) -> None:
        """Have the connection hold this no more, once it has ended, while more messages wait than are taken."""
        if self._paused:
            self.connection._deliver_to(None)
