"""`mintws demo`: WebSockets over HTTP/1.1 and HTTP/2 side by side, with their traffic."""

from __future__ import annotations

import argparse
import asyncio
import ssl as tls
import statistics
import tempfile
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from mintws import MintWSError, PerMessageDeflate, __version__
from mintws import asyncio as driver
from mintws.cli.certificate import Missing, make_certificate
from mintws.cli.output import put, tell
from mintws.cli.relay import relaying
from mintws.cli.serve import echo
from mintws.cli.signals import Stop
from mintws.cli.table import Figures, Opening, Table
from mintws.events import Request, Response

#: The sizes of messages, in characters of text and in bytes: around each length form of frames (RFC 6455 §5.2), and large ones.
SIZES = (1, 2, 7, 125, 126, 127, 1000, 4096, 65535, 65536, 65537, 1 << 20, 2 << 20)
LIMIT = 16 << 20
#: The number of WebSockets for each version of HTTP. Those of HTTP/2 share a connection.
TOGETHER = 4
#: The number of WebSockets that are opened at once.
AT_ONCE = 100
#: The path where the server speaks first.
WELCOME = "/welcome"
#: The number of round trips that are timed one by one.
ROUND_TRIPS = 200
#: Seconds that concurrent work may take.
BOUND = 120.0

Message = str | bytes


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo",
        help="show WebSockets over HTTP/1.1 and HTTP/2 side by side",
        description="Start a server with TLS in this process. Open 100 WebSockets at once over HTTP/1.1 and over HTTP/2, and print side by "
        "side what that took. Then send the server the README, in messages of all sizes, on several WebSockets over "
        "HTTP/1.1 and on as many over HTTP/2, all at the same time, without compression and with it; print side by side what that took.",
        epilog="Exit codes: 0 every byte came back; 1 something did not, or a package is missing; 2 wrong usage; "
        "130 or 143 ended by Ctrl-C or SIGTERM.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, usage_error=parser.error)


async def run(arguments: argparse.Namespace, stop: Stop) -> int:
    """Run the demonstration; return the exit code."""
    del arguments
    try:
        code = await stop.bound(_demonstrate())
    except Missing as error:
        tell(str(error))
        return 1
    return stop.code if code is None else code


async def _demonstrate() -> int:
    name, readme = read_readme()
    certificate, context = make_tls()
    table = Table()
    demonstration = Demonstration(readme, tls.create_default_context(cadata=certificate), table)
    try:
        async with driver.serve(
            demonstration.echo, "127.0.0.1", 0, ssl=context, respond=demonstration.respond, limit=LIMIT
        ) as server:
            table.title(f"mintws {__version__}: {name} to a server in this process and back")
            put()
            put(f"wss://localhost:{server.port}/ speaks HTTP/1.1 and HTTP/2 side by side on one port; its")
            put("certificate was made for this run.")
            await demonstration.open_at_once(server.port)
            put()
            put("Now clients of both talk to it at the same time:")
            put(f"on each WebSocket {len(demonstration.messages)} messages of 1 byte to 2 MiB, text and binary.")
            put("Bytes sent and received are those of frames, before TLS.")
            passed = await demonstration.run(server.port)
    except (MintWSError, OSError, asyncio.TimeoutError) as error:
        table.verdict(f"failed: {str(error) or type(error).__name__}", passed=False)
        return 1
    put()
    table.verdict("Every byte came back." if passed else "Not every byte came back.", passed)
    return 0 if passed else 1


