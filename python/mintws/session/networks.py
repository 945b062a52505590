"""IP networks that are trusted, as they are written in an argument."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

from mintws.errors import LocalProtocolError

Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
#: A network, such as "10.0.0.0/8" or "2001:db8::1"; "unix" is for all that connect to a Unix socket.
Network: TypeAlias = str | Ip | ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """Networks, and whether an address is in one of them.

    Args:
        name: the name of the argument, for errors.
        networks: the networks.

    Raises:
        LocalProtocolError, TypeError: one of them is none.
    """

    def __init__(self, name: str, networks: Iterable[Network]) -> None:
        # A network is iterable too: it gives each of its addresses.
        if isinstance(networks, Network):
            raise TypeError(f"{name} is a sequence of networks: write [{networks!r}]")
        if not isinstance(networks, Iterable):
            raise TypeError(f'{name} is a sequence of networks, such as ["10.0.0.0/8"], not {networks!r}')
        self._unix = False
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for network in networks:
            if network == "unix":
                self._unix = True
                continue
            if isinstance(network, (bool, int, bytes)):
                raise TypeError(f'{name} has {network!r}: a network is a str, as "10.0.0.0/8"')
            try:
                self._networks.append(ipaddress.ip_network(network))
            except ValueError as error:
                raise LocalProtocolError(f"{name} has {network!r}, which is no network: {error}") from None

    def __contains__(self, address: object) -> bool:
        """Whether an address, as from `socket.getpeername`, or an IP address is in one of the networks."""
        ip = address if isinstance(address, Ip) else ip_of(address)
        if ip is None:
            return self._unix and isinstance(address, (str, bytes))
        return any(ip in network for network in self._networks)


def ip_of(address: object) -> Ip | None:
    """Give the IP address of an address of a socket; that of IPv4 also where IPv6 carries it (RFC 4291 §2.5.5.2)."""
    return parse_ip(address[0].partition("%")[0]) if isinstance(address, tuple) else None


def parse_ip(text: str) -> Ip | None:
    """Parse an IP address; return `None` if it is none."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip
