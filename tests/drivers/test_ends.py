"""How WebSockets end by what a peer does is told alike by all drivers: nobody waits in vain, and there is a reason."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
HOW: dict[str, Any] = {
    "close_timeout": 0.5,
    "ping_interval": None,
    "extensions": (),
    "proxy": None,
    "host": "127.0.0.1",
}


def broken(connection: Connection, frames: bytes) -> bytes:
    """Give bytes that our own side would not send."""
    return frames if connection.carrier.http_version == "1.1" else h2_frame(0, 0, 1, frames)


#: What a peer sends before it ends the transport by FIN, and the close status code of who reads all of it.
SENDS: dict[str, tuple[Callable[[Connection], bytes], int]] = {
    "nothing": (lambda _: b"", 1006),
    "messages": (lambda it: it.send(Text("x")) * 3, 1006),
    "more messages than are buffered": (lambda it: it.send(Text("x" * 100)) * 500, 1006),
    "a part of a frame": (lambda it: broken(it, b"\x81\x10abc"), 1006),
    "a part of a message": (lambda it: broken(it, b"\x01\x03abc"), 1006),
    "a reserved opcode": (lambda it: broken(it, b"\x83\0"), 1002),
    "no UTF-8": (lambda it: broken(it, b"\x81\x01\xff"), 1007),
    "messages and a Close": (lambda it: it.send(Text("x")) * 3 + it.send(Close(4000, "bye")), 4000),
    "GOAWAY": (lambda _: h2_frame(GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0"), 1006),
    "RST_STREAM": (lambda _: h2_frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), 1006),
}
ENDS: dict[str, Callable[[socket.socket], None]] = {"fin": socket.socket.close, "rst": reset, "half": lambda _: None}
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


@contextlib.contextmanager
def peer(http: str, tls: ssl.SSLContext | None) -> Iterator[int]:
    """Serve WebSockets by hand, which end as the index of their case says that is their target; give the port."""
    every = cases(http)

    def talk(sock: socket.socket) -> None:
        sock.settimeout(SOON)
        with contextlib.suppress(OSError):
            if tls is not None:
                sock = tls.wrap_socket(sock, server_side=True)
            carrier: Any = (Http1 if http == "1.1" else Http2)(Role.SERVER)
            with sock:
                connection = open_by_hand(sock, carrier)
                sends, ends, _ = every[int(connection.request.target[1:])]
                sock.sendall(SENDS[sends][0](connection))
                time.sleep(0.1)

                ENDS[ends](sock)
                if ends == "half":
                    socket.socket.shutdown(sock, socket.SHUT_WR)
                    while sock.recv(1 << 16):
                        pass

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        if tls is not None:
            tls.set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(SOON)


class Told(NamedTuple):
    """What a case has led to: what calls raised, the end, and the seconds that it took."""

    errors: list[BaseException]
    ending: Any
    seconds: float


def on_asyncio(run: Callable[..., Any], opening: Callable[[Case], Any], every: list[Case]) -> list[Told]:
    async def one(case: Case) -> Told:
        async with turns:
            return await play(await opening(case), case)

    async def play(websocket: Any, case: Case) -> Told:
        began, errors, failed = time.monotonic(), [], []
        for step in [*PLANS[case.plan], ("close",)]:
            if step in failed:
                continue
            try:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    await asyncio.wait_for(getattr(websocket, step[0])(*step[1:]), SOON)
            except Exception as error:
                errors.append(error)
                failed.append(step)
        return Told(errors, websocket.ending, time.monotonic() - began)

    async def work() -> list[Told]:
        nonlocal turns
        turns = asyncio.Semaphore(TOGETHER)
        return list(await asyncio.gather(*map(one, every)))

    turns: asyncio.Semaphore
    told: list[Told] = run(work())
    return told


def on_trio(_: object, opening: Callable[[Case], Any], every: list[Case]) -> list[Told]:
    told: dict[Case, Told] = {}

    async def one(case: Case) -> None:
        async with turns, opening(case) as websocket:
            began, errors, failed = time.monotonic(), [], []
            for step in [*PLANS[case.plan], ("close",)]:
                if step in failed:
                    continue
                try:
                    if isinstance(step, float):
                        await trio.sleep(step)
                    else:
                        with trio.fail_after(SOON):
                            await getattr(websocket, step[0])(*step[1:])
                except Exception as error:
                    errors.append(error)
                    failed.append(step)
            told[case] = Told(errors, websocket.ending, time.monotonic() - began)

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            for case in every:
                nursery.start_soon(one, case)

    turns = trio.CapacityLimiter(TOGETHER)
    trio.run(work)
    return [told[case] for case in every]


def on_threads(_: object, opening: Callable[[Case], Any], every: list[Case]) -> list[Told]:
    def one(case: Case) -> Told:
        websocket, began, errors, failed = opening(case).open(), time.monotonic(), [], []
        for step in [*PLANS[case.plan], ("close",)]:
            if step in failed:
                continue
            try:
                if isinstance(step, float):
                    time.sleep(step)
                else:
                    bound = {} if step[0] == "close" else {"timeout": SOON}
                    getattr(websocket, step[0])(*step[1:], **bound)
            except Exception as error:
                errors.append(error)
                failed.append(step)
        return Told(errors, websocket.ending, time.monotonic() - began)

    with ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(one, every))


DRIVERS = {"asyncio": (mintws.asyncio, on_asyncio), "trio": (mintws.trio, on_trio), "sync": (mintws.sync, on_threads)}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("http", ["1.1", "2"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_every_end_is_told(run: Callable[..., Any], driver: str, http: str, tls: bool, tls_contexts: Any) -> None:
    server, client = tls_contexts if tls else (None, None)
    module, play = DRIVERS[driver]
    every = cases(http)
    with peer(http, server) as port:
        where = f"{'wss' if tls else 'ws'}://localhost:{port}/"
        how = {**HOW, "http": http, "ssl": client, "open_timeout": SOON}
        told = play(run, lambda case: module.connect(f"{where}{every.index(case)}", **how), every)
    for case, (errors, ending, seconds) in zip(every, told, strict=True):
        said = (case, errors, ending)
        assert all(isinstance(it, ConnectionClosed) for it in errors), said
        assert seconds < 2 * SOON, said
        for error in errors:
            assert error.code != 1006 or error.reason, said
            assert len(re.findall("GOAWAY", error.reason)) <= 1, said
        if case.plan == "recv" and case.ends != "rst":
            assert ending.code == SENDS[case.sends][1], said
