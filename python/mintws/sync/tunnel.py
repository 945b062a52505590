"""A tunnel through a proxy."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from functools import partial

from mintws.drivers.client import Attempt, unreachable
from mintws.drivers.destination import Destination
from mintws.errors import ConnectError, ConnectTimeout
from mintws.events import Role
from mintws.session import REFUSAL_WAIT, Proxy, Tunnel, tunnel_to
from mintws.sync.deadlines import seconds_until
from mintws.sync.parking import Interruption, Late, ended_by
from mintws.sync.relay import Relay
from mintws.sync.tcp import connect_tcp, resolve
from mintws.tls import Tls, TlsState

READ_SIZE = 16 * 1024

_default: list[ssl.SSLContext] = []
_default_lock = threading.Lock()


class Stream:
    """A connection to a proxy, over TLS or not, on which calls block until a deadline.

    All of them raise `Late` when the deadline has passed, and `OSError` when the connection fails.
    """

    def __init__(self, sock: socket.socket, tls: Tls | None) -> None:
        self._sock = sock
        self._tls = tls

    def shake_hands(self, deadline: float | None) -> None:
        """Do the handshake of TLS, if there is TLS."""
        tls = self._tls
        if tls is None:
            return
        self._write(tls.start(), deadline)
        while tls.state is TlsState.HANDSHAKE:
            _, reply = tls.receive(self._read(deadline))
            self._write(reply, deadline)
        if tls.state is TlsState.CLOSED:
            assert tls.end is not None
            raise tls.end

    def send(self, data: bytes, deadline: float | None) -> None:
        """Write all bytes."""
        if data:
            self._write(data if self._tls is None else self._tls.send(data), deadline)

    def receive(self, deadline: float | None) -> bytes:
        """Wait for bytes, and return some; none at their end."""
        if self._tls is None:
            return self._read(deadline)
        while True:
            plaintext, reply = self._tls.receive(self._read(deadline))
            self._write(reply, deadline)
            if plaintext or self._tls.end is not None:
                return plaintext

    def _read(self, deadline: float | None) -> bytes:
        self._limit(deadline)
        try:
            return self._sock.recv(READ_SIZE)
        except TimeoutError as error:
            raise _late(error) from None

    def _write(self, data: bytes, deadline: float | None) -> None:
        self._limit(deadline)
        try:
            self._sock.sendall(data)
        except TimeoutError as error:
            raise _late(error) from None

    def _limit(self, deadline: float | None) -> None:
        seconds = seconds_until(deadline)
        if seconds == 0:
            raise Late
        self._sock.settimeout(seconds)


def open_tunnel(
    to: Destination,
    proxy: Proxy,
    attempt: Attempt,
    deadline: float | None,
    close_timeout: float,
    interruption: Interruption | None,
) -> tuple[socket.socket, bytes]:
    """Open a tunnel through a proxy.

    Args:
        close_timeout: seconds to wait until a proxy has taken everything, once the socket is closed.
        interruption: what may end it before, if there is something.

    Returns:
        A connected socket, and what came of the server together with the proxy's answer.

    Raises:
        ConnectError: the proxy cannot be reached, refuses, or breaks a rule.
        Interrupted: another thread has ended it; it may also be a `ConnectError` then.
        Late: the deadline has passed.
    """
    try:
        return _open(to, proxy, attempt, deadline, close_timeout, interruption)
    except ConnectError:
        raise
    except (OSError, ValueError) as error:
        raise unreachable(to.url, error, ConnectTimeout, proxy) from error


def _open(
    to: Destination,
    proxy: Proxy,
    attempt: Attempt,
    deadline: float | None,
    close_timeout: float,
    interruption: Interruption | None,
) -> tuple[socket.socket, bytes]:
    host = to.host
    if not proxy.resolves_names:
        attempt.awaits = "the address of the server"
        family = socket.AF_INET if proxy.scheme == "socks4" else to.family
        host = resolve(host, to.port, family, deadline, interruption)
    tunnel = tunnel_to(proxy, host, to.port)
    attempt.awaits = f"the connection to the proxy {proxy}"
    sock = connect_tcp(proxy.host, proxy.port, to.family, to.local_addr, deadline, interruption)
    try:
        tls = None if proxy.scheme != "https" else _secure(to.proxy_ssl, proxy)
        stream = Stream(sock, tls)
        with ended_by(interruption, partial(_shut_down, sock)):
            stream.shake_hands(deadline)
            attempt.awaits = f"the answer of the proxy {proxy}"
            stream.send(tunnel.start(), deadline)
            while not (tunnel.done or tunnel.failure is not None):
                _receive(stream, tunnel, deadline)
            if tunnel.failure is not None:
                latest = time.monotonic() + REFUSAL_WAIT
                with suppress(Late, OSError):
                    while not tunnel.done:
                        _receive(stream, tunnel, latest if deadline is None else min(latest, deadline))
                raise unreachable(to.url, tunnel.failure, ConnectTimeout, proxy)
        if tls is None:
            return sock, tunnel.rest
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        relay = Relay(sock, tls, close_timeout)
    except BaseException:
        sock.close()
        raise
    relay.start()
    return relay.socket, tunnel.rest


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _receive(stream: Stream, tunnel: Tunnel, deadline: float | None) -> None:
    stream.send(tunnel.receive(stream.receive(deadline)), deadline)


def _late(error: TimeoutError) -> Exception:
    """Tell that time is up from a fault of the network that has the same class, and a number."""
    return Late() if error.errno is None else error


def _secure(context: ssl.SSLContext | None, proxy: Proxy) -> Tls:
    """Make our side of TLS to a proxy."""
    return Tls(context or proxy_context(), Role.CLIENT, server_hostname=proxy.host)


def proxy_context() -> ssl.SSLContext:
    """Return the context that clients share for TLS to proxies, which speak HTTP/1.1 in it."""
    with _default_lock:
        if not _default:
            context = ssl.create_default_context()
            context.options |= ssl.OP_NO_RENEGOTIATION
            context.set_alpn_protocols(["http/1.1"])
            _default.append(context)
        return _default[0]
