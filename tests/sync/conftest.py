"""What tests of the driver for threads share: a server that echoes, peers made by hand, and that no thread is left."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from drivers.conftest import tls_contexts  # noqa: F401  (fixtures)
from drivers.raw import blocking_server, open_by_hand

from mintws import Binary, Close, Connection, Http1, Http2, Role, Text
from mintws.sync import Server, WebSocket, serve
from mintws.sync.background import Background

#: Seconds for what must happen soon, on a machine with much to do.
SOON = 10.0


@pytest.fixture(params=["1.1", "2"])
def http(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def echo(websocket: WebSocket) -> None:
    for message in websocket:
        websocket.send(message)


def listening(handler: Callable[[WebSocket], object] = echo, **options: Any) -> serve:
    """Serve on a free port of loopback."""
    return serve(handler, "127.0.0.1", 0, **options)


def url(server: Server, target: str = "/") -> str:
    return f"ws://127.0.0.1:{server.port}{target}"


def left_threads() -> list[threading.Thread]:
    return [it for it in threading.enumerate() if it.name.startswith("mintws")]


def until(done: Callable[[], object]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + SOON
    while not done():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    until(lambda: not left_threads())


class Works:
    """Threads of a test, whose exceptions fail it."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._failed: list[BaseException] = []

    def begin(self, work: Callable[..., object], *args: Any) -> threading.Thread:
        def run() -> None:
            try:
                work(*args)
            except BaseException as error:
                self._failed.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def end(self) -> None:
        for thread in self._threads:
            thread.join(SOON)
            assert not thread.is_alive()
        for error in self._failed:
            raise error


@pytest.fixture
def works() -> Iterator[Works]:
    begun = Works()
    yield begun
    begun.end()


@contextlib.contextmanager
def by_hand(
    server: Server, http: str = "1.1", *, read_buffer: int | None = None
) -> Iterator[tuple[socket.socket, Connection]]:
    """Open a WebSocket on a socket of the test's, which then does nothing by itself."""
    sock = socket.socket()
    if read_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer)
    sock.connect(("127.0.0.1", server.port))
    sock.settimeout(SOON)
    carrier: Any = Http1(Role.CLIENT, auto_pong=False) if http == "1.1" else Http2(Role.CLIENT, auto_pong=False)
    with sock:
        yield sock, open_by_hand(sock, carrier)


class Interrupted(BaseException):
    """A signal has interrupted the main thread."""


@contextlib.contextmanager
def interruption() -> Iterator[None]:
    """Have SIGALRM raise `Interrupted` in the main thread."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def accepting(http: str, talk: Callable[[socket.socket, Connection], object]) -> Callable[[socket.socket], None]:
    """Make a server, for `blocking_server`, that opens a WebSocket and then does what `talk` does."""

    def serve_one(sock: socket.socket) -> None:
        carrier: Any = Http1(Role.SERVER, auto_pong=False) if http == "1.1" else Http2(Role.SERVER, auto_pong=False)
        talk(sock, open_by_hand(sock, carrier))

    return serve_one


@contextlib.contextmanager
def taking_later(http: str) -> Iterator[tuple[str, threading.Event, list[str | bytes]]]:
    """Serve a WebSocket by hand, from which nothing is read at first: its URL, what has it be read, and the messages that came then."""
    begin = threading.Event()
    got: list[str | bytes] = []

    def take(sock: socket.socket) -> None:
        carrier: Any = (Http1 if http == "1.1" else Http2)(Role.SERVER, limit=None)
        connection = open_by_hand(sock, carrier)
        begin.wait(SOON)
        while data := sock.recv(1 << 20):
            events, reply = carrier.receive(data)
            for _, event in events:
                if isinstance(event, Close):
                    reply += connection.send(event)
                elif isinstance(event, (Text, Binary)):
                    got.append(event.data)
            sock.sendall(reply)

    with blocking_server(take) as port:
        try:
            yield f"ws://127.0.0.1:{port}/", begin, got
        finally:
            begin.set()


def speak_first(sock: socket.socket) -> None:
    """Serve HTTP/2, whose server need not wait for the client."""
    carrier = Http2(Role.SERVER)
    sock.sendall(carrier.start())
    while data := sock.recv(65536):
        sock.sendall(carrier.receive(data)[1])


def delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the background be quicker than the thread that opens a connection."""
    add = Background.add
    monkeypatch.setattr(Background, "add", lambda self, member: (add(self, member), time.sleep(0.05)))
