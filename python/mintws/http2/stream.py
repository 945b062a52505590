"""One stream of HTTP/2, and the streams of a connection, which end on either side by themselves and wait for one another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, TypeAlias

import h2.events
from h2.errors import ErrorCodes
from h2.stream import StreamState

from mintws.connection import Connection
from mintws.events import Headers, Role
from mintws.http2.h2_overrides import Stream
from mintws.http2.wire import Wire

#: What is received, as pairs of a connection and its event, oldest first.
Events: TypeAlias = list[tuple[Connection | None, Any]]

_ENDED_HERE = frozenset({StreamState.HALF_CLOSED_LOCAL, StreamState.CLOSED})
_ENDED_THERE = frozenset({StreamState.HALF_CLOSED_REMOTE, StreamState.CLOSED})


class HttpStream:
    """One stream on which a WebSocket, or an ordinary message, is sent.

    Args:
        wire: what writes.
        streams: the streams of the connection.
        number: that of a stream that the peer has opened.

    Attributes:
        number: its number; 0 until the request is sent.
        left: nothing more is sent or received on it.
    """

    def __init__(self, wire: Wire, streams: Streams, number: int = 0) -> None:
        self._wire = wire
        self._streams = streams
        self.number = number
        #: The stream as h2 knows it.
        self.h2: Stream | None = wire.own(number) if number else None
        self.left = False

    @property
    def closed(self) -> bool:
        """Whether nothing more is sent on it."""
        if self.left or self._wire.end_reason:
            return True
        return self.h2 is not None and self.h2.state_machine.state in _ENDED_HERE

    @property
    def remote_ended(self) -> bool:
        """Whether the peer sends nothing more on it."""
        return self.h2 is not None and self.h2.state_machine.state in _ENDED_THERE

    @property
    def buffered(self) -> int:
        """How many bytes wait for the peer's windows."""
        return self._wire.sender.pending(self.number) if self.number else 0

    @property
    def done(self) -> bool:
        """Whether nothing more is awaited from the peer."""
        return self.left and self.number != 0

    @property
    def awaits(self) -> str:
        """The thing that pending data waits for, in words for a log."""
        shut = self._wire.h2.outbound_flow_control_window <= 0
        return f"the peer's flow-control window of the {'connection' if shut else 'stream'}"

    def begin(self, headers: Headers, *, end: bool = False) -> None:
        """Open the stream with a request."""
        number = self._wire.h2.get_next_available_stream_id()
        self._wire.write_head(number, headers, end=end)
        self.number = number
        self.h2 = self._wire.own(number)
        self._streams.add(self)

    def respond(self, headers: Headers, body: bytes | None) -> None:
        """Write a response's head and its body; `None` says that the stream goes on."""
        self._wire.write_response_head(self.number, headers, end=body == b"")
        self._streams.add(self)
        if body:
            self.write(body)
            self.end()
        elif body is not None:
            self._finish()

    def write(self, data: bytes) -> None:
        """Write DATA, or keep it until the windows let it pass."""
        if not self.closed:
            self._wire.sender.send(self.number, data)

    def end(self) -> None:
        """Write END_STREAM after what is pending."""
        if not self.closed and self._wire.sender.finish(self.number):
            self.end_now()

    def end_now(self) -> None:
        """Write END_STREAM, and do what follows it."""
        self._write_end()
        self._finish()

    def _write_end(self) -> None:
        self._wire.h2.end_stream(self.number)

    def write_replies(self) -> None:
        """Write what answers by itself to what was received."""

    def reset(self, code: int) -> None:
        """Reset the stream, if it is open, and leave it."""
        self._wire.reset(self.number, code)
        self.leave()

    def receive_event(self, event: h2.events.Event) -> Events:
        """Take an event of `h2` that is the stream's, and say what it means."""
        raise NotImplementedError

    def lose(self, message: str) -> Events:
        """Say what it means that nothing more comes."""
        return []

    def lose_unprocessed(self, message: str) -> Events:
        """Say what it means that the peer has not processed the request, and never will (RFC 9113 §6.8)."""
        return self.lose(message)

    def leave(self) -> None:
        """Send and receive nothing more on the stream."""
        self._wire.sender.close(self.number)
        self.hand_over()

    def hand_over(self) -> None:
        """Leave the stream to another object, which goes on to send on it."""
        self.left = True
        self._streams.drop(self)

    def _finish(self) -> None:
        """Do what follows our END_STREAM."""
        if self.remote_ended:
            self.leave()
        elif self._is_refusal:
            # The client has nothing to send (RFC 9113 §8.1).
            self.reset(ErrorCodes.NO_ERROR)
        elif self._wire.role is Role.SERVER:
            self._streams.half_closed.add(self)

    @property
    def _is_refusal(self) -> bool:
        """Whether what was sent refuses a handshake."""
        return False


