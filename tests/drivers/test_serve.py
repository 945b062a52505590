"""`serve`: what a server takes, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket

import h2.config
import h2.connection
import h2.events
import pytest
from drivers.conftest import echo, listening, live_timers, until, url
from drivers.raw import quiet_client, raw_client
from wire import CLOSE, DATA, RST_STREAM, close_payload, h2_frame, h2_frames, masked

from mintws import (
    ConnectError,
    ConnectionClosed,
    Http2,
    LocalProtocolError,
    Role,
    State,
    UpgradeError,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.asyncio import connect, connect_http2, serve
from mintws.events import Response
from mintws.session import check_origin, transport

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def whole_answer(server, head):
    """Send a request by hand and read until the server ends the connection."""
    reader, writer = await raw_client(server, head=head)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "answer",
    [True, "no", {"a": 1}, UpgradeReject(99), UpgradeReject(200_000)],
    ids=["True", "str", "dict", "99", "200000"],
)
def test_a_wrong_answer_of_the_upgrade_hook_is_500_and_logged(run, http, caplog, answer):
    async def work():
        async with listening(upgrade=lambda connection, request: answer) as server:
            with pytest.raises(UpgradeError) as refused:
                await connect(url(server), http=http)
            assert refused.value.status == 500

    with caplog.at_level(logging.ERROR, "mintws.server"):
        run(work())
    assert caplog.records


@pytest.mark.parametrize(
    "answer",
    [
        lambda: None,
        lambda: "page",
        lambda: (200, b""),
        lambda: Response(99),
        lambda: Response(200, {"Transfer-Encoding": "chunked"}),
        lambda: Response(200, {"X": "a\r\nb"}),
        lambda: Response(200, {"X": "€"}),
    ],
    ids=["None", "str", "tuple", "99", "Transfer-Encoding", "CR LF", "no byte"],
)
def test_a_wrong_answer_of_the_response_hook_is_500_and_logged(run, caplog, answer):
    async def work():
        async with listening(respond=lambda request: answer()) as server:
            assert (await whole_answer(server, GET)).startswith(b"HTTP/1.1 500 ")
            async with connect_http2(url(server)) as client:
                websocket = await client.open()
                assert (await client.request("GET", "/")).status == 500
                await websocket.send("still here")
                assert await websocket.recv() == "still here"

    with caplog.at_level(logging.ERROR, "mintws.server"):
        run(work())
    assert caplog.records


def test_a_hook_that_is_cancelled_leaves_no_client_without_an_answer(run, http):
    async def hook(*_):
        raise asyncio.CancelledError

    async def work():
        async with listening(upgrade=hook, respond=hook) as server:
            with pytest.raises(UpgradeError) as refused:
                await asyncio.wait_for(connect(url(server), http=http)._connect(), 5)
            assert refused.value.status == 503
            if http == "1.1":
                assert (await asyncio.wait_for(whole_answer(server, GET * 2), 5)).count(b"HTTP/1.1 503 ") == 2
            else:
                async with connect_http2(url(server)) as client:
                    assert (await asyncio.wait_for(client.request("GET", "/"), 5)).status == 503

    run(work())


def test_a_request_that_is_taken_back_hurts_no_websocket(run):
    async def respond(request):
        await asyncio.sleep(0.05)
        return Response(200, body=b"too late")

    async def work():
        async with listening(respond=respond) as server, connect_http2(url(server)) as client:
            websocket = await client.open()
            asking = asyncio.create_task(client.request("GET", "/"))
            await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.sleep(0.1)
            await websocket.send("still here")
            assert await websocket.recv() == "still here"
            assert (await client.request("GET", "/")).body == b"too late"
            assert not [it for it in client.http._streams if it != 1]

    run(work())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_size": 100},
        {"limit": -1},
        {"limit": 1.5},
        {"parts": 1},
        {"subprotocols": "chat"},
        {"subprotocols": [5]},
        {"origins": "x"},
        {"origins": [5]},
        {"origins": ["https://example.com/"]},
        {"extensions": ["permessage-deflate"]},
        {"handler": None},
        {"respond": "page"},
        {"upgrade": 5},
        {"ssl": True},
        {"idle_timeout": -1},
        {"ping_interval": 0},
    ],
)
def test_wrong_arguments_are_refused_where_they_are_given(wrong):
    with pytest.raises((TypeError, LocalProtocolError)):
        serve(**{"handler": echo, "host": "127.0.0.1", "port": 0, **wrong})


def test_the_first_request_has_a_time_limit_with_tls_too(run, tls_contexts):
    server_tls, _ = tls_contexts

    async def work():
        for tls in (None, server_tls):
            async with listening(ssl=tls, open_timeout=0.2) as server:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(reader.read(), 5) == b""
                writer.close()

    run(work())


@pytest.mark.parametrize(("behind", "answer"), [(b"", b""), (b"GET / HT", b"HTTP/1.1 408 ")])
def test_a_connection_that_asks_for_nothing_more_has_a_time_limit(run, behind, answer):
    async def work():
        async with listening(idle_timeout=0.2) as server:
            reader, writer = await raw_client(server, head=GET)
            await reader.readuntil(b"WebSocket server\n")
            writer.write(behind)
            assert (await asyncio.wait_for(reader.read(), 5)).startswith(answer)
            writer.close()
            async with connect_http2(url(server)) as client:
                await client.request("GET", "/")
                await asyncio.wait_for(asyncio.shield(client._protocol.gone), 5)

    run(work())


def test_a_connection_with_a_websocket_may_be_idle(run, http):
    async def work():
        async with listening(open_timeout=0.1, idle_timeout=0.1) as server:
            async with connect(url(server), http=http) as websocket:
                await asyncio.sleep(0.3)
                await websocket.send("x")
                assert await websocket.recv() == "x"

    run(work())


@pytest.mark.parametrize("start", [b"", b"PRI * HT", b"GET / HT"])
def test_a_client_that_leaves_within_its_first_bytes_leaves_nothing(run, start):
    async def work():
        async with listening(open_timeout=None) as server:
            await asyncio.wait_for(whole_answer(server, start), 5)
            await until(lambda: not server._protocols)

    run(work())


def test_a_refusal_closes_the_connection_also_behind_other_requests(run):
    async def work():
        async with listening(open_timeout=None, idle_timeout=None) as server:
            bad = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            reader, writer = await raw_client(server, head=GET + bad)
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.startswith(b"HTTP/1.1 426 ") and answer.count(b"HTTP/1.1 4") == 2
            writer.close()

    run(work())


def test_answers_wait_for_a_client_that_does_not_read_them(run):
    async def work():
        async with listening(respond=lambda request: Response(200, body=b"x" * 100_000)) as server:
            reader, writer = await raw_client(server, head=GET, read_buffer=4096)
            writer.transport.pause_reading()
            with contextlib.suppress(asyncio.TimeoutError):
                for _ in range(200):
                    writer.write(GET * 1000)
                    await asyncio.wait_for(writer.drain(), 0.5)
            (protocol,) = server._protocols
            assert protocol.transport.get_write_buffer_size() < 1 << 20
            writer.transport.abort()

    run(work())


def test_a_closing_server_takes_nobody_in(run, http, tls_contexts):
    server_tls, client_tls = tls_contexts
    started = []

    async def handler(websocket):
        started.append(1)

    async def work():
        server = await serve(handler, "127.0.0.1", 0, ssl=server_tls)
        # TCP is there when the server closes, TLS is not.
        sock = socket.create_connection(("127.0.0.1", server.port))
        await asyncio.sleep(0.05)
        await server.close()
        with pytest.raises(ConnectError):
            await connect("wss://localhost/", http=http, sock=sock, ssl=client_tls, open_timeout=5)
        await asyncio.sleep(0.05)
        assert not started and not server._tasks

    run(work())


def test_an_upgrade_that_is_being_decided_when_the_server_closes_is_refused(run, http):
    deciding = asyncio.Event()

    async def upgrade(connection, request):
        if request.target == "/late":
            deciding.set()
            await asyncio.sleep(0.1)

    async def work():
        server = await listening(upgrade=upgrade)
        opening = asyncio.create_task(connect(url(server, "/late"), http=http)._connect())
        await deciding.wait()
        await server.close()
        with pytest.raises(ConnectError) as refused:
            await opening
        assert getattr(refused.value, "status", 503) == 503
        assert not server._tasks

    run(work())


def test_ordinary_requests_are_answered_before_the_server_is_gone(run):
    async def respond(request):
        await asyncio.sleep(0.1)
        return Response(200, body=b"in time")

    async def work():
        server = await listening(respond=respond)
        client = await connect_http2(url(server))
        asking = asyncio.create_task(client.request("GET", "/"))
        answering = asyncio.create_task(whole_answer(server, GET))
        await asyncio.sleep(0.05)
        await server.close()
        assert (await asking).body == b"in time"
        assert (await answering).endswith(b"in time")
        await client.close()

    run(work())


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_a_body_over_the_limit_is_answered_while_it_still_comes(run, http, tls, tls_contexts):
    async def work():
        async with listening(ssl=tls_contexts[0] if tls else None, respond=lambda _: Response(200)) as server:
            named = {"ssl": tls_contexts[1], "server_hostname": "localhost"} if tls else {}
            if tls:
                tls_contexts[1].set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, **named)
            status = (upload_over_http2 if http == "2" else upload_over_http1)(reader, writer)
            assert await asyncio.wait_for(status, 5) == 413
            writer.transport.abort()

    run(work())


def test_a_body_that_nobody_asks_for_is_not_waited_for_over_http2(run):
    async def work():
        async with listening() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            assert await asyncio.wait_for(upload_over_http2(reader, writer), 5) == 404
            (protocol,) = server._protocols
            assert protocol.http.collecting == []
            writer.transport.abort()

    run(work())


async def upload_over_http1(reader, writer):
    """Send a body of a little over 1 MiB, of 1 GB that were promised; give the status."""
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    for _ in range(211):
        writer.write(bytes(5003))
        await writer.drain()
    return int((await reader.readline()).split()[1])


async def upload_over_http2(reader, writer):
    """The same on a stream; the status, when the stream has ended, and was reset some time later."""
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    peer.initiate_connection()
    peer.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "x")])
    left, status, ended = 211 * 5003, 0, False
    while True:
        while left and peer.outbound_flow_control_window >= 5003 <= peer.local_flow_control_window(1):
            peer.send_data(1, bytes(5003))
            left -= 5003
        writer.write(peer.data_to_send())
        for event in peer.receive_data(await reader.read(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                status = int(dict(event.headers)[b":status"])
            ended = ended or isinstance(event, h2.events.StreamEnded)
            if isinstance(event, h2.events.StreamReset):
                assert ended and event.error_code == 0
                return status


@pytest.mark.parametrize("timeout", [0.05, None])
def test_a_stream_that_the_client_leaves_open_has_a_time_limit(run, timeout):
    async def work():
        async with listening(half_closed_timeout=timeout) as server:
            peer = Http2(Role.CLIENT)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(peer.start())
            while not peer.can_open:
                writer.write(peer.receive(await reader.read(65536))[1])
            connection = peer.open()
            writer.write(connection.send(UpgradeRequest("x")))
            while connection.state is not State.OPEN:
                writer.write(peer.receive(await reader.read(65536))[1])
            # Closed by hand, without END_STREAM.
            writer.write(h2_frame(DATA, 0, 1, masked(CLOSE, close_payload(1000))))
            (protocol,) = server._protocols
            await until(lambda: protocol.http.half_closed)
            if timeout is None:
                await asyncio.sleep(0.3)
                assert protocol.http.half_closed
            else:
                await until(lambda: not protocol.http.h2.open_inbound_streams)
                frames = h2_frames(await reader.read(65536))
                while frames[-1][0] != RST_STREAM:
                    frames += h2_frames(await reader.read(65536))
                assert frames[-1] == (RST_STREAM, 0, 1, bytes(4))
            writer.transport.abort()

    run(work())


def test_a_server_is_not_closed_with_a_code_that_may_not_be_sent(run):
    async def work():
        async with listening() as server:
            for code, reason in ((1005, ""), (999, ""), (1001, "é" * 100)):
                with pytest.raises(LocalProtocolError):
                    await server.close(code, reason)
            async with connect(url(server)) as websocket:
                await websocket.send("still open")
                assert await websocket.recv() == "still open"

    run(work())


def test_handlers_that_do_not_end_are_cancelled_after_the_timeout(run, http):
    cancelled = []

    async def handler(websocket):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    async def work():
        server = await listening(handler, close_timeout=0.2)
        websocket = await connect(url(server), http=http)
        await asyncio.sleep(0.05)
        await server.close()
        assert cancelled == [1]
        assert not server._tasks and not server.websockets
        with pytest.raises(ConnectionClosed):
            await websocket.recv()

    run(work())


def test_a_cancelled_handler_leaves_no_websocket_behind(run, http):
    async def work():
        async with listening() as server:
            websocket = await connect(url(server), http=http)
            await until(lambda: server.websockets)
            (theirs,) = server.websockets
            for task in list(server._tasks):
                task.cancel()
            await asyncio.wait_for(theirs.wait_closed(), 5)
            assert not server.websockets
            with pytest.raises(ConnectionClosed):
                await websocket.recv()

    run(work())


def test_a_reader_of_a_cancelled_handler_is_told(run, http):
    reading = []

    async def handler(websocket):
        reading.append(asyncio.ensure_future(websocket.recv()))
        await asyncio.sleep(60)

    async def work():
        async with listening(handler, close_timeout=0.2) as server, quiet_client(server, http):
            await until(lambda: reading)
            for task in list(server._tasks):
                task.cancel()
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(reading[0], 5)

    run(work())


def test_an_end_of_another_websocket_is_a_failure_of_the_handler(run, http, caplog):
    async def handler(websocket):
        raise ConnectionClosed(1006, "of another server", clean=False)

    async def work():
        async with listening(handler) as server:
            async with connect(url(server), http=http) as websocket:
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
            assert closed.value.code == 1011

    with caplog.at_level(logging.ERROR, "mintws.server"):
        run(work())
    assert "of another server" in caplog.text


def test_an_end_of_its_own_websocket_is_none(run, http, caplog):
    async def handler(websocket):
        while True:
            await websocket.recv()

    async def work():
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            await websocket.close(4000)
            assert websocket.ending.received.code == 4000

    with caplog.at_level(logging.ERROR, "mintws.server"):
        run(work())
    assert not caplog.records


def test_what_is_no_exception_ends_the_websocket_too(run, http):
    class Stop(BaseException):
        pass

    async def handler(websocket):
        raise Stop

    async def work():
        failed = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context["exception"]))
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(websocket.recv(), 5)
            assert closed.value.code == 1011
            await websocket.close()
        await until(lambda: failed)
        assert isinstance(failed[0], Stop)

    run(work())


def test_a_close_that_is_cancelled_cuts_off_what_is_left(run, http):
    async def handler(websocket):
        await asyncio.sleep(60)

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(server.close(), 0.1)
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.code == 1001
            await asyncio.wait_for(server.wait_closed(), 5)
            await until(lambda: not server._tasks and not server._protocols)

    run(work())


def test_a_unix_socket_and_a_socket_of_ones_own_are_listened_on(run, http, tmp_path):
    async def work():
        path = str(tmp_path / "socket")
        async with serve(echo, path=path):
            async with connect("ws://localhost/", http=http, path=path) as websocket:
                await websocket.send("by path")
                assert await websocket.recv() == "by path"
        with socket.create_server(("127.0.0.1", 0)) as sock:
            async with serve(echo, sock=sock) as server:
                client = socket.create_connection(("127.0.0.1", server.port))
                async with connect("ws://localhost/", http=http, sock=client) as websocket:
                    await websocket.send("by socket")
                    assert await websocket.recv() == "by socket"

    run(work())


def test_400_connections_leave_nothing_behind(run, http):
    async def work():
        async with listening() as server:
            for _ in range(4):
                for websocket in await asyncio.gather(*(connect(url(server), http=http) for _ in range(100))):
                    await websocket.close()
            await until(lambda: not server._protocols and not server._tasks)
            assert live_timers() < 10
        assert len(asyncio.all_tasks()) <= 2

    run(work())


def test_a_server_listens_once(run):
    async def work():
        serving = listening()
        async with serving as server:
            with pytest.raises(LocalProtocolError, match="once"):
                await serving
            async with connect(url(server)) as websocket:
                await websocket.send("x")
                assert await websocket.recv() == "x"
        with pytest.raises(LocalProtocolError, match="once"):
            await serving

    run(work())


def test_the_close_of_a_client_that_then_dies_is_the_end(run):
    ended = []

    async def handler(websocket):
        async for _ in websocket:
            pass
        ended.append(websocket.close_code)

    async def work():
        async with listening(handler) as server:
            _, writer = await raw_client(server)
            writer.write(masked(CLOSE, close_payload(1001)))
            await writer.drain()
            writer.transport.abort()
            await until(lambda: ended)

    run(work())
    assert ended == [1001]


@pytest.mark.parametrize(("interval", "alive"), [(0.0, True), (60.0, False)])
def test_frames_that_do_nothing_are_forgiven_in_time(run, monkeypatch, interval, alive):
    """A peer that only sends PINGs, 10,000 of them in the end, is a flood in a minute and none in a day (RFC 9113 §10.5)."""
    monkeypatch.setattr(transport, "REFILL_INTERVAL", interval)
    ping = bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + bytes(8)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    goaway = b"\x00\x00\x00\x00\x0b"  # the first bytes of its payload: no stream was seen, ENHANCE_YOUR_CALM

    async def work():
        async with listening() as server:
            reader, writer = await raw_client(server, head=preface)
            answer = b""
            for _ in range(110):
                writer.write(ping * 100)
                answer += await reader.read(65536)
            writer.write_eof()
            answer += await reader.read()
            writer.close()
            assert (goaway not in answer) is alive

    run(work())


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ([], True),
        (["http://example.com:8080"], True),
        (["http://EXAMPLE.com:8080"], True),
        (["http://example.com:8081"], False),
        (["http://example.com"], False),
        (["null"], False),
        ([""], False),
        (["http://example.com:8080", "http://example.com:8080"], False),
        (["http://example.com:8080", "http://evil.example"], False),
    ],
)
def test_a_cookie_comes_with_the_one_origin_of_the_server_or_with_none(origins, allowed):
    headers = [("cookie", "session=1"), *(("origin", origin) for origin in origins)]
    request = UpgradeRequest("example.com:8080", headers=headers)
    assert (check_origin(request, None) is None) is allowed


@pytest.mark.parametrize(
    ("host", "origin", "same"),
    [
        ("example.com:443", "https://example.com", True),
        ("example.com", "https://example.com:443", True),
        ("example.com:443", "https://example.com:443", True),
        ("example.com:80", "http://example.com", True),
        ("example.com:", "http://example.com", True),
        ("example.com", "https://example.com", True),
        ("example.com", "http://example.com", True),
        ("EXAMPLE.com", "HTTPS://example.COM", True),
        ("[::1]:443", "https://[::1]", True),
        ("[0:0:0:0:0:0:0:1]", "https://[::1]", True),
        ("127.0.0.1:8765", "http://127.0.0.1:8765", True),
        ("example.com:80", "https://example.com", False),
        ("example.com:443", "http://example.com", False),
        ("example.com:8443", "https://example.com", False),
        ("example.com", "https://example.com:8443", False),
        ("example.com:443", "https://evil.example", False),
        ("example.com", "https://evil.example@example.com", False),
        ("example.com", "https://example.com/", False),
        ("example.com", "https://example.com https://example.com", False),
        ("example.com", "app://example.com", False),
        ("null", "null", False),
    ],
)
def test_a_port_that_is_the_schemes_own_is_the_same_origin_with_and_without(host, origin, same):
    request = UpgradeRequest(host, headers={"Cookie": "session=1", "Origin": origin})
    assert (check_origin(request, None) is None) is same


@pytest.mark.parametrize(
    ("named", "sent", "allowed"),
    [
        ("https://example.com", "https://example.com:443", True),
        ("https://Example.com", "https://example.com", True),
        ("http://localhost:3000", "http://localhost:3000", True),
        ("http://[::1]:8080", "http://[::1]:8080", True),
        ("null", "null", True),
        ("file://", "file://", True),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh", True),
        ("https://example.com", "http://example.com", False),
        ("https://example.com", "https://example.com:80", False),
        ("https://example.com", "https://example.com/", False),
        ("https://example.com", "null", False),
        ("https://example.com", "", False),
    ],
)
def test_an_origin_that_is_named_is_compared_by_scheme_host_and_port(named, sent, allowed):
    serve(echo, "127.0.0.1", 0, origins=[named])
    request = UpgradeRequest("other.example", headers={"Cookie": "session=1", "Origin": sent})
    assert (check_origin(request, [named]) is None) is allowed
    assert check_origin(UpgradeRequest("other.example"), [named]) is not None
    assert check_origin(UpgradeRequest("other.example"), [named, None]) is None


@pytest.mark.parametrize(
    ("entry", "advice"),
    [
        ("https://example.com/", 'write "https://example.com"'),
        ("https://example.com/app?x#y", 'write "https://example.com"'),
        ("https://example.com:443", 'write "https://example.com"'),
        ("http://example.com:80", 'write "http://example.com"'),
        ("https://example.com:08443", 'write "https://example.com:8443"'),
        ("https://mint:tea@example.com", 'write "https://example.com"'),
        ("example.com", 'write "https://example.com"'),
        ("localhost:3000", 'write "https://localhost:3000"'),
        ("wss://example.com/chat", 'write "https://example.com"'),
        ("ws://example.com:443", 'write "http://example.com:443"'),
        ("http://[0:0:0:0:0:0:0:1]", 'write "http://[::1]"'),
        ("http://[::ffff:127.0.0.1]", 'write "http://[::ffff:7f00:1]"'),
        (" https://example.com", 'write "https://example.com"'),
        ("https://bücher.example", "ASCII form"),
        ("https://*.example.com", "no wildcards"),
        ("*", "no wildcards"),
        ("http://127.1", "as in"),
        ("https://example.com:99999", "as in"),
        ("https://", "as in"),
        ("", "as in"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_with_what_to_write(entry, advice):
    with pytest.raises(LocalProtocolError, match=re.escape(advice)):
        serve(echo, "127.0.0.1", 0, origins=["https://example.com", entry, None])
