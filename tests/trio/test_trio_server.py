"""A server on trio: where it listens, what its hooks decide, how it drains, closes, and gives up clients that are silent."""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import Any

import pytest
import trio
from drivers.raw import answer_on_one_stream, full_unix_socket, paths_of
from on_trio import echo, listening, url

from mintws import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    Http1,
    Http2,
    LocalProtocolError,
    Role,
    State,
    UpgradeAccept,
    UpgradeError,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.events import Response
from mintws.session import CloseStatus
from mintws.trio import connect, connect_http2, serve


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse a connection that has no room")
def test_a_unix_socket_without_room_is_tried_until_it_has_some(run, tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        with full_unix_socket(path) as unix:
            with pytest.raises(ConnectTimeout, match=r"the connection did not come within 0\.1 s"):
                async with connect("ws://localhost/", path=path, open_timeout=0.1):
                    pass

            async def listen():
                await trio.sleep(0.1)
                async with serve(echo, sock=unix):
                    await trio.sleep_forever()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                async with connect("ws://localhost/", path=path) as websocket:
                    await websocket.send("there is room")
                    assert await websocket.recv() == "there is room"
                nursery.cancel_scope.cancel()

    run(main)


def test_a_server_listens_on_hosts_a_path_or_a_socket(run, http, tmp_path):
    async def check(server, **where: Any) -> None:
        async with connect("ws://localhost/", http=http, **where) as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"

    async def main():
        async with serve(echo, ["127.0.0.1", "localhost"], 0) as server:
            assert {sock.getsockname()[1] for sock in server.sockets} == {server.port}
            await check(server, host="localhost", port=server.port, family=socket.AF_INET)
            await check(server, host="127.0.0.1", port=server.port, local_addr=("127.0.0.1", 0))
            sock = socket.create_connection(("127.0.0.1", server.port))
            await check(server, sock=sock)
            await check(server, stream=await trio.open_tcp_stream("127.0.0.1", server.port))
        for path in paths_of(tmp_path / "socket"):
            async with serve(echo, path=path) as server:
                assert server.port == 0
                await check(server, path=path)
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        async with serve(echo, sock=bound, backlog=5) as server:
            await check(server, host="127.0.0.1", port=server.port)
        assert bound.fileno() == -1

    run(main)


def test_a_server_listens_on_several_sockets(run, http):
    async def main():
        async with serve(echo, ["127.0.0.1", "127.0.0.2"], 0) as server:
            assert len(server.sockets) == 2
            for host in ("127.0.0.1", "127.0.0.2"):
                async with connect(f"ws://{host}:{server.port}/", http=http) as websocket:
                    await websocket.send(host)
                    assert await websocket.recv() == host
            await server.close()
            assert server.sockets == ()

    run(main)


def test_an_address_in_use_is_an_error(run):
    async def main():
        async with listening() as server:
            with pytest.raises(OSError, match=r"[Aa]ddress"):
                async with serve(echo, "127.0.0.1", server.port):
                    pass

    run(main)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ({}, LocalProtocolError),
        ({"port": 70000}, LocalProtocolError),
        ({"host": 5}, TypeError),
        ({"portt": 1}, TypeError),
    ],
)
def test_wrong_arguments_are_told_at_once(where, error):
    with pytest.raises(error):
        serve(echo, **where)


def test_hooks_decide_on_handshakes_and_answer_requests(run, http):
    async def upgrade(connection, request):
        await trio.lowlevel.checkpoint()
        connection.app = request.peer.address[0]
        if request.target == "/no":
            return UpgradeReject(401, body=b"who?")
        return UpgradeAccept(headers={"x-seen": "1"})

    async def respond(request):
        await trio.lowlevel.checkpoint()
        return Response(200, {"content-type": "text/plain"}, request.target.encode())

    async def handler(websocket):
        await websocket.send(f"{websocket.app} {websocket.subprotocol}")

    async def main():
        hooks = {
            "upgrade": upgrade,
            "respond": respond,
            "subprotocols": ["b", "a"],
            "origins": ["https://a.example", None],
        }
        async with listening(handler, **hooks) as server:
            async with connect(url(server), http=http, subprotocols=["a", "b"]) as websocket:
                assert await websocket.recv() == "127.0.0.1 a"
                assert ("x-seen", "1") in websocket.response.headers
            for target, origin, status in (("/no", None, 401), ("/", "https://b.example", 403)):
                with pytest.raises(UpgradeError) as refused:
                    async with connect(url(server, target), http=http, origin=origin):
                        pass
                assert refused.value.status == status
            async with connect_http2(url(server)) as client:
                response = await client.request("GET", "/page")
                assert (response.status, response.body) == (200, b"/page")

    run(main)


def test_a_hook_that_fails_is_answered_with_500(run, http, caplog):
    def fail(*_):
        raise KeyError("broken")

    async def main():
        async with listening(upgrade=fail, respond=fail) as server:
            with pytest.raises(UpgradeError) as refused:
                async with connect(url(server), http=http):
                    pass
            assert refused.value.status == 500
            async with connect_http2(url(server)) as client:
                assert (await client.request("GET", "/")).status == 500

    with caplog.at_level(logging.ERROR, "mintws.server"):
        run(main)
    assert len(caplog.records) == 2


def test_a_hook_that_sends_an_answer_itself_is_told_and_its_connection_ends(run, http, caplog):
    def upgrade(connection, request):
        connection.send(UpgradeAccept())

    async def main():
        async with listening(upgrade=upgrade) as server:
            with pytest.raises(ConnectError):
                async with connect(url(server), http=http):
                    pass

    run(main)
    assert "the answer is returned by the hook, and sent by the server" in caplog.text