class Streams:
    """The streams of a connection that are written here, by their numbers, until they are left; and those that wait to be opened.

    Args:
        wire: what writes.
        most_half_closed: how many may be half-closed.

    Attributes:
        half_closed: those on which the client has not sent END_STREAM.
        waiting: requests that wait for the server's SETTINGS, or for a stream to become free.
        accepted: WebSockets that have just been accepted, by their streams, and on which frames came before.
        raised: what a WebSocket raised that says nothing of the peer.
    """

    def __init__(self, wire: Wire, most_half_closed: int) -> None:
        self._wire = wire
        self._open: dict[int, HttpStream] = {}
        self.half_closed = HalfClosed(most_half_closed)
        self.waiting: OrderedDict[HttpStream, Headers] = OrderedDict()
        self.accepted: dict[int, Connection] = {}
        self.raised: BaseException | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[int]:
        return iter(self._open)

    def __contains__(self, number: object) -> bool:
        return number in self._open

    def get(self, number: int) -> HttpStream | None:
        """Give the stream of a number, if it is one of these."""
        return self._open.get(number)

    @property
    def buffered(self) -> int:
        """How many bytes wait for the peer's windows, on all of them."""
        return self._wire.sender.pending(0)

    def add(self, stream: HttpStream) -> None:
        """Add a stream that is open."""
        self._open[stream.number] = stream

    def drop(self, stream: HttpStream) -> None:
        """Drop a stream that is left; a request that waits may have its place."""
        self.waiting.pop(stream, None)
        if stream.number:
            self._open.pop(stream.number, None)
            self.accepted.pop(stream.number, None)
            self.half_closed.drop(stream)
            self._wire.data_receiver.drop(stream.number)
        if self.waiting:
            self.open_waiting()

    def open_waiting(self) -> None:
        """Open the streams of requests that have waited, as far as there is room."""
        while self.waiting and self._wire.can_open and self._wire.has_room:
            stream, headers = self.waiting.popitem(last=False)
            stream.begin(headers)

    def write_replies(self) -> None:
        """Write what answers by itself to what was received, and what the windows now let pass."""
        for connection in self._wire.data_receiver.update_windows():
            stream = connection.carrier
            assert isinstance(stream, HttpStream)
            stream.write_replies()
        for number in self._wire.data_receiver.pump():
            # The end of one may have reset another.
            if (ended := self.get(number)) is not None:
                ended.end_now()

    def end(self, message: str) -> Events:
        """Lose all that is open or waits."""
        events: Events = []
        for stream in [*self._open.values(), *self.waiting]:
            # h2 lets nothing follow the end.
            self._wire.sender.close(stream.number)
            events += stream.lose(message)
            stream.leave()
        return events

    def take_raised(self) -> BaseException | None:
        """Give what was raised since the last call."""
        raised, self.raised = self.raised, None
        return raised


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
        self._old: dict[HttpStream, None] = {}
        self._new: dict[HttpStream, None] = {}

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    def add(self, stream: HttpStream) -> None:
        """Add a stream; where that is one too many, the first is reset."""
        self._new[stream] = None
        if len(self) > self._most:
            next(iter(self._old or self._new)).reset(ErrorCodes.NO_ERROR)

    def drop(self, stream: HttpStream) -> None:
        """Drop a stream that has closed."""
        self._old.pop(stream, None)
        self._new.pop(stream, None)

    def turn(self) -> None:
        """Reset those that were here at the last turn."""
        for stream in list(self._old):
            stream.reset(ErrorCodes.NO_ERROR)
        self._old, self._new = self._new, {}
