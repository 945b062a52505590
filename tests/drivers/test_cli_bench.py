"""`mintws bench`, and the times and histograms that it prints."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from drivers.command import BOUND, MINTWS, posix, serving, terminal
from drivers.conftest import listening, url
from hypothesis import example, given
from hypothesis import strategies as st

from mintws.cli.histogram import as_svg, as_text
from mintws.cli.latencies import Latencies, shown


def bench(*arguments: str, code: int = 0) -> tuple[list[str], str]:
    """Run the command; return its lines, and what it says besides."""
    command = [*MINTWS, "bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * BOUND, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines(), done.stderr


def answered(lines: list[str]) -> int:
    """How many messages were answered; the bars of the histogram have as many."""
    (count,) = [
        int(found[1].replace(",", ""))
        for line in lines
        if (found := re.match(r"([\d,]+) messages were answered", line))
    ]
    bars = [int(line.split()[-1].replace(",", "")) for line in lines if re.match(r" *\S+ (us|ms|s) - ", line)]
    assert sum(bars) == count
    return count


def test_answers_are_counted_and_timed(http: str) -> None:
    with serving() as (_, port):
        lines, said = bench(f"localhost:{port}", "--http", http, "-d", "0.5", "-c", "3", "--in-flight", "4")
    assert lines[0].startswith(f"3 WebSockets over HTTP/{http}, opened in ")
    assert answered(lines) >= 12
    assert said == ""
    assert max(map(len, lines[1:])) <= 80
    times = [line.split()[0] for line in lines if re.match(r" *(shortest|mean|[\d.]+ %|longest)  ", line)]
    assert times == ["shortest", "mean", "50", "75", "90", "99", "99.9", "longest"]


def test_many_share_a_connection(run: Callable[..., object]) -> None:
    async def work():
        seen = set()

        async def echo(websocket):
            seen.add(websocket.transport.get_extra_info("peername"))
            async for message in websocket:
                await websocket.send(message)

        async with listening(echo) as server:
            arguments = [url(server), "--http", "2", "--shared", "-c", "60", "-d", "0.3"]
            lines, _ = await asyncio.to_thread(bench, *arguments)
            assert lines[0].startswith("60 WebSockets over HTTP/2 on one connection")
            assert len(seen) == 1

    run(work())


def test_sizes_come_in_turn(run: Callable[..., object], http: str) -> None:
    async def work():
        sizes = []

        async def echo(websocket):
            async for message in websocket:
                assert isinstance(message, bytes)
                sizes.append(len(message))
                await websocket.send(message)

        async with listening(echo) as server:
            await asyncio.to_thread(bench, url(server), "--http", http, "-d", "0.3", "-s", "1", "-s", "2K", "--binary")
            assert sizes[:4] == [1, 2048, 1, 2048]

    run(work())


def test_a_rate_is_kept() -> None:
    with serving() as (_, port):
        lines, _ = bench(f"localhost:{port}", "-c", "2", "-d", "1", "--rate", "50")
    # What is due is sent, though it may be late.
    assert answered(lines) == 50


def test_a_stall_is_seen_in_all_that_it_delays(run: Callable[..., object]) -> None:
    async def stall(websocket):
        async for message in websocket:
            if websocket.app is None:
                websocket.app = "has stalled"
                await asyncio.sleep(1.5)
            await websocket.send(message)

    async def work():
        async with listening(stall) as server:
            lines, _ = await asyncio.to_thread(bench, url(server), "-d", "2", "--rate", "50")
            assert answered(lines) == 100
            (median,) = [line for line in lines if line.strip().startswith("50 %")]
            # Three quarters were due while it stalled.
            assert float(re.findall(r"[\d.]+", median)[1]) * (1 if median.endswith("ms") else 1000) > 100

    run(work())


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("another", "answers were not what was sent"),
        ("none", "messages were not answered"),
        ("close", "closed with 4000"),
    ],
)
def test_a_server_that_does_not_echo_is_told(run: Callable[..., object], http: str, answer: str, fault: str) -> None:
    async def serve(websocket):
        async for message in websocket:
            if answer == "another":
                await websocket.send(message[:-1] + "!")
            elif answer == "close":
                await websocket.close(4000)

    async def work():
        async with listening(serve) as server:
            _, said = await asyncio.to_thread(bench, url(server), "--http", http, "-d", "0.3", code=1)
            assert fault in said

    run(work())


def test_what_cannot_be_reached_or_is_wrong_usage_is_told() -> None:
    with serving() as (server, port):
        server.kill()
        server.wait(BOUND)
        assert "cannot connect: connection refused" in bench(f"localhost:{port}", code=1)[1]
    for arguments in (
        ["ws://localhost/#a"],
        ["localhost", "--shared"],
        ["localhost", "--rate", "0"],
        ["localhost", "-c", "0"],
    ):
        bench(*arguments, code=2)


@posix
def test_ctrl_c_ends_the_measurement_and_prints_it(run: Callable[..., object]) -> None:
    async def work():
        begun = asyncio.Event()

        async def echo(websocket):
            async for message in websocket:
                await websocket.send(message)
                begun.set()

        async with listening(echo) as server:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *MINTWS, "bench", url(server), "-d", "inf", stdout=pipe, stderr=pipe
            )
            await begun.wait()
            process.send_signal(signal.SIGINT)
            printed, said = await process.communicate()
            assert process.returncode == 0, said
            assert answered(printed.decode().splitlines()) > 0

    run(work())


@posix
def test_a_terminal_has_a_bar_while_it_measures() -> None:
    with serving() as (_, port), terminal(f"localhost:{port}", "-d", "2", command="bench") as screen:
        bar = screen.wait_for_any("messages/s")
        assert any(re.match(r"\[[█·]{30}\] \d+\.\d s, [\d,]+ messages/s", line) for line in bar)
        lines = screen.wait_for_any("longest")
        assert not any("messages/s" in line for line in lines)
        assert screen.process.wait(BOUND) == 0


def test_the_histogram_is_written_as_svg(tmp_path: Path) -> None:
    file = tmp_path / "latency.svg"
    with serving() as (_, port):
        lines, _ = bench(f"localhost:{port}", "-d", "0.3", "--svg", str(file))
        drawn = ET.fromstring(file.read_text(encoding="utf-8"))
        assert (
            "cannot write" in bench(f"localhost:{port}", "-d", "0.1", "--svg", str(tmp_path / "no" / "such"), code=1)[1]
        )
    counts = [it.text or "" for it in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert sum(int(it.replace(",", "")) for it in counts if re.fullmatch(r"[\d,]+", it)) == answered(lines)


TIMES = st.lists(st.floats(1e-7, 1e4), min_size=1)


@given(TIMES, st.floats(0.1, 100))
def test_percentiles_are_right_to_one_percent(times: list[float], percent: float) -> None:
    measured = Latencies()
    for one in times:
        measured.add(one)
    exact = sorted(times)[max(0, -int(-len(times) * percent // 100) - 1)]
    assert exact * 0.989 <= measured.percentile(percent) <= exact * 1.011


@given(TIMES)
@example([9999.999999999998])
def test_histograms_have_all_times_in_few_bars(times: list[float]) -> None:
    measured = Latencies()
    for one in times:
        measured.add(one)
    bars = measured.bars()
    assert sum(bar.times for bar in bars) == len(times)
    assert len(bars) <= 40
    for bar in bars:
        near = sum(bar.low * 0.99 <= it < bar.high * 1.01 for it in times)
        assert bar.times <= near
    assert all(len(line) <= 80 for line in as_text(measured))
    ET.fromstring(as_svg(measured, "<&>", ["a & b"]))


def test_times_are_shown_with_their_units() -> None:
    assert [shown(it) for it in (1e-6, 0.0009999, 0.00123456, 0.5, 12.0)] == [
        "1 us",
        "1 ms",
        "1.23 ms",
        "500 ms",
        "12 s",
    ]
