"""What an ASGI application is told of a connection: its scope."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from mintws.asgi.tls import tls_extension
from mintws.connection import Connection
from mintws.events import UpgradeRequest

#: The newest version of the specification's WebSocket part: `reason` is told, and `send` after the end raises an `OSError`.
SPEC_VERSION = "2.5"


def websocket_scope(
    connection: Connection,
    request: UpgradeRequest,
    transport: asyncio.BaseTransport,
    *,
    root_path: str = "",
    state: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give the scope of a WebSocket that a client asks for.

    Args:
        connection: its connection.
        request: the request of the opening handshake.
        transport: where it came from.
        root_path: the path that the application is mounted at, which is put in front of that of the request.
        state: what the lifespan of the application has set.
    """
    raw_path, _, query = request.target.partition("?")
    tls = transport.get_extra_info("ssl_object")
    extensions: dict[str, Any] = {"websocket.http.response": {}}
    if tls is not None:
        extensions["tls"] = tls_extension(tls)
    scope: dict[str, Any] = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
        "http_version": connection.carrier.http_version,
        "scheme": "ws" if tls is None else "wss",
        "path": root_path + unquote(raw_path),
        "raw_path": (root_path + raw_path).encode(),
        "query_string": query.encode(),
        "root_path": root_path,
        "headers": list(request.raw_headers),
        "client": _address(transport.get_extra_info("peername")),
        "server": _address(transport.get_extra_info("sockname")),
        "subprotocols": list(request.subprotocols),
        "extensions": extensions,
    }
    if state is not None:
        # Each scope has a copy of its own, not a deep one.
        scope["state"] = dict(state)
    return scope


def _address(name: Any) -> tuple[str, int | None] | None:
    """Give an address as a host and a port; a Unix socket is a path without a port, and one that is bound nowhere is none."""
    if isinstance(name, tuple):
        return name[0], name[1]
    path = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
    return (path, None) if path else None
