"""One WebSocket, independent of its carrier: the opening handshake, messages, the closing handshake.

Over HTTP/1.1 and HTTP/2 the carriers are `Http1` and `Http2`. Over another program's HTTP server, `Connection` works with a `Carrier` of
that program: pass the request to `receive_request`, the bytes after it to `receive`, and write the result of `send`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypedDict
from weakref import ReferenceType, ref

from mintws import _core
from mintws.arguments import explained
from mintws.errors import LocalProtocolError, RemoteProtocolError
from mintws.events import (
    Event,
    Failed,
    Headers,
    Role,
    State,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
    lines,
)
from mintws.extensions import Agreed, Chain, Deflate, Offer, Params, choose, failure, in_transit, match, offers
from mintws.limits import INT63, REJECTION_LIMIT, check_int

#: The result of `receive`: pairs of a connection and its event, oldest first, and bytes to write now.
Received: TypeAlias = tuple[list[tuple["Connection", Event]], bytes]

#: Returns the headers that a server adds to a response.
ResponseHeaders: TypeAlias = Callable[[], Mapping[str, str] | Iterable[tuple[str, str]]]

#: The default for the most bytes of a message: 1 MiB.
DEFAULT_LIMIT = 1 << 20
#: How many messages of the longest that may be are held on a connection, if nothing else is said.
MEMORY_FACTOR = 8

#: What a connection may hold, in bytes: "auto" is `MEMORY_FACTOR` times the limit of a message, `None` is no limit.
MemoryLimit: TypeAlias = int | Literal["auto"] | None


class Options(TypedDict, total=False):
    """The options of a connection, as keyword arguments.

    Attributes:
        limit: the most bytes of a message, after decompression, inclusive; `None` is no limit. A longer message fails the connection with
            1009 (RFC 6455 §10.4). The default is 1 MiB.
        memory_limit: the most bytes that a connection buffers for its peer, over all of its WebSockets: unfinished messages, messages that
            wait for the application, and data that waits for the peer's windows. Above it no more credit is given to streams that buffer
            much, and messages are decompressed only for a waiting reader. The default, "auto", is 8 times `limit`; `None` is no limit. It
            is at least `limit`, unless messages arrive in `parts`.
        max_frame: the most bytes of payload in one frame of a message that is sent; `None` is no limit. A message that is longer after
            compression is sent as consecutive fragments (§5.4), with no control frame between them. For peers that refuse large frames.
        parts: a message that does not arrive in one piece is delivered in parts of at most 128 KiB, as its bytes arrive: events whose
            `fin` is `False` except for the last. No part waits for the next frame or chunk. The limit holds for the whole message.
        text_as_bytes: `Text.data` is `bytes`, checked to be UTF-8, instead of `str`.
        auto_pong: each Ping is answered in `reply` (§5.5.2). If `False`, send the `Pong` yourself.
        entropy: a function that returns the given number of random bytes, for the key of the handshake and the masking-keys (§10.3):
            `os.urandom`, or a predictable source for a test.
    """

    limit: int | None
    memory_limit: MemoryLimit
    max_frame: int | None
    parts: bool
    text_as_bytes: bool
    auto_pong: bool
    entropy: Callable[[int], bytes]


#: The opening handshake over each version of HTTP.
_HANDSHAKES = {"1.1": _core.Handshake.HTTP1, "2": _core.Handshake.HTTP2}

#: The options of an open connection, which no longer needs them.
_SPENT: Options = {}


def check_options(options: Mapping[str, object]) -> None:
    """Check options early, so that none fails when the first WebSocket opens; see `Options`.

    Raises:
        LocalProtocolError: `limit`, `memory_limit` or `max_frame` is out of range: 0, or 1, to 2^63-1; or there is no room for a message.
        TypeError: an option has the wrong type.
    """
    for name, value in options.items():
        match name:
            case "limit" | "max_frame":
                if value is not None:
                    check_int(name, value, 0 if name == "limit" else 1, INT63, " bytes, or None for no limit")
            case "memory_limit":
                if value is not None and value != "auto":
                    check_int(name, value, 0, INT63, ' bytes, "auto" for 8 times `limit`, or None for no limit')
            case "parts" | "text_as_bytes" | "auto_pong":
                if not isinstance(value, bool):
                    raise TypeError(f"{name} is True or False, not {value!r}")
            case "entropy":
                if not callable(value):
                    raise TypeError(f"entropy is called with a number of bytes, which {value!r} cannot be")
    memory_limit, limit = options.get("memory_limit"), options.get("limit", DEFAULT_LIMIT)
    if options.get("parts", False) or not isinstance(memory_limit, int):
        return
    if not isinstance(limit, int) or memory_limit < limit:
        least = "None, as limit is" if limit is None else f"at least limit, {limit} bytes"
        raise LocalProtocolError(f"memory_limit must be {least}, so that a message has room")


def memory_of(options: Options) -> int | None:
    """Give how many bytes a connection may hold with these options; `None` is no limit."""
    memory_limit = options.get("memory_limit", "auto")
    if memory_limit != "auto":
        return memory_limit
    limit = options.get("limit", DEFAULT_LIMIT)
    return None if limit is None else min(MEMORY_FACTOR * limit, INT63)


class Counters(NamedTuple):
    """The traffic of a connection since its opening handshake.

    Attributes:
        messages_received, messages_sent: complete messages.
        frames_received, frames_sent: frames, including control frames.
        bytes_received, bytes_sent: uncompressed payload bytes of messages, including those of fragments and parts so far.

    Messages count as sent once encoded: they may still wait to be written.
    """

    messages_received: int
    frames_received: int
    bytes_received: int
    messages_sent: int
    frames_sent: int
    bytes_sent: int


class CompressedCounters(NamedTuple):
    """The compressed messages of a connection since its opening handshake, which `Counters` counts too.

    Attributes:
        compressed_received, compressed_sent: payload bytes as they are on the wire.
        inflated_received, inflated_sent: the same messages without compression.
    """

    compressed_received: int
    inflated_received: int
    compressed_sent: int
    inflated_sent: int


class Rejection(NamedTuple):
    """A response that rejects a WebSocket, while its body is received."""

    status: int
    headers: Headers
    body: bytearray

    def add(self, data: bytes | bytearray) -> bool:
        """Append to the body; return whether its limit is reached."""
        self.body.extend(data[: REJECTION_LIMIT - len(self.body)])
        return len(self.body) == REJECTION_LIMIT


class StreamedBody(Protocol):
    """The rest of a response, sent in parts: a `StreamedResponse` of `mintws.http1` or `mintws.http2`.

    Attributes:
        closed: nothing more is sent: the response is whole, or the client has gone.
        buffered: how many bytes wait for the client's windows.
    """

    @property
    def closed(self) -> bool: ...
    @property
    def buffered(self) -> int: ...

    def send_head(self, status: int, headers: Headers, data: bytes) -> bytes:
        """Write the head and the first part of the body."""

    def send(self, data: bytes, *, end: bool = False) -> bytes:
        """Write a part; `end` says that it is the last."""

    def abandon(self) -> bytes:
        """Give the response up, so that the client learns that it is not whole."""


class StreamSigns(NamedTuple):
    """What a stream that shares its transport says of its peer.

    Attributes:
        heard: a count that grows with what comes on the stream, and with what the peer makes room for there.
        probes_answered: how many probes of the transport were answered.
        withheld: whether flow control may hold back a frame of either side.
    """

    heard: int
    probes_answered: int
    withheld: bool


class Carrier(ABC):
    """The carrier of a WebSocket's handshake and bytes: HTTP/1.1, a stream of HTTP/2, or another program's server.

    Each method returns the bytes to write now, unless the carrier writes by itself. Header values represent bytes, decoded as latin-1.
    """

    __slots__ = ()

    #: The version of the opening handshake: "1.1" (RFC 6455 §4) or "2" (RFC 8441 §5).
    http_version: str
    #: The scheme of the URL, "http" or "https": a pseudo-header of HTTP/2.
    scheme: str = "http"
    #: The number of the stream, over HTTP/2; 0 while it has none.
    number: int = 0

    @abstractmethod
    def send_request(self, target: str, headers: Headers) -> bytes:
        """Write the head of the client's request; over HTTP/2 the pseudo-headers are among `headers`."""

    @abstractmethod
    def send_response(self, status: int, headers: Headers, body: bytes | None) -> bytes:
        """Write the server's answer. `body` is `None` if the WebSocket follows; otherwise the response ends with it."""

    def stream_refusal(self) -> StreamedBody:
        """Give what sends the server's refusal in parts, with its head."""
        raise LocalProtocolError("this carrier sends a refusal whole: send an UpgradeReject")

    @abstractmethod
    def send_data(self, data: bytes) -> bytes:
        """Write frames."""

    @abstractmethod
    def send_end(self) -> bytes:
        """End the sending half: both Closes have been exchanged."""

    def pause(self) -> None:
        """Grant the peer no more credit."""

    def resume(self) -> bytes:
        """Grant credit to the peer again."""
        return b""

    def abort(self) -> bytes:
        """End at once, without a closing handshake."""
        return b""

    def refuse(self) -> bytes:
        """End at once, before the request was processed in any way."""
        return self.abort()

    @property
    def buffered(self) -> int:
        """The number of bytes held back by the peer's flow control."""
        return 0

    @property
    def life_signs(self) -> StreamSigns | None:
        """What it says of its peer, if its transport carries others too; `None` if all that comes there is of this one."""
        return None

    @property
    def refusal(self) -> tuple[int, Headers, bytes | bytearray] | None:
        """The status, headers and partial body of a server's refusal whose body has not ended."""
        return None

    @property
    def done(self) -> bool:
        """Whether nothing more is expected from the peer."""
        return False

    @property
    def unprocessed(self) -> bool:
        """Whether the server has certainly not processed the request, which can be sent again elsewhere (RFC 9113 §8.7)."""
        return False


