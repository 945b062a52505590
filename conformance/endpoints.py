"""The endpoints under test: a server that echoes, and a client that echoes what the suite's server sends.

    python conformance/endpoints.py server --http 2 --port 9001
    python conformance/endpoints.py client --http 1.1 --port 9001 --count 517

They are `mintws` on a transport of asyncio and no more, or with --driver `mintws.asyncio`, in clear text, and stay on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import mintws.asyncio
from mintws import (
    Binary,
    Close,
    ConnectError,
    Connection,
    ConnectionClosed,
    Failed,
    Http1,
    Http2,
    PerMessageDeflate,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)

HOST = "127.0.0.1"
#: The suite's largest message has 16 MiB.
LIMIT = 16 << 20
#: Seconds for one case: the suite itself gives up after 480.
CASE_TIMEOUT = 600.0


class Endpoint(asyncio.Protocol):
    """One transport and the WebSockets on it."""

    def __init__(self, role: Role, http_version: str) -> None:
        self.http = Http2(role, limit=LIMIT) if http_version == "2" else Http1(role, limit=LIMIT)
        self.transport: asyncio.Transport
        #: The cases that a client runs, and the end of each.
        self._cases: dict[Connection, asyncio.Future[None]] = {}

    def run(self, target: str) -> asyncio.Future[None]:
        """Begin a case; the future is done when it has ended."""
        connection = self.http.open()
        ended = self._cases[connection] = asyncio.get_running_loop().create_future()
        port = self.transport.get_extra_info("peername")[1]
        request = UpgradeRequest(f"{HOST}:{port}", target, extensions=[PerMessageDeflate()])
        self.transport.write(connection.send(request))
        return ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.http.start())

    def data_received(self, data: bytes) -> None:
        events, reply = self.http.receive(data)
        self.transport.write(b"".join([reply, *self._answers(events)]))
        if self.http.done:
            self.transport.close()
        if isinstance(self.http, Http2):
            self._end([it for it in self._cases if it.state is State.CLOSED])

    def eof_received(self) -> None:
        self.data_received(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(list(self._cases))

    def _end(self, connections: Iterable[Connection]) -> None:
        for connection in connections:
            ended = self._cases.pop(connection)
            if not ended.done():
                ended.set_result(None)

    def _answers(self, events: Iterable[tuple[Connection | None, Any]]) -> Iterator[bytes]:
        """Give the bytes that answer events, in their order."""
        for connection, event in events:
            match event:
                case Text() | Binary() | Close() | Failed() if connection:
                    yield connection.send(event)
                case UpgradeRequest() if connection:
                    yield connection.send(UpgradeAccept(extensions=[PerMessageDeflate()]))
                    more, reply = self.http.proceed()
                    yield reply
                    yield from self._answers(more)
                case UpgradeReject(status):
                    print("refused with", status, flush=True)
                case Failed(error):
                    print("the connection failed:", error, flush=True)


async def serve(http_version: str, listener: socket.socket) -> None:
    """Echo, until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Endpoint(Role.SERVER, http_version), sock=listener)
    await server.serve_forever()


async def run_cases(http_version: str, port: int, count: int, agent: str, *, each: bool) -> None:
    """Run the cases of a fuzzing server one after the other; over HTTP/2 on one connection, or `each` on its own."""
    loop = asyncio.get_running_loop()
    endpoint: Endpoint | None = None
    for case in range(1, count + 1):
        if endpoint is None or http_version == "1.1" or each or endpoint.http.done or endpoint.transport.is_closing():
            _, endpoint = await loop.create_connection(lambda: Endpoint(Role.CLIENT, http_version), HOST, port)
        try:
            await asyncio.wait_for(endpoint.run(f"/runCase?case={case}&agent={agent}"), CASE_TIMEOUT)
        except asyncio.TimeoutError:
            endpoint.transport.abort()


async def drive_server(http_version: str, listener: socket.socket) -> None:
    """Echo by the driver, until the process is ended."""
    how: dict[str, Any] = {"http2": http_version == "2", "extensions": [PerMessageDeflate()], "limit": LIMIT}
    async with mintws.asyncio.serve(_echo, sock=listener, ping_interval=None, **how) as server:
        await server.serve_forever()


async def drive_cases(http_version: str, port: int, count: int, agent: str, *, each: bool) -> None:
    """Run the cases of a fuzzing server by the driver; over HTTP/2 on one connection, or `each` on its own."""
    url = f"ws://{HOST}:{port}"
    targets = [f"/runCase?case={case}&agent={agent}" for case in range(1, count + 1)]
    if http_version == "2" and not each:
        async with mintws.asyncio.connect_http2(url, limit=LIMIT, ping_interval=None) as client:
            for target in targets:
                await _drive(client.open(target, extensions=[PerMessageDeflate()]))
        return
    for target in targets:
        how: dict[str, Any] = {"http": http_version, "extensions": [PerMessageDeflate()], "limit": LIMIT}
        await _drive(mintws.asyncio.connect(url + target, ping_interval=None, **how))


async def _drive(opening: Awaitable[mintws.asyncio.WebSocket]) -> None:
    async def echo() -> None:
        async with await opening as websocket:
            await _echo(websocket)

    with suppress(ConnectError, ConnectionClosed, asyncio.TimeoutError):
        await asyncio.wait_for(echo(), CASE_TIMEOUT)


async def _echo(websocket: mintws.asyncio.WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--http", choices=["1.1", "2"], default="1.1")
    parser.add_argument("--port", type=int, default=9001, help="where to listen, or to connect")
    parser.add_argument("--fd", type=int, help="of a server: an inherited socket that listens")
    parser.add_argument("--count", type=int, default=1, help="of a client: how many cases to run")
    parser.add_argument("--agent", default="mintws", help="of a client: its name in the suite's report")
    parser.add_argument("--each", action="store_true", help="of a client: an HTTP/2 connection for each case")
    parser.add_argument("--driver", action="store_true", help="by the driver for asyncio")
    parser.add_argument("--limit", type=int, default=0, help="end after so many seconds, whatever happens")
    options = parser.parse_args()
    signal.alarm(options.limit)
    if options.role == "client":
        run = drive_cases if options.driver else run_cases
        await run(options.http, options.port, options.count, options.agent, each=options.each)
    else:
        listener = socket.socket(fileno=options.fd) if options.fd else socket.create_server((HOST, options.port))
        await (drive_server if options.driver else serve)(options.http, listener)


if __name__ == "__main__":
    asyncio.run(main())
