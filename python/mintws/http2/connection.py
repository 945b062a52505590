"""One HTTP/2 connection: frames in, events and frames out, many streams side by side.

`h2` reads and writes all frames but the DATA of WebSockets, which goes past it: the core cuts it out of what comes and hands it
to its connection. The windows are the core's, both ways; `h2` reads and sets those in which we send.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.settings import SettingCodes
from h2.stream import StreamClosedBy

from mintws import _core
from mintws.arguments import explained
from mintws.connection import DEFAULT_LIMIT, Connection, Options, ResponseHeaders, check_options
from mintws.errors import LocalProtocolError, RemoteProtocolError
from mintws.events import Failed, Headers, Request, Response, Role
from mintws.http2 import ordinary
from mintws.http2.floods import Floods
from mintws.http2.h2_overrides import DEFAULT_WINDOW, Library, Stream
from mintws.http2.incoming import Incoming
from mintws.http2.ordinary import Collector
from mintws.http2.outbound import Events, HalfClosed, Outbound, Turns
from mintws.http2.websocket import WebSocketStream, disabled

#: Pairs of a connection and its event; what concerns ordinary streams comes as `None` and the event of `h2`. Typed so that only who has
#: ordinary ones need ask for `None`.
Received: TypeAlias = tuple[Sequence[tuple[Connection | Any, Any]], bytes]

#: How far the core has taken a chunk: the offset behind it, what it gave for us, and the events so far.
Begun: TypeAlias = tuple[int, bytes | int | None, Events]

#: What the peer may send on one stream, and on all together, before it waits for credit.
STREAM_WINDOW = 256 * 1024
CONNECTION_WINDOW = 16 * 1024 * 1024
#: SETTINGS_MAX_FRAME_SIZE: what comes is cut out of chunks, so larger frames would only be held longer.
MAX_FRAME_SIZE = 16384
#: The most bytes of a request's headers, as RFC 9113 §6.5.2 counts them.
HEADER_LIMIT = 64 * 1024

#: SETTINGS_MAX_CONCURRENT_STREAMS: what clients use. Many put all WebSockets of a host on one connection and let those wait for which
#: there is no stream; Chromium has at most 256 of them, Firefox 200 WebSockets. Servers have 100 to 250, or no limit.
MAX_CONCURRENT_STREAMS = 256

_NO_LIMIT = 1 << 31
#: The highest number that a client's stream can have (RFC 9113 §5.1.1).
_LAST_STREAM = (1 << 31) - 1


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
        response_headers: on a server, called for each response but a 100; gives headers that it gets unless it has them: Date, which
            only who has a clock can give (RFC 9110 §6.6.1), and Server.
        limit, max_frame, parts, text_as_bytes, auto_pong, entropy: see `Options`; they hold for each WebSocket.

    Attributes:
        h2: the `h2.connection.H2Connection`, for ordinary requests and responses. What its methods want to be sent comes with the
            next bytes that anything here returns, or from its own `data_to_send`.

    Raises:
        LocalProtocolError: an argument is out of its range.
        TypeError: an argument has a wrong type, or an option is unknown.
    """

    @explained()
    def __init__(
        self,
        role: Role,
        *,
        scheme: str = "http",
        window: int = STREAM_WINDOW,
        enable_connect: bool = True,
        max_concurrent_streams: int | None = None,
        response_headers: ResponseHeaders = tuple,
        limit: int | None = DEFAULT_LIMIT,
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
        self.scheme = scheme
        self._role = role
        self._options: Options = {
            "limit": limit,
            "max_frame": max_frame,
            "parts": parts,
            "text_as_bytes": text_as_bytes,
            "auto_pong": auto_pong,
            "entropy": entropy,
        }
        check_options(self._options)
        #: How many streams a client opens, whatever its server takes.
        self._own_limit = _NO_LIMIT if max_concurrent_streams is None else max_concurrent_streams
        if max_concurrent_streams is None:
            max_concurrent_streams = MAX_CONCURRENT_STREAMS
        self._max_concurrent_streams = max_concurrent_streams
        self._enable_connect = enable_connect
        self._response_headers = response_headers
        client = role is Role.CLIENT
        # Headers are held to their rules here, stream by stream: h2 would end the connection for a fault of one stream.
        config = h2.config.H2Configuration(client_side=client, header_encoding=None, validate_inbound_headers=False)
        self.h2 = Library(config, self._stream_closed)
        settings = {
            SettingCodes.INITIAL_WINDOW_SIZE: window,
            SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_SIZE,
            SettingCodes.MAX_CONCURRENT_STREAMS: max_concurrent_streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIMIT,
        }
        if client:
            settings[SettingCodes.ENABLE_PUSH] = 0
        elif enable_connect:
            settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self.h2.local_settings = h2.settings.Settings(client=client, initial_values=settings)
        if client or not enable_connect:
            # Absent, not 0: some servers reset every extended CONNECT of a client whose SETTINGS have it.
            del self.h2.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
        self._inbound = _core.Inbound(role is Role.SERVER, MAX_FRAME_SIZE, window, CONNECTION_WINDOW)
        self._incoming = Incoming(self)
        self._streams: dict[int, Outbound] = {}
        self._turns = Turns(self)
        self._half_closed = HalfClosed(max_concurrent_streams // 2)
        self._collector = Collector(self)
        #: Handshakes that wait for the server's SETTINGS, or for a stream to become free.
        self._waiting: OrderedDict[WebSocketStream, Headers] = OrderedDict()
        #: WebSockets that have just been accepted, by their streams, and on which frames came before.
        self._accepted: dict[int, Connection] = {}
        #: What a WebSocket raised that says nothing of the peer, and the events that it keeps from being handed on.
        self._raised: BaseException | None = None
        self._kept: Events = []
        #: What is to be written for what is being received.
        self._replies: list[bytes] = []
        #: A window has opened.
        self._unblocked = False
        self._ended = False
        #: We take no new streams; the peer takes none.
        self._we_leave = False
        self._peer_leaves = False
        #: What our GOAWAY said of the streams that we have seen: a later one may not say more (§6.8).
        self._last_seen: int | None = None
        self._floods = Floods()
        self._started = False

    def start(self) -> bytes:
        """Give the bytes with which the connection begins: the preface and our SETTINGS (RFC 9113 §3.4).

        Write them before any others. A handshake may be sent ahead, and waits.

        Raises:
            LocalProtocolError: they were given before.
        """
        if self._started:
            raise LocalProtocolError("a connection starts once: make another Http2 for another transport")
        self._started = True
        self.h2.initiate_connection()
        if self._role is Role.SERVER:
            # One stream too many is refused here; h2 would end the connection for it.
            self.h2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = _NO_LIMIT
            self.h2.local_settings.acknowledge()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW - DEFAULT_WINDOW)
        return self.h2.data_to_send()

    def probe(self) -> bytes:
        """Give the bytes that ask beneath all WebSockets whether the peer is there (PING, RFC 9113 §6.7)."""
        self.h2.ping(bytes(8))
        return self._flush()

    @property
    def can_open(self) -> bool | None:
        """Whether a WebSocket can be opened: `None` until the server's SETTINGS have said whether it takes any (RFC 8441 §3)."""
        if self._role is Role.SERVER or self.leaving:
            return False
        if not self._incoming.settings_came:
            return None
        return bool(self.h2.remote_settings.enable_connect_protocol)

    @property
    def goaway(self) -> str:
        """What the peer's last GOAWAY said (RFC 9113 §6.8), its code and debug data on a line; empty if none has come."""
        return self._incoming.goaway

    @property
    def has_room(self) -> bool:
        """Whether there may be one more stream now (RFC 9113 §5.1.2): an ordinary request cannot wait for it by itself."""
        limit = min(self.h2.remote_settings.max_concurrent_streams, self._own_limit)
        return not self.leaving and self.h2.open_outbound_streams < limit

    def open(self) -> Connection:
        """Make a client's WebSocket; its first event is an `UpgradeRequest`.

        Before the server's SETTINGS have come, and while all streams are taken, the request waits, and goes out with later bytes.

        Raises:
            ExtendedConnectDisabled: the server takes no WebSockets over HTTP/2.
            LocalProtocolError: on a server, or when the connection is ending or has used up its streams.
        """
        if self._role is Role.SERVER:
            raise LocalProtocolError("a server opens no WebSocket: answer the UpgradeRequest that receive() gives")
        self._check_can_open()
        return WebSocketStream(self).connection

    @property
    def done(self) -> bool:
        """Whether the transport is to be closed now, after what was returned so far is written."""
        if self._ended or not (self._we_leave or self._peer_leaves):
            return self._ended
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
        return self._ended or (self._role is Role.SERVER and not self._peer_leaves)

    def receive(self, data: bytes | bytearray | memoryview) -> Received:
        """Take bytes from the peer and say what they mean.

        Args:
            data: the next bytes of the transport, however cut; empty says that the peer ended it.

        Returns:
            events: what `data` completes, oldest first, as pairs of a connection and its event. Of ordinary requests and responses
                come `None` and the event of `h2`, untouched, as comes a GOAWAY; and, while there is an ordinary stream that is
                driven by means of `h2`, what else `h2` says of the connection.
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
        if self._ended:
            return events, b""
        if not data:
            goaway = self._incoming.goaway
            told = (
                f"the {self._peer} ended the connection: {goaway}" if goaway else "the transport ended without a Close"
            )
            self._end(events, told)
            return self._hand_on(events, b"")
        self._incoming.receive(data, events, offset, frame)
        if self._waiting:
            self._fail_waiting(events)
        return self._hand_on(events, self._settle())

    def proceed(self) -> Received:
        """Say what bytes mean that were held until an answer was given, and give what the answers leave to write.

        Call it when the events of `receive` are handled: for frames that a client sent ahead of our `UpgradeAccept`, and for the
        credit of bodies that `collect` has taken, without which their senders wait for ever.
        """
        events, self._kept = self._kept, []
        replies = []
        accepted, self._accepted = self._accepted, {}
        for connection in accepted.values():
            connection._receive_early(events)
            replies.append(self._settled(connection))
        replies.append(self._flush())
        return self._hand_on(events, b"".join(replies))

    def collect(self, event: h2.events.Event, limit: int | None = DEFAULT_LIMIT) -> Request | Response | None:
        """Gather an ordinary request, or response, out of events that were handed on; it is given when it is whole.

        The credit for its body comes with the bytes of whatever is called next: call `proceed`.

        Args:
            event: the event.
            limit: the most bytes of a body, inclusive; `None` is no limit. A message whose body is longer is given as soon as that is
                known, with `None` for `body`, and nothing more of it is kept, nor gets credit: `respond` to the request, with a 413
                say, or `cancel` the stream of the response.
        """
        return self._collector.collect(event, limit)

    @property
    def collecting(self) -> list[tuple[Request, int]]:
        """The requests that `collect` has begun to gather, with `None` for `body`, and how many bytes of it have come.

        `respond` to one without waiting for the rest if it takes too long, with a 408 say.
        """
        return self._collector.requests

    @property
    def buffered(self) -> int:
        """How many bytes the peer's windows do not let pass yet, on all streams."""
        return sum(stream.buffered for stream in self._streams.values())

    def respond(self, request: Request, response: Response) -> bytes:
        """Write the response to an ordinary request; what the windows do not let pass follows in later replies.

        Returns:
            The bytes to write now: none if the client has taken its request back.

        Raises:
            LocalProtocolError: the request was answered, or what the response holds is against a rule. Nothing was sent.
            TypeError: a part of the response has a wrong type.
        """
        return ordinary.respond(self, request, response)

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
        return ordinary.request(self, request)

    def cancel(self, stream: int) -> bytes:
        """Take an ordinary request back whose response is of no interest any more (RFC 9113 §8.1); returns bytes to write now.

        Args:
            stream: its number, as `request` gave it. If the response is whole there is nothing to take back.
        """
        self._collector.forget(stream)
        ordinary.cancel(self, stream)
        return self._flush()

    def shutdown(self) -> bytes:
        """Take no new streams and say so (GOAWAY, RFC 9113 §6.8); open ones go on until they end, then `done` holds.

        Handshakes that still wait for a stream fail with the next `receive`.

        Raises:
            LocalProtocolError: the connection was not started.
        """
        self._check_started()
        if self._ended or self._we_leave:
            return b""
        self._we_leave = True
        # h2 lets nothing follow its own GOAWAY, so the frame is made here.
        last = self._last_seen = self.h2.highest_inbound_stream_id
        return self._flush() + b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + last.to_bytes(4, "big") + bytes(4)

    @property
    def half_closed(self) -> int:
        """On a server, how many streams have ended here, and not at the client (RFC 9113 §5.1): they still count as open."""
        return len(self._half_closed)

    def reset_half_closed(self) -> bytes:
        """On a server, reset the streams that have been half-closed since the last call; returns bytes to write now.

        Some clients never end their half of a WebSocket whose Closes have passed, and whoever is answered ahead of the end of its
        request may go on with that. For whoever has a clock: call it every so often while `half_closed` is not 0. The reset is a
        RST_STREAM with NO_ERROR (RFC 9113 §8.1). When half of the streams are half-closed that a client may have, the first of them is
        reset at once.
        """
        self._half_closed.turn()
        return self._flush()

    def refill(self) -> None:
        """Forget what the peer has done for nothing so far (RFC 9113 §10.5): for whoever has a clock, now and then.

        A peer may send 10,000 frames that do nothing, such as PING or SETTINGS, and each DATA frame of either side that carries
        something makes up for ten; a client may waste 512 requests, and each that is answered makes up for one. More ends the
        connection with ENHANCE_YOUR_CALM. So a connection that is kept alive by PINGs alone, without a single message, ends after
        10,000 of them, unless this is called.
        """
        self._floods.refill()

    def _check_can_open(self) -> None:
        """Raise if the client can open no more WebSockets."""
        self._check_not_full()
        if self.can_open is False:
            raise disabled()

    def _check_not_full(self) -> None:
        """Raise if the client can begin no more streams, ever."""
        if self.leaving:
            raise LocalProtocolError("the connection takes no new streams any more: make another Http2")

    def _check_started(self) -> None:
        if not self._started:
            raise LocalProtocolError("the connection has not begun: write what start() gives first")

    def _reset(self, number: int, code: int) -> None:
        """Reset a stream, if it is open."""
        if number in self.h2.streams and not self._ended:
            self.h2.reset_stream(number, code)

    def _stream_closed(self, stream: Stream) -> None:
        """Take note that a stream has closed: nothing more is sent on it, whoever has closed it."""
        if stream.stream_id in self._streams:
            self._streams[stream.stream_id].closed = True
        answered = stream.state_machine.headers_sent
        if not answered and stream.closed_by is StreamClosedBy.RECV_RST_STREAM:
            self._waste()
        elif answered and stream.stream_id not in self._streams:
            # By means of h2.
            self._floods.answer()

    @property
    def _peer(self) -> str:
        """What the peer is called: "server" or "client"."""
        return "server" if self._role is Role.CLIENT else "client"

    def _waste(self) -> None:
        """Take note of a request that comes to nothing, through the client's fault."""
        if self._role is Role.SERVER:
            self._floods.waste()

    def _fail(self, events: Events, code: int, message: str, section: str) -> None:
        """End the whole connection for a fault of the peer."""
        if self.h2.state_machine.state is not h2.connection.ConnectionState.CLOSED:
            self.h2.close_connection(code, last_stream_id=self._last_seen)
        elif self._last_seen is not None:
            # h2 has made its GOAWAY, which names the last stream that came, be it one that was refused.
            out = self.h2.data_to_send()
            self._replies.append(out[:-8] + self._last_seen.to_bytes(4, "big") + out[-4:])
        self._end(events, message)
        events.append((None, Failed(RemoteProtocolError(message, section=section))))

    def _end(self, events: Events, message: str) -> None:
        self._ended = True
        for stream in [*self._streams.values(), *self._waiting]:
            # h2 lets nothing follow the end.
            stream.closed = True
            stream.lose(events, message)
            stream._leave()
        self._waiting.clear()

    def _settle(self) -> bytes:
        """Give what must follow what was received."""
        updates, unsettled = self._inbound.settle()
        out = [*self._replies, self._flush()]
        self._replies.clear()
        if self._ended:
            # The last word is a GOAWAY.
            return b"".join(out)
        out.append(updates)
        for connection in unsettled:
            stream = connection.carrier
            assert isinstance(stream, WebSocketStream)
            out.append(stream.settle(connection))
        if self._unblocked:
            self._unblocked = False
            out.append(self._turns.pump())
        return b"".join(out)

    def _settled(self, connection: Connection) -> bytes:
        """Give what follows what a connection received; what that raises is raised when the other streams have had their turn."""
        try:
            return connection._settle()
        except BaseException as error:
            self._raised = error
            return b""

    def _hand_on(self, events: Events, reply: bytes) -> Received:
        """Give what came; or raise what has to be raised, and give it with the next call."""
        if self._raised is None:
            return events, reply
        raised, self._raised = self._raised, None
        self._kept = events
        # It precedes whatever is written next: some of it may be the rest of a message.
        self.h2.sender.write(reply + self._flush())
        raise raised

    def _flush(self) -> bytes:
        """Give what `h2` wants to be written, with the handshakes that have waited for a stream and can have one."""
        while self._waiting and self.can_open and self.has_room:
            stream, headers = self._waiting.popitem(last=False)
            stream.begin(headers)
        return self.h2.data_to_send()

    def _fail_waiting(self, events: Events) -> None:
        """Fail the handshakes that wait, if they can never be sent."""
        if self.can_open is not False:
            return
        waiting, self._waiting = self._waiting, OrderedDict()
        for stream in waiting:
            if self.leaving:
                why = f": {self._incoming.goaway}" if self._peer_leaves else ""
                stream.lose(events, f"the connection takes no new streams any more{why}")
            else:
                reason = disabled()
                error = RemoteProtocolError(str(reason), code=1006, section="RFC 8441 §3")
                error.__cause__ = reason
                stream.fail(events, error)
            stream._leave()

    @property
    def leaving(self) -> bool:
        """Whether no new streams are begun any more."""
        return self._ended or self._we_leave or self._peer_leaves or self.h2.highest_outbound_stream_id >= _LAST_STREAM


def check_streams(window: object, max_concurrent_streams: object) -> None:
    """Check these arguments of `Http2` where they are given, so that none fails when the first client comes.

    Raises:
        LocalProtocolError, TypeError: as of `Http2`.
    """
    _check_range("window", window, DEFAULT_WINDOW)
    if max_concurrent_streams is not None:
        _check_range("max_concurrent_streams", max_concurrent_streams, 0)


def _check_range(name: str, value: object, least: int) -> None:
    """Raise if `value` is no int from `least` to 2^31-1."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not least <= value < 1 << 31:
        raise LocalProtocolError(f"{name} must be {least} to 2^31-1, not {value}")


def _check_bytes(data: object) -> None:
    """Raise if `data` is nothing that can be received."""
    if isinstance(data, (bytes, bytearray)):
        return
    if not isinstance(data, memoryview):
        raise TypeError(f"receive() takes bytes, a bytearray or a memoryview, not {type(data).__name__}")
    if not data.c_contiguous or data.itemsize != 1:
        raise TypeError("receive() takes a memoryview whose items are bytes in one piece")
