"""The scope of an ASGI application: the description of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from mintws.asgi.tls import tls_extension
from mintws.connection import Connection
from mintws.events import Peer, Request, UpgradeRequest, encoded

#: The newest version of the specification: `reason` is told, and `send` after the end raises an `OSError`.
SPEC_VERSION = "2.5"


def websocket_scope(
    connection: Connection,
    request: UpgradeRequest,
    transport: asyncio.BaseTransport,
    *,
    client: Peer | None = None,
    root_path: str = "",
    state: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give the scope of a WebSocket that a client asks for.

    Args:
        connection: its connection.
        request: the request of the opening handshake.
        transport: where it came from.
        client: the client, as trusted proxies tell; `None` if it is the other end of the transport.
        root_path: the path that the application is mounted at, which is put in front of that of the request.
        state: what the lifespan of the application has set.
    """
    headers = list(request.raw_headers)
    http_version = connection.carrier.http_version
    if http_version == "2":
        headers = _with_one_cookie(headers)
    return {
        **_scope("websocket", request.target, transport, client, root_path, state),
        "http_version": http_version,
        "headers": headers,
        "subprotocols": list(request.subprotocols),
        "extensions": _extensions(transport, "websocket.http.response"),
    }


def http_scope(
    request: Request,
    transport: asyncio.BaseTransport,
    *,
    http_version: str,
    extensions: Iterable[str] = (),
    client: Peer | None = None,
    root_path: str = "",
    state: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give the scope of an ordinary request.

    Args:
        request: its head.
        transport: where it came from.
        http_version: the version of HTTP, "1.1" or "2".
        extensions: the extensions that whoever sends the response has, but for that of TLS.
        client, root_path, state: as of `websocket_scope`.
    """
    return {
        **_scope("http", request.target, transport, client, root_path, state),
        "http_version": http_version,
        "method": request.method,
        "headers": encoded(request.headers),
        "extensions": _extensions(transport, *extensions),
    }


def _scope(
    kind: str,
    target: str,
    transport: asyncio.BaseTransport,
    client: Peer | None,
    root_path: str,
    state: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Give what scopes of both kinds have."""
    raw_path, _, query = target.partition("?")
    scheme = {"http": "http", "websocket": "ws"}[kind]
    secure = transport.get_extra_info("ssl_object") is not None
    if client is not None and client.scheme is not None:
        secure = client.scheme == "https"
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
        "scheme": f"{scheme}s" if secure else scheme,
        "path": root_path + unquote(raw_path),
        "raw_path": (root_path + raw_path).encode(),
        "query_string": query.encode(),
        "root_path": root_path,
        "client": _address(transport.get_extra_info("peername") if client is None else client.address),
        "server": _address(transport.get_extra_info("sockname")),
    }
    if state is not None:
        # Each scope has a copy of its own, not a deep one.
        scope["state"] = dict(state)
    return scope


def _extensions(transport: asyncio.BaseTransport, *names: str) -> dict[str, Any]:
    extensions: dict[str, Any] = {name: {} for name in names}
    tls = transport.get_extra_info("ssl_object")
    if tls is not None:
        extensions["tls"] = tls_extension(tls)
    return extensions


def _with_one_cookie(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Join the Cookie that a client of HTTP/2 may cut (RFC 9113 §8.2.3): the whole stands where its first part did."""
    parts = [value for name, value in headers if name == b"cookie"]
    if len(parts) < 2:
        return headers
    first = next(at for at, (name, _) in enumerate(headers) if name == b"cookie")
    others = [pair for pair in headers[first:] if pair[0] != b"cookie"]
    return [*headers[:first], (b"cookie", b"; ".join(parts)), *others]


def _address(name: Any) -> tuple[str, int | None] | None:
    """Give an address as a host and a port; a Unix socket is a path without a port, and one that is bound nowhere is none."""
    if isinstance(name, tuple):
        return name[0], name[1]
    path = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
    return (path, None) if path else None
