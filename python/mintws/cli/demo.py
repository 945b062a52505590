"""`mintws demo`: WebSockets over HTTP/1.1 and HTTP/2 side by side, with what went over the wire."""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl as tls
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from mintws import Extension, MintWSError, PerMessageDeflate, __version__
from mintws import asyncio as driver
from mintws.cli.certificate import make_certificate
from mintws.cli.serve import echo
from mintws.events import Request, Response
from mintws.session import describe

#: The sizes of messages, in characters of text and in bytes: around each length form of frames (RFC 6455 §5.2), and large ones.
SIZES = (1, 2, 7, 125, 126, 127, 1000, 4096, 65535, 65536, 65537, 1 << 20, 2 << 20)
LIMIT = 16 << 20
#: WebSockets that share the HTTP/2 connection.
TOGETHER = 4
#: Messages whose way there and back is timed one by one.
ROUND_TRIPS = 200
#: How long one line of the table may take, in seconds.
BOUND = 120.0

Message = str | bytes


async def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration; give the exit code."""
    del arguments
    name, readme = read_readme()
    certificate, context = make_tls()
    client = tls.create_default_context(cadata=certificate)
    say = Output()
    demonstration = Demonstration(readme, client, say)
    try:
        async with driver.serve(
            demonstration.echo, "127.0.0.1", 0, ssl=context, respond=demonstration.respond, limit=LIMIT
        ) as server:
            say.title(f"mintws {__version__}: {name} to a server in this process and back")
            say.line(
                f"wss://localhost:{server.port}/ speaks HTTP/1.1 and HTTP/2; its certificate was made for this run."
            )
            say.line(
                f"Each WebSocket carries {len(demonstration.messages)} messages of 1 byte to 2 MiB, text and binary."
            )
            say.line("Payload, sent and received are bytes: of messages, and of what their frames came to before TLS.")
            say.line("")
            passed = await demonstration.run(server.port)
    except BrokenPipeError:
        raise
    except (MintWSError, OSError, asyncio.TimeoutError) as error:
        say.line(say.bad(f"failed: {str(error) or type(error).__name__}"))
        return 1
    say.line("")
    say.line(say.good("Every byte came back.") if passed else say.bad("Not every byte came back."))
    return 0 if passed else 1


class Demonstration:
    """What the clients do, and the server that they do it to."""

    def __init__(self, readme: bytes, context: tls.SSLContext, say: Output) -> None:
        self.messages = make_messages(readme)
        self._readme = readme
        self._context = context
        self._say = say
        #: What the server writes, by the client's port.
        self._meters: dict[int, Meter] = {}

    async def echo(self, websocket: driver.WebSocket) -> None:
        """Send each message back, and count what that writes."""
        port = websocket.transport.get_extra_info("peername")[1]
        if port not in self._meters:
            self._meters[port] = Meter(websocket.transport)
        await echo(websocket)

    def respond(self, request: Request) -> Response:
        """Answer an ordinary request with the README."""
        return Response(200, (("Content-Type", "text/markdown; charset=utf-8"),), self._readme)

    async def run(self, port: int) -> bool:
        """Run all there is to show; say whether every byte came back."""
        where: dict[str, Any] = {"host": "127.0.0.1", "port": port, "ssl": self._context, "limit": LIMIT}
        url = f"wss://localhost:{port}/"
        passed = True
        self._say.head()
        for extensions in ((), (PerMessageDeflate(),)):
            async with driver.connect(url, http="1.1", extensions=extensions, **where) as websocket:
                passed &= await self._show([websocket])
        async with driver.connect_http2(url, **where) as client:
            for plain in (True, False):
                passed &= await self._share(client, () if plain else (PerMessageDeflate(),))
        return passed

    async def _share(self, client: driver.Http2Client, extensions: Sequence[Extension]) -> bool:
        """Open several WebSockets on one HTTP/2 connection, and make an ordinary request among them."""
        websockets = await asyncio.gather(*(client.open(f"/{i}", extensions=extensions) for i in range(TOGETHER)))
        passed, response = await asyncio.gather(self._show(websockets), client.request("GET", "/readme"))
        same = response.status == 200 and response.body == self._readme
        self._say.note(f"beside them GET /readme: {response.status}, {len(response.body or b''):,} bytes", same)
        await asyncio.gather(*(websocket.close() for websocket in websockets))
        return passed and same

    async def _show(self, websockets: Sequence[driver.WebSocket]) -> bool:
        """Exchange all messages on each WebSocket at once, and print what that took."""
        first = websockets[0]
        times = [await _time(first) for _ in range(ROUND_TRIPS)]
        ours = Meter(first.transport)
        theirs = self._meters[first.transport.get_extra_info("sockname")[1]]
        received = -theirs.count
        began = time.perf_counter()
        work = asyncio.gather(*(_exchange(websocket, self.messages) for websocket in websockets))
        passed = all(await asyncio.wait_for(work, BOUND))
        took = time.perf_counter() - began
        payload = len(websockets) * sum(len(it.encode() if isinstance(it, str) else it) for it in self.messages)
        row = Row(
            first.http_version,
            len(websockets),
            bool(first.connection.extensions),
            len(websockets) * len(self.messages),
            payload,
            ours.stop(),
            received + theirs.count,
            took,
            statistics.median(times),
            passed,
        )
        self._say.row(row)
        self._say.note(describe(first.connection))
        return passed


async def _time(websocket: driver.WebSocket) -> float:
    """Give how long a small message takes there and back, in seconds."""
    began = time.perf_counter()
    await websocket.send("mint")
    await websocket.recv()
    return time.perf_counter() - began


async def _exchange(websocket: driver.WebSocket, messages: Sequence[Message]) -> bool:
    """Send messages while their echoes come; say whether they came back as they were, in their order."""

    async def send() -> None:
        for message in messages:
            await websocket.send(message)

    sending = asyncio.ensure_future(send())
    try:
        same = [await websocket.recv() == message for message in messages]
        await sending
    finally:
        sending.cancel()
    return all(same)


class Meter:
    """Counts the bytes that are written to a transport: frames, of WebSockets or of HTTP/2, before TLS."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.count = 0
        self._transport = transport
        self._write = transport.write
        transport.write = self.write  # type: ignore[method-assign]
        transport.writelines = self.writelines  # type: ignore[assignment, method-assign]

    def write(self, data: Any) -> None:
        """Count and write."""
        self.count += len(data)
        self._write(data)

    def writelines(self, data: Any) -> None:
        """Count and write."""
        self.write(b"".join(data))

    def stop(self) -> int:
        """Count no more; give what was counted."""
        self._transport.write = self._write  # type: ignore[method-assign]
        del self._transport.writelines
        return self.count


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: bytes, and seconds."""

    http_version: str
    websockets: int
    compressed: bool
    messages: int
    payload: int
    sent: int
    received: int
    took: float
    round_trip: float
    passed: bool


class Output:
    """What is printed: a table, in colours on a terminal."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def title(self, text: str) -> None:
        """Print a line that stands out."""
        self.line(self._colour("1", text))

    def line(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def head(self) -> None:
        """Print the head of the table."""
        cells = f"{'messages':>8} {'payload':>11} {'sent':>11} {'':>6} {'received':>11} {'time':>7} {'speed':>9} {'1 message':>9}  echoed"
        self.title(f"over     WebSockets compression {cells}")

    def row(self, row: Row) -> None:
        """Print a line of the table."""
        self.line(
            f"HTTP/{row.http_version:3} {row.websockets:>10} {'deflate' if row.compressed else 'none':11} {row.messages:>8,}"
            f" {row.payload:>11,} {row.sent:>11,} {row.sent / row.payload:>6.1%} {row.received:>11,}"
            f" {row.took:>5.2f} s {row.payload / row.took / 2**20:>3,.0f} MiB/s {row.round_trip * 1e6:>6,.0f} us"
            f"  {self.good('all') if row.passed else self.bad('WRONG')}"
        )

    def note(self, text: str, passed: bool = True) -> None:
        """Print a line that belongs to the one above."""
        self.line(self._colour("2", f"{'':9}{text}") if passed else self.bad(f"{'':9}{text}: DIFFERENT"))

    def good(self, text: str) -> str:
        """Colour what is as it should be."""
        return self._colour("32", text)

    def bad(self, text: str) -> str:
        """Colour what is not."""
        return self._colour("31", text)

    def _colour(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text


def make_messages(readme: bytes) -> list[Message]:
    """Make messages of all sizes of a text: its lines, and as much of it over and over as each size wants."""
    lines = readme.decode().splitlines()
    once = len(readme.decode())
    messages: list[Message] = [*lines, *(line.encode() for line in lines)]
    for size in SIZES:
        times = size // once + 1
        messages.append((readme.decode() * times)[:size])
        messages.append((readme * times)[:size])
    return messages


def make_tls() -> tuple[str, tls.SSLContext]:
    """Make a certificate and the TLS context of a server that has it."""
    certificate, key = make_certificate()
    context = tls.create_default_context(tls.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as folder:
        # `ssl` takes keys from files alone.
        file = Path(folder) / "localhost.pem"
        file.touch(mode=0o600)
        file.write_text(certificate + key, encoding="ascii")
        context.load_cert_chain(file)
    return certificate, context


def read_readme() -> tuple[str, bytes]:
    """Give the README with its name: that of the repository or, where mintws is installed without it, of the package."""
    root = Path(__file__).resolve().parents[3]
    readme = root / "README.md"
    if readme.is_file() and (root / "pyproject.toml").is_file():
        return f"README.md, {readme.stat().st_size:,} bytes,", readme.read_bytes()
    description = metadata("mintws")["Description"].encode()
    return f"the package's description, {len(description):,} bytes,", description
