"""`Server.drain`: nobody new is taken, and what is under way comes to its end."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from drivers.conftest import echo, listening, live_timers, until, url
from drivers.raw import raw_client
from wire import GOAWAY, h2_frames

from mintws import ConnectError, ConnectionClosed, Http2, LocalProtocolError, Role, UpgradeError
from mintws.asyncio import connect, connect_http2
from mintws.events import Request, Response

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def now():
    return asyncio.get_running_loop().time()


def address(server, tls):
    return f"wss://localhost:{server.port}/" if tls else url(server)


@pytest.fixture(params=[False, True], ids=["TCP", "TLS"])
def contexts(request, tls_contexts):
    """TLS contexts of a server and a client, or none."""
    return tls_contexts if request.param else (None, None)


def test_websockets_go_on_until_they_end_by_themselves(run, http, contexts):
    theirs, ours = contexts

    async def work():
        server = await listening(ssl=theirs)
        websocket = await connect(address(server, ours), http=http, ssl=ours)
        draining = asyncio.ensure_future(server.drain(None))
        await until(lambda: server.leaving)
        for message in ("still", "here"):
            await websocket.send(message)
            assert await websocket.recv() == message
        assert not draining.done()
        await websocket.close(4000, "my end")
        assert websocket.close_code == 4000
        await asyncio.wait_for(draining, 5)
        await asyncio.wait_for(server.wait_closed(), 5)
        assert not server._protocols and not server._tasks

    run(work())


def test_a_handler_in_the_middle_of_its_work_gives_its_result(run, http):
    async def handler(websocket):
        job = await websocket.recv()
        await asyncio.sleep(0.3)
        await websocket.send(f"result of {job}")

    async def work():
        server = await listening(handler)
        websocket = await connect(url(server), http=http)
        await websocket.send("job")
        await until(lambda: server.websockets)
        draining = asyncio.ensure_future(server.drain(10))
        assert [message async for message in websocket] == ["result of job"]
        assert websocket.close_code == 1000
        await asyncio.wait_for(draining, 5)

    run(work())


@pytest.mark.parametrize("code", [1001, 1012])
def test_what_is_left_after_the_timeout_is_closed(run, http, contexts, code):
    theirs, ours = contexts

    async def work():
        server = await listening(ssl=theirs)
        websocket = await connect(address(server, ours), http=http, ssl=ours)
        begun = now()
        await server.drain(0.3, *(() if code == 1001 else (code, "restart")))
        assert now() - begun > 0.25
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        assert (closed.value.code, closed.value.reason) == (code, "" if code == 1001 else "restart")
        assert not server._protocols and not server._tasks

    run(work())


def test_connections_that_carry_nothing_are_closed_at_once(run, contexts):
    theirs, ours = contexts

    async def work():
        server = await listening(ssl=theirs)
        if ours:
            ours.set_alpn_protocols(["http/1.1"])
        fresh = await raw_client(server, head=b"", tls=ours)
        kept = await raw_client(server, head=GET, tls=ours)
        await kept[0].readuntil(b"WebSocket server\n")
        many = await connect_http2(address(server, ours), ssl=ours)
        await (await many.open()).close()
        await until(lambda: len(server._protocols) == 3 and not server.websockets)
        await asyncio.wait_for(server.drain(None), 5)
        for reader, writer in (fresh, kept):
            assert await reader.read() == b""
            writer.close()
        await asyncio.wait_for(many.close(), 5)

    run(work())


def test_nobody_new_is_taken(run, http):
    async def work():
        server = await listening()
        many = await connect_http2(url(server))
        websocket = await many.open()
        draining = asyncio.ensure_future(server.drain(10))
        await until(lambda: server.leaving)
        assert server.sockets == ()
        with pytest.raises(OSError, match=r".*"):
            await connect(url(server), http=http)
        await websocket.send("x")
        assert await websocket.recv() == "x"
        with pytest.raises(ConnectError, match="no new streams"):
            await many.open()
        with pytest.raises(ConnectError, match="no new streams"):
            await many.request("GET", "/")
        await many.close()
        await asyncio.wait_for(draining, 5)

    run(work())


def test_a_handshake_that_is_being_decided_is_refused(run, http):
    deciding = asyncio.Event()

    async def upgrade(connection, request):
        deciding.set()
        await asyncio.sleep(0.2)

    async def work():
        server = await listening(upgrade=upgrade)
        opening = asyncio.ensure_future(connect(url(server), http=http)._connect())
        await deciding.wait()
        await asyncio.wait_for(server.drain(None), 5)
        with pytest.raises((UpgradeError, ConnectionClosed)) as refused:
            await opening
        assert getattr(refused.value, "status", 503) == 503

    run(work())


def test_requests_in_flight_get_their_responses(run, contexts):
    # RFC 9112 §9.6, RFC 9113 §6.8
    theirs, ours = contexts
    asked = []

    async def respond(request):
        asked.append(request.target)
        await asyncio.sleep(0.3)
        return Response(200, body=b"in time")

    async def work():
        server = await listening(ssl=theirs, respond=respond)
        if ours:
            ours.set_alpn_protocols(["http/1.1"])
        reader, writer = await raw_client(server, head=GET * 2, tls=ours)
        many = await connect_http2(address(server, ours), ssl=ours)
        asking = asyncio.ensure_future(many.request("GET", "/"))
        await until(lambda: len(asked) == 2)
        await asyncio.wait_for(server.drain(None), 5)
        answer = await reader.read()
        # What comes behind the response that says "close" is not read.
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"in time") and answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert (await asking).body == b"in time"
        await many.close()
        writer.close()

    run(work())


def test_an_upload_that_has_begun_is_answered(run, http):
    async def work():
        server = await listening(respond=lambda request: Response(200, body=request.body))
        reader, writer = await raw_client(server, head=b"")
        if http == "1.1":
            pieces = [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nthe ", b"whole"]
        else:
            client = Http2(Role.CLIENT)
            frames = client.start() + client.request(Request("POST", "/", (("host", "x"),), b"the whole"))[1]
            at = frames.index(b"the whole") - 9
            pieces = [frames[:at], frames[at:]]
        writer.write(pieces[0])
        await until(lambda: any(protocol.http.collecting for protocol in server._protocols if protocol.speaks))
        draining = asyncio.ensure_future(server.drain(None))
        await asyncio.sleep(0.2)
        assert not draining.done()
        writer.write(pieces[1])
        await asyncio.wait_for(draining, 5)
        got = await reader.read()
        if http == "1.1":
            assert got.endswith(b"\r\n\r\nthe whole")
        else:
            assert b"the whole" in got
            assert [payload[:8] for kind, *_, payload in h2_frames(got) if kind == GOAWAY] == [
                bytes([0, 0, 0, 1, 0, 0, 0, 0])
            ]
        writer.close()

    run(work())


def test_half_a_head_is_answered_with_408(run):
    # RFC 9110 §15.5.9
    async def work():
        server = await listening()
        reader, writer = await raw_client(server, head=b"GET / HTTP/1.1\r\nHo")
        await until(lambda: any(protocol.heard for protocol in server._protocols))
        await asyncio.wait_for(server.drain(None), 5)
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()

    run(work())


def test_a_client_that_takes_nothing_of_a_response_holds_nobody_up(run):
    asked = asyncio.Event()

    async def respond(request):
        asked.set()
        await asyncio.sleep(0.2)
        return Response(200, body=bytes(100_000))

    async def work():
        server = await listening(respond=respond, idle_timeout=0.3)
        client = Http2(Role.CLIENT, window=65535)
        ask = client.start() + client.request(Request("GET", "/", (("host", "x"),)))[1]
        _, writer = await raw_client(server, head=ask)
        await asked.wait()
        await asyncio.wait_for(server.drain(None), 8)
        writer.close()

    run(work())


@pytest.mark.parametrize("end", ["drain", "close"])
def test_a_response_that_waits_for_the_window_is_whole_before_the_end(run, end):
    size = 300_000

    async def work():
        server = await listening(respond=lambda _: Response(200, body=bytes(size)))
        reader, writer = await raw_client(server, head=b"")
        client = Http2(Role.CLIENT, window=65535)
        writer.write(client.start() + client.request(Request("GET", "/", (("host", "x"),)))[1])
        await until(lambda: any(protocol.http.buffered for protocol in server._protocols if protocol.speaks))
        ending = asyncio.ensure_future(server.drain(None) if end == "drain" else server.close())
        response = None
        while data := await reader.read(65536):
            await asyncio.sleep(0.02)
            events, reply = client.receive(data)
            for _, event in events:
                response = client.collect(event) or response
            writer.write(reply + client.h2.data_to_send())
        assert response is not None and len(response.body) == size
        await asyncio.wait_for(ending, 5)
        writer.close()

    run(work())


def test_a_drain_that_is_cancelled_can_be_taken_up_again(run, http):
    async def work():
        server = await listening()
        websocket = await connect(url(server), http=http)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(server.drain(None), 0.2)
        await websocket.send("x")
        assert await websocket.recv() == "x"
        with pytest.raises(OSError, match=r".*"):
            await connect(url(server), http=http)
        await server.drain(0)
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        assert closed.value.code == 1001
        await asyncio.wait_for(server.wait_closed(), 5)

    run(work())


@pytest.mark.parametrize("second", ["drain", "close"])
def test_the_shorter_of_two_ends_counts(run, http, second):
    async def work():
        async with listening() as server:
            websocket = await connect(url(server), http=http)
            draining = asyncio.ensure_future(server.drain(None))
            await until(lambda: server.leaving)
            await (server.drain(0.1, 1012) if second == "drain" else server.close(1012))
            await asyncio.wait_for(draining, 5)
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.code == 1012
        # What is over is over.
        await asyncio.wait_for(server.drain(None), 5)
        await asyncio.wait_for(server.close(), 5)
        assert live_timers() < 10

    run(work())


def test_a_handler_may_close_its_server(run, http):
    async def handler(websocket):
        begun = now()
        await server.close()
        took.append(now() - begun)

    async def work():
        nonlocal server
        server = await listening(handler, close_timeout=15)
        websocket = await connect(url(server), http=http)
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        await until(lambda: took)
        assert took[0] < 5

    took, server = [], None
    run(work())


def test_a_handler_may_drain_its_server(run, http):
    ended = []

    async def handler(websocket):
        if websocket.request.target == "/stop":
            await server.drain(None)
            ended.append("server")
        else:
            await websocket.recv()
            ended.append("other")

    async def work():
        nonlocal server
        server = await listening(handler)
        other = await connect(url(server), http=http)
        await until(lambda: server.websockets)
        stop = await connect(url(server, "/stop"), http=http)
        await until(lambda: server.leaving)
        await other.send("x")
        with pytest.raises(ConnectionClosed):
            await stop.recv()
        await until(lambda: len(ended) == 2)
        assert ended == ["other", "server"]
        await other.close()

    server = None
    run(work())


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, ("5",)),
        (TypeError, (True,)),
        (LocalProtocolError, (-1,)),
        (LocalProtocolError, (float("nan"),)),
        (LocalProtocolError, (5, 1005)),
        (LocalProtocolError, (5, 1001, "é" * 100)),
    ],
)
def test_wrong_arguments_change_nothing(run, error, arguments):
    async def work():
        async with listening(echo) as server:
            with pytest.raises(error):
                await server.drain(*arguments)
            async with connect(url(server)) as websocket:
                await websocket.send("still open")
                assert await websocket.recv() == "still open"

    run(work())


def test_a_request_behind_the_goaway_is_refused_and_may_be_asked_elsewhere(run):
    # RFC 9113 §6.8, §8.7
    async def work():
        server = await listening(close_timeout=0.5)
        reader, writer = await raw_client(server, head=b"")
        client = Http2(Role.CLIENT)
        frames = client.start() + client.request(Request("POST", "/", (("host", "x"),), b"the body"))[1]
        writer.write(frames[: frames.index(b"the body") - 9])
        await until(lambda: any(protocol.http.collecting for protocol in server._protocols if protocol.speaks))
        draining = asyncio.ensure_future(server.drain(0.5))
        await until(lambda: server.leaving)
        writer.write(client.request(Request("GET", "/", (("host", "x"),)))[1])
        got = b""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                got += data
        resets = [(number, payload) for kind, _, number, payload in h2_frames(got) if kind == 3]
        assert (3, b"\0\0\0\x07") in resets
        await draining
        writer.close()

    run(work())
