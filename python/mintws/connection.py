"""One WebSocket, over whatever carries it: the opening handshake, messages, the closing handshake.

Over HTTP/1.1 and HTTP/2 the carriers are `Http1` and `Http2`. Over another program's HTTP server, `Connection` works with a `Carrier` of
that program's: hand the request to `receive_request`, the bytes behind it to `receive`, and write what `send` returns.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypedDict
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

#: What `receive` gives: pairs of a connection and its event, oldest first, and bytes to write now.
Received: TypeAlias = tuple[list[tuple["Connection", Event]], bytes]

#: Gives what a server adds to the headers of a response.
ResponseHeaders: TypeAlias = Callable[[], Mapping[str, str] | Iterable[tuple[str, str]]]

#: The most bytes of a message, if nothing else is said: 1 MiB.
DEFAULT_LIMIT = 1 << 20


class Options(TypedDict, total=False):
    """What can be chosen for a connection, by keyword.

    Attributes:
        limit: the most bytes of a message, inflated, inclusive; `None` is no limit. More fails the connection with 1009
            (RFC 6455 §10.4). 1 MiB unless it is given.
        max_frame: the most bytes of payload in one frame of a message that is sent; `None` is no limit. A longer message, once it is
            compressed, leaves as fragments (§5.4): in one piece, with no control frame among them. For peers that refuse large frames.
        parts: messages that do not come in one piece are handed on in parts of at most 128 KiB, as their bytes come: events whose
            `fin` is `False` but for the last. No part waits for the next frame or chunk. The limit holds for the whole.
        text_as_bytes: `Text.data` is `bytes`, checked to be UTF-8, instead of `str`.
        auto_pong: each Ping is answered in `reply` (§5.5.2). If `False`, send the `Pong` yourself.
        entropy: gives so many random bytes, for the key of the handshake and the masking-keys (§10.3): `os.urandom`, or a source
            that a test can foretell.
    """

    limit: int | None
    max_frame: int | None
    parts: bool
    text_as_bytes: bool
    auto_pong: bool
    entropy: Callable[[int], bytes]


#: The opening handshake over each version of HTTP.
_HANDSHAKES = {"1.1": _core.Handshake.HTTP1, "2": _core.Handshake.HTTP2}

#: The options of a connection that has opened: they have done their work.
_SPENT: Options = {}


def check_options(options: Mapping[str, object]) -> None:
    """Check options where they are given, so that none fails when the first WebSocket opens; see `Options`.

    Raises:
        LocalProtocolError: `limit` or `max_frame` is out of range: 0, or 1, to 2^63-1.
        TypeError: an option has the wrong type.
    """
    for name, value in options.items():
        match name:
            case "limit" | "max_frame":
                if value is not None:
                    check_int(name, value, 0 if name == "limit" else 1, INT63, " bytes, or None for no limit")
            case "parts" | "text_as_bytes" | "auto_pong":
                if not isinstance(value, bool):
                    raise TypeError(f"{name} is True or False, not {value!r}")
            case "entropy":
                if not callable(value):
                    raise TypeError(f"entropy is called with a number of bytes, which {value!r} cannot be")


class Counters(NamedTuple):
    """What has passed on a connection since its opening handshake.

    Attributes:
        messages_received, messages_sent: whole messages.
        frames_received, frames_sent: frames, control frames among them.
        bytes_received, bytes_sent: payload bytes of messages, uncompressed; those of fragments and parts count as they come and go.

    Sent is what has been encoded: it may still wait to be written.
    """

    messages_received: int
    frames_received: int
    bytes_received: int
    messages_sent: int
    frames_sent: int
    bytes_sent: int


class Rejection(NamedTuple):
    """A response that rejects a WebSocket, while its body comes."""

    status: int
    headers: Headers
    body: bytearray

    def add(self, data: bytes | bytearray) -> bool:
        """Keep more of the body; say whether it is as long as it may be."""
        self.body.extend(data[: REJECTION_LIMIT - len(self.body)])
        return len(self.body) == REJECTION_LIMIT


class Carrier(ABC):
    """What brings a WebSocket's handshake and bytes to the peer: HTTP/1.1, a stream of HTTP/2, another program's server.

    Each method returns the bytes to write now, if the carrier does not write by itself. The values of headers stand for bytes, in latin-1.
    """

    __slots__ = ()

    #: "1.1" or "2": which opening handshake is spoken (RFC 6455 §4 or RFC 8441 §5).
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
        """Write the server's answer: `body` is `None` where the WebSocket follows, else the response ends with it."""

    @abstractmethod
    def send_data(self, data: bytes) -> bytes:
        """Write frames."""

    @abstractmethod
    def send_end(self) -> bytes:
        """Say that nothing more follows: both Closes have passed."""

    def pause(self) -> None:
        """Let the peer send no more than it already may."""

    def resume(self) -> bytes:
        """Let the peer go on."""
        return b""

    def abort(self) -> bytes:
        """End at once, without a closing handshake."""
        return b""

    @property
    def buffered(self) -> int:
        """How many bytes wait for the peer's permission."""
        return 0

    @property
    def refusal(self) -> tuple[int, Headers, bytes | bytearray] | None:
        """The status, the headers and the body so far of a server's no whose body has not ended."""
        return None

    @property
    def done(self) -> bool:
        """Whether nothing more is awaited from the peer."""
        return False


