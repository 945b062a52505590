"""`--ws mintws.uvicorn:WebSocketProtocol`: what an application and its clients see, by the ASGI specification where it says so."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket

import pytest
import trustme
from asgi.applications import noting, with_lifespan
from asgi.conftest import HTTP, running
from drivers.raw import raw_client
from fastapi import FastAPI, HTTPException, WebSocket, WebSocketDisconnect
from wire import BINARY, CLOSE, PING, PONG, REQUEST, TEXT, frame, masked

from mintws import ConnectError, ConnectionClosed, LocalProtocolError, UpgradeError
from mintws.asyncio import connect
from mintws.uvicorn import _servers

DISCONNECTS = "websocket.disconnect"


async def echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != DISCONNECTS:
        await send({**message, "type": "websocket.send"})


def sending(*messages):
    """Make an application that accepts, sends messages and returns."""

    async def app(scope, receive, send):
        await receive()
        for message in messages:
            await send(message)

    return app


ACCEPT = {"type": "websocket.accept"}


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_messages_of_all_sizes_come_back(run, reader, secure, tls_contexts):
    server_context, client_context = tls_contexts
    messages = ["", b"", "hällo", b"\0\xff", "x" * 70_000, b"y" * (1 << 20)]

    async def work():
        async with running(echo, http=reader, tls=server_context if secure else None) as server:
            tls = {"ssl": client_context} if secure else {}
            async with connect(server.url(scheme="wss" if secure else "ws"), http="1.1", **tls) as websocket:
                for message in messages:
                    await websocket.send(message)
                    assert await websocket.recv() == message
            await server.idle()

    run(work())


def test_frames_that_follow_each_other_at_once_are_all_received(run, reader):
    async def work():
        async with running(echo, http=reader) as server:
            stream, writer = await raw_client(server)
            writer.write(
                b"".join(masked(TEXT, b"%d" % i) for i in range(300)) + masked(PING, b"?") + masked(CLOSE, b"")
            )
            got = await stream.read(-1)
            echoes = b"".join(frame(TEXT, b"%d" % i) for i in range(300))
            assert got.replace(frame(PONG, b"?"), b"") == echoes + frame(CLOSE, b"")
            writer.close()

    run(work())


def test_the_scope_has_what_the_request_says(run, reader):
    scopes = []
    app = noting(echo, scopes)

    head = (
        b"GET /r%C3%A4ume/1?q=a%20b HTTP/1.1\r\nHost: localhost\r\nX-Twice: 1\r\nUpgrade: websocket\r\nX-Raw: \xff\r\n"
        b"Connection: Upgrade\r\nX-Twice: 2\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, superchat\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    async def work():
        async with running(app, http=reader, root_path="/api") as server:
            stream, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head)
            assert (await stream.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            here = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
            writer.close()
        return here

    client, server = run(work())
    [scope] = scopes
    headers = scope.pop("headers")
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/api/räume/1",
        "raw_path": b"/api/r%C3%A4ume/1",
        "query_string": b"q=a%20b",
        "root_path": "/api",
        "client": client,
        "server": server,
        "subprotocols": ["chat", "superchat"],
        "extensions": {"websocket.http.response": {}},
        "state": {},
    }
    assert headers == [
        (b"host", b"localhost"),
        (b"x-twice", b"1"),
        (b"upgrade", b"websocket"),
        (b"x-raw", b"\xff"),
        (b"connection", b"Upgrade"),
        (b"x-twice", b"2"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-protocol", b"chat, superchat"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ]


def test_the_scope_has_what_tls_says_of_the_client(run, reader, tls_contexts):
    server_context, client_context = tls_contexts
    authority = trustme.CA()
    authority.configure_trust(server_context)
    server_context.verify_mode |= 2
    authority.issue_cert("client.example", common_name='a, "b"').configure_cert(client_context)
    scopes = []
    app = noting(echo, scopes)

    async def work():
        async with running(app, http=reader, tls=server_context) as server:
            async with connect(server.url(scheme="wss"), http="1.1", ssl=client_context) as websocket:
                return websocket.transport.get_extra_info("ssl_object").version()

    version = run(work())
    [scope] = scopes
    tls = scope["extensions"]["tls"]
    assert (scope["scheme"], version, tls["tls_version"]) == ("wss", "TLSv1.3", 0x0304)
    assert 0x1301 <= tls["cipher_suite"] <= 0x1303
    assert tls["client_cert_name"].startswith(r"CN=a\, \"b\",")
    [certificate] = tls["client_cert_chain"]
    assert certificate.startswith("-----BEGIN CERTIFICATE-----")
    assert tls["server_cert"] is tls["client_cert_error"] is None


def test_each_scope_has_the_state_of_the_lifespan(run):
    states = []
    shared = object()

    async def work():
        async with running(with_lifespan(echo, states, pool=shared), lifespan="on") as server:
            for _ in range(2):
                async with connect(server.url()):
                    pass

    run(work())
    assert [(it["pool"] is shared, it["mine"]) for it in states] == [(True, 1), (True, 2)]


def test_an_accept_may_choose_a_subprotocol_and_headers(run, reader):
    accept = {**ACCEPT, "subprotocol": "chat", "headers": [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]}

    async def work():
        async with running(sending(accept), http=reader, headers=[("X-Powered-By", "tea")]) as server:
            websocket = await connect(server.url(), subprotocols=["soup", "chat"])
            headers = websocket.response.headers
            assert [value for name, value in headers if name == "set-cookie"] == ["a=1", "b=2"]
            assert {"date", "server", "x-powered-by"} <= {name for name, _ in headers}
            assert websocket.subprotocol == "chat"
            await websocket.wait_closed()

    run(work())


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_headers_of_uvicorn_go_beside_those_of_the_application(run, version):
    headers = [(b"vary", b"Accept-Encoding"), (b"server", b"mine"), (b"content-type", b"text/plain")]

    async def app(scope, receive, send):
        if scope["path"] == "/":
            await send({**ACCEPT, "headers": headers})
        else:
            await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": b"no"})

    async def work():
        given = [("Vary", "Origin"), ("Server", "not mine"), ("Content-Type", "text/html"), ("X-Frame-Options", "DENY")]
        async with running(app, http=HTTP, headers=given) as server:
            async with connect(server.url(), http=version) as websocket:
                answers = [websocket.response.headers]
            answers.append((await refused(server, "/no", http=version)).headers)
            return answers

    for got in run(work()):
        names = "vary", "server", "content-type", "x-frame-options"
        expected = ["Accept-Encoding", "Origin"], ["mine"], ["text/plain"], ["DENY"]
        assert tuple(got.all(name) for name in names) == expected


async def refused(server, target="/", **options):
    with pytest.raises(UpgradeError) as error:
        await connect(server.url(target), **options)
    return error.value


@pytest.mark.parametrize(
    ("messages", "status", "body"),
    [
        ([], 500, b""),
        ([{"type": "websocket.close"}], 403, b""),
        ([{"type": "websocket.close", "code": 4000, "reason": "no"}], 403, b""),
        ([{"type": "websocket.http.response.start", "status": 401, "headers": []}], 500, b""),
        ([{**ACCEPT, "subprotocol": "unasked"}], 500, b""),
        ([{**ACCEPT, "headers": [(b"sec-websocket-protocol", b"chat")]}], 500, b""),
        ([{"type": "websocket.send", "text": "too early"}], 500, b""),
        (
            [
                {"type": "websocket.http.response.start", "status": 418, "headers": [(b"content-length", b"6")]},
                {"type": "websocket.http.response.body", "body": b"tea", "more_body": True},
                {"type": "websocket.http.response.body", "body": b"pot"},
            ],
            418,
            b"teapot",
        ),
    ],
    ids=["returns", "closes", "closes with a code", "half a refusal", "subprotocol", "header", "sends", "refusal"],
)
def test_what_is_not_accepted_is_refused(run, reader, messages, status, body):
    async def work():
        async with running(sending(*messages), http=reader) as server:
            refusal = await refused(server)
            assert (refusal.status, refusal.body) == (status, body)
            await server.idle()

    run(work())


def test_an_application_that_raises_is_logged_and_refuses_with_500(run, reader, caplog):
    async def app(scope, receive, send):
        raise ValueError("not today")

    async def work():
        async with running(app, http=reader) as server:
            assert (await refused(server)).status == 500

    run(work())
    [record] = [it for it in caplog.records if it.levelno == logging.ERROR]
    assert (record.name, str(record.exc_info[1])) == ("uvicorn.error", "not today")


@pytest.mark.parametrize(
    ("messages", "raises", "code", "reason"),
    [
        ([], False, 1000, ""),
        ([], True, 1011, ""),
        ([{"type": "websocket.close"}], False, 1000, ""),
        ([{"type": "websocket.close", "code": None, "reason": None}], False, 1000, ""),
        ([{"type": "websocket.close", "code": 4001, "reason": "enough"}], False, 4001, "enough"),
        ([{"type": "websocket.close", "code": 4001}], True, 4001, ""),
    ],
    ids=["returns", "raises", "closes", "closes with None", "closes with a code", "closes and raises"],
)
def test_what_is_open_is_closed(run, reader, messages, raises, code, reason, caplog):
    async def app(scope, receive, send):
        await sending(ACCEPT, {"type": "websocket.send", "text": "before"}, *messages)(scope, receive, send)
        if raises:
            raise ValueError("after")

    async def work():
        async with running(app, http=reader) as server:
            websocket = await connect(server.url())
            assert await websocket.recv() == "before"
            await websocket.wait_closed()
            assert (websocket.close_code, websocket.close_reason) == (code, reason)
            await server.idle()

    run(work())
    assert [it.levelno for it in caplog.records if it.levelno >= logging.ERROR] == [logging.ERROR] * raises


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (masked(CLOSE, b"\x0f\xa1bye"), (4001, "bye")),
        (masked(CLOSE, b""), (1005, "")),
        (b"", (1006, None)),
        (masked(BINARY, b"x" * 200), (1009, None)),
        (frame(TEXT, b"without a mask"), (1002, None)),
    ],
    ids=["code", "no code", "vanished", "too long", "wrong"],
)
def test_the_application_is_told_how_it_ended(run, reader, end, told):
    ended = asyncio.Queue()

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        first, last = await receive(), await receive()
        with pytest.raises(OSError):
            await send({"type": "websocket.send", "text": "too late"})
        assert await receive() == last
        ended.put_nowait((first, last))
        # What is not caught is no failure of the application.
        await send({"type": "websocket.close"})

    async def work():
        async with running(app, http=reader, ws_max_size=100) as server:
            stream, writer = await raw_client(server)
            writer.write(masked(TEXT, b"one") + end)
            writer.write_eof()
            first, last = await ended.get()
            assert first == {"type": "websocket.receive", "text": "one"}
            assert (last["type"], last["code"]) == (DISCONNECTS, told[0])
            assert told[1] is None or last["reason"] == told[1]
            writer.close()
            await server.idle()

    run(work())


def test_a_client_that_ends_it_is_no_failure_of_the_application(run, caplog):
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        while True:
            await send({"type": "websocket.send", "text": "x"})
            await asyncio.sleep(0.001)

    async def work():
        async with running(app) as server:
            async with connect(server.url()):
                pass
            await server.idle()

    run(work())
    assert not [it for it in caplog.records if it.levelno >= logging.ERROR]


def test_a_client_that_leaves_before_the_answer_is_told_as_1006(run, reader):
    told = asyncio.Queue()

    async def app(scope, receive, send):
        await receive()
        told.put_nowait("asked")
        told.put_nowait(await receive())
        with pytest.raises(OSError):
            await send(ACCEPT)
        told.put_nowait("refused")

    async def work():
        async with running(app, http=reader) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(REQUEST + b"\r\n")
            assert await told.get() == "asked"
            writer.transport.abort()
            assert await told.get() == {"type": DISCONNECTS, "code": 1006, "reason": ""}
            assert await told.get() == "refused"
            await server.idle()

    run(work())


@pytest.mark.parametrize(
    "messages",
    [
        [ACCEPT, ACCEPT],
        [ACCEPT, {"type": "websocket.http.response.start", "status": 200}],
        [ACCEPT, {"type": "websocket.close"}, {"type": "websocket.send", "text": "x"}],
        [{"type": "websocket.close"}, ACCEPT],
        [{"type": "websocket.http.response.body", "body": b""}],
        [{"type": "websocket.http.response.start", "status": 401}, ACCEPT],
        [{"type": "http.response.start", "status": 200}],
    ],
)
def test_events_that_are_not_allowed_raise(run, messages):
    raised = asyncio.Queue()

    async def app(scope, receive, send):
        try:
            await sending(*messages)(scope, receive, send)
        except LocalProtocolError as error:
            raised.put_nowait(str(error))

    async def work():
        async with running(app) as server:
            with contextlib.suppress(ConnectError):
                await connect(server.url())
            assert repr(messages[-1]["type"]) in await raised.get()

    run(work())


def test_a_server_that_stops_closes_with_1012_and_refuses_with_503(run, reader):
    told = []

    async def app(scope, receive, send):
        if scope["path"] == "/slow":
            await receive()
            told.append((await receive())["code"])
            return
        await receive()
        await send(ACCEPT)
        told.append((await receive())["code"])

    async def work():
        async with running(app, http=reader) as server:
            websocket = await connect(server.url())
            slow = asyncio.create_task(refused(server, "/slow"))
            while len(server.server.server_state.tasks) < 2:
                await asyncio.sleep(0.01)
            server.server.should_exit = True
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.code == 1012
            assert (await slow).status == 503

    run(work())
    assert sorted(told) == [1012, 1012]


def test_a_task_that_outlives_the_graceful_shutdown_is_cancelled(run):
    ended = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def work():
        async with running(app, timeout_graceful_shutdown=1) as server:
            websocket = await connect(server.url())
            server.server.should_exit = True
            await websocket.wait_closed()
            assert websocket.close_code == 1012

    run(work())
    assert ended == [True]


def test_more_connections_than_the_limit_are_refused(run, reader):
    async def work():
        async with running(echo, http=reader, limit_concurrency=3) as server:
            async with connect(server.url()), connect(server.url()):
                assert (await refused(server)).status == 503
            await server.idle()
            async with connect(server.url()):
                pass

    run(work())


def test_a_client_that_is_silent_is_left(run):
    told = asyncio.Queue()

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        told.put_nowait(await receive())

    async def work():
        async with running(app, ws_ping_interval=0.1, ws_ping_timeout=0.1) as server:
            stream, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(REQUEST + b"\r\n")
            assert (await told.get())["code"] == 1006
            writer.close()

    run(work())


@pytest.mark.parametrize(("given", "warned"), [({"ws_max_queue": 4}, 1), ({"ws_max_queue": 32}, 0), ({}, 0)])
def test_a_length_of_the_queue_has_no_effect_and_is_warned_of_once(run, reader, given, warned, caplog):
    async def work():
        async with running(echo, http=reader, **given) as server:
            for _ in range(2):
                async with connect(server.url()):
                    pass
            await server.idle()

    run(work())
    warnings = [it for it in caplog.records if it.levelno == logging.WARNING]
    assert ["ws_max_queue=4 has no effect" in it.getMessage() for it in warnings] == [True] * warned


def test_an_application_that_receives_nothing_holds_the_client_back(run):
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await go_on.wait()
        size = 0
        for _ in range(400):
            size += len((await receive())["bytes"])
        await send({"type": "websocket.send", "text": str(size)})

    async def work():
        async with running(app) as server:
            async with connect(server.url(), extensions=()) as websocket:
                sending = asyncio.create_task(websocket.send_many([bytes(100_000)] * 400))
                done, _ = await asyncio.wait([sending], timeout=0.5)
                assert not done
                go_on.set()
                await sending
                assert await websocket.recv() == "40000000"

    run(work())


def test_a_client_that_takes_nothing_holds_the_application_back(run):
    sent = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        for _ in range(400):
            await send({"type": "websocket.send", "bytes": bytes(100_000)})
            sent.append(True)

    async def work():
        async with running(app, ws_ping_interval=None) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(REQUEST + b"\r\n")
                while not sent:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.3)
                assert len(sent) < 300
            await server.idle()

    run(work())
    assert len(sent) < 400


@pytest.mark.parametrize("agrees", [True, False])
def test_compression_is_uvicorns_to_choose(run, agrees):
    async def work():
        async with running(echo, ws_per_message_deflate=agrees) as server:
            async with connect(server.url()) as websocket:
                assert bool(websocket.connection.extensions) is agrees
                await websocket.send("again and " * 100)
                assert await websocket.recv() == "again and " * 100

    run(work())


def test_it_listens_on_a_unix_socket(run, tmp_path):
    scopes = []
    app = noting(echo, scopes)

    path = str(tmp_path / "tea.sock")

    async def work():
        async with running(app, uds=path) as _:
            async with connect("ws://localhost/", path=path) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"

    run(work())
    assert [(it["client"], it["server"]) for it in scopes] == [(None, (path, None))]


def test_answers_are_logged_in_uvicorns_words(run, caplog):
    async def app(scope, receive, send):
        await sending({"/yes": ACCEPT, "/no": {"type": "websocket.close"}}[scope["path"]])(scope, receive, send)

    async def work():
        async with running(app) as server:
            async with connect(server.url("/yes?a=b")):
                pass
            await refused(server, "/no")

    with caplog.at_level(logging.INFO, logger="uvicorn.error"):
        run(work())
    said = [it.getMessage().partition(" - ")[2] for it in caplog.records if "WebSocket" in it.getMessage()]
    assert said == ['"WebSocket /yes?a=b" [accepted]', '"WebSocket /no" 403']


def test_an_application_of_fastapi_runs(run, reader):
    app = FastAPI()

    @app.get("/page")
    def page():
        return {"tea": "mint"}

    @app.websocket("/rooms/{room}")
    async def join(websocket: WebSocket, room: str):
        if room == "closed":
            raise HTTPException(409, "closed on Mondays")
        await websocket.accept(subprotocol=websocket.scope["subprotocols"][0])
        try:
            while True:
                await websocket.send_json({"room": room, "said": await websocket.receive_json()})
        except WebSocketDisconnect as end:
            left.append((end.code, end.reason))

    left = []

    async def work():
        async with running(app, http=reader) as server:
            async with connect(server.url("/rooms/a"), subprotocols=["json"]) as websocket:
                await websocket.send('{"a": 1}')
                assert await websocket.recv() == '{"room":"a","said":{"a":1}}'
                await websocket.close(4002, "off")
            assert (await refused(server, "/nowhere")).status == 403
            refusal = await refused(server, "/rooms/closed")
            assert (refusal.status, refusal.body) == (409, b'{"detail":"closed on Mondays"}')
            stream, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await stream.read(-1)).endswith(b'{"tea":"mint"}')
            writer.close()
            await server.idle()

    run(work())
    assert left == [(4002, "off")]


def test_nothing_is_kept_of_a_server_that_has_ended(run):
    async def work():
        async with running(echo) as server:
            async with connect(server.url()):
                assert len(_servers) > before
            await server.idle()

    gc.collect()
    before = len(_servers)
    run(work())
    gc.collect()
    assert len(_servers) == before
