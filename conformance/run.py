"""Run Autobahn|Testsuite against mintws: as server and as client, over HTTP/1.1 and over HTTP/2.

    python conformance/run.py                                   all cases in all four columns
    python conformance/run.py --fast                            only cases that take little time
    python conformance/run.py --driver                          against the driver for asyncio
    python conformance/run.py --columns server-2 --cases '9.*' 12.1.1

The suite speaks HTTP/1.1; over HTTP/2 `relay.py` stands between. What comes out is compared with `expected.json`: a worse verdict than
the one recorded, or none, fails the run. Below `.cache/autobahn/report` are the suite's page of each case and `report.html`, which has
the columns side by side.
"""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import report
import setup
from report import Verdict

HERE = Path(__file__).resolve().parent
OUT = setup.CACHE / "report"
EXPECTED = HERE / "expected.json"
HOST = "127.0.0.1"

#: A column of the report: which end is under test, over which version of HTTP.
COLUMNS = {
    "server-1.1": ("server", "1.1"),
    "server-2": ("server", "2"),
    "client-1.1": ("client", "1.1"),
    "client-2": ("client", "2"),
}
FAST = ("[1-7].*", "10.*", "9.[12].[1-4]", "9.[78].[1-6]", "1[23].*.[1-5]", "1[23].*.11")

#: The cases of one batch are to take about so many seconds: enough to make up for starting its processes, few enough to deal evenly.
BATCH_SECONDS = 30.0
#: How much longer than thought a batch may take: the machine may be slow, and busy.
PATIENCE = 20
#: Seconds that the suite has to end after the client that it tests.
GRACE = 10.0
#: Bytes of a message in the cases 12.*.1 to 12.*.18, and 13: each has a thousand messages.
LENGTHS = [16 << shift for shift in (0, 2, 4, 6, 8, 9, 10, 11, 12, 13, 9, 10, 11, 12, 13, 13, 13, 13)]
#: Seconds for those of 128 KiB; all others of these groups send JSON.
SECONDS = {"12.2": 12.0, "12.3": 14.0, "12.4": 4.0, "12.5": 9.0}
JSON_SECONDS = 3.5


@dataclass
class Batch:
    """Cases that run one after the other, in processes of their own."""

    column: str
    number: int = 0
    cases: list[str] = field(default_factory=list)
    #: How long they are thought to take.
    seconds: float = 0.0
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return OUT / self.column / f"batch-{self.number:02}"

    def read(self) -> None:
        """Read the verdicts that the suite has written, and tell what our own processes complained of."""
        noted = self.folder / "verdicts.jsonl"
        for line in noted.read_text().splitlines() if noted.exists() else []:
            verdict = json.loads(line)
            page = (self.folder / verdict["page"]).relative_to(OUT)
            self.verdicts[verdict["case"]] = Verdict(**verdict | {"page": str(page)})
        for log in self.folder.glob("[er]*.log"):
            if said := log.read_text().splitlines():
                print(f"{log.relative_to(OUT)}: {said[-1]}", flush=True)


