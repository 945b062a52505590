"""A server and clients of trio without a network: what `serve` and `connect` do, on streams in memory and a clock of the test."""

from __future__ import annotations

import inspect
import socket
from typing import Any

import pytest
import trio
import trio.testing
from on_trio import echo

from mintws import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    Http1,
    LocalProtocolError,
    Role,
    UpgradeAccept,
    UpgradeError,
    UpgradeReject,
)
from mintws.events import Response
from mintws.trio import Reconnect, connect, connect_http2, serve
from mintws.trio.memory import memory_streams
from mintws.trio.stream import SocketStream
from mintws.trio.testing import pair, serve_in_memory

URL = "ws://localhost/"


@pytest.fixture
def jumping(monkeypatch):
    """Run without sockets, on a clock that jumps to the next deadline when nothing is left to do, for at most a day of that."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a socket was used")

    async def bounded(work):
        with trio.fail_after(86_400):
            await work()

    def jump(work):
        with monkeypatch.context() as patched:
            patched.setattr(socket, "getaddrinfo", refuse)
            patched.setattr(socket.socket, "connect", refuse)
            patched.setattr(socket.socket, "listen", refuse)
            return trio.run(bounded, work, clock=trio.testing.MockClock(autojump_threshold=0))

    return jump


def test_messages_go_both_ways_and_no_time_passes(jumping, http):
    async def main():
        begun = trio.current_time()
        async with pair(http=http) as (client, server):
            await client.send("hello")
            assert await server.recv() == "hello"
            await server.send(b"x" * 1_000_000)
            assert await client.recv() == b"x" * 1_000_000
            await client.ping()
            await client.send("unread")
            await server.send("unread")
        assert client.ending.clean and server.ending.clean
        assert (client.close_code, server.close_code) == (1000, 1000)
        assert trio.current_time() == begun

    jumping(main)


def test_a_pair_whose_opening_fails_takes_no_time(jumping, http, monkeypatch):
    entered = connect.__aenter__

    async def fail(self):
        await entered(self)
        await self.__aexit__(None, None, None)
        raise ZeroDivisionError

    async def main():
        monkeypatch.setattr(connect, "__aenter__", fail)
        begun = trio.current_time()
        with pytest.raises(ZeroDivisionError):
            async with pair(http=http):
                pass
        assert trio.current_time() == begun

    jumping(main)


def test_a_pair_is_opened_once(jumping):
    async def main():
        opening = pair()
        async with opening as (client, server):
            with pytest.raises(LocalProtocolError, match=r"call pair\(\) again"):
                await opening.__aenter__()
            await client.send("hello")
            assert await server.recv() == "hello"

    jumping(main)


def test_the_opening_handshake_is_done(jumping, http):
    async def main():
        how = {"headers": {"X-Who": "ann"}, "subprotocols": ["chat.v2", "chat.v1"]}
        async with pair("/room/1?a=b", http=http, limit=1000, **how) as (client, server):
            assert server.request.target == "/room/1?a=b"
            assert server.request.headers["x-who"] == "ann"
            assert client.subprotocol == server.subprotocol == "chat.v2"
            assert client.connection.extensions and server.connection.extensions
            assert server.request.peer.address == ""
            await client.send("x" * 1001)
            with pytest.raises(ConnectionClosed) as closed:
                await server.recv()
            assert closed.value.code == 1009

    jumping(main)


def test_a_handler_is_run_as_by_serve(jumping, http, caplog):
    def upgrade(connection, request):
        match request.path:
            case "/old":
                return UpgradeReject(307, headers={"Location": "ws://elsewhere.example/new"})
            case "/refused":
                return UpgradeReject(401)
        return UpgradeAccept(headers={"X-Seen": "1"})

    async def handler(websocket):
        if websocket.request.path == "/broken":
            raise ZeroDivisionError
        await websocket.send(f"{websocket.request.host}{websocket.request.target}")
        await websocket.close()

    async def main():
        serving = serve_in_memory(
            handler, "192.0.2.1", 8765, upgrade=upgrade, respond=lambda request: Response(200, body=b"a page")
        )
        async with serving as server:
            assert server.port == 0 and server.sockets == ()
            async with server.connect("ws://feed.example/old", http=http) as websocket:
                assert await websocket.recv() == "elsewhere.example/new"
            with pytest.raises(UpgradeError) as refused:
                async with server.connect(f"{URL}refused", http=http):
                    pass
            assert refused.value.status == 401
            async with server.connect(f"{URL}broken", http=http) as websocket:
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
                assert closed.value.code == 1011
            async with server.connect_http2(URL) as client:
                assert (await client.request("GET", "/")).body == b"a page"
                assert await (await client.open("/2")).recv() == "localhost/2"
        assert "ZeroDivisionError" in caplog.text

    jumping(main)


def test_tls_is_spoken_where_the_server_has_it(jumping, tls_contexts, http):
    ours, theirs = tls_contexts

    async def main():
        async with serve_in_memory(echo, ssl=ours) as server:
            async with server.connect("wss://localhost/", ssl=theirs, http=http) as websocket:
                await websocket.send("x" * 200_000)
                assert await websocket.recv() == "x" * 200_000
                assert websocket.ssl_object is not None

    jumping(main)


def test_a_client_connects_again(jumping, http):
    count = 0

    async def feed(websocket):
        nonlocal count
        count += 1
        await websocket.send(str(count))
        await websocket.close(1012 if count < 5 else 1000)

    async def main():
        heard = []
        begun = trio.current_time()
        async with serve_in_memory(feed) as server, trio.open_nursery() as nursery:
            async for websocket in server.connect(URL, http=http, nursery=nursery, reconnect=Reconnect(first=5)):
                async with websocket:
                    async for message in websocket:
                        heard.append(message)
        assert heard == ["1", "2", "3", "4", "5"]
        # Between 0 and 5, 5 and 10, 10 and 20, and 20 and 40 s, of which none has passed.
        assert 35 <= trio.current_time() - begun <= 75

    jumping(main)


def test_timeouts_pass_on_the_clock_of_the_test(jumping, http):
    async def main():
        begun = trio.current_time()

        async def ponder(connection, request):
            await trio.sleep_forever()

        async with serve_in_memory(echo, upgrade=ponder, close_timeout=1) as server:
            with pytest.raises(ConnectTimeout):
                async with server.connect(URL, http=http, open_timeout=3600):
                    pass
        assert trio.current_time() - begun >= 3600

    jumping(main)


def test_keepalive_cuts_a_peer_off_that_is_silent(jumping):
    async def main():
        async with trio.open_nursery() as nursery:
            ours, theirs = memory_streams()

            async def answer_and_fall_silent():
                http = Http1(Role.SERVER)
                [(connection, _)], _ = http.receive(await theirs.receive_some(65536))
                await theirs.send_all(connection.send(UpgradeAccept()))

            nursery.start_soon(answer_and_fall_silent)
            begun = trio.current_time()
            async with connect(URL, stream=ours, ping_interval=100, ping_timeout=50) as websocket:
                with pytest.raises(ConnectionClosed, match="no Pong"):
                    await websocket.recv()
            assert 150 <= trio.current_time() - begun < 161

    jumping(main)


def test_who_is_aborted_leaves_the_peer_with_1006(jumping, http):
    async def main():
        for leaves in (0, 1):
            async with pair(http=http) as both:
                one, other = both[leaves], both[1 - leaves]
                await one.send("last words")
                assert await other.recv() == "last words"
                await one.stream.aclose()
                with pytest.raises(ConnectionClosed) as closed:
                    await other.recv()
                assert closed.value.code == 1006 and closed.value.ended_by is None
                with pytest.raises(ConnectionClosed):
                    await one.recv()

    jumping(main)


def test_a_sender_waits_for_a_slow_reader(jumping, http):
    async def main():
        async with pair(http=http, extensions=()) as (client, server):
            sent = 0

            async def send():
                nonlocal sent
                for _ in range(500):
                    await client.send(bytes(10_000))
                    sent += 1

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked()
                assert 20 <= sent < 200
                assert 0 < client.unsent < 200_000
                for _ in range(500):
                    assert await server.recv() == bytes(10_000)

    jumping(main)


def test_a_server_that_is_closed_or_full_refuses(jumping, http):
    async def main():
        async with serve_in_memory(echo, max_connections=1) as server:
            async with server.connect(URL, http=http):
                with pytest.raises(ConnectError):
                    async with server.connect(URL, http=http):
                        pass
            await trio.testing.wait_all_tasks_blocked()
            async with server.connect(URL, http=http) as websocket, trio.open_nursery() as nursery:
                nursery.start_soon(server.close, 1012)
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
                assert closed.value.code == 1012
            with pytest.raises(ConnectError) as refused:
                async with server.connect(URL, http=http):
                    pass
            assert isinstance(refused.value.__cause__, ConnectionRefusedError)

    jumping(main)


def test_it_is_started_by_a_nursery(jumping, http):
    async def main():
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_in_memory, echo)
            async with server.connect(URL, http=http) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
            await server.close()

    jumping(main)


def test_its_clients_are_those_of_the_driver(jumping):
    async def main():
        async with serve_in_memory(echo) as server:
            for ours, theirs in ((server.connect, connect), (server.connect_http2, connect_http2)):
                assert issubclass(ours, theirs) and ours.__doc__ == theirs.__doc__
                assert inspect.signature(ours) == inspect.signature(theirs)
        assert inspect.signature(serve_in_memory) == inspect.signature(serve)

    jumping(main)


@pytest.fixture(params=["memory", "socket"])
def streams(request):
    """Make a pair of streams in memory, or what they are compared with: those of sockets."""
    if request.param == "memory":
        return memory_streams
    return lambda: tuple(map(SocketStream, socket.socketpair()))


def test_a_stream_ends_as_that_of_a_socket(run, streams):
    async def main():
        one, other = streams()
        await one.send_all(b"hello")
        assert await other.receive_some(4) == b"hell"
        await one.send_eof()
        with pytest.raises(BrokenPipeError):
            await one.send_all(b"more")
        assert await other.receive_some(4) == b"o"
        assert await other.receive_some(4) == b"" == await other.receive_some(4)
        await other.send_all(b"answer")
        await other.aclose()
        await other.aclose()
        assert await one.receive_some(10) == b"answer"
        assert await one.receive_some(10) == b""
        await one.aclose()

    run(main)


def test_a_stream_has_room_for_so_much(run, streams):
    async def main():
        one, other = streams()
        with trio.move_on_after(0.05) as scope:
            await one.send_all(bytes(10_000_000))
        assert scope.cancelled_caught
        assert await other.receive_some(1 << 20)
        while True:
            with trio.move_on_after(0.05) as scope:
                await other.receive_some(1 << 20)
            if scope.cancelled_caught:
                break
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send_all, bytes(1_000_000))
            taken = 0
            while taken < 1_000_000:
                taken += len(await other.receive_some(1 << 20))
        await one.aclose()
        await other.aclose()

    run(main)


def test_a_stream_that_is_closed_ends_who_waits(run, streams):
    async def main():
        one, other = streams()

        async def close():
            await trio.testing.wait_all_tasks_blocked()
            await one.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            with pytest.raises(trio.ClosedResourceError):
                await one.receive_some(10)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await other.send_all(b"x")
        await other.aclose()

    run(main)
