"""CONNECT, by which an HTTP proxy opens a tunnel (RFC 9110 §9.3.6)."""

from __future__ import annotations

from collections.abc import Iterable

import h11

from mintws.errors import ProxyError, RemoteProtocolError
from mintws.events import Headers, decoded

#: The bytes of a refusal's body that are kept.
BODY_KEPT = 64 * 1024


class HttpTunnel:
    """The client's side of CONNECT. Bytes go in and out; nothing is raised for those of the proxy.

    Args:
        authority: the host and the port of the server, with brackets around an IPv6 address.
        headers: further headers of the request.

    Attributes:
        done: the tunnel is open, or will not open.
        failure: why it does not open, once the head of a refusal has come; before `done` its body may be incomplete.
        rest: what came from the server, after the head of the proxy's answer.
    """

    def __init__(self, authority: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        self.done = False
        self.failure: ProxyError | RemoteProtocolError | None = None
        self.rest = b""
        self._request = h11.Request(
            method="CONNECT", target=authority, headers=[("Host", authority), *headers], http_version="1.1"
        )
        self._h11 = h11.Connection(h11.CLIENT)
        self._refusal: tuple[int, Headers] | None = None
        self._body = b""

    def start(self) -> bytes:
        """Return the request."""
        head = self._h11.send(self._request)
        assert head is not None
        self._h11.send(h11.EndOfMessage())
        return head

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the proxy, `b""` at their end; return what is to be sent."""
        if self.done:
            self.rest += data
            return b""
        try:
            self._h11.receive_data(data)
            while self._take(self._h11.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            if data and self._refusal is None:
                self._fail(f"the proxy's answer is no HTTP: {error}")
            self.done = True
        if not data:
            self.done = True
            if self._refusal is None:
                self._fail("the proxy left without an answer", code=1006)
        return b""

    def _take(self, event: object) -> bool:
        """Take an event; return whether another one may follow."""
        if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            return False
        if isinstance(event, h11.Response):
            if 200 <= event.status_code <= 299:
                self.rest, _ = self._h11.trailing_data
                self.done = True
            else:
                self._refusal = event.status_code, decoded(event.headers)
                self._refuse()
        elif isinstance(event, h11.Data):
            self._body = (self._body + bytes(event.data))[:BODY_KEPT]
            self._refuse()
            self.done = len(self._body) == BODY_KEPT
        elif isinstance(event, h11.EndOfMessage):
            self.done = True
        return not self.done

    def _refuse(self) -> None:
        assert self._refusal is not None
        self.failure = ProxyError.of_http(*self._refusal, self._body)

    def _fail(self, why: str, code: int = 1002) -> None:
        self.failure = RemoteProtocolError(why, code=code, section="RFC 9110 §9.3.6")
