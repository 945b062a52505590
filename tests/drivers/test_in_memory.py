"""A server and clients of asyncio without a network: what `serve` and `connect` do, without sockets and without time."""

from __future__ import annotations

import asyncio
import inspect
import selectors
import socket
from http.cookiejar import CookieJar
from typing import Any

import pytest
from drivers.conftest import echo, until

from mintws import ConnectError, ConnectionClosed, LocalProtocolError, UpgradeAccept, UpgradeError, UpgradeReject
from mintws.asyncio import Reconnect, broadcast, connect, connect_http2, serve
from mintws.asyncio.testing import pair, serve_in_memory
from mintws.events import Response

URL = "ws://localhost/"


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a socket is made, once the loop has its own."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "listen", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_messages_go_both_ways(run, http, no_sockets):
    async def work():
        async with pair(http=http) as (client, server):
            await client.send("hello")
            assert await server.recv() == "hello"
            await server.send(b"x" * 1_000_000)
            assert await client.recv() == b"x" * 1_000_000
            assert await client.ping() >= 0
        assert (client.close_code, server.close_code) == (1000, 1000)
        assert client.ending.clean and server.ending.clean

    run(work())


def test_the_opening_handshake_is_done(run, http):
    async def work():
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
        async with pair(http=http, extensions=()) as (client, server):
            assert not client.connection.extensions

    run(work())


def test_a_pair_is_closed_though_nobody_reads_and_the_block_raises(run, http):
    async def work():
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with pair(http=http) as (client, server):
                for _ in range(10):
                    await client.send("unread")
                    await server.send("unread")
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert {client.close_code, server.close_code} <= {1000, 1011}
        assert loop.time() - begun < 0.9  # the grace of a reader that is not there is a second

    run(work())


def test_a_pair_whose_opening_is_cancelled_ends_at_once(run, http):
    async def opened():
        async with pair(http=http) as (client, server):
            await client.send("hello")
            assert await server.recv() == "hello"

    async def work():
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for turns in range(30):
            opening = asyncio.ensure_future(opened())
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
        assert loop.time() - begun < 8  # one that waits for the handler takes ten

    run(work())


def test_a_pair_is_opened_once(run):
    async def work():
        opening = pair()
        async with opening as (client, server):
            with pytest.raises(LocalProtocolError, match=r"call pair\(\) again"):
                await opening.__aenter__()
            await client.send("hello")
            assert await server.recv() == "hello"

    run(work())


def test_a_wrong_argument_is_told_at_once():
    with pytest.raises(TypeError, match=r"pair\(\) has no argument max_size: use limit"):
        pair(max_size=5)
    for wrong in ("chat", "", ".example/", "/#fragment"):
        with pytest.raises(LocalProtocolError):
            pair(wrong)


def test_a_handler_is_run_as_by_serve(run, http, caplog):
    async def handler(websocket):
        if websocket.request.path == "/broken":
            raise ZeroDivisionError
        async for message in websocket:
            await websocket.send(message.upper())
        await websocket.close()

    async def work():
        async with serve_in_memory(handler) as server:
            assert server.port == 0 and server.sockets == ()
            async with server.connect(URL, http=http) as websocket:
                assert len(server.websockets) == 1
                await websocket.send("hello")
                assert await websocket.recv() == "HELLO"
            async with server.connect(f"{URL}broken", http=http) as websocket:
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
                assert closed.value.code == 1011
        assert "ZeroDivisionError" in caplog.text

    run(work())


def test_hooks_decide_on_handshakes_and_requests(run, http):
    def upgrade(connection, request):
        connection.app = request.cookies.get("user")
        return UpgradeAccept(headers={"Set-Cookie": "seen=1"}) if connection.app else UpgradeReject(401)

    async def greet(websocket):
        await websocket.send(f"welcome, {websocket.app}")

    async def work():
        jar = CookieJar()
        serving = serve_in_memory(greet, upgrade=upgrade, respond=lambda request: Response(200, body=b"a page"))
        async with serving as server:
            with pytest.raises(UpgradeError) as refused:
                await server.connect(URL, http=http)
            assert refused.value.status == 401
            async with server.connect(URL, http=http, headers={"Cookie": "user=ann"}, cookies=jar) as websocket:
                assert await websocket.recv() == "welcome, ann"
            assert [(it.name, it.value) for it in jar] == [("seen", "1")]
            async with server.connect_http2(URL) as client:
                assert (await client.request("GET", "/")).body == b"a page"
                one, two = [await client.open("/", headers={"Cookie": f"user={name}"}) for name in ("bob", "eve")]
                assert (await one.recv(), await two.recv()) == ("welcome, bob", "welcome, eve")

    run(work())


def test_tls_is_spoken_where_the_server_has_it(run, tls_contexts, http):
    ours, theirs = tls_contexts

    async def work():
        async with serve_in_memory(echo, ssl=ours) as server:
            async with server.connect("wss://localhost/", ssl=theirs, http=http) as websocket:
                await websocket.send("x" * 200_000)
                assert await websocket.recv() == "x" * 200_000
                assert websocket.transport.get_extra_info("ssl_object") is not None
            async with server.connect("wss://localhost/", ssl=theirs) as websocket:
                assert "over HTTP/2" in repr(websocket.connection)
            with pytest.raises(ConnectError):
                await server.connect("wss://elsewhere.example/", ssl=theirs)

    run(work())


