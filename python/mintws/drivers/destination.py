"""Where a client connects to, and what it calls the server."""

from __future__ import annotations

import os
import socket
import ssl as tls
from collections.abc import Hashable, Mapping
from functools import partial

from mintws.drivers.addresses import GivenPath, ascii_name, check_address, check_context, check_proxy
from mintws.drivers.client import Reach
from mintws.errors import LocalProtocolError
from mintws.events import Role
from mintws.session import Http1Origins, HttpVersion, Proxy, VersionChoice, environment_proxy
from mintws.url import Url

#: What is offered by ALPN for each version that is asked for.
ALPN: dict[HttpVersion, list[str]] = {"auto": ["h2", "http/1.1"], "1.1": ["http/1.1"], "2": ["h2"]}


class Destination:
    """Where a server is.

    Args:
        url, ssl, server_hostname, host, port, family, local_addr, sock, path, proxy, proxy_ssl: see `connect`.
        opened: what the caller has connected, if it is no socket, by the name of its argument.

    Attributes:
        reach: where else the client can connect to.
        origin: what tells the server from others that are reached with the same context.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong, or more than one way is given.
    """

    def __init__(
        self,
        url: Url,
        ssl: tls.SSLContext | None,
        server_hostname: str | None,
        host: str | None,
        port: int | None,
        family: int,
        local_addr: tuple[str, int] | None,
        sock: socket.socket | None,
        path: GivenPath | None,
        opened: Mapping[str, object],
        proxy: str | Proxy | None,
        proxy_ssl: tls.SSLContext | None,
    ) -> None:
        check_context(ssl, Role.CLIENT)
        check_context(proxy_ssl, Role.CLIENT)
        if ssl is not None and not url.secure:
            raise LocalProtocolError("a TLS context was given for a URL without TLS: write wss://")
        ways = {"sock": sock, "path": path, **opened}
        check_address(host, port, family, local_addr, ways)
        self.url = url
        self.ssl = ssl
        name = url.server_name if server_hostname is None else ascii_name("server_hostname", server_hostname)
        self.server_hostname = name.removesuffix(".")
        self.host = url.host if host is None else ascii_name("host", host)
        self.port = port or url.port
        self.family = family
        self.local_addr = None if local_addr is None else (ascii_name("local_addr", local_addr[0]), local_addr[1])
        self.sock = sock
        self.path = None if path is None else os.fsdecode(path)
        self._given_proxy = check_proxy(proxy, ways)
        self.proxy_ssl = proxy_ssl
        connected = sock is not None or any(it is not None for it in opened.values())
        self.reach = Reach.ONCE if connected else Reach.ORIGIN if path is not None else Reach.ANYWHERE
        #: Makes what reaches another URL.
        self._make = partial(
            Destination,
            ssl=ssl,
            server_hostname=server_hostname,
            host=host,
            port=port,
            family=family,
            local_addr=local_addr,
            sock=sock,
            path=path,
            opened=opened,
            proxy=self._given_proxy,
            proxy_ssl=proxy_ssl,
        )
        self.origin = (url.authority, self.server_hostname, host, port, self.path, connected, self._given_proxy)

    def at(self, url: Url) -> Destination:
        """Return what reaches a URL that the caller has made, in the way that was given."""
        return self if url is self.url else self._make(url)

    def to(self, url: Url) -> Destination:
        """Return what reaches a URL, the own one or one that a server has redirected to."""
        if (url.secure, url.authority) == (self.url.secure, self.url.authority):
            return self
        return self._make(url, server_hostname=None, host=None, port=None, sock=None, path=None, opened={})

    def choose_version(self, http: HttpVersion, learnt: Http1Origins, now: float) -> VersionChoice:
        """Begin to choose the version of HTTP; what the caller has connected is connected once."""
        return VersionChoice(http, self.origin, learnt, 1 if self.reach is Reach.ONCE else 2, now)

    @property
    def route(self) -> Hashable:
        """A key of the server and of the way to it: connections with equal keys can be used for each other."""
        return (
            self.url.secure,
            self.origin,
            self.host,
            self.ssl,
            self.family,
            self.local_addr,
            self.proxy,
            self.proxy_ssl,
        )

    @property
    def proxy(self) -> Proxy | None:
        """The proxy by which the server is reached now."""
        if self._given_proxy != "auto":
            return self._given_proxy
        return environment_proxy(self.host, self.port, secure=self.url.secure, environ=os.environ)