def main() -> None:
    options = parse()
    python27 = setup.setup()
    known = list_cases(python27)
    cases = [it for it in known if matches(it, options.cases) and (not options.fast or matches(it, FAST))]
    if not cases:
        raise SystemExit("no case matches")
    shutil.rmtree(OUT, ignore_errors=True)
    batches = [batch for column in options.columns for batch in deal(column, cases)]
    batches.sort(key=lambda it: -it.seconds)
    began = time.monotonic()
    ended = "took"
    # Asked to end, tell what there is, and leave no process behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run = Run(python27, began + options.limit, each=options.each, driver=options.driver)
        asyncio.run(run.all(batches, options.jobs))
    except KeyboardInterrupt:
        ended = "was interrupted after"
    took = time.monotonic() - began

    verdicts: dict[str, dict[str, Verdict]] = {column: {} for column in options.columns}
    for batch in batches:
        verdicts[batch.column] |= batch.verdicts
    whole = len(cases) == len(known)
    if options.record and whole and len(options.columns) == len(COLUMNS):
        EXPECTED.write_text(report.record(verdicts, cases))
    worse = report.compare(verdicts, cases, json.loads(EXPECTED.read_text()), whole=whole)
    report.write_page(OUT / "report.html", verdicts, cases, worse)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    for line in worse:
        print(f"worse than recorded: {line}")
    print(f"pages: {OUT / 'report.html'}")
    processors = used.ru_utime + used.ru_stime
    print(f"{ended} {took:.0f} s, and {processors:.0f} s of processors, {options.jobs} batches at a time")
    print(report.table(verdicts, cases))
    sys.exit(1 if worse else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", nargs="+", choices=list(COLUMNS), default=list(COLUMNS))
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="PATTERN")
    parser.add_argument("--fast", action="store_true", help="only cases that take little time")
    jobs = (os.cpu_count() or 1) + 1
    parser.add_argument("--jobs", type=int, default=jobs, help=f"how many batches run at a time: {jobs} unless given")
    parser.add_argument("--limit", type=float, default=3000.0, help="seconds for the whole run")
    parser.add_argument("--each", action="store_true", help="over HTTP/2 a connection for each case, not one for many")
    parser.add_argument(
        "--driver", action="store_true", help="test mintws.asyncio, not mintws on transports of its own"
    )
    parser.add_argument("--record", action="store_true", help=f"write {EXPECTED.name} anew, after a whole run")
    return parser.parse_args()


def list_cases(python27: Path) -> list[str]:
    """Ask the suite for the ids of its cases."""
    command: list[str | Path] = [python27, HERE / "suite.py", "list"]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=setup.environment(), timeout=60)
    cases: list[str] = json.loads(answer.stdout)
    return cases


def matches(case: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns)


def deal(column: str, cases: Sequence[str]) -> list[Batch]:
    """Deal cases to batches of about the same length, longest cases first."""
    batches: list[Batch] = []
    for case in sorted(cases, key=lambda it: -weigh(it)):
        batch = next((it for it in batches if it.seconds + weigh(case) <= BATCH_SECONDS), None)
        if batch is None:
            batch = Batch(column, len(batches))
            batches.append(batch)
        batch.cases.append(case)
        batch.seconds += weigh(case)
    return batches


def weigh(case: str) -> float:
    """Tell about how many seconds a case takes."""
    group, section, *rest = case.split(".")
    if group in ("12", "13"):
        variant = int(rest[0])
        share = LENGTHS[variant - 1] / LENGTHS[9]
        if 11 <= variant <= 15:
            # These are sent in fragments of 256 bytes.
            share *= 1.4
        return 0.7 + share * SECONDS.get(f"{group}.{section}", JSON_SECONDS)
    return 0.7 if group == "9" else 0.1


