"""Counters of a server, for an exporter of metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from mintws.session import Admission, DriverWebSocket, Limit

#: Why a connection or a handshake was refused: see `ServerStatistics.refused`.
Refusal: TypeAlias = Limit | Literal["tls", "proxy", "invalid", "origin", "rejected", "failed", "closing"]

REFUSALS: tuple[Refusal, ...] = (*get_args(Limit), *get_args(get_args(Refusal)[1]))

#: The counts of a WebSocket on which nothing has passed.
NOTHING: tuple[int, ...] = (0,) * 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """The counters of a server: what there is now, and what has been since it was made. The latter never decrease.

    Attributes:
        connections: the open connections, those in their TLS handshake included.
        connections_accepted: the connections that were taken.
        handshakes: the handshakes under way: of TLS, and of WebSockets that wait for an answer.
        websockets: the open WebSockets.
        websockets_opened: the WebSockets that have opened.
        refused: connections and handshakes that were refused, by the reason: the name of a limit, such as "max_connections"; "tls", a TLS
            handshake that failed; "proxy", a PROXY header that was malformed, late or missing; "invalid", a request or an HTTP/2
            connection against the RFCs; "origin", by `origins`; "rejected", by the `upgrade` hook or the application; "failed", for an
            error of the hook; "closing", because the server is closing.
        closed: WebSockets that have ended, by their close code (RFC 6455 §7.1.5).
        messages_received, messages_sent: complete messages.
        bytes_received, bytes_sent: uncompressed payload bytes of messages.
        compressed_bytes_received, compressed_bytes_sent: payload bytes of compressed messages, as they are on the wire.
        inflated_bytes_received, inflated_bytes_sent: the same messages without compression.
    """

    connections: int
    connections_accepted: int
    handshakes: int
    websockets: int
    websockets_opened: int
    refused: Mapping[Refusal, int]
    closed: Mapping[int, int]
    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int
    compressed_bytes_received: int
    compressed_bytes_sent: int
    inflated_bytes_received: int
    inflated_bytes_sent: int


class Statistics:
    """Counts for `ServerStatistics`. What passes on an open WebSocket is counted by its connection, and added up on request."""

    def __init__(self) -> None:
        self.accepted = 0
        self._opened = 0
        self.refused: Counter[Refusal] = Counter(dict.fromkeys(REFUSALS, 0))
        self._closed: Counter[int] = Counter()
        self._passed = NOTHING
        #: The open WebSockets, and how much of what has passed on each is in `_passed`.
        self._open: dict[DriverWebSocket, tuple[int, ...]] = {}

    def begin(self, websocket: DriverWebSocket) -> None:
        """Count a WebSocket that has opened."""
        self._opened += 1
        self._open[websocket] = NOTHING

    def add(self, websocket: DriverWebSocket) -> None:
        """Add what has passed on an open WebSocket since the last call."""
        counters, compressed = websocket.counters, websocket.connection.compressed_counters
        now = (
            counters.messages_received,
            counters.messages_sent,
            counters.bytes_received,
            counters.bytes_sent,
            compressed.compressed_received,
            compressed.compressed_sent,
            compressed.inflated_received,
            compressed.inflated_sent,
        )
        before = self._open[websocket]
        self._passed = tuple(a + b - c for a, b, c in zip(self._passed, now, before, strict=True))
        self._open[websocket] = now

    def end(self, websocket: DriverWebSocket) -> None:
        """Count a WebSocket that has ended, once."""
        if websocket in self._open:
            self.add(websocket)
            del self._open[websocket]
            self._closed[websocket.ending.code] += 1

    def snapshot(self, admission: Admission) -> ServerStatistics:
        """Give the counters as they are now."""
        passed = self._passed
        return ServerStatistics(
            connections=admission.connections,
            connections_accepted=self.accepted,
            handshakes=admission.handshakes,
            websockets=len(self._open),
            websockets_opened=self._opened,
            refused=dict(self.refused),
            closed=dict(self._closed),
            messages_received=passed[0],
            messages_sent=passed[1],
            bytes_received=passed[2],
            bytes_sent=passed[3],
            compressed_bytes_received=passed[4],
            compressed_bytes_sent=passed[5],
            inflated_bytes_received=passed[6],
            inflated_bytes_sent=passed[7],
        )
