"""`mintws.asyncio`, client and server, over HTTP/1.1 and HTTP/2 and real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct

import pytest
from drivers.conftest import echo, listening, url

from mintws import (
    Binary,
    ConnectError,
    ConnectionClosed,
    Http1,
    LocalProtocolError,
    PerMessageDeflate,
    PreparedMessage,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeError,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.asyncio import connect, connect_http2
from mintws.events import Response


def test_messages_of_all_sizes_come_back(run, http):
    async def work():
        async with listening(limit=1 << 22) as server, connect(url(server), http=http, limit=1 << 22) as websocket:
            assert websocket.http_version == http
            for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, (1 << 20) + 1):
                for message in ("é" * (size // 2), b"\xff" * size):
                    await websocket.send(message)
                    assert await websocket.recv() == message

    run(work())


@pytest.mark.parametrize("extensions", [(), (PerMessageDeflate(),)])
def test_many_messages_in_flight_come_back_in_order(run, http, extensions):
    async def work():
        async with listening() as server, connect(url(server), http=http, extensions=extensions) as websocket:

            async def send():
                for i in range(5000):
                    await websocket.send(f"message {i} " * 4)

            sending = asyncio.create_task(send())
            for i in range(5000):
                assert await websocket.recv() == f"message {i} " * 4
            await sending

    run(work())


def test_an_iterable_is_one_message_in_fragments(run, http):
    async def slowly():
        for part in (b"one ", b"", b"message"):
            await asyncio.sleep(0)
            yield part

    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            await websocket.send(["one ", "message"])
            assert await websocket.recv() == "one message"
            await websocket.send(slowly())
            assert await websocket.recv() == b"one message"
            with pytest.raises(TypeError):
                await websocket.send([])
            with pytest.raises(TypeError):
                await websocket.send({"a": 1})
            with pytest.raises(TypeError):
                await websocket.send(7)

    run(work())


def test_parts_are_given_as_they_come(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http, parts=True) as websocket:
            await websocket.send(b"x" * 500_000)
            parts = [await websocket.recv_event()]
            while not parts[-1].fin:
                parts.append(await websocket.recv_event())
            assert b"".join(part.data for part in parts) == b"x" * 500_000

    run(work())


def test_a_prepared_message_goes_to_many(run, http):
    async def work():
        async def handler(websocket):
            await websocket.send(prepared)
            await websocket.send("after")
            await websocket.wait_closed()

        prepared = PreparedMessage(Text("hello " * 100))
        async with listening(handler) as server:
            for extensions in ((), (PerMessageDeflate(),)):
                async with connect(url(server), http=http, extensions=extensions) as websocket:
                    assert await websocket.recv() == "hello " * 100
                    assert await websocket.recv() == "after"

    run(work())


def test_the_client_closes_with_a_code_and_a_reason(run, http):
    endings = []

    async def handler(websocket):
        async for _ in websocket:
            pass
        endings.append((websocket.close_code, websocket.close_reason, websocket.ending.clean))

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            await websocket.close(1000, "enough")
            assert websocket.state is State.CLOSED
            assert websocket.ending.clean
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.code == 1000
            with pytest.raises(ConnectionClosed):
                await websocket.send("late")
            await websocket.close()

    run(work())
    assert endings == [(1000, "enough", True)]


def test_the_server_closes_when_the_handler_returns(run, http):
    async def handler(websocket):
        await websocket.send("one")
        await websocket.close(3001, "that was all")

    async def work():
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            assert await websocket.recv() == "one"
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert (closed.value.code, closed.value.reason, closed.value.clean) == (3001, "that was all", True)

    run(work())


def test_a_handler_that_raises_closes_with_1011_and_is_logged(run, http, caplog):
    async def handler(websocket):
        raise RuntimeError("a bug of the application")

    async def work():
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.code == 1011

    with caplog.at_level(logging.ERROR, "mintws.server"):
        run(work())
    assert "a bug of the application" in caplog.text


def test_what_answers_a_message_goes_out_before_the_close_that_came_behind_it(run, http):
    async def work():
        async with listening() as server:
            websocket = await connect(url(server), http=http)
            for i in range(10):
                await websocket.send(str(i))
            websocket._begin_close(1000, "")
            assert [await websocket.recv() for _ in range(10)] == [str(i) for i in range(10)]
            with pytest.raises(ConnectionClosed):
                await websocket.recv()
            assert websocket.ending.clean

    run(work())


def test_a_close_is_answered_for_a_handler_that_never_receives(run, http):
    async def handler(websocket):
        await websocket.wait_closed()

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            await websocket.close()
            assert websocket.ending.clean

    run(work())


def test_a_handler_that_only_sends_learns_that_the_peer_has_closed(run, http):
    ended = []

    async def handler(websocket):
        try:
            while True:
                await websocket.send("tick")
                await asyncio.sleep(0.01)
        except ConnectionClosed as closed:
            ended.append(closed.code)
            raise

    async def work():
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            assert await websocket.recv() == "tick"
        assert websocket.ending.clean

    run(work())
    assert ended == [1000]


def test_a_cancelled_recv_loses_no_message(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            for i in range(20):
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(websocket.recv(), 0.001)
                await websocket.send(str(i))
                assert await websocket.recv() == str(i)

    run(work())


def test_two_readers_are_refused(run):
    async def work():
        async with listening() as server, connect(url(server)) as websocket:
            first = asyncio.create_task(websocket.recv())
            await asyncio.sleep(0)
            with pytest.raises(LocalProtocolError, match="another task"):
                await websocket.recv()
            await websocket.send("x")
            assert await first == "x"

    run(work())


def test_ping_gives_the_latency(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            assert 0 < await websocket.ping() < 5
            assert 0 < await websocket.ping(b"mine") < 5
            assert websocket.latency is not None

    run(work())


def test_a_slow_reader_holds_the_sender_back(run, http):
    async def handler(websocket):
        try:
            while True:
                await websocket.send(b"x" * 10_000)
                sent.append(1)
        except ConnectionClosed:
            pass

    sent: list[int] = []

    async def work():
        async with listening(handler) as server:
            async with connect(url(server), http=http, extensions=(), close_timeout=2) as websocket:
                await asyncio.sleep(0.3)
                before = len(sent)
                await asyncio.sleep(0.3)
                # The sender stands still: what is under way fits into windows, sockets' buffers and queues.
                assert len(sent) == before < 5000
                for _ in range(before + 100):
                    assert len(await websocket.recv()) == 10_000
                assert len(sent) > before

    run(work())


def test_a_slow_stream_holds_up_no_other(run):
    async def handler(websocket):
        if websocket.request.target == "/slow":
            await asyncio.sleep(3600)
        await echo(websocket)

    async def work():
        async with listening(handler, close_timeout=0.5) as server:
            async with connect_http2(url(server), close_timeout=0.5) as client:
                slow = await client.open("/slow")
                quick = await client.open("/quick")

                async def flood():
                    while True:
                        await slow.send(b"x" * 10_000)

                flooding = asyncio.create_task(flood())
                await asyncio.sleep(0.2)
                for i in range(200):
                    await quick.send(str(i))
                    assert await quick.recv() == str(i)
                assert (await client.request("GET", "/")).status == 404
                flooding.cancel()

    run(work())


def test_1000_websockets_on_10_connections_lose_nothing(run):
    async def work():
        async with listening() as server:
            clients = await asyncio.gather(*(connect_http2(url(server)) for _ in range(10)))
            opened = [client.open(f"/{i}") for client in clients for i in range(100)]
            websockets = await asyncio.gather(*opened)
            assert len(server.websockets) == 1000

            async def talk(number, websocket):
                for i in range(20):
                    message = f"{number} {i} " * (i + 1)
                    await websocket.send(message)
                    assert await websocket.recv() == message
                return 20

            counts = await asyncio.gather(*(talk(i, websocket) for i, websocket in enumerate(websockets)))
            assert sum(counts) == 20_000
            await asyncio.gather(*(client.close() for client in clients))
            assert all(websocket.ending.clean for websocket in websockets)

    asyncio.run(asyncio.wait_for(work(), 60))


def test_more_websockets_than_streams_wait_for_their_turn(run):
    async def work():
        async with listening() as server, connect_http2(url(server)) as client:
            first = await asyncio.gather(*(client.open() for _ in range(256)))
            late = asyncio.create_task(client.open("/late"))
            await asyncio.sleep(0.05)
            assert not late.done()
            await first[0].close()
            websocket = await late
            await websocket.send("here")
            assert await websocket.recv() == "here"

    run(work())


def test_ordinary_requests_are_answered_by_the_hook(run):
    async def respond(request):
        await asyncio.sleep(0)
        body = f"{request.method} {request.target} {len(request.body)}".encode()
        return Response(200, (("Content-Type", "text/plain"),), body * (1 if request.target == "/" else 20_000))

    async def work():
        async with listening(respond=respond) as server:
            async with connect_http2(url(server)) as client:
                websocket = await client.open()
                response = await client.request("POST", "/", body=b"x" * 100_000)
                assert (response.status, response.body) == (200, b"POST / 100000")
                big = await client.request("GET", "/big")
                assert len(big.body) == 20_000 * len(b"GET /big 0")
                await websocket.send("still here")
                assert await websocket.recv() == "still here"
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            assert answer.count(b"HTTP/1.1 200") == 2
            assert b"GET / 0" in answer
            writer.close()

    run(work())


def test_an_ordinary_request_without_a_hook_is_told_to_upgrade(run):
    async def work():
        async with listening() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 426")
            assert b"Upgrade: websocket" in head
            writer.close()

    run(work())


def test_the_upgrade_hook_decides(run, http):
    async def upgrade(connection, request):
        await asyncio.sleep(0)
        if request.target == "/no":
            return UpgradeReject(401, headers={"WWW-Authenticate": "Basic"}, body=b"who are you?")
        return UpgradeAccept(subprotocol="chat", headers={"X-Answer": "yes"}) if request.target == "/yes" else None

    async def work():
        async with listening(upgrade=upgrade, subprotocols=["other"]) as server:
            with pytest.raises(UpgradeError) as refused:
                await connect(url(server, "/no"), http=http)
            assert (refused.value.status, refused.value.body) == (401, b"who are you?")
            assert ("www-authenticate", "Basic") in refused.value.headers
            async with connect(url(server, "/yes"), http=http, subprotocols=["chat", "other"]) as websocket:
                assert websocket.subprotocol == "chat"
                assert ("x-answer", "yes") in websocket.response.headers
            async with connect(url(server), http=http, subprotocols=["chat", "other"]) as websocket:
                assert websocket.subprotocol == "other"

    run(work())


def test_a_page_of_another_origin_is_refused_where_cookies_are_sent(run, http):
    async def work():
        async with listening() as server:
            cookie = {"Cookie": "session=1"}
            with pytest.raises(UpgradeError) as refused:
                await connect(url(server), http=http, origin="https://evil.example", headers=cookie)
            assert refused.value.status == 403
            with pytest.raises(UpgradeError):
                await connect(url(server), http=http, origin="null", headers=cookie)
            own = f"http://127.0.0.1:{server.port}"
            async with connect(url(server), http=http, origin=own, headers=cookie):
                pass
        async with listening(origins=["https://good.example"]) as server:
            async with connect(url(server), http=http, origin="https://GOOD.example"):
                pass
            with pytest.raises(UpgradeError):
                await connect(url(server), http=http)
            with pytest.raises(UpgradeError):
                await connect(url(server), http=http, origin="https://good.example:8443")

    run(work())


def test_a_server_without_http2_is_reached_by_http_1_1(run):
    async def work():
        async with listening(http2=False) as server:
            async with connect(url(server)) as websocket:
                assert websocket.http_version == "1.1"
            with pytest.raises(ConnectError, match="the server does not speak HTTP/2"):
                await connect(url(server), http="2", open_timeout=2)

    run(work())


def test_a_peer_that_vanishes_ends_the_connection_with_1006(run):
    codes = []

    async def handler(websocket):
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        codes.append((closed.value.code, closed.value.clean))

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server))
            raw = websocket.transport.get_extra_info("socket")
            # RST instead of FIN.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            websocket.transport.abort()
            with pytest.raises(ConnectionClosed):
                await websocket.recv()
            while not codes:
                await asyncio.sleep(0.01)

    run(work())
    assert codes == [(1006, False)]


def test_keepalive_ends_a_connection_whose_peer_is_silent(run):
    async def work():
        async with silent_server(accept=True) as address:
            websocket = await connect(address, ping_interval=0.05, ping_timeout=0.05, close_timeout=0.2, extensions=())
            with pytest.raises(ConnectionClosed, match="no Pong") as closed:
                await websocket.recv()
            assert closed.value.code == 1006

    run(work())


def test_keepalive_leaves_a_peer_alone_that_answers(run, http):
    async def work():
        async with listening() as server:
            async with connect(url(server), http=http, ping_interval=0.02, ping_timeout=1) as websocket:
                await asyncio.sleep(0.2)
                assert websocket.state is State.OPEN
                assert websocket.latency is not None

    run(work())


def test_a_peer_that_does_not_answer_a_close_is_left_after_the_timeout(run):
    async def work():
        async with silent_server(accept=True) as address:
            websocket = await connect(address, close_timeout=0.1, extensions=())
            await websocket.close()
            assert not websocket.ending.clean
            assert websocket.close_code == 1006

    run(work())


def test_a_client_that_drips_its_request_is_left_after_the_timeout(run):
    async def work():
        async with listening(open_timeout=0.2) as server:
            for start, answer in ((b"", b""), (b"GET / HTT", b"HTTP/1.1 408 "), (b"PRI * HT", b"")):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(start)
                with contextlib.suppress(ConnectionResetError):
                    assert (await reader.read())[:13] == answer
                writer.close()

    run(work())


def test_opening_takes_no_longer_than_the_timeout(run, http):
    async def work():
        async with silent_server(accept=False) as address:
            with pytest.raises(asyncio.TimeoutError):
                await connect(address, http=http, open_timeout=0.1, close_timeout=0.1)

    run(work())


def test_closing_the_server_says_1001_and_waits_for_handlers(run, http):
    finished = []

    async def handler(websocket):
        await echo(websocket)
        finished.append(websocket.close_code)

    async def work():
        server = await listening(handler)
        websocket = await connect(url(server), http=http)
        await websocket.send("x")
        assert await websocket.recv() == "x"
        closing = asyncio.create_task(server.close())
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        assert closed.value.code == 1001
        await closing
        with pytest.raises(OSError, match="Connect"):
            await connect(url(server), http=http)

    run(work())
    assert finished == [1001]


def test_a_fault_of_one_stream_ends_no_other(run):
    async def work():
        async with listening(limit=1000) as server, connect_http2(url(server)) as client:
            good, bad = await client.open("/good"), await client.open("/bad")
            await bad.send(b"x" * 1001)
            with pytest.raises(ConnectionClosed) as closed:
                await bad.recv()
            assert closed.value.code == 1009
            await good.send("fine")
            assert await good.recv() == "fine"

    run(work())


def test_text_as_bytes_is_asked_for_by_an_option(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http, text_as_bytes=True) as websocket:
            await websocket.send("é")
            event = await websocket.recv_event()
            assert event == Text("é".encode())
            await websocket.send(Binary(b"x"))
            assert await websocket.recv() == b"x"

    run(work())


def test_a_reader_that_goes_on_while_another_task_closes_loses_nothing(run, http):
    async def handler(websocket):
        for i in range(500):
            await websocket.send(str(i))
        await websocket.wait_closed()

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            got = []

            async def read():
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        got.append(await websocket.recv())
                        await asyncio.sleep(0)

            reading = asyncio.create_task(read())
            await asyncio.sleep(0.05)
            await websocket.close()
            await reading
            assert got == [str(i) for i in range(500)]
            assert websocket.ending.clean
            assert websocket.ending.discarded == 0

    run(work())


def test_messages_that_nobody_takes_are_counted_after_close(run, http):
    async def handler(websocket):
        with contextlib.suppress(ConnectionClosed):
            for i in range(500):
                await websocket.send(str(i))
        await websocket.wait_closed()

    async def work():
        async with listening(handler) as server:
            async with connect(url(server), http=http) as websocket:
                await asyncio.sleep(0.1)
            assert websocket.ending.clean
            assert websocket.ending.discarded + websocket._waiting == 500

    run(work())


def test_a_cancelled_handler_does_not_wait_for_the_peer(run, http):
    async def work():
        async with listening() as server:
            websocket = await connect(url(server), http=http)
            await asyncio.sleep(0.01)
            websocket.transport.pause_reading()
            start = asyncio.get_running_loop().time()
            for task in list(server._tasks):
                task.cancel()
            while server._tasks:
                await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - start < 2
            websocket.transport.resume_reading()
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.code == 1001

    run(work())


@contextlib.asynccontextmanager
async def silent_server(*, accept: bool):
    """A server that answers a handshake over HTTP/1.1, or not, and says nothing more."""
    writers = []

    async def serve_one(reader, writer):
        writers.append(writer)
        http = Http1(Role.SERVER, auto_pong=False)
        while data := await reader.read(65536):
            for connection, event in http.receive(data)[0]:
                if accept and isinstance(event, UpgradeRequest):
                    writer.write(connection.send(UpgradeAccept()))

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
