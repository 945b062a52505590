"""Origins of web pages, as browsers write them (RFC 6454)."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from mintws._core import DEFAULT_PORTS
from mintws.errors import LocalProtocolError

#: The schemes of WebSocket URLs, which no page has, with the schemes of pages on the same port.
_PAGES = {"ws": "http", "wss": "https"}
#: The default ports of pages.
_PORTS = {scheme: DEFAULT_PORTS[scheme] for scheme in _PAGES.values()}
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9!$&'()+,;=._~-]*)(?::([0-9]{0,5}))?")
#: A host with such a last label is an IPv4 address, or invalid.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_SHAPE = 'it has a scheme, a host, and a port unless that is the scheme\'s own, as in "https://example.com"'


class Origin(NamedTuple):
    """The three parts of an origin (RFC 6454 §4). The origin "null" has only a scheme.

    Attributes:
        scheme: in lower case.
        host: in lower case; an IPv6 address in its shortest form, in brackets.
        port: the port; if none is written, the default of the scheme, or 0 if the scheme has none.
    """

    scheme: str
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        """Return the origin as browsers write it (§6.2)."""
        if self == _NULL:
            return "null"
        own = self.port == _PORTS.get(self.scheme, 0)
        return f"{self.scheme}://{self.host}" + ("" if own else f":{self.port}")


_NULL = Origin("null")


def parse(text: str) -> Origin | None:
    """Parse an origin, ignoring case and a default port. Return `None` if it is not an origin."""
    lowered = text.lower() if text.isascii() else ""
    if lowered == "null":
        return _NULL
    match = _ORIGIN.fullmatch(lowered)
    if match is None:
        return None
    scheme, host, port = match[1], _host(match[2]), int(match[3] or _PORTS.get(match[1], 0))
    if host is None or (scheme in _PORTS and not host) or port >= 1 << 16:
        return None
    return Origin(scheme, host, port)


def is_from(origin: str, host: str, scheme: str | None = None) -> bool:
    """Whether a page comes from the server that it asks: host and port are equal, with the default port of the page's scheme.

    The schemes are compared only if that of the request is known. A server does not know it by itself: a proxy may have ended or added TLS.

    Args:
        origin: the value of Origin.
        host: the value of Host or `:authority`.
        scheme: "https" or "http", if it is known.
    """
    page = parse(origin)
    if page is None or page.scheme not in _PORTS or scheme not in (None, page.scheme):
        return False
    return page == parse(f"{page.scheme}://{host}")


def check(origin: str) -> None:
    """Raise `LocalProtocolError` for a text that no browser sends as Origin. Case is ignored."""
    parsed = parse(origin)
    if parsed is None or parsed.scheme in _PAGES or str(parsed) != origin.lower():
        raise LocalProtocolError(f"origins has {origin!r}, which no browser sends as its Origin: {_advice(origin)}")


def _host(host: str) -> str | None:
    """Return a host as browsers write it, or `None` if it is not a host."""
    try:
        if host.startswith("["):
            address = ipaddress.IPv6Address(host[1:-1])
            # Python 3.13 writes the last 32 bits of such an address as IPv4, which browsers do not.
            high, low = divmod(int(address) & 0xFFFFFFFF, 1 << 16)
            return f"[::ffff:{high:x}:{low:x}]" if address.ipv4_mapped else f"[{address}]"
        return str(ipaddress.IPv4Address(host)) if _NUMBER.fullmatch(host) else host
    except ValueError:
        return None


def _advice(entry: str) -> str:
    """Return advice on what to write instead."""
    scheme, separator, rest = entry.strip().rpartition("://")
    scheme = _PAGES.get(scheme.lower(), scheme) if separator else "https"
    try:
        parts = urlsplit(f"{scheme}://{rest.lstrip('/')}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return _SHAPE
    if "*" in host:
        return "there are no wildcards, name each origin"
    if not host.isascii():
        return 'write the host in its ASCII form, which begins with "xn--"'
    written = f"[{host}]" if ":" in host else host
    meant = parse(f"{scheme}://{written}" + ("" if port is None else f":{port}")) if host else None
    return _SHAPE if meant is None else f'write "{meant}"'