class Connection(_core.Endpoint):
    """One end of one WebSocket: a value that the caller drives.

    Args:
        role: which end.
        carrier: what carries it.
        limit, max_frame, parts, text_as_bytes, auto_pong, entropy: see `Options`.

    Attributes:
        role: which end.
        request: the request of the opening handshake, once it was sent or received.
        response: the server's answer, once it was sent or received.
        extensions: what was agreed on, in the order of the header.
        owner: whatever a driver wants to find again when an event comes; `None` at first. The asyncio driver keeps its own here.
        app: whatever the application wants to find again: nothing here touches it. `None` at first.
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
        """What carries it."""
        carrier = self._carrier
        return (carrier() or _LEFT) if isinstance(carrier, ReferenceType) else carrier

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self.response.subprotocol if isinstance(self.response, UpgradeAccept) else None

    @property
    def counters(self) -> Counters:
        """How many messages, frames and bytes have passed."""
        return Counters(*self._traffic)

    @property
    def buffered(self) -> int:
        """How many bytes were sent that the peer's flow control does not let pass yet: always 0 over HTTP/1.1."""
        return self.carrier.buffered

    @property
    def refusal(self) -> UpgradeReject | None:
        """A server's no, from when its head has come: with the body so far, and then whole, as `response` has it."""
        if isinstance(self.response, UpgradeReject):
            return self.response
        refusal = self.carrier.refusal if self.state is State.REQUESTED else None
        return None if refusal is None else _rejection(*refusal)

    def pause(self) -> None:
        """Let the peer send no more than it may already, while the caller is busy with earlier messages.

        Over HTTP/2 its stream gets no more credit; others go on. Over HTTP/1.1 `Http1.reading` says not to read the transport.
        """
        self.carrier.pause()

    def resume(self) -> bytes:
        """Let the peer go on; returns bytes to write now."""
        return self.carrier.resume()

    def abort(self) -> bytes:
        """End at once, without a closing handshake or after one that the peer does not end; returns bytes to write now.

        Over HTTP/2 the stream is reset with CANCEL (RFC 8441 §5); over HTTP/1.1 the transport is to be closed: `Http1.done`.
        """
        self._abandon()
        return self.carrier.abort()

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
            headers: names and values; over HTTP/2 the pseudo-headers are among them, and the other arguments mean nothing.
            method, target, http_version: the request line of HTTP/1.1, the version as in `b"1.1"`.

        Returns:
            An `UpgradeRequest`; or `Failed`, and in `reply` the response that refuses; or nothing over HTTP/2, if it does not ask
            for a WebSocket.

        Raises:
            LocalProtocolError: on a client, or for the second time: a connection has one opening handshake.
            TypeError: something is not bytes.
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
            raw_headers=_raw(fields),
        )
        self._received("UpgradeRequest")
        return [(self, self.request)], b""

    def receive_response(self, headers: Iterable[tuple[bytes, bytes]]) -> Received:
        """Take the head of a server's yes: the headers of a 101 or, over HTTP/2, of a 2xx.

        Raises:
            LocalProtocolError: on a server, or no answer is awaited.
            TypeError: something is not bytes.
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
        """Take a server's no, whole; of its headers those that are well-formed.

        Raises:
            LocalProtocolError: on a server, or no answer is awaited.
        """
        self._check_turn(Role.CLIENT, State.REQUESTED, "takes one answer, to its request")
        self.response = _rejection(status, headers, body)
        self._received("UpgradeReject")
        return [(self, self.response)], b""

    def receive_end(self, reason: str | None = None) -> Received:
        """Take the end of what the peer sends: `Failed` with 1006, unless the end was due."""
        events: list[tuple[Connection, Event]] = []
        self._lose(events, reason)
        return events, self._settle(events)

    def receive_early(self) -> Received:
        """Say what the bytes mean that came before the opening handshake was done."""
        events: list[tuple[Connection, Event]] = []
        self._receive_early(events)
        return events, self._settle(events)

    def fail(self, error: RemoteProtocolError) -> Received:
        """Take note of a fault that the carrier found."""
        events: list[tuple[Connection, Event]] = []
        self._fail(events, error)
        return events, b""

    def _hold(self, carrier: Carrier, *, weakly: bool) -> None:
        """Hold a carrier that holds the connection: weakly, so that neither waits for the collector, unless it is to send a head."""
        self._carrier = ref(carrier) if weakly else carrier

    def _check_turn(self, role: Role, state: State, rule: str) -> None:
        """Raise unless what is handed in is of the opening handshake as it stands."""
        if self.role is not role or self.state is not state:
            raise LocalProtocolError(f"a {role.name.lower()} {rule}; this is a {self.role.name} in {self.state.name}")

    def _send_other(self, event: object) -> bytes:
        """Send what is no frame."""
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
        # Whatever can raise comes before the response, so that nothing has moved if it does.
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
        """Make what the extensions ask for: permessage-deflate next to the wire in the core, all others in a chain."""
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
        """Keep what was agreed on, and let go of what has done its work."""
        self.extensions = tuple(agreed)
        self._options, self._seed = _SPENT, b""

    def _draw(self, count: int) -> bytes:
        """Take random bytes from the source that was given."""
        drawn: object = self._entropy(count)
        if not isinstance(drawn, bytes) or len(drawn) != count:
            raise LocalProtocolError(f"entropy must give as many bytes as it is asked for: {count}")
        return drawn


def check_request(request: UpgradeRequest) -> None:
    """Check a request where it is given, so that it does not fail when the transport is there.

    Raises:
        LocalProtocolError: it breaks a rule, and no client can send it.
        TypeError: something in it has the wrong type.
    """
    _write_request(request, _core.Handshake.HTTP2, "", "https")


def closing(failed: Failed) -> _core.Close:
    """Make the Close that answers a fault (RFC 6455 §7.1.7)."""
    error = failed.error
    return _core.closing(error.code, error.args[0] if error.args else "")


class Direct(Carrier):
    """A carrier on which frames are the bytes of the transport: what `send` makes is what is to be written."""

    __slots__ = ()

    http_version = "1.1"

    def send_data(self, data: bytes) -> bytes:
        return data

    def send_end(self) -> bytes:
        return b""


class _Left(Direct):
    """What carries a connection to whose carrier nobody holds: nothing comes any more."""

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


def _raw(fields: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Give the headers of a request, names in lower case, without pseudo-headers: `:authority` is Host (RFC 9113 §8.3.1)."""
    authority = [(b"host", value) for name, value in fields if name == b":authority"]
    others = [(name.lower(), value) for name, value in fields if not name.startswith(b":")]
    return authority + [line for line in others if line[0] != b"host"] if authority else others


def _offers(extensions: Sequence[tuple[str, Params]]) -> tuple[Offer, ...]:
    return tuple(Offer(name, params) for name, params in extensions)
