"""Events: the values that `receive` returns and `send` accepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, overload
from urllib.parse import parse_qs

from mintws import _core
from mintws._core import Binary, Close, Ping, Pong, PreparedMessage, Text
from mintws.errors import LocalProtocolError, RemoteProtocolError
from mintws.extensions import Extension, Offer
from mintws.headers import HeaderFields

__all__ = [
    "Binary",
    "BodyData",
    "Close",
    "Event",
    "Failed",
    "HeaderFields",
    "Headers",
    "MessageEnded",
    "MessageReset",
    "NotGiven",
    "Peer",
    "Ping",
    "Pong",
    "PreparedMessage",
    "RawHeaders",
    "Request",
    "RequestStarted",
    "Response",
    "ResponseStarted",
    "Role",
    "Sendable",
    "State",
    "Text",
    "UpgradeAccept",
    "UpgradeReject",
    "UpgradeRequest",
    "check_str",
    "completed",
    "decoded",
    "encoded",
    "lines",
    "pairs",
]

#: Names and values. A value represents bytes, decoded as latin-1 (RFC 9110 §5.5).
Headers: TypeAlias = tuple[tuple[str, str], ...]


_NO_HEADERS = HeaderFields()


class RawHeaders(Sequence[tuple[bytes, bytes]]):
    """Headers as received, in order: pairs of name and value.

    A connection keeps the headers of its request, so they are stored as one `bytes`. The headers of a browser take 0.6 KiB; as pairs, 2.2.

    Args:
        headers: pairs of bytes.

    Raises:
        LocalProtocolError: a header is malformed.
        TypeError: `headers` are not pairs of bytes.
    """

    __slots__ = ("_joined",)

    def __init__(self, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        given = lines(headers)
        if fault := _core.check_fields(given):
            raise LocalProtocolError(fault.args[0])
        #: Names and values in turn. Neither can contain a line feed.
        self._joined = b"\n".join(part for line in given for part in line)

    def __len__(self) -> int:
        return (self._joined.count(b"\n") + 1) // 2

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        parts = self._joined.split(b"\n")
        return zip(parts[::2], parts[1::2], strict=False)

    @overload
    def __getitem__(self, index: int) -> tuple[bytes, bytes]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[bytes, bytes], ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == (tuple(other) if isinstance(other, RawHeaders) else other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"RawHeaders({tuple(self)!r})"


class Role(IntEnum):
    """The two ends of a connection (RFC 6455 §1.2)."""

    CLIENT = 0
    SERVER = 1


class State(IntEnum):
    """The state of a WebSocket (RFC 6455 §4, §7.1). `docs/architecture.md` has a diagram of the transitions."""

    CONNECTING = 0
    """The opening handshake has not begun."""
    REQUESTED = 1
    """The client has sent its request; the server has not answered."""
    OPEN = 2
    """Both sides can send messages."""
    CLOSING = 3
    """We have sent a Close. The peer can still send messages."""
    REMOTE_CLOSING = 4
    """The peer has sent a Close or broken a rule. Our Close is still to be sent, after the answers to earlier messages."""
    CLOSED = 5
    """Closed. If the peer vanished, answers to earlier events are discarded until its `Failed` has been sent."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a transport, provided by the driver that owns the transport.

    Copies and pickles lack the TLS object, because it belongs to the transport.

    Attributes:
        address: the result of `socket.getpeername`: a tuple that begins with host and port, or the path of a Unix socket, which is empty
            if the other end is not bound to one. Behind proxies that are trusted to tell it, that of their client; `None` if they do not.
        tls: the `ssl.SSLObject` of a transport with TLS, or `None`.
        proxy: the address of such a proxy, the last before the server; `None` if there is none.
        scheme, host: what the client has asked the first of the proxies for, "https" or "http" and a host with its port, if they tell.
        tlvs: the type and value of each TLV of a PROXY header.
    """

    address: Any
    tls: Any = None
    proxy: Any = field(default=None, kw_only=True)
    scheme: str | None = field(default=None, kw_only=True)
    host: str | None = field(default=None, kw_only=True)
    tlvs: tuple[tuple[int, bytes], ...] = field(default=(), kw_only=True)

    def __reduce__(self) -> tuple[Any, ...]:
        told = {"proxy": self.proxy, "scheme": self.scheme, "host": self.host, "tlvs": self.tlvs}
        return partial(Peer, **told), (self.address,)

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The peer's certificate as from `ssl.SSLSocket.getpeercert`: `None` if there is none, empty if it was not verified."""
        certificate: dict[str, Any] | None = None if self.tls is None else self.tls.getpeercert()
        return certificate