class Connection(_core.Endpoint):
    """One end of one WebSocket, without I/O.

    Args:
        role: client or server.
        carrier: the carrier of its bytes.
        limit, memory_limit, max_frame, parts, text_as_bytes, auto_pong, entropy: see `Options`.

    Attributes:
        role: client or server.
        request: the request of the opening handshake, once sent or received.
        response: the server's answer, once sent or received.
        extensions: the extensions agreed on, in the order of the header.
        owner: an object of the driver, for it to find when an event arrives; initially `None`. The asyncio driver sets its own.
        app: an object of the application, which mintws never touches; initially `None`.
    """

    __slots__ = (
        "__weakref__",
        "_carrier",
        "_entropy",
        "_handshake",
        "_key",
        "_options",
        "_seed",
        "app",
        "extensions",
        "owner",
        "request",
        "response",
        "role",
    )

    @explained()
    def __init__(
        self,
        role: Role,
        carrier: Carrier,
        *,
        limit: int | None = DEFAULT_LIMIT,
        memory_limit: MemoryLimit = "auto",
        max_frame: int | None = None,
        parts: bool = False,
        text_as_bytes: bool = False,
        auto_pong: bool = True,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if not isinstance(role, Role):
            raise TypeError(f"role is Role.CLIENT or Role.SERVER, not {role!r}")
        options: Options = {
            "limit": limit,
            "memory_limit": memory_limit,
            "max_frame": max_frame,
            "parts": parts,
            "text_as_bytes": text_as_bytes,
            "auto_pong": auto_pong,
            "entropy": entropy,
        }
        check_options(options)
        handshake = _HANDSHAKES.get(carrier.http_version)
        if handshake is None:
            raise LocalProtocolError(f'http_version of a carrier is "1.1" or "2", not {carrier.http_version!r}')
        self.role = role
        self._carrier: Carrier | ReferenceType[Carrier] = carrier
        self._handshake = handshake
        self.request: UpgradeRequest | None = None
        self.response: UpgradeAccept | UpgradeReject | None = None
        self.extensions: tuple[Agreed, ...] = ()
        self.owner: Any = None
        self.app: Any = None
        self._options = options
        self._entropy = entropy
        self._key = ""
        self._seed = b""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.role.name} {self.state.name} over HTTP/{self.carrier.http_version}>"

    @property
    def carrier(self) -> Carrier:
        """The carrier of its bytes."""
        carrier = self._carrier
        return (carrier() or _LEFT) if isinstance(carrier, ReferenceType) else carrier

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol agreed on, or `None`."""
        return self.response.subprotocol if isinstance(self.response, UpgradeAccept) else None

    @property
    def counters(self) -> Counters:
        """The number of messages, frames and bytes received and sent."""
        return Counters(*self._traffic)

    @property
    def compressed_counters(self) -> CompressedCounters:
        """The number of bytes of compressed messages received and sent."""
        return CompressedCounters(*self._compressed_traffic)

    @property
    def buffered(self) -> int:
        """The number of sent bytes that the peer's flow control holds back; always 0 over HTTP/1.1."""
        return self.carrier.buffered

    @property
    def refusal(self) -> UpgradeReject | None:
        """A server's refusal, once its head has been received: with the body so far, and finally complete, as in `response`."""
        if isinstance(self.response, UpgradeReject):
            return self.response
        refusal = self.carrier.refusal if self.state is State.REQUESTED else None
        return None if refusal is None else _rejection(*refusal)

    def pause(self) -> None:
        """Stop granting credit to the peer, while the caller is busy with earlier messages.

        Over HTTP/2 this stops one stream; others continue. Over HTTP/1.1 `Http1.reading` becomes `False`.
        """
        self.carrier.pause()

    def resume(self) -> bytes:
        """Grant credit to the peer again; return bytes to write now."""
        return self.carrier.resume()

    def abort(self) -> bytes:
        """End at once, without a closing handshake or during one that the peer does not complete; return bytes to write now.

        Over HTTP/2 the stream is reset with CANCEL (RFC 8441 §5). Over HTTP/1.1 `Http1.done` becomes `True`: close the transport.
        """
        self._abandon()
        return self.carrier.abort()

    def refuse(self) -> bytes:
        """Refuse a request that nothing was done for, so that the client may send it again; return bytes to write now.

        Over HTTP/2 the stream is reset with REFUSED_STREAM (RFC 9113 §8.7). HTTP/1.1 has no such thing: reject it with 503.
        """
        self._abandon()
        return self.carrier.refuse()

    def stream_reject(self, reject: UpgradeReject) -> tuple[StreamedBody, bytes]:
        """Refuse the WebSocket, as `send` does, but with a body of which `reject` has only the first part.

        Returns:
            What sends the rest of the body, and the bytes to write now. A Content-Length is not among the headers.

        Raises:
            LocalProtocolError: this is no server that is to answer, or the refusal is against a rule. Nothing was sent.
        """
        self._check_turn(Role.SERVER, State.REQUESTED, "refuses a request that it has not answered")
        lines = self._handshake.write_rejection(reject.status, list(reject.headers), len(reject.body))
        headers = tuple(line for line in lines if line[0].lower() not in (":status", "content-length"))
        rest = self.carrier.stream_refusal()
        self._sent("UpgradeReject")
        self.response = reject
        return rest, rest.send_head(reject.status, headers, reject.body)

    def receive_request(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        method: bytes = b"GET",
        target: bytes = b"/",
        http_version: bytes = b"1.1",
    ) -> Received:
        """Take the head of a client's request (RFC 6455 §4.2.1, RFC 8441 §5).

        Args:
            headers: names and values. Over HTTP/2 they include the pseudo-headers, and the other arguments are ignored.
            method, target, http_version: the request line of HTTP/1.1, with a version such as `b"1.1"`.

        Returns:
            An `UpgradeRequest`; or `Failed`, with the refusal in `reply`; or nothing over HTTP/2, if the request does not ask for a
            WebSocket.

        Raises:
            LocalProtocolError: this is a client, or the call is the second one: a connection has one opening handshake.
            TypeError: an argument is not bytes.
        """
        self._check_turn(Role.SERVER, State.CONNECTING, "takes one request, first of all")
        fields = lines(headers)
        for part in (method, target, http_version):
            if not isinstance(part, bytes):
                raise TypeError(f"method, target and http_version are bytes, not {part!r}")
        read = self._handshake.read_request(fields, method=method, target=target, http_version=http_version)
        if read is None:
            return [], b""
        if isinstance(read, _core.HandshakeRefusal):
            self._received("Failed")
            return [(self, Failed(read.error))], self.carrier.send_response(read.status, read.headers, read.body)
        self._key = read.key
        self.request = UpgradeRequest(
            read.host,
            read.target,
            headers=read.headers,
            subprotocols=read.subprotocols,
            extensions=_offers(read.extensions),
            raw_headers=_raw(fields, read.host),
        )
        self._received("UpgradeRequest")
        return [(self, self.request)], b""

    def receive_response(self, headers: Iterable[tuple[bytes, bytes]]) -> Received:
        """Take the head of a server's acceptance: the headers of a 101 or, over HTTP/2, of a 2xx.

        Raises:
            LocalProtocolError: this is a server, or no answer is expected.
            TypeError: an argument is not bytes.
        """
        self._check_turn(Role.CLIENT, State.REQUESTED, "takes one answer, to its request")
        assert self.request is not None
        read = self._handshake.read_response(lines(headers), list(self.request.subprotocols), key=self._key)
        if isinstance(read, RemoteProtocolError):
            return self.fail(read)
        answers = _offers(read.extensions)
        try:
            agreed = match(answers, self.request.extensions)
            self._begin(agreed)
        except RemoteProtocolError as broken:
            return self.fail(broken)
        except Exception as cause:
            return self.fail(failure(cause))
        self.response = UpgradeAccept(subprotocol=read.subprotocol, extensions=answers, headers=read.headers)
        self._received("UpgradeAccept")
        self._agree(agreed)
        return [(self, self.response)], b""

    def receive_rejection(self, status: int, headers: Headers, body: bytes) -> Received:
        """Take a server's complete refusal. Malformed headers are omitted.

        Raises:
            LocalProtocolError: this is a server, or no answer is expected.
        """
        self._check_turn(Role.CLIENT, State.REQUESTED, "takes one answer, to its request")
        self.response = _rejection(status, headers, body)
        self._received("UpgradeReject")
        return [(self, self.response)], b""

    def receive_end(self, reason: str | None = None) -> Received:
        """Take the end of the peer's bytes. Return `Failed` with 1006, unless the end was due."""
        events: list[tuple[Connection, Event]] = []
        self._lose(events, reason)
        return events, self._take_replies(events)

    def receive_early(self) -> Received:
        """Decode the bytes received before the opening handshake was done."""
        events: list[tuple[Connection, Event]] = []
        self._receive_early(events)
        return events, self._take_replies(events)

    def fail(self, error: RemoteProtocolError) -> Received:
        """Fail the connection for a fault found by the carrier."""
        events: list[tuple[Connection, Event]] = []
        self._fail(events, error)
        return events, b""

    def _hold(self, carrier: Carrier, *, weakly: bool) -> None:
        """Refer to a carrier that refers to the connection: weakly, to avoid a reference cycle, unless it still has to send a head."""
        self._carrier = ref(carrier) if weakly else carrier

    def _check_turn(self, role: Role, state: State, rule: str) -> None:
        """Raise unless the call fits the role and the state of the opening handshake."""
        if self.role is not role or self.state is not state:
            raise LocalProtocolError(f"a {role.name.lower()} {rule}; this is a {self.role.name} in {self.state.name}")

    def _send_other(self, event: object) -> bytes:
        """Send an event that is not a frame."""
        match event:
            case UpgradeRequest():
                return self._ask(event)
            case UpgradeAccept():
                return self._accept(event)
            case UpgradeReject():
                return self._reject(event)
            case Failed(RemoteProtocolError()):
                return self._send_failed(closing(event))
        raise TypeError(f"send() takes an event, not {type(event).__name__}: wrap str in Text and bytes in Binary")

    def _ask(self, request: UpgradeRequest) -> bytes:
        self._check("UpgradeRequest")
        key = self._handshake.new_key(self._draw)
        seed = self._draw(32)
        headers = _write_request(request, self._handshake, key, self.carrier.scheme)
        data = self.carrier.send_request(request.target, headers)
        self._sent("UpgradeRequest")
        self.request, self._key, self._seed = request, key, seed
        return data

    def _accept(self, accept: UpgradeAccept) -> bytes:
        if not self._check("UpgradeAccept"):
            return b""
        assert self.request is not None
        accept = accept.fill()
        asked = [it for it in self.request.extensions if isinstance(it, Offer)]
        agreed = choose(asked, accept.extensions)
        headers = self._handshake.write_response(
            list(self.request.subprotocols),
            accept.subprotocol,
            [it.answer for it in agreed],
            list(accept.headers),
            key=self._key,
        )
        # All that can raise is called before the response, so that an exception changes nothing.
        self._begin(agreed)
        data = self.carrier.send_response(self._handshake.accepting, headers, None)
        self._sent("UpgradeAccept")
        self.response = accept
        self._agree(agreed)
        return data

    def _reject(self, reject: UpgradeReject) -> bytes:
        if not self._check("UpgradeReject"):
            return b""
        headers = self._handshake.write_rejection(reject.status, list(reject.headers), len(reject.body))
        data = self.carrier.send_response(reject.status, headers, reject.body)
        self._sent("UpgradeReject")
        self.response = reject
        return data

    def _begin(self, agreed: Sequence[Agreed]) -> None:
        """Set up the extensions: permessage-deflate next to the wire in the core, all others in a chain."""
        limit = self._options.get("limit", DEFAULT_LIMIT)
        client = self.role is Role.CLIENT
        native = agreed[-1].transform if agreed and isinstance(agreed[-1].transform, Deflate) else None
        others = [it for it in agreed if it.transform is not native]
        bits = 0
        for it in others:
            bits |= it.rsv
        self._open(
            carrier=None if isinstance(self.carrier, Direct) else self.carrier,
            limit=in_transit(limit) if others else limit,
            memory_limit=memory_of(self._options),
            max_frame=self._options.get("max_frame"),
            parts=self._options.get("parts", False),
            auto_pong=self._options.get("auto_pong", True),
            text_as_bytes=self._options.get("text_as_bytes", False),
            seed=self._seed if client else None,
            rsv=bits,
            transforms=Chain(others, limit, client=client) if others else None,
            inflate=native.inflate(client=client) if native else None,
            deflate=native.deflate(client=client) if native else None,
            pool=native.wish.pool if native else None,
        )

    def _agree(self, agreed: Sequence[Agreed]) -> None:
        """Store the extensions agreed on, and drop the state of the handshake."""
        self.extensions = tuple(agreed)
        self._options, self._seed = _SPENT, b""

    def _draw(self, count: int) -> bytes:
        """Return random bytes from the given source."""
        drawn: object = self._entropy(count)
        if not isinstance(drawn, bytes) or len(drawn) != count:
            raise LocalProtocolError(f"entropy must give as many bytes as it is asked for: {count}")
        return drawn


