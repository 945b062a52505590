"""A server and clients for threads without a network: what `serve` and `connect` do, on pairs of sockets that have no address."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
import time
from typing import Any

import pytest
from sync.conftest import echo, until

from mintws import ConnectError, ConnectionClosed, LocalProtocolError, UpgradeAccept, UpgradeError, UpgradeReject
from mintws.events import Response
from mintws.sync import Reconnect, connect, connect_http2, serve
from mintws.sync.testing import pair, serve_in_memory

URL = "ws://localhost/"


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a socket gets an address."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a socket has an address")

    for name in ("bind", "connect", "listen"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_messages_go_both_ways(http):
    with pair(http=http) as (client, server):
        client.send("hello")
        assert server.recv() == "hello"
        with pytest.raises(TimeoutError):
            client.recv(timeout=0)
        sending = threading.Thread(target=server.send, args=(b"x" * 1_000_000,))
        sending.start()
        assert client.recv() == b"x" * 1_000_000
        sending.join()
        assert client.ping() >= 0
    assert (client.close_code, server.close_code) == (1000, 1000)
    assert client.ending.clean and server.ending.clean


def test_the_opening_handshake_is_done(http):
    how: Any = {"headers": {"X-Who": "ann"}, "subprotocols": ["chat.v2", "chat.v1"]}
    with pair("/room/1?a=b", http=http, limit=1000, **how) as (client, server):
        assert server.request.target == "/room/1?a=b"
        assert server.request.headers["x-who"] == "ann"
        assert client.subprotocol == server.subprotocol == "chat.v2"
        assert client.connection.extensions and server.connection.extensions
        assert server.request.peer.address == ""
        client.send("x" * 1001)
        with pytest.raises(ConnectionClosed) as closed:
            server.recv()
        assert closed.value.code == 1009


def test_a_pair_is_closed_though_nobody_reads_and_the_block_raises(http):
    begun = time.monotonic()
    try:
        with pair(http=http) as (client, server):
            client.send("unread")
            server.send("unread")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert {client.close_code, server.close_code} <= {1000, 1011}
    assert time.monotonic() - begun < 0.9  # the grace of a reader that is not there is a second


def test_a_pair_whose_opening_fails_ends_at_once(http, monkeypatch):
    def fail(self):
        self._connect().close()
        raise ZeroDivisionError

    monkeypatch.setattr(connect, "__enter__", fail)
    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError), pair(http=http):
        pass
    assert time.monotonic() - begun < 8  # one that waits for the handler takes ten


def test_a_pair_is_opened_once():
    opening = pair()
    with opening as (client, server):
        with pytest.raises(LocalProtocolError, match=r"call pair\(\) again"):
            opening.__enter__()
        client.send("hello")
        assert server.recv(timeout=10) == "hello"


def test_a_handler_is_run_as_by_serve(http, caplog):
    def upgrade(connection, request):
        match request.path:
            case "/old":
                return UpgradeReject(307, headers={"Location": "ws://elsewhere.example/new"})
            case "/refused":
                return UpgradeReject(401)
        return UpgradeAccept(headers={"X-Seen": "1"})

    def handler(websocket):
        if websocket.request.path == "/broken":
            raise ZeroDivisionError
        websocket.send(f"{websocket.request.host}{websocket.request.target}")

    serving = serve_in_memory(
        handler, "192.0.2.1", 8765, upgrade=upgrade, respond=lambda request: Response(200, body=b"a page")
    )
    with serving as server:
        assert server.port == 0 and server.sockets == ()
        with server.connect("ws://feed.example/old", http=http) as websocket:
            assert websocket.recv() == "elsewhere.example/new"
        with pytest.raises(UpgradeError) as refused:
            server.connect(f"{URL}refused", http=http).open()
        assert refused.value.status == 401
        with server.connect(f"{URL}broken", http=http) as websocket:
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv()
            assert closed.value.code == 1011
        with server.connect_http2(URL) as client:
            assert client.request("GET", "/").body == b"a page"
            assert client.open("/2").recv() == "localhost/2"
    assert "ZeroDivisionError" in caplog.text


def test_tls_is_spoken_where_the_server_has_it(tls_contexts, http):
    ours, theirs = tls_contexts
    with serve_in_memory(echo, ssl=ours) as server:
        with server.connect("wss://localhost/", ssl=theirs, http=http) as websocket:
            websocket.send("x" * 200_000)
            assert websocket.recv() == "x" * 200_000


def test_a_client_connects_again(http):
    counted = iter(range(1, 4))

    def feed(websocket):
        count = next(counted)
        websocket.send(str(count))
        websocket.close(1012 if count < 3 else 1000)

    heard = []
    with serve_in_memory(feed) as server:
        for websocket in server.connect(URL, http=http, reconnect=Reconnect(first=0.001)):
            with websocket:
                heard += list(websocket)
    assert heard == ["1", "2", "3"]


def test_who_is_aborted_leaves_the_peer_with_1006(http):
    for leaves in (0, 1):
        with pair(http=http) as both:
            one, other = both[leaves], both[1 - leaves]
            one.send("last words")
            assert other.recv() == "last words"
            one.transport.cut()
            with pytest.raises(ConnectionClosed) as closed:
                other.recv()
            assert closed.value.code == 1006 and closed.value.ended_by is None
            with pytest.raises(ConnectionClosed):
                one.send("too late")


def test_a_sender_waits_for_a_slow_reader(http):
    with pair(http=http, extensions=()) as (client, server):
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 5000:
                client.send(bytes(10_000), timeout=0.2)
                sent += 1
        assert 20 <= sent < 1000
        for _ in range(sent + 1):
            assert server.recv(timeout=10) == bytes(10_000)


def test_a_server_that_is_closed_or_full_refuses(http):
    with serve_in_memory(echo, max_connections=1) as server:
        with server.connect(URL, http=http):
            with pytest.raises(ConnectError):
                server.connect(URL, http=http).open()
        until(lambda: not server._protocols)
        websocket = server.connect(URL, http=http).open()
        closing = threading.Thread(target=server.close, args=(1012,))
        closing.start()
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv()
        assert closed.value.code == 1012
        closing.join()
        with pytest.raises(ConnectError) as refused:
            server.connect(URL, http=http).open()
        assert isinstance(refused.value.__cause__, ConnectionRefusedError)


def test_it_listens_without_with(http):
    serving = serve_in_memory(echo)
    server = serving.listen()
    with server.connect(URL, http=http) as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"
    server.close()


def test_its_clients_are_those_of_the_driver():
    with serve_in_memory(echo) as server:
        for ours, theirs in ((server.connect, connect), (server.connect_http2, connect_http2)):
            assert issubclass(ours, theirs) and ours.__doc__ == theirs.__doc__
            assert inspect.signature(ours) == inspect.signature(theirs)
    assert inspect.signature(serve_in_memory) == inspect.signature(serve)
