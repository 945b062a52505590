"""How WebSockets end by what a peer does is told alike by all drivers, in both roles: nobody waits in vain, and there is a reason."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import pytest
import trio
from drivers.raw import open_by_hand, reset
from wire import GOAWAY, RST_STREAM, h2_frame

import mintws.asyncio
import mintws.sync
import mintws.trio
from mintws import Close, Connection, ConnectionClosed, Http1, Http2, Role, Text

#: Seconds that a call may take, and how many WebSockets are open at a time.
SOON = 8.0
TOGETHER = 40
HOW: dict[str, Any] = {"close_timeout": 0.5, "ping_interval": None, "extensions": ()}


def frame(connection: Connection, masked: bool, first: int, length: int, payload: bytes) -> bytes:
    """Give the bytes of a frame that our own side would not send."""
    head = bytes([first, length | 0x80, 0, 0, 0, 0] if masked else [first, length])
    return head + payload if connection.carrier.http_version == "1.1" else h2_frame(0, 0, 1, head + payload)


#: What a peer sends before it ends the transport by FIN, and the close status code of who reads all of it.
SENDS: dict[str, tuple[Callable[[Connection, Callable[..., bytes]], bytes], int]] = {
    "nothing": (lambda *_: b"", 1006),
    "messages": (lambda it, _: b"".join(it.send(Text("x")) for _ in range(3)), 1006),
    "more messages than are buffered": (lambda it, _: b"".join(it.send(Text("x" * 100)) for _ in range(500)), 1006),
    "a part of a frame": (lambda _, frame: frame(0x81, 16, b"abc"), 1006),
    "a part of a message": (lambda _, frame: frame(0x01, 3, b"abc"), 1006),
    "a reserved opcode": (lambda _, frame: frame(0x83, 0, b""), 1002),
    "no UTF-8": (lambda _, frame: frame(0x81, 1, b"\xff"), 1007),
    "a message and a Close": (lambda it, _: it.send(Text("x")) + it.send(Close(4000, "bye")), 4000),
    "GOAWAY": (lambda *_: h2_frame(GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0"), 1006),
    "RST_STREAM": (lambda *_: h2_frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), 1006),
}
ENDS: dict[str, Callable[[socket.socket], None]] = {
    "fin": socket.socket.close,
    "rst": reset,
    "half": lambda sock: socket.socket.shutdown(sock, socket.SHUT_WR),
}
#: All messages, and the end: what has raised is not called again.
RECEIVE: list[Any] = [("recv",)] * 501
#: What an application does, with seconds to sleep: it then closes in any case.
PLANS: dict[str, list[Any]] = {
    "recv": RECEIVE,
    "send": [0.2, ("send", "x"), 0.1, ("send", "y"), *RECEIVE],
    "send fragments": [0.2, ("send", ["x", "y"]), ("send", ["y", "z"])],
    "ping": [0.2, ("ping",)],
    "wait": [("wait_closed",)],
    "close": [("close", 4001)],
    "close later": [0.3, ("close", 4001)],
}


class Case(NamedTuple):
    sends: str
    ends: str
    plan: str


def cases(http: str) -> list[Case]:
    sends = [it for it in SENDS if http == "2" or it not in ("GOAWAY", "RST_STREAM")]
    every = [Case(*it) for it in product(sends, ENDS, PLANS)]
    # Nobody takes the messages that a Pong would come after.
    vain = ("more messages than are buffered", "ping")
    return [it for it in every if (it.sends, it.plan) != vain and (it.ends != "half" or it.plan in ("recv", "close"))]


def misbehave(sock: socket.socket, role: Role, connection: Connection, case: Case) -> None:
    """Be the peer of a case on a WebSocket that is open."""
    sock.sendall(SENDS[case.sends][0](connection, partial(frame, connection, role is Role.CLIENT)))
    time.sleep(0.1)
    ENDS[case.ends](sock)
    if case.ends == "half":
        while sock.recv(1 << 16):
            pass


@contextlib.contextmanager
def peer(http: str, tls: ssl.SSLContext | None, every: list[Case]) -> Iterator[int]:
    """Serve WebSockets by hand, each with the case whose index is its target; give the port."""

    def talk(sock: socket.socket) -> None:
        sock.settimeout(SOON)
        with contextlib.suppress(OSError):
            if tls is not None:
                sock = tls.wrap_socket(sock, server_side=True)
            with sock:
                connection = open_by_hand(sock, (Http1 if http == "1.1" else Http2)(Role.SERVER))
                misbehave(sock, Role.SERVER, connection, every[int(connection.request.target[1:])])

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(SOON)


def visit(http: str, tls: ssl.SSLContext | None, every: list[Case], port: int) -> None:
    """Be the clients of all cases."""

    def one(case: Case) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), SOON) as plain:
            with plain if tls is None else tls.wrap_socket(plain, server_hostname="localhost") as sock:
                carrier = (Http1 if http == "1.1" else Http2)(Role.CLIENT)
                misbehave(sock, Role.CLIENT, open_by_hand(sock, carrier, f"/{every.index(case)}"), case)

    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(one, every))


class Told(NamedTuple):
    """What a case has led to: what calls raised, the end, and the seconds that it took."""

    errors: list[BaseException]
    ending: Any
    seconds: float


class Opening(NamedTuple):
    """How the WebSockets of our side open: each by `connect` to a URL, or all by a server, to which `clients` connect."""

    cases: list[Case]
    connect: Callable[[Case], Any]
    serve: Callable[[Any], Any]
    clients: Callable[[int], None] | None

    def case_of(self, websocket: Any) -> Case:
        return self.cases[int(websocket.request.target[1:])]


async def play(
    websocket: Any, case: Case, sleep: Callable[[float], Awaitable[None]], bound: Callable[[Any], Awaitable[Any]]
) -> Told:
    """Do what an application does."""
    began, errors, failed = time.monotonic(), [], []
    for step in [*PLANS[case.plan], ("close",)]:
        if step in failed:
            continue
        try:
            await (sleep(step) if isinstance(step, float) else bound(getattr(websocket, step[0])(*step[1:])))
        except Exception as error:
            errors.append(error)
            failed.append(step)
    return Told(errors, websocket.ending, time.monotonic() - began)


def on_asyncio(run: Callable[..., Any], opening: Opening) -> dict[Case, Told]:
    told: dict[Case, Told] = {}

    async def played(websocket: Any, case: Case) -> None:
        told[case] = await play(websocket, case, asyncio.sleep, lambda call: asyncio.wait_for(call, SOON))

    async def one(turns: asyncio.Semaphore, case: Case) -> None:
        async with turns:
            await played(await opening.connect(case), case)

    async def work() -> None:
        if opening.clients is None:
            await asyncio.gather(*map(partial(one, asyncio.Semaphore(TOGETHER)), opening.cases))
            return
        async with opening.serve(lambda websocket: played(websocket, opening.case_of(websocket))) as server:
            await asyncio.to_thread(opening.clients, server.port)
            await server.drain(SOON)

    run(work())
    return told


def on_trio(_: object, opening: Opening) -> dict[Case, Told]:
    told: dict[Case, Told] = {}

    async def bound(call: Any) -> None:
        with trio.fail_after(SOON):
            await call

    async def played(websocket: Any, case: Case) -> None:
        told[case] = await play(websocket, case, trio.sleep, bound)

    async def one(turns: trio.CapacityLimiter, case: Case) -> None:
        async with turns, opening.connect(case) as websocket:
            await played(websocket, case)

    async def work() -> None:
        if opening.clients is None:
            turns = trio.CapacityLimiter(TOGETHER)
            async with trio.open_nursery() as nursery:
                for case in opening.cases:
                    nursery.start_soon(one, turns, case)
            return
        async with opening.serve(lambda websocket: played(websocket, opening.case_of(websocket))) as server:
            await trio.to_thread.run_sync(opening.clients, server.port)
            await server.drain(SOON)

    trio.run(work)
    return told


def on_threads(_: object, opening: Opening) -> dict[Case, Told]:
    told: dict[Case, Told] = {}

    def played(websocket: Any, case: Case) -> None:
        began, errors, failed = time.monotonic(), [], []
        for step in [*PLANS[case.plan], ("close",)]:
            if step in failed:
                continue
            try:
                if isinstance(step, float):
                    time.sleep(step)
                else:
                    getattr(websocket, step[0])(*step[1:], **({} if step[0] == "close" else {"timeout": SOON}))
            except Exception as error:
                errors.append(error)
                failed.append(step)
        told[case] = Told(errors, websocket.ending, time.monotonic() - began)

    if opening.clients is None:
        with ThreadPoolExecutor(TOGETHER) as pool:
            list(pool.map(lambda case: played(opening.connect(case).open(), case), opening.cases))
        return told
    with opening.serve(lambda websocket: played(websocket, opening.case_of(websocket))) as server:
        opening.clients(server.port)
        server.drain(SOON)
    return told


DRIVERS = {"asyncio": (mintws.asyncio, on_asyncio), "trio": (mintws.trio, on_trio), "sync": (mintws.sync, on_threads)}


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_every_end_is_told(
    run: Callable[..., Any], driver: str, role: str, http: str, tls: bool, tls_contexts: Any
) -> None:
    server, client = tls_contexts if tls else (None, None)
    module, played = DRIVERS[driver]
    every = cases(http)

    def connect(case: Case) -> Any:
        url = f"{'wss' if tls else 'ws'}://localhost:{port}/{every.index(case)}"
        return module.connect(url, host="127.0.0.1", http=http, ssl=client, open_timeout=SOON, proxy=None, **HOW)

    def serve(handler: Any) -> Any:
        return module.serve(handler, "127.0.0.1", 0, ssl=server, **HOW)

    if role == "client":
        if server is not None:
            server.set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
        with peer(http, server, every) as port:
            told = played(run, Opening(every, connect, serve, None))
    else:
        if client is not None:
            client.set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
        told = played(run, Opening(every, connect, serve, partial(visit, http, client, every)))
    assert len(told) == len(every)
    for case, (errors, ending, seconds) in told.items():
        said = (case, errors, ending)
        assert all(isinstance(it, ConnectionClosed) for it in errors), said
        assert seconds < 2 * SOON, said
        for error in errors:
            assert error.code != 1006 or error.reason, said
            assert len(re.findall("GOAWAY", error.reason)) <= 1, said
        if case.plan == "recv" and case.ends != "rst":
            assert ending.code == SENDS[case.sends][1], said
