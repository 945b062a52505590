"""The choice of the HTTP version for a client's WebSocket."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, TypeAlias

from mintws.errors import ConnectError, ExtendedConnectDisabled, UpgradeError

HttpVersion: TypeAlias = Literal["auto", "1.1", "2"]

#: The statuses with which servers and gateways refuse extended CONNECT although they would accept an Upgrade.
RETRY_STATUSES = frozenset({400, 405, 421, 426, 501, 502, 504, 505})
#: Seconds for which an origin is known to need HTTP/1.1, and the most origins that are remembered.
HTTP1_LIFETIME = 300.0
HTTP1_ORIGINS = 256


class Http1Origins:
    """The origins known to accept WebSockets over HTTP/1.1 only, each for `HTTP1_LIFETIME` seconds.

    An origin is any hashable that identifies a server. Above `HTTP1_ORIGINS` the oldest is forgotten.
    """

    def __init__(self) -> None:
        #: When each expires, oldest first.
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
    """The HTTP versions tried in turn to open one WebSocket.

    Args:
        asked: the version that the caller asked for. Only "auto" leaves a choice: the result of ALPN or, if that is HTTP/2 and the server
            accepts no WebSockets over it, HTTP/1.1.
        origin: the origin of the server.
        learnt: the known origins, which this opening may add to.
        attempts: how many transports can be connected: 2, or 1 for a transport of the caller.
        now: the time.

    Attributes:
        version: the version to offer now.
    """

    def __init__(self, asked: HttpVersion, origin: Hashable, learnt: Http1Origins, attempts: int, now: float) -> None:
        self._origin = origin
        self._learnt = learnt
        self._attempts = attempts
        self._auto = asked == "auto"
        self._remembered = self._auto and learnt.known(now, origin)
        self.version: HttpVersion = "1.1" if self._remembered else asked

    def opened(self, now: float) -> None:
        """Record a success. If HTTP/2 was tried before, the origin needs HTTP/1.1."""
        if self._auto and self.version == "1.1" and not self._remembered:
            self._learnt.learn(now, self._origin)

    def failed(self, now: float, error: ConnectError, *, http2: bool) -> bool:
        """Record a failure; return whether to try again, with the new `version`.

        Args:
            error: the failure.
            http2: whether HTTP/2 was spoken.
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
    """Whether another HTTP version may succeed after this failure.

    A 503 with Retry-After means a busy server (RFC 9110 §15.6.4), not a missing feature.
    """
    if not isinstance(error, UpgradeError):
        return True
    if error.status == 503:
        return not any(name.lower() == "retry-after" for name, _ in error.headers)
    return error.status in RETRY_STATUSES
