"""The opening handshake: defaults of what is negotiated, and what a server decides."""

from __future__ import annotations

from collections.abc import Sequence

from mintws import origin
from mintws.connection import Connection
from mintws.events import UpgradeReject, UpgradeRequest
from mintws.extensions import Extension, PerMessageDeflate


def default_offer() -> tuple[Extension, ...]:
    """Make what a driver's client offers, for the connections that are to share contexts."""
    return (PerMessageDeflate(),)


def default_willing() -> tuple[Extension, ...]:
    """Make what a driver's server is willing to use: windows of 4 KiB, because of each the connection holds what it may need."""
    return (PerMessageDeflate(server_max_window_bits=12, client_max_window_bits=12),)


def check_origin(request: UpgradeRequest, origins: Sequence[str | None] | None) -> UpgradeReject | None:
    """Refuse a request from a page of another origin (RFC 6455 §10.2).

    Args:
        origins: the origins that are allowed, such as "https://example.com"; `None` among them allows clients that send none, which
            are no browsers. `None` instead of a sequence allows all requests without a cookie, and those from the server's own host
            and port.
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
        allowed = origin.is_from(sent[0], request.host)
    if allowed:
        return None
    return UpgradeReject(
        403, headers=[("Content-Type", "text/plain")], body=b"this origin may not open a WebSocket here\n"
    )


def choose_subprotocol(request: UpgradeRequest, spoken: Sequence[str]) -> str | None:
    """Give the first subprotocol of the client's list that the server speaks."""
    return next((it for it in request.subprotocols if it in spoken), None)


def describe(connection: Connection) -> str:
    """Say in one line what was negotiated."""
    extensions = ", ".join(str(it.answer) for it in connection.extensions) or "no extension"
    return f"HTTP/{connection.carrier.http_version}, {connection.subprotocol or 'no subprotocol'}, {extensions}"
