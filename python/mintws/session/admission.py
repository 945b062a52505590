"""The limits of a server: how many connections and handshakes there may be at a time."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, TypeAlias

from mintws.events import UpgradeReject
from mintws.limits import INT31, check_int
from mintws.session.networks import ip_of

#: The limits, by the names of their arguments of `serve`.
Limit: TypeAlias = Literal["max_connections", "max_connections_per_address", "max_handshakes"]

#: The prefix of an IPv6 address, in bits, that is one client's: what a provider gives to a customer at the least (RFC 6177 §2).
IPV6_PREFIX = 64
#: Seconds after which a client whose handshake was one too many is to ask again.
BUSY_RETRY_AFTER = 5


class Visit:
    """A connection of a client, from when it is accepted until it has ended.

    Attributes:
        client: whose it is, if it counts by its address; otherwise `None`.
        shaking: whether its TLS handshake is under way.
    """

    __slots__ = ("client", "shaking")

    def __init__(self, *, shaking: bool) -> None:
        self.client: Hashable = None
        self.shaking = shaking


class Admission:
    """Counts the connections and the handshakes of a server, and finds the limit that one more would exceed.

    Args:
        max_connections: the connections at a time; `None` is no limit.
        max_connections_per_address: those of one client address.
        max_handshakes: the TLS handshakes that are under way, and the opening handshakes that wait for an answer.

    Attributes:
        openings: the requests for a WebSocket that wait for an answer.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong.
    """

    def __init__(
        self,
        max_connections: int | None = None,
        max_connections_per_address: int | None = None,
        max_handshakes: int | None = None,
    ) -> None:
        for name, value, of in (
            ("max_connections", max_connections, " connections"),
            ("max_connections_per_address", max_connections_per_address, " connections"),
            ("max_handshakes", max_handshakes, " handshakes"),
        ):
            if value is not None:
                check_int(name, value, 1, INT31, of)
        self._max_connections = max_connections
        self._max_per_address = max_connections_per_address
        self._max_handshakes = max_handshakes
        self._visits: set[Visit] = set()
        self._shaking = 0
        self._by_client: dict[Hashable, int] = {}
        self.openings: set[Hashable] = set()

    @property
    def connections(self) -> int:
        """The number of connections, those in their TLS handshake included."""
        return len(self._visits)

    @property
    def handshakes(self) -> int:
        """The number of handshakes under way, of TLS and of WebSockets."""
        return self._shaking + len(self.openings)

    @property
    def is_full(self) -> bool:
        """Whether no more connections are taken until one has ended."""
        return self._max_connections is not None and self.connections >= self._max_connections

    def enter(self, address: object, *, secure: bool) -> Visit | Limit:
        """Take a connection, or give the limit that it would exceed.

        Args:
            address: that of the client, as from `socket.getpeername`. Only IP addresses count by themselves.
            secure: whether its TLS handshake begins.
        """
        if self.is_full:
            return "max_connections"
        if secure and self._max_handshakes is not None and self._shaking >= self._max_handshakes:
            return "max_handshakes"
        visit = Visit(shaking=secure)
        limit = self.identify(visit, address)
        if limit is not None:
            return limit
        self._visits.add(visit)
        self._shaking += secure
        return visit

    def identify(self, visit: Visit, address: object) -> Limit | None:
        """Count a connection as that of a client's address, if that is an IP address, or give the limit that it would exceed."""
        client = client_of(address)
        if client is None:
            return None
        count = self._by_client.get(client, 0)
        if self._max_per_address is not None and count >= self._max_per_address:
            return "max_connections_per_address"
        self._by_client[client] = count + 1
        visit.client = client
        return None

    def shaken(self, visit: Visit) -> None:
        """Count the TLS handshake of a connection as done."""
        self._shaking -= visit.shaking
        visit.shaking = False

    def leave(self, visit: Visit) -> None:
        """Count a connection no more."""
        if visit not in self._visits:
            return
        self.shaken(visit)
        self._visits.discard(visit)
        if visit.client is not None:
            left = self._by_client[visit.client] - 1
            if left:
                self._by_client[visit.client] = left
            else:
                del self._by_client[visit.client]

    def begin_opening(self, request: Hashable) -> bool:
        """Take a request for a WebSocket, which is in `openings` until it is answered; return `False` if it is one too many."""
        if self._max_handshakes is not None and len(self.openings) >= self._max_handshakes:
            return False
        self.openings.add(request)
        return True

    def describe(self, limit: Limit) -> str:
        """Describe for the log why a connection was refused."""
        match limit:
            case "max_connections":
                return f"there are {self.connections} connections"
            case "max_handshakes":
                return f"there are {self._shaking} TLS handshakes under way"
            case "max_connections_per_address":
                return f"there are {self._max_per_address} connections from this address"


def client_of(address: object) -> Hashable:
    """Name the client of an address, which is a network for IPv6; `None` if it is not an IP address."""
    ip = ip_of(address)
    return int(ip) >> (128 - IPV6_PREFIX) if ip is not None and ip.version == 6 else ip


def busy() -> UpgradeReject:
    """Make the answer to a handshake that is one too many, over HTTP/1.1."""
    return UpgradeReject(
        503,
        headers=[("Content-Type", "text/plain"), ("Retry-After", str(BUSY_RETRY_AFTER))],
        body=b"too many handshakes are under way\n",
    )
