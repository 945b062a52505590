"""A tunnel through a proxy, whatever it speaks."""

from __future__ import annotations

from typing import Protocol

from mintws.errors import ProxyError, RemoteProtocolError
from mintws.http1.tunnel import HttpTunnel
from mintws.session.proxy import Proxy
from mintws.session.socks import SocksTunnel


class Tunnel(Protocol):
    """A tunnel that is to be opened: see `HttpTunnel`."""

    done: bool
    failure: ProxyError | RemoteProtocolError | None
    rest: bytes

    def start(self) -> bytes: ...
    def receive(self, data: bytes) -> bytes: ...


def tunnel_to(proxy: Proxy, host: str, port: int) -> Tunnel:
    """Make a tunnel to a server, a name or an address, by a proxy.

    Raises:
        LocalProtocolError: it takes a library that is not installed.
    """
    # The zone of an IPv6 address has a meaning on this host only.
    host = host.partition("%")[0]
    if proxy.is_socks:
        return SocksTunnel(proxy, host, port)
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    credentials = proxy.authorization
    return HttpTunnel(authority, () if credentials is None else (("Proxy-Authorization", credentials),))