class _Target:
    """What the target and the headers of a request mean."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def target(self) -> str: ...
        @property
        def headers(self) -> HeaderFields: ...

    @property
    def path(self) -> str:
        """The path of the target, as it was sent: percent-encoded, without the query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, list[str]]:
        """The values of the query, by name, decoded."""
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, by name (RFC 6265 §4.2). Of several with the same name it is the first, that of the longest path (§5.4)."""
        found: dict[str, str] = {}
        for part in "; ".join(self.headers.all("cookie")).split(";"):
            name, equals, value = part.strip().partition("=")
            if equals:
                quoted = len(value) > 1 and value[0] == value[-1] == '"'
                found.setdefault(name, value[1:-1] if quoted else value)
        return found


@dataclass(frozen=True, slots=True)
class UpgradeRequest(_Target):
    """The client's half of the opening handshake (RFC 6455 §4.1, RFC 8441 §5).

    Args:
        host: the server as named in the URL, with the port unless it is the default of the scheme.
        target: path and query, beginning with "/".
        headers: further headers, as pairs or a mapping: Origin, Cookie, Authorization. Received, their names are in lower
            case. Headers that the handshake itself writes are not allowed.
        subprotocols: the subprotocols that the client speaks, in order of preference.
        extensions: the extensions that the client offers, in order of preference. Received, the offers as in the header.
        raw_headers: all headers of a received request, in order, including those of the handshake, with names in lower case. Over HTTP/2
            they have no pseudo-headers; `:authority` comes first, as `host`. Over HTTP/1.1 the host of an absolute target stands in place
            of that of Host (RFC 9112 §3.2.2). They are not sent, and comparisons ignore them.
        peer: the client, on a server with a driver; otherwise `None`. Comparisons ignore it.

    Raises:
        LocalProtocolError: a header is malformed, or one that the handshake itself writes.
        TypeError: an argument has a wrong type.
    """

    host: str
    target: str = "/"
    headers: HeaderFields = field(default=_NO_HEADERS, kw_only=True)
    subprotocols: tuple[str, ...] = field(default=(), kw_only=True)
    extensions: tuple[Extension | Offer, ...] = field(default=(), kw_only=True)
    raw_headers: RawHeaders = field(default_factory=RawHeaders, kw_only=True, compare=False, repr=False)
    peer: Peer | None = field(default=None, kw_only=True, compare=False, repr=False)

    if TYPE_CHECKING:

        def __init__(
            self,
            host: str,
            target: str = "/",
            *,
            headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
            subprotocols: Sequence[str] = (),
            extensions: Sequence[Extension | Offer] = (),
            raw_headers: Iterable[tuple[bytes, bytes]] = (),
            peer: Peer | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        check_str(host=self.host, target=self.target)
        _set_fields(self, headers=pairs(self.headers, of_handshake=True), extensions=_extensions(self.extensions))
        _set_fields(self, subprotocols=_names(self.subprotocols), raw_headers=RawHeaders(self.raw_headers))


class NotGiven(Enum):
    """The value of an `UpgradeAccept` field that was not given."""

    NOT_GIVEN = "not given"

    def __repr__(self) -> str:
        return self.name


_NOT_GIVEN: Any = NotGiven.NOT_GIVEN


@dataclass(frozen=True, slots=True)
class UpgradeAccept:
    """The server's acceptance (RFC 6455 §4.2.2, RFC 8441 §5).

    If the subprotocol or the extensions are not given, the arguments of a driver's server supply them; the field is
    `NotGiven.NOT_GIVEN` until then. `Connection.send` has no such arguments and treats them as none, so both compare equal.

    Args:
        subprotocol: one of those that the client asked for, or `None`.
        extensions: the extensions that the server is willing to use; `()` is none. The first one that fits an offer is agreed on.
            Received, the answers as in the header.
        headers: further headers, as pairs or a mapping. Received, their names are in lower case. Headers that the handshake itself
            writes are not allowed.

    Raises:
        LocalProtocolError, TypeError: as of `UpgradeRequest`.
    """

    subprotocol: str | None = field(default=_NOT_GIVEN, kw_only=True)
    extensions: tuple[Extension | Offer, ...] = field(default=_NOT_GIVEN, kw_only=True)
    headers: HeaderFields = field(default=_NO_HEADERS, kw_only=True)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            subprotocol: str | None = ...,
            extensions: Sequence[Extension | Offer] = ...,
            headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.subprotocol is not _NOT_GIVEN and self.subprotocol is not None:
            check_str(subprotocol=self.subprotocol)
        _set_fields(self, headers=pairs(self.headers, of_handshake=True))
        if self.extensions is not _NOT_GIVEN:
            _set_fields(self, extensions=_extensions(self.extensions))

    def __eq__(self, other: object) -> bool:
        return self._said() == other._said() if isinstance(other, UpgradeAccept) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._said())

    def fill(self, subprotocol: str | None = None, extensions: tuple[Extension | Offer, ...] = ()) -> UpgradeAccept:
        """Return the same answer, with these values for the fields that were not given."""
        return replace(
            self,
            subprotocol=subprotocol if self.subprotocol is _NOT_GIVEN else self.subprotocol,
            extensions=extensions if self.extensions is _NOT_GIVEN else self.extensions,
        )

    def _said(self) -> tuple[object, ...]:
        settled = self.fill()
        return settled.subprotocol, settled.extensions, settled.headers


@dataclass(frozen=True, slots=True)
class UpgradeReject:
    """The server's refusal: an ordinary HTTP response (RFC 6455 §4.2.2).

    Args:
        status: the HTTP status: 200-599 over HTTP/1.1, where a 2xx is an ordinary answer to the GET; 300-599 over HTTP/2, where a 2xx
            accepts.
        headers: further headers, as pairs or a mapping. Received, their names are in lower case, and malformed ones are omitted.
        body: the body. Received, it is truncated to 64 KiB.

    Raises:
        LocalProtocolError: a header is malformed.
        TypeError: an argument has a wrong type.
    """

    status: int
    headers: HeaderFields = field(default=_NO_HEADERS, kw_only=True)
    body: bytes = field(default=b"", kw_only=True)

    if TYPE_CHECKING:

        def __init__(
            self,
            status: int,
            *,
            headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
            body: bytes | bytearray | memoryview = b"",
        ) -> None: ...

    def __post_init__(self) -> None:
        _set_fields(self, status=_status(self.status), headers=pairs(self.headers), body=_bytes(self.body))


@dataclass(frozen=True, slots=True)
class Failed:
    """The peer broke a rule, or left: the last event of its connection (RFC 6455 §7.1.7).

    Pass it to `Connection.send` after the answers to earlier messages. `send` writes the Close that reports it, if one is to be sent.
    """

    error: RemoteProtocolError


@dataclass(frozen=True, slots=True)
class Request(_Target):
    """An ordinary HTTP request.

    Attributes:
        method: the method, such as "GET".
        target: path and query. A client that writes an absolute URI over HTTP/1.1 has asked for the path and query of that.
        headers: the headers, as pairs or a mapping. They include Host, also over HTTP/2, which calls it `:authority`, and where a client
            has written an absolute URI, whose host it is then (RFC 9112 §3.2.2). Received, their names are in lower case.
        body: the body; `None` if it was too long to be kept, or has not been received completely.
        stream: the number of its stream, over HTTP/2.
        peer: the client, on a server with a driver; otherwise `None`. Comparisons ignore it.

    Raises:
        LocalProtocolError: a header is malformed.
        TypeError: an argument has a wrong type.
    """

    method: str
    target: str
    headers: HeaderFields = _NO_HEADERS
    body: bytes | None = b""
    stream: int = 0
    peer: Peer | None = field(default=None, kw_only=True, compare=False, repr=False)

    if TYPE_CHECKING:

        def __init__(
            self,
            method: str,
            target: str,
            headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
            body: bytes | bytearray | memoryview | None = b"",
            stream: int = 0,
            *,
            peer: Peer | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        check_str(method=self.method, target=self.target)
        _set_fields(self, headers=pairs(self.headers), body=None if self.body is None else _bytes(self.body))


@dataclass(frozen=True, slots=True)
class Response:
    """A complete ordinary HTTP response.

    Attributes:
        status: 200 to 599.
        headers: further headers, as pairs or a mapping. Content-Length is added if it is missing. Received, their names are in lower case,
            and malformed ones are omitted.
        body: the body; `None` if it was too long to be kept.
        stream: the number of its stream, over HTTP/2.

    Raises:
        LocalProtocolError: a header is malformed.
        TypeError: an argument has a wrong type.
    """

    status: int
    headers: HeaderFields = _NO_HEADERS
    body: bytes | None = b""
    stream: int = 0

    if TYPE_CHECKING:

        def __init__(
            self,
            status: int,
            headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
            body: bytes | bytearray | memoryview | None = b"",
            stream: int = 0,
        ) -> None: ...

    def __post_init__(self) -> None:
        _set_fields(
            self,
            status=_status(self.status),
            headers=pairs(self.headers),
            body=None if self.body is None else _bytes(self.body),
        )


@dataclass(frozen=True, slots=True)
class RequestStarted:
    """The head of an ordinary request.

    Attributes:
        request: the request, with `None` for `body`.
    """

    request: Request

    @property
    def stream(self) -> int:
        """The number of its stream; 0 over HTTP/1.1."""
        return self.request.stream


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The head of an ordinary response, or of an interim response, which has a 1xx status and is followed by another.

    Attributes:
        response: the response, with `None` for `body`.
    """

    response: Response

    @property
    def stream(self) -> int:
        """The number of its stream; 0 over HTTP/1.1."""
        return self.response.stream


