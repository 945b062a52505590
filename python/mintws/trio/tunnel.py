"""A tunnel through a proxy."""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

from mintws.drivers.client import Attempt, unreachable
from mintws.drivers.destination import Destination
from mintws.errors import ConnectError, ConnectTimeout
from mintws.events import Role
from mintws.session import REFUSAL_WAIT, Proxy, Tunnel, tunnel_to
from mintws.tls import Tls
from mintws.trio.stream import SocketStream, Stream, aclose_now
from mintws.trio.tcp import connect_tcp, resolve
from mintws.trio.tls import TlsStream, proxy_context, shake_hands, shared_buffers

READ_SIZE = 16 * 1024


class TunnelStream:
    """The stream of a tunnel, beginning with what came of it together with the proxy's answer."""

    def __init__(self, stream: Stream, rest: bytes) -> None:
        self._stream = stream
        self._rest = rest

    async def receive_some(self, max_bytes: int, /) -> bytes | bytearray:
        """Wait for bytes, and return some; none if the peer has ended its half."""
        if self._rest:
            await trio.lowlevel.checkpoint()
            data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
            return data
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview, /) -> None:
        """Write all bytes."""
        await self._stream.send_all(data)

    async def aclose(self) -> None:
        """End both halves."""
        await self._stream.aclose()


async def open_tunnel(to: Destination, proxy: Proxy, attempt: Attempt) -> Stream:
    """Open a tunnel through a proxy.

    Raises:
        ConnectError: the proxy cannot be reached, refuses, or breaks a rule.
    """
    try:
        return await _open(to, proxy, attempt)
    except ConnectError:
        raise
    except (OSError, trio.BrokenResourceError) as error:
        raise unreachable(to.url, error, ConnectTimeout, proxy) from error


async def _open(to: Destination, proxy: Proxy, attempt: Attempt) -> Stream:
    host = to.host
    if not proxy.resolves_names:
        attempt.awaits = "the address of the server"
        host = await resolve(host, to.port, socket.AF_INET if proxy.scheme == "socks4" else to.family)
    tunnel = tunnel_to(proxy, host, to.port)
    attempt.awaits = f"the connection to the proxy {proxy}"
    stream: Stream = SocketStream(await connect_tcp(proxy.host, proxy.port, to.family, to.local_addr))
    try:
        if proxy.scheme == "https":
            context = to.proxy_ssl or proxy_context()
            secure = Tls(context, Role.CLIENT, server_hostname=proxy.host, buffers=shared_buffers())
            stream = TlsStream(stream, secure, await shake_hands(stream, secure))
        attempt.awaits = f"the answer of the proxy {proxy}"
        await stream.send_all(tunnel.start())
        while not (tunnel.done or tunnel.failure is not None):
            await _receive(stream, tunnel)
        if tunnel.failure is not None:
            attempt.failure = unreachable(to.url, tunnel.failure, ConnectTimeout, proxy)
            # The refusal is known, even if its body is cut off.
            with trio.move_on_after(REFUSAL_WAIT), suppress(OSError, trio.BrokenResourceError):
                while not tunnel.done:
                    await _receive(stream, tunnel)
            raise unreachable(to.url, tunnel.failure, ConnectTimeout, proxy)
    except BaseException:
        await aclose_now(stream)
        raise
    return TunnelStream(stream, tunnel.rest) if tunnel.rest or proxy.scheme == "https" else stream


async def _receive(stream: Stream, tunnel: Tunnel) -> None:
    reply = tunnel.receive(bytes(await stream.receive_some(READ_SIZE)))
    if reply:
        await stream.send_all(reply)