def check_request(request: UpgradeRequest) -> None:
    """Check a request early, so that it does not fail after the transport has connected.

    Raises:
        LocalProtocolError: it breaks a rule, so that no client can send it.
        TypeError: a part of it has the wrong type.
    """
    _write_request(request, _core.Handshake.HTTP2, "", "https")


def closing(failed: Failed) -> _core.Close:
    """Return the Close that answers a fault (RFC 6455 §7.1.7)."""
    error = failed.error
    return _core.closing(error.code, error.args[0] if error.args else "")


class Direct(Carrier):
    """A carrier that writes frames unchanged: the result of `send` is written to the transport."""

    __slots__ = ()

    http_version = "1.1"

    def send_data(self, data: bytes) -> bytes:
        return data

    def send_end(self) -> bytes:
        return b""


class _Left(Direct):
    """The carrier of a connection whose own carrier has been freed. Nothing more is received."""

    __slots__ = ()

    def send_request(self, target: str, headers: Headers) -> bytes:
        return b""

    def send_response(self, status: int, headers: Headers, body: bytes | None) -> bytes:
        return b""


_LEFT = _Left()


def _write_request(request: UpgradeRequest, handshake: _core.Handshake, key: str, scheme: str) -> Headers:
    return handshake.write_request(
        request.host,
        request.target,
        list(request.headers),
        list(request.subprotocols),
        offers(request.extensions),
        key=key,
        scheme=scheme,
    )


def _rejection(status: int, headers: Headers, body: bytes | bytearray) -> UpgradeReject:
    return UpgradeReject(status, headers=_core.well_formed(headers), body=body)


def _raw(fields: Sequence[tuple[bytes, bytes]], host: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request, with names in lower case and one `host`, of the value that counts.

    Over HTTP/2 that is `:authority` (RFC 9113 §8.3.1), over HTTP/1.1 the host of an absolute target (RFC 9112 §3.2.2).
    """
    line = (b"host", host.encode())
    others = [(name.lower(), value) for name, value in fields if not name.startswith(b":")]
    if any(name == b":authority" for name, _ in fields):
        return [line, *(it for it in others if it[0] != b"host")]
    return [line if it[0] == b"host" else it for it in others]


def _offers(extensions: Sequence[tuple[str, Params]]) -> tuple[Offer, ...]:
    return tuple(Offer(name, params) for name, params in extensions)
