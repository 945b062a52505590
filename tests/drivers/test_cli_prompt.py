"""`mintws connect` on a terminal, with its prompt and without."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from drivers.command import BOUND, Terminal, posix, serving, terminal
from drivers.conftest import listening, url

from mintws import ConnectionClosed

termios = pytest.importorskip("termios")
pytestmark = posix

PLAIN = "prompt_toolkit"


def flags(terminal: Terminal) -> int:
    """The local flags of the terminal: whether it edits lines and echoes."""
    return int(termios.tcgetattr(terminal._ours)[3])


def test_lines_are_sent_and_messages_stand_above_the_prompt(http: str) -> None:
    with serving() as (_, port), terminal(f"localhost:{port}", "--http", http) as screen:
        screen.wait_for(">")
        screen.type("hello\r")
        screen.wait_for("> hello", "< hello", ">")
        screen.type("\x04")
        screen.wait_for("mintws: closed with 1000")
        assert screen.process.wait(BOUND) == 0


def test_a_message_leaves_a_line_that_is_being_typed_whole(run: Callable[..., object], http: str) -> None:
    async def work():
        go = asyncio.Event()
        heard = []

        async def talk(websocket):
            await go.wait()
            # What would colour the terminal is shown as it is.
            await websocket.send_many(["\x1b[31mred", *(f"message {i}" for i in range(299))])
            async for message in websocket:
                heard.append(message)

        def type_slowly(address):
            with terminal(address, "--http", http) as screen:
                screen.wait_for(">")
                screen.type("half a ")
                screen.wait_for("> half a")
                loop.call_soon_threadsafe(go.set)
                lines = screen.wait_for("< message 298", "> half a")
                shown = lines[-301:]
                assert shown == ["< \\x1b[31mred", *(f"< message {i}" for i in range(299)), "> half a"]
                screen.type("line\r")
                screen.wait_for("> half a line", ">")
                screen.type("\x04")
                screen.wait_for("mintws: closed with 1000")
                assert screen.process.wait(BOUND) == 0

        loop = asyncio.get_running_loop()
        async with listening(talk) as server:
            await asyncio.to_thread(type_slowly, url(server))
            assert heard == ["half a line"]

    run(work())


def test_lines_are_edited_and_remembered() -> None:
    with serving() as (_, port), terminal(f"localhost:{port}") as screen:
        screen.wait_for(">")
        for line in ("first", "second"):
            screen.type(f"{line}\r")
            screen.wait_for(f"< {line}", ">")
        screen.type("\x1b[A\x1b[A")
        screen.wait_for("> first")
        screen.type("\x1b[D\x1b[D!\r")
        screen.wait_for("< fir!st", ">")


def test_ctrl_c_closes_at_once_though_a_line_is_half_typed(http: str) -> None:
    with serving() as (_, port), terminal(f"localhost:{port}", "--http", http) as screen:
        screen.wait_for(">")
        before = flags(screen)
        screen.type("half")
        screen.wait_for("> half")
        screen.type("\x03")
        screen.wait_for("> half", "mintws: closed with 1000")
        assert screen.process.wait(BOUND) == 0
        assert flags(screen) & (termios.ECHO | termios.ICANON) == termios.ECHO | termios.ICANON
        assert not before & termios.ICANON


def test_a_second_ctrl_c_ends_at_once(run: Callable[..., object]) -> None:
    async def work():
        received = asyncio.Event()

        async def never_close(websocket):
            await received.wait()

        def interrupt(address):
            with terminal(address) as screen:
                screen.wait_for(">")
                loop.call_soon_threadsafe(pause)
                screen.type("\x03")
                # Once the terminal edits lines again, the prompt has gone.
                while not flags(screen) & termios.ICANON:
                    pass
                screen.type("\x03")
                assert screen.process.wait(BOUND) == 130

        def pause():
            for websocket in server.websockets:
                websocket.transport.pause_reading()

        loop = asyncio.get_running_loop()
        async with listening(never_close, close_timeout=0.1) as server:
            await asyncio.to_thread(interrupt, url(server))
            received.set()

    run(work())


def test_sigterm_closes_and_leaves_the_terminal_as_it_was() -> None:
    with serving() as (_, port), terminal(f"localhost:{port}") as screen:
        screen.wait_for(">")
        screen.process.send_signal(signal.SIGTERM)
        screen.wait_for("mintws: closed with 1000")
        assert screen.process.wait(BOUND) == 0
        assert flags(screen) & termios.ICANON


@pytest.mark.parametrize("without", ["", PLAIN])
def test_a_peer_that_dies_is_told_and_what_was_half_typed_is_not_left_to_the_shell(http: str, without: str) -> None:
    with serving() as (server, port), terminal(f"localhost:{port}", "--http", http, without=without) as screen:
        screen.wait_for_any("connected")
        if not without:
            screen.wait_for(">")
        screen.type("rm -rf")
        screen.wait_for_any("rm -rf")
        server.kill()
        assert "rm -rf" in screen.wait_for_any("ended with 1006")[1]
        assert screen.process.wait(BOUND) == 3
        # The next program on this terminal.
        assert left_to_read(screen) == b""


def left_to_read(terminal: Terminal) -> bytes:
    theirs = os.open(os.ttyname(terminal._theirs), os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        attributes: list[Any] = termios.tcgetattr(theirs)
        attributes[3] &= ~termios.ICANON
        attributes[6][termios.VMIN] = 0
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        return os.read(theirs, 100)
    finally:
        os.close(theirs)


def test_commands_ping_and_close(run: Callable[..., object], http: str) -> None:
    async def work():
        heard = []
        ended = asyncio.Queue()

        async def listen(websocket):
            with contextlib.suppress(ConnectionClosed):
                async for message in websocket:
                    heard.append(message)
            await ended.put(websocket.ending)

        def talk(address):
            with terminal(address, "--http", http) as screen:
                screen.wait_for(">")
                screen.type("/ping\r")
                screen.wait_for("mintws: pong after ", ">")
                screen.type("/ping " + "x" * 126 + "\r")
                screen.wait_for_any("125 bytes")
                screen.type("/plan\r")
                screen.wait_for_any("mintws: /plan is no command: there are /ping and /close")
                screen.type("//etc\r")
                screen.wait_for_prompt()
                for wrong, why in (("1005", "may not be sent"), ("70000", "0 to 65535"), ("soon", "not 'soon'")):
                    screen.type(f"/close {wrong}\r")
                    screen.wait_for_any(why)
                    screen.wait_for_prompt()
                screen.type("/close 4000 closed on Mondays\r")
                lines = screen.wait_for("mintws: closed with 4000: closed on Mondays")
                # The next prompt has gone.
                assert lines[-2] == "> /close 4000 closed on Mondays"
                assert screen.process.wait(BOUND) == 0

        async with listening(listen) as server:
            await asyncio.to_thread(talk, url(server))
            ending = await ended.get()
            assert (ending.code, ending.reason) == (4000, "closed on Mondays")
            assert heard == ["/etc"]

    run(work())


def test_frames_are_logged_above_the_prompt(http: str) -> None:
    with serving() as (_, port), terminal(f"localhost:{port}", "--http", http, "-vv") as screen:
        screen.wait_for(">")
        screen.type("hello\r")
        lines = screen.wait_for("< hello", ">")
        sent, received = (next(it for it in lines if way in it) for way in ("sent text", "received text"))
        assert sent.endswith("sent text, 5 bytes: 'hello'")
        assert lines.index("> hello") < lines.index(sent) < lines.index(received) < lines.index("< hello")


def test_without_the_library_a_terminal_works_as_it_is(http: str) -> None:
    with serving() as (_, port):
        with terminal(f"localhost:{port}", "--http", http, without=PLAIN) as screen:
            screen.wait_for("mintws: connected")
            screen.type("hello\r")
            screen.wait_for("hello", "< hello")
            screen.type("\x16\x1b[31mred\r")
            screen.wait_for("< \\x1b[31mred")
            screen.type("/ping\r")
            screen.wait_for("mintws: pong after ")
            screen.type("\x03")
            screen.wait_for_any("closed with 1000")
            assert screen.process.wait(BOUND) == 0
        with terminal(f"localhost:{port}", "--http", http, without=PLAIN) as screen:
            screen.wait_for("mintws: connected")
            screen.type("\x04")
            screen.wait_for("mintws: closed with 1000")
            assert screen.process.wait(BOUND) == 0


def test_a_message_by_argument_needs_no_prompt() -> None:
    with serving() as (_, port), terminal(f"localhost:{port}", "-x", "hello") as screen:
        lines = screen.wait_for("mintws: closed with 1000")
        assert lines[1:-1] == ["hello"]


def test_the_prompt_stays_while_the_connection_is_made_again(run: Callable[..., object], http: str) -> None:
    async def work():
        heard = []

        async def hang_up(websocket):
            async for message in websocket:
                heard.append(message)
                if message == "away":
                    websocket.transport.abort()

        def talk(address):
            with terminal(address, "--http", http, "--reconnect") as screen:
                screen.wait_for(">")
                screen.type("away\rhalf")
                screen.wait_for_any("the next attempt follows")
                screen.wait_for("mintws: connected", "> half")
                screen.type(" a line\r")
                screen.wait_for("> half a line", ">")
                screen.type("\x03")
                screen.wait_for("mintws: closed with 1000")
                assert screen.process.wait(BOUND) == 0

        async with listening(hang_up) as server:
            await asyncio.to_thread(talk, url(server))
            assert heard == ["away", "half a line"]

    run(work())
