"""The rules of a response that is sent in parts, whatever the version of HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from mintws import _core
from mintws.errors import LocalProtocolError
from mintws.events import Headers, pairs

#: Statuses of responses that have no body (RFC 9110 §6.4.1).
BODILESS = frozenset({204, 304})


class ResponseOrder:
    """The order of the parts: interim responses, the head, the body, trailers."""

    __slots__ = ()

    #: The head was sent.
    _begun: bool

    def _check_interim(self, status: int) -> None:
        """Raise if no interim response may be sent with this status, or none any more (RFC 9110 §15.2)."""
        if not 100 <= status < 200 or status == 101:
            raise LocalProtocolError(f"status {status} must be 100, or 102 to 199")
        self._check_not_begun()

    def _check_not_begun(self) -> None:
        if self._begun:
            raise LocalProtocolError("a response has one head, which was sent")

    def _check_begun(self) -> None:
        if not self._begun:
            raise LocalProtocolError("a response begins with its head: call send_head()")


def response_head(status: int, headers: Iterable[tuple[str, str]], *, http2: bool) -> Headers:
    """Check and return the headers of a response whose body follows in parts, over HTTP/2 with `:status`."""
    if not 0 <= status < 1000:
        raise LocalProtocolError(f"status {status} must be 200 to 599")
    return tuple(_core.write_ordinary_response(status, list(pairs(headers)), None, head=False, http2=http2))
