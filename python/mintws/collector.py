"""Collection of ordinary requests and responses from their events."""

from __future__ import annotations

from dataclasses import replace

from mintws.events import BodyData, MessageEnded, MessageReset, Request, RequestStarted, Response, ResponseStarted

#: The bodies kept on a connection may have this many times the limit of one body in all.
BODIES = 8


class Collector:
    """The incomplete messages of a connection, with the received part of their bodies."""

    __slots__ = ("_begun", "_kept")

    def __init__(self) -> None:
        self._begun: dict[int, tuple[Request | Response, bytearray]] = {}
        #: The bytes of all bodies.
        self._kept = 0

    def collect(self, event: object, limit: int | None) -> Request | Response | None:
        """Take an event. Return the message that it completes, or a message that is given up, with `None` for `body`.

        A message is given up if its body exceeds `limit`. The longest is given up if all bodies together exceed `BODIES` times `limit`.
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
        """The incomplete requests, each with the number of bytes received of its body."""
        return [(message, len(body)) for message, body in self._begun.values() if isinstance(message, Request)]

    def gathers(self, stream: int) -> bool:
        """Whether a message of a stream is being collected."""
        return stream in self._begun

    def forget(self, stream: int) -> None:
        """Stop collecting the message of a stream."""
        if stream in self._begun:
            _, body = self._begun.pop(stream)
            self._kept -= len(body)
