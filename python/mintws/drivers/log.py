"""The log: a line for each opening, refusal and end of a WebSocket, and one for each frame.

No line has headers, query strings or credentials. What a peer chose stands on one line, and of what is long only its beginning.
"""

from __future__ import annotations

import logging
from typing import Literal, Protocol

from mintws.connection import Connection
from mintws.errors import UpgradeError
from mintws.events import Binary, Close, Peer, Ping, Pong, PreparedMessage, Text
from mintws.session import DriverWebSocket, Then, describe
from mintws.url import Url

#: How many bytes or characters are shown of a payload, and how many characters of a text.
PAYLOAD_SHOWN = 100
TEXT_SHOWN = 300

client_logger = logging.getLogger("mintws.client")

_KINDS = {Text: "text", Binary: "binary", Ping: "ping", Pong: "pong"}


class Transport(Protocol):
    """The attributes of a transport that the log names; see `LoggedTransport`."""

    id: int
    multiplexed: bool
    peer: Peer
    error: Exception | None
    logger: logging.Logger
    level: int

    @property
    def full(self) -> bool: ...


def name(protocol: Transport, connection: Connection) -> str:
    """Name a WebSocket: the number of its transport in this process and, over HTTP/2, that of its stream."""
    return f"{protocol.id}.{connection.carrier.number}" if protocol.multiplexed else str(protocol.id)


def place(protocol: Transport, connection: Connection) -> str:
    """Name the peer, and the path of what it was asked for or asks for."""
    request = connection.request
    if request is None:
        return peer(protocol)
    # Proxies tell of each request whose it is.
    return f"{address_of((request.peer or protocol.peer).address)} {path(request.target)}".rstrip()


def peer(protocol: Transport) -> str:
    """Name the address of the peer."""
    return address_of(protocol.peer.address)


def address_of(address: object) -> str:
    """Name an address of a socket."""
    if address is None:
        return "an unknown address"
    if not isinstance(address, tuple):
        return "a Unix socket"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def path(target: str) -> str:
    """Give a request target without its query."""
    return shown(target.partition("?")[0])


def shown(text: str) -> str:
    """Give the beginning of a text on one line."""
    line = text[:TEXT_SHOWN]
    return (line if line.isprintable() else repr(line)[1:-1]) + ("…" if len(text) > TEXT_SHOWN else "")


def opened(protocol: Transport, connection: Connection) -> None:
    """Log that a WebSocket has opened."""
    if protocol.logger.isEnabledFor(protocol.level):
        about = describe(connection)
        protocol.logger.log(
            protocol.level, "%s opened: %s (%s)", name(protocol, connection), place(protocol, connection), about
        )


def refused(protocol: Transport, connection: Connection, why: object) -> None:
    """Log that a handshake was refused, or failed."""
    if protocol.logger.isEnabledFor(protocol.level):
        where = place(protocol, connection)
        protocol.logger.log(protocol.level, "%s refused: %s: %s", name(protocol, connection), where, shown(str(why)))


def turned_away(logger: logging.Logger, address: object, why: str) -> None:
    """Log that a connection was closed at once."""
    logger.info("- refused: %s: %s", address_of(address), why)


def proxy_header_failed(logger: logging.Logger, address: object, why: str) -> None:
    """Log that a proxy has sent no PROXY header."""
    logger.info("- PROXY header failed: %s: %s", address_of(address), why)


def tls_failed(logger: logging.Logger, address: object, error: Exception) -> None:
    """Log that the TLS handshake of a client failed."""
    if isinstance(error, OSError):
        logger.info("- TLS handshake failed: %s: %s", address_of(address), shown(str(error)))
    else:
        # It is of a context of the application's own class.
        logger.error("- TLS handshake failed: %s", address_of(address), exc_info=error)


def ended(protocol: Transport, websocket: DriverWebSocket) -> None:
    """Log how a WebSocket ended, and what passed."""
    if protocol.logger.isEnabledFor(protocol.level):
        connection, passed = websocket.connection, websocket.counters
        how = str(websocket.ending.exception())
        if protocol.error is not None and not (websocket.ending.reason or websocket.ending.clean):
            # The end comes after messages that nobody has taken.
            how += f": {protocol.error!r}"
        protocol.logger.log(
            protocol.level,
            "%s ended: %s: %s (received %d messages, %d bytes; sent %d messages, %d bytes)",
            name(protocol, connection),
            place(protocol, connection),
            shown(how),
            passed.messages_received,
            passed.bytes_received,
            passed.messages_sent,
            passed.bytes_sent,
        )


def connects_again(url: Url, why: BaseException | str, then: Then) -> None:
    """Log what follows a failure of a client that connects again, unless the failure is raised."""
    if then == "raise" or not client_logger.isEnabledFor(logging.INFO):
        return
    if isinstance(why, UpgradeError):
        # The rest may be secret.
        why = f"the server answered {why.status}"
    what = "connecting no more" if then == "stop" else f"connecting again in {then:.1f} s"
    client_logger.info("%s %s: %s; %s", url.authority, path(url.target), shown(str(why)), what)


def stalled(protocol: Transport, websocket: DriverWebSocket) -> None:
    """Log what keeps a WebSocket from sending."""
    connection = websocket.connection
    awaited = "the peer to read" if protocol.full else getattr(connection.carrier, "awaits", "the peer")
    protocol.logger.debug(
        "%s cannot send: %s: %d bytes wait for %s",
        name(protocol, connection),
        place(protocol, connection),
        websocket.unsent,
        awaited,
    )


def failed(protocol: Transport, connection: Connection, what: str, error: Exception) -> None:
    """Log what the application has raised, with its traceback."""
    protocol.logger.error("%s: %s: %s", name(protocol, connection), place(protocol, connection), what, exc_info=error)


def frame(protocol: Transport, connection: Connection, way: Literal["received", "sent"], event: object) -> None:
    """Log a frame: its kind, the size of its payload, and how that begins."""
    data: str | bytes
    size = 0
    if isinstance(event, Close):
        kind, data = "close", event.reason
        if event.code is not None:
            kind, size = f"close {event.code}", 2
    elif isinstance(event, PreparedMessage):
        text, data = event._content
        kind = "text" if text else "binary"
    elif isinstance(event, (Text, Binary, Ping, Pong)):
        kind, data = _KINDS[type(event)], event.data
        if not getattr(event, "fin", True):
            kind += ", to be continued"
    else:
        return
    size += len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
    more = "…" if len(data) > PAYLOAD_SHOWN else ""
    told = (name(protocol, connection), way, kind, size, data[:PAYLOAD_SHOWN], more)
    protocol.logger.log(logging.DEBUG, "%s %s %s, %d bytes: %r%s", *told)
