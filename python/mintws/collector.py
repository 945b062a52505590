"""Ordinary requests and responses, gathered out of the events in which they come."""

from __future__ import annotations

from dataclasses import replace

from mintws.events import BodyData, MessageEnded, MessageReset, Request, RequestStarted, Response, ResponseStarted

#: How many bodies of the longest that may be are kept on a connection, all together.
BODIES = 8


class Collector:
    """The messages of a connection that have begun, and their bodies so far."""

    __slots__ = ("_begun", "_kept")

    def __init__(self) -> None:
        self._begun: dict[int, tuple[Request | Response, bytearray]] = {}
        #: Bytes of all bodies.
        self._kept = 0

    def collect(self, event: object, limit: int | None) -> Request | Response | None:
        """Take an event; give the message that it makes whole, or that is given up, with `None` for `body`.

        One whose body is longer than `limit` is given up, and the longest where all bodies together have more than `BODIES` times as much.
        """
        match event:
            case RequestStarted():
                self._begun[event.stream] = (event.request, bytearray())
            case ResponseStarted() if event.response.status >= 200:
                self._begun[event.stream] = (event.response, bytearray())
            case BodyData() if event.stream in self._begun:
                message, body = self._begun[event.stream]
                if limit is not None and len(body) + len(event.data) > limit:
                    self.forget(event.stream)
                    return message
                body += event.data
                self._kept += len(event.data)
                if limit is not None and self._kept > BODIES * limit:
                    longest = max(self._begun, key=lambda stream: len(self._begun[stream][1]))
                    message, _ = self._begun[longest]
                    self.forget(longest)
                    return message
            case MessageEnded() if event.stream in self._begun:
                message, body = self._begun[event.stream]
                self.forget(event.stream)
                return replace(message, body=bytes(body))
            case MessageReset():
                self.forget(event.stream)
        return None

    @property
    def requests(self) -> list[tuple[Request, int]]:
        """The requests that have begun, and how many bytes of their bodies have come."""
        return [(message, len(body)) for message, body in self._begun.values() if isinstance(message, Request)]

    def gathers(self, stream: int) -> bool:
        """Whether a message has begun on a stream, and more of it is gathered."""
        return stream in self._begun

    def forget(self, stream: int) -> None:
        """Gather no more of a message."""
        if stream in self._begun:
            _, body = self._begun.pop(stream)
            self._kept -= len(body)
