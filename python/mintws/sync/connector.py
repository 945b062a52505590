"""How a client reaches its server: the socket, TLS, and the opening handshakes on it."""

from __future__ import annotations

import socket
import ssl as tls
import threading
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from mintws.connection import Options
from mintws.drivers.client import Attempt, ClientTransport, unreachable
from mintws.drivers.destination import ALPN, Destination
from mintws.errors import ConnectError, ConnectTimeout
from mintws.events import Role
from mintws.session import ClientSession, Http1Origins, HttpVersion, Timeouts
from mintws.sync.deadlines import deadline_after
from mintws.sync.parking import Interruption, Late, ended_by
from mintws.sync.sockets import SocketTransport
from mintws.sync.tcp import connect_tcp, connect_unix
from mintws.sync.tunnel import open_tunnel
from mintws.tls import Tls
from mintws.url import Url

T = TypeVar("T")

#: What was learnt of the versions of HTTP that servers speak, by TLS context.
_learnt: WeakKeyDictionary[tls.SSLContext, Http1Origins] = WeakKeyDictionary()
#: Guards `_learnt`, the default context, and what a context offers by ALPN while a connection is made with it.
_contexts = threading.Lock()
_default: list[tls.SSLContext] = []


def within(attempt: Attempt, timeout: float | None, opening: Callable[[float | None], T]) -> T:
    """Open something within so many seconds; `opening` gets the deadline.

    Raises:
        UpgradeError: time is up, and a refusal has come whose body has not ended.
        ConnectTimeout: time is up.
    """
    try:
        return opening(deadline_after(timeout))
    except ConnectError as error:
        attempt.log(error)
        raise
    except Late:
        raise attempt.late(timeout) from None


class Connector:
    """How a server is reached.

    Args:
        destination: where it is.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination

    def at(self, url: Url) -> Connector:
        """Return what reaches a URL that the caller has made, in the way that was given."""
        destination = self.destination.at(url)
        return self if destination is self.destination else Connector(destination)

    def to(self, url: Url) -> Connector:
        """Return what reaches a URL, the own one or one that a server has redirected to."""
        destination = self.destination.to(url)
        return self if destination is self.destination else Connector(destination)

    @property
    def learnt(self) -> Http1Origins:
        """The versions of HTTP learnt of servers with this context: with another they may answer otherwise; without TLS, nothing."""
        if not self.destination.url.secure:
            return Http1Origins()
        context = self.destination.ssl or default_context()
        with _contexts:
            return _learnt.setdefault(context, Http1Origins())

    def connect(
        self,
        http: HttpVersion,
        timeouts: Timeouts,
        options: Options,
        attempt: Attempt,
        deadline: float | None,
        interruption: Interruption | None,
        **streams: int | None,
    ) -> ClientSocket:
        """Connect the transport.

        Args:
            interruption: what may end it before, if there is something.
            streams: arguments of `Http2`.

        Raises:
            ConnectError: the server cannot be reached, or does not speak this version of HTTP.
            Interrupted: another thread has ended it; it may also be a `ConnectError` then.
            Late: the deadline has passed.
        """
        url = self.destination.url
        try:
            sock, early = self._open(attempt, deadline, timeouts.close_timeout, interruption)
        except ConnectError:
            raise
        except OSError as error:
            raise unreachable(url, error, ConnectTimeout) from error
        try:
            side = self._secure(http) if url.secure else None
            if side is not None:
                attempt.begin_tls()
            transport = ClientSocket(sock, timeouts, side, url, http, options, streams)
        except (OSError, ValueError) as error:
            sock.close()
            raise unreachable(url, error, ConnectTimeout) from error
        except BaseException:
            sock.close()
            raise
        try:
            transport.start(early)
            with ended_by(interruption, transport.cut):
                transport.wait(transport.parking, lambda: transport.begun or transport.lost, deadline)
            if not transport.begun:
                raise transport.unreachable(transport.error) from transport.error
            transport.begin_attempt(attempt)
        except BaseException:
            transport.cut()
            raise
        return transport

    def _open(
        self, attempt: Attempt, deadline: float | None, close_timeout: float, interruption: Interruption | None
    ) -> tuple[socket.socket, bytes]:
        """Return a connected socket, and what has come on it already."""
        to = self.destination
        if to.sock is not None:
            return to.sock, b""
        if to.path is not None:
            attempt.awaits = "the connection"
            return connect_unix(to.path, deadline, interruption), b""
        if (proxy := to.proxy) is not None:
            return open_tunnel(to, proxy, attempt, deadline, close_timeout, interruption)
        attempt.awaits = "the TCP connection"
        return connect_tcp(to.host, to.port, to.family, to.local_addr, deadline, interruption), b""

    def _secure(self, http: HttpVersion) -> Tls:
        """Make our side of TLS."""
        name, context = self.destination.server_hostname, self.destination.ssl or default_context()
        with _contexts:
            return Tls(context, Role.CLIENT, server_hostname=name, alpn=ALPN[http])


class ClientSocket(ClientTransport, SocketTransport):
    """A client's transport.

    Attributes:
        begun: whether the transport is connected, over TLS or not.
    """

    _session: ClientSession

    lingers_after_fault = False

    def __init__(
        self,
        sock: socket.socket,
        timeouts: Timeouts,
        side: Tls | None,
        url: Url,
        http: HttpVersion,
        options: Options,
        streams: dict[str, int | None],
    ) -> None:
        # `within` limits the time of the TLS handshake.
        SocketTransport.__init__(self, sock, ClientSession(self.now(), timeouts), side, None)
        self.begun = False
        self._begin_client(url, http, options, streams)

    def connected(self) -> None:
        self.speak_chosen(None if self.peer.tls is None else self.peer.tls.selected_alpn_protocol())
        self.begun = True
        self.parking.wake()

    def failed(self, error: Exception) -> None:
        self.error = error.with_traceback(None)

    def receive(self, data: bytes) -> None:
        super().receive(data)
        if self.speaks:
            self.check_received()

    def outlive(self) -> None:
        """Nothing: the background goes on with it."""


def default_context() -> tls.SSLContext:
    """Return the context that clients share, which checks certificates against those of the system."""
    with _contexts:
        if not _default:
            context = tls.create_default_context()
            # RFC 9113 §9.2.1 forbids it, and a message that is sent during it would fail.
            context.options |= tls.OP_NO_RENEGOTIATION
            _default.append(context)
        return _default[0]
