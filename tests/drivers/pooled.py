"""A server that tests of pools talk to: in threads, for any driver, and as unreliable as the test says."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from drivers.raw import full_unix_socket

from mintws import Close, Connection, Http1, Http2, Role, Text, UpgradeAccept, UpgradeRequest

#: Called with the server, the number of the connection among its connections, the `Http2` or `Http1`, and what came; returns bytes to write.
Answer = Callable[["HandServer", int, Any, Connection, Any], bytes]


def take(server: HandServer, number: int, http: Any, connection: Connection, event: Any) -> bytes:
    """Take WebSockets, echo, and answer a Close; leave with GOAWAY if told to "leave", and die if told to "die"."""
    match event:
        case UpgradeRequest():
            return connection.send(UpgradeAccept())
        case Text("leave"):
            return bytes(http.shutdown())
        case Text("die"):
            server.abort(number)
        case Text() | Close():
            return connection.send(event)
    return b""


class HandServer:
    """A server on a free port of loopback.

    Args:
        answer: what it does with an event.
        tls: its TLS context, whose ALPN chooses the version of HTTP; without it HTTP/2 is spoken.
        options: those of `Http2`.

    Attributes:
        url: its URL.
        count: the number of connections that it has had.
        refuses: how many of the next connections it closes at once.
        leaves: on how many of the next connections it sends GOAWAY with its SETTINGS.
        mute: whether it says nothing on a connection, and takes nothing, from the next byte on.
    """

    def __init__(self, answer: Answer = take, tls: ssl.SSLContext | None = None, **options: Any) -> None:
        self._answer = answer
        self._tls = tls
        self._options = options
        self.refuses = self.leaves = 0
        self.mute = False
        self._socks: list[socket.socket] = []
        self._open: set[int] = set()
        self._frozen: set[int] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> HandServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'wss' if self._tls else 'ws'}://localhost:{self._listener.getsockname()[1]}/"
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for number in range(self.count):
            self.abort(number)
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    async def __aenter__(self) -> HandServer:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    @property
    def count(self) -> int:
        return len(self._socks)

    @property
    def open(self) -> int:
        """The number of connections that have not ended."""
        return len(self._open)

    def freeze(self, number: int) -> None:
        """Say nothing more on a connection, and take nothing, as if a machine on the way had forgotten it."""
        self._frozen.add(number)

    def abort(self, number: int) -> None:
        """End a connection."""
        with contextlib.suppress(OSError):
            self._socks[number].shutdown(socket.SHUT_RDWR)

    def _begin(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._socks.append(sock)
                if self.refuses:
                    self.refuses -= 1
                    sock.close()
                else:
                    self._open.add(self.count - 1)
                    self._begin(self._serve, self.count - 1, sock)

    def _serve(self, number: int, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            spoken: str | None = "h2"
            if self._tls is not None:
                sock = self._socks[number] = self._tls.wrap_socket(sock, server_side=True)
                spoken = sock.selected_alpn_protocol()
            with sock:
                self._talk(number, sock, Http2(Role.SERVER, **self._options) if spoken == "h2" else Http1(Role.SERVER))
        self._open.discard(number)

    def _talk(self, number: int, sock: socket.socket, http: Any) -> None:
        if not self.mute:
            start = http.start()
            if self.leaves:
                self.leaves -= 1
                start += http.shutdown()
            sock.sendall(start)
        while not http.done and (data := sock.recv(65536)):
            if self.mute or number in self._frozen:
                continue
            events, reply = http.receive(data)
            sock.sendall(reply)
            for connection, event in events:
                sock.sendall(self._answer(self, number, http, connection, event))
        if http.done:
            # What the client still sends is taken, so that no reset overtakes what was sent.
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass


@contextlib.contextmanager
def unanswered(stage: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give a URL and arguments of `connect` with which a client waits for ever at a stage of connecting."""
    with contextlib.ExitStack() as stack:
        # The system connects to a listener of which nothing is accepted, until so many wait.
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0 if stage == "TCP" else 100))
        port = listener.getsockname()[1]
        match stage:
            case "name":
                release = threading.Event()
                stack.callback(release.set)
                look_up = socket.getaddrinfo

                def never(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:  # noqa: A002
                    if flags & socket.AI_NUMERICHOST or host not in ("slow.invalid", b"slow.invalid"):
                        return look_up(host, port, family, type, proto, flags)
                    release.wait(20)
                    raise socket.gaierror(socket.EAI_NONAME, "nobody knows")

                monkeypatch.setattr(socket, "getaddrinfo", never)
                yield f"ws://slow.invalid:{port}/", {}
            case "TCP":
                for _ in range(4):
                    waiting = stack.enter_context(socket.socket())
                    waiting.setblocking(False)
                    waiting.connect_ex(("127.0.0.1", port))
                yield f"ws://127.0.0.1:{port}/", {}
            case "TLS":
                yield f"wss://127.0.0.1:{port}/", {}
            case "proxy":
                yield "ws://server.invalid/", {"proxy": f"http://127.0.0.1:{port}"}
            case "TLS to the proxy":
                yield "ws://server.invalid/", {"proxy": f"https://127.0.0.1:{port}"}
            case "Unix":
                # A name without a file, which Linux has.
                path = f"\0mintws-{port}"
                stack.enter_context(full_unix_socket(path))
                yield "ws://localhost/", {"path": path}
            case _:
                raise ValueError(stage)


#: The stages of connecting.
STAGES = ("name", "TCP", "TLS", "proxy", "TLS to the proxy", *(["Unix"] if sys.platform == "linux" else []))


def place(websocket: Any) -> str:
    """Give the number of a WebSocket's connection."""
    return str(websocket.id.partition(".")[0])


def places(websockets: Any) -> set[str]:
    return {place(it) for it in websockets}


def wait_for(condition: Callable[[], object]) -> None:
    """Block until a condition holds, for at most ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)
