"""The opening handshake: defaults for its negotiation, and the decisions of a server."""

from __future__ import annotations

from collections.abc import Sequence

from mintws import origin
from mintws.connection import Connection
from mintws.events import UpgradeReject, UpgradeRequest
from mintws.extensions import Extension, PerMessageDeflate


def default_offer() -> tuple[Extension, ...]:
    """Return the default offer of a driver's client. Connections with the same offer share contexts."""
    return (PerMessageDeflate(),)


def default_willing() -> tuple[Extension, ...]:
    """Return the default extensions of a driver's server, with windows of 4 KiB, because each connection stores its window."""
    return (PerMessageDeflate(server_max_window_bits=12, client_max_window_bits=12),)


def check_origin(request: UpgradeRequest, origins: Sequence[str | None] | None) -> UpgradeReject | None:
    """Refuse a request from a page of another origin (RFC 6455 §10.2).

    Args:
        request: the request. If trusted proxies tell the host and the scheme that the client has asked for, these are its own.
        origins: the allowed origins, such as "https://example.com". `None` among them allows clients that send no Origin, which are not
            browsers. `None` instead of a sequence allows requests without a cookie, and those from the server's own host and port.
    """
    sent = [value for name, value in request.headers if name.lower() == "origin"]
    if len(sent) > 1:
        allowed = False
    elif origins is not None:
        asks = origin.parse(sent[0]) if sent else None
        allowed = asks in {origin.parse(it) for it in origins if it} if asks else not sent and None in origins
    elif not sent or not any(name.lower() == "cookie" for name, _ in request.headers):
        allowed = True
    else:
        host, scheme = (request.host, None) if request.peer is None else (request.peer.host, request.peer.scheme)
        allowed = origin.is_from(sent[0], host or request.host, scheme)
    if allowed:
        return None
    return UpgradeReject(
        403, headers=[("Content-Type", "text/plain")], body=b"this origin may not open a WebSocket here\n"
    )


def choose_subprotocol(request: UpgradeRequest, spoken: Sequence[str]) -> str | None:
    """Return the first subprotocol of the client's list that the server speaks."""
    return next((it for it in request.subprotocols if it in spoken), None)


def describe(connection: Connection) -> str:
    """Describe in one line what was negotiated."""
    extensions = ", ".join(str(it.answer) for it in connection.extensions) or "no extension"
    return f"HTTP/{connection.carrier.http_version}, {connection.subprotocol or 'no subprotocol'}, {extensions}"
