"""What a peer can make a driver hold is bounded for each connection, and nobody who is merely slow is reset for it."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import hpack
import pytest
from drivers.conftest import until
from wire import BINARY, CLOSE, DATA, END_HEADERS, HEADERS, RSV1, SETTINGS, close_payload, deflated, h2_frame, masked

from mintws import ConnectionClosed
from mintws.asyncio import Server, WebSocket, connect, connect_http2, serve

KIB = 1 << 10
LIMIT = 256 * KIB
#: A message of `LIMIT` bytes, in a few.
BOMB = masked(BINARY, deflated(bytes(LIMIT)), rsv=RSV1)


@contextlib.asynccontextmanager
async def raw_http2(server: Server, streams: int, window: int = 65_535) -> AsyncIterator[asyncio.StreamWriter]:
    """Open WebSockets on streams of one connection by hand: 1, 3, 5..."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(SETTINGS, 0, 0, struct.pack("!HI", 4, window)))
    encoder = hpack.Encoder()
    request = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ]
    for number in range(streams):
        writer.write(h2_frame(HEADERS, END_HEADERS, 2 * number + 1, encoder.encode(request)))
    while len(server.websockets) < streams:
        await asyncio.sleep(0.01)
    discards = asyncio.create_task(_discard(reader))
    try:
        yield writer
    finally:
        discards.cancel()
        writer.close()


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


def held(server: Server) -> int:
    (protocol,) = server._protocols
    return int(protocol.http._data_receiver.held_bytes)


def test_what_nobody_reads_is_bounded_over_all_streams(run: Any) -> None:
    async def main() -> None:
        go = asyncio.Event()
        received: dict[int, list[int]] = {}

        async def handle(websocket: WebSocket) -> None:
            sizes = received[websocket.connection.carrier.number] = []
            await go.wait()
            with contextlib.suppress(ConnectionClosed):
                async for message in websocket:
                    sizes.append(len(message))

        async with serve(handle, "127.0.0.1", 0, limit=LIMIT) as server, raw_http2(server, 40) as writer:
            for number in range(40):
                writer.write(h2_frame(DATA, 0, 2 * number + 1, BOMB * 5))
            await until(lambda: all(it.connection.undelivered_bytes or it._waiting for it in server.websockets))
            assert sum(it._waiting for it in server.websockets) * LIMIT <= 8 * LIMIT + LIMIT + 256 * KIB
            assert held(server) <= 9 * LIMIT + 256 * KIB + 40 * 5 * len(BOMB)
            go.set()
            await until(lambda: [len(sizes) for sizes in received.values()] == [5] * 40)
            assert [set(sizes) for sizes in received.values()] == [{LIMIT}] * 40

    run(main())


def test_echoes_that_the_peer_does_not_take_are_bounded_over_all_streams(run: Any) -> None:
    async def main() -> None:
        async def echo(websocket: WebSocket) -> None:
            async for message in websocket:
                await websocket.send(message, compress=False)

        async with serve(echo, "127.0.0.1", 0, limit=LIMIT) as server, raw_http2(server, 40, window=0) as writer:
            for number in range(40):
                writer.write(h2_frame(DATA, 0, 2 * number + 1, BOMB * 5))
            await until(
                lambda: all(it.connection.undelivered_bytes or it.connection.buffered for it in server.websockets)
            )
            # Each has been asked for one, and what was asked for is answered.
            assert sum(it._waiting for it in server.websockets) * LIMIT <= 8 * LIMIT + 256 * KIB
            assert all(it._waiting <= 2 for it in server.websockets)

    run(main())


@pytest.mark.parametrize("awaits", [True, False])
def test_a_close_behind_what_waits_for_a_reader_is_answered(run: Any, awaits: bool) -> None:
    async def main() -> None:
        ended = []

        async def handle(websocket: WebSocket) -> None:
            if awaits:
                await websocket.wait_closed()
                ended.append(websocket.close_code)
            else:
                await asyncio.sleep(60)

        async with serve(handle, "127.0.0.1", 0, limit=LIMIT, close_timeout=0.5) as server:
            async with raw_http2(server, 40) as writer:
                for number in range(40):
                    writer.write(h2_frame(DATA, 0, 2 * number + 1, BOMB * 2 + masked(CLOSE, close_payload(1000))))
                await until(lambda: not server.websockets)
                if awaits:
                    await until(lambda: len(ended) == 40)
                    assert set(ended) == {1000}

    run(main())


def test_many_streams_of_large_messages_to_a_slow_application_all_come(run: Any) -> None:
    async def main() -> None:
        received = []

        async def handle(websocket: WebSocket) -> None:
            async for message in websocket:
                await asyncio.sleep(0.002)
                received.append(len(message))

        async with serve(handle, "127.0.0.1", 0, limit=LIMIT, memory_limit=LIMIT) as server:
            async with connect_http2(f"ws://127.0.0.1:{server.port}") as client:
                websockets = [await client.open("/", extensions=()) for _ in range(20)]
                message = bytes(range(256)) * (LIMIT // 256)
                await asyncio.gather(*(it.send(message) for it in websockets for _ in range(3)))
                await until(lambda: len(received) == 60)
                assert set(received) == {LIMIT}
                assert {it.close_code for it in websockets} == {None}

    run(main())


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_memory_limit_is_an_argument_of_both_sides(run: Any, http: Any) -> None:
    async def main() -> None:
        async def echo(websocket: WebSocket) -> None:
            async for message in websocket:
                await websocket.send(message)

        async with serve(echo, "127.0.0.1", 0, limit=KIB, memory_limit=2 * KIB) as server:
            url = f"ws://127.0.0.1:{server.port}"
            async with connect(url, http=http, limit=KIB, memory_limit=None) as websocket:
                for _ in range(100):
                    await websocket.send(bytes(KIB))
                for _ in range(100):
                    assert await websocket.recv() == bytes(KIB)

    run(main())
