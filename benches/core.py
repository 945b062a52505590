"""The cores alone, without a socket: `python benches/core.py [--full] [--only PART]`, in nanoseconds a message.

Parts: receive, send, cut, deflate. Each case is a batch of messages in one chunk. Ours is `Http1(...).receive` and `Connection.send`, as
users call them; the others are in `peers.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from types import FunctionType
from typing import Any, TypeAlias

import measure
import peers
from peers import CLIENT, PEERS, SERVER, Peer, frame

KIB, MIB = 1024, 1024 * 1024
UNITS = {
    "ascii": '{"id":4711,"symbol":"BTC-USD","price":64000.25,"size":0.5},',
    "cyrillic": "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
    "emoji": "🙂👍🏽🎉🦀🐍🌍🚀✨",
}
#: Seconds that one sample takes, about.
SAMPLE = 0.004


def text(kind: str, size: int) -> str:
    """Make text of about so many bytes: a character is never cut."""
    unit = UNITS[kind]
    raw = (unit * (size // len(unit.encode()) + 1)).encode()[:size]
    return raw.decode(errors="ignore")


def payload(kind: str, size: int) -> str | bytes:
    return bytes(range(256)) * (size // 256) + bytes(range(size % 256)) if kind == "binary" else text(kind, size)


def timer(call: Callable[[Any], Any], arguments: list[Any], messages: int) -> Callable[[], float]:
    """Make a function that gives the nanoseconds a message of `call`, over all `arguments`, as often as a sample lasts.

    They are nanoseconds of the processor: what else runs on the machine does not count, nor does what the loop costs, and where `call` is a
    function of these benchmarks, what calling it costs.
    """
    longer = max(1, 64 // len(arguments))
    repeated = arguments * longer

    def once(rounds: int) -> float:
        start = time.thread_time()
        for _ in range(rounds):
            for argument in repeated:
                call(argument)
        return time.thread_time() - start

    first = _once(call, arguments)
    rounds = max(1, int(SAMPLE / max(min(first, _once(call, arguments)), 1e-9) / longer))
    if first > SAMPLE:
        return lambda: _once(call, arguments) / messages * 1e9
    overhead = _overhead(isinstance(call, FunctionType)) * len(arguments)
    return lambda: (once(rounds) / rounds / longer - overhead) / messages * 1e9


def _once(call: Callable[[Any], Any], arguments: list[Any]) -> float:
    start = time.thread_time()
    for argument in arguments:
        call(argument)
    return time.thread_time() - start


@cache
def _overhead(wrapped: bool) -> float:
    """What a turn of the loop costs, with or without calling a function of our own."""
    nothing: Callable[[Any], Any] = lambda _: None  # noqa: E731
    arguments = [None] * 20_000

    def bare() -> float:
        start = time.thread_time()
        for _ in arguments:
            pass
        return time.thread_time() - start

    return min(_once(nothing, arguments) if wrapped else bare() for _ in range(20)) / len(arguments)


#: A case, and for each library what makes its timer.
Case: TypeAlias = tuple[dict[str, Any], dict[str, Callable[[], Callable[[], float]]]]


class Suite:
    """Cases, measured by turns and printed as they come."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.rows: list[dict[str, Any]] = []

    def measure(self, part: str, title: str, cases: list[Case]) -> None:
        table: dict[str, dict[str, float]] = {}
        for case, makers in cases:
            timers = {name: make() for name, make in makers.items()}
            results = measure.interleave(timers, self.rounds)
            if "picows put" in results:
                put = results.pop("picows put")
                results["picows"] = {key: max(results["picows"][key] - put[key], 0.1) for key in put}
            rounded = {name: {key: round(ns, 1) for key, ns in result.items()} for name, result in results.items()}
            self.rows.append({"part": part, **case, "ns": rounded})
            label = " ".join(str(value) for value in case.values())
            table[label] = {name: result["min"] for name, result in results.items()}
        if table:
            measure.table(title, table, "ns a message; times the first")


def receive(full: bool) -> Iterator[Case]:
    """Chunks in, finished objects out."""
    sizes = [16, 125, KIB, 16 * KIB, 64 * KIB, MIB, 16 * MIB] if full else [16, 125, KIB, 64 * KIB, MIB]
    kinds = ["ascii", "cyrillic", "emoji", "binary"] if full else ["ascii", "binary"]
    for role in (SERVER, CLIENT):
        for kind in kinds:
            for size in sizes:
                for batch in (1, 64):
                    quick = role is SERVER or (kind == "ascii" and size == 16)
                    if (batch > 1 and size > 16 * KIB) or not (full or quick):
                        continue
                    yield _receive(role, kind, size, batch)
    if not full:
        yield _receive(SERVER, "cyrillic", KIB, 1)
        yield _receive(SERVER, "emoji", KIB, 1)


def _receive(role: str, kind: str, size: int, batch: int) -> Case:
    data = payload(kind, size)
    raw = data if isinstance(data, bytes) else data.encode()
    chunk = frame(raw, kind, role) * batch

    def make(peer: Peer) -> Callable[[], Any]:
        return lambda: timer(peer.receiver(role, kind), [chunk], batch)

    makers = {peer.name: make(peer) for peer in PEERS if measure.installed(peer.name) or peer.name == "copy"}
    if "picows" in makers:
        picows = next(peer for peer in PEERS if peer.name == "picows")
        put = picows.overhead(role, chunk)
        assert put is not None
        makers["picows put"] = lambda: timer(lambda _: put(), [None], batch)
    return {"role": role, "kind": kind, "size": size, "batch": batch}, makers


