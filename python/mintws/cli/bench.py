"""`mintws bench`: load on an echo server, and how long its answers take."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from mintws import ConnectError, ConnectionClosed, ExtendedConnectDisabled, LocalProtocolError
from mintws import asyncio as driver
from mintws.cli import argument_types, connecting
from mintws.cli.connecting import describe_failure, read_arguments
from mintws.cli.histogram import PERCENTILES, as_svg, as_text
from mintws.cli.latencies import Latencies, shown
from mintws.cli.output import put, tell
from mintws.cli.progress import Progress
from mintws.cli.rendering import harmless
from mintws.cli.signals import Stop
from mintws.cli.tls import Unusable
from mintws.url import parse

#: Exit codes.
DONE, FAILED, WRONG_USAGE = 0, 1, 2

#: How many WebSockets are opened at a time.
_OPENING = 50
#: Seconds that the last answers have, and between two states of the progress bar.
_PATIENCE, _TICK = 5.0, 0.1


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        help="put load on an echo server, and say how long its answers take",
        description="Send messages to a server that echoes each, such as `mintws serve`, and print how many were answered, percentiles of "
        "the time from a message to its answer, to 1 %, and their histogram. With --rate a time begins when the message was due, so that "
        "a server that stalls is seen in all messages that it delays. Ctrl-C ends the measurement early.",
        epilog="Exit codes: 0 all messages were answered; 1 could not connect, or an answer was missing or not an echo; 2 wrong usage.",
        allow_abbrev=False,
    )
    connecting.add_arguments(parser)
    parser.add_argument(
        "-c",
        "--connections",
        type=argument_types.count,
        default=1,
        metavar="N",
        help="how many WebSockets (%(default)s)",
    )
    parser.add_argument(
        "--shared", action="store_true", help="have them all share one HTTP/2 connection; needs --http 2"
    )
    parser.add_argument(
        "-r",
        "--rate",
        type=argument_types.rate,
        metavar="N",
        help="how many messages a second, over all WebSockets (as many as are answered, at most --in-flight at a time)",
    )
    parser.add_argument(
        "--in-flight",
        type=argument_types.count,
        default=1,
        metavar="N",
        help="how many messages of a WebSocket wait for their answers, without --rate (%(default)s)",
    )
    parser.add_argument(
        "-s",
        "--size",
        dest="sizes",
        type=argument_types.size,
        action="append",
        metavar="SIZE",
        help="the bytes of a message, such as 500, 64K or 16M; may be repeated, and messages have these sizes in turn (32)",
    )
    parser.add_argument("--binary", action="store_true", help="send binary messages, not text")
    parser.add_argument(
        "-d",
        "--duration",
        type=argument_types.seconds,
        default=5.0,
        metavar="S",
        help="for how many seconds (%(default)s)",
    )
    parser.add_argument("--svg", metavar="FILE", help="write the histogram to this file, too")
    parser.set_defaults(run=run, usage_error=parser.error)


async def run(arguments: argparse.Namespace, stop: Stop) -> int:
    """Open WebSockets, put load on them and print the result; return the exit code."""
    if arguments.shared and arguments.http != "2":
        arguments.usage_error("--shared needs --http 2")
    sizes: list[int] = arguments.sizes or [32]
    messages: list[str | bytes] = [b"m" * size if arguments.binary else "m" * size for size in sizes]
    async with AsyncExitStack() as stack:
        began = time.perf_counter()
        try:
            websockets = await stop.bound(_open(arguments, stack))
        except ExtendedConnectDisabled as error:
            tell(f"cannot connect: {error}")
            return FAILED
        except (LocalProtocolError, Unusable) as error:
            tell(f"wrong usage: {error}")
            return WRONG_USAGE
        except ConnectError as error:
            tell(describe_failure(error))
            return FAILED
        if websockets is None:
            return stop.code
        opening = time.perf_counter() - began
        load = Load(websockets, messages, arguments.duration, arguments.rate, arguments.in_flight)
        await load.run(stop)
    many = f"{len(websockets)} WebSockets" if len(websockets) > 1 else "one WebSocket"
    how = f"{many} over HTTP/{websockets[0].http_version}" + (" on one connection" if arguments.shared else "")
    rate = f"{arguments.rate:g} messages a second" if arguments.rate else f"{arguments.in_flight} in flight on each"
    what = f"messages of {', '.join(f'{size:,}' for size in sizes)} bytes, {rate}"
    put(f"{how}, opened in {shown(opening)}; {what}")
    put()
    for line in load.report():
        put(line)
    if arguments.svg is not None and load.latencies.count:
        title = f"Echo: {load.latencies.count / load.took:,.0f} messages a second"
        try:
            with open(arguments.svg, "w", encoding="utf-8") as file:
                file.write(as_svg(load.latencies, title, [how, what]))
        except OSError as error:
            tell(f"cannot write {arguments.svg!r}: {error.strerror or error}")
            return FAILED
    for fault in load.faults():
        tell(fault)
    return FAILED if load.faults() else DONE


async def _open(arguments: argparse.Namespace, stack: AsyncExitStack) -> list[driver.WebSocket]:
    """Open all WebSockets; `stack` closes them."""
    url, how = read_arguments(arguments)
    asked: dict[str, Any] = {"headers": arguments.header, "subprotocols": arguments.subprotocol}
    client = await stack.enter_async_context(driver.connect_http2(url, **how)) if arguments.shared else None
    websockets: list[driver.WebSocket] = []

    async def open_one() -> driver.WebSocket:
        if client is not None:
            return await client.open(parse(url).target, **asked)
        return await driver.connect(url, http=arguments.http, **how, **asked)

    while len(websockets) < arguments.connections:
        number = min(_OPENING, arguments.connections - len(websockets))
        opened = await asyncio.gather(*(open_one() for _ in range(number)), return_exceptions=True)
        for one in opened:
            if isinstance(one, driver.WebSocket):
                websockets.append(await stack.enter_async_context(one))
        for one in opened:
            if isinstance(one, BaseException):
                raise one
    return websockets


class Load:
    """Messages on WebSockets, and how long their answers take.

    Attributes:
        latencies: the times from a message to its answer.
        took: the seconds of the measurement.
    """

    def __init__(
        self,
        websockets: Sequence[driver.WebSocket],
        messages: Sequence[str | bytes],
        duration: float,
        rate: float | None,
        in_flight: int,
    ) -> None:
        self.latencies = Latencies()
        self.took = 0.0
        self._websockets = websockets
        self._messages = messages
        self._duration = duration
        self._rate = rate
        self._in_flight = in_flight
        self._sent = 0
        self._changed = 0
        self._bytes = 0
        self._ends: list[str] = []
        self._stopped = False

    async def run(self, stop: Stop) -> None:
        """Put the load on until the time is over or a signal comes, and wait for the last answers."""
        began = time.perf_counter()
        loads = [asyncio.ensure_future(self._load(began, i, it)) for i, it in enumerate(self._websockets)]
        stopping = asyncio.ensure_future(stop.wait())
        deadline = began + self._duration
        try:
            with Progress() as progress:
                while not self._stopped:
                    now = time.perf_counter()
                    done = (now - began) / self._duration if self._duration else 1.0
                    progress.show(
                        done, f"{now - began:.1f} s, {self.latencies.count / max(now - began, 1e-9):,.0f} messages/s"
                    )
                    await asyncio.wait(
                        [stopping, *loads],
                        timeout=min(_TICK, max(0.0, deadline - now)),
                        return_when=asyncio.ALL_COMPLETED,
                    )
                    self._stopped = stopping.done() or time.perf_counter() >= deadline or all(it.done() for it in loads)
            self.took = time.perf_counter() - began
            ended, _ = await asyncio.wait(loads, timeout=_PATIENCE)
            for load in ended:
                load.result()
        finally:
            for task in [stopping, *loads]:
                task.cancel()
            await asyncio.gather(stopping, *loads, return_exceptions=True)

    def report(self) -> list[str]:
        """Return the result as lines."""
        times = self.latencies
        if not times.count:
            return ["no message was answered"]
        a_second = f"{times.count / self.took:,.0f} a second"
        volume = f"{self._bytes / self.took / 2**20:,.1f} MiB/s there and back"
        lines = [f"{times.count:,} messages were answered in {self.took:.2f} s: {a_second}", volume, ""]
        lines += [f"{'shortest':>10}  {shown(times.least)}", f"{'mean':>10}  {shown(times.total / times.count)}"]
        lines += [f"{f'{percent:g} %':>10}  {shown(times.percentile(percent))}" for percent in PERCENTILES]
        return [*lines, f"{'longest':>10}  {shown(times.most)}", "", *as_text(times)]

    def faults(self) -> list[str]:
        """Return what did not go well."""
        faults = list(dict.fromkeys(self._ends))
        missing = self._sent - self.latencies.count
        if missing:
            faults.append(f"{missing:,} of {self._sent:,} messages were not answered")
        if self._changed:
            faults.append(f"{self._changed:,} answers were not what was sent")
        return faults

    async def _load(self, began: float, index: int, websocket: driver.WebSocket) -> None:
        """Send and receive on one WebSocket."""
        waiting: deque[tuple[float, str | bytes]] = deque()
        room = asyncio.Semaphore(self._in_flight)
        receiving = asyncio.ensure_future(self._receive(websocket, waiting, room))
        try:
            number = 0
            while not receiving.done():
                if self._rate is None:
                    await room.acquire()
                    due = time.perf_counter()
                else:
                    due = began + (index + number * len(self._websockets)) / self._rate
                    end = began + self._duration
                    await asyncio.sleep(min(due, end) - time.perf_counter())
                    if due >= end:
                        break
                if self._is_over():
                    break
                message = self._messages[(index + number) % len(self._messages)]
                number += 1
                waiting.append((due, message))
                self._sent += 1
                await websocket.send(message)
            while waiting and not receiving.done():
                await asyncio.sleep(_TICK / 10)
        except ConnectionClosed as closed:
            self._ends.append(harmless(str(closed)))
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    def _is_over(self) -> bool:
        return self._stopped

    async def _receive(
        self, websocket: driver.WebSocket, waiting: deque[tuple[float, str | bytes]], room: asyncio.Semaphore
    ) -> None:
        try:
            while True:
                answer = await websocket.recv()
                if not waiting:
                    self._changed += 1
                    continue
                due, message = waiting.popleft()
                self.latencies.add(time.perf_counter() - due)
                self._bytes += 2 * len(message)
                self._changed += answer != message
                room.release()
        except ConnectionClosed as closed:
            self._ends.append(harmless(str(closed)))
            room.release()
