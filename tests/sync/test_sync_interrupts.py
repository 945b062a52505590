"""A signal interrupts a call that waits at once, and loses, doubles and reorders nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from drivers.raw import blocking_server
from sync.conftest import SOON, Interrupted, accepting, by_hand, interruption, listening, taking_later, until, url

import mintws
from mintws import ConnectionClosed, State, Text
from mintws.events import Response
from mintws.sync import connect, connect_http2

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


#: The folder of its code. A clone may have the same name.
DRIVER = os.path.dirname(mintws.__file__) + os.sep


def interrupted(call: Callable[[], object], after: float = 0.05) -> None:
    """Check that a signal ends a call that would wait for long."""
    with interruption():
        begin = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, after)
        with pytest.raises(Interrupted):
            call()
        assert time.monotonic() - begin < SOON / 2


def test_calls_that_wait_are_interrupted_and_go_on_after_it(http):
    with listening() as server, connect(url(server), http=http) as websocket:
        interrupted(websocket.recv)
        interrupted(lambda: websocket.recv(SOON))
        interrupted(lambda: next(websocket))
        interrupted(websocket.wait_closed)
        interrupted(server.wait_closed)
        websocket.send("one")
        assert websocket.recv(SOON) == "one"
        assert not websocket._awaited


def test_a_ping_and_a_close_are_interrupted(http):
    end = threading.Event()
    with blocking_server(accepting(http, lambda sock, connection: end.wait(SOON))) as port:
        websocket = connect(f"ws://127.0.0.1:{port}", http=http, close_timeout=1.0).open()
        interrupted(websocket.ping)
        interrupted(websocket.close)
        websocket.wait_closed(SOON)
        assert websocket.close_code == 1006
        end.set()


def test_a_send_is_interrupted_and_goes_out_once(http):
    large = bytes(16 << 20)
    with taking_later(http) as (place, begin, got):
        with connect(place, http=http, extensions=()) as websocket:
            interrupted(lambda: websocket.send(large), 0.3)
            begin.set()
            websocket.send("after", timeout=SOON)
        until(lambda: len(got) == 2)
    assert got == [large, "after"]


@pytest.mark.parametrize("call", [connect, connect_http2])
def test_an_opening_is_interrupted(call):
    end = threading.Event()
    with blocking_server(lambda sock: end.wait(SOON)) as port:
        interrupted(call(f"ws://127.0.0.1:{port}").open)
        end.set()


def test_a_request_is_interrupted_and_taken_back():
    end = threading.Event()
    with listening(respond=lambda request: end.wait(SOON)) as server, connect_http2(url(server)) as client:
        interrupted(lambda: client.request("GET", "/"))
        websocket = client.open()
        websocket.send("well")
        assert websocket.recv(SOON) == "well"
        end.set()


def test_closing_a_server_is_interrupted_and_cuts_off_what_is_left():
    with (
        listening(lambda websocket: websocket.wait_closed(), close_timeout=SOON) as server,
        by_hand(server) as (sock, _),
    ):
        until(lambda: server.websockets)
        interrupted(server.close)
        while sock.recv(100):
            pass


def test_the_end_of_the_block_does_not_wait_after_ctrl_c(http):
    end = threading.Event()
    with blocking_server(accepting(http, lambda sock, connection: end.wait(SOON))) as port:

        def talk():
            with connect(f"ws://127.0.0.1:{port}", http=http, close_timeout=SOON) as websocket:
                websocket.recv()

        interrupted(talk)
        end.set()


@pytest.mark.parametrize("tls", [False, True])
def test_frequent_signals_lose_no_message(http, tls, tls_contexts):
    """They come at any point of calls that wait."""
    server_tls, client_tls = tls_contexts if tls else (None, None)
    count = 400
    with listening(
        lambda websocket: [websocket.send(str(number)) or time.sleep(0.002) for number in range(count)], ssl=server_tls
    ) as server:
        address = f"{'wss' if tls else 'ws'}://localhost:{server.port}/"
        websocket = connect(address, http=http, ssl=client_tls, host="127.0.0.1").open()
        got: list[str] = []
        interruptions = 0

        def interrupt(number, frame):
            # Only calls of the driver are interrupted: what they return is the caller's.
            if frame is not None and frame.f_code.co_filename.startswith(DRIVER):
                raise Interrupted

        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.0011, 0.0013)
        try:
            while len(got) < count:
                try:
                    got.append(websocket.recv(SOON))
                except Interrupted:
                    interruptions += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert got == [str(number) for number in range(count)]
        assert interruptions > 10
        websocket.close()


#: What a signal leaves that comes before a call has begun.
unbegun = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


def frequently_interrupted(call: Callable[[], object], recover: Callable[[], object], times: int) -> None:
    """Make a call again and again, at any point of which a signal raises; check after each signal that others can be made."""
    begin = time.monotonic()
    with interruption():
        for number in range(times):
            with contextlib.suppress(Interrupted):
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + number % 97 * 0.000003)
                while time.monotonic() < begin + 3 * SOON:
                    call()
            recover()


def test_an_interrupted_batch_is_ended(http):
    with listening(lambda websocket: websocket.wait_closed()) as server, connect(url(server), http=http) as websocket:

        def batch():
            with websocket.batch():
                pass

        def send():
            written = websocket.transport.written
            websocket.send("x", timeout=SOON)
            assert websocket.transport.written > written

        frequently_interrupted(batch, send, 4000)


def test_an_interrupted_message_in_fragments_lets_others_go_on():
    with listening(lambda websocket: [None for _ in websocket]) as server:
        opened = [connect(url(server)).open()]

        def send():
            try:
                opened[0].send("x", timeout=SOON)
            except ConnectionClosed:
                # The message was begun.
                opened[0].wait_closed(SOON)
                assert opened[0].close_code == 1011
                opened[0] = connect(url(server)).open()

        def fragments():
            with contextlib.suppress(ConnectionClosed):
                opened[0].send(iter(["a"]))

        frequently_interrupted(fragments, send, 600)
        opened[0].close()


@unbegun
def test_an_interrupted_close_comes_to_its_end(http):
    with listening() as server:
        for number in range(300):
            websocket = connect(url(server), http=http, close_timeout=1.0).open()
            with interruption(), contextlib.suppress(Interrupted):
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + number % 97 * 0.000007)
                websocket.close()
                # A close may be quicker than the signal.
                time.sleep(0.01)
            if websocket.state is not State.OPEN:
                websocket.wait_closed(SOON)
            websocket.close()
            assert websocket.close_code in (1000, 1006)


@unbegun
def test_interrupted_requests_and_openings_leave_the_client_usable():
    with listening(respond=lambda request: Response(200)) as server, connect_http2(url(server)) as client:

        def use():
            assert client.request("GET", "/", timeout=SOON).status == 200

        frequently_interrupted(lambda: client.request("GET", "/", timeout=SOON), use, 600)
        frequently_interrupted(lambda: client.open().close(), use, 300)


def test_ctrl_c_ends_a_program_that_receives():
    program = """
import sys
from mintws.sync import connect
try:
    with connect(sys.argv[1]) as websocket:
        print("ready", flush=True)
        websocket.recv()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with listening() as server:
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, url(server)], stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            begin = time.monotonic()
            os.kill(running.pid, signal.SIGINT)
            assert running.stdout.readline() == "interrupted\n"
            assert running.wait(SOON) == 0
            assert time.monotonic() - begin < SOON / 2
        until(lambda: not server.websockets)


@pytest.mark.parametrize("started", [True, False])
def test_an_interrupted_start_of_the_background_leaves_it_usable(started, monkeypatch):
    start = threading.Thread.start

    def start_and_raise(thread):
        if thread.name != "mintws":
            start(thread)
            return
        monkeypatch.undo()
        if started:
            start(thread)
        raise Interrupted

    with blocking_server(accepting("1.1", lambda sock, connection: sock.sendall(connection.send(Text("x"))))) as port:
        monkeypatch.setattr(threading.Thread, "start", start_and_raise)
        with pytest.raises(Interrupted):
            connect(f"ws://127.0.0.1:{port}").open()
        with connect(f"ws://127.0.0.1:{port}") as websocket:
            assert websocket.recv(SOON) == "x"