class Demonstration:
    """The clients, and the hooks of their server."""

    def __init__(self, readme: bytes, context: tls.SSLContext, table: Table) -> None:
        self.messages = make_messages(readme)
        self._readme = readme
        self._context = context
        self._table = table
        #: One of the server's WebSockets on each transport, by the client's port.
        self._theirs: dict[int, driver.WebSocket] = {}

    async def echo(self, websocket: driver.WebSocket) -> None:
        """Send each message back, or speak first where that is asked for."""
        assert websocket.request is not None
        if websocket.request.target == WELCOME:
            await websocket.send("welcome")
            await websocket.wait_closed()
            return
        self._theirs[websocket.transport.get_extra_info("peername")[1]] = websocket
        await echo(websocket)

    def respond(self, request: Request) -> Response:
        """Answer an ordinary request with the README."""
        return Response(200, (("Content-Type", "text/markdown; charset=utf-8"),), self._readme)

    async def open_at_once(self, port: int) -> None:
        """Open many WebSockets at once over each version of HTTP, for the time, and through a relay for the bytes; print that."""
        columns = []
        for http in ("1.1", "2"):
            # Once before, so that no time has the imports in it.
            await self._open_at_once(http, port, 1)
            first, last = await self._open_at_once(http, port, AT_ONCE)
            async with relaying(port) as relay:
                await self._open_at_once(http, relay.port, AT_ONCE)
                columns.append(Opening(http, relay.connections, relay.sent, relay.received, first, last))
        self._table.show_opening(f"{AT_ONCE} WebSockets opened at once, each until the server's first message", columns)

    async def _open_at_once(self, http: str, port: int, count: int) -> tuple[float, float]:
        """Open them, and return when the first of them had its message, and when all had."""
        times: list[float] = []
        began = time.perf_counter()
        async with AsyncExitStack() as stack:
            where: dict[str, Any] = {"host": "127.0.0.1", "port": port, "ssl": self._context, "open_timeout": BOUND}
            url = f"wss://localhost:{port}{WELCOME}"
            client = await stack.enter_async_context(driver.connect_http2(url, **where)) if http == "2" else None

            async def open_one() -> driver.WebSocket:
                if client is not None:
                    websocket = await client.open(WELCOME, extensions=())
                else:
                    websocket = await driver.connect(url, http="1.1", extensions=(), **where)
                await websocket.recv()
                times.append(time.perf_counter() - began)
                return websocket

            for websocket in await _together(*(open_one() for _ in range(count))):
                await stack.enter_async_context(websocket)
        return times[0], times[-1]

    async def run(self, port: int) -> bool:
        """Talk over both versions of HTTP at once, without and with compression; return whether every byte came back."""
        where: dict[str, Any] = {"host": "127.0.0.1", "port": port, "ssl": self._context, "limit": LIMIT}
        url = f"wss://localhost:{port}/"
        passed = True
        for extensions in ((), (PerMessageDeflate(),)):
            async with AsyncExitStack() as stack:
                apart = [
                    await stack.enter_async_context(driver.connect(url, http="1.1", extensions=extensions, **where))
                    for _ in range(TOGETHER)
                ]
                client = await stack.enter_async_context(driver.connect_http2(url, **where))
                shared = [await client.open(f"/{i}", extensions=extensions) for i in range(TOGETHER)]
                columns = await _together(self._exchange(apart), self._exchange(shared, client))
            agreed = ", ".join(str(it.answer) for it in apart[0].connection.extensions)
            self._table.show(agreed or "without compression", columns)
            passed &= all(it.passed for it in columns)
        return passed

    async def _exchange(
        self, websockets: Sequence[driver.WebSocket], client: driver.Http2Client | None = None
    ) -> Figures:
        """Send all messages on each WebSocket at once, with an ordinary request beside them; return the figures."""
        times = [await _time(websockets[0]) for _ in range(ROUND_TRIPS)]
        ours = {it.transport.get_extra_info("sockname")[1]: it for it in websockets}
        theirs = [self._theirs[port] for port in ours]
        before = [sum(it._protocol.written for it in side) for side in (ours.values(), theirs)]
        began = time.perf_counter()
        page, *came_back = await _together(
            self._get_readme(client), *(_send_and_compare(it, self.messages) for it in websockets)
        )
        took = time.perf_counter() - began
        sent, received = (
            sum(it._protocol.written for it in side) - count
            for side, count in zip((ours.values(), theirs), before, strict=True)
        )
        return Figures(
            websockets[0].http_version,
            len(ours),
            len(websockets),
            len(websockets) * len(self.messages),
            len(websockets) * sum(len(it.encode() if isinstance(it, str) else it) for it in self.messages),
            sent,
            received,
            took,
            statistics.median(times),
            page,
            all(came_back) and not page.endswith("WRONG"),
        )

    async def _get_readme(self, client: driver.Http2Client | None) -> str:
        if client is None:
            return ""
        response = await client.request("GET", "/readme")
        same = response.status == 200 and response.body == self._readme
        return f"{response.status}, {len(self._readme):,} bytes" if same else f"{response.status}, WRONG"


async def _time(websocket: driver.WebSocket) -> float:
    """Return the round-trip time of a small message, in seconds."""
    began = time.perf_counter()
    await websocket.send("mint")
    await websocket.recv()
    return time.perf_counter() - began


async def _send_and_compare(websocket: driver.WebSocket, messages: Sequence[Message]) -> bool:
    """Send messages while receiving their echoes; return whether all came back unchanged and in order."""

    async def send() -> None:
        for message in messages:
            await websocket.send(message)

    async def compare() -> bool:
        return all([await websocket.recv() == message for message in messages])

    _, same = await _together(send(), compare())
    return bool(same)


async def _together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run coroutines concurrently and return their results. None is left running after a failure, a timeout or a cancellation."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, late = await asyncio.wait(tasks, timeout=BOUND, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        if late:
            raise asyncio.TimeoutError
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def make_messages(readme: bytes) -> list[Message]:
    """Return messages of all sizes from a text: its lines, and the repeated text cut to each size."""
    lines = readme.decode().splitlines()
    once = len(readme.decode())
    messages: list[Message] = [*lines, *(line.encode() for line in lines)]
    for size in SIZES:
        times = size // once + 1
        messages.append((readme.decode() * times)[:size])
        messages.append((readme * times)[:size])
    return messages


def make_tls() -> tuple[str, tls.SSLContext]:
    """Return a new certificate and the TLS context of a server that uses it."""
    certificate, key = make_certificate()
    context = tls.create_default_context(tls.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as folder:
        # `ssl` loads keys only from files.
        file = Path(folder) / "localhost.pem"
        file.touch(mode=0o600)
        file.write_text(certificate + key, encoding="ascii")
        context.load_cert_chain(file)
    return certificate, context


def read_readme() -> tuple[str, bytes]:
    """Return the name and the content of the README: that of the repository or, if there is none, of the installed package."""
    root = Path(__file__).resolve().parents[3]
    readme = root / "README.md"
    if readme.is_file() and (root / "pyproject.toml").is_file():
        return "README.md", readme.read_bytes()
    return "the package's description", metadata("mintws")["Description"].encode()
