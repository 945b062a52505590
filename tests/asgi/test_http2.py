"""`--http mintws.uvicorn:HttpProtocol`: what an application and its clients see over HTTP/2, and how the version is chosen."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import weakref

import pytest
from asgi.applications import body, content, noting, send_on, sending, start, with_lifespan
from asgi.conftest import HTTP, running
from asgi.http2_client import raw_http2
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from h2.errors import ErrorCodes
from wire import RST_STREAM, h2_frames

from mintws import ConnectionClosed, ExtendedConnectDisabled, LocalProtocolError, UpgradeError
from mintws.asyncio import connect, connect_http2


def serving(app, **options):
    return running(app, http=HTTP, **options)


async def echo(scope, receive, send):
    got = b"".join(await content(receive))
    await send(start(200, (b"content-length", b"%d" % len(got))))
    await send(body(got))


def answering(app, *requests, **options):
    """Make requests one after the other on one connection; give their answers."""

    async def work():
        async with serving(app, **options) as server, raw_http2(server.port) as client:
            answers = [await client.get(*path, **how) for path, how in requests]
            client.writer.close()
            await server.idle()
            return answers

    return work()


GET = ([], {})


def errors(caplog):
    return [it.getMessage() for it in caplog.records if it.levelno >= logging.ERROR]


# How the version is chosen.


@pytest.mark.parametrize("secure", [False, True], ids=["preface", "alpn"])
def test_requests_and_websockets_share_a_connection(run, secure, tls_contexts):
    server_context, client_context = tls_contexts
    payload = bytes(range(256)) * 4096

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await echo(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})

    async def work():
        async with serving(app, tls=server_context if secure else None) as server:
            options = {"ssl": client_context} if secure else {}
            async with connect_http2(server.url(scheme="wss" if secure else "ws"), **options) as client:
                websocket = await client.open("/chat")
                response = await client.request("POST", "/", body=payload)
                assert (response.status, response.body) == (200, payload)
                await websocket.send("tea")
                assert await websocket.recv() == "tea"
                await websocket.close()
            await server.idle()

    run(work())


@pytest.mark.parametrize("offered", [None, ["http/1.1"]], ids=["no ALPN", "http/1.1"])
def test_a_client_of_tls_that_does_not_choose_h2_speaks_http1(run, offered, tls_contexts):
    server_context, client_context = tls_contexts
    if offered:
        client_context.set_alpn_protocols(offered)

    async def work():
        async with serving(echo, tls=server_context) as server:
            reader, writer = await asyncio.open_connection("localhost", server.port, ssl=client_context)
            writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntea")
            assert (await reader.read(-1)).endswith(b"\r\n\r\ntea")
            writer.close()
            await server.idle()

    run(work())


@pytest.mark.parametrize("step", [1, 4, 1000])
def test_nothing_of_a_request_of_http1_is_lost_however_it_is_cut(run, step):
    """A POST, a PRI and a PUT begin as the preface of HTTP/2 does."""
    requests = [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntea",
        b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntea",
    ]

    async def work():
        async with serving(echo) as server:
            for request in requests:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                for at in range(0, len(request), step):
                    writer.write(request[at : at + step])
                    await asyncio.sleep(0)
                assert (await reader.read(-1)).endswith(b"\r\n\r\ntea")
                writer.close()
            await server.idle()

    run(work())


def test_a_preface_may_come_byte_by_byte(run):
    async def work():
        async with serving(echo) as server, raw_http2(server.port) as client:
            write = client.writer.write
            written = []
            client.writer.write = written.append
            number = client.request(method="POST", body=b"tea")
            # The preface was written when the client was made; the rest is cut.
            for byte in b"".join(written):
                write(bytes([byte]))
                await asyncio.sleep(0)
            client.writer.write = write
            assert (await client.answer(number)).body == b"tea"

    run(work())


def test_a_connection_that_says_nothing_is_closed_when_the_server_stops(run):
    async def work():
        async with serving(echo) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"PRI * HT")
            while not server.server.server_state.connections:
                await asyncio.sleep(0.01)
            server.server.should_exit = True
            assert await reader.read(-1) == b""
            writer.close()

    run(work())


@pytest.mark.parametrize("said", [b"", b"PRI * HT"], ids=["nothing", "half a preface"])
def test_a_connection_that_does_not_say_its_version_is_closed_after_the_keep_alive_timeout(run, said):
    async def work():
        async with serving(echo, timeout_keep_alive=1) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(said)
            assert await asyncio.wait_for(reader.read(-1), 10) == b""
            writer.close()
            await server.idle()

    run(work())


def test_one_that_has_said_its_version_is_closed_by_the_class_for_it(run):
    async def app(scope, receive, send):
        await asyncio.sleep(1.5)
        await echo(scope, receive, send)

    async def work():
        async with serving(app, timeout_keep_alive=1) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\ntea")
            assert (await asyncio.wait_for(reader.read(-1), 10)).endswith(b"tea")
            writer.close()
            await server.idle()

    run(work())


def test_the_first_request_of_a_connection_is_answered_where_none_is_to_be_kept(run):
    async def work():
        async with serving(echo, timeout_keep_alive=0) as server:
            async with raw_http2(server.port) as client:
                await client.until(lambda: client.h2.remote_settings.enable_connect_protocol)
                assert (await client.get()).status == 200
                await client.until(lambda: False)
                assert client.goaway.error_code == ErrorCodes.NO_ERROR
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.sleep(0.1)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(-1), 10)).startswith(b"HTTP/1.1 200 OK")
            writer.close()
            await server.idle()

    run(work())


def test_it_listens_on_a_unix_socket(run, tmp_path):
    scopes = []
    app = noting(echo, scopes)

    path = str(tmp_path / "tea.sock")

    async def work():
        async with serving(app, uds=path):
            async with connect_http2("ws://localhost/", path=path) as client:
                assert (await client.request("GET", "/")).status == 200

    run(work())
    assert [(it["client"], it["server"]) for it in scopes] == [(None, (path, None))]


# The scope.


def test_the_scope_has_what_the_request_says(run):
    scopes = []
    app = noting(echo, scopes)

    async def work():
        async with serving(app, root_path="/api") as server, raw_http2(server.port) as client:
            await client.get(
                "/r%C3%A4ume/a%2Fb?q=a%20b", ("x-twice", "1"), ("cookie", "a=1"), ("x-twice", "2"), ("cookie", "b=2")
            )
            return [client.writer.get_extra_info(it) for it in ("sockname", "peername")]

    client, server = run(work())
    [scope] = scopes
    headers = scope.pop("headers")
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "2",
        "method": "GET",
        "scheme": "http",
        "path": "/api/räume/a/b",
        "raw_path": b"/api/r%C3%A4ume/a%2Fb",
        "query_string": b"q=a%20b",
        "root_path": "/api",
        "client": client,
        "server": server,
        "extensions": {"http.response.trailers": {}, "http.response.early_hint": {}},
        "state": {},
    }
    assert headers[0] == (b"host", b"localhost")
    assert sorted(headers[1:]) == [(b"cookie", b"a=1; b=2"), (b"x-twice", b"1"), (b"x-twice", b"2")]


def test_the_scheme_and_the_tls_extension_are_those_of_the_transport(run, tls_contexts):
    server_context, client_context = tls_contexts
    scopes = []
    app = noting(echo, scopes)

    async def work():
        async with serving(app, tls=server_context) as server, raw_http2(server.port, tls=client_context) as client:
            await client.get()

    run(work())
    assert scopes[0]["scheme"] == "https"
    assert scopes[0]["extensions"]["tls"]["tls_version"] == 0x0304


def test_proxy_headers_are_uvicorns_to_take(run):
    scopes = []
    app = noting(echo, scopes)

    forwarded = ("x-forwarded-proto", "https"), ("x-forwarded-for", "192.0.2.7")
    run(answering(app, (["/", *forwarded], {})))
    assert scopes[0]["scheme"] == "https"
    assert scopes[0]["client"][0] == "192.0.2.7"


def test_each_scope_has_the_state_of_the_lifespan(run):
    states = []
    shared = object()
    run(answering(with_lifespan(echo, states, pool=shared), GET, GET, lifespan="on"))
    assert [(it["pool"] is shared, it["mine"]) for it in states] == [(True, 1), (True, 2)]


def test_a_cookie_that_was_cut_is_whole_in_the_scope_of_a_websocket(run):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await receive()
        await send({"type": "websocket.close"})

    async def work():
        async with serving(app) as server:
            cookies = [("x-one", "1"), ("cookie", "a=1"), ("cookie", "b=2"), ("x-two", "2")]
            with pytest.raises(UpgradeError):
                await connect(server.url(), http="2", headers=cookies)

    run(work())
    [scope] = scopes
    names = [name for name, _ in scope["headers"]]
    assert [value for name, value in scope["headers"] if name == b"cookie"] == [b"a=1; b=2"]
    assert names.index(b"x-one") < names.index(b"cookie") < names.index(b"x-two")
    assert scope["http_version"] == "2"


# Requests.


def test_a_body_is_received_in_the_parts_in_which_it_comes(run):
    taken = asyncio.Queue()

    async def app(scope, receive, send):
        while (message := await receive())["more_body"]:
            taken.put_nowait(message["body"])
        taken.put_nowait(message["body"])
        await send(start())
        await send(body())

    async def work():
        async with serving(app) as server, raw_http2(server.port) as client:
            number = client.request(method="POST", end=False)
            for part in (b"one", b"two"):
                client.send(number, part)
                assert await taken.get() == part
            client.send(number, b"", end=True)
            assert await taken.get() == b""
            assert (await client.answer(number)).status == 200

    run(work())


def test_a_client_gets_credit_when_the_application_receives(run):
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        await go_on.wait()
        await send(start())
        await send(body(b"%d" % sum(map(len, await content(receive)))))

    async def work():
        async with serving(app) as server, raw_http2(server.port) as client:
            number = client.request(method="POST", end=False)
            await client.until(lambda: client.h2.local_flow_control_window(number) > 65535)
            window = client.h2.local_flow_control_window(number)
            client.send(number, bytes(window))
            # What follows on another stream is answered after whatever the first one might be given.
            other = client.request("/", method="POST", body=b"")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(client.until(lambda: client.answers[other].over), 0.3)
            assert client.h2.local_flow_control_window(number) == 0
            go_on.set()
            await client.until(lambda: client.h2.local_flow_control_window(number) > 0)
            client.send(number, b"x", end=True)
            assert (await client.answer(number)).body == b"%d" % (window + 1)

    run(work())


def test_a_client_that_sends_padding_alone_may_go_on(run):
    async def work():
        async with serving(echo) as server, raw_http2(server.port) as client:
            number = client.request(method="POST", end=False)
            await client.until(lambda: client.h2.local_flow_control_window(number) > 65535)
            for _ in range(client.h2.local_flow_control_window(number) // 256):
                client.h2.send_data(number, b"", pad_length=255)
            client.flush()
            await client.until(lambda: client.h2.local_flow_control_window(number) > 3)
            client.send(number, b"tea", end=True)
            assert (await client.answer(number)).body == b"tea"

    run(work())


@pytest.mark.parametrize("receives", [True, False])
def test_a_client_is_told_to_go_on_when_the_application_receives(run, receives):
    async def app(scope, receive, send):
        if receives:
            await receive()
        await send(start(204))
        await send(body())

    async def work():
        async with serving(app) as server, raw_http2(server.port) as client:
            number = client.request("/", ("expect", "100-continue"), method="POST", end=False)
            answer = client.answers[number]
            await client.until(lambda: answer.interim or answer.over)
            assert answer.interim == ([(100, [])] if receives else [])
            with contextlib.suppress(Exception):
                client.send(number, b"tea", end=True)
            await client.until(lambda: answer.over)
            assert answer.status == 204

    run(work())


def test_a_body_that_nobody_takes_ends_with_the_response(run):
    """What is left of the request is of no interest: RST_STREAM with NO_ERROR (RFC 9113 §8.1)."""

    async def work():
        async with serving(sending(start(413), body(b"no"))) as server, raw_http2(server.port) as client:
            number = client.request(method="POST", body=bytes(60_000), end=False)
            answer = await client.answer(number)
            assert (answer.status, answer.body) == (413, b"no")
            await client.until(lambda: answer.reset is not None)
            assert answer.reset == ErrorCodes.NO_ERROR
            assert (await client.get()).status == 413

    run(work())


# Responses.


def test_a_response_is_streamed(run):
    async def app(scope, receive, send):
        await send(start(200, (b"X-Case", b"kept"), (b"x-case", b"twice")))
        for part in (b"one", b"", b"two"):
            await send(body(part, True))
            await asyncio.sleep(0.01)
        await send(body(b"three"))

    [answer] = run(answering(app, GET, headers=[("X-Powered-By", "tea")]))
    assert (answer.status, answer.body) == (200, b"onetwothree")
    assert answer.header(b"x-case") == [b"kept", b"twice"]
    assert answer.header(b"x-powered-by") == [b"tea"]
    assert answer.header(b"server") == [b"uvicorn"]
    assert len(answer.header(b"date")) == 1


@pytest.mark.parametrize("window", [0, 65535, 1 << 20])
def test_an_application_waits_for_the_windows_of_the_client(run, window):
    sent = []

    async def app(scope, receive, send):
        await send(start())
        for _ in range(200):
            await send(body(bytes(10_000), True))
            sent.append(True)
        await send(body())

    async def work():
        async with serving(app) as server, raw_http2(server.port, window=window) as client:
            client.takes = False
            number = client.request()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(client.answer(number), 0.3)
            # The window of the connection has 65,535 bytes too, and 64 KiB may wait.
            assert len(sent) <= 14
            if window == 0:
                client.h2.increment_flow_control_window(65535, number)
            client.take(number)
            answer = await client.answer(number)
            assert len(answer.body) == 2_000_000
            assert len(sent) == 200

    run(work())


def test_an_application_waits_for_a_client_that_reads_nothing(run):
    sent = []

    async def app(scope, receive, send):
        await send(start())
        for _ in range(800):
            await send(body(bytes(50_000), True))
            sent.append(True)

    async def work():
        async with serving(app) as server, raw_http2(server.port, window=(1 << 31) - 1) as client:
            client.h2.increment_flow_control_window((1 << 31) - 1 - 65535)
            client.request()
            while not sent:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            assert len(sent) < 600
            client.writer.transport.abort()
            await server.idle()

    run(work())
    assert len(sent) < 800


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [("HEAD", 200, [(b"content-length", b"6")]), ("GET", 204, [(b"content-length", b"0")]), ("GET", 304, [])],
)
def test_a_response_without_a_body_has_none(run, method, status, headers):
    app = sending(start(status, *headers), body(b"tea", True), body(b"pot"))
    [answer] = run(answering(app, (["/"], {"method": method})))
    assert (answer.status, answer.body, answer.ended) == (status, b"", True)
    assert answer.header(b"content-length") == ([b"6"] if method == "HEAD" else [])


def test_headers_of_uvicorn_go_beside_those_of_the_application(run):
    app = sending(start(200, (b"vary", b"Accept-Encoding"), (b"server", b"mine")), body(b"tea"))
    given = [("Vary", "Origin"), ("Server", "not mine"), ("Connection", "close"), ("X-Frame-Options", "DENY")]
    [answer] = run(answering(app, GET, headers=given))
    names = b"vary", b"server", b"connection", b"x-frame-options"
    assert [answer.header(name) for name in names] == [[b"Accept-Encoding", b"Origin"], [b"mine"], [], [b"DENY"]]


@pytest.mark.parametrize("asked", [["trailers"], ["trailers", "trailers"], ["Trailers"], []])
def test_trailers_go_to_a_client_that_takes_them(run, asked):
    trailers = {"type": "http.response.trailers", "headers": [(b"X-Sum", b"7")], "more_trailers": True}
    last = {"type": "http.response.trailers", "headers": [(b"connection", b"close"), (b"x-end", b"8")]}
    app = sending(start(trailers=True), body(b"tea", True), body(b"pot"), trailers, last)
    [answer] = run(answering(app, (["/", *(("te", it) for it in asked)], {})))
    assert (answer.status, answer.body, answer.ended) == (200, b"teapot", True)
    assert answer.trailers == ([(b"x-sum", b"7"), (b"x-end", b"8")] if asked else [])


def test_trailers_follow_what_waits_for_a_window(run):
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"7")]}
    app = sending(start(trailers=True), body(bytes(100_000)), trailers)

    async def work():
        async with serving(app) as server, raw_http2(server.port) as client:
            answer = await client.get("/", ("te", "trailers"))
            assert (len(answer.body), answer.trailers) == (100_000, [(b"x-sum", b"7")])

    run(work())


def test_early_hints_come_before_the_response(run):
    hint = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload", b"</a.js>; rel=preload"]}
    [answer] = run(answering(sending(hint, start(), body(b"tea")), GET))
    links = [(b"link", b"</style.css>; rel=preload"), (b"link", b"</a.js>; rel=preload")]
    assert answer.interim == [(103, links)]
    assert (answer.status, answer.body) == (200, b"tea")


def test_headers_of_the_connection_are_left_out(run):
    """RFC 9113 §8.2.2: an application, or `--header`, may have them for HTTP/1.1."""
    names = [b"connection", b"keep-alive", b"Transfer-Encoding", b"upgrade", b"proxy-connection"]
    app = sending(start(200, *((name, b"close") for name in names), (b"x-tea", b"mint")), body(b"x"))
    [answer] = run(answering(app, GET, headers=[("Connection", "close"), ("X-Cup", "1")]))
    assert answer.status == 200
    assert {name for name, _ in answer.headers} == {b"content-length", b"x-tea", b"x-cup", b"server", b"date"}


# What goes wrong.

RAISES = object()


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "ASGI callable returned without starting response."),
        ([RAISES], "Exception in ASGI application\n"),
        ([start()], "ASGI callable returned without completing response."),
        ([start(), RAISES], "Exception in ASGI application\n"),
        ([start(), start()], "Exception in ASGI application\n"),
        ([body(b"early")], "Exception in ASGI application\n"),
        ([start(600)], "Exception in ASGI application\n"),
        ([start(200, (b"key", b"value\r\ncookie: smuggled=1"))], "Exception in ASGI application\n"),
        ([start(200, (b"a b", b"value"))], "Exception in ASGI application\n"),
        ([start(200, (b":path", b"/"))], "Exception in ASGI application\n"),
        ([start(200, (b"content-length", b"2")), body(b"tea")], "Exception in ASGI application\n"),
        ([start(200, (b"content-length", b"4")), body(b"tea")], "Exception in ASGI application\n"),
    ],
)
def test_what_fails_before_anything_is_sent_is_a_500(run, messages, said, caplog):
    async def app(scope, receive, send):
        for message in messages:
            if message is RAISES:
                raise ValueError("not today")
            await send(message)

    [answer] = run(answering(app, GET))
    assert (answer.status, answer.body, answer.ended) == (500, b"Internal Server Error", True)
    assert answer.header(b"content-type") == [b"text/plain; charset=utf-8"]
    assert errors(caplog) == [said]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([start(), body(b"tea", True)], "ASGI callable returned without completing response."),
        ([start(), body(b"tea", True), RAISES], "Exception in ASGI application\n"),
        ([start(), body(b"tea", True), start()], "Exception in ASGI application\n"),
        ([start(200, (b"content-length", b"4")), body(b"tea", True), body(b"pot")], "Exception in ASGI application\n"),
        ([start(200, (b"content-length", b"9")), body(b"tea", True), body(b"pot")], "Exception in ASGI application\n"),
        ([start(trailers=True), body(b"tea")], "ASGI callable returned without completing response."),
    ],
)
def test_what_fails_within_a_response_resets_its_stream_and_no_other(run, messages, said, caplog):
    async def app(scope, receive, send):
        if scope["path"] == "/other":
            await echo(scope, receive, send)
            return
        for message in messages:
            if message is RAISES:
                raise ValueError("not today")
            await send(message)

    bad, good = run(answering(app, GET, (["/other"], {"method": "POST", "body": b"tea"})))
    assert (bad.status, bad.ended, bad.reset) == (200, False, ErrorCodes.INTERNAL_ERROR)
    assert (good.status, good.body) == (200, b"tea")
    assert errors(caplog) == [said]


def test_what_fails_after_the_response_is_logged(run, caplog):
    async def app(scope, receive, send):
        await send(start())
        await send(body(b"tea"))
        await send(body(b"pot"))

    answers = run(answering(app, GET, GET))
    assert [(it.status, it.body, it.ended, it.reset) for it in answers] == [(200, b"tea", True, None)] * 2
    assert errors(caplog) == ["Exception in ASGI application\n"] * 2


def test_a_value_that_is_returned_is_logged(run, caplog):
    async def app(scope, receive, send):
        await send(start())
        await send(body(b"tea"))
        return 123

    [answer] = run(answering(app, GET))
    assert (answer.status, answer.body) == (200, b"tea")
    assert errors(caplog) == ["ASGI callable should return None, but returned '123'."]


@pytest.mark.parametrize(
    "messages",
    [
        [body()],
        [start(), start()],
        [start(), {"type": "http.response.early_hint", "links": []}],
        [start(), {"type": "http.response.trailers", "headers": []}],
        [start(trailers=True), body(), body()],
        [start(), body(), body()],
        [start(), body(), start()],
        [{"type": "websocket.accept"}],
    ],
)
def test_events_that_are_not_allowed_raise(run, messages):
    raised = []

    async def app(scope, receive, send):
        try:
            await sending(*messages)(scope, receive, send)
        except LocalProtocolError as error:
            raised.append(str(error))

    run(answering(app, GET))
    assert repr(messages[-1]["type"]) in raised[0]


# Ends.


async def take_back(client, number):
    client.reset(number)


async def vanish(client, number):
    client.writer.transport.abort()


async def half_close(client, number):
    client.writer.write_eof()


async def break_a_rule(client, number):
    client.writer.write(b"\x00\x00\x01\x04\x00\x00\x00\x00\x00\x00")


@pytest.mark.parametrize("end", [take_back, vanish, half_close, break_a_rule])
@pytest.mark.parametrize("when", ["receiving", "sending", "before"])
def test_an_application_is_told_that_its_client_has_gone(run, end, when, caplog):
    told = asyncio.Queue()

    async def app(scope, receive, send):
        if scope["path"] == "/other":
            await echo(scope, receive, send)
            return
        assert (await receive())["more_body"]
        if when != "before":
            await send(start())
            await send(body(b"tea", True))
        told.put_nowait("asked")
        if when == "sending":
            with pytest.raises(OSError):
                await sending(*[body(bytes(10_000), True)] * 1000)(scope, receive, send)
        assert await receive() == {"type": "http.disconnect"}
        with pytest.raises(OSError):
            await send_on(send)
        told.put_nowait("told")
        # What is not caught is no failure of the application.
        await send_on(send)

    async def work():
        async with serving(app) as server, raw_http2(server.port) as client:
            client.takes = False
            number = client.request(method="POST", body=b"some", end=False)
            while told.empty():
                await asyncio.sleep(0.01)
            assert await told.get() == "asked"
            await end(client, number)
            assert await told.get() == "told"
            if end is take_back:
                assert (await client.get("/other")).status == 200
            client.writer.close()
            await server.idle()

    run(work())
    assert errors(caplog) == []


def test_a_request_that_is_taken_back_at_once_does_no_harm(run, caplog):
    async def work():
        async with serving(echo) as server, raw_http2(server.port) as client:
            for _ in range(20):
                number = client.h2.get_next_available_stream_id()
                pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/")]
                client.h2.send_headers(number, pseudo, end_stream=True)
                client.h2.reset_stream(number)
            client.flush()
            assert (await client.get()).status == 200
            client.writer.close()
            await server.idle()

    run(work())
    assert errors(caplog) == []


def test_what_comes_after_the_response_is_a_disconnect(run):
    told = []

    async def app(scope, receive, send):
        await echo(scope, receive, send)
        told.append(await receive())

    run(answering(app, (["/"], {"method": "POST", "body": b"tea"})))
    assert told == [{"type": "http.disconnect"}]


def test_streaming_responses_of_starlette_end_with_their_clients(run, caplog):
    app = FastAPI()
    ended = asyncio.Event()

    @app.get("/stream")
    async def stream(request: Request):
        async def parts():
            try:
                while True:
                    yield b"x" * 1000
                    await asyncio.sleep(0.001)
            finally:
                ended.set()

        return StreamingResponse(parts())

    async def work():
        async with serving(app) as server, raw_http2(server.port) as client:
            number = client.request("/stream")
            await client.until(lambda: client.answers[number].body)
            client.reset(number)
            while server.server.server_state.tasks:
                await asyncio.sleep(0.01)
            client.writer.close()
            await server.idle()
        # Starlette leaves a generator that waits at its yield to the collector.
        gc.collect()
        await ended.wait()

    run(work())
    assert errors(caplog) == []


def test_a_connection_fault_is_logged_in_uvicorns_words(run, caplog):
    async def work():
        async with serving(echo) as server, raw_http2(server.port) as client:
            await client.get()
            await break_a_rule(client, 0)
            await client.until(lambda: False)
            assert client.goaway.error_code != ErrorCodes.NO_ERROR

    run(work())
    warned = [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]
    assert len(warned) == 1
    assert warned[0].startswith("Invalid HTTP/2 frame received: ")


# What uvicorn keeps, and its options.


def test_responses_are_logged_as_uvicorns_own_class_logs_them(run, caplog):
    async def app(scope, receive, send):
        await send(start(int(scope["path"].strip("/"))))
        await send(body())

    async def work():
        async with serving(app) as server:
            async with raw_http2(server.port) as client:
                await client.get("/404?a=b%20c")
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /404?a=b%20c HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            await reader.read(-1)
            writer.close()

    with caplog.at_level(logging.INFO, logger="uvicorn.access"):
        run(work())
    ours, theirs = [it for it in caplog.records if it.name == "uvicorn.access"]
    assert ours.msg == theirs.msg
    assert ours.args[1:] == ("GET", "/404?a=b%20c", "2", 404)
    assert theirs.args[1:] == ("GET", "/404?a=b%20c", "1.1", 404)
    assert ours.args[0].startswith("127.0.0.1:")


def test_more_requests_than_the_limit_get_503(run, caplog):
    waiting = asyncio.Event()

    async def app(scope, receive, send):
        await waiting.wait()
        await echo(scope, receive, send)

    async def work():
        async with serving(app, limit_concurrency=2) as server, raw_http2(server.port) as client:
            slow = [client.request(), client.request()]
            refused = await client.get()
            assert (refused.status, refused.body) == (503, b"Service Unavailable")
            waiting.set()
            assert [(await client.answer(it)).status for it in slow] == [200, 200]
            assert (await client.get()).status == 200

    run(work())
    assert "Exceeded concurrency limit." in [it.getMessage() for it in caplog.records]


def test_a_connection_over_the_limit_makes_room_for_others(run):
    async def work():
        async with serving(echo, limit_concurrency=2) as server, raw_http2(server.port) as first:
            assert (await first.get()).status == 200
            async with raw_http2(server.port) as second:
                assert (await second.get()).status == 503
                while len(server.server.server_state.connections) > 1:
                    await asyncio.sleep(0.01)
            assert (await first.get()).status == 200

    run(work())


def test_a_server_ends_after_as_many_requests_as_it_may_answer(run):
    async def work():
        async with serving(echo, limit_max_requests=2) as server, raw_http2(server.port) as client:
            await client.get()
            await client.get()
            assert server.server.server_state.total_requests == 2
            await client.until(lambda: False)
            assert client.goaway.error_code == ErrorCodes.NO_ERROR

    run(work())


def test_a_server_that_stops_lets_responses_come_to_their_end(run):
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        await send(start())
        await send(body(b"tea", True))
        await go_on.wait()
        await send(body(b"pot"))

    async def work():
        async with serving(app) as server, raw_http2(server.port) as client:
            number = client.request()
            await client.until(lambda: client.answers[number].body)
            server.server.should_exit = True
            await client.until(lambda: client.goaway)
            assert (client.goaway.error_code, client.goaway.last_stream_id) == (ErrorCodes.NO_ERROR, number)
            go_on.set()
            # h2 takes nothing more after a GOAWAY, so the rest is looked at as it came.
            rest = await client._reader.read(-1)
            assert b"pot" in rest

    run(work())


def test_a_request_that_outlives_the_graceful_shutdown_is_cancelled(run):
    ended = []

    async def app(scope, receive, send):
        if scope["path"] == "/begun":
            await send(start())
            await send(body(b"tea", True))
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(scope["path"])

    async def work():
        async with serving(app, timeout_graceful_shutdown=1) as server, raw_http2(server.port) as client:
            client.request("/waiting")
            begun = client.request("/begun")
            await client.until(lambda: client.answers[begun].body)
            server.server.should_exit = True
            await client.until(lambda: client.goaway)
            rest = await client._reader.read(-1)
            # `:status 503` is not of the static table: its name is, and its value is a literal.
            assert b"Service Unavailable" in rest
            reset = int(ErrorCodes.INTERNAL_ERROR).to_bytes(4, "big")
            assert (RST_STREAM, begun, reset) in [(kind, number, data) for kind, _, number, data in h2_frames(rest)]

    run(work())
    assert sorted(ended) == ["/begun", "/waiting"]


def test_an_idle_connection_is_closed_after_the_keep_alive_timeout(run):
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/slow":
            await go_on.wait()
        await echo(scope, receive, send)

    async def work():
        async with serving(app, timeout_keep_alive=1) as server, raw_http2(server.port) as client:
            slow = client.request("/slow")
            assert (await client.get()).status == 200
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(client.until(lambda: client.goaway), 1.5)
            assert client.goaway is None
            go_on.set()
            assert (await client.answer(slow)).status == 200
            await client.until(lambda: False)
            assert client.goaway.error_code == ErrorCodes.NO_ERROR
            client.writer.close()
            await server.idle()

    run(work())


@pytest.mark.parametrize("resets", [True, False])
def test_context_variables_are_uvicorns_to_reset(run, resets):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def app(scope, receive, send):
        seen.append(variable.get())
        await echo(scope, receive, send)

    async def work():
        variable.set("set")
        await answering(app, GET, reset_contextvars=resets)

    run(work())
    assert seen == ["unset" if resets else "set"]


def test_nothing_of_a_connection_is_left_to_the_collector(run):
    async def work():
        async with serving(echo) as server:
            gc.collect()
            gc.disable()
            try:
                async with raw_http2(server.port) as client:
                    await client.get("/", method="POST", body=b"tea")
                    [link] = server.server.server_state.connections
                    link = weakref.ref(link)
                await server.idle()
                while link() is not None:
                    await asyncio.sleep(0.01)
            finally:
                gc.enable()

    run(work())


# WebSockets.


@pytest.mark.parametrize("choice", ["none", None])
def test_without_a_websocket_class_there_are_no_websockets(run, choice):
    async def work():
        async with serving(echo, ws=choice) as server:
            with pytest.raises(ExtendedConnectDisabled):
                await connect(server.url(), http="2")
            async with connect_http2(server.url()) as client:
                assert (await client.request("GET", "/")).status == 200
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            writer.close()

    run(work())


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_websockets_of_both_versions_are_ours_where_uvicorn_may_choose(run, http, caplog):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        told.append(await receive())

    told = []

    async def work():
        async with serving(app, ws="auto") as server:
            websocket = await connect(server.url("/a?b"), http=http)
            server.server.should_exit = True
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.code == 1012

    with caplog.at_level(logging.INFO, logger="uvicorn.error"):
        run(work())
    assert told == [{"type": "websocket.disconnect", "code": 1012, "reason": ""}]
    assert [it for it in caplog.messages if it.endswith('"WebSocket /a?b" [accepted]')]


def test_websockets_of_one_connection_end_by_themselves(run):
    async def app(scope, receive, send):
        await receive()
        match scope["path"]:
            case "/refuse":
                await send({"type": "websocket.close"})
            case "/raise":
                raise ValueError("before")
            case "/fail":
                await send({"type": "websocket.accept"})
                raise ValueError("after")
            case "/return":
                await send({"type": "websocket.accept"})
            case _:
                await send({"type": "websocket.accept"})
                while (message := await receive())["type"] == "websocket.receive":
                    await send({**message, "type": "websocket.send"})

    async def work():
        async with serving(app) as server, connect_http2(server.url()) as client:
            lasting = await client.open("/echo")
            for path, status in (("/refuse", 403), ("/raise", 500)):
                with pytest.raises(UpgradeError) as refused:
                    await client.open(path)
                assert refused.value.status == status
            for path, code in (("/fail", 1011), ("/return", 1000)):
                websocket = await client.open(path)
                await websocket.wait_closed()
                assert websocket.close_code == code
            await lasting.send("tea")
            assert await lasting.recv() == "tea"
            await lasting.close()

    run(work())


def test_an_application_is_told_that_the_connection_of_its_websockets_is_lost(run):
    told = asyncio.Queue()

    async def app(scope, receive, send):
        await receive()
        if scope["path"] == "/open":
            await send({"type": "websocket.accept"})
        told.put_nowait("asked")
        told.put_nowait((await receive())["code"])

    async def work():
        async with serving(app) as server:
            async with connect_http2(server.url(), ping_interval=None) as client:
                websocket = await client.open("/open")
                waiting = asyncio.create_task(client.open("/wait"))
                assert [await told.get(), await told.get()] == ["asked", "asked"]
                websocket.transport.abort()
                assert [await told.get(), await told.get()] == [1006, 1006]
                with pytest.raises(OSError):
                    await waiting
            await server.idle()

    run(work())


def test_an_application_of_fastapi_runs(run):
    app = FastAPI()

    @app.post("/items/{item}")
    async def item(item: int, request: Request):
        return {"item": item, "size": len(await request.body()), "version": request.scope["http_version"]}

    @app.websocket("/rooms/{room}")
    async def join(websocket: WebSocket, room: str):
        await websocket.accept()
        await websocket.send_json({"room": room, "said": await websocket.receive_text()})
        await websocket.close(4001, "enough")

    async def work():
        async with serving(app) as server, connect_http2(server.url()) as client:
            response = await client.request("POST", "/items/7", body=bytes(300_000))
            assert response.body == b'{"item":7,"size":300000,"version":"2"}'
            assert (await client.request("GET", "/nowhere")).status == 404
            websocket = await client.open("/rooms/a")
            await websocket.send("tea")
            assert await websocket.recv() == '{"room":"a","said":"tea"}'
            await websocket.wait_closed()
            assert (websocket.close_code, websocket.close_reason) == (4001, "enough")

    run(work())
