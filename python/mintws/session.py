"""What drivers share without I/O: how a WebSocket ended, its pings, what it asks of a server, and defaults."""

from __future__ import annotations

import struct
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from mintws import _core, origin
from mintws.connection import Connection
from mintws.errors import (
    ConnectError,
    ConnectionClosed,
    ExtendedConnectDisabled,
    LocalProtocolError,
    RemoteProtocolError,
    UpgradeError,
)
from mintws.events import Close, Headers, UpgradeReject, UpgradeRequest, pairs
from mintws.extensions import Extension, PerMessageDeflate

#: Bytes that wait to be written before `send` waits too.
WRITE_HIGH = 64 * 1024
#: Bytes of replies that a peer may make us keep, which does not take what we write, before it is read no more.
REPLIES_HIGH = 64 * 1024

#: Bytes that wait to be decoded, behind more messages than the application takes, at which a transport is read no more. Those before it
#: may hold the peer's Close.
UNDECODED_HIGH = 64 * 1024

#: The status codes with which an iteration over messages ends and is no error: done, going away, and none.
CLEAN_CODES = frozenset({1000, 1001, 1005})

HttpVersion: TypeAlias = Literal["auto", "1.1", "2"]

#: The statuses with which servers, and gateways whose servers do not, refuse extended CONNECT though they would take an Upgrade.
RETRY_STATUSES = frozenset({400, 405, 421, 426, 501, 502, 504, 505})
#: How long it is remembered that an origin needs HTTP/1.1, in seconds, and of how many origins.
HTTP1_LIFETIME = 300.0
HTTP1_ORIGINS = 256

#: What drivers call themselves, as User-Agent and as Server (RFC 9110 §10.1.5, §10.2.4).
PRODUCT = f"mintws/{_core.__version__}"


def default_offer() -> tuple[Extension, ...]:
    """Make what a driver's client offers, for the connections that are to share contexts."""
    return (PerMessageDeflate(),)


def default_willing() -> tuple[Extension, ...]:
    """Make what a driver's server is willing to use: windows of 4 KiB, because of each the connection holds what it may need."""
    return (PerMessageDeflate(server_max_window_bits=12, client_max_window_bits=12),)


def product_header(name: str, value: str | None) -> Headers:
    """Make the header that names a program, User-Agent or Server; none if its value is `None`.

    Raises:
        LocalProtocolError: the value is empty, or malformed.
        TypeError: it is no str.
    """
    if value is None:
        return ()
    if not isinstance(value, str):
        raise TypeError(f"{name} is a str, or None to leave it out, not {value!r}")
    if not value:
        raise LocalProtocolError(f"{name} names a product: give None to leave it out")
    return pairs(((name, value),))


@lru_cache(maxsize=1)
def date(second: int) -> str:
    """Write a time as Date has it (RFC 9110 §5.6.7), once for all responses of the same second.

    Args:
        second: the seconds since 1970.
    """
    return formatdate(second, usegmt=True)