def test_every_url_leads_to_the_server(run, http):
    def upgrade(connection, request):
        if request.path == "/old":
            return UpgradeReject(307, headers={"Location": "ws://elsewhere.example/new"})
        return None

    async def where(websocket):
        await websocket.send(f"{websocket.request.host}{websocket.request.target}")

    async def work():
        async with serve_in_memory(where, "192.0.2.1", 8765, upgrade=upgrade) as server:
            async with server.connect("ws://feed.example:8080/old", http=http, host="192.0.2.1") as websocket:
                assert await websocket.recv() == "elsewhere.example/new"

    run(work())


def test_a_client_connects_again(run, http):
    count = 0

    async def feed(websocket):
        nonlocal count
        count += 1
        await websocket.send(str(count))
        await websocket.close(1012 if count < 3 else 1000)

    async def work():
        heard = []
        async with serve_in_memory(feed) as server:
            async for websocket in server.connect(URL, http=http, reconnect=Reconnect(first=0.001)):
                async with websocket:
                    async for message in websocket:
                        heard.append(message)
        assert heard == ["1", "2", "3"]

    run(work())


def test_who_is_aborted_leaves_the_peer_with_1006(run, http):
    async def work():
        for leaves in (0, 1):
            async with pair(http=http) as both:
                one, other = both[leaves], both[1 - leaves]
                await one.send("last words")
                one.transport.abort()
                assert await other.recv() == "last words"
                with pytest.raises(ConnectionClosed) as closed:
                    await other.recv()
                assert closed.value.code == 1006 and closed.value.ended_by is None
                with pytest.raises(ConnectionClosed):
                    await one.send("too late")

    run(work())


def test_a_sender_waits_for_a_slow_reader(run, http):
    async def work():
        async with pair(http=http, extensions=()) as (client, server):
            sent = 0

            async def send():
                nonlocal sent
                for _ in range(500):
                    await client.send(bytes(10_000))
                    sent += 1

            sending = asyncio.ensure_future(send())
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.05)
            # The queue, its undecoded bytes, what is on its way, and a write buffer; over HTTP/2 a window besides.
            assert 20 <= sent < 200 and not sending.done()
            assert 0 < client.unsent < 200_000
            for _ in range(500):
                assert await server.recv() == bytes(10_000)
            await sending

    run(work())


def test_a_broadcast_passes_a_reader_over_that_stops(run, http):
    async def work():
        async with serve_in_memory(lambda websocket: websocket.wait_closed(), extensions=()) as server:
            slow = await server.connect(URL, http=http)
            quick = await server.connect(URL, http=http)
            while not (result := broadcast(server.websockets, bytes(100_000), max_unsent=200_000)).skipped:
                assert len(result.sent) == 2
                assert await quick.recv() == bytes(100_000)
            assert len(result.sent) == 1
            slow.transport.abort()
            await quick.close()

    run(work())


def test_a_server_that_is_closed_or_full_refuses(run, http):
    async def work():
        serving = serve_in_memory(echo, max_connections=1)
        early = serving._server.connect
        with pytest.raises(ConnectError) as refused:
            await early(URL)
        assert isinstance(refused.value.__cause__, ConnectionRefusedError)
        async with serving as server:
            async with server.connect(URL, http=http):
                with pytest.raises(ConnectError):
                    await server.connect(URL, http=http)
            await until(lambda: not server._protocols)
            websocket = await server.connect(URL, http=http)
            closing = asyncio.ensure_future(server.close(1012))
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.code == 1012
            await closing
            with pytest.raises(ConnectError) as refused:
                await server.connect(URL)
            assert isinstance(refused.value.__cause__, ConnectionRefusedError)
        with pytest.raises(LocalProtocolError, match="listens once"):
            await serving

    run(work())


def test_another_loop_is_told(run):
    async def begin():
        return await serve_in_memory(echo)

    async def connect(server):
        with pytest.raises(RuntimeError, match="another loop"):
            await server.connect(URL)

    server = run(begin())
    run(connect(server))


def test_its_clients_are_those_of_the_driver(run):
    async def work():
        async with serve_in_memory(echo) as server:
            for ours, theirs in ((server.connect, connect), (server.connect_http2, connect_http2)):
                assert issubclass(ours, theirs) and ours.__doc__ == theirs.__doc__
                assert inspect.signature(ours) == inspect.signature(theirs)
            with pytest.raises(TypeError, match="connect\\(\\) has no argument uri: use url"):
                server.connect(uri=URL)
        assert inspect.signature(serve_in_memory) == inspect.signature(serve)

    run(work())


class Clockless(selectors.DefaultSelector):
    """A selector that fails where a loop would wait."""

    waits = True

    def select(self, timeout: float | None = None) -> Any:
        assert self.waits or timeout == 0, f"the loop waits for {timeout} s"
        return super().select(timeout)


def test_no_time_passes(http):
    selector = Clockless()
    loop = asyncio.SelectorEventLoop(selector)

    async def upper(websocket):
        async for message in websocket:
            await websocket.send(message.upper())

    async def work():
        selector.waits = False
        refuse = lambda connection, request: UpgradeReject(404) if request.path == "/refused" else None  # noqa: E731
        async with serve_in_memory(upper, upgrade=refuse) as server:
            async with server.connect(URL, http=http) as websocket:
                for size in (1, 1000, 1_000_000):
                    await websocket.send("x" * size)
                    assert await websocket.recv() == "X" * size
                await websocket.ping()
            with pytest.raises(UpgradeError):
                await server.connect(f"{URL}refused", http=http)
        async with pair(http=http) as (client, server):
            await client.send("unread")
            await server.send("unread")
        async with pair(http=http) as (client, server):
            client.transport.abort()
            with pytest.raises(ConnectionClosed):
                await server.recv()
        selector.waits = True

    loop.run_until_complete(work())
    loop.close()
