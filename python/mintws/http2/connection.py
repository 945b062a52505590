"""One HTTP/2 connection: frames in, events and frames out, many streams side by side.

`h2` reads and writes all frames but the DATA of WebSockets, which goes past it: the core cuts it out of what comes and hands it
to its connection. The windows are the core's, both ways; `h2` reads and sets those in which we send.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import h2.events
from h2.errors import ErrorCodes

from mintws.arguments import explained
from mintws.connection import (
    DEFAULT_LIMIT,
    Connection,
    MemoryLimit,
    Options,
    ResponseHeaders,
    check_options,
    memory_of,
)
from mintws.errors import LocalProtocolError, RemoteProtocolError
from mintws.events import Failed, MessageReset, Request, Response, Role
from mintws.http2.ordinary import Ordinary, OrdinaryStream, translated
from mintws.http2.response import StreamedResponse
from mintws.http2.stream import Events, Streams
from mintws.http2.websocket import WebSocketStream
from mintws.http2.wire import NO_LIMIT, ConnectionFault, Wire, disabled
from mintws.limits import MAX_CONCURRENT_STREAMS, STREAM_WINDOW, check_header_size, check_streams

#: Pairs of a connection and its event; what concerns ordinary streams comes with `None`. Typed so that only who has ordinary ones need
#: ask for `None`.
Received: TypeAlias = tuple[Sequence[tuple[Connection | Any, Any]], bytes]

#: How far the core has taken a chunk: the offset after it, what it gave for us, and the events so far.
Begun: TypeAlias = tuple[int, bytes | int | None, Events]

#: What `h2` says of streams.
_OF_STREAMS = (
    h2.events.RequestReceived,
    h2.events.ResponseReceived,
    h2.events.InformationalResponseReceived,
    h2.events.TrailersReceived,
    h2.events.DataReceived,
    h2.events.StreamEnded,
    h2.events.StreamReset,
    h2.events.WindowUpdated,
)


class Http2:
    """One HTTP/2 connection.

    Args:
        role: which end.
        scheme: the scheme of a client's URLs, "http" or "https".
        window: what the peer may send on one stream before the application takes it, in bytes: 65535 to 2^31-1. That of a WebSocket whose
            messages are taken as they come grows when half of it is used up, to at most 4 MiB, and by 8 MiB on all streams together. On
            all of them the peer may send 16 MiB ahead.
        enable_connect: on a server, whether WebSockets are taken at all (RFC 8441 §3).
        max_concurrent_streams: how many streams a client may have open at a time, 0 to 2^31-1. On a server 256 unless it is given; a
            client has as many as its server takes, and where it is given not more than that.
        max_header_size: how many bytes the header list of a request or response of the peer may have, 1 KiB to 1 MiB, each field with
            32 more (RFC 9113 §6.5.2); 64 KiB unless it is given. A larger one ends the connection.
        response_headers: on a server, called for each response but a 100; gives headers that it gets unless it has them: Date, which
            only who has a clock can give (RFC 9110 §6.6.1), and Server.
        limit, memory_limit, max_frame, parts, text_as_bytes, auto_pong, entropy: see `Options`; but for `memory_limit` they hold for each
            WebSocket.

    Attributes:
        h2: the `h2.connection.H2Connection`, for ordinary requests and responses. What its methods want to be sent comes with the
            next bytes that anything here returns, or from its own `data_to_send`.
        auto_continue: on a server, whether a client that waits to be told so is told at once to send the body of its request (RFC 9110
            §10.1.1). Set it to `False` to do that by `StreamedResponse.send_interim`.

    Raises:
        LocalProtocolError: an argument is out of its range.
        TypeError: an argument has a wrong type, or an option is unknown.
    """

    #: Whether many WebSockets share the connection.
    multiplexed = True

    @explained()
    def __init__(
        self,
        role: Role,
        *,
        scheme: str = "http",
        window: int = STREAM_WINDOW,
        enable_connect: bool = True,
        max_concurrent_streams: int | None = None,
        max_header_size: int | None = None,
        response_headers: ResponseHeaders = tuple,
        limit: int | None = DEFAULT_LIMIT,
        memory_limit: MemoryLimit = "auto",
        max_frame: int | None = None,
        parts: bool = False,
        text_as_bytes: bool = False,
        auto_pong: bool = True,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if not isinstance(role, Role):
            raise TypeError(f"role must be Role.CLIENT or Role.SERVER, not {role!r}")
        if scheme not in ("http", "https"):
            raise LocalProtocolError(f'scheme must be "https" for wss: and "http" for ws:, not {scheme!r}')
        check_streams(window, max_concurrent_streams)
        check_header_size(max_header_size)
        self.scheme = scheme
        self._role = role
        self._options: Options = {
            "limit": limit,
            "memory_limit": memory_limit,
            "max_frame": max_frame,
            "parts": parts,
            "text_as_bytes": text_as_bytes,
            "auto_pong": auto_pong,
            "entropy": entropy,
        }
        check_options(self._options)
        own_limit = NO_LIMIT if max_concurrent_streams is None else max_concurrent_streams
        if max_concurrent_streams is None:
            max_concurrent_streams = MAX_CONCURRENT_STREAMS
        self._max_concurrent_streams = max_concurrent_streams
        self._enable_connect = enable_connect
        self._wire = Wire(
            role,
            window=window,
            enable_connect=enable_connect,
            max_concurrent_streams=max_concurrent_streams,
            max_header_size=max_header_size,
            own_limit=own_limit,
            memory_limit=memory_of(self._options),
            response_headers=response_headers,
        )
        self.h2 = self._wire.h2
        self._data_receiver = self._wire.data_receiver
        self._streams = Streams(self._wire, max_concurrent_streams // 2)
        self._ordinary = Ordinary(self._wire, self._streams, scheme)
        #: Events that an exception keeps from being handed on.
        self._kept: Events = []
        #: The fault of the peer for which the connection has ended.
        self._fault: RemoteProtocolError | None = None
        self._started = False
        self.auto_continue = True

    def start(self) -> bytes:
        """Give the bytes with which the connection begins: the preface and our SETTINGS (RFC 9113 §3.4).

        Write them before any others. A handshake may be sent ahead, and waits.

        Raises:
            LocalProtocolError: they were given before.
        """
        if self._started:
            raise LocalProtocolError("a connection starts once: make another Http2 for another transport")
        self._started = True
        self._wire.start()
        return self._wire.take()

    def probe(self) -> bytes:
        """Give the bytes that ask beneath all WebSockets whether the peer is there (PING, RFC 9113 §6.7)."""
        self._wire.probe()
        return self._wire.take()

    @property
    def can_open(self) -> bool | None:
        """Whether a WebSocket can be opened: `None` until the server's SETTINGS have said whether it takes any (RFC 8441 §3)."""
        return self._wire.can_open

    @property
    def goaway(self) -> str:
        """The code and the debug data of the peer's last GOAWAY (RFC 9113 §6.8), on a line; empty if none has come."""
        return self._wire.goaway

    @property
    def end_reason(self) -> str:
        """Why the connection has ended, in words, as far as that is known; empty as long as it has not."""
        return self._wire.end_reason

    @property
    def has_room(self) -> bool:
        """Whether there may be one more stream now (RFC 9113 §5.1.2): an ordinary request cannot wait for it by itself."""
        return self._wire.has_room

    @property
    def streams(self) -> int:
        """On a client, how many streams are open, or wait to be."""
        return self.h2.open_outbound_streams + len(self._streams.waiting)

    @property
    def stream_limit(self) -> int:
        """On a client, how many streams may be open at a time (RFC 9113 §5.1.2)."""
        return self._wire.stream_limit

    @property
    def leaving(self) -> bool:
        """Whether no new streams are begun any more."""
        return self._wire.leaving

    def open(self) -> Connection:
        """Make a client's WebSocket; its first event is an `UpgradeRequest`.

        Before the server's SETTINGS have come, and while all streams are taken, the request waits, and goes out with later bytes.

        Raises:
            ExtendedConnectDisabled: the server takes no WebSockets over HTTP/2.
            LocalProtocolError: on a server, or when the connection is ending or has used up its streams.
        """
        if self._role is Role.SERVER:
            raise LocalProtocolError("a server opens no WebSocket: answer the UpgradeRequest that receive() gives")
        self._wire.check_can_open()
        return self._websocket().connection

    @property
    def done(self) -> bool:
        """Whether the transport is to be closed now, after what was returned so far is written."""
        wire = self._wire
        if wire.end_reason or not (wire.we_leave or wire.peer_leaves):
            return bool(wire.end_reason)
        return not self._streams and not self.h2.open_inbound_streams and not self.h2.open_outbound_streams

    @property
    def reading(self) -> bool:
        """Whether the transport is to be read: always, since each stream has a window of its own."""
        return True

    @property
    def lingers(self) -> bool:
        """Whether the peer may still be sending when `done` says to close the transport (RFC 9113 §5.4.1).

        So it is after a fault of the connection, and on a server whose client has not said GOAWAY too. Bytes that come for a
        transport that is closed are answered with a reset, which may overtake what was written last: read on, and discard what comes,
        until the peer ends it too, for a while.
        """
        return bool(self._wire.end_reason) or (self._role is Role.SERVER and not self._wire.peer_leaves)

    def receive(self, data: bytes | bytearray | memoryview) -> Received:
        """Take bytes from the peer and say what they mean.

        Args:
            data: the next bytes of the transport, however cut; empty says that the peer ended it.

        Returns:
            events: what `data` completes, oldest first, as pairs of a connection and its event. Of ordinary requests and responses
                come `None` and a `RequestStarted`, `ResponseStarted`, `BodyData`, `MessageEnded` or `MessageReset` of `mintws.events`. A
                GOAWAY comes as the event of `h2`, and so does, while there is an ordinary stream that is driven by means of `h2`,
                what else `h2` says of that and of the connection.
            reply: bytes to write now, before any other: Pongs, acknowledgements, credit, the refusal of a request that is no
                handshake, frames that the peer now has room for.

        A peer that breaks a rule is no exception: the last event of what it hurts is `Failed`. That, and a `Close`, is answered by
        handing it to `Connection.send` when its turn comes. A fault of one stream hurts no other.

        Raises:
            LocalProtocolError: the connection was not started.
            TypeError: `data` is not bytes.

        What an extension raises that is no `Exception`, such as `KeyboardInterrupt`, is raised when all is in order: its connection has
        failed with 1011, and the events come with the next call.
        """
        self._check_started()
        if type(data) is not bytes:
            _check_bytes(data)
        return self._receive(data, (0, None, []))

    def _receive(self, data: bytes | bytearray | memoryview, begun: Begun) -> Received:
        """Take bytes which the core has begun to take."""
        offset, frame, events = begun
        events[:0], self._kept = self._kept, []
        wire = self._wire
        if wire.end_reason:
            return events, b""
        if data:
            return self._read(data, events, offset, frame)
        if wire.data_receiver.behind:
            wire.data_receiver.end_turns()
            self._read(b"", events, 0, None)
        if not wire.end_reason:
            if wire.goaway:
                wire.end_reason = lost = f"the {wire.peer} ended the connection: {wire.goaway}"
            elif self._role is Role.CLIENT and not wire.settings_came:
                wire.end_reason = lost = "the server closed the connection without an answer"
            else:
                wire.end_reason, lost = "the connection has ended", "the transport ended without a Close"
            events += self._streams.end(lost)
        return self._hand_on(events)

    def _catch_up(self) -> Received:
        """Take what a turn of the driver's loop has left for this one, as far as this has time for it."""
        events, self._kept = self._kept, []
        return self._read(b"", events, 0, None)

    def _read(
        self, data: bytes | bytearray | memoryview, events: Events, offset: int, frame: bytes | int | None
    ) -> Received:
        """Read a frame that the core has found, and the bytes after `offset`."""
        wire = self._wire
        try:
            if frame is None:
                offset, frame = wire.data_receiver.receive(data, offset, events)
            while frame is not None:
                events += self._dispatch(wire.receive(frame))
                wire.check_floods()
                offset, frame = wire.data_receiver.receive(data, offset, events)
        except ConnectionFault as fault:
            wire.fail(fault)
            events += self._streams.end(fault.message)
            self._fault = RemoteProtocolError(fault.message, section=fault.section)
            events.append((None, Failed(self._fault)))
            return self._hand_on(events)
        if self._streams.waiting:
            events += self._fail_waiting()
        self._streams.write_replies()
        return self._hand_on(events)

    def proceed(self) -> Received:
        """Say what bytes mean that were held until an answer was given, and give what the answers leave to write.

        Call it when the events of `receive` are handled: for frames that a client sent ahead of our `UpgradeAccept`, and for the
        credit of bodies that `collect` has taken, without which their senders wait for ever.
        """
        events, self._kept = self._kept, []
        for number in list(self._streams.accepted):
            stream = self._streams.get(number)
            assert isinstance(stream, WebSocketStream)
            events += stream.receive_early()
            self._wire.data_receiver.look(number, stream.connection)
        self._streams.accepted.clear()
        return self._hand_on(events)

    def collect(self, event: object, limit: int | None = DEFAULT_LIMIT) -> Request | Response | None:
        """Gather an ordinary request, or response, out of events that were handed on; it is given when it is whole.

        The credit for its body comes with the bytes of whatever is called next: call `proceed`.

        Args:
            event: the event.
            limit: the most bytes of a body, inclusive; `None` is no limit. A message whose body is longer is given as soon as that is
                known, with `None` for `body`, and nothing more of it is kept, nor gets credit: `respond` to the request, with a 413
                say, or `cancel` the stream of the response. So is the one with the longest body where all that are gathered have more
                than eight times as much together.
        """
        return self._ordinary.collect(event, limit)

    @property
    def collecting(self) -> list[tuple[Request, int]]:
        """The requests that `collect` has begun to gather, with `None` for `body`, and how many bytes of it have come.

        `respond` to one without waiting for the rest if it takes too long, with a 408 say.
        """
        return self._ordinary.collecting

    @property
    def buffered(self) -> int:
        """How many bytes the peer's windows do not let pass yet, on all streams."""
        return self._streams.buffered

    def has_room_for(self, request: Request, size: int) -> bool:
        """Whether the response to an ordinary request should be written now that has a body of `size` bytes.

        It should wait, until that changes with a `receive`, while more than half of `memory_limit` waits for the client's windows, unless
        the window of its stream lets all of it pass. A request that the client has taken back needs no room.

        Raises:
            LocalProtocolError: the request was answered, or there is none.
        """
        return self._wire.has_room_for(request.stream, size) or not self._ordinary.awaits_response(request.stream)

    def respond(self, request: Request, response: Response) -> bytes:
        """Write the response to an ordinary request; what the windows do not let pass follows in later replies.

        Returns:
            The bytes to write now: none if the client has taken its request back.

        Raises:
            LocalProtocolError: the request was answered, or what the response holds is against a rule. Nothing was sent.
            TypeError: a part of the response has a wrong type.
        """
        self._ordinary.respond(request, response)
        return self._wire.take()

    def stream_response(self, request: Request) -> StreamedResponse | None:
        """Give what sends the response to an ordinary request in parts; `None` if the client has taken its request back.

        Credit for the body of the request is given by its `acknowledge`, if the events of that are not handed to `collect`.

        Args:
            request: that of a `RequestStarted`.

        Raises:
            LocalProtocolError: the request was answered, or there is none.
        """
        if not self._ordinary.awaits_response(request.stream):
            return None
        return StreamedResponse(self._wire, self._streams, request.stream, head=request.method == "HEAD")

    def request(self, request: Request) -> tuple[int, bytes]:
        """Write an ordinary request.

        Returns:
            The number of its stream, by which `collect` names the response, and the bytes to write now.

        Raises:
            LocalProtocolError: the connection takes no new streams now, or what the request holds is against a rule. Nothing was
                sent.
            TypeError: a part of the request has a wrong type.
        """
        self._check_started()
        return self._ordinary.request(request), self._wire.take()

    def cancel(self, stream: int) -> bytes:
        """Take an ordinary request back whose response is of no interest any more (RFC 9113 §8.1); returns bytes to write now.

        Args:
            stream: its number, as `request` gave it. If the response is whole there is nothing to take back.
        """
        self._ordinary.cancel(stream)
        return self._wire.take()

    def shutdown(self) -> bytes:
        """Take no new streams and say so (GOAWAY, RFC 9113 §6.8); open ones go on until they end, then `done` holds.

        Handshakes that still wait for a stream fail with the next `receive`.

        Raises:
            LocalProtocolError: the connection was not started.
        """
        self._check_started()
        if self._wire.end_reason or self._wire.we_leave:
            return b""
        self._wire.leave()
        return self._wire.take()

    @property
    def half_closed(self) -> int:
        """On a server, how many streams have ended here, and not at the client (RFC 9113 §5.1): they still count as open."""
        return len(self._streams.half_closed)

    def reset_half_closed(self) -> bytes:
        """On a server, reset the streams that have been half-closed since the last call; returns bytes to write now.

        Some clients never end their half of a WebSocket whose Closes have passed, and whoever is answered ahead of the end of its
        request may go on with that. For whoever has a clock: call it every so often while `half_closed` is not 0. The reset is a
        RST_STREAM with NO_ERROR (RFC 9113 §8.1). When half of the streams are half-closed that a client may have, the first of them is
        reset at once.
        """
        self._streams.half_closed.turn()
        return self._wire.take()

    def refill(self) -> None:
        """Forgive a little of what the peer has done for nothing (RFC 9113 §10.5): for whoever has a clock, once a minute.

        A peer may send 10,000 frames that do nothing, such as PING or SETTINGS. Each byte of DATA of either side makes up for one, and a
        DATA frame for at most ten; a client may waste 512 requests, and each that is answered makes up for one, and for 100 frames. More
        ends the connection with ENHANCE_YOUR_CALM. The acknowledgement of a PING of `probe` is no such frame.

        Each call forgives 60 frames and 10 requests. Without it, a peer that keeps a connection alive by PINGs alone ends it after 10,000
        of them; called once a minute, a peer may send one in a second for ever, and no more.
        """
        self._wire.flood_guard.refill()

    def _check_started(self) -> None:
        if not self._started:
            raise LocalProtocolError("the connection has not begun: write what start() gives first")

    def _websocket(self, number: int = 0) -> WebSocketStream:
        """Make the stream of a WebSocket: one that waits to be opened, or one that the client has opened."""
        return WebSocketStream(self._wire, self._streams, number, scheme=self.scheme, options=self._options)

    def _dispatch(self, happened: list[h2.events.Event]) -> Events:
        """Bring what `h2` says of a frame to the streams that it is of, and say what it means."""
        events: Events = []
        #: The stream of which nothing is handed on as ordinary: its request was not, or it carried a WebSocket that has just left it.
        hidden = 0
        for event in happened:
            number = event.stream_id or 0 if isinstance(event, _OF_STREAMS) else 0
            stream = self._streams.get(number)
            if isinstance(event, h2.events.RequestReceived):
                taken = self._receive_request(event)
                if taken is None:
                    events.append((None, translated(event)))
                    self._go_on(event)
                else:
                    hidden = number
                    events += taken
            elif stream is not None:
                if not isinstance(stream, OrdinaryStream):
                    hidden = number
                events += stream.receive_event(event)
            elif isinstance(event, h2.events.ConnectionTerminated):
                events.append((None, event))
                events += self._receive_goaway(event)
            elif number and number != hidden:
                events.append((None, translated(event)))
            elif not number and len(self.h2.streams) > len(self._streams):
                # There is a stream that the caller drives by means of h2.
                events.append((None, event))
        return events

    def _receive_request(self, event: h2.events.RequestReceived) -> Events | None:
        """Take the request of a client; `None` if it is an ordinary one."""
        number = event.stream_id
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        handshake = b":protocol" in [name for name, _ in headers]
        refusal = None
        if self._wire.we_leave or self.h2.open_inbound_streams > self._max_concurrent_streams:
            refusal = ErrorCodes.REFUSED_STREAM
        elif handshake and not self._enable_connect:
            # A pseudo-header that was never offered is malformed (RFC 9113 §8.3).
            refusal = ErrorCodes.PROTOCOL_ERROR
        if refusal is not None:
            self._wire.reset(number, refusal)
            self._wire.waste()
            return []
        if handshake:
            return self._websocket(number).receive_request(headers)
        if (b":method", b"CONNECT") in headers:
            # An ordinary answer to it, a 2xx, would make a tunnel of the stream (RFC 9113 §8.5).
            self._ordinary.refuse(number, 501, "CONNECT is for a proxy")
            self._wire.waste()
            return []
        return None

    def _go_on(self, request: h2.events.RequestReceived) -> None:
        """Tell a client that waits to be told so that it may send its content (RFC 9110 §10.1.1)."""
        if not self.auto_continue or request.stream_ended is not None:
            return
        if any(name == b"expect" and value.lower() == b"100-continue" for name, value in request.headers):
            self._wire.write_head(request.stream_id, ((":status", "100"),), end=False)

    def _receive_goaway(self, event: h2.events.ConnectionTerminated) -> Events:
        """Let the streams that the peer has seen go on to their end, and no others (RFC 9113 §6.8)."""
        events: Events = []
        last = event.last_stream_id or 0
        ours = 1 if self._role is Role.CLIENT else 0
        for number in [it for it in self.h2.streams if it > last and it % 2 == ours]:
            stream = self._streams.get(number)
            if stream is not None:
                events += stream.lose_unprocessed(
                    f"the {self._wire.peer} went away before it saw the request: {self.goaway}"
                )
            if not isinstance(stream, WebSocketStream):
                # What was not seen may be asked again elsewhere (§8.7).
                events.append((None, MessageReset(number, ErrorCodes.REFUSED_STREAM)))
            if stream is None:
                self._wire.reset(number, ErrorCodes.CANCEL)
            else:
                stream.reset(ErrorCodes.CANCEL)
        return events

    def _fail_waiting(self) -> Events:
        """Fail the handshakes that wait, if they can never be sent."""
        events: Events = []
        if self.can_open is not False:
            return events
        for stream in list(self._streams.waiting):
            assert isinstance(stream, WebSocketStream)
            if self.leaving:
                why = f": {self.goaway}" if self._wire.peer_leaves else ""
                events += stream.lose(f"the connection takes no new streams any more{why}")
            else:
                reason = disabled()
                error = RemoteProtocolError(str(reason), code=1006, section="RFC 8441 §3")
                error.__cause__ = reason
                events += stream.fail(error)
            stream.leave()
        return events

    def _hand_on(self, events: Events) -> Received:
        """Give what came, and what is to be written; or raise what has to be raised, and give it with the next call."""
        wire, streams = self._wire, self._streams
        if wire.closed:
            for number in wire.take_closed():
                if (stream := streams.get(number)) is not None:
                    # By means of h2, so that no event has said so.
                    events += stream.lose("the stream was closed by means of h2")
                    stream.leave()
        if streams.waiting:
            streams.open_waiting()
        if streams.raised is None:
            return events, wire.take()
        raised = streams.take_raised()
        assert raised is not None
        self._kept = events
        # What is to be written stays where it is: some of it may be the rest of a message.
        raise raised


def _check_bytes(data: object) -> None:
    """Raise if `data` is nothing that can be received."""
    if isinstance(data, (bytes, bytearray)):
        return
    if not isinstance(data, memoryview):
        raise TypeError(f"receive() takes bytes, a bytearray or a memoryview, not {type(data).__name__}")
    if not data.c_contiguous or data.itemsize != 1:
        raise TypeError("receive() takes a memoryview whose items are bytes in one piece")
