"""`connect` and `connect_http2`: how a server is reached, and what is said when it is not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import pytest
from drivers.conftest import echo, listening, url
from drivers.raw import silent_server
from wire import GOAWAY, RST_STREAM, SETTINGS, h2_frame

from mintws import (
    Close,
    ConnectError,
    ConnectionClosed,
    Http1,
    Http2,
    LocalProtocolError,
    ResponseTooLarge,
    Role,
    Text,
    UpgradeAccept,
    UpgradeError,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.asyncio import connect, connect_http2
from mintws.events import RequestStarted, Response


def secure(server, target="/"):
    return f"wss://localhost:{server.port}{target}"


def test_each_connection_has_the_version_that_it_asked_for_though_they_share_a_context(run, tls_contexts):
    server_tls, client_tls = tls_contexts
    versions = ["1.1", "2", "auto"] * 4

    async def work():
        async with listening(ssl=server_tls) as server:
            opened = await asyncio.gather(*(connect(secure(server), http=http, ssl=client_tls) for http in versions))
            assert [websocket.http_version for websocket in opened] == ["1.1", "2", "2"] * 4
            await asyncio.gather(*(websocket.close() for websocket in opened))

    run(work())


@pytest.mark.parametrize("protocols", [["http/1.1"], []])
def test_a_server_that_does_not_choose_http2_is_sent_none(run, tls_contexts, protocols):
    server_tls, client_tls = tls_contexts
    read = []

    async def serve_one(reader, writer):
        data = b""
        with contextlib.suppress(ConnectionError):
            data = await reader.read()
        read.append(data)
        writer.close()

    async def work():
        if protocols:
            server_tls.set_alpn_protocols(protocols)
        server = await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=server_tls)
        address = f"wss://localhost:{server.sockets[0].getsockname()[1]}"
        for call in (connect(address, http="2", ssl=client_tls), connect_http2(address, ssl=client_tls)):
            with pytest.raises(ConnectError, match="HTTP/2"):
                await call
        # Where the server's handshake was over, it is told of the end; elsewhere there is nobody to tell.
        for _ in range(20):
            await asyncio.sleep(0.01)
        server.close()
        await server.wait_closed()

    run(work())
    assert b"".join(read) == b""


def test_a_server_that_speaks_no_http2_is_no_client(run):
    async def serve_one(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async def work():
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
            address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for call in (connect_http2(address), connect(address, http="2")):
                with pytest.raises(ConnectError, match="the server does not speak HTTP/2"):
                    await call

    run(work())


def test_opening_over_tls_takes_no_longer_than_the_timeout(run, http, tls_contexts):
    server_tls, client_tls = tls_contexts

    async def serve_one(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async def work():
        server_tls.set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=server_tls) as server:
            address = f"wss://localhost:{server.sockets[0].getsockname()[1]}"
            begun = asyncio.get_running_loop().time()
            with pytest.raises(asyncio.TimeoutError):
                await connect(address, http=http, ssl=client_tls, open_timeout=0.3, close_timeout=10)
            assert asyncio.get_running_loop().time() - begun < 3

    run(work())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_size": 100},
        {"limit": -1},
        {"parts": 1},
        {"http": "3"},
        {"subprotocols": "a"},
        {"ping_interval": 0},
        {"ping_timeout": -1},
        {"open_timeout": "1"},
        {"open_timeout": float("nan")},
        {"close_timeout": None},
        {"ssl": True},
    ],
)
def test_wrong_arguments_are_refused_where_they_are_given(wrong):
    with pytest.raises((TypeError, LocalProtocolError)):
        connect("ws://localhost/", **wrong)


def test_a_tls_context_without_tls_is_refused():
    for call in (connect, connect_http2):
        with pytest.raises(LocalProtocolError, match="wss://"):
            call("ws://localhost/", ssl=ssl.create_default_context())


def test_a_connection_that_has_ended_opens_nothing(run):
    async def work():
        async with listening() as server:
            client = await connect_http2(f"ws://127.0.0.1:{server.port}")
            client._protocol.transport.abort()
            await asyncio.sleep(0.01)
            for call in (client.open(), client.request("GET", "/")):
                with pytest.raises(ConnectError, match="the connection has ended"):
                    await call
            await client.close()

    run(work())


@contextlib.asynccontextmanager
async def server_by_hand(answer, **options):
    """Serve HTTP/2 with a function from `(Http2, connection, event)` to bytes."""

    async def serve_one(reader, writer):
        http = Http2(Role.SERVER, **options)
        writer.write(http.start())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                events, reply = http.receive(data)
                writer.write(reply + b"".join(answer(http, connection, event) or b"" for connection, event in events))
        writer.close()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_request_that_the_server_will_not_see_is_an_error_and_no_wait(run):
    def answer(http, connection, event):
        if isinstance(event, UpgradeRequest):
            return connection.send(UpgradeAccept())
        if type(event).__name__ == "RequestStarted":
            # GOAWAY: stream 1 was the last one that was seen.
            return b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + (1).to_bytes(4, "big") + bytes(4)
        return b""

    async def work():
        async with server_by_hand(answer) as address, connect_http2(address, close_timeout=0.1) as client:
            await client.open()
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(client.request("GET", "/"), 5)

    run(work())


def test_a_connection_that_the_server_is_leaving_is_told_as_such(run):
    def answer(http, connection, event):
        if isinstance(event, UpgradeRequest):
            return connection.send(UpgradeAccept())
        return http.shutdown() if isinstance(event, Text) else b""

    async def work():
        async with server_by_hand(answer, max_concurrent_streams=1) as address:
            async with connect_http2(address, close_timeout=0.1) as client:
                websocket = await client.open()
                waiting = [asyncio.ensure_future(it) for it in (client.open(), client.request("GET", "/"))]
                await asyncio.sleep(0)
                await websocket.send("leave")
                for call in (*waiting, client.open(), client.request("GET", "/")):
                    with pytest.raises(ConnectError, match="takes no new streams"):
                        await asyncio.wait_for(call, 5)

    run(work())


def test_room_for_a_stream_that_comes_after_many_frames_in_one_chunk_is_noticed(run):
    def limit(streams):
        return h2_frame(SETTINGS, 0, 0, (3).to_bytes(2, "big") + streams.to_bytes(4, "big"))

    def answer(http, connection, event):
        if isinstance(event, UpgradeRequest):
            return limit(1) + connection.send(UpgradeAccept())
        if isinstance(event, Text):
            pings = h2_frame(6, 0, 0, bytes(8)) * 40
            return pings + limit(2)
        if isinstance(event, RequestStarted):
            return http.respond(event.request, Response(204))
        return b""

    async def work():
        async with server_by_hand(answer) as address:
            async with connect_http2(address, close_timeout=0.1) as client:
                websocket = await client.open()
                waiting = asyncio.ensure_future(client.request("GET", "/"))
                await asyncio.sleep(0)
                await websocket.send("more")
                assert (await asyncio.wait_for(waiting, 5)).status == 204

    run(work())


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize("size", [1, 262_145, 900_000, 1 << 20])
def test_bodies_of_any_length_pass_both_ways(run, tls_contexts, tls, size):
    async def work():
        server_tls, client_tls = tls_contexts if tls else (None, None)
        body = bytes(size)
        async with listening(ssl=server_tls, respond=lambda request: Response(200, body=request.body)) as server:
            async with connect_http2(secure(server) if tls else url(server), ssl=client_tls) as client:
                for _ in range(2):
                    assert (await client.request("POST", "/", body=body)).body == body

    run(work())


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_a_response_is_as_long_as_its_limit_says(run, tls_contexts, tls):
    async def work():
        server_tls, client_tls = tls_contexts if tls else (None, None)
        page = bytes(5_000_011)
        async with listening(ssl=server_tls, respond=lambda request: Response(200, body=page)) as server:
            async with connect_http2(secure(server) if tls else url(server), ssl=client_tls) as client:
                for limit in (len(page), None):
                    assert (await client.request("GET", "/", limit=limit)).body == page

    run(work())


def test_a_response_over_its_limit_is_an_error_and_hurts_no_other(run):
    async def work():
        pages = {"/fits": 1 << 20, "/long": (1 << 20) + 1, "/longer": 50_000_000}
        async with listening(respond=lambda request: Response(200, body=bytes(pages[request.target]))) as server:
            async with connect_http2(url(server)) as client:
                websocket = await client.open()
                assert len((await client.request("GET", "/fits")).body) == 1 << 20
                for how in ({}, {"limit": 1 << 20}, {"limit": 0}):
                    for page in ("/long", "/longer"):
                        with pytest.raises(ResponseTooLarge) as long:
                            await client.request("GET", page, **how)
                        assert (long.value.status, long.value.limit) == (200, how.get("limit", 1 << 20))
                        assert str(long.value.limit) in str(long.value)
                assert client.http.h2.open_outbound_streams == 1
                await websocket.send("still here")
                assert await websocket.recv() == "still here"
                for limit, error in ((-1, LocalProtocolError), ("1", TypeError)):
                    with pytest.raises(error):
                        await client.request("GET", "/fits", limit=limit)

    run(work())


async def enter(opening):
    async with opening as opened:
        return opened


async def wait_for(opening):
    return await opening


@pytest.mark.parametrize("again", [enter, wait_for])
@pytest.mark.parametrize("call", ["connect", "connect_http2", "serve"])
def test_what_was_awaited_or_entered_opens_nothing_a_second_time(run, call, again):
    async def work():
        async with listening() as server:
            make = {"connect": connect, "connect_http2": connect_http2}.get(call)
            opening = listening() if make is None else make(url(server))
            async with opening as opened:
                with pytest.raises(LocalProtocolError, match=rf"call {call}\(\) again"):
                    await again(opening)
                if make is not None:
                    assert len(server._protocols) == 1
            # The one that was opened has been closed at the end of the body.
            if call == "connect":
                assert opened.close_code == 1000
            with pytest.raises(LocalProtocolError):
                await again(opening)

    run(work())


@pytest.mark.parametrize("call", ["connect", "connect_http2", "serve"])
def test_of_two_tasks_that_await_the_same_opening_one_gets_it(run, call):
    async def work():
        async with listening() as server:
            make = {"connect": connect, "connect_http2": connect_http2}.get(call)
            opening = listening() if make is None else make(url(server))
            opened, refused = await asyncio.gather(wait_for(opening), wait_for(opening), return_exceptions=True)
            assert isinstance(refused, LocalProtocolError)
            await opened.close()

    run(work())


def test_opening_that_is_cancelled_leaves_nothing(run, http):
    async def work():
        async with silent_server(http, accept=False) as address:
            opening = asyncio.create_task(connect(address, http=http)._connect())
            await asyncio.sleep(0.05)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await asyncio.sleep(0.05)
            assert len(asyncio.all_tasks()) <= 3

    run(work())


def test_one_context_is_enough_for_many_servers(run, tls_contexts):
    server_tls, client_tls = tls_contexts

    async def work():
        async with listening(ssl=server_tls) as first, listening(echo, ssl=server_tls, http2=False) as second:
            async with connect(secure(first), ssl=client_tls) as one, connect(secure(second), ssl=client_tls) as two:
                await one.send("1")
                await two.send("2")
                assert (await one.recv(), await two.recv()) == ("1", "2")

    run(work())


@pytest.mark.parametrize("says", ["no setting", "REFUSED_STREAM", "HTTP_1_1_REQUIRED", "GOAWAY", "the end"])
def test_a_server_that_takes_no_websockets_over_http2_is_asked_again(run, tls_contexts, says):
    server_tls, client_tls = tls_contexts
    server_tls.set_alpn_protocols(["h2", "http/1.1"])

    def refusal():
        if says == "GOAWAY":
            return h2_frame(GOAWAY, 0, 0, bytes(8))
        return h2_frame(RST_STREAM, 0, 1, {"REFUSED_STREAM": 7, "HTTP_1_1_REQUIRED": 13}[says].to_bytes(4, "big"))

    async def serve_one(reader, writer):
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        http = Http2(Role.SERVER, enable_connect=says != "no setting") if chosen == "h2" else Http1(Role.SERVER)
        writer.write(http.start())
        with contextlib.suppress(ConnectionError):
            while not http.done and (data := await reader.read(65536)):
                events, reply = http.receive(data)
                writer.write(reply)
                for connection, event in events:
                    if isinstance(event, UpgradeRequest) and chosen == "h2":
                        if says == "the end":
                            writer.transport.abort()
                            return
                        writer.write(refusal())
                    elif isinstance(event, UpgradeRequest):
                        writer.write(connection.send(UpgradeAccept()))
                    elif isinstance(event, Close):
                        writer.write(connection.send(event))
        writer.close()

    async def work():
        server = await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=server_tls)
        address = f"wss://localhost:{server.sockets[0].getsockname()[1]}"
        async with connect(address, ssl=client_tls) as websocket:
            assert websocket.http_version == "1.1"
        with pytest.raises(ConnectError):
            await connect(address, http="2", ssl=client_tls)
        server.close()

    run(work())


def test_a_socket_is_not_connected_twice(run, tls_contexts):
    server_tls, client_tls = tls_contexts

    def upgrade(connection, request):
        return UpgradeReject(501) if connection.carrier.http_version == "2" else None

    async def work():
        async with listening(ssl=server_tls, upgrade=upgrade) as server:
            async with connect(secure(server), ssl=client_tls) as websocket:
                assert websocket.http_version == "1.1"
            sock = socket.create_connection(("127.0.0.1", server.port))
            with pytest.raises(UpgradeError) as refused:
                await connect(secure(server), ssl=client_tls, sock=sock)
            assert refused.value.status == 501

    run(work())


def test_requests_that_wait_for_a_stream_go_on_when_others_are_taken_back(run):
    asked = []

    async def respond(request):
        asked.append(request)
        await asyncio.sleep(10)

    async def work():
        async with listening(respond=respond, close_timeout=0.1) as server:
            async with connect_http2(f"ws://127.0.0.1:{server.port}") as client:
                asking = [asyncio.create_task(client.request("GET", "/")) for _ in range(120)]
                while len(asked) < 100:
                    await asyncio.sleep(0.01)
                for task in asking[:50]:
                    task.cancel()
                while len(asked) < 120:
                    await asyncio.sleep(0.01)
            await asyncio.wait(asking)
            assert all(isinstance(task.exception(), ConnectionClosed) for task in asking[50:])

    run(work())


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_the_window_of_a_stream_is_the_one_that_was_given(run, tls_contexts, tls):
    async def work():
        server_tls, client_tls = tls_contexts if tls else (None, None)
        sent = []

        async def flood(websocket):
            for _ in range(40):
                await websocket.send(bytes(50_000))
                sent.append(websocket.connection.buffered)

        async with listening(flood, ssl=server_tls, extensions=()) as server:
            address = secure(server) if tls else url(server)
            for window in (65_535, 4_000_000):
                sent.clear()
                async with connect_http2(address, ssl=client_tls, window=window) as client:
                    websocket = await client.open()
                    assert client.http.h2.local_settings.initial_window_size == window
                    received = [await websocket.recv() for _ in range(40)]
                assert {len(message) for message in received} == {50_000}
                # What does not fit waits at the server.
                assert (max(sent) > 0) is (window == 65_535)

    run(work())


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_no_more_streams_are_open_at_a_time_than_was_said(run, tls_contexts, tls):
    async def work():
        server_tls, client_tls = tls_contexts if tls else (None, None)
        async with listening(ssl=server_tls, respond=lambda request: Response(200)) as server:
            address = secure(server) if tls else url(server)
            async with connect_http2(address, ssl=client_tls, max_concurrent_streams=2, close_timeout=1) as client:
                first, second = await client.open(), await client.open()
                waiting = [asyncio.create_task(it) for it in (client.open(), client.request("GET", "/"))]
                for _ in range(20):
                    await asyncio.sleep(0.01)
                assert not any(task.done() for task in waiting)
                assert len(server.websockets) == 2
                await first.close()
                await second.close()
                third, response = await asyncio.gather(*waiting)
                assert response.status == 200
                await third.send("here")
                assert await third.recv() == "here"

    run(work())


def test_a_stream_that_is_not_free_in_time_is_told(run):
    async def work():
        async with listening() as server:
            async with connect_http2(url(server), max_concurrent_streams=1, open_timeout=0.3) as client:
                await client.open()
                with pytest.raises(ConnectError, match="a free stream did not come"):
                    await client.open()

    run(work())


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 65_534},
        {"window": 1 << 31},
        {"window": None},
        {"max_concurrent_streams": -1},
        {"max_concurrent_streams": 1.5},
    ],
)
def test_wrong_arguments_of_streams_are_refused_where_they_are_given(wrong):
    with pytest.raises((TypeError, LocalProtocolError)):
        connect_http2("ws://localhost/", **wrong)


def test_a_close_that_is_cancelled_closes_the_transport(run):
    async def work():
        async with silent_server("2") as address:
            client = await connect_http2(address, close_timeout=0.2)
            await client.open(extensions=())
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.close(), 0.05)
            await asyncio.wait_for(client._protocol.gone, 5)

    run(work())


def test_requests_that_are_taken_back_by_the_end_of_the_client_are_not_written(run, caplog):
    async def respond(request):
        await asyncio.sleep(0.2)
        return Response(200)

    async def work():
        async with listening(respond=respond) as server:
            async with connect_http2(f"ws://127.0.0.1:{server.port}") as client:
                asking = [asyncio.create_task(client.request("GET", "/")) for _ in range(50)]
                await asyncio.sleep(0.05)
                for task in asking:
                    task.cancel()
            await asyncio.wait(asking)

    run(work())
    assert not [record for record in caplog.records if record.name == "asyncio"]


BAD = [
    ({"headers": {"X": "a\r\nb: c"}}, 'header "X"'),
    ({"headers": {"X Y": "a"}}, "header name"),
    ({"headers": {"Host": "a"}}, "use the argument `host`"),
    ({"headers": {"Transfer-Encoding": "chunked"}}, "leave it out"),
    ({"headers": {"Content-Length": "1"}}, "it is written"),
    ({"origin": "https://a\n"}, "Origin"),
    ({"subprotocols": ["a b"]}, "subprotocols"),
    ({"subprotocols": ["a", "a"]}, "no two the same"),
]


def test_what_has_no_type_of_an_argument_is_called_by_its_name(run):
    with pytest.raises(TypeError, match=r"^origin is a str, not int$"):
        connect("ws://127.0.0.1:1/", origin=1)

    async def work():
        async with listening() as server, connect_http2(url(server)) as client:
            for wrong in (None, b"/"):
                with pytest.raises(TypeError, match=r"^target is a str, not"):
                    await client.open(wrong)

    run(work())


@pytest.mark.parametrize(("arguments", "told"), BAD)
def test_what_no_request_can_have_is_refused_by_the_call(arguments, told):
    # Without a loop there is no transport.
    with pytest.raises(LocalProtocolError, match=told):
        connect("ws://127.0.0.1:1/", **arguments)


@pytest.mark.parametrize(("arguments", "told"), BAD)
def test_what_no_request_can_have_opens_no_stream(run, arguments, told):
    async def work():
        async with listening() as server, connect_http2(url(server)) as client:
            with pytest.raises(LocalProtocolError, match=told):
                await client.open("/", **arguments)
            websocket = await client.open("/")
            await websocket.send("fine")
            assert await websocket.recv() == "fine"
            assert websocket.connection.carrier.number == 1

    run(work())


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_bytes_above_7f_pass_both_ways(run, http):
    city, seen = "city=Z\u00c3\u00bcrich; name=J\u00fcrg", []

    async def upgrade(_connection, request):
        seen.append(request)
        if request.target == "/no":
            return UpgradeReject(401, headers={"WWW-Authenticate": f'Basic realm="{city}"'})
        return UpgradeAccept(headers={"Set-Cookie": city})

    async def work():
        async with listening(upgrade=upgrade) as server:
            async with connect(url(server), http=http, headers={"Cookie": city}) as websocket:
                assert dict(websocket.response.headers)["set-cookie"] == city
            with pytest.raises(UpgradeError) as refused:
                await connect(url(server, "/no"), http=http)
            assert dict(refused.value.headers)["www-authenticate"] == f'Basic realm="{city}"'
        assert dict(seen[0].headers)["cookie"] == city
        assert dict(seen[0].raw_headers)[b"cookie"] == city.encode("latin-1")
        assert dict(seen[0].raw_headers)[b"host"] == f"127.0.0.1:{server.port}".encode()

    run(work())
