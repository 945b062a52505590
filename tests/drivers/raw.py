"""Peers that do what no library does, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from wire import REQUEST

from mintws import Close, Connection, Http1, Http2, Ping, Pong, Role, State, UpgradeAccept, UpgradeRequest
from mintws.asyncio import Server


async def close_alone(connection: Connection, event: Any, writer: asyncio.StreamWriter) -> None:
    """Answer a Close, and end neither the stream nor the transport."""
    if isinstance(event, Close):
        close = connection.send(event)
        # Over HTTP/2 an empty DATA frame follows that ends the stream.
        writer.write(close[:-9] if connection.carrier.http_version == "2" else close)


@contextlib.asynccontextmanager
async def silent_server(
    http: str = "1.1", *, accept: bool = True, answer: Any = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve handshakes, or not even these, and say nothing more but what `answer` does; give the URL."""
    writers = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        carrier = Http1(Role.SERVER, auto_pong=False) if http == "1.1" else Http2(Role.SERVER, auto_pong=False)
        if accept:
            writer.write(carrier.start())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not accept:
                    continue
                events, reply = carrier.receive(data)
                writer.write(reply)
                for connection, event in events:
                    if isinstance(event, UpgradeRequest):
                        writer.write(connection.send(UpgradeAccept()))
                    elif answer is not None:
                        await answer(connection, event, writer)
            if accept:
                carrier.receive(b"")

    if tls is not None:
        tls.set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
    async with await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=tls) as server:
        yield f"{'wss' if tls else 'ws'}://localhost:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def raw_client(
    server: Server,
    *,
    head: bytes = REQUEST + b"\r\n",
    read_buffer: int | None = None,
    tls: ssl.SSLContext | None = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a WebSocket by hand, or send another head."""
    sock = socket.create_connection(("127.0.0.1", server.port))
    if read_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer)
    named: dict[str, Any] = {"ssl": tls, "server_hostname": "localhost"} if tls else {}
    reader, writer = await asyncio.open_connection(sock=sock, **named)
    writer.write(head)
    if head.startswith(REQUEST):
        await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@contextlib.asynccontextmanager
async def quiet_client(server: Server, http: str) -> AsyncIterator[Connection]:
    """Open a WebSocket and then neither read nor write."""
    carrier: Any = Http1(Role.CLIENT) if http == "1.1" else Http2(Role.CLIENT)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(carrier.start())
    while not carrier.can_open:
        writer.write(carrier.receive(await reader.read(65536))[1])
    connection = carrier.open()
    writer.write(connection.send(UpgradeRequest("localhost")))
    while connection.state is not State.OPEN:
        writer.write(carrier.receive(await reader.read(65536))[1])
    writer.transport.pause_reading()
    yield connection
    writer.transport.abort()


def paths_of(path: Path) -> list[Any]:
    """Give what names a Unix socket in each form, more than once, and on Linux a name that is of no file."""
    return [str(path), path, os.fsencode(path), *([f"\0{path}"] if sys.platform == "linux" else [])]


@contextlib.contextmanager
def full_unix_socket(path: str) -> Iterator[socket.socket]:
    """Listen on a Unix socket that has no room for a connection until one is accepted, on Linux."""
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as waiting:
        unix.bind(path)
        unix.listen(0)
        waiting.connect(path)
        yield unix


@contextlib.contextmanager
def blocking_server(talk: Callable[[socket.socket], object], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Hand each connection to `talk`, in a thread, behind the handshake of TLS if there is a context; give the port.

    Unlike asyncio's, OpenSSL's own sockets send the alert when they refuse a client.
    """

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.settimeout(10)
                with sock, contextlib.suppress(OSError):
                    if context is None:
                        talk(sock)
                    else:
                        with context.wrap_socket(sock, server_side=True) as secure:
                            talk(secure)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        # A listener that is only closed lets a thread wait in accept.
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(20)
    assert not thread.is_alive()


def open_by_hand(sock: socket.socket, carrier: Any, target: str = "/") -> Connection:
    """Open a WebSocket on a blocking socket, as a server or, with a request, as a client."""
    sock.sendall(carrier.start())
    client = carrier._role is Role.CLIENT
    connection = None
    while True:
        if client and connection is None and carrier.can_open:
            connection = carrier.open()
            sock.sendall(connection.send(UpgradeRequest("localhost", target)))
        data = sock.recv(65536)
        if not data:
            raise ConnectionAbortedError("the peer has left")
        events, reply = carrier.receive(data)
        sock.sendall(reply)
        for found, event in events:
            if isinstance(event, UpgradeRequest):
                sock.sendall(found.send(UpgradeAccept()))
                return found
            if isinstance(event, UpgradeAccept):
                return found


def answer_on_one_stream(port: int, ended: list[Any]) -> list[Any]:
    """Open two WebSockets on an HTTP/2 connection; until one has `ended`, answer the Pings of the first alone, and send PINGs for both.

    Returns:
        What has ended by the time that a Ping on the first is answered, before the socket is closed.
    """
    client = Http2(Role.CLIENT, auto_pong=False)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        first = open_by_hand(sock, client)
        second = client.open()
        sock.sendall(second.send(UpgradeRequest("localhost")))
        while not ended:
            # At a pace: thousands in a second are a flood, which ends the connection.
            time.sleep(0.02)
            _answer_pings(sock, client, first)
            sock.sendall(client.probe())
        sock.sendall(first.send(Ping(b"still there?")))
        assert any(_answer_pings(sock, client, first) for _ in range(500)), "the first is not answered"
        return list(ended)


def _answer_pings(sock: socket.socket, client: Http2, first: Connection) -> bool:
    """Read what has come within a moment, and answer the Pings of `first`; whether a Pong came on it."""
    if not select.select([sock], [], [], 0.02)[0]:
        return False
    data = sock.recv(65536)
    assert data, "the server has left both"
    events, reply = client.receive(data)
    sock.sendall(reply)
    found = [event for connection, event in events if connection is first]
    for event in found:
        if isinstance(event, Ping):
            sock.sendall(first.send(Pong(event.data)))
    return any(isinstance(event, Pong) for event in found)


def reset(sock: socket.socket) -> None:
    """End TCP with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
