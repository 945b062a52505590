"""What is logged: a line for each opening, refusal and end of a WebSocket, and one for each frame.

No line has headers, query strings or credentials. What a peer chose stands on one line, and of what is long only its beginning.
"""

from __future__ import annotations

import logging
from typing import Literal

from mintws.asyncio.transport import LoopTransport
from mintws.connection import Connection
from mintws.events import Binary, Close, Ping, Pong, PreparedMessage, Text
from mintws.session import DriverWebSocket, describe

#: How many bytes or characters are shown of a payload, and how many characters of a text.
PAYLOAD_SHOWN = 100
TEXT_SHOWN = 300

_KINDS = {Text: "text", Binary: "binary", Ping: "ping", Pong: "pong"}


def name(link: LoopTransport, connection: Connection) -> str:
    """Name a WebSocket: the number of its transport in this process and, over HTTP/2, that of its stream."""
    return f"{link.id}.{connection.carrier.number}" if link.multiplexed else str(link.id)


def place(link: LoopTransport, connection: Connection) -> str:
    """Name the peer, and the path of what it was asked for or asks for."""
    target = connection.request.target if connection.request is not None else ""
    return f"{peer(link)} {path(target)}".rstrip()


def peer(link: LoopTransport) -> str:
    """Name the address of the peer."""
    return address_of(link.peer.address)


def address_of(address: object) -> str:
    """Name an address of a socket."""
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


def opened(link: LoopTransport, connection: Connection) -> None:
    """Log that a WebSocket has opened."""
    if link.logger.isEnabledFor(link.level):
        about = describe(connection)
        link.logger.log(link.level, "%s opened: %s (%s)", name(link, connection), place(link, connection), about)


def refused(link: LoopTransport, connection: Connection, why: object) -> None:
    """Log that a handshake was refused, or failed."""
    if link.logger.isEnabledFor(link.level):
        where = place(link, connection)
        link.logger.log(link.level, "%s refused: %s: %s", name(link, connection), where, shown(str(why)))


def ended(link: LoopTransport, websocket: DriverWebSocket) -> None:
    """Log how a WebSocket ended, and what passed."""
    if link.logger.isEnabledFor(link.level):
        connection, passed = websocket.connection, websocket.counters
        how = str(websocket.ending.exception())
        if link.error is not None and not (websocket.ending.reason or websocket.ending.clean):
            # The end stands behind messages that nobody has taken.
            how += f": {link.error!r}"
        link.logger.log(
            link.level,
            "%s ended: %s: %s (received %d messages, %d bytes; sent %d messages, %d bytes)",
            name(link, connection),
            place(link, connection),
            shown(how),
            passed.messages_received,
            passed.bytes_received,
            passed.messages_sent,
            passed.bytes_sent,
        )


def stalled(link: LoopTransport, websocket: DriverWebSocket) -> None:
    """Log what keeps a WebSocket from sending."""
    connection = websocket.connection
    awaited = "the peer to read" if link.full else getattr(connection.carrier, "awaits", "the peer")
    link.logger.debug(
        "%s cannot send: %s: %d bytes wait for %s",
        name(link, connection),
        place(link, connection),
        websocket.unsent,
        awaited,
    )


def failed(link: LoopTransport, connection: Connection, what: str, error: Exception) -> None:
    """Log what the application has raised, with its traceback."""
    link.logger.error("%s: %s: %s", name(link, connection), place(link, connection), what, exc_info=error)


def frame(link: LoopTransport, connection: Connection, way: Literal["received", "sent"], event: object) -> None:
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
    told = (name(link, connection), way, kind, size, data[:PAYLOAD_SHOWN], more)
    link.logger.log(logging.DEBUG, "%s %s %s, %d bytes: %r%s", *told)
