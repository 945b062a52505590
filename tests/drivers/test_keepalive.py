"""The keepalive of the asyncio driver: it ends connections whose peer has gone, and no others."""

from __future__ import annotations

import asyncio
import socket

import pytest
from drivers.conftest import listening, url
from drivers.raw import answer_on_one_stream, raw_client, silent_server
from wire import PING, TEXT, frames_of, masked

from mintws import ConnectionClosed, LocalProtocolError, Ping, Pong, State
from mintws.asyncio import connect, connect_http2

QUICK = {"ping_interval": 0.1, "ping_timeout": 0.1}


def test_a_silent_peer_is_left(run, http):
    async def work():
        async with silent_server(http) as address:
            websocket = await connect(address, http=http, close_timeout=0.2, extensions=(), **QUICK)
            for _ in range(2):
                with pytest.raises(ConnectionClosed, match="no Pong came") as closed:
                    await asyncio.wait_for(websocket.recv(), 5)
                assert (closed.value.code, closed.value.clean) == (1006, False)
            await asyncio.wait_for(websocket.wait_closed(), 5)

    run(work())


def test_a_stream_that_answers_no_ping_is_left_and_one_beside_it_that_does_is_not(run):
    ended = []

    async def handler(websocket):
        await websocket.wait_closed()
        ended.append((websocket.connection.carrier.number, websocket.close_reason))

    async def work():
        async with listening(handler, ping_interval=0.1, ping_timeout=1) as server:
            left = await asyncio.to_thread(answer_on_one_stream, server.port, ended)
            assert left == [(3, "keepalive: no Pong came within 1 s")]

    run(work())


def test_a_server_that_answers_on_one_stream_alone_keeps_that_and_no_other(run):
    async def answer(connection, event, writer):
        if isinstance(event, Ping) and connection.carrier.number == 1:
            writer.write(connection.send(Pong(event.data)))

    async def work():
        async with silent_server("2", answer=answer) as address:
            how = {"ping_interval": 0.1, "ping_timeout": 0.5, "close_timeout": 0.2}
            async with connect_http2(address, **how) as client:
                first, second = await client.open("/"), await client.open("/")
                await asyncio.wait_for(second.wait_closed(), 10)
                assert (second.close_code, second.close_reason) == (1006, "keepalive: no Pong came within 0.5 s")
                assert first.state is State.OPEN and first.latency is not None

    run(work())


def test_a_peer_that_takes_nothing_is_left(run):
    ended = []

    async def handler(websocket):
        try:
            await websocket.send(b"x" * (32 << 20))
            await websocket.recv()
        except ConnectionClosed as closed:
            ended.append(closed.reason)

    async def work():
        async with listening(handler, extensions=(), **QUICK) as server:
            _, writer = await raw_client(server, read_buffer=4096)
            writer.transport.pause_reading()
            while not ended:
                await asyncio.sleep(0.01)
            writer.transport.abort()

    run(work())
    assert "the peer takes nothing" in ended[0]


def test_a_peer_that_uploads_one_slow_frame_is_alive(run):
    got = []

    async def handler(websocket):
        got.append(len(await websocket.recv()))

    async def work():
        async with listening(handler, extensions=(), **QUICK) as server:
            _, writer = await raw_client(server)
            message = masked(TEXT, b"x" * 100_000)
            for at in range(0, len(message), 10_000):
                writer.write(message[at : at + 10_000])
                await asyncio.sleep(0.04)
            while not got:
                await asyncio.sleep(0.01)
            writer.close()

    run(work())
    assert got == [100_000]


