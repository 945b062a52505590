"""What is sent on one stream: held back where the peer's windows do not let it pass."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import ref

import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from h2.stream import StreamState

from mintws.connection import Connection
from mintws.errors import LocalProtocolError
from mintws.events import Headers, Role, completed, encoded

if TYPE_CHECKING:
    from mintws.http2.connection import Http2

#: The least that a part of what waits must have to be counted as useful.
USEFUL_SIZE = 512
#: What is received, as pairs of a connection and its event: to be appended to.
Events: TypeAlias = list[tuple[Connection | None, Any]]


class Part:
    """A part of a connection, which does not keep it alive."""

    def __init__(self, http: Http2) -> None:
        self._reference = ref(http)

    @property
    def _http(self) -> Http2:
        http = self._reference()
        assert http is not None
        return http


class Outbound:
    """What is sent on one stream: held back where the windows do not let it pass."""

    def __init__(self, http: Http2, number: int = 0) -> None:
        self._http = http
        #: 0 until the request is sent.
        self.number = number
        #: The stream as h2 knows it.
        self.h2 = http.h2.stream(number) if number else None
        self._pending = bytearray()
        #: END_STREAM follows what is pending.
        self.ending = False
        self.remote_ended = self.h2 is not None and self.h2.state_machine.state is StreamState.HALF_CLOSED_REMOTE
        #: Nothing more is sent on the stream.
        self.closed = False

    @property
    def buffered(self) -> int:
        return len(self._pending)

    @property
    def done(self) -> bool:
        return self.number != 0 and self.number not in self._http._streams

    @property
    def window(self) -> int:
        """How much may be sent now."""
        if self.h2 is None or self.closed:
            return 0
        return min(self.h2.outbound_flow_control_window, self._http.h2.outbound_flow_control_window)

    @property
    def awaits(self) -> str:
        """What is pending waits for, for a log."""
        shut = self._http.h2.outbound_flow_control_window <= 0
        return f"the peer's flow-control window of the {'connection' if shut else 'stream'}"

    def begin(self, headers: Headers, *, end: bool = False) -> None:
        """Open the stream with a request."""
        http = self._http
        number = http.h2.get_next_available_stream_id()
        try:
            http.h2.send_headers(number, encoded(headers), end_stream=end)
        except h2.exceptions.ProtocolError as error:
            raise LocalProtocolError(f"HTTP/2 does not allow this now: {error}") from error
        self.number = number
        self.h2 = http.h2.stream(number)
        http._streams[number] = self

    def send_head(self, headers: Headers, body: bytes | None) -> bytes:
        """Write a response's head and its body; `None` says that the stream goes on."""
        http = self._http
        lines = encoded(completed(headers, http._response_headers()))
        try:
            http.h2.send_headers(self.number, lines, end_stream=body == b"")
        except h2.exceptions.ProtocolError as error:
            raise LocalProtocolError(f"HTTP/2 does not allow this now: {error}") from error
        http._streams[self.number] = self
        if body:
            self._pending += body
            self.ending = True
            return self.pump()
        if body is not None:
            self._finish()
        return http._flush()

    def send_data(self, data: bytes) -> bytes:
        if self.closed or self.ending:
            return b""
        if not self._pending and len(data) <= self.window:
            self._http._floods.useful += 1
            self._http.h2.sender.write_data(self.number, data)
            return self._http._flush()
        return self._hold(data)

    def send_end(self) -> bytes:
        self.ending = True
        return self.pump()

    def pump(self, most: int | None = None) -> bytes:
        """Write what is pending, as far as the windows and `most` let it, and the end behind it."""
        if self.closed or self._http._ended:
            return b""
        size = min(len(self._pending), self.window if most is None else min(self.window, most))
        if size > 0:
            # Little that goes out for little credit is of no use: it is the credit that costs (RFC 9113 §10.5).
            self._http._floods.useful += size >= USEFUL_SIZE or size == len(self._pending)
            self._http.h2.sender.write_data(self.number, self._pending[:size])
            del self._pending[:size]
        if self.buffered:
            self._http._turns.add(self)
        else:
            self._http._turns.drop(self)
            if self.ending:
                self._http.h2.end_stream(self.number)
                self._finish()
        return self._http._flush()

    def reset(self, code: int) -> None:
        """Reset the stream, if it is open, and forget it."""
        self._http._reset(self.number, code)
        self._leave()

    def receive(self, event: h2.events.Event, events: Events) -> None:
        """Take an event of `h2` that is the stream's."""
        raise NotImplementedError

    def lose(self, events: Events, message: str) -> None:
        """Take note that nothing more comes."""

    def _hold(self, data: bytes) -> bytes:
        """Keep what the windows do not let pass now."""
        self._pending += data
        return self.pump()

    def _finish(self) -> None:
        """Note that END_STREAM is sent."""
        self.closed = True
        if self.remote_ended:
            self._leave()
        elif self._is_refusal:
            # The client has nothing to send (RFC 9113 §8.1).
            self.reset(ErrorCodes.NO_ERROR)
        elif self._http._role is Role.SERVER:
            self._http._half_closed.add(self)

    @property
    def _is_refusal(self) -> bool:
        """Whether what was sent refuses a handshake."""
        return False

    def _leave(self) -> None:
        """Forget the stream."""
        self.closed = True
        self._pending.clear()
        self._http._turns.drop(self)
        self._http._half_closed.drop(self)
        self._http._incoming.hidden = self.number
        self._http._inbound.drop(self.number)
        self._http.h2.sender.block(self.number, True)
        self._http._streams.pop(self.number, None)


