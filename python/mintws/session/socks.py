"""SOCKS (RFC 1928, RFC 1929), by python-socks."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from mintws.errors import LocalProtocolError, ProxyError, RemoteProtocolError
from mintws.session.proxy import Proxy

if TYPE_CHECKING:
    from python_socks._connectors.abc import AsyncConnector


class SocksTunnel:
    """The client's side of SOCKS. Bytes go in and out; nothing is raised for those of the proxy.

    python-socks has the protocol as a coroutine that reads and writes a stream. Here the stream is two buffers.

    Args:
        proxy: the proxy.
        host: the server: a name if the proxy resolves names, else an address.
        port: its port.

    Attributes:
        done, failure, rest: as of `HttpTunnel`.

    Raises:
        LocalProtocolError: python-socks is not installed.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self.done = False
        self.failure: ProxyError | RemoteProtocolError | None = None
        self.rest = b""
        self._sent = b""
        self._wanted = 0
        self._connector = _connector(proxy)
        self._server = host, port
        self._work: Coroutine[Any, Any, Any]

    def start(self) -> bytes:
        """Return the first message."""
        # Not before: a coroutine that never runs is warned of, and the proxy may be out of reach.
        self._work = self._connector.connect(_Stream(self), *self._server)  # type: ignore[arg-type]
        return self._go_on()

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the proxy, `b""` at their end; return what is to be sent."""
        if not data and not self.done:
            self.failure = RemoteProtocolError("the proxy left without an answer", code=1006, section="RFC 1928 §6")
            self.done = True
            self._work.close()
        self.rest += data
        return b"" if self.done else self._go_on()

    def write(self, data: bytes) -> None:
        """Send, when the coroutine waits."""
        self._sent += data

    def read(self, size: int) -> Generator[None, None, bytes]:
        """Wait for so many bytes."""
        while len(self.rest) < size:
            self._wanted = size
            yield
        data, self.rest = self.rest[:size], self.rest[size:]
        return data

    def _go_on(self) -> bytes:
        from python_socks._protocols.errors import ReplyError

        if len(self.rest) >= self._wanted:
            try:
                self._work.send(None)
            except StopIteration:
                self.done = True
            except ReplyError as error:
                self.failure = ProxyError.of_socks(str(error), error.error_code)
                self.done = True
            except (ValueError, OSError) as error:
                # An address within the answer that is none.
                self.failure = RemoteProtocolError(f"the proxy's answer is no SOCKS: {error}", section="RFC 1928 §6")
                self.done = True
        sent, self._sent = self._sent, b""
        return sent


class _Stream:
    """The stream of python-socks' coroutine."""

    def __init__(self, tunnel: SocksTunnel) -> None:
        self._tunnel = tunnel

    async def write(self, data: bytes) -> None:
        self._tunnel.write(data)

    async def read_exactly(self, size: int) -> bytes:
        return await _Read(self._tunnel, size)


class _Read(Awaitable[bytes]):
    def __init__(self, tunnel: SocksTunnel, size: int) -> None:
        self._tunnel = tunnel
        self._size = size

    def __await__(self) -> Generator[None, None, bytes]:
        return self._tunnel.read(self._size)


def _connector(proxy: Proxy) -> AsyncConnector:
    try:
        from python_socks import ProxyType
        from python_socks._connectors.factory_async import create_connector
    except ImportError as error:
        raise LocalProtocolError("SOCKS needs python-socks: install mintws[socks], or python-socks itself") from error
    kind = ProxyType.SOCKS5 if proxy.scheme.startswith("socks5") else ProxyType.SOCKS4
    # Names are never resolved there: that is the driver's to do.
    return create_connector(kind, proxy.user, proxy.password, True, None)  # type: ignore[arg-type]
