"""No peer, and no task, keeps the loop for long in one turn: what is more waits for a later one."""

import asyncio
import contextlib
import time

import hpack
import pytest
from drivers.conftest import listening, url
from drivers.raw import raw_client
from wire import (
    BINARY,
    CLOSE,
    CONNECT,
    DATA,
    END_HEADERS,
    H2_PING,
    HEADERS,
    PING,
    PONG,
    REQUEST,
    RSV1,
    SETTINGS,
    WINDOW_UPDATE,
    deflated,
    frame,
    h2_frame,
    masked,
)

from mintws import ConnectionClosed
from mintws.asyncio import connect
from mintws.http2.wire import Wire

#: More messages than any turn takes or sends.
MANY = 20_000
#: As many as one may.
MOST = 1_500


@contextlib.asynccontextmanager
async def counted(count):
    """Give how much a count grows at most between two turns of the loop, as the last item of a list."""
    most = [0]

    async def watch():
        before = count()
        while True:
            await asyncio.sleep(0)
            most[0] = max(most[0], count() - before)
            before = count()

    watching = asyncio.create_task(watch())
    yield most
    watching.cancel()


async def send_numbers(websocket):
    await websocket.send_many(str(i) for i in range(MANY))
    await websocket.wait_closed()


def test_a_reader_for_whom_messages_are_there_gives_other_tasks_a_turn(run, http):
    async def work():
        async with listening(send_numbers) as server:
            async with connect(url(server), http=http) as websocket:
                async with counted(lambda: websocket._taken) as most:
                    for i in range(MANY):
                        assert await websocket.recv() == str(i)
                assert 0 < most[0] < MOST

    run(work())


def test_a_sender_that_need_not_wait_gives_other_tasks_a_turn(run, http):
    async def handler(websocket):
        await websocket.wait_closed()

    async def work():
        async with listening(handler) as server:
            async with connect(url(server), http=http) as websocket:
                async with counted(lambda: websocket.counters.messages_sent) as most:
                    for _ in range(MANY):
                        await websocket.send("")
                assert 0 < most[0] < MOST

    run(work())


@pytest.mark.parametrize("size", [60_000, 100_000])
def test_large_messages_count_by_their_bytes(run, http, size):
    async def handler(websocket):
        for _ in range(100):
            await websocket.send(bytes(size))

    async def work():
        async with listening(handler) as server:
            async with connect(url(server), http=http) as websocket:
                async with counted(lambda: websocket._taken) as most:
                    assert [len(message) async for message in websocket] == [size] * 100
                assert 0 < most[0] * size < 2 << 20

    run(work())


def test_a_recv_that_is_cancelled_while_it_waits_for_a_turn_loses_nothing(run, http):
    async def work():
        async with listening(send_numbers) as server:
            async with connect(url(server), http=http) as websocket:
                got, cancelled = [await websocket.recv()], 0
                while len(got) < MANY:
                    receiving = asyncio.ensure_future(websocket.recv())
                    await asyncio.sleep(0)
                    if not receiving.done() and websocket._waiting:
                        cancelled += receiving.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        got.append(await receiving)
                assert got == [str(i) for i in range(MANY)]
                assert cancelled

    run(work())


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_reader_that_waits_for_a_turn_is_a_reader_to_those_who_await_the_end(run, http, cancelled):
    # Its turn may come later than who has no reader is told apart from who has one.
    async def block():
        blocked.append(websocket._awaited)
        time.sleep(0.2)

    async def handler(websocket):
        await websocket.send_many(str(i) for i in range(MANY))

    async def work():
        nonlocal websocket
        async with listening(handler) as server, listening() as other_server:
            async with connect(url(server), http=http) as websocket, connect(url(other_server), http=http) as other:
                while not websocket._paused:
                    await asyncio.sleep(0.01)
                work = other.send_many("" for _ in range(2 * MOST)), websocket.recv(), websocket.wait_closed()
                spending, receiving, waiting = map(asyncio.ensure_future, work)
                await asyncio.create_task(block())
                if cancelled:
                    receiving.cancel()
                    await asyncio.wait([receiving])
                    assert not websocket._awaited
                    waiting.cancel()
                    got = [await websocket.recv()]
                else:
                    got = [await receiving]
                got += [message async for message in websocket]
                assert got == [str(i) for i in range(MANY)]
                await asyncio.wait([spending, waiting])

    blocked, websocket = [], None
    run(work())
    assert blocked == [True]


def bombs(count):
    return masked(BINARY, deflated(bytes(1 << 20)), rsv=RSV1) * count


