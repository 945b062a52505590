"""When a client connects again (RFC 6455 §7.2.3), and which failures it does not try to mend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Literal, TypeAlias

from mintws.errors import (
    ConnectError,
    ConnectionClosed,
    ExtendedConnectDisabled,
    LocalProtocolError,
    PoolClosed,
    ProxyError,
    RemoteProtocolError,
    UpgradeError,
)
from mintws.session.close_status import CloseStatus
from mintws.session.timeouts import check_seconds

#: The longest time, in seconds, that a server's Retry-After is waited for.
RETRY_AFTER_MOST = 86400.0

#: The status codes after which a client connects again: going away, no Close, an error, a restart, overload, and a bad gateway.
RETRY_CODES = frozenset({1001, 1006, 1011, 1012, 1013, 1014})

#: Replies of SOCKS after which it does too (RFC 1928 §6): a failure of the proxy, no way to the network or the host, a refused connection,
#: and a TTL that has expired; and the failure of SOCKS4.
_SOCKS_REPLIES = frozenset({1, 3, 4, 5, 6, 91})

#: Failures of TLS handshakes that will not pass, by OpenSSL's reasons without what precedes the name of an alert: the server speaks no TLS,
#: or no version of it, cipher or protocol that we do; or it wants a certificate, or another one, of us (RFC 8446 §6.2).
_TLS_REASONS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "UNSUPPORTED_PROTOCOL",
        "PROTOCOL_VERSION",
        "HANDSHAKE_FAILURE",
        "INSUFFICIENT_SECURITY",
        "NO_APPLICATION_PROTOCOL",
        "CERTIFICATE_REQUIRED",
        "BAD_CERTIFICATE",
        "UNSUPPORTED_CERTIFICATE",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_UNKNOWN",
        "UNKNOWN_CA",
        "ACCESS_DENIED",
    }
)

#: What follows a failure: connecting again after so many seconds, the end of the loop, or the error.
Then: TypeAlias = float | Literal["stop", "raise"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A WebSocket that did not open, or that has ended.

    Attributes:
        error: the `ConnectError` with which it did not open, or the `ConnectionClosed` with which it has ended.
        attempts: the failures in a row, this one included. A connection that was open for `Reconnect.held` seconds ends a row.
        then: what follows unless `Reconnect.decide` says otherwise: seconds until the next attempt, "stop" or "raise".
    """

    error: ConnectError | ConnectionClosed
    attempts: int
    then: Then


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How `async for websocket in connect(...)` connects again. Times are in seconds.

    The first delay is random, between 0 and `first`. The bound of each further one is twice the bound before, up to `longest`, and the
    delay is random, between half of its bound and all of it. If the server sent Retry-After, the next attempt comes that much later, up
    to a day, and up to `first` seconds more, if the delay is not longer than that anyway.

    Args:
        first: the bound of the first delay, more than 0: delays grow from it. With `longest=0` it is 0 too, and there are no delays.
        longest: the bound of all delays.
        held: after a WebSocket that was open for so long, delays begin with the first one again.
        decide: called with each `Failure`, a function or, but for `mintws.sync`, a coroutine function. It returns the seconds until the
            next attempt, "stop" to end the loop, "raise" to raise the error, or `None` for what `Failure.then` says. What it raises ends
            the loop.

    Raises:
        LocalProtocolError: a time is negative, `longest` is less than `first`, or `first` alone of both is 0.
        TypeError: an argument has a wrong type.
    """

    first: float = 1.0
    longest: float = 60.0
    held: float = 10.0
    decide: Callable[[Failure], Then | Awaitable[Then | None] | None] | None = None

    def __post_init__(self) -> None:
        for name in ("first", "longest", "held"):
            check_seconds(name, getattr(self, name))
        if self.longest < self.first:
            raise LocalProtocolError(f"longest must be at least first, {self.first} seconds, not {self.longest}")
        if self.longest and not self.first:
            raise LocalProtocolError(
                "first is 0, from which no delay grows: give it seconds, or longest=0 too for no delays"
            )
        if self.decide is not None and not callable(self.decide):
            raise TypeError(f"decide is a function that takes a Failure, not {self.decide!r}")


#: How clients connect again that say nothing of it.
RECONNECT = Reconnect()


class Backoff:
    """The state of one reconnecting client.

    Args:
        policy: its arguments.
        random: returns a random number from 0 to 1.
    """

    def __init__(self, policy: Reconnect, random: Callable[[], float]) -> None:
        self._policy = policy
        self._random = random
        self._attempts = 0
        #: When the WebSocket opened that has not ended yet.
        self._opened: float | None = None

    def opened(self, now: float) -> None:
        """Record that a WebSocket has opened."""
        self._opened = now

    def left(self, now: float) -> float:
        """Record that the client has left an open WebSocket for the next one; return the seconds until that."""
        self._end(now)
        return self._delay()

    def failed(self, now: float, error: ConnectError | ConnectionClosed, date: float) -> Failure:
        """Record that a WebSocket did not open, or has ended.

        Args:
            now: the time.
            error: the failure.
            date: the time in seconds since 1970, for a Retry-After that is a date.
        """
        self._end(now)
        rule = _rule(error)
        if rule != "retry":
            return Failure(error, self._attempts, rule)
        refusal, delay = _refusal(error), self._delay()
        after = None if refusal is None else retry_after(refusal.headers, date)
        if after is not None:
            delay = max(delay, after + self._policy.first * self._random())
        return Failure(error, self._attempts, delay)

    def settle(self, failure: Failure, answer: Then | None) -> Then:
        """Return what follows a failure, given the answer of `decide`.

        Raises:
            LocalProtocolError, TypeError: it is no answer.
        """
        if answer is None:
            return failure.then
        if isinstance(answer, str):
            if answer not in ("stop", "raise"):
                raise LocalProtocolError(f'decide returns seconds, "stop", "raise" or None, not {answer!r}')
            return answer
        check_seconds("what decide returns", answer)
        return answer

    def _end(self, now: float) -> None:
        if self._opened is not None and now - self._opened >= self._policy.held:
            self._attempts = 0
        self._opened = None
        self._attempts += 1

    def _delay(self) -> float:
        # No float is large enough for more doublings.
        bound = min(self._policy.first * 2.0 ** min(self._attempts - 1, 500), self._policy.longest)
        least = 0.0 if self._attempts == 1 else bound / 2
        return least + (bound - least) * self._random()


def retry_after(headers: tuple[tuple[str, str], ...], date: float) -> float | None:
    """Return the seconds that Retry-After asks for (RFC 9110 §10.2.3), or `None` if it is missing or malformed.

    A date is compared with that of the answer, if it has one, because clocks differ.

    Args:
        headers: the headers of the answer.
        date: the time in seconds since 1970.
    """
    fields = {name.lower(): value for name, value in headers}
    value = fields.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        seconds = float(value[:20])
    else:
        until = _date(value)
        if until is None:
            return None
        answered = _date(fields.get("date", ""))
        seconds = until - (date if answered is None else answered)
    return min(max(seconds, 0.0), RETRY_AFTER_MOST)


def _date(value: str) -> float | None:
    """Return an HTTP-date (RFC 9110 §5.6.7) in seconds since 1970, or `None` if it is malformed."""
    parsed = parsedate_tz(value)
    try:
        # A date without a zone, as asctime writes it, is of GMT too.
        return None if parsed is None else float(mktime_tz((*parsed[:9], parsed[9] or 0)))
    except (OverflowError, ValueError):
        return None


def _refusal(error: BaseException) -> UpgradeError | ProxyError | None:
    """Return the refusal, of the server or of a proxy, that an error is, or is about."""
    refusal = error if isinstance(error, (UpgradeError, ProxyError)) else error.__cause__
    return refusal if isinstance(refusal, (UpgradeError, ProxyError)) else None


def _passes(status: int | None) -> bool:
    """Whether the reason of a refusal may pass: of a status of HTTP, or a reply of SOCKS."""
    return status is not None and (status == 429 or 500 <= status <= 599 or status in _SOCKS_REPLIES)


def _is_meant(code: int | None) -> bool:
    """Whether a Close with this status code, or without one, ends the loop."""
    return code in (None, 1000, 1005) or 3000 <= code <= 4999


def _rule(error: ConnectError | ConnectionClosed) -> Literal["retry", "stop", "raise"]:
    """Return what follows a failure."""
    if isinstance(error, ConnectionClosed):
        status = error._status
        own = status._own if isinstance(status, CloseStatus) else None
        # What we have closed so is meant, however the peer has ended then.
        if _is_meant(error.code) or (own is not None and _is_meant(own.code)):
            return "stop"
        return "retry" if error.code in RETRY_CODES else "raise"
    refusal = _refusal(error)
    if refusal is not None:
        return "retry" if _passes(refusal.status) else "raise"
    cause = error.__cause__
    if isinstance(cause, RemoteProtocolError):
        return "retry" if cause.code == 1006 else "raise"
    wrong_call = isinstance(error, (ExtendedConnectDisabled, PoolClosed))
    return "raise" if wrong_call or _is_lasting_tls_failure(cause) else "retry"


def _is_lasting_tls_failure(cause: BaseException | None) -> bool:
    """Whether a TLS handshake has failed for what the next one will hardly find changed."""
    # `ssl.SSLCertVerificationError` has a `verify_code`, and each `ssl.SSLError` a `reason`.
    if hasattr(cause, "verify_code"):
        return True
    reason = getattr(cause, "reason", None)
    return isinstance(reason, str) and reason.rpartition("ALERT_")[2] in _TLS_REASONS
