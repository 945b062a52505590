"""How long a server waits for requests, and for clients that take its responses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mintws.events import Request, Response
from mintws.session.bounds import FEW

#: The least rate at which a client sends the body of a request, and takes a response, in bytes a second.
LEAST_RATE = 240


def text_response(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """Make a response of one line of text."""
    return Response(status, (("Content-Type", "text/plain; charset=utf-8"), *headers), (text + "\n").encode())


def default_response(request: Request, *, multiplexed: bool) -> Response:
    """Make the response to a request that no application answers: its body is too long, or the server is for WebSockets alone.

    Over HTTP/1.1 that is a 426 with the Upgrade to make (RFC 9110 §15.5.22), which HTTP/2 does not have.
    """
    if request.body is None:
        return text_response(413, "the body is too long")
    if multiplexed:
        return text_response(404, "no such page")
    return text_response(426, "this is a WebSocket server", (("Upgrade", "websocket"), ("Connection", "Upgrade")))


class IdleTimeout:
    """The time in which a client may ask for nothing; another one begins as long as it takes what waits for it.

    Args:
        now: the time.
        timeout: in seconds; `None` is without end.
        untaken: how many bytes wait for the client.

    Attributes:
        deadline: when to call `expire`; `None` if never.
    """

    __slots__ = ("_timeout", "_untaken", "deadline")

    def __init__(self, now: float, timeout: float | None, untaken: int) -> None:
        self._timeout = timeout
        self._untaken = untaken
        self.deadline = None if timeout is None else now + timeout

    def expire(self, now: float, untaken: int) -> bool:
        """Say whether time is up, and the client takes nothing of what waited for it, or too little.

        Args:
            now: the time.
            untaken: how many bytes wait for the client now.
        """
        if self._timeout is None or self.deadline is None or now < self.deadline:
            return False
        # A few bytes are no reason to wait longer.
        if self._untaken <= FEW or untaken > max(0, self._untaken - LEAST_RATE * self._timeout):
            self.deadline = None
            return True
        self._untaken = untaken
        self.deadline = now + self._timeout
        return False


class RequestTimeouts:
    """The times in which the bodies of requests must come (RFC 9110 §15.5.9).

    Args:
        timeout: seconds from the head of a request on, to which one is added for each `LEAST_RATE` bytes that come; `None` is without end.

    Attributes:
        deadline: when to call `expire`; `None` if never.
    """

    __slots__ = ("_since", "_timeout", "deadline")

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        #: Since when, by the numbers of their streams.
        self._since: dict[int, float] = {}
        self.deadline: float | None = None

    @property
    def under_way(self) -> bool:
        """Whether a request was under way at the last call."""
        return bool(self._since)

    def update(self, now: float, begun: Sequence[tuple[Request, int]]) -> None:
        """Wait for the requests that have begun, each with how many bytes of its body have come, and for no others."""
        self._since = {request.stream: self._since.get(request.stream, now) for request, _ in begun}
        due = [] if self._timeout is None else self._due(self._timeout, begun)
        self.deadline = min(due, default=None)

    def expire(self, now: float, begun: Sequence[tuple[Request, int]]) -> list[Request]:
        """Give the requests whose time is up, to be answered with 408, and wait for the others."""
        if self._timeout is None:
            return []
        late = [it for it, due in zip(begun, self._due(self._timeout, begun), strict=True) if due <= now]
        self.update(now, [it for it in begun if it not in late])
        return [request for request, _ in late]

    def _due(self, timeout: float, begun: Iterable[tuple[Request, int]]) -> list[float]:
        return [self._since[request.stream] + timeout + size / LEAST_RATE for request, size in begun]
