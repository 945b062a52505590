"""How WebSockets of the asyncio driver end, whoever ends them, and what those who wait are told."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from drivers.conftest import listening, live_timers, url
from drivers.raw import close_alone, raw_client, silent_server
from wire import CLOSE, GOAWAY, TEXT, close_payload, h2_frame, h2_frames, masked

from mintws import (
    Close,
    ConnectError,
    ConnectionClosed,
    Http1,
    Http2,
    LocalProtocolError,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeRequest,
)
from mintws.asyncio import connect, connect_http2
from mintws.events import RequestStarted
from mintws.session import GRACE, closing


def now():
    return asyncio.get_running_loop().time()


@pytest.fixture
def short_grace(monkeypatch):
    """Give the grace of an application, made shorter: its rules are held by tests that move a clock."""
    monkeypatch.setattr(closing, "GRACE", 0.5)
    return 0.5


@pytest.mark.parametrize("count", [300, 20_000])
def test_close_gets_past_messages_that_nobody_takes(run, http, count):
    async def handler(websocket):
        for i in range(count):
            await websocket.send(str(i))
        sent.set()
        await websocket.wait_closed()

    sent = asyncio.Event()

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            await sent.wait()
            begun = now()
            await websocket.close()
            assert now() - begun < 4
            assert websocket.ending.clean
            assert websocket.ending.discarded + websocket._waiting == count

    run(work())


def test_close_gets_past_messages_that_came_before_it(run, http):
    async def handler(websocket):
        for i in range(1000):
            await websocket.send(str(i))
        await websocket.wait_closed()

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            while websocket._waiting < 256:
                await asyncio.sleep(0.01)
            await websocket.close()
            assert websocket.ending.clean

    run(work())


def test_a_reader_who_has_nothing_to_take_for_a_while_loses_nothing(run, http, short_grace):
    count = 3000

    async def answer(connection, event, writer):
        if isinstance(event, Close):
            await asyncio.sleep(1.5 * short_grace)
            for i in range(count):
                writer.write(connection.send(Text(str(i))))
            writer.write(connection.send(event))
            writer.close()

    async def work():
        async with silent_server(http, answer=answer) as address:
            websocket = await connect(address, http=http, extensions=())
            reading = asyncio.ensure_future(take_all(websocket))
            await asyncio.sleep(0.01)
            await websocket.close()
            assert await reading == [str(i) for i in range(count)]
            assert websocket.ending.discarded == 0

    run(work())


async def take_all(websocket):
    return [message async for message in websocket]


def test_all_who_wait_are_told_when_the_peer_does_not_close(run, http):
    async def work():
        async with silent_server(http) as address:
            websocket = await connect(address, http=http, close_timeout=0.1, extensions=())
            reading = asyncio.create_task(websocket.recv())
            pinging = asyncio.create_task(websocket.ping())
            await asyncio.sleep(0.01)
            await websocket.close()
            for waiting in (reading, pinging, websocket.recv(), websocket.send("x")):
                with pytest.raises(ConnectionClosed, match="did not close in time") as closed:
                    await asyncio.wait_for(waiting, 5)
                assert (closed.value.code, closed.value.clean) == (1006, False)
            await asyncio.wait_for(websocket.wait_closed(), 5)

    run(work())


def test_a_handler_that_reads_learns_of_a_lost_connection(run, http):
    ended = []

    async def handler(websocket):
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        ended.append(closed.value.code)

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            websocket.transport.abort()
            while not ended:
                await asyncio.sleep(0.01)

    run(work())
    assert ended == [1006]


@pytest.mark.parametrize(("code", "ends"), [(1000, True), (1001, True), (None, True), (1011, False), (4000, False)])
def test_an_iteration_ends_without_an_error_where_nothing_went_wrong(run, http, code, ends):
    async def handler(websocket):
        await websocket.send("one")
        await websocket.close(code)

    async def work():
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            got = []
            with contextlib.nullcontext() if ends else pytest.raises(ConnectionClosed):
                async for message in websocket:
                    got.append(message)
            assert got == ["one"]

    run(work())


def test_a_body_that_another_websocket_ended_is_closed_with_1011(run, http):
    ends = []

    async def handler(websocket):
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        ends.append(closed.value.code)

    async def work():
        async with listening(handler) as server:
            with pytest.raises(ConnectionClosed, match="of another"):
                async with connect(url(server), http=http):
                    raise ConnectionClosed(1006, "of another", clean=False)

    run(work())
    assert ends == [1011]


def test_a_wrong_close_changes_nothing(run, http):
    async def work():
        async with listening() as server:
            async with connect(url(server), http=http, ping_interval=0.02) as websocket:
                for code, reason in ((999, ""), (1005, ""), (1000, "é" * 62), (None, "why")):
                    with pytest.raises(LocalProtocolError):
                        await websocket.close(code, reason)
                assert websocket.state is State.OPEN
                await websocket.send("still open")
                assert await websocket.recv() == "still open"
                await asyncio.sleep(0.1)
                assert websocket.latency is not None

    run(work())


def test_what_is_sent_while_our_close_is_under_way_is_told_its_code(run, http):
    async def work():
        async with silent_server(http) as address:
            websocket = await connect(address, http=http, close_timeout=0.3, extensions=())
            closing = asyncio.create_task(websocket.close(4321, "enough"))
            await asyncio.sleep(0.01)
            for late in (websocket.send("late"), websocket.ping()):
                with pytest.raises(ConnectionClosed) as closed:
                    await late
                assert (closed.value.code, closed.value.reason, closed.value.clean) == (4321, "enough", False)
            await closing

    run(work())


def test_the_server_reads_on_until_a_peer_that_it_ended_has_gone(run):
    # Closed at once, the system would answer what still comes with a reset, which may take the Close with it (RFC 6455 §7.1.1).
    async def work():
        async with listening(limit=1000, extensions=()) as server:
            reader, writer = await raw_client(server)
            large = masked(TEXT, b"x" * 100_000)
            for _ in range(50):
                writer.write(large)
                await asyncio.sleep(0)
            data = await reader.read()
            assert data[:4] == b"\x88" + bytes([len(data) - 2]) + close_payload(1009)
            writer.close()

    run(work())


def test_an_answer_to_a_close_waits_for_messages_that_are_being_taken(run, http, short_grace):
    async def handler(websocket):
        async for message in websocket:
            await asyncio.sleep(short_grace / 3)
            await websocket.send(message)

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            for i in range(5):
                await websocket.send(str(i))
            websocket._begin_close()
            assert [message async for message in websocket] == list("01234")
            assert websocket.ending.clean

    run(work())


async def ticks(websocket):
    with contextlib.suppress(ConnectionClosed):
        while True:
            await websocket.send("tick")
            await asyncio.sleep(0.02)


async def subscribes_and_ticks(websocket):
    await websocket.recv()
    await ticks(websocket)


async def waits(websocket):
    await websocket.wait_closed()


async def subscribes_and_waits(websocket):
    await websocket.recv()
    await websocket.wait_closed()


async def is_busy(websocket):
    while websocket.connection.state in (State.OPEN, State.REMOTE_CLOSING):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("handler", [ticks, subscribes_and_ticks, waits, subscribes_and_waits, is_busy])
def test_a_close_is_answered_at_once_where_nothing_is_unread(run, http, handler):
    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            if handler in (subscribes_and_ticks, subscribes_and_waits):
                await websocket.send("all of it")
            await asyncio.sleep(0.1)
            begun = now()
            websocket._begin_close(4001, "enough")
            while websocket.ending.received is None:
                await asyncio.sleep(0.01)
            assert now() - begun < GRACE / 2
            assert websocket.ending.received == Close(4001, "enough")

    run(work())


@pytest.mark.parametrize(("handler", "count"), [(is_busy, 5), (ticks, 2000)])
def test_a_close_after_messages_that_nobody_takes_is_answered_after_a_grace(run, http, handler, count):
    async def work():
        async with listening(handler, extensions=()) as server:
            websocket = await connect(url(server), http=http)
            await websocket.send_many(["x"] * count)
            await asyncio.sleep(0.1)
            begun = now()
            websocket._begin_close()
            while websocket.ending.received is None:
                await asyncio.sleep(0.01)
            assert now() - begun < 3 * GRACE
            assert websocket.ending.received.code == 1000

    run(work())


@pytest.mark.parametrize("count", [5, 300, 20_000])
@pytest.mark.parametrize("handler", [waits, subscribes_and_waits])
def test_no_message_stands_in_the_way_of_a_close_that_is_awaited(run, http, handler, count):
    ends = []

    async def ending(websocket):
        await handler(websocket)
        ends.append((websocket.close_code, websocket.close_reason, websocket.state))
        ends.append(websocket.ending.discarded + websocket._waiting + websocket._taken)

    async def work():
        async with listening(ending, extensions=()) as server:
            websocket = await connect(url(server), http=http)
            await websocket.send_many(["x"] * count)
            begun = now()
            await websocket.close(1000, "done")
            assert now() - begun < 3
            assert websocket.ending.clean
            while len(ends) < 2:
                await asyncio.sleep(0.01)

    run(work())
    assert ends == [(1000, "done", State.CLOSED), count]


def test_messages_are_kept_for_a_reader_while_another_task_awaits_the_end(run, http):
    got = []

    async def handler(websocket):
        waiting = asyncio.create_task(websocket.wait_closed())
        with contextlib.suppress(ConnectionClosed):
            async for message in websocket:
                got.append(message)
                if len(got) % 100 == 1:
                    await asyncio.sleep(0.01)
                await websocket.send(message)
        await waiting
        assert websocket.close_code == 1000

    async def work():
        async with listening(handler, extensions=()) as server:
            websocket = await connect(url(server), http=http)
            reading = asyncio.create_task(take_all(websocket))
            for i in range(3000):
                await websocket.send(str(i))
            await websocket.close()
            assert await reading == [str(i) for i in range(3000)]

    run(work())
    assert got == [str(i) for i in range(3000)]


@pytest.mark.parametrize("count", [5, 400])
def test_a_reader_that_begins_after_the_end_is_awaited_loses_nothing(run, http, count):
    """Nor does its peer, whose Close comes with its messages."""

    async def handler(websocket):
        async def read():
            await asyncio.sleep(0)
            with contextlib.suppress(ConnectionClosed):
                async for message in websocket:
                    await websocket.send(message)

        reading = asyncio.create_task(read())
        await websocket.wait_closed()
        await reading

    async def work():
        async with listening(handler, extensions=()) as server:
            websocket = await connect(url(server), http=http)
            reading = asyncio.create_task(take_all(websocket))
            await websocket.send_many([str(i) for i in range(count)])
            await websocket.close()
            assert await reading == [str(i) for i in range(count)]

    run(work())


def test_a_reader_that_is_busy_when_the_end_is_awaited_loses_nothing(run, http):
    got = []

    async def handler(websocket):
        async def read():
            with contextlib.suppress(ConnectionClosed):
                async for message in websocket:
                    got.append(message)
                    if len(got) == 1:
                        busy.set()
                        await asyncio.sleep(0.3)

        busy = asyncio.Event()
        reading = asyncio.create_task(read())
        await busy.wait()
        await websocket.wait_closed()
        await reading

    async def work():
        async with listening(handler, extensions=()) as server, connect(url(server), http=http) as websocket:
            await websocket.send_many([str(i) for i in range(2000)])

    run(work())
    assert got == [str(i) for i in range(2000)]


def test_close_waits_for_a_reader_that_takes_its_time(run, http, short_grace):
    async def handler(websocket):
        await websocket.send_many([str(i) for i in range(300)])
        await websocket.wait_closed()

    async def slowly(websocket):
        got = []
        async for message in websocket:
            got.append(message)
            await asyncio.sleep(0.003)
        return got

    async def work():
        async with listening(handler, extensions=()) as server:
            websocket = await connect(url(server), http=http, extensions=())
            reading = asyncio.create_task(slowly(websocket))
            await asyncio.sleep(0.1)
            await websocket.close()
            assert await reading == [str(i) for i in range(300)]
            assert websocket.ending.discarded == 0

    run(work())


def test_messages_are_kept_again_when_the_end_is_awaited_no_more(run, http):
    async def handler(websocket):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(websocket.wait_closed(), 0.05)
        await websocket.send("go on")
        await asyncio.sleep(0.2)
        with contextlib.suppress(ConnectionClosed):
            async for message in websocket:
                await websocket.send(message)

    async def work():
        async with listening(handler, extensions=()) as server, connect(url(server), http=http) as websocket:
            assert await websocket.recv() == "go on"
            reading = asyncio.create_task(take_all(websocket))
            for i in range(2000):
                await websocket.send(str(i))
            await websocket.close()
            assert await reading == [str(i) for i in range(2000)]

    run(work())


def test_how_it_ended_is_known_when_the_peer_was_lost_after_messages_that_wait(run, http):
    ends = []

    async def handler(websocket):
        await websocket.wait_closed()
        ends.append((websocket.close_code, websocket.state, websocket.close_reason != ""))

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http, extensions=())
            await websocket.send_many(["x"] * 1000)
            await asyncio.sleep(0.05)
            websocket.transport.abort()
            while not ends:
                await asyncio.sleep(0.01)

    run(work())
    assert ends == [(1006, State.CLOSED, True)]


async def send_metrics(websocket):
    while True:
        await websocket.send("metric")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("count", [0, 1])
def test_a_client_that_only_sends_learns_that_the_server_has_closed(run, http, count):
    async def handler(websocket):
        for i in range(count):
            await websocket.send(str(i))
        await websocket.recv()
        await websocket.close(4001, "enough")

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            begun = now()
            with pytest.raises(ConnectionClosed) as closed:
                await send_metrics(websocket)
            assert closed.value.code == 4001
            assert now() - begun < (GRACE / 2 if count == 0 else 3 * GRACE)

    run(work())


def test_an_answer_that_is_being_made_goes_out_before_a_close_is_answered(run, http):
    async def handler(websocket):
        question = await websocket.recv()
        await asyncio.sleep(0.3)
        await websocket.send(f"answer to {question}")
        with contextlib.suppress(ConnectionClosed):
            await websocket.recv()

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            await websocket.send("question")
            websocket._begin_close()
            assert await take_all(websocket) == ["answer to question"]
            assert websocket.ending.clean

    run(work())


def test_a_closed_stream_leaves_no_timer_behind(run):
    async def work():
        async with listening() as server, connect_http2(url(server)) as client:
            for _ in range(50):
                await (await client.open()).close()
            assert live_timers() < 10

    run(work())


def test_a_stream_whose_peer_does_not_end_it_is_reset(run):
    async def work():
        async with silent_server("2") as address:
            async with connect_http2(address, close_timeout=0.1) as client:
                websocket = await client.open(extensions=())
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(websocket.close(), 0.05)
                await asyncio.sleep(0.3)
                assert not client.http._streams
                assert not client._protocol.websockets

    run(work())


def test_a_peer_that_says_nothing_behind_its_close_is_no_hurry(run):
    async def handler(websocket):
        await websocket.recv()
        await asyncio.sleep(0.2)
        await websocket.send("late answer")

    async def work():
        async with listening(handler, extensions=()) as server:
            reader, writer = await raw_client(server)
            writer.write(masked(TEXT, b"question"))
            writer.write(masked(CLOSE, close_payload(1000)))
            data = await reader.read()
            assert data == b"\x81\x0blate answer\x88\x02\x03\xe8"
            writer.close()

    run(work())


@pytest.mark.parametrize("begun_by", ["client", "server"])
def test_the_client_leaves_it_to_the_server_to_close_the_transport(run, begun_by):
    # RFC 6455 §5.5.1, §7.1.1: both Closes have passed, and the client's half is open still.
    order = []

    async def serve_one(reader, writer):
        http = Http1(Role.SERVER)
        ((connection, _),), _ = http.receive(await reader.readuntil(b"\r\n\r\n"))
        writer.write(connection.send(UpgradeAccept()))
        if begun_by == "server":
            writer.write(connection.send(Close(1000)))
        ((_, close),), _ = http.receive(await reader.readexactly(8))
        writer.write(connection.send(close))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        order.append("server")
        writer.close()

    async def work():
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
            websocket = await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", extensions=())
            if begun_by == "client":
                await websocket.close()
            else:
                with pytest.raises(ConnectionClosed):
                    await websocket.recv()
            await asyncio.wait_for(asyncio.shield(websocket._protocol.gone), 5)
            order.append("client")
            assert websocket.ending.clean

    run(work())
    assert order == ["server", "client"]


def test_the_client_closes_the_transport_of_a_server_that_does_not(run):
    waited = []

    async def serve_one(reader, writer):
        http = Http1(Role.SERVER)
        ((connection, _),), _ = http.receive(await reader.readuntil(b"\r\n\r\n"))
        writer.write(connection.send(UpgradeAccept()))
        ((_, close),), _ = http.receive(await reader.readexactly(8))
        writer.write(connection.send(close))
        begun = now()
        assert await reader.read(1) == b""
        waited.append(now() - begun)
        writer.close()

    async def work():
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
            address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            websocket = await connect(address, close_timeout=0.3, extensions=())
            await websocket.close()
            assert websocket.ending.clean
            while not waited:
                await asyncio.sleep(0.01)

    run(work())
    assert 0.2 < waited[0] < 3


@pytest.mark.parametrize("tls", [False, True])
def test_close_does_not_wait_for_a_server_that_does_not_end_the_transport(run, http, tls, tls_contexts):
    # RFC 6455 §7.1.1 has the client wait: the transport does.
    theirs, ours = tls_contexts if tls else (None, None)

    async def work():
        async with silent_server(http, answer=close_alone, tls=theirs) as address:
            websocket = await connect(address, http=http, ssl=ours, extensions=())
            reading = asyncio.ensure_future(websocket.recv())
            begun = now()
            await websocket.close(4000, "enough")
            await websocket.wait_closed()
            assert now() - begun < 2
            for waiting in (reading, websocket.recv(), websocket.send("x"), websocket.ping()):
                with pytest.raises(ConnectionClosed) as closed:
                    await waiting
                assert (closed.value.code, closed.value.clean) == (4000, True)
            assert (websocket.close_code, websocket.close_reason) == (4000, "enough")
            assert websocket.transport.get_extra_info("peername")[0] == "127.0.0.1"
            assert not websocket._protocol.lost and not websocket.transport.is_closing()

    run(work())


def test_messages_before_the_close_are_there_after_close(run, http):
    async def answer(connection, event, writer):
        if isinstance(event, Close):
            writer.write(connection.send(Text("last")))
            await close_alone(connection, event, writer)

    async def work():
        async with silent_server(http, answer=answer) as address:
            websocket = await connect(address, http=http, extensions=())
            await websocket.close()
            assert await websocket.recv() == "last"
            with pytest.raises(ConnectionClosed):
                await websocket.recv()

    run(work())


@pytest.mark.parametrize("begun_by", ["client", "server"])
def test_the_server_closes_the_transport_first_and_at_once(run, begun_by):
    # RFC 6455 §5.5.1, §7.1.1
    async def handler(websocket):
        if begun_by == "server":
            await websocket.close(1000)
        async for _ in websocket:
            pass

    async def work():
        async with listening(handler, close_timeout=10) as server:
            reader, writer = await raw_client(server)
            if begun_by == "client":
                writer.write(masked(CLOSE, close_payload(1000)))
            assert await reader.readexactly(4) == b"\x88\x02\x03\xe8"
            if begun_by == "server":
                writer.write(masked(CLOSE, close_payload(1000)))
            begun = now()
            assert await reader.read() == b""
            assert now() - begun < 0.5
            writer.close()

    run(work())


def goaways(data):
    """Give the last streams and the error codes that the GOAWAY frames among some frames name."""
    payloads = [payload for kind, _, number, payload in h2_frames(data) if (kind, number) == (GOAWAY, 0)]
    return [(int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")) for payload in payloads]


@pytest.mark.parametrize("why", ["server", "silence", "fault"])
def test_the_server_says_goaway_before_it_closes_the_transport(run, why):
    # RFC 9113 §6.8, §9.1: all that was asked on the connection has been seen.
    async def work():
        server = await listening(open_timeout=0.2 if why == "silence" else 10)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        http = Http2(Role.CLIENT)
        writer.write(http.start())
        http.receive(await reader.read(65536))
        got, seen = b"", 0
        if why == "server":
            connection = http.open()
            writer.write(connection.send(UpgradeRequest("localhost")))
            while connection.state is not State.OPEN:
                got += (data := await reader.read(65536))
                http.receive(data)
            seen = 1
        elif why == "fault":
            writer.write(b"\0\0\x01\x06" + bytes(6))
        closing = asyncio.create_task(server.close()) if why == "server" else None
        while data := await reader.read(65536):
            got += data
            events, reply = http.receive(data)
            writer.write(reply)
            for connection, event in events:
                if isinstance(event, Close):
                    writer.write(connection.send(event))
        assert goaways(got) == [(seen, 6 if why == "fault" else 0)]
        writer.close()
        await (closing or server.close())

    run(work())


@pytest.mark.parametrize("many", [False, True])
def test_the_client_says_goaway_before_it_closes_the_transport(run, many):
    # RFC 9113 §6.8, §9.1
    got = []

    async def serve_one(reader, writer):
        http, read = Http2(Role.SERVER), b""
        writer.write(http.start())
        while data := await reader.read(65536):
            read += data
            events, reply = http.receive(data)
            writer.write(reply)
            for connection, event in events:
                if isinstance(event, (UpgradeRequest, Close)):
                    writer.write(connection.send(UpgradeAccept() if isinstance(event, UpgradeRequest) else event))
        got.append(read[24:])
        writer.close()

    async def work():
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
            address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            if many:
                async with connect_http2(address) as client:
                    await (await client.open()).close()
            else:
                websocket = await connect(address, http="2")
                await websocket.close()
            while not got:
                await asyncio.sleep(0.01)

    run(work())
    assert goaways(got[0]) == [(0, 0)]


def test_a_reader_is_told_what_the_servers_goaway_said(run):
    async def leave(connection, event, writer):
        if event == Text("leave"):
            writer.write(h2_frame(GOAWAY, 0, 0, b"\0\0\0\1" + (11).to_bytes(4, "big") + b"too many pings"))
            writer.close()

    async def work():
        async with silent_server("2", answer=leave) as address:
            websocket = await connect(address, http="2", extensions=())
            await websocket.send("leave")
            with pytest.raises(ConnectionClosed, match=r"GOAWAY\(ENHANCE_YOUR_CALM\): too many pings"):
                await websocket.recv()
            assert (websocket.close_code, websocket.ending.clean) == (1006, False)

    run(work())


def test_who_awaits_an_answer_is_told_what_the_servers_goaway_said(run):
    async def serve_one(reader, writer):
        http = Http2(Role.SERVER)
        writer.write(http.start())
        asked = 0
        while asked < 2:
            events, reply = http.receive(await reader.read(65536))
            writer.write(reply)
            asked += sum(connection is not None or isinstance(event, RequestStarted) for connection, event in events)
        writer.write(h2_frame(GOAWAY, 0, 0, b"\0\0\0\3" + (11).to_bytes(4, "big") + b"too many pings"))
        writer.close()

    async def work():
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
            async with connect_http2(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
                said = r"GOAWAY\(ENHANCE_YOUR_CALM\): too many pings"
                opening, asking = asyncio.gather(client.open()), asyncio.gather(client.request("GET", "/"))
                with pytest.raises(ConnectError, match=said):
                    await opening
                with pytest.raises(ConnectionClosed, match=said):
                    await asking

    run(work())


def test_a_transport_over_tls_can_be_asked_in_each_turn_of_the_loop_until_it_is_gone(run, http, tls_contexts):
    # Python 3.10 takes it to pieces before it says so.
    server_context, client_context = tls_contexts

    async def work():
        async with listening(ssl=server_context) as server:
            address = f"wss://localhost:{server.port}/"
            websocket = await connect(address, host="127.0.0.1", http=http, ssl=client_context)
            [protocol] = server._protocols
            websocket._protocol.transport.abort()
            while not protocol.gone.done():
                assert 0 <= protocol.buffered <= protocol.unsent
                protocol.update_reading()
                await asyncio.sleep(0)

    run(work())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("end", ["abort", "close"])
def test_nothing_is_written_after_the_transport_was_ended_by_the_user(run, http, tls_contexts, end, tls) -> None:
    server_context, client_context = tls_contexts if tls else (None, None)

    async def hang_up(websocket):
        await websocket.recv()
        getattr(websocket.transport, end)()
        # Neither this nor the Close of a handler that returns.
        await websocket.send("too late")

    async def work():
        async with listening(hang_up, ssl=server_context) as server:
            address = f"{'wss' if tls else 'ws'}://localhost:{server.port}/"
            websocket = await connect(address, host="127.0.0.1", http=http, ssl=client_context)
            await websocket.send("hang up")
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.code == 1006

    run(work())
