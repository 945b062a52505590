"""What is said on every socket: one end asks, the other answers, and both say how it ended.

The answering end echoes messages. Three texts are orders: to answer in fragments, with Pings between them or without, and to begin
the closing handshake. Whoever asks
checks the echoes; the test compares what both ends say of the close.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

#: Payload sizes in bytes: empty, the edges of the three length forms (RFC 6455 §5.2), and our default limit of a message.
SIZES = (0, 1, 125, 126, 65535, 65536, 1 << 20)
BURST = 100

FRAGMENTS_PLEASE = "in fragments, please"
PINGS_PLEASE = "in fragments with pings, please"
CLOSE_PLEASE = "close, please"
FRAGMENTS = ["Zwölf Boxkämpfer ", "", "jagen Viktor ", "quer über den ", "großen Sylter Deich. " * 500, "🥊"]
WHOLE = "".join(FRAGMENTS)

CLIENT_CLOSE = (4001, "fertig für heute")
SERVER_CLOSE = (4002, "bis später")

#: Seconds for one test's conversation, whatever happens in it.
PATIENCE = 20.0


class Ending(NamedTuple):
    """How a WebSocket ended, as one end saw it: what the other's Close said."""

    code: int | None
    reason: str


class Closed(Exception):
    """Nothing more comes."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


@dataclass(frozen=True)
class Variant:
    """One way to make a connection."""

    http: str
    tls: bool
    deflate: bool

    def __str__(self) -> str:
        return f"http{self.http}-{'tls' if self.tls else 'clear'}-{'deflate' if self.deflate else 'plain'}"

    @property
    def scheme(self) -> str:
        return "wss" if self.tls else "ws"


HTTP1 = tuple(Variant("1.1", tls, deflate) for tls in (False, True) for deflate in (False, True))
HTTP2 = tuple(Variant("2", tls, deflate) for tls in (False, True) for deflate in (False, True))


class End(ABC):
    """One open WebSocket, in any library's hands."""

    @abstractmethod
    async def send(self, message: str | bytes) -> None: ...

    @abstractmethod
    async def recv(self) -> str | bytes:
        """Give the next message, or raise `Closed`."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> Ending:
        """Close and give what the other end's Close said."""

    async def send_fragments(self, fragments: list[str], *, ping: bool) -> None:
        """Send one text message in fragments, with a Ping between them if asked."""
        raise NotImplementedError

    async def ping(self) -> None:
        """Send a Ping and wait for its Pong."""
        raise NotImplementedError


@dataclass
class Serving:
    """A server that listens."""

    url: str
    endings: asyncio.Queue[Ending] = field(default_factory=asyncio.Queue)


class Peer(ABC):
    """A library or program that speaks WebSocket."""

    name: str
    serves: tuple[Variant, ...] = ()
    calls: tuple[Variant, ...] = ()
    #: It can send a message in fragments.
    fragments = True
    #: It can send a Ping in the midst of them.
    pings = True
    #: Arguments of our `connect` or `serve` that it needs.
    ours: ClassVar[dict[str, Any]] = {}

    @property
    @abstractmethod
    def version(self) -> str: ...

    def check(self) -> None:
        """Skip, or fail in CI, if something that it needs is missing."""

    def serve(self, variant: Variant, certificate: Certificate) -> AbstractAsyncContextManager[Serving]:
        """Listen, and answer."""
        raise NotImplementedError

    @asynccontextmanager
    async def connect(self, url: str, variant: Variant, certificate: Certificate) -> AsyncIterator[End]:
        """Open a WebSocket."""
        raise NotImplementedError
        yield

    async def converse(self, url: str, variant: Variant, certificate: Certificate, check: str, server: Peer) -> Ending:
        """Open a WebSocket, ask, and close it, or have it closed."""
        async with self.connect(url, variant, certificate) as end:
            return await CHECKS[check](end, self, server)


@dataclass(frozen=True)
class Certificate:
    """A server's certificate, which clients are to trust."""

    cert: str
    key: str
    #: The hash of its key, as Chromium takes it.
    spki: str


