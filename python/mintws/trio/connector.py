"""How a client reaches its server: the stream, TLS, and the transport on them."""

from __future__ import annotations

import math
import ssl as tls
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import trio

from mintws.connection import Options
from mintws.drivers.client import CLIENT_SLOTS, Attempt, ClientTransport, unreachable
from mintws.drivers.destination import ALPN, Destination
from mintws.errors import ConnectError, ConnectTimeout
from mintws.events import Role
from mintws.session import ClientSession, Http1Origins, HttpVersion, Timeouts
from mintws.tls import Tls, offer
from mintws.trio.stream import SocketStream, Stream, aclose_now, end_cause
from mintws.trio.streamed import StreamTransport
from mintws.trio.tcp import connect_tcp, connect_unix
from mintws.trio.tls import default_context, shake_hands, shared_buffers
from mintws.trio.tunnel import open_tunnel
from mintws.url import Url

T = TypeVar("T")

#: What was learnt of the versions of HTTP that servers speak, by TLS context.
_learnt: trio.lowlevel.RunVar[WeakKeyDictionary[tls.SSLContext, Http1Origins]] = trio.lowlevel.RunVar("mintws origins")


async def within(attempt: Attempt, timeout: float | None, opening: Callable[[], Awaitable[T]]) -> T:
    """Wait for an opening for so many seconds.

    Raises:
        UpgradeError: time is up, and a refusal has come whose body has not ended.
        ConnectTimeout: time is up.
    """
    try:
        with trio.move_on_after(math.inf if timeout is None else timeout):
            return await opening()
    except ConnectError as error:
        attempt.log(error)
        raise
    raise attempt.late(timeout)


class Connector:
    """How a server is reached.

    Args:
        destination: where it is.
        stream: a stream that the caller has connected.
    """

    def __init__(self, destination: Destination, stream: Stream | None) -> None:
        if stream is not None:
            for name in ("receive_some", "send_all", "aclose"):
                if not callable(getattr(stream, name, None)):
                    raise TypeError(f"stream is a stream of bytes as trio has them, with {name}(), not {stream!r}")
        self.destination = destination
        self._stream = stream

    def at(self, url: Url) -> Connector:
        """Return what reaches a URL that the caller has made, in the way that was given."""
        destination = self.destination.at(url)
        return self if destination is self.destination else Connector(destination, self._stream)

    def to(self, url: Url) -> Connector:
        """Return what reaches a URL, the own one or one that a server has redirected to."""
        destination = self.destination.to(url)
        return self if destination is self.destination else Connector(destination, None)

    @property
    def learnt(self) -> Http1Origins:
        """The versions of HTTP learnt of servers with this context: with another they may answer otherwise; without TLS, nothing."""
        if not self.destination.url.secure:
            return Http1Origins()
        try:
            contexts = _learnt.get()
        except LookupError:
            contexts = WeakKeyDictionary()
            _learnt.set(contexts)
        return contexts.setdefault(self.destination.ssl or default_context(), Http1Origins())

    async def connect(
        self, http: HttpVersion, timeouts: Timeouts, options: Options, attempt: Attempt, **streams: int | None
    ) -> TrioClientTransport:
        """Connect the transport, which is to be run then.

        Args:
            streams: arguments of `Http2`.

        Raises:
            ConnectError: the server cannot be reached, or does not speak this version of HTTP.
        """
        try:
            stream = await self._open(attempt)
        except ConnectError:
            raise
        except OSError as error:
            raise unreachable(self.destination.url, error, ConnectTimeout) from error
        try:
            secure, early = await self._begin_tls(stream, http, attempt)
            transport = TrioClientTransport(
                stream, timeouts, secure, early, self.destination.url, http, options, streams
            )
            transport.speak_chosen(None if secure is None else secure.ssl_object.selected_alpn_protocol())
            transport.begin_attempt(attempt)
        except BaseException:
            await aclose_now(stream)
            raise
        return transport

    async def _open(self, attempt: Attempt) -> Stream:
        if self._stream is not None:
            return self._stream
        to = self.destination
        if to.sock is not None:
            return SocketStream(to.sock)
        if to.path is not None:
            attempt.awaits = "the connection"
            return SocketStream(await connect_unix(to.path))
        if (proxy := to.proxy) is not None:
            return await open_tunnel(to, proxy, attempt)
        attempt.awaits = "the TCP connection"
        return SocketStream(await connect_tcp(to.host, to.port, to.family, to.local_addr))

    async def _begin_tls(self, stream: Stream, http: HttpVersion, attempt: Attempt) -> tuple[Tls | None, bytes]:
        """Do the handshake of TLS, if the URL asks for it; give what came after it."""
        if not self.destination.url.secure:
            return None, b""
        attempt.begin_tls()
        url = self.destination.url
        try:
            secure = self._secure(ALPN[http])
        except (OSError, ValueError) as error:
            raise unreachable(url, error, ConnectTimeout) from error
        try:
            return secure, await shake_hands(stream, secure)
        except Exception as error:
            # A stream may raise errors of its own kind.
            cause = end_cause(error)
            raise unreachable(url, cause, ConnectTimeout) from cause

    def _secure(self, protocols: list[str]) -> Tls:
        """Make our side of TLS."""
        name, buffers = self.destination.server_hostname, shared_buffers()
        if self.destination.ssl is not None:
            return Tls(self.destination.ssl, Role.CLIENT, server_hostname=name, alpn=protocols, buffers=buffers)
        # Nobody else has this one, so its list need not be put back.
        context = default_context()
        offer(context, protocols)
        return Tls(context, Role.CLIENT, server_hostname=name, buffers=buffers)


class TrioClientTransport(ClientTransport, StreamTransport):
    """A client's transport."""

    __slots__ = CLIENT_SLOTS

    _session: ClientSession

    def __init__(
        self,
        stream: Stream,
        timeouts: Timeouts,
        secure: Tls | None,
        early: bytes,
        url: Url,
        http: HttpVersion,
        options: Options,
        streams: dict[str, Any],
    ) -> None:
        super().__init__(stream, ClientSession(trio.current_time(), timeouts), secure, early)
        self._begin_client(url, http, options, streams)

    def receive(self, data: bytes | bytearray) -> None:
        super().receive(data)
        self.check_received()

    def catch_up(self) -> None:
        super().catch_up()
        self.check_received()

    def outlive(self) -> None:
        """Go on until the transport has ended: the nursery that it runs in waits for that."""
