"""The PROXY protocol on the transports of a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mintws.asyncio.relayed import RelayedTransport
from mintws.asyncio.timers import rearm
from mintws.drivers.server import ServerSettings
from mintws.session import ProxyHeader, ProxyHeaderReader, Visit

#: The most bytes that are read at a time, until the header is whole.
READ_SIZE = 2048


class ProxyHeaderProtocol(asyncio.BufferedProtocol):
    """A transport whose first bytes are a PROXY header, if it is that of a trusted proxy; another protocol follows.

    Args:
        loop: the loop.
        server: what is told of the connection.
        channels: those of the server, which this is among until the header is there.
        secure: whether TLS follows.
        make: makes the protocol that follows, which has a `visit`.
    """

    protocol = None

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        server: ServerSettings,
        channels: set[Any],
        secure: bool,
        make: Callable[[], Any],
    ) -> None:
        self._loop = loop
        self._server = server
        self._channels = channels
        self._secure = secure
        self._make = make
        self._buffer = bytearray(READ_SIZE)
        self._reader = ProxyHeaderReader()
        self._timer: asyncio.Handle | None = None
        self._visit: Visit | None = None
        self._transport: asyncio.Transport
        self._address: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        self._transport = transport  # type: ignore[assignment]
        self._address = transport.get_extra_info("peername")
        if server.leaving:
            self.abort()
        elif not server._relays(self._address):
            self._follow(self._make(), transport)  # type: ignore[arg-type]
        else:
            self._visit = server._admit(self._address, secure=self._secure)
            if self._visit is None:
                self.abort()
                return
            self._channels.add(self)
            timeout = server._timeouts.open_timeout
            self._timer = rearm(
                None, self._loop, None if timeout is None else self._loop.time() + timeout, self._expire
            )

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        rest = self._reader.receive(bytes(self._buffer[:nbytes]))
        header = self._reader.header
        if self._reader.fault:
            self._fail()
        elif header is not None and rest is not None:
            self._end(header, rest)

    def eof_received(self) -> bool:
        self._reader.receive_eof()
        self._fail()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self._reader.fault:
            self._reader.receive_eof(error)
            self._server._fail_proxy_header(self._address, self._reader)
        self._let_go()
        self._server._depart(self._visit)

    def abort(self) -> None:
        """End the transport at once."""
        self._transport.abort()

    def _fail(self) -> None:
        self._let_go()
        self._server._fail_proxy_header(self._address, self._reader)
        self.abort()

    def _expire(self) -> None:
        self._timer = None
        self._reader.fault = f"it did not come within {self._server._timeouts.open_timeout:g} s"
        self._fail()

    def _let_go(self) -> None:
        self._timer = rearm(self._timer, self._loop, None, self._expire)
        self._channels.discard(self)

    def _end(self, header: ProxyHeader, rest: bytes) -> None:
        """Let the protocol follow whose transport knows of the header."""
        visit, self._visit = self._visit, None
        assert visit is not None
        self._let_go()
        peer = self._server._identify(visit, self._address, header)
        if peer is None:
            self._visit = visit
            self.abort()
            return
        protocol = self._make()
        protocol.visit = visit
        self._follow(protocol, RelayedTransport(self._transport, peer, header))
        if rest and not self._transport.is_closing():
            memoryview(protocol.get_buffer(len(rest)))[: len(rest)] = rest
            protocol.buffer_updated(len(rest))

    def _follow(self, protocol: Any, transport: asyncio.Transport) -> None:
        self._transport.set_protocol(protocol)
        protocol.connection_made(transport)
