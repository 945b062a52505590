"""Proxies: their URLs, and those of the environment."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from mintws.errors import LocalProtocolError
from mintws.url import ascii_host, basic_credentials, ipv6_host

#: The schemes of proxies, with their default ports.
PROXY_PORTS = {"http": 3128, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: "http", "https" (HTTP over TLS), "socks4", "socks4a", "socks5" or "socks5h".
        host: its host, in ASCII; an IPv6 address has no brackets.
        port: its port.
        user, password: the credentials in its URL, or `None`.
    """

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        # Without the password.
        return f"<Proxy {self}>"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS; else it knows CONNECT."""
        return self.scheme.startswith("socks")

    @property
    def resolves_names(self) -> bool:
        """Whether it is given names; else the client resolves them, as curl does."""
        return self.scheme not in ("socks4", "socks5")

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization (RFC 9110 §11.7.2), or `None`."""
        if self.user is None:
            return None
        return basic_credentials(self.user.encode(), (self.password or "").encode())


def parse_proxy(url: str) -> Proxy:
    """Parse the URL of a proxy, or its host and port: of an HTTP proxy. "socks://" is SOCKS4, and a path is ignored.

    Raises:
        LocalProtocolError: it is no URL of a proxy. The message does not show it, because of its password.
        TypeError: it is not a `str`.
    """
    if not isinstance(url, str):
        raise TypeError(f"a proxy is a URL, a str, or None for no proxy, not {type(url).__name__}")
    if "://" not in url:
        url = f"http://{url}"
    scheme = url.partition("://")[0].lower()
    # As curl does; desktops set it.
    scheme = "socks4" if scheme == "socks" else scheme
    if scheme not in PROXY_PORTS:
        known = ", ".join(f"{name}://" for name in PROXY_PORTS)
        raise LocalProtocolError(f"the URL of a proxy begins with {known}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = ipv6_host(host) if ":" in host else ascii_host(host)
        user, password = (
            None if part is None else unquote(part, errors="strict") for part in (parts.username, parts.password)
        )
    except ValueError:
        # Its text may have a part of the password.
        raise LocalProtocolError(
            "the URL of the proxy has no valid host, port or user: "
            "in a user and a password, percent-encode all but letters, digits, -, ., _ and ~"
        ) from None
    # A path is ignored, as curl does, unless it may be the rest of a password.
    if "@" in parts.path + parts.query + parts.fragment:
        raise LocalProtocolError(
            "the user and the password of a proxy must be percent-encoded where they have one of / ? #"
        )
    proxy = Proxy(scheme, host, PROXY_PORTS[scheme] if port is None else port, user or None, password)
    _check_credentials(proxy)
    return proxy


def _check_credentials(proxy: Proxy) -> None:
    """Raise for credentials that the protocol of the proxy cannot represent."""
    user, password = proxy.user, proxy.password
    if not proxy.is_socks:
        _ = proxy.authorization
        return
    for part in (user, password):
        if part is not None and (not part.isascii() or not 0 < len(part) < 256):
            raise LocalProtocolError("the user and the password of a SOCKS proxy have 1 to 255 characters of ASCII")
    if user is not None and password is None and proxy.scheme.startswith("socks5"):
        raise LocalProtocolError("a SOCKS5 proxy takes no user without a password (RFC 1929 §2)")


def environment_proxy(host: str, port: int, *, secure: bool, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy that the environment names for a server, or `None`.

    `https_proxy` is for `wss:`, `http_proxy` for `ws:`, `all_proxy` for both if there is none of these. `no_proxy` names servers that are
    reached directly; so are `localhost` and addresses of this machine. Names of variables are in lower or upper case, lower first.

    Args:
        host, port: the server.
        secure: whether the URL is a `wss:` one.
        environ: the environment.

    Raises:
        LocalProtocolError: what it names is no proxy.
    """
    if _is_local(host) or bypasses_proxy(host, port, _variable(environ, "no_proxy")):
        return None
    for name in ("https_proxy" if secure else "http_proxy", "all_proxy"):
        value = _variable(environ, name)
        if value:
            try:
                return parse_proxy(value)
            except LocalProtocolError as error:
                raise LocalProtocolError(f"the environment variable {name}: {error}") from None
    return None


def bypasses_proxy(host: str, port: int, no_proxy: str) -> bool:
    """Return whether `no_proxy` names a server.

    It is a list with commas or spaces. `*` names all servers; a name itself and all names below it, with or without a leading dot; an
    address, an IPv6 one with or without brackets; a network, such as `10.0.0.0/8`. A name or an address may be followed by a port.
    """
    host = host.lower().removesuffix(".")
    address = _address(host)
    return any(_names(entry, host, address, port) for entry in re.split(r"[,\s]+", no_proxy.lower()) if entry)


def _names(entry: str, host: str, address: Any, port: int) -> bool:
    """Return whether an entry of `no_proxy` names a server."""
    if entry == "*":
        return True
    if "/" in entry:
        network = _network(entry)
        return address is not None and network is not None and bool(address in network)
    named, number = entry, ""
    if found := re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]+))?", entry):
        named, number = found[1], found[2] or ""
    if number and int(number[:6]) != port:
        return False
    named = named.strip("[]")
    if address is not None:
        return bool(_address(named) == address)
    named = named.removeprefix("*").removeprefix(".").removesuffix(".")
    return bool(named) and (host == named or host.endswith(f".{named}"))


def _address(host: str) -> Any:
    """Return an address of `ipaddress`, without its zone; `None` for a name. One of IPv4 within IPv6 is one of IPv4."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _network(text: str) -> Any:
    """Return a network of `ipaddress`, or `None` for what is none."""
    try:
        return ipaddress.ip_network(text.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    address = _address(host)
    return (
        bool(address.is_loopback) if address is not None else host.removesuffix(".").rpartition(".")[2] == "localhost"
    )


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Return a variable of the environment, empty if it is not set."""
    if name in environ:
        return environ[name].strip()
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        # In a CGI program HTTP_PROXY is a header of the request.
        return ""
    return environ.get(name.upper(), "").strip()