@dataclass(slots=True)
class Ending:
    """How a WebSocket ended, or is ending.

    Attributes:
        received: the peer's Close.
        sent: our Close: the first one, or the answer to the peer's, or to its fault.
        error: what the peer did wrong; where it left, `__cause__` is the error of the transport, if that had one.
        cause: why we ended it without a Close of the peer, for the reader of a log.
        discarded: how many messages came that nobody took any more, after it was closed here.
    """

    received: Close | None = None
    sent: Close | None = None
    error: RemoteProtocolError | None = None
    cause: str = ""
    discarded: int = 0

    @property
    def code(self) -> int:
        """The status code of the connection's end (RFC 6455 §7.1.5)."""
        if self.received is not None:
            return 1005 if self.received.code is None else self.received.code
        if self.error is not None and self.error.code != 1006:
            return self.error.code
        if self.error is None and not self.cause and self.sent is not None:
            # The peer's Close is still to come.
            return 1005 if self.sent.code is None else self.sent.code
        return 1006

    @property
    def reason(self) -> str:
        if self.received is not None:
            return self.received.reason
        if self.cause or self.error is not None:
            return self.cause or str(self.error)
        return self.sent.reason if self.sent is not None else ""

    @property
    def clean(self) -> bool:
        """Both sides have sent a Close (§7.1.4)."""
        return self.received is not None and self.sent is not None

    @property
    def ended_by(self) -> Literal["us", "peer"] | None:
        """Who closed first, or failed the connection; `None` where the transport ended by itself."""
        if self.received is not None:
            # Who answers a Close sends it back as it is.
            first = self.sent is not None and self.sent is not self.received and self.sent.code == self.received.code
            return "us" if first else "peer"
        if self.error is not None and self.error.code == 1006 and not self.cause:
            return None
        return "us" if self.error is not None or self.cause or self.sent is not None else None

    def exception(self) -> ConnectionClosed:
        """Make the exception that says so."""
        closed = ConnectionClosed(self.code, self.reason, clean=self.clean, ended_by=self.ended_by)
        closed.__cause__ = self.error
        return closed


class Pings:
    """Pings that wait for their Pongs (RFC 6455 §5.5.2-5.5.3)."""

    __slots__ = ("_count", "_waiting", "answered_at", "latency")

    def __init__(self) -> None:
        self._count = 0
        self._waiting: dict[bytes, tuple[float, Any]] = {}
        #: Seconds between the last Ping that was answered and its Pong.
        self.latency: float | None = None
        #: When the last Pong came.
        self.answered_at: float | None = None

    @property
    def under_way(self) -> bool:
        """Whether a Ping waits for its Pong."""
        return bool(self._waiting)

    def choose(self, data: bytes | None = None) -> bytes:
        """Give the payload of a new Ping: `data`, or one of its own.

        Raises:
            LocalProtocolError: a Ping with the same data is under way: its Pong could be that of either.
            TypeError: `data` is not bytes.
        """
        if data is None:
            while True:
                self._count += 1
                chosen = struct.pack("!Q", self._count)
                if chosen not in self._waiting:
                    return chosen
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"a Ping's data is bytes, not {type(data).__name__}")
        data = bytes(data)
        if data in self._waiting:
            raise LocalProtocolError("a Ping with the same data is under way: give each its own, or none")
        return data

    def add(self, now: float, token: Any, data: bytes) -> None:
        """Take note of a Ping that was sent, which `token` waits for."""
        self._waiting[data] = (now, token)

    def answer(self, now: float, data: bytes) -> list[tuple[Any, float]]:
        """Give the tokens that a Pong answers, with their latencies: its own and all before (§5.5.3)."""
        if data not in self._waiting:
            return []
        self.answered_at = now
        answered = []
        for waiting in list(self._waiting):
            sent, token = self._waiting.pop(waiting)
            self.latency = now - sent
            answered.append((token, self.latency))
            if waiting == data:
                break
        return answered

    def drop(self) -> list[Any]:
        """Give the tokens of all that were not answered."""
        tokens = [token for _, token in self._waiting.values()]
        self._waiting.clear()
        return tokens


class Http1Origins:
    """The origins that are known to take WebSockets over HTTP/1.1 alone, each for `HTTP1_LIFETIME` seconds.

    An origin is whatever tells one server from another. Of more than `HTTP1_ORIGINS` the oldest are forgotten.
    """

    def __init__(self) -> None:
        #: Until when, the oldest first.
        self._until: dict[Hashable, float] = {}

    def known(self, now: float, origin: Hashable) -> bool:
        return self._until.get(origin, now) > now

    def learn(self, now: float, origin: Hashable) -> None:
        self._until.pop(origin, None)
        if len(self._until) == HTTP1_ORIGINS:
            del self._until[next(iter(self._until))]
        self._until[origin] = now + HTTP1_LIFETIME

    def forget(self, origin: Hashable) -> None:
        self._until.pop(origin, None)