def test_a_full_server_closes_further_connections(run):
    async def main():
        async with listening(max_connections=1) as server, connect(url(server)) as first:
            with pytest.raises(ConnectError):
                async with connect(url(server)):
                    pass
            await first.send("the first stays")
            assert await first.recv() == "the first stays"

    run(main)


def test_close_tells_all_and_waits_for_handlers(run, http):
    async def handler(websocket):
        with pytest.raises(ConnectionClosed):
            async for _ in websocket:
                pass
        await trio.sleep(0.1)
        done.append(websocket.close_code)

    async def main():
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            await websocket.send("begun")
            assert await websocket.ping() >= 0
            await server.close(1012, "restart")
            assert done == [1012]
            with pytest.raises(ConnectionClosed, match="the peer closed with 1012: restart"):
                await websocket.recv()

    done: list[int] = []
    run(main)


def test_close_cancels_a_handler_that_takes_too_long(run, http):
    async def handler(websocket):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(True)
            raise

    async def main():
        async with listening(handler, close_timeout=0.1) as server, connect(url(server), http=http) as websocket:
            await websocket.ping()
            await server.close()
            assert cancelled == [True]
            await websocket.wait_closed()

    cancelled: list[bool] = []
    run(main)


def test_a_handler_closes_its_own_server(run, http):
    async def handler(websocket):
        await websocket.recv()
        await servers[0].close()

    async def main():
        async with listening(handler, close_timeout=1.0) as server, connect(url(server), http=http) as websocket:
            servers.append(server)
            await websocket.send("close")
            await server.wait_closed()
            await websocket.wait_closed()

    servers: list[Any] = []
    run(main)


def test_drain_lets_work_come_to_its_end(run, http):
    async def handler(websocket):
        async for job in websocket:
            await trio.sleep(0.2)
            await websocket.send(f"{job} is done")

    async def main():
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            await websocket.send("the job")
            assert await websocket.ping() >= 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.drain, 10.0, 1012)
                await trio.sleep(0.05)
                with pytest.raises(ConnectError):
                    async with connect(url(server), http=http):
                        pass
                assert await websocket.recv() == "the job is done"
                await websocket.close()

    run(main)


def test_drain_closes_what_is_left(run, http):
    async def main():
        async with listening() as server, connect(url(server), http=http) as websocket:
            await websocket.ping()
            await server.drain(0.1, 1012)
            await websocket.wait_closed()
            assert websocket.close_code == 1012

    run(main)


@pytest.mark.parametrize(
    ("closes", "cause"), [(False, "keepalive: no Pong came"), (True, "the peer did not close in time")]
)
def test_a_peer_that_goes_silent_is_given_up(run, http, closes, cause):
    endings: list[CloseStatus] = []

    async def handler(websocket):
        if closes:
            await websocket.close(4000)
        await websocket.wait_closed()
        endings.append(websocket.ending)

    async def main():
        timeouts = {"ping_interval": None if closes else 0.1, "ping_timeout": 0.1, "close_timeout": 0.2}
        async with listening(handler, **timeouts) as server:
            client = Http1(Role.CLIENT) if http == "1.1" else Http2(Role.CLIENT)
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(client.start())
            connection = client.open()
            await stream.send_all(connection.send(UpgradeRequest(f"127.0.0.1:{server.port}", "/")))
            while connection.state < State.OPEN:
                _, reply = client.receive(bytes(await stream.receive_some(65536)))
                await stream.send_all(reply)
            while not endings:
                await trio.sleep(0.01)
            await stream.aclose()

    run(main)
    assert endings[0].cause.startswith(cause)
    assert endings[0].sent is not None and endings[0].code == 1006


def test_a_stream_that_answers_no_ping_is_left_and_one_beside_it_that_does_is_not(run):
    ended: list[tuple[int, str | None]] = []

    async def handler(websocket):
        await websocket.wait_closed()
        ended.append((websocket.connection.carrier.number, websocket.close_reason))

    async def main():
        async with listening(handler, ping_interval=0.1, ping_timeout=1) as server:
            left = await trio.to_thread.run_sync(answer_on_one_stream, server.port, ended)
            assert left == [(3, "keepalive: no Pong came within 1 s")]

    run(main)


def test_a_client_that_sends_no_request_is_closed(run):
    async def main():
        async with listening(open_timeout=0.1) as server:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                assert await stream.receive_some() == b""

    run(main)


def test_messages_that_nobody_takes_do_not_keep_a_client_from_its_end(run, http):
    async def handler(websocket):
        for _ in range(2000):
            await websocket.send("x" * 100)
        await websocket.close(4001)

    async def main():
        async with listening(handler) as server, connect(url(server), http=http, extensions=()) as websocket:
            await websocket.wait_closed()
            assert websocket.close_code == 4001

    run(main)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_NOFILE as Linux has it")
def test_a_server_without_file_descriptors_accepts_later(run, caplog):
    import resource

    async def main():
        async with listening() as server:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            with socket.socket() as client:
                client.setblocking(False)
                free = len(os.listdir("/proc/self/fd"))
                resource.setrlimit(resource.RLIMIT_NOFILE, (free - 1, hard))
                try:
                    client.connect_ex(("127.0.0.1", server.port))
                    while not caplog.records:
                        await trio.sleep(0.01)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            async with connect(url(server)) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"

    with caplog.at_level(logging.ERROR, "mintws.server"):
        run(main)
    assert "no connection is accepted" in caplog.records[0].getMessage()
