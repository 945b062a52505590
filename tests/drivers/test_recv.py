"""`recv` of the asyncio driver: what it is awaited by, and how much waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random

import pytest
from drivers.conftest import echo, listening, url
from drivers.raw import raw_client
from wire import PING, TEXT, frames_of, masked

from mintws import (
    Binary,
    Close,
    ConnectionClosed,
    Http1,
    Http2,
    PerMessageDeflate,
    Ping,
    PreparedMessage,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeRequest,
)
from mintws.asyncio import connect, connect_http2


def test_messages_that_wait_are_bounded_in_bytes(run, http):
    async def work():
        taking = asyncio.Event()
        sizes = []

        async def handler(websocket):
            await taking.wait()
            async for message in websocket:
                sizes.append(len(message))

        async with listening(handler, extensions=(), limit=1 << 24) as server:
            websocket = await connect(url(server), http=http, extensions=())
            sending = asyncio.create_task(send_all(websocket, [b"x" * 100_000] * 300))
            await asyncio.sleep(0.3)
            (theirs,) = server.websockets
            # Of 30 MB: a quarter of 1 MiB, what was read with it, and over HTTP/2 what credit had been given for.
            assert theirs._waiting < 12
            taking.set()
            await sending
            await websocket.close()
        assert sizes == [100_000] * 300

    run(work())


async def send_all(websocket, messages):
    for message in messages:
        await websocket.send(message)


def test_a_stream_that_nobody_reads_stops_no_other(run):
    async def handler(websocket):
        if websocket.request.target == "/slow":
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await websocket.ping()
                    await asyncio.sleep(0.01)
        else:
            await echo(websocket)

    async def work():
        async with listening(handler) as server, connect_http2(url(server), close_timeout=0.1) as client:
            slow, quick = await client.open("/slow"), await client.open("/quick")
            flooding = asyncio.create_task(send_all(slow, [random.randbytes(50_000)] * 100))
            for i in range(100):
                await quick.send(str(i))
                assert await asyncio.wait_for(quick.recv(), 5) == str(i)
            assert not flooding.done()
            flooding.cancel()

    run(work())


def test_a_peer_that_sends_pings_and_reads_nothing_is_not_read(run):
    async def work():
        async with listening() as server:
            reader, writer = await raw_client(server, read_buffer=4096)
            writer.transport.pause_reading()
            sent = 0
            ping = masked(PING, b"x" * 125)
            try:
                while sent < 400 << 20:
                    writer.write(ping * 1000)
                    await asyncio.wait_for(writer.drain(), 1)
                    sent += len(ping) * 1000
            except asyncio.TimeoutError:
                pass
            (theirs,) = server.websockets
            assert theirs.transport.get_write_buffer_size() < 1 << 20
            # Read, it is answered in full.
            writer.transport.resume_reading()
            data = await reader.readexactly(127 * 1000)
            assert {frame[2] for frame in frames_of(data)} == {0xA}
            writer.transport.abort()

    run(work())


def test_a_cancelled_recv_says_what_it_was_cancelled_with(run, http):
    async def read(websocket):
        # Whoever awaits the task is told from Python 3.11 on.
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await websocket.recv()
        return cancelled.value.args

    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            for message, args in ((None, ()), ("why", ("why",))):
                reading = asyncio.create_task(read(websocket))
                await asyncio.sleep(0)
                reading.cancel(message) if message else reading.cancel()
                assert await reading == args
            await websocket.send("x")
            assert await websocket.recv() == "x"

    run(work())


def test_cancelling_recv_at_any_moment_loses_no_message(run, http):
    count = 300

    async def handler(websocket):
        for i in range(count):
            await websocket.send(str(i))
            if i % 3 == 0:
                await asyncio.sleep(0)
        await websocket.wait_closed()

    async def work():
        chance = random.Random(7)
        got = []
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            while len(got) < count:
                reading = asyncio.create_task(websocket.recv())
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                reading.cancel()
                try:
                    got.append(await reading)
                except asyncio.CancelledError:
                    continue
        assert got == [str(i) for i in range(count)]

    run(asyncio.wait_for(work(), 15))


def test_a_timeout_around_recv_ends_it_and_nothing_else(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            for i in range(10):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(websocket.recv(), 0.01)
                await websocket.send(str(i))
                assert await asyncio.wait_for(websocket.recv(), 5) == str(i)

    run(work())


def test_recv_goes_on_in_the_context_of_its_task(run, http):
    name = contextvars.ContextVar("name", default="nobody")

    async def read(websocket, who):
        name.set(who)
        message = await websocket.recv()
        return message, name.get()

    async def work():
        async with listening() as server:
            first = await connect(url(server), http=http)
            second = await connect(url(server), http=http)
            reading = asyncio.gather(read(first, "first"), read(second, "second"))
            await asyncio.sleep(0)
            await second.send("2")
            await first.send("1")
            assert await reading == [("1", "first"), ("2", "second")]
            await asyncio.gather(first.close(), second.close())

    run(work())


def test_a_call_of_recv_is_as_good_as_a_coroutine(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            for how in (
                lambda call: asyncio.create_task(call),
                lambda call: asyncio.wait_for(call, 5),
                lambda call: asyncio.shield(call),
                lambda call: asyncio.gather(call),
                lambda call: call,
            ):
                waiting = how(websocket.recv())
                await websocket.send("x")
                assert await waiting in ("x", ["x"])
            reading = asyncio.create_task(websocket.recv_event())
            done, _ = await asyncio.wait([reading], timeout=0.01)
            assert not done
            await websocket.send("event")
            assert (await reading).data == "event"
            await websocket.send("next")
            assert await anext(websocket) == "next"

    run(work())


def test_a_task_is_shown_with_the_call_that_it_awaits(run):
    async def work():
        async with listening() as server, connect(url(server)) as websocket:
            for call, name in (
                (websocket.recv(), "recv"),
                (websocket.recv_event(), "recv_event"),
                (anext(websocket), "__anext__"),
                (websocket.send("x"), "send"),
            ):
                task = asyncio.ensure_future(call)
                assert f"coro=<WebSocket.{name}()>" in repr(task)
                task.cancel()

    run(work())


def test_a_call_of_recv_that_two_tasks_await_is_an_error_of_the_second(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            call = websocket.recv()
            first = asyncio.create_task(call)
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task awaits"):
                await asyncio.create_task(call)
            await websocket.send("x")
            assert await asyncio.wait_for(first, 5) == "x"

    run(work())


def test_an_exception_of_the_reader_stays_in_its_task(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:

            async def read():
                await websocket.recv()
                raise RuntimeError("of the application")

            reading = asyncio.create_task(read())
            await asyncio.sleep(0)
            await websocket.send("x")
            with pytest.raises(RuntimeError, match="of the application"):
                await reading
            await websocket.send("y")
            assert await websocket.recv() == "y"

    run(work())


def test_an_exit_of_one_reader_takes_no_message_from_another():
    async def read_and_exit(websocket):
        await websocket.recv()
        raise SystemExit(7)

    opened = []

    async def handler(websocket):
        opened.append(websocket)
        async for message in websocket:
            for one in opened:
                await one.send(message)

    async def begin():
        server = await listening(handler)
        client = await connect_http2(url(server))
        first, second, third = [await client.open() for _ in range(3)]
        reading = asyncio.ensure_future(read_and_exit(first)), asyncio.ensure_future(second.recv())
        await asyncio.sleep(0)
        await third.send("to all, in one chunk")
        return server, client, reading

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        server, client, (exiting, reading) = loop.run_until_complete(begin())
        with pytest.raises(SystemExit):
            loop.run_until_complete(asyncio.sleep(5))
        assert isinstance(exiting.exception(), SystemExit)
        assert loop.run_until_complete(asyncio.wait_for(reading, 5)) == "to all, in one chunk"
        loop.run_until_complete(client.close())
        loop.run_until_complete(server.close())


def test_what_came_is_received_after_the_end_and_then_the_end(run, http):
    async def handler(websocket):
        for i in range(10):
            await websocket.send(str(i))

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            while websocket.close_code is None:
                await asyncio.sleep(0.01)
            assert [await websocket.recv() for _ in range(10)] == [str(i) for i in range(10)]
            for _ in range(2):
                with pytest.raises(ConnectionClosed):
                    await websocket.recv()

    run(work())


def test_a_message_in_the_chunk_that_opens_the_connection_is_received(run, http):
    async def handler(websocket):
        await websocket.send("first")
        await websocket.send("second")
        await echo(websocket)

    async def work():
        async with listening(handler) as server:
            for _ in range(20):
                async with connect(url(server), http=http) as websocket:
                    assert [await websocket.recv(), await websocket.recv()] == ["first", "second"]

    run(work())


def test_one_connection_that_floods_leaves_the_others_their_turn(run):
    async def work():
        async with listening() as server:
            _, writer = await raw_client(server)
            flood = masked(TEXT, b"") * 20_000

            async def flooding():
                while True:
                    writer.write(flood)
                    await writer.drain()

            task = asyncio.create_task(flooding())
            async with connect(url(server)) as websocket:
                for i in range(10):
                    await websocket.send(str(i))
                    assert await asyncio.wait_for(websocket.recv(), 5) == str(i)
            task.cancel()
            writer.transport.abort()

    run(work())


BOMB = PreparedMessage(Binary(bytes(2**20)), level=9)


def bombs(connection, count):
    """Write messages of 1 MiB, numbered, that take 1 KiB each."""
    return b"".join(connection.send(BOMB) + connection.send(Text(str(i))) for i in range(count))


async def take_bombs(websocket, count):
    for i in range(count):
        assert len(await websocket.recv()) == 2**20
        # Not more than one that came before the others were many, and one that made them so.
        assert websocket._waiting <= 4
        assert await websocket.recv() == str(i)


def test_what_nobody_takes_is_not_inflated(run, http):
    """A MiB of messages is a KiB on the wire: what is read ahead of the application waits as it came."""

    async def handler(websocket):
        await asyncio.sleep(0.2)
        assert websocket._waiting <= 4
        await take_bombs(websocket, 100)
        await websocket.send("all")

    async def work():
        async with listening(handler) as server:
            async with connect(url(server), http=http, extensions=[PerMessageDeflate()]) as websocket:
                for i in range(100):
                    await websocket.send(BOMB)
                    await websocket.send(str(i))
                assert await websocket.recv() == "all"

    run(work())


@pytest.mark.parametrize("end", ["close", "lost", "late"])
def test_what_comes_with_the_answer_is_not_inflated_ahead_of_its_reader(run, http, end):
    async def serve_one(reader, writer):
        carrier = Http1(Role.SERVER) if http == "1.1" else Http2(Role.SERVER)
        writer.write(carrier.start())
        while data := await reader.read(65536):
            events, reply = carrier.receive(data)
            writer.write(reply)
            for connection, event in events:
                if isinstance(event, Close):
                    writer.write(connection.send(event))
                elif isinstance(event, UpgradeRequest):
                    out = connection.send(UpgradeAccept(extensions=[PerMessageDeflate()])) + bombs(connection, 50)
                    if end == "close":
                        out += connection.send(Close(1000))
                    writer.write(out)
                    if end == "lost":
                        await asyncio.sleep(0.1)
                        writer.transport.abort()
                        return
        writer.close()

    async def work():
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
            address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with connect(address, http=http, extensions=[PerMessageDeflate()], close_timeout=0.5) as websocket:
                await asyncio.sleep(0.2)
                assert websocket._waiting <= 4
                await take_bombs(websocket, 50)
                if end == "late":
                    websocket._begin_close()
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
                assert closed.value.code == (1006 if end == "lost" else 1000)
            await websocket._protocol.gone
            await asyncio.sleep(0.05)

    run(work())


def test_messages_that_wait_as_bytes_outlive_the_end_of_their_stream(run):
    """Over HTTP/2 the end of a stream comes while its data is not read yet."""

    async def handler(websocket):
        await asyncio.sleep(0.3)
        await take_bombs(websocket, 40)
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        ends.append(closed.value.code)

    ends = []

    async def work():
        async with listening(handler) as server, connect_http2(url(server), close_timeout=0.2) as client:
            for leave in ("close", "abort"):
                websocket = await client.open(extensions=[PerMessageDeflate()])
                for i in range(40):
                    await websocket.send(BOMB)
                    await websocket.send(str(i))
                await asyncio.sleep(0.1)
                if leave == "close":
                    await websocket.close(4001)
                else:
                    websocket._protocol.abort(websocket)
            while len(ends) < 2:
                await asyncio.sleep(0.01)

    run(work())
    assert ends == [4001, 1006]


def test_what_waits_as_bytes_stays_within_a_window(run):
    """Over HTTP/2 a reader that takes little gives credit for what it has taken, not for all that waits."""
    taken = []

    async def handler(websocket):
        held = 0
        for _ in range(40):
            assert len(await websocket.recv()) == 2**20
            await asyncio.sleep(0.01)
            held = max(held, websocket.connection.undelivered_bytes)
        taken.append(held)

    async def flood(websocket):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await websocket.send(BOMB)
                await asyncio.sleep(0)

    async def work():
        async with listening(handler) as server, connect_http2(url(server), close_timeout=0.2) as client:
            websocket = await client.open(extensions=[PerMessageDeflate()])
            flooding = asyncio.create_task(flood(websocket))
            while not taken:
                await asyncio.sleep(0.01)
            flooding.cancel()
            websocket._protocol.transport.abort()

    run(work())
    assert taken[0] <= 256 * 1024


def test_pings_that_waited_as_bytes_leave_few_pongs_to_a_client_that_takes_none(run):
    """Over HTTP/2 their Pongs are answers as any others, of which the newest answers for all."""
    buffered = []

    async def handler(websocket):
        for _ in range(2000):
            await websocket.recv()
        buffered.append(websocket.connection.buffered)

    async def work():
        async with listening(handler) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            client = Http2(Role.CLIENT)
            writer.write(client.start())
            connection = client.open()
            writer.write(connection.send(UpgradeRequest("127.0.0.1", "/")))
            while connection.response is None:
                writer.write(client.receive(await reader.read(65536))[1])
            # SETTINGS_INITIAL_WINDOW_SIZE is 0.
            writer.write(bytes.fromhex("000006040000000000000400000000"))
            for _ in range(10):
                batch = [Text("x")] * 300 + [Ping(bytes(125))] * 100
                writer.write(connection.send_many(batch))
                await asyncio.sleep(0.01)
            while not buffered:
                await asyncio.sleep(0.01)
            writer.transport.abort()

    run(work())
    assert buffered[0] <= 4096


@pytest.mark.parametrize("taken", [0, 3000])
def test_what_was_read_before_the_transport_was_lost_is_there_after_close(run, http, taken):
    """... or counted, where the application takes no more."""

    async def serve_one(reader, writer):
        carrier = Http1(Role.SERVER) if http == "1.1" else Http2(Role.SERVER)
        writer.write(carrier.start())
        while True:
            events, reply = carrier.receive(await reader.read(65536))
            writer.write(reply)
            for connection, event in events:
                if isinstance(event, UpgradeRequest):
                    writer.write(connection.send(UpgradeAccept()))
                    writer.write(b"".join(connection.send(Text(str(i))) for i in range(3000)))
                    await asyncio.sleep(0.1)
                    writer.transport.abort()
                    return

    async def work():
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
            address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            websocket = await connect(address, http=http, extensions=(), close_timeout=0.1)
            if http == "1.1":
                # Where nothing is read, nobody hears of a loss.
                await asyncio.sleep(0.2)
                websocket.transport.abort()
            await websocket._protocol.gone
            await websocket.close()
            await asyncio.sleep(0.2)
            for i in range(taken):
                assert await websocket.recv() == str(i)
            websocket.discard()
            rest = [message async for message in ignoring(websocket)]
            # What nobody takes is decoded in turns of the loop that have time for it; it is counted, or waits to be taken.
            while taken + len(rest) + websocket._waiting + websocket.ending.discarded < 3000:
                await asyncio.sleep(0)
            assert taken + len(rest) + websocket._waiting + websocket.ending.discarded == 3000
            assert websocket.ending.exception().code == 1006

    run(work())


async def ignoring(websocket):
    with contextlib.suppress(ConnectionClosed):
        async for message in websocket:
            yield message


def test_a_fault_comes_behind_the_messages_that_wait(run):
    """Over HTTP/2 the carrier finds it, here HEADERS on the stream, while messages wait as bytes."""
    taking = asyncio.Event()
    got = []

    async def handler(websocket):
        await taking.wait()
        try:
            async for message in websocket:
                got.append(message)
        except ConnectionClosed as closed:
            got.append(closed.code)

    async def work():
        async with listening(handler) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            http = Http2(Role.CLIENT)
            writer.write(http.start())
            while http.can_open is None:
                writer.write(http.receive(await reader.read(65536))[1])
            connection = http.open()
            writer.write(connection.send(UpgradeRequest("localhost")))
            while connection.state is not State.OPEN:
                writer.write(http.receive(await reader.read(65536))[1])
            writer.write(b"".join(connection.send(Text(str(i))) for i in range(3000)))
            http.h2.send_headers(1, [("trailer", "x")], end_stream=True)
            writer.write(http.h2.data_to_send())
            await asyncio.sleep(0.1)
            taking.set()
            while len(got) < 3001:
                await asyncio.sleep(0.01)
            writer.close()

    run(work())
    assert got[:3000] == [str(i) for i in range(3000)]
    assert got[3000] in (1002, 1006)
