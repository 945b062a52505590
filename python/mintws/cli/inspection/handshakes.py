"""Opening handshakes that were captured, done once more, so that a `Connection` judges what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mintws.connection import Connection, Direct
from mintws.events import Failed, Role, UpgradeAccept, UpgradeRequest
from mintws.extensions import Agreed, Extension, Offer, Params, PerMessageDeflate, Transform

#: Options of a connection that judges: a capture may have messages of any size.
ANY_SIZE: dict[str, Any] = {"limit": None, "memory_limit": None}
#: What is assumed where a capture does not have the server's answer. It matters only for frames with RSV1.
ASSUMED = (Offer(PerMessageDeflate.name),)

_REQUEST = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https"), (b":path", b"/"))


class Stream(Direct):
    """The carrier of a handshake over HTTP/2, which has no key."""

    __slots__ = ()

    http_version = "2"
    scheme = "https"

    def send_request(self, target: str, headers: Any) -> bytes:
        return b""

    def send_response(self, status: int, headers: Any, body: bytes | None) -> bytes:
        return b""


class _Unknown(Transform):
    """Leaves messages as they are."""

    def send(self, data: bytes, *, text: bool) -> tuple[bytes, int]:
        return data, 0

    def receive(self, data: bytes, rsv: int, *, text: bool) -> bytes:
        return data


class _AsAnswered(Extension):
    """Is agreed on as the server has answered."""

    def __init__(self, answer: Offer) -> None:
        self.name = answer.name
        self._answer = answer

    def offer(self) -> Params:
        return self._answer.params

    def accept(self, offer: Params) -> Agreed | None:
        return self.agree(self._answer.params)

    def agree(self, answer: Params) -> Agreed | None:
        if self.name == PerMessageDeflate.name:
            return PerMessageDeflate().agree(answer)
        # Another extension may own any other bit.
        return Agreed(Offer(self.name, answer), _Unknown(), 0x30)


def accept(answers: Sequence[Offer], subprotocol: str | None = None) -> UpgradeAccept:
    """Return the acceptance that agrees on what was answered."""
    return UpgradeAccept(subprotocol=subprotocol, extensions=[_AsAnswered(it) for it in answers])


def ask(request: UpgradeRequest) -> UpgradeRequest:
    """Return a request whose answer is judged like that of a captured one."""
    offers = [_as_offered(it) for it in request.extensions if isinstance(it, Offer)]
    return UpgradeRequest(request.host, request.target, subprotocols=request.subprotocols, extensions=offers)


def ask_for(answers: Sequence[Offer], subprotocols: Sequence[str] = ()) -> UpgradeRequest:
    """Return a request that any such answer fits, where the one that was sent is unknown."""
    return UpgradeRequest("unknown.invalid", subprotocols=subprotocols, extensions=[_AsAnswered(it) for it in answers])


def open_unseen(sender: Role, answers: Sequence[Offer]) -> Connection:
    """Open a connection for the frames of a sender whose handshake is not there."""
    receiver = Role.SERVER if sender is Role.CLIENT else Role.CLIENT
    connection = Connection(receiver, Stream(), **ANY_SIZE)
    offered = ", ".join(map(str, answers)).encode()
    headers = ((b"sec-websocket-extensions", offered),) if offered else ()
    if receiver is Role.SERVER:
        connection.receive_request(
            [*_REQUEST, (b":authority", b"unknown.invalid"), *headers, (b"sec-websocket-version", b"13")]
        )
        connection.send(accept(answers))
    else:
        connection.send(ask_for(answers))
        connection.receive_response([(b":status", b"200"), *headers])
    return connection


def failed(events: Sequence[tuple[Any, Any]]) -> Failed | None:
    """Return the fault among events, if there is one."""
    return next((event for _, event in events if isinstance(event, Failed)), None)


def _as_offered(offer: Offer) -> Extension:
    """Return the extension that makes this offer."""
    if offer.name != PerMessageDeflate.name:
        return _AsAnswered(offer)
    params = dict(offer.params)
    how: dict[str, Any] = {name: True for name in params if name.endswith("_no_context_takeover")}
    how["client_max_window_bits"] = None
    for name in ("server_max_window_bits", "client_max_window_bits"):
        if name in params:
            value = params[name]
            how[name] = True if value is None else int(value)
    return PerMessageDeflate(**how)