def test_a_peer_that_takes_a_large_message_slowly_is_alive(run):
    async def work():
        size = 8 << 20

        async def handler(websocket):
            await websocket.send(b"x" * size)
            await websocket.wait_closed()

        async with listening(handler, extensions=(), **QUICK) as server:
            reader, writer = await raw_client(server, read_buffer=64 * 1024)
            for _ in range(32):
                await reader.readexactly(size // 32)
                await asyncio.sleep(0.02)
            writer.close()

    run(work())


def test_an_application_that_takes_its_time_is_no_silent_peer(run, http):
    async def handler(websocket):
        for i in range(600):
            await websocket.send(f"{i} " * 1000)
        await websocket.wait_closed()

    async def work():
        async with listening(handler, extensions=(), ping_interval=None) as server:
            async with connect(url(server), http=http, extensions=(), **QUICK) as websocket:
                await asyncio.sleep(0.5)
                for i in range(600):
                    assert await websocket.recv() == f"{i} " * 1000
                assert websocket.state is State.OPEN

    run(work())


def test_an_application_that_takes_its_time_over_http2_is_alive_to_its_peer(run):
    done = []

    async def handler(websocket):
        for i in range(600):
            await websocket.send(f"{i} " * 1000)
        done.append(1)
        await websocket.wait_closed()

    async def work():
        # What we send waits for the client's credit, and our Pings behind it.
        async with listening(handler, extensions=(), **QUICK) as server:
            async with connect(url(server), http="2", extensions=(), ping_interval=None) as websocket:
                await asyncio.sleep(0.5)
                assert not done
                for i in range(600):
                    assert await websocket.recv() == f"{i} " * 1000
                assert websocket.state is State.OPEN

    run(work())


def test_pings_come_again_and_again(run):
    async def work():
        async with listening(ping_interval=0.05) as server:
            reader, writer = await raw_client(server)
            pings, data = 0, b""
            for _ in range(4):
                data += await reader.readexactly(10)
                (ping,) = frames_of(data[-10:])
                assert ping[2] == PING
                pings += 1
                writer.write(masked(0xA, ping[3]))
            assert pings == 4
            writer.close()

    run(asyncio.wait_for(work(), 5))


def test_each_ping_under_way_has_data_of_its_own(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            first = asyncio.create_task(websocket.ping(b"same"))
            await asyncio.sleep(0)
            with pytest.raises(LocalProtocolError, match="under way"):
                await websocket.ping(b"same")
            assert await first > 0
            assert await websocket.ping(b"same") > 0
            assert await websocket.ping(bytearray(b"same")) > 0
            assert websocket.latency > 0

    run(work())


def test_data_is_chosen_that_no_ping_of_the_application_has(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            taken = [websocket.ping(i.to_bytes(8, "big")) for i in (1, 2, 4)]
            latencies = await asyncio.wait_for(asyncio.gather(*taken, websocket.ping(), websocket.ping()), 5)
            assert len(latencies) == 5

    run(work())


@pytest.mark.parametrize("wrong", [5, "x", [1, 2]])
def test_a_ping_of_no_bytes_is_a_type_error(run, wrong):
    async def work():
        async with listening() as server, connect(url(server)) as websocket:
            with pytest.raises(TypeError):
                await websocket.ping(wrong)
            assert not websocket._session.pings.under_way

    run(work())


def test_a_ping_that_may_not_be_sent_waits_for_nothing(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            with pytest.raises(LocalProtocolError):
                await websocket.ping(b"x" * 126)
            assert not websocket._session.pings.under_way
            with pytest.raises(TypeError):
                await websocket.ping("text")

    run(work())


def test_a_peer_that_vanishes_is_left(run):
    # Nothing comes and nothing is refused: its host is gone.
    async def work():
        hole = socket.socket()
        hole.bind(("127.0.0.1", 0))
        hole.listen(1)
        async with listening(ping_interval=0.1, ping_timeout=0.1, close_timeout=0.1) as server:
            reader, writer = await raw_client(server)
            writer.transport.pause_reading()
            while server.websockets:
                await asyncio.sleep(0.01)
            writer.close()
        hole.close()

    run(work())


def test_an_interval_shorter_than_a_timer_of_the_loop_is_kept(run, http):
    # What is due within half a millisecond is no timer to uvloop, but called in the next turn.
    async def work():
        async with listening(ping_interval=0.0002) as server:
            async with connect(url(server), http=http, ping_interval=0.0002) as websocket:
                for number in range(20):
                    await websocket.send(str(number))
                    assert await websocket.recv() == str(number)
                    await asyncio.sleep(0.001)

    run(work())
