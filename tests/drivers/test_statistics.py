"""`Server.statistics` counts what passes, what is open, what was refused, and how WebSockets ended."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import socket

import pytest
from drivers.conftest import listening, until, url

from mintws import PreparedMessage, Text, UpgradeError, UpgradeReject
from mintws.asyncio import ServerStatistics, broadcast, connect, serve


def test_what_passes_is_counted_while_a_websocket_is_open_and_after(run, http):
    async def work():
        async with listening(extensions=()) as server:
            before = server.statistics()
            assert (before.connections, before.websockets, before.messages_received) == (0, 0, 0)
            async with connect(url(server), http=http) as websocket:
                for i in range(3):
                    await websocket.send("x" * 10)
                    await websocket.recv()
                    during = server.statistics()
                    assert (during.messages_received, during.bytes_received) == (i + 1, 10 * (i + 1))
                assert (during.connections, during.websockets) == (1, 1)
            await until(lambda: server.statistics().connections == 0)
            after = server.statistics()
            assert (after.messages_received, after.messages_sent) == (3, 3)
            assert (after.bytes_received, after.bytes_sent) == (30, 30)
            assert (after.compressed_bytes_sent, after.inflated_bytes_sent) == (0, 0)
            assert (after.connections_accepted, after.websockets, after.websockets_opened) == (1, 0, 1)
            assert after.closed == {1000: 1}
            assert set(after.refused.values()) == {0}

    run(work())


def test_compressed_bytes_are_counted_as_they_pass_and_without_compression(run, http):
    message = "abcd" * 5000

    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            for _ in range(2):
                await websocket.send(message)
                assert await websocket.recv() == message
            found = server.statistics()
            assert found.inflated_bytes_received == found.inflated_bytes_sent == 2 * len(message)
            assert 10 < found.compressed_bytes_received < 1000
            assert 10 < found.compressed_bytes_sent < 1000
            await websocket.send("tiny", compress=False)
            await websocket.recv()
            assert server.statistics().inflated_bytes_received == 2 * len(message)

    run(work())


def test_compressed_bytes_of_a_message_for_many_are_counted(run, http):
    async def work():
        async with (
            listening() as server,
            connect(url(server), http=http) as one,
            connect(url(server), http=http) as two,
        ):
            await until(lambda: len(server.websockets) == 2)
            broadcast(server.websockets, PreparedMessage(Text("abcd" * 5000)))
            for websocket in (one, two):
                assert len(await websocket.recv()) == 20000
            found = server.statistics()
            assert found.inflated_bytes_sent == 40000
            assert 20 < found.compressed_bytes_sent < 2000

    run(work())


def test_websockets_that_end_are_counted_by_their_code(run, http):
    async def work():
        async with listening() as server:
            for code in (1000, 4001, 4001):
                await (await connect(url(server), http=http)).close(code)
            lost = await connect(url(server), http=http)
            lost.transport.abort()
            await until(lambda: server.statistics().websockets == 0)
            assert server.statistics().closed == {1000: 1, 4001: 2, 1006: 1}

    run(work())


def test_refusals_are_counted_by_their_reason(run, http):
    def upgrade(connection, request):
        if request.target == "/fails":
            raise ValueError
        return {"/no": UpgradeReject(401), "/wrong": UpgradeReject(99)}.get(request.target)

    async def work():
        async with listening(upgrade=upgrade, origins=["https://a.example", None]) as server:
            for target, origin in (("/no", None), ("/fails", None), ("/wrong", None), ("/", "https://b.example")):
                with pytest.raises(UpgradeError):
                    await connect(url(server, target), http=http, origin=origin)
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
                await until(lambda: server.statistics().refused["invalid"])
            refused = server.statistics().refused
            assert {why: count for why, count in refused.items() if count} == {
                "rejected": 1,
                "failed": 2,
                "origin": 1,
                "invalid": 1,
            }
            assert server.statistics().websockets_opened == 0

    run(work())


def test_a_handshake_that_the_end_of_the_server_overtakes_is_counted(run):
    async def upgrade(connection, request):
        begun.set()
        await end.wait()

    async def work():
        server = await serve(echo_nothing, "127.0.0.1", 0, upgrade=upgrade)
        asked = asyncio.ensure_future(connect(url(server))._connect())
        await begun.wait()
        closing = asyncio.ensure_future(server.close())
        await until(lambda: server.leaving)
        end.set()
        with pytest.raises(UpgradeError):
            await asked
        await closing
        assert server.statistics().refused["closing"] == 1
        assert server.statistics().connections == 0

    async def echo_nothing(websocket):
        pass

    begun, end = asyncio.Event(), asyncio.Event()
    run(work())


def test_what_is_told_is_a_value(run):
    async def work():
        async with listening() as server:
            found = server.statistics()
            with pytest.raises(dataclasses.FrozenInstanceError):
                found.connections = 5  # type: ignore[misc]
            assert pickle.loads(pickle.dumps(found)) == found == server.statistics()
            assert isinstance(found, ServerStatistics)
            async with connect(url(server)) as websocket:
                await websocket.send("x")
                await websocket.recv()
                assert found.websockets == 0 and found != server.statistics()

    run(work())