@pytest.mark.parametrize("end", ["close", "half"])
def test_control_frames_beyond_a_turn_wait_and_are_answered_in_order(run, end):
    async def handler(websocket):
        async with counted(lambda: websocket.counters.frames_received) as most:
            with contextlib.suppress(ConnectionClosed):
                async for message in websocket:
                    messages.append(message)
        ended.append((most[0] < 5000, websocket.close_code))

    messages, ended = [], []
    pings = b"".join(masked(PING, i.to_bytes(4, "big")) for i in range(10_000))
    pongs = b"".join(frame(PONG, i.to_bytes(4, "big")) for i in range(10_000))

    async def work():
        async with listening(handler) as server:
            reader, writer = await raw_client(server)
            writer.write(masked(BINARY, b"first") + pings + masked(BINARY, b"last"))
            if end == "close":
                writer.write(masked(CLOSE, b"\x03\xe8"))
            else:
                await reader.readexactly(len(pongs))
                writer.write_eof()
            answer = await reader.read(-1)
            if end == "close":
                assert answer == pongs + frame(CLOSE, b"\x03\xe8")
            writer.close()

    run(work())
    assert messages == [b"first", b"last"]
    assert ended == [(True, 1000 if end == "close" else 1006)]


@contextlib.asynccontextmanager
async def raw_http2_client(server, streams, *extensions):
    """Open WebSockets over HTTP/2 by hand: give what writes, and their streams."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    headers = [*CONNECT, *extensions]
    encoder = hpack.Encoder()
    numbers = range(1, 2 * streams, 2)
    opened = [h2_frame(HEADERS, END_HEADERS, stream, encoder.encode(headers)) for stream in numbers]
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(SETTINGS, 0, 0) + b"".join(opened))
    drain = asyncio.create_task(reader.read(-1))
    while len(server.websockets) < streams:
        await asyncio.sleep(0.01)
    yield writer, numbers
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await drain


def count_frames(monkeypatch):
    """Give how many frames h2 is handed from now on, in a list of one."""
    handed = [0]
    receive = Wire.receive

    def count(wire, piece):
        handed[0] += 1
        return receive(wire, piece)

    monkeypatch.setattr(Wire, "receive", count)
    return handed


@pytest.mark.parametrize("kind", [H2_PING, 0xBB])
def test_frames_of_http2_beyond_a_turn_wait_and_the_transport_is_not_read_meanwhile(run, kind, monkeypatch):
    async def handler(websocket):
        messages.append(await websocket.recv())

    async def work():
        async with listening(handler) as server:
            async with raw_http2_client(server, 1) as (writer, (stream,)):
                handed = count_frames(monkeypatch)
                async with counted(lambda: handed[0]) as most:
                    writer.write(h2_frame(kind, 0, 0, bytes(8)) * 4000)
                    writer.write(h2_frame(DATA, 0, stream, masked(BINARY, b"last")))
                    while not messages:
                        await asyncio.sleep(0)
                assert handed[0] >= 4000
                assert most[0] < 150

    messages = []
    run(work())
    assert messages == [b"last"]


def test_a_client_that_is_gone_keeps_the_loop_no_longer_than_one_that_is_there(run, monkeypatch):
    async def handler(websocket):
        with contextlib.suppress(ConnectionClosed):
            async for message in websocket:
                messages.append(message)
        ended.append(websocket.close_code)

    async def work():
        async with listening(handler) as server:
            async with raw_http2_client(server, 1) as (writer, (stream,)):
                [protocol] = server._protocols
                handed = count_frames(monkeypatch)
                async with counted(lambda: handed[0]) as most:
                    writer.write(h2_frame(H2_PING, 0, 0, bytes(8)) * 4000)
                    writer.write(h2_frame(DATA, 0, stream, masked(BINARY, b"last")))
                    while not protocol._behind:
                        await asyncio.sleep(0)
                    protocol.transport.abort()
                    while not ended:
                        await asyncio.sleep(0)
                    await asyncio.sleep(0)
                assert handed[0] > 150
                assert most[0] < 150
            assert protocol.gone.done()
            assert protocol not in server._protocols

    messages, ended = [], []
    run(work())
    assert ended == [1006]


def test_what_comes_on_many_transports_waits_for_turns_too(run):
    async def handler(websocket):
        websocket.discard()
        await websocket.wait_closed()

    def received():
        return sum(websocket.counters.messages_received for websocket in server.websockets)

    async def work():
        nonlocal server
        head = REQUEST + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        async with listening(handler) as server:
            clients = [await raw_client(server, head=head) for _ in range(20)]
            async with counted(received) as most:
                for _, writer in clients:
                    writer.write(bombs(20))
                while received() < 20 * 20:
                    await asyncio.sleep(0)
            assert most[0] < 10
            for _, writer in clients:
                writer.transport.abort()

    server = None
    run(work())


def test_one_who_sends_little_is_answered_before_those_who_wait_for_turns(run):
    async def handler(websocket):
        async for message in websocket:
            if len(message) < 10:
                await websocket.send(message)

    async def work():
        head = REQUEST + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        async with listening(handler) as server:
            async with connect(url(server)) as websocket:
                clients = [await raw_client(server, head=head) for _ in range(20)]
                for _, writer in clients:
                    writer.write(bombs(50))
                await asyncio.sleep(0.01)
                assert sum(it.counters.messages_received for it in server.websockets) < 20 * 50
                await websocket.send("little")
                assert await websocket.recv() == "little"
                assert sum(it.counters.messages_received for it in server.websockets) < 20 * 50
            for _, writer in clients:
                writer.transport.abort()

    run(work())


@pytest.mark.parametrize("streams", [1, 10])
def test_what_is_discarded_over_http2_is_inflated_over_many_turns(run, streams):
    async def handler(websocket):
        websocket.discard()
        await websocket.wait_closed()

    def received():
        return sum(websocket._discarded for websocket in server.websockets)

    async def work():
        nonlocal server
        async with listening(handler) as server:
            client = raw_http2_client(server, streams, ("sec-websocket-extensions", "permessage-deflate"))
            async with client as (writer, numbers):
                async with counted(received) as most:
                    for number in numbers:
                        writer.write(h2_frame(DATA, 0, number, bombs(15)))
                    # Each keeps those that may wait.
                    while received() < streams * 13:
                        await asyncio.sleep(0)
                assert most[0] < 10

    server = None
    run(work())


def test_what_has_waited_for_a_window_goes_out_over_many_turns(run):
    async def handler(websocket):
        await websocket.send(bytes(1 << 20))
        await websocket.wait_closed()

    def waiting():
        return sum(websocket.connection.buffered for websocket in server.websockets)

    async def work():
        nonlocal server
        async with listening(handler) as server:
            async with raw_http2_client(server, 20) as (writer, numbers):
                [protocol] = server._protocols
                while waiting() < 19 << 20:
                    await asyncio.sleep(0)
                before = protocol.written
                async with counted(lambda: protocol.written) as most:
                    for stream in (0, *numbers):
                        writer.write(h2_frame(WINDOW_UPDATE, 0, stream, (1 << 30).to_bytes(4, "big")))
                    while waiting():
                        await asyncio.sleep(0)
                assert protocol.written - before >= 19 << 20
                assert most[0] < 8 << 20

    server = None
    run(work())


@pytest.mark.parametrize("streams", [1, 5])
def test_what_a_peer_has_left_is_inflated_over_many_turns(run, streams):
    async def handler(websocket):
        await left.wait()
        await websocket.wait_closed()
        ended.append(websocket.close_code)

    def waits():
        return sum(websocket.connection.undelivered_bytes for websocket in websockets)

    def received():
        return sum(websocket.counters.messages_received for websocket in websockets)

    async def work():
        nonlocal websockets, left
        left = asyncio.Event()
        async with listening(handler) as server:
            client = raw_http2_client(server, streams, ("sec-websocket-extensions", "permessage-deflate"))
            async with client as (writer, numbers):
                websockets = list(server.websockets)
                for number in numbers:
                    writer.write(b"".join(h2_frame(DATA, 0, number, bombs(1)) for _ in range(20)))
                # Each has as many messages as may wait, and what was sent after those as bytes.
                while waits() < streams * 15 * len(bombs(1)):
                    await asyncio.sleep(0)
                async with counted(received) as most:
                    writer.transport.abort()
                    left.set()
                    while received() < streams * 20:
                        await asyncio.sleep(0)
                assert most[0] < 10

    websockets, ended, left = [], [], None
    run(work())
    assert ended == [1006] * streams


def test_what_is_discarded_is_inflated_over_many_turns_and_counted(run):
    async def handler(websocket):
        websocket.discard()
        async with counted(lambda: websocket._discarded) as most:
            await websocket.wait_closed()
        ended.set_result((most[0] < 10, websocket.ending.discarded + websocket._waiting, websocket.close_code))

    async def work():
        nonlocal ended
        ended = asyncio.get_running_loop().create_future()
        head = REQUEST + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        async with listening(handler) as server:
            reader, writer = await raw_client(server, head=head)
            bomb = masked(BINARY, deflated(bytes(1 << 20)), rsv=RSV1)
            writer.write(bomb * 100 + masked(CLOSE, b"\x03\xe8"))
            assert await reader.read(-1) == frame(CLOSE, b"\x03\xe8")
            assert await ended == (True, 100, 1000)
            writer.close()

    ended = None
    run(work())
