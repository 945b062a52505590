"""What was aimed at, next to what was measured: the rows of the table in docs/performance.md, made from `results/`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fanout
import measure
import on_trio
import sync

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One target.

    Attributes:
        what: what is measured.
        target: what was aimed at, in words.
        checks: for each part of it: how it is called, what was measured, whether that is enough.
    """

    what: str
    target: str
    checks: list[tuple[str, bool]]

    @property
    def met(self) -> bool:
        return all(enough for _, enough in self.checks)


class Results:
    """The figures of the last runs; the minimum counts."""

    def __init__(self) -> None:
        self.kept = {name: measure.kept(name) for name in ("core", "echo", "memory", "sync", "trio", "fanout")}

    def core(self, **case: Any) -> dict[str, float]:
        return {name: value["min"] for name, value in self._row("core", case)["ns"].items()}

    def echo(self, part: str, scenario: str) -> dict[str, float]:
        row = self._row("echo", {"part": part, "scenario": scenario})
        return {name: value["min"] for name, value in row["cpu_us"].items()}

    def cpu(self, name: str, **case: Any) -> dict[str, float]:
        return {server: value["min"] for server, value in self._row(name, case)["cpu_us"].items()}

    def memory(self, server: str, **case: Any) -> float:
        return float(self._row("memory", {"server": server, **case})["kib"])

    def _row(self, name: str, case: dict[str, Any]) -> dict[str, Any]:
        kept = self.kept[name]
        if kept is None:
            raise LookupError(f"no results of {name}: run `make bench`")
        for row in kept["rows"]:
            if all(row.get(key) == value for key, value in case.items()):
                return dict(row)
        raise LookupError(f"no such case in the results of {name}: {case}")


def rows(results: Results) -> list[Row]:
    """Make the rows in the order of the table."""
    return [Row(what, target, list(check(results))) for what, target, check in TARGETS]


def _faster(cases: list[dict[str, float]], **factors: float) -> Iterator[tuple[str, bool]]:
    """How many times a peer's cost is ours, at the worst of some cases."""
    for peer, factor in factors.items():
        ratio = min(case[peer] / case["mintws"] for case in cases if peer in case)
        yield f"{ratio:.1f}x {peer}", ratio >= factor


def _batch(results: Results) -> Iterator[tuple[str, bool]]:
    cases = [results.core(part="receive", role="server", kind="ascii", size=size, batch=64) for size in (16, 125)]
    yield from _faster(cases, wsproto=120, websockets=35, aiohttp=5, picows=2)


def _single(results: Results) -> Iterator[tuple[str, bool]]:
    case = results.core(part="receive", role="server", kind="ascii", size=16, batch=1)
    yield from _faster([case], wsproto=30, websockets=10, aiohttp=1, picows=1)


def _large(results: Results) -> Iterator[tuple[str, bool]]:
    cases = [
        results.core(part="receive", role="server", kind=kind, size=size, batch=1)
        for kind in ("ascii", "binary")
        for size in (64 * KIB, MIB)
    ]
    copies = max(case["mintws"] / case["copy"] for case in cases)
    yield f"{copies:.2f} copies", copies <= 1.25
    yield from _faster(cases, picows=5, websockets=5, wsproto=50)


def _send(results: Results) -> Iterator[tuple[str, bool]]:
    cases = [results.core(part="send", role="client", kind="ascii", size=size, batch=1) for size in (16, 125, KIB)]
    yield from _faster(cases, wsproto=40, websockets=15, picows=1 / 1.5)


def _vectored(results: Results) -> Iterator[tuple[str, bool]]:
    small, large = (
        results.core(part="send", role="server", kind="binary", size=size, batch=1)["mintws vectored"]
        for size in (64 * KIB, MIB)
    )
    yield f"{small:.0f} ns for 64 KiB, {large:.0f} ns for 1 MiB", large <= 1.25 * small


def _deflate(results: Results) -> Iterator[tuple[str, bool]]:
    cases = [
        results.core(part="deflate", way=way, size=KIB, level=level) for way in ("send", "receive") for level in (1, 6)
    ]
    yield from _faster(cases, websockets=1.5)
    ours, theirs = (results.memory(name, connections=1000, deflate=True) for name in ("mintws", "websockets"))
    yield f"{ours:.0f} KiB a connection, websockets {theirs:.0f}", ours <= theirs


def _asyncio(results: Results) -> Iterator[tuple[str, bool]]:
    case = results.echo("servers", "32 B, 64 in flight")
    ours = case["mintws asyncio"]
    for peer, factor in (("picows", 4), ("websockets", 10)):
        ratio = case[f"{peer} asyncio"] / ours
        yield f"{ratio:.1f}x {peer}", ratio >= factor
    floor = ours / case["floor asyncio"]
    yield f"{floor:.1f} times the floor", floor <= 3


def _ping_pong(results: Results) -> Iterator[tuple[str, bool]]:
    for part in ("servers", "clients"):
        case = results.echo(part, "32 B, ping-pong")
        for loop in ("asyncio", "uvloop"):
            if f"picows {loop}" in case:
                ours = case[f"mintws {loop}"]
                ratio = ours / case[f"picows {loop}"]
                coroutines = case.get(f"picows.websockets {loop}")
                besides = f", {ours / coroutines:.2f} of its coroutines" if coroutines else ""
                yield f"{part[:-1]} on {loop} {ratio:.2f} of picows{besides}", ratio <= 1