class Turns(Part):
    """The streams that have more to send than the windows let pass, in the order of their turns (RFC 9113 §5.3.2)."""

    def __init__(self, http: Http2) -> None:
        super().__init__(http)
        self._streams: OrderedDict[Outbound, None] = OrderedDict()

    def add(self, stream: Outbound) -> None:
        """Let a stream take its turns, behind the others if it is new."""
        self._streams.setdefault(stream)
        self._http.h2.sender.block(stream.number, True)

    def drop(self, stream: Outbound) -> None:
        """Let a stream take no more turns."""
        self._streams.pop(stream, None)
        self._http.h2.sender.block(stream.number, False)

    def pump(self) -> bytes:
        """Write what the windows now let pass: a frame of each stream, beginning where the last turn ended."""
        library = self._http.h2
        out = []
        shut = 0
        while shut < len(self._streams) and library.outbound_flow_control_window > 0:
            stream = next(iter(self._streams))
            self._streams.move_to_end(stream)
            before = stream.buffered
            out.append(stream.pump(library.max_outbound_frame_size))
            shut = shut + 1 if stream.buffered == before else 0
        return b"".join(out)


class HalfClosed:
    """A server's streams on which END_STREAM is sent, and has not come (RFC 9113 §5.1): half-closed (local).

    Some clients never end theirs, so each is reset in the end, with NO_ERROR (§8.1). A client that sends a body may take a reset which
    comes with the response for a failure, so that is not done at once.

    Args:
        most: how many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        #: Those that have been so since the last turn, and those that have become so since.
        self._old: dict[Outbound, None] = {}
        self._new: dict[Outbound, None] = {}

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    def add(self, stream: Outbound) -> None:
        """Add a stream; where that is one too many, the first is reset."""
        self._new[stream] = None
        if len(self) > self._most:
            next(iter(self._old or self._new)).reset(ErrorCodes.NO_ERROR)

    def drop(self, stream: Outbound) -> None:
        """Drop a stream that has closed."""
        self._old.pop(stream, None)
        self._new.pop(stream, None)

    def turn(self) -> None:
        """Reset those that were here at the last turn."""
        for stream in list(self._old):
            stream.reset(ErrorCodes.NO_ERROR)
        self._old, self._new = self._new, {}