@dataclass(frozen=True, slots=True)
class BodyData:
    """A part of the body of an ordinary request or response.

    Attributes:
        data: the bytes.
        stream: the number of its stream; 0 over HTTP/1.1.
        flow_controlled_len: the size to acknowledge when it is consumed, unless `collect` does so: over HTTP/2 the credit to return
            (RFC 9113 §6.9.1).
    """

    data: bytes
    stream: int = 0
    flow_controlled_len: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class MessageEnded:
    """The end of an ordinary request or response.

    Attributes:
        stream: the number of its stream; 0 over HTTP/1.1.
        trailers: the headers after the body (RFC 9110 §6.5).
    """

    stream: int = 0
    trailers: Headers = ()


@dataclass(frozen=True, slots=True)
class MessageReset:
    """The reset of an ordinary HTTP/2 stream, whose message is incomplete or no longer wanted (RFC 9113 §6.4).

    Attributes:
        stream: the number of the stream.
        code: the error code (RFC 9113 §7).
    """

    stream: int
    code: int


Event: TypeAlias = UpgradeRequest | UpgradeAccept | UpgradeReject | Text | Binary | Ping | Pong | Close | Failed
Sendable: TypeAlias = Event | PreparedMessage
#: The events of ordinary HTTP.
OrdinaryEvent: TypeAlias = RequestStarted | ResponseStarted | BodyData | MessageEnded | MessageReset