def _http2(results: Results) -> Iterator[tuple[str, bool]]:
    for scenario in ("32 B, 50 streams, ping-pong", "32 B, 50 streams, 8 in flight"):
        case = results.echo("http2", scenario)
        ratio = case["hypercorn asyncio"] / case["mintws asyncio"]
        yield f"{ratio:.1f}x, {scenario.rsplit(', ', 1)[1]} ({case['mintws asyncio']:.1f} us)", ratio >= 5


def _sync(results: Results, part: str, which: int) -> Iterator[tuple[str, bool]]:
    case = results.cpu("sync", part=part, in_flight=list(sync.COUNTS)[which])
    for name, aims in sync.TARGETS.items():
        if name in case:
            ratio, batch = (case[it] / case[name] for it in ("mintws", "mintws, batch"))
            besides = f" ({batch:.2f} in a batch)" if which else ""
            yield f"{part[:-1]} {ratio:.2f} of {name}{besides}", ratio <= aims[which]


def _sync_ping_pong(results: Results) -> Iterator[tuple[str, bool]]:
    for part in ("clients", "servers"):
        yield from _sync(results, part, 0)


def _sync_in_flight(results: Results) -> Iterator[tuple[str, bool]]:
    for part in ("clients", "servers"):
        yield from _sync(results, part, 1)


def _trio(results: Results) -> Iterator[tuple[str, bool]]:
    for in_flight, aim in on_trio.TARGETS.items():
        case = results.cpu("trio", in_flight=in_flight)
        for name, most in (("floor", aim), ("trio-websocket", on_trio.OF_TRIO_WEBSOCKET)):
            if name in case:
                ratio = case["mintws"] / case[name]
                yield f"{in_flight} in flight {ratio:.2f} of {name}", ratio <= most


def _broadcast(results: Results) -> Iterator[tuple[str, bool]]:
    scenario = f"{fanout.MEMBERS} receivers, {fanout.TEXT_SIZE} B, "
    for what, peer, most in (("without compression", "picows", 1.0), ("permessage-deflate", "websockets", 0.45)):
        case = results.cpu("fanout", part="broadcast", scenario=scenario + what)
        ratio = case["mintws asyncio"] / case[f"{peer} asyncio"]
        yield f"{what} {ratio:.2f} of {peer}", ratio <= most


def _idle(results: Results) -> Iterator[tuple[str, bool]]:
    ours, floor = (results.memory(name, connections=1000, deflate=False) for name in ("mintws", "floor"))
    yield f"{ours - floor:.1f} KiB above the floor's {floor:.1f}", ours - floor <= 4


def _deflated(results: Results) -> Iterator[tuple[str, bool]]:
    ours = results.memory("mintws", connections=1000, deflate=True)
    yield f"{ours:.0f} KiB", ours <= 64


TARGETS: list[tuple[str, str, Callable[[Results], Iterator[tuple[str, bool]]]]] = [
    (
        "receive 16-125 B of masked text, 64 in a chunk, through `Http1(...).receive`",
        "120x wsproto, 35x websockets, 5x aiohttp, 2x picows",
        _batch,
    ),
    ("receive one message of 16 B a call", "30x wsproto, 10x websockets, 1x aiohttp and picows", _single),
    (
        "receive 64 KiB to 1 MiB as a server, text and binary",
        "1.25 copies; 5x picows and websockets, 50x wsproto",
        _large,
    ),
    ("send 16 B to 1 KiB as a client, through `Connection.send`", "40x wsproto, 15x websockets, 0.67x picows", _send),
    ("send 64 KiB to 1 MiB as a server, by `send_vectored`", "no copy: the same for any size", _vectored),
    (
        "permessage-deflate, 1 KiB of JSON, levels 1 and 6, both ways",
        "1.5x websockets, at no more memory",
        _deflate,
    ),
    (
        "asyncio echo server, 32 B, 64 in flight",
        "4x picows, 10x websockets, 3 times the floor",
        _asyncio,
    ),
    ("asyncio echo, 32 B, ping-pong", "not above picows", _ping_pong),
    ("HTTP/2 echo server, 32 B on 50 streams", "5x hypercorn", _http2),
    (
        "threads, 32 B, ping-pong",
        "1.15 of a bare loop of sockets, 0.5 of websocket-client, 0.4 of websockets",
        _sync_ping_pong,
    ),
    (
        "threads, 32 B, 64 in flight",
        "1.7 of a bare loop of sockets, 0.5 of websocket-client, 0.4 of websockets",
        _sync_in_flight,
    ),
    (
        "trio echo server, 32 B",
        "1.3 of the floor in ping-pong, 1.6 with 64 in flight; 0.2 of trio-websocket",
        _trio,
    ),
    (
        "broadcast of 1 KiB to 1,000 clients on asyncio",
        "not above picows; with permessage-deflate 0.45 of websockets",
        _broadcast,
    ),
    ("memory of an idle connection, no compression", "4 KiB above the floor", _idle),
    ("memory of a connection that has used permessage-deflate once", "64 KiB", _deflated),
]