class Run:
    """Runs batches, each in its own processes, and ends what it has started."""

    def __init__(self, python27: Path, deadline: float, *, each: bool, driver: bool) -> None:
        self._python27 = python27
        self._deadline = deadline
        self._each = ["--each"] if each else []
        self._driver = ["--driver"] if driver else []

    async def all(self, batches: Sequence[Batch], jobs: int) -> None:
        """Run batches in their order, so many at a time; none begins after the deadline."""
        todo = iter(enumerate(batches, 1))

        async def work() -> None:
            for place, batch in todo:
                began = time.monotonic()
                seconds = min(self._deadline - began, 60 + PATIENCE * batch.seconds)
                ended = "was not begun" if seconds <= 0 else await self._bounded(batch, seconds)
                done = f"{len(batch.verdicts)} of {len(batch.cases)} cases {ended} in {time.monotonic() - began:.0f} s"
                print(f"[{place}/{len(batches)}] {batch.column} batch {batch.number}: {done}", flush=True)

        async with AsyncExitStack() as stack:
            workers = [asyncio.create_task(work()) for _ in range(jobs)]
            for worker in workers:
                stack.callback(worker.cancel)
            await asyncio.gather(*workers)

    async def _bounded(self, batch: Batch, seconds: float) -> str:
        batch.folder.mkdir(parents=True)
        try:
            await asyncio.wait_for(self._batch(batch, int(seconds) + 10), seconds)
        except asyncio.TimeoutError:
            return "was stopped"
        finally:
            batch.read()
        return "ended"

    async def _batch(self, batch: Batch, limit: int) -> None:
        role, http = COLUMNS[batch.column]
        async with AsyncExitStack() as stack:
            start = Starter(stack, batch, limit)
            if role == "server":
                await self._test_server(start, http)
            else:
                await self._test_client(start, http, len(batch.cases), batch.column)

    async def _test_server(self, start: Starter, http: str) -> None:
        """Let the suite connect to the server, over HTTP/2 through a relay."""
        listener, port = listen()
        await start.ours("endpoints", "server", "--http", http, *self._driver, listener=listener)
        if http == "2":
            between, between_port = listen()
            await start.ours("relay", "1.1", "--to", port, *self._each, listener=between)
            port = between_port
        suite = await start.suite(self._python27, "client", port)
        await suite.wait()

    async def _test_client(self, start: Starter, http: str, count: int, agent: str) -> None:
        """Let the client connect to the suite, over HTTP/2 through a relay."""
        listener, port = listen()
        suite = await start.suite(self._python27, "server", port, listener=listener)
        if http == "2":
            between, between_port = listen()
            await start.ours("relay", "2", "--to", port, listener=between)
            port = between_port
        cases = ["--count", count, "--agent", agent, *self._each, *self._driver]
        client = await start.ours("endpoints", "client", "--http", http, "--port", port, *cases)
        await client.wait()
        await asyncio.wait_for(suite.wait(), GRACE)


class Starter:
    """Starts the processes of a batch and ends them when `stack` ends; after `limit` seconds they end by themselves."""

    def __init__(self, stack: AsyncExitStack, batch: Batch, limit: int) -> None:
        self._stack = stack
        self._batch = batch
        self._limit = limit

    async def ours(self, script: str, *arguments: object, listener: socket.socket | None = None) -> Process:
        """Start a script of this folder."""
        bounds = ["--limit", self._limit] + ([] if listener is None else ["--fd"])
        return await self._start(script, sys.executable, HERE / f"{script}.py", *arguments, *bounds, listener=listener)

    async def suite(self, python27: Path, role: str, port: int, listener: socket.socket | None = None) -> Process:
        """Start the suite as a client of `port`, or as its server."""
        spec = write_spec(self._batch, port, self._limit)
        return await self._start("suite", python27, HERE / "suite.py", role, spec, listener=listener)

    async def _start(self, name: str, *command: object, listener: socket.socket | None) -> Process:
        """Start a command and hand it the socket that it listens on, whose number is its last word."""
        inherited = [] if listener is None else [listener.fileno()]
        with (self._batch.folder / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *[str(word) for word in (*command, *inherited)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=setup.environment() if name == "suite" else None,
                pass_fds=inherited,
            )
        self._stack.push_async_callback(stop, process)
        if listener:
            listener.close()
        return process


def listen() -> tuple[socket.socket, int]:
    """Listen on a free port of this machine."""
    listener = socket.create_server((HOST, 0))
    return listener, listener.getsockname()[1]


async def stop(process: Process) -> None:
    """End a process that was started here, unless it has ended."""
    if process.returncode is None:
        # Asked to end, the suite would call the case that it is at a failure.
        process.kill()
        await process.wait()


def write_spec(batch: Batch, port: int, limit: int) -> Path:
    """Tell the suite what to run."""
    url = f"ws://{HOST}:{port}"
    spec = {
        "outdir": str(batch.folder),
        "url": url,
        "servers": [{"agent": batch.column, "url": url}],
        "cases": batch.cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
        "options": {"failByDrop": False},
        "limit": limit,
    }
    path = batch.folder / "spec.json"
    path.write_text(json.dumps(spec, indent=2))
    return path


if __name__ == "__main__":
    main()