def pairs(headers: Mapping[str, str] | Iterable[tuple[str, str]], *, of_handshake: bool = False) -> HeaderFields:
    """Check headers and return them as a tuple of pairs. Error messages never show a value, which may be a secret.

    Args:
        headers: names and values.
        of_handshake: whether to refuse headers that the handshake itself writes.

    Raises:
        LocalProtocolError: a header is malformed (RFC 9110 §5.1, §5.5) or not allowed.
        TypeError: `headers` is neither a mapping nor pairs of `str`.
    """
    if not isinstance(headers, Iterable):
        raise TypeError(f"headers are a mapping, or pairs of str: name and value, not {type(headers).__name__}")
    items: tuple[Any, ...] = tuple(headers.items() if isinstance(headers, Mapping) else headers)
    for item in items:
        if not isinstance(item, tuple | list) or len(item) != 2 or not all(isinstance(part, str) for part in item):
            raise TypeError("headers are a mapping, or pairs of str: name and value")
    settled = tuple([(name, value) for name, value in items])
    _core.check_headers(settled, of_handshake=of_handshake)
    return HeaderFields(settled)


def check_str(**values: object) -> None:
    """Raise `TypeError` for an argument that is no `str`."""
    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is a str, not {type(value).__name__}")


def completed(headers: Iterable[tuple[str, str]], defaults: Mapping[str, str] | Iterable[tuple[str, str]]) -> Headers:
    """Add those `defaults` whose names are not among the headers."""
    given = tuple(headers)
    names = {name.lower() for name, _ in given}
    return (*given, *(pair for pair in pairs(defaults) if pair[0].lower() not in names))


def lines(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return received headers as a tuple of pairs; raise `TypeError` for anything else."""
    wrong = TypeError("headers are pairs of bytes, as they came: name and value")
    try:
        settled = tuple([(name, value) for name, value in headers])
    except (TypeError, ValueError):
        raise wrong from None
    if not all(issubclass(kind, bytes) for kind in {type(part) for line in settled for part in line}):
        raise wrong
    return settled


def decoded(headers: Iterable[tuple[bytes, bytes]]) -> HeaderFields:
    """Decode received headers."""
    return HeaderFields([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])


def encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Encode headers to send."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _names(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"subprotocols is a sequence of str: write [{names!r}]")
    return tuple(names)


def _extensions(extensions: object) -> tuple[Extension | Offer, ...]:
    if isinstance(extensions, Extension | Offer):
        raise TypeError(f"extensions is a sequence: write [{extensions!r}]")
    if isinstance(extensions, str) or not isinstance(extensions, Iterable):
        raise TypeError(f"extensions is a sequence, such as [PerMessageDeflate()], not {extensions!r}")
    settled = tuple(extensions)
    for it in settled:
        if not isinstance(it, Extension | Offer):
            raise TypeError(f"an extension is an Extension such as PerMessageDeflate(), or an Offer, not {it!r}")
    return settled


def _status(status: object) -> int:
    if not isinstance(status, int) or isinstance(status, bool):
        raise TypeError(f"status is an int, not {status!r}")
    return status


def _bytes(body: object) -> bytes:
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError(f"body is bytes, not {type(body).__name__}: encode a str")
    return bytes(body)


def _set_fields(event: object, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(event, name, value)
