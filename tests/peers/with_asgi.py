"""Servers of ASGI applications: what their clients get, and what their applications are told, in each case of a conversation."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from process import free_port, python_package, running
from wire import CLOSE, REQUEST, TEXT, masked

from mintws import Close, ConnectError, ConnectionClosed, UpgradeError
from mintws.asyncio import WebSocket, connect, connect_http2

#: Seconds after which nothing more is expected of a server.
SILENCE = 2.0
#: Seconds that an answer to an ordinary request may take.
ANSWER_BOUND = 30.0


@dataclass(frozen=True)
class AsgiServer:
    """A server.

    Attributes:
        name: its name in the table.
        package: the package of which the version counts.
        command: how it is started; `PORT` stands for the port.
        http: the version of HTTP that its clients speak.
        packages: the folder whose requirements.txt names what it is installed from.
    """

    name: str
    package: str
    command: tuple[str, ...]
    http: str = "1.1"
    packages: str = "asgi"

    @asynccontextmanager
    async def serve(self, folder: Path) -> AsyncIterator[Served]:
        """Run it."""
        port, events = free_port(), folder / "events"
        events.touch()
        packages = python_package(self.packages)
        path = os.pathsep.join([str(Path(__file__).parent / "asgi"), str(packages)])
        environment = {**os.environ, "PYTHONPATH": path, "EVENTS": str(events), "DJANGO_SETTINGS_MODULE": ""}
        command = [sys.executable, "-m", *(it.replace("PORT", str(port)) for it in self.command)]
        async with running(command, ports=[port], stdout=DEVNULL, stderr=DEVNULL, env=environment) as process:
            yield Served(port, self.http, events, process)


@dataclass
class Served:
    """A server that runs."""

    port: int
    http: str
    events: Path
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def open(self, path: str, **options: object) -> Awaitable[WebSocket]:
        """Open a WebSocket."""
        return connect(f"{self.url}/{path}", http=self.http, ping_interval=None, close_timeout=SILENCE, **options)  # type: ignore[arg-type]

    async def told(self) -> list[object]:
        """Give what the application has told next."""
        for _ in range(int(SILENCE / 0.02)):
            if text := self.events.read_text():
                self.events.write_text("")
                return list(json.loads(text.splitlines()[0]))
            await asyncio.sleep(0.02)
        return []


UVICORN = ("uvicorn", "application:app", "--host", "127.0.0.1", "--port", "PORT", "--log-level", "critical", "--ws")
WITH_OUR_WEBSOCKETS = (*UVICORN, "mintws.uvicorn:WebSocketProtocol")
WITH_OUR_HTTP = (*UVICORN, "auto", "--http", "mintws.uvicorn:HttpProtocol")
HYPERCORN = ("hypercorn", "application:app", "--bind", "127.0.0.1:PORT", "--log-level", "critical")
GRANIAN = ("granian", "application:app", "--interface", "asgi", "--host", "127.0.0.1", "--port", "PORT", "--no-log")
OURS = ("mintws", "asgi", "application:app", "--port", "PORT")
SERVERS = (
    AsgiServer("mintws", "mintws", OURS),
    AsgiServer("mintws, HTTP/2", "mintws", OURS, http="2"),
    AsgiServer("uvicorn, mintws", "uvicorn", WITH_OUR_WEBSOCKETS),
    AsgiServer("uvicorn, mintws, HTTP/2", "uvicorn", WITH_OUR_HTTP, http="2"),
    AsgiServer("uvicorn, websockets-sansio", "uvicorn", (*UVICORN, "websockets-sansio")),
    AsgiServer("uvicorn, wsproto", "uvicorn", (*UVICORN, "wsproto")),
    AsgiServer("Hypercorn", "hypercorn", HYPERCORN),
    AsgiServer("Hypercorn, HTTP/2", "hypercorn", HYPERCORN, http="2"),
    AsgiServer("Granian", "granian", GRANIAN),
    AsgiServer("Daphne", "daphne", ("daphne", "-b", "127.0.0.1", "-p", "PORT", "-v", "0", "application:app")),
)
#: The oldest uvicorn that is promised, with each of our classes.
OLDEST = (
    AsgiServer("uvicorn, mintws", "uvicorn", WITH_OUR_WEBSOCKETS, packages="oldest"),
    AsgiServer("uvicorn, mintws, HTTP/1.1 by our class", "uvicorn", WITH_OUR_HTTP, packages="oldest"),
    AsgiServer("uvicorn, mintws, HTTP/2", "uvicorn", WITH_OUR_HTTP, http="2", packages="oldest"),
)


async def request(port: int, http: str, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Give the status and the body of the response to an ordinary request."""
    if http == "2":
        async with connect_http2(f"ws://127.0.0.1:{port}") as client:
            response = await client.request(method, path, body=body)
            return response.status, response.body or b""

    def ask() -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_BOUND)
        try:
            connection.request(method, path, body=body or None)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def _opening(server: Served, path: str) -> str:
    """What a client gets that is not to get in."""
    try:
        websocket = await asyncio.wait_for(server.open(path), SILENCE)
    except UpgradeError as refusal:
        said = f" {refusal.body.decode()!r}" if refusal.body and path == "refuse" else ""
        kept = "" if path != "refuse" or ("x-tea", "mint") in refusal.headers else ", without its headers"
        return f"{refusal.status}{said}{kept}"
    except asyncio.TimeoutError:
        return "no answer"
    except ConnectError:
        return "no answer, the end of TCP"
    await websocket.close()
    return "it is accepted"