async def answer(end: End) -> Ending:
    """Be the answering end until the other closes."""
    try:
        while True:
            message = await end.recv()
            if message in (FRAGMENTS_PLEASE, PINGS_PLEASE):
                await end.send_fragments(FRAGMENTS, ping=message == PINGS_PLEASE)
            elif message == CLOSE_PLEASE:
                return await end.close(*SERVER_CLOSE)
            else:
                await end.send(message)
    except Closed as closed:
        return closed.ending


def text_of(size: int) -> str:
    """Give text of so many bytes in UTF-8, with characters of one to four of them."""
    words = ["word", "Maß", "мир", "水", "🥊", "x=1", "\t", "{}"]
    chosen = random.Random(size).choices(words, k=size // 4 + 1)
    data = " ".join(chosen).encode()[:size]
    text = data.decode(errors="ignore")
    return text + "." * (size - len(text.encode()))


def binary_of(size: int) -> bytes:
    """Give so many bytes: half noise, half zeros."""
    noise = random.Random(size).randbytes(size // 2)
    return noise + bytes(size - len(noise))


async def _messages(end: End, client: Peer, server: Peer) -> Ending:
    for size in SIZES:
        for message in (text_of(size), binary_of(size)):
            await end.send(message)
            echo = await end.recv()
            assert echo == message, f"{describe(message)} came back as {describe(echo)}"
    for number in range(BURST):
        await end.send(f"message {number}")
    for number in range(BURST):
        assert await end.recv() == f"message {number}", "messages of a burst came back otherwise"
    return await end.close(1000, "")


async def _fragments(end: End, client: Peer, server: Peer) -> Ending:
    if client.fragments:
        await end.send_fragments(FRAGMENTS, ping=False)
        echo = await end.recv()
        assert echo == WHOLE, f"a fragmented message came back as {describe(echo)}"
    if server.fragments:
        await end.send(FRAGMENTS_PLEASE)
        told = await end.recv()
        assert told == WHOLE, f"the answer in fragments was {describe(told)}"
    return await end.close(1000, "")


async def _pings(end: End, client: Peer, server: Peer) -> Ending:
    if client.pings:
        await end.ping()
        if client.fragments:
            await end.send_fragments(FRAGMENTS, ping=True)
            echo = await end.recv()
            assert echo == WHOLE, f"a message with Pings in it came back as {describe(echo)}"
    if server.fragments and server.pings:
        await end.send(PINGS_PLEASE)
        told = await end.recv()
        assert told == WHOLE, f"the answer in fragments with Pings was {describe(told)}"
    await end.send("and after")
    assert await end.recv() == "and after"
    return await end.close(1000, "")


async def _client_closes(end: End, client: Peer, server: Peer) -> Ending:
    await end.send("one")
    assert await end.recv() == "one"
    return await end.close(*CLIENT_CLOSE)


async def _server_closes(end: End, client: Peer, server: Peer) -> Ending:
    await end.send("one")
    assert await end.recv() == "one"
    await end.send(CLOSE_PLEASE)
    try:
        more = await end.recv()
    except Closed as closed:
        return closed.ending
    raise AssertionError(f"the server was to close, and said {describe(more)}")


CHECKS: dict[str, Callable[[End, Peer, Peer], Awaitable[Ending]]] = {
    "messages": _messages,
    "fragments": _fragments,
    "pings": _pings,
    "client closes": _client_closes,
    "server closes": _server_closes,
}


def agree(check: str, client: Ending, server: Ending) -> None:
    """Compare how the two ends say that it ended."""
    if check == "client closes":
        assert server == CLIENT_CLOSE, f"the server saw {server}"
        assert client.code == CLIENT_CLOSE[0], f"the client's Close was echoed as {client}"
    elif check == "server closes":
        assert client == SERVER_CLOSE, f"the client saw {client}"
        assert server.code == SERVER_CLOSE[0], f"the server's Close was echoed as {server}"
    else:
        assert client.code == 1000, f"it ended with {client}"


def describe(message: str | bytes) -> str:
    """Say what a message is, however long."""
    head = repr(message[:40])
    return f"{type(message).__name__} of {len(message)}: {head}"
