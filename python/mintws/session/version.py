"""The version of HTTP with which a client opens a WebSocket."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, TypeAlias

from mintws.errors import ConnectError, ExtendedConnectDisabled, UpgradeError

HttpVersion: TypeAlias = Literal["auto", "1.1", "2"]

#: The statuses with which servers, and gateways whose servers do not, refuse extended CONNECT though they would take an Upgrade.
RETRY_STATUSES = frozenset({400, 405, 421, 426, 501, 502, 504, 505})
#: How long it is remembered that an origin needs HTTP/1.1, in seconds, and of how many origins.
HTTP1_LIFETIME = 300.0
HTTP1_ORIGINS = 256


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