async def _ending(server: Served, path: str) -> str:
    """How a WebSocket ends that the application ends."""
    websocket = await server.open(path)
    try:
        await asyncio.wait_for(websocket.recv(), SILENCE)
    except asyncio.TimeoutError:
        websocket.transport.abort()
        return "it stays open"
    except ConnectionClosed as closed:
        reason = f" {closed.reason!r}" if closed.reason and closed.clean else ""
        return f"{closed.code}{reason}" if closed.clean else "no Close"
    return "a message"


def opening(path: str) -> Case:
    """Make the case of an application that does not accept."""
    return lambda server: _opening(server, path)


def ending(path: str) -> Case:
    """Make the case of an application that closes."""
    return lambda server: _ending(server, path)


async def _disconnected(server: Served) -> str:
    told = await server.told()
    if not told:
        return "nothing"
    # Why nothing more comes is told in words of the server's own.
    return f"{told[1]}{f' {told[2]!r}' if told[2] and told[1] != 1006 else ''}"


async def client_closes(server: Served) -> str:
    """The client closes with a code and a reason."""
    websocket = await server.open("echo")
    await websocket.close(4003, "off")
    return await _disconnected(server)


async def client_closes_without_code(server: Served) -> str:
    """The client closes without a code."""
    websocket = await server.open("echo")
    await websocket.close(None)
    return await _disconnected(server)


async def client_vanishes(server: Served) -> str:
    """The client ends its transport without a word."""
    websocket = await server.open("echo")
    websocket.transport.abort()
    return await _disconnected(server)


async def send_after_the_end(server: Served) -> str:
    """What a send comes to when the client has closed."""
    websocket = await server.open("echo")
    await websocket.close()
    return str((await server.told() or [0, 0, 0, "it is told nothing"])[3])


async def empty_messages(server: Served) -> str:
    """Whether empty messages come back."""
    websocket = await server.open("echo")
    got = []
    for message in ("", b"", "end"):
        await websocket.send(message)
    try:
        while (message := await asyncio.wait_for(websocket.recv(), SILENCE)) != "end":
            got.append(message)
    except (asyncio.TimeoutError, ConnectionClosed):
        return "it ends"
    finally:
        websocket.transport.abort()
        await server.told()
    return "they come back" if got == ["", b""] else "they are lost"


async def accepted_headers(server: Served) -> str:
    """Whether the subprotocol and the headers of the accept arrive."""
    websocket = await server.open("echo", subprotocols=["soup", "tea"])
    assert websocket.response is not None
    values = [value for name, value in websocket.response.headers if name == "x-tea"]
    chosen = websocket.subprotocol
    await websocket.close()
    await server.told()
    return f"{chosen}; {', '.join(values) or 'no header'}"


def head_of(path: str) -> bytes:
    """Give the head of a request, but for the empty line at its end."""
    return b"GET /%s %s" % (path.encode(), REQUEST.split(b" ", 2)[2])


