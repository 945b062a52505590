"""The client that trusted proxies name in headers: Forwarded (RFC 7239) or the X-Forwarded-* that preceded it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeAlias

from mintws import origin
from mintws.errors import LocalProtocolError
from mintws.events import Peer
from mintws.session.networks import Network, Networks, parse_ip

#: The header that trusted proxies write.
ForwardedHeader: TypeAlias = Literal["X-Forwarded-For", "Forwarded"]

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

#: A pair of Forwarded. Colons and brackets are to be quoted (RFC 7239 §4), which proxies forget.
_PAIR = re.compile(
    r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]+)|"((?:[^"\\]|\\.)*)")[ \t]*"""
)
_EMPTY = re.compile(r"[ \t]*")
#: A node: an address, or a name that hides it, and a port (RFC 7239 §6). The zone of an address is the proxy's, and means nothing here.
_NODE = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)(?:%[0-9A-Za-z._~-]+)?\]|([0-9.]+)|(unknown|_[0-9A-Za-z._-]+))"
    r"(?::([0-9]{1,5}|_[0-9A-Za-z._-]+))?",
    re.IGNORECASE,
)


class _MalformedError(Exception):
    """A header of a trusted proxy cannot be understood."""


class _Hop(NamedTuple):
    """What a proxy tells of the connection to itself.

    Attributes:
        address: who has connected; `None` if it does not say.
        scheme, host: what was asked for.
    """

    address: tuple[Any, ...] | None
    scheme: str | None
    host: str | None


class TrustedProxies:
    """Finds the client of a request by the headers of the proxies between.

    Args:
        networks: the networks of the proxies. What others write is not read.
        header: what they write: X-Forwarded-For with X-Forwarded-Proto and X-Forwarded-Host, or Forwarded. The other is not read: a client
            may have written it, and proxies pass on what they do not know.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong.
    """

    def __init__(self, networks: Iterable[Network], header: ForwardedHeader) -> None:
        if not isinstance(header, str):
            raise TypeError(f"forwarded_header is the name of a header, not {header!r}")
        self._read = {"x-forwarded-for": _read_x_forwarded, "forwarded": _read_forwarded}.get(header.lower())
        if self._read is None:
            raise LocalProtocolError(f"forwarded_header is X-Forwarded-For or Forwarded, not {header!r}")
        self._networks = Networks("trusted_proxies", networks)

    def client(self, peer: Peer, headers: Iterable[tuple[str, str]]) -> Peer | None:
        """Give the client of a request: who has connected to the first of the proxies that are trusted, counted from the server.

        Args:
            peer: the other end of the transport.
            headers: those of the request.

        Returns:
            The client; `None` if a trusted proxy has written a header that cannot be understood, for which the request is to be refused.
        """
        if peer.address not in self._networks:
            return peer
        assert self._read is not None
        found: _Hop | None = None
        try:
            for hop in self._read([(name.lower(), value) for name, value in headers]):
                found = hop
                if hop.address not in self._networks:
                    break
        except _MalformedError:
            return None
        if found is None:
            return peer
        return replace(peer, address=found.address, proxy=peer.address, scheme=found.scheme, host=found.host)


def _read_x_forwarded(headers: list[tuple[str, str]]) -> Iterator[_Hop]:
    """Read X-Forwarded-*, the last proxy first."""
    nodes = _listed(headers, "x-forwarded-for")
    schemes, hosts = (_listed(headers, name) for name in ("x-forwarded-proto", "x-forwarded-host"))
    for values in (schemes, hosts):
        # Each proxy adds one, or the first one alone has.
        if len(values) > 1 and len(values) != len(nodes):
            raise _MalformedError
    for i in reversed(range(len(nodes))):
        scheme, host = (values[i if len(values) > 1 else 0] if values else None for values in (schemes, hosts))
        # Here an IPv6 address has brackets only with a port.
        bare = nodes[i].count(":") > 1 and not nodes[i].startswith("[")
        address = _parse_node(f"[{nodes[i]}]" if bare else nodes[i])
        yield _Hop(address, _checked_scheme(scheme), _checked_host(host))


def _listed(headers: list[tuple[str, str]], name: str) -> list[str]:
    return [part.strip(" \t") for key, value in headers if key == name for part in value.split(",")]


def _read_forwarded(headers: list[tuple[str, str]]) -> Iterator[_Hop]:
    """Read Forwarded, the last proxy first, as far as it is asked for: what stands before may be the client's."""
    for value in reversed([value for name, value in headers if name == "forwarded"]):
        for element in reversed(_parse_elements(value)):
            node = element.get("for")
            address = None if node is None else _parse_node(node)
            yield _Hop(address, _checked_scheme(element.get("proto")), _checked_host(element.get("host")))


def _parse_elements(value: str) -> list[dict[str, str]]:
    elements: list[dict[str, str]] = [{}]
    at = 0
    while True:
        pair = _PAIR.match(value, at)
        if pair is not None:
            name = pair[1].lower()
            if name in elements[-1]:
                raise _MalformedError
            elements[-1][name] = pair[2] if pair[2] is not None else re.sub(r"\\(.)", r"\1", pair[3])
        match = pair or _EMPTY.match(value, at)
        assert match is not None
        at = match.end()
        if at == len(value):
            return [element for element in elements if element]
        if value[at] == ",":
            elements.append({})
        elif value[at] != ";":
            raise _MalformedError
        at += 1


def _parse_node(text: str) -> tuple[Any, ...] | None:
    """Give the address of a node; `None` if it is hidden."""
    match = _NODE.fullmatch(text)
    if match is None:
        raise _MalformedError
    if match[3] is not None:
        return None
    ip = parse_ip(match[1] or match[2])
    if ip is None:
        raise _MalformedError
    port = int(match[4]) if match[4] and match[4].isdigit() else 0
    if port > 65535:
        raise _MalformedError
    return _address(ip, port)


def _address(ip: Any, port: int) -> tuple[Any, ...]:
    return (str(ip), port) if ip.version == 4 else (str(ip), port, 0, 0)


def _checked_scheme(scheme: str | None) -> str | None:
    if scheme is not None and scheme.lower() not in _SCHEMES:
        raise _MalformedError
    return None if scheme is None else _SCHEMES[scheme.lower()]


def _checked_host(host: str | None) -> str | None:
    if host is not None and origin.parse(f"https://{host}") is None:
        raise _MalformedError
    return host
