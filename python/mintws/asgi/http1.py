"""The ordinary requests of one HTTP/1.1 connection, one after another."""

from __future__ import annotations

from typing import Protocol

from mintws.asgi.requests import Requests, RequestTransport, StreamResponder
from mintws.events import Headers


class Http1Protocol(RequestTransport, Protocol):
    """The transport of a connection, as far as its requests have to do with it."""

    def end_response(self) -> None:
        """Go on with the next request, when there is room for its response."""

    def update_reading(self) -> None:
        """Read the transport, or not, as much as waits."""


class Http1Responder(StreamResponder):
    """A sender of one response over HTTP/1.1. When it is whole, the next request is read."""

    __slots__ = ()

    _protocol: Http1Protocol

    def acknowledge(self, credit: int) -> None:
        super().acknowledge(credit)
        self._protocol.update_reading()

    def send(self, data: bytes, *, end: bool) -> None:
        super().send(data, end=end)
        if end:
            self._protocol.end_response()

    def send_trailers(self, trailers: Headers) -> None:
        super().send_trailers(trailers)
        self._protocol.end_response()

    def abandon(self) -> None:
        super().abandon()
        self._protocol.end_response()


class Http1Requests(Requests):
    """The request of an HTTP/1.1 connection that is under way."""

    __slots__ = ()

    responder_class = Http1Responder

    def lose(self) -> None:
        super().lose()
        for _, responder in list(self._cycles.values()):
            responder.abandon()