class VersionChoice:
    """The versions of HTTP with which one WebSocket is opened, one after the other.

    Args:
        asked: what the caller asked for. Only "auto" leaves a choice: what ALPN says, or, where that was HTTP/2 and the server takes no
            WebSockets over it, HTTP/1.1.
        origin: where to.
        learnt: what is known of origins; what this opening shows is added.
        attempts: how often a transport can be connected: 2, or 1 for one of the caller's.
        now: the time, on the clock of the other calls.

    Attributes:
        version: what to offer now.
    """

    def __init__(self, asked: HttpVersion, origin: Hashable, learnt: Http1Origins, attempts: int, now: float) -> None:
        self._origin = origin
        self._learnt = learnt
        self._attempts = attempts
        self._auto = asked == "auto"
        self._remembered = self._auto and learnt.known(now, origin)
        self.version: HttpVersion = "1.1" if self._remembered else asked

    def opened(self, now: float) -> None:
        """Learn from a WebSocket that has opened: the origin needs HTTP/1.1, if HTTP/2 was tried before."""
        if self._auto and self.version == "1.1" and not self._remembered:
            self._learnt.learn(now, self._origin)

    def failed(self, now: float, error: ConnectError, *, http2: bool) -> bool:
        """Learn from an opening that has failed, and say whether to try again, with what is `version` then.

        Args:
            error: why.
            http2: HTTP/2 was spoken.
        """
        if not self._auto or not _may_be_the_version(error):
            return False
        self._attempts -= 1
        if self.version == "1.1":
            if self._remembered:
                self._learnt.forget(self._origin)
            return False
        if isinstance(error, ExtendedConnectDisabled):
            self._learnt.learn(now, self._origin)
        if not http2 or not self._attempts:
            return False
        self.version = "1.1"
        return True


def _may_be_the_version(error: ConnectError) -> bool:
    """Whether another version of HTTP may help where an opening has failed.

    A 503 with Retry-After is of a server that is busy and says until when (RFC 9110 §15.6.4), not of one that lacks something.
    """
    if not isinstance(error, UpgradeError):
        return True
    if error.status == 503:
        return not any(name.lower() == "retry-after" for name, _ in error.headers)
    return error.status in RETRY_STATUSES


def check_origin(request: UpgradeRequest, origins: Sequence[str | None] | None) -> UpgradeReject | None:
    """Refuse a request from a page of another origin (RFC 6455 §10.2).

    Args:
        origins: the origins that are allowed, such as "https://example.com"; `None` among them allows clients that send none, which
            are no browsers. `None` instead of a sequence allows all requests without a cookie, and those from the server's own host
            and port.
    """
    sent = [value for name, value in request.headers if name.lower() == "origin"]
    if len(sent) > 1:
        allowed = False
    elif origins is not None:
        asks = origin.parse(sent[0]) if sent else None
        allowed = asks in {origin.parse(it) for it in origins if it} if asks else not sent and None in origins
    elif not sent or not any(name.lower() == "cookie" for name, _ in request.headers):
        allowed = True
    else:
        allowed = origin.is_from(sent[0], request.host)
    if allowed:
        return None
    return UpgradeReject(
        403, headers=[("Content-Type", "text/plain")], body=b"this origin may not open a WebSocket here\n"
    )


def choose_subprotocol(request: UpgradeRequest, spoken: Sequence[str]) -> str | None:
    """Give the first subprotocol of the client's list that the server speaks."""
    return next((it for it in request.subprotocols if it in spoken), None)


def describe(connection: Connection) -> str:
    """Say in one line what was negotiated."""
    extensions = ", ".join(str(it.answer) for it in connection.extensions) or "no extension"
    return f"HTTP/{connection.carrier.http_version}, {connection.subprotocol or 'no subprotocol'}, {extensions}"
