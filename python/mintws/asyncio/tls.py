"""TLS contexts of clients: one for each loop where none is given, and what a connection offers by ALPN (RFC 7301)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

#: The number of the ALPN extension (RFC 7301 §3.1).
_ALPN = 16

#: The contexts of clients that give none: to load the system's certificates takes tens of milliseconds and a MiB.
_defaults: WeakKeyDictionary[asyncio.AbstractEventLoop, ssl.SSLContext] = WeakKeyDictionary()


def default_context(loop: asyncio.AbstractEventLoop) -> ssl.SSLContext:
    """Give the context that the clients of a loop share, which checks certificates against those of the system."""
    context = _defaults.get(loop)
    if context is None:
        context = _defaults[loop] = ssl.create_default_context()
    return context


class Alpn:
    """A TLS context that offers the protocols of one connection, and is as it was to all others that use it.

    OpenSSL copies the list of a context into each connection that it makes, so the list is put back as soon as that is made.

    Args:
        context: the context.
        protocols: the protocols to offer, best first.
        began: called when the handshake begins.
    """

    def __init__(self, context: ssl.SSLContext, protocols: list[str], began: Callable[[], None]) -> None:
        self._context = context
        self._protocols = protocols
        self._began = began

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:
        self._began()
        try:
            before = offered(self._context, named.get("server_hostname"))
        except ssl.SSLError:
            # No handshake can begin with it, which the loop finds out too.
            return self._context.wrap_bio(*args, **named)
        self._context.set_alpn_protocols(self._protocols)
        try:
            return self._context.wrap_bio(*args, **named)
        finally:
            _offer(self._context, before)


def offered(context: ssl.SSLContext, server_hostname: str | None = None) -> list[str]:
    """Give the protocols that a client's context offers.

    A context has no getter for them, so they are read out of the first message of a handshake that goes no further.

    Args:
        context: the context.
        server_hostname: which server is asked, for a context of the caller's own class that wants to know.

    Raises:
        ssl.SSLError: no handshake can begin with this context.
    """
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_hostname).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return _alpn_of(outgoing.read())


def _alpn_of(hello: bytes) -> list[str]:
    """Read the protocols out of a record with a ClientHello (RFC 8446 §4.1.2)."""
    # The headers of the record and of the message, the version and the random bytes.
    at = 5 + 4 + 2 + 32
    # The session's name, the cipher suites, the compression methods: each with its size before it.
    for width in (1, 2, 1):
        at += width + int.from_bytes(hello[at : at + width], "big")
    at += 2
    while at < len(hello):
        kind, size = (int.from_bytes(hello[start : start + 2], "big") for start in (at, at + 2))
        if kind == _ALPN:
            return _names(hello[at + 6 : at + 4 + size])
        at += 4 + size
    return []


def _names(listed: bytes) -> list[str]:
    names = []
    while listed:
        end = 1 + listed[0]
        names.append(listed[1:end].decode("ascii"))
        listed = listed[end:]
    return names


def _offer(context: ssl.SSLContext, protocols: list[str]) -> None:
    try:
        context.set_alpn_protocols(protocols)
    except MemoryError:
        # What OpenSSL 1.1.1 says of an empty list, when it has dropped the one before.
        if protocols:
            raise
