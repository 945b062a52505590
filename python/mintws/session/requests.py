"""The timeouts of a server for requests, and for clients that do not read its responses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mintws.events import Request, Response
from mintws.session.bounds import FEW

#: The minimum rate, in bytes a second, at which a client must send the body of a request and read a response.
LEAST_RATE = 240
#: The most seconds for which the body of a request that is taken in parts may stop, however much of it has come.
LONGEST_STOP = 60.0


def text_response(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """Return a response with one line of text."""
    return Response(status, (("Content-Type", "text/plain; charset=utf-8"), *headers), (text + "\n").encode())


def default_response(request: Request, *, multiplexed: bool) -> Response:
    """Return the response to a request that no application answers: its body is too long, or the server has only WebSockets.

    Over HTTP/1.1 a WebSocket server answers 426 with Upgrade (RFC 9110 §15.5.22), which HTTP/2 does not have.
    """
    if request.body is None:
        return text_response(413, "the body is too long")
    if multiplexed:
        return text_response(404, "no such page")
    return text_response(426, "this is a WebSocket server", (("Upgrade", "websocket"), ("Connection", "Upgrade")))


class IdleTimeout:
    """The time limit for an idle client, which is renewed while the client reads the bytes that wait for it.

    Args:
        now: the time.
        timeout: in seconds; `None` is no limit.
        untaken: the number of bytes that wait for the client.

    Attributes:
        deadline: when to call `expire`; `None` if never.
    """

    __slots__ = ("_timeout", "_untaken", "deadline")

    def __init__(self, now: float, timeout: float | None, untaken: int) -> None:
        self._timeout = timeout
        self._untaken = untaken
        self.deadline = None if timeout is None else now + timeout

    def expire(self, now: float, untaken: int) -> bool:
        """Return whether the client has timed out: it has read too few of the bytes that waited for it.

        Args:
            now: the time.
            untaken: the number of bytes that wait for the client now.
        """
        if self._timeout is None or self.deadline is None or now < self.deadline:
            return False
        # A few bytes do not renew the limit, and nothing read does not, however short it is.
        least = max(1, min(self._untaken, LEAST_RATE * self._timeout))
        if self._untaken <= FEW or self._untaken - untaken < least:
            self.deadline = None
            return True
        self._untaken = untaken
        self.deadline = now + self._timeout
        return False


class RequestTimeouts:
    """The time limits for the bodies of requests (RFC 9110 §15.5.9).

    Args:
        timeout: seconds from the head of a request, plus one for each `LEAST_RATE` bytes received; `None` is no limit.

    Attributes:
        deadline: when to call `expire`; `None` if never.
    """

    __slots__ = ("_since", "_timeout", "deadline")

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        #: The times at which they began, by the numbers of their streams.
        self._since: dict[int, float] = {}
        self.deadline: float | None = None

    @property
    def under_way(self) -> bool:
        """Whether a request was incomplete at the last call."""
        return bool(self._since)

    def update(self, now: float, begun: Sequence[tuple[Request, int]]) -> None:
        """Set the incomplete requests, each with the number of bytes received of its body."""
        self._since = {request.stream: self._since.get(request.stream, now) for request, _ in begun}
        due = [] if self._timeout is None else self._due(self._timeout, begun)
        self.deadline = min(due, default=None)

    def expire(self, now: float, begun: Sequence[tuple[Request, int]]) -> list[Request]:
        """Return the requests that have timed out, to be answered with 408, and keep the others."""
        if self._timeout is None:
            return []
        late = [it for it, due in zip(begun, self._due(self._timeout, begun), strict=True) if due <= now]
        self.update(now, [it for it in begun if it not in late])
        return [request for request, _ in late]

    def _due(self, timeout: float, begun: Iterable[tuple[Request, int]]) -> list[float]:
        return [self._since[request.stream] + timeout + size / LEAST_RATE for request, size in begun]


class BodyTimeout:
    """The time limit for the body of one request that is taken in parts: of the time, only that counts in which the client is waited for.

    Args:
        timeout: seconds of waiting, plus one for each `LEAST_RATE` bytes received; `None` is no limit.

    Attributes:
        deadline: when the client has timed out; `None` while it is not waited for, or if never.
    """

    __slots__ = ("_left", "_most", "deadline")

    def __init__(self, timeout: float | None) -> None:
        #: The seconds of waiting that are left.
        self._left = timeout
        self._most = LONGEST_STOP if timeout is None else max(timeout, LONGEST_STOP)
        self.deadline: float | None = None

    def wait(self, now: float) -> None:
        """Begin to wait for the client."""
        if self._left is not None and self.deadline is None:
            self.deadline = now + self._left

    def stop(self, now: float) -> None:
        """Wait for the client no more."""
        if self.deadline is not None:
            self._left = max(0.0, self.deadline - now)
            self.deadline = None

    def receive(self, now: float, size: int) -> None:
        """Take so many bytes of the body; the client is not waited for any more."""
        self.stop(now)
        if self._left is not None:
            self._left = min(self._left + size / LEAST_RATE, self._most)