def cut(full: bool) -> Iterator[Case]:
    """The same bytes in pieces that end anywhere: Ethernet's 1460 bytes, a read of 64 KiB and one byte more."""
    cases = [("ascii", 125, 64, 1000), ("binary", 64 * KIB, 1, 1460), ("ascii", MIB, 1, 65537)]
    if full:
        cases += [("cyrillic", 64 * KIB, 1, 1460), ("binary", MIB, 1, 1460), ("binary", 16 * MIB, 1, 65537)]
    for kind, size, batch, piece in cases:
        data = payload(kind, size)
        whole = frame(data if isinstance(data, bytes) else data.encode(), kind, SERVER) * batch
        pieces = [whole[at : at + piece] for at in range(0, len(whole), piece)]

        def make(peer: Peer, kind: str = kind, pieces: list[bytes] = pieces, batch: int = batch) -> Callable[[], Any]:
            return lambda: timer(peer.receiver(SERVER, kind), pieces, batch)

        # picows is left out: its buffer is filled by the transport, so there is no chunk to hand it.
        makers = {peer.name: make(peer) for peer in PEERS if peer.name != "picows"}
        yield {"role": SERVER, "kind": kind, "size": size, "batch": batch, "piece": piece}, makers


def send(full: bool) -> Iterator[Case]:
    """A `str` or `bytes` in, the bytes for the transport out."""
    sizes = [16, 125, KIB, 16 * KIB, 64 * KIB, MIB, 16 * MIB] if full else [16, 125, KIB, 64 * KIB, MIB]
    kinds = ["ascii", "cyrillic", "emoji", "binary"] if full else ["ascii", "binary"]
    for role in (CLIENT, SERVER):
        for kind in kinds:
            for size in sizes:
                if not full and (kind == "binary") != (size > KIB):
                    continue
                yield _send(role, kind, size)
                if size <= KIB:
                    yield _send_many(role, kind, size)


def _send(role: str, kind: str, size: int) -> Case:
    data = payload(kind, size)

    def make(peer: Peer) -> Callable[[], Any]:
        return lambda: timer(peer.sender(role, kind), [data], 1)

    makers = {peer.name: make(peer) for peer in PEERS}
    if role is SERVER and size >= 16 * KIB:
        ours = peers.Mintws()
        makers["mintws vectored"] = lambda: timer(ours.vectored(role, kind), [data], 1)
    return {"role": role, "kind": kind, "size": size, "batch": 1}, makers


def _send_many(role: str, kind: str, size: int) -> Case:
    """64 messages into one write: `send_many`, and for the others as many sends; joining is not counted against them."""
    data = [payload(kind, size)] * 64

    def make(peer: Peer) -> Callable[[], Any]:
        return lambda: timer(peer.sender(role, kind), data, 64)

    ours = peers.Mintws()
    makers: dict[str, Callable[[], Any]] = {"mintws": lambda: timer(ours.many(role, kind), [data], 64)}
    makers |= {peer.name: make(peer) for peer in PEERS if peer.name != "mintws"}
    return {"role": role, "kind": kind, "size": size, "batch": 64}, makers


def deflate(full: bool) -> Iterator[Case]:
    """JSON with permessage-deflate and context takeover, windows of 12 bits and memory level 5, level for level."""
    for size in (KIB, 16 * KIB):
        documents = [_json(size, seed) for seed in range(64 if size == KIB else 16)]
        raw = [document.encode() for document in documents]
        for level in (1, 4, 6, 9) if full else (1, 6):
            fitting = [peer for peer in PEERS if peer.level in (None, level) and peer.name != "copy"]

            def compress(peer: Peer, level: int = level, documents: list[str] = documents) -> Callable[[], Any]:
                return lambda: timer(peer.deflating(CLIENT, level)[1], documents, len(documents))

            yield {"way": "send", "size": size, "level": level}, {peer.name: compress(peer) for peer in fitting}

            def inflate(peer: Peer, level: int = level, raw: list[bytes] = raw) -> Callable[[], Any]:
                # The stream is decoded from its beginning again and again, so nothing may refer to what stood before it.
                frames = peers.deflated(raw, SERVER, level)
                return lambda: timer(peer.deflating(SERVER, level)[0], frames, len(frames))

            yield {"way": "receive", "size": size, "level": level}, {peer.name: inflate(peer) for peer in fitting}


def _json(size: int, seed: int) -> str:
    """JSON as a feed of prices has it: the same keys, other values."""
    state, rows = seed * 7919 + 1, []
    while len(json.dumps(rows)) < size:
        state = (state * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
        side = ("buy", "sell")[state >> 31]
        rows.append(
            {
                "id": state,
                "symbol": f"S{state >> 24}-USD",
                "side": side,
                "price": (state >> 8) / 100,
                "size": state % 977,
            }
        )
    return json.dumps(rows)[:size]


PARTS: dict[str, tuple[str, Any]] = {
    "receive": ("receive, messages of one chunk", receive),
    "cut": ("receive, chunks cut anywhere", cut),
    "send": ("send", send),
    "deflate": ("permessage-deflate, JSON", deflate),
}


def run(*, full: bool, only: str | None = None) -> list[dict[str, Any]]:
    """Measure and print all parts, or one."""
    os.sched_setaffinity(0, {measure.CORES[0]})
    suite = Suite(15 if full else 5)
    for name, (title, cases) in PARTS.items():
        if only in (None, name):
            suite.measure(name, title, list(cases(full)))
    return suite.rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    args = parser.parse_args()
    print(measure.describe(measure.machine()))
    rows = run(full=args.full, only=args.only)
    if args.only is None:
        measure.keep("core", rows, full=args.full)


if __name__ == "__main__":
    sys.exit(main())