async def headers_of_the_scope(server: Served) -> str:
    """Whether all headers of the request are there, in their order."""
    if server.http == "2":
        return "-"
    reader, writer = await asyncio.open_connection(*server.url[5:].split(":"))
    head = head_of("scope").replace(b"\r\n", b"\r\nX-Twice: 1\r\nX-Between: 2\r\nX-Twice: 3\r\n", 1)
    writer.write(head + b"\r\n")
    told = await server.told()
    writer.close()
    sent = [line.split(": ", 1) for line in head.decode().splitlines()[1:] if line]
    expected = [[name.lower(), value] for name, value in sent]
    if not told:
        return "nothing"
    if told[0] == expected:
        return "all, in order"
    return "all" if sorted(told[0]) == sorted(expected) else "not all"  # type: ignore[call-overload]


async def ports_of_the_scope(server: Served) -> str:
    """The types of the ports, and the version of the specification."""
    await _opening(server, "scope")
    told = await server.told()
    return f"{' and '.join(sorted(set(told[1])))}; {told[2]}" if told else "nothing"  # type: ignore[call-overload]


async def path_of_the_scope(server: Served) -> str:
    """The path, decoded and as it was sent."""
    await _opening(server, "path/r%C3%A4ume")
    told = await server.told()
    return f"{told[0]}; {told[1] or 'none'}" if told else "nothing"


async def rest_of_the_scope(server: Served) -> str:
    """Whether there is the state of the lifespan, and which extensions are offered."""
    await _opening(server, "path/r%C3%A4ume")
    told = await server.told()
    return f"{'yes' if told[2] else 'no'}; {', '.join(told[3]) or 'none'}" if told else "nothing"  # type: ignore[call-overload]


async def second_accept(server: Served) -> str:
    """What a second accept comes to."""
    websocket = await server.open("accept-twice")
    told = await server.told()
    websocket.transport.abort()
    return str(told[0]) if told else "it is told nothing"


async def keys_of_messages(server: Served) -> str:
    """The keys under which text and bytes come, empty ones."""
    websocket = await server.open("keys")
    await websocket.send("")
    await websocket.send(b"")
    told = await server.told()
    websocket.transport.abort()
    return ", ".join(map(str, told)) or "none"


async def frames_with_the_handshake(server: Served) -> str:
    """What becomes of frames that come in one segment with the request."""
    if server.http == "2":
        return "-"
    reader, writer = await asyncio.open_connection(*server.url[5:].split(":"))
    head = head_of("echo")
    writer.write(head + b"\r\n" + masked(TEXT, b"early"))
    data = b""
    try:
        while b"early" not in data and (part := await asyncio.wait_for(reader.read(4096), SILENCE)):
            data += part
    except asyncio.TimeoutError:
        pass
    writer.write(masked(CLOSE, b""))
    writer.close()
    await server.told()
    return "they are received" if b"early" in data else "they are lost"


async def server_stops(server: Served) -> str:
    """What clients get when the server is told to end."""
    websocket = await server.open("echo")
    server.process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(websocket.recv(), SILENCE)
    except asyncio.TimeoutError:
        websocket.transport.abort()
        return f"nothing in {SILENCE:g} s"
    except ConnectionClosed as closed:
        return str(closed.code) if isinstance(websocket.ending.received, Close) else "no Close"
    return "a message"


Case = Callable[[Served], Awaitable[str]]

#: What happens, and what is looked at. The last one ends the server.
CASES: dict[str, Case] = {
    "returns before its answer: the client gets": opening("return-before"),
    "raises before its answer: the client gets": opening("raise-before"),
    "closes before its answer: the client gets": opening("close-before"),
    "refuses with 418, in two parts: the client gets": opening("refuse"),
    "returns: the client gets": ending("return-after"),
    "raises: the client gets": ending("raise-after"),
    "closes with 4002 and a reason: the client gets": ending("close-after"),
    "accepts with a subprotocol and a header twice: the client gets": accepted_headers,
    "the client closes with 4003 and a reason: it is told": client_closes,
    "the client closes without a code: it is told": client_closes_without_code,
    "the client vanishes: it is told": client_vanishes,
    "sends after the client has closed: it gets": send_after_the_end,
    "sends back empty messages": empty_messages,
    "headers of its scope": headers_of_the_scope,
    "ports of its scope; version of the specification": ports_of_the_scope,
    "path and raw_path of its scope": path_of_the_scope,
    "its scope has a state; extensions": rest_of_the_scope,
    "accepts twice: it gets": second_accept,
    "is sent empty text and empty bytes: the keys of the events": keys_of_messages,
    "frames in one segment with the request": frames_with_the_handshake,
    "the server stops: the client gets": server_stops,
}
