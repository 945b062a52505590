"""`mintws.asgi.serve`: ordinary requests of an application, over HTTP/1.1 and, where it matters, over HTTP/2."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import weakref

import h11
import pytest
from asgi.applications import body, content, noting, probed, send_on, sending, start
from asgi.http2_client import raw_http2
from asgi.test_own_server import serving
from wire import REQUEST

from mintws.asyncio import connect_http2

GONE = {"type": "http.disconnect"}


async def echo(scope, receive, send):
    """Send the path and the body back, in chunks."""
    data = b"".join(await content(receive))
    await send(start())
    await send(body(scope["path"].encode(), more=True))
    await send(body(data))


class Client:
    """One connection of HTTP/1.1, which is written by hand and read by `h11`."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self._left = b""

    def write(self, *pieces):
        self.writer.write(b"".join(pieces))

    async def answer(self, method="GET"):
        """Give the head, the body and the trailers of the next response; `None` for trailers if it does not end."""
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        http.send(h11.EndOfMessage())
        if self._left:
            http.receive_data(self._left)
        head, data = None, bytearray()
        while True:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError:
                # It ends in the midst of it.
                return head, bytes(data), None
            match event:
                case _ if event is h11.NEED_DATA:
                    http.receive_data(await self.reader.read(65536))
                case h11.Response() | h11.InformationalResponse():
                    head = event
                case h11.Data():
                    data += event.data
                case h11.EndOfMessage():
                    self._left = http.trailing_data[0]
                    return head, bytes(data), list(event.headers)


@contextlib.asynccontextmanager
async def client_of(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def get(path="/", *lines, method="GET", version="1.1"):
    head = "\r\n".join([f"{method} {path} HTTP/{version}", "Host: localhost", *lines])
    return head.encode() + b"\r\n\r\n"


def post(data, path="/", *lines):
    return get(path, f"Content-Length: {len(data)}", *lines, method="POST") + data


async def once(app, request, method="GET", **options):
    """Serve an application for one request; give the answer."""
    async with serving(app, **options) as server, client_of(server) as client:
        client.write(request)
        return await client.answer(method)


# The scope.


def test_the_scope_has_what_the_request_says(run):
    scopes = []
    app = noting(echo, scopes)

    async def work():
        async with serving(app, root_path="/api") as server, client_of(server) as client:
            client.write(get("/r%C3%A4ume/1?q=a%20b", "X-Twice: 1", "X-Between: 2", "X-Twice: 3"))
            await client.answer()
            return client.writer.get_extra_info("sockname"), client.writer.get_extra_info("peername")

    client, server = run(work())
    [scope] = scopes
    scope.pop("extensions")
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/api/räume/1",
        "raw_path": b"/api/r%C3%A4ume/1",
        "query_string": b"q=a%20b",
        "root_path": "/api",
        "headers": [(b"host", b"localhost"), (b"x-twice", b"1"), (b"x-between", b"2"), (b"x-twice", b"3")],
        "client": client,
        "server": server,
        "state": {},
    }


@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
def test_the_scope_has_the_version_of_http(run, version):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope["http_version"])
        await echo(scope, receive, send)

    async def work():
        async with serving(app) as server:
            if version == "2":
                async with raw_http2(server.port) as client:
                    assert (await client.get("/a")).body == b"/a"
            else:
                async with client_of(server) as client:
                    client.write(get("/a", version=version))
                    assert (await client.answer())[1] == b"/a"
        assert scopes == [version]

    run(work())


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_an_absolute_target_gives_the_scope_its_path_and_its_host(run, kind):
    # RFC 9112 §3.2.2.
    scopes = []
    app = noting(sending(start(), body()) if kind == "http" else sending({"type": "websocket.close"}), scopes)
    head = {"http": b"GET / HTTP/1.1\r\nHost: other.test\r\n", "websocket": REQUEST}[kind]
    _, lines = head.split(b"\r\n", 1)

    async def work():
        async with serving(app) as server, client_of(server) as client:
            client.write(b"GET http://tea.test:81/m%20int?x=1 HTTP/1.1\r\n", lines, b"\r\n")
            return (await client.answer())[0].status_code

    assert run(work()) == {"http": 200, "websocket": 403}[kind]
    [scope] = scopes
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/m int", b"/m%20int", b"x=1")
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"tea.test:81"]


# Bodies of requests.


def test_requests_of_one_connection_are_answered_one_after_another(run):
    async def work():
        async with serving(echo) as server, client_of(server) as client:
            for number in range(3):
                client.write(post(b"x" * number, f"/{number}"))
                head, data, _ = await client.answer()
                assert (head.status_code, data) == (200, b"/%d" % number + b"x" * number)
            # Three more that come at once, and a WebSocket behind them.
            client.write(get("/a"), post(b"data", "/b"), get("/c"), REQUEST, b"\r\n")
            assert [(await client.answer())[1] for _ in "abc"] == [b"/a", b"/bdata", b"/c"]
            head, *_ = await client.answer()
            assert head.status_code == 500

    run(work())


def test_a_body_in_chunks_is_received_in_the_parts_in_which_it_comes(run):
    received = asyncio.Queue()

    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            received.put_nowait((message["body"], message["more_body"]))
            if not message["more_body"]:
                break
        await send(start(204))
        await send(body())

    async def work():
        async with serving(app) as server, client_of(server) as client:
            client.write(get("/", "Transfer-Encoding: chunked", method="POST"), b"3\r\ntea\r\n")
            assert await received.get() == (b"tea", True)
            client.write(b"3\r\npot\r\n")
            assert await received.get() == (b"pot", True)
            client.write(b"0\r\n\r\n")
            assert await received.get() == (b"", False)
            assert (await client.answer())[0].status_code == 204

    run(work())


def test_a_client_is_paused_while_the_application_takes_nothing(run):
    may_receive, size = asyncio.Event(), 64 * 1024 * 1024

    async def app(scope, receive, send):
        await may_receive.wait()
        got = 0
        while True:
            message = await receive()
            got += len(message["body"])
            if not message["more_body"]:
                break
        await send(start())
        await send(body(b"%d" % got))

    async def work():
        async with serving(app) as server, client_of(server) as client:
            client.write(get("/", f"Content-Length: {size}", method="POST"))
            client.writer.transport.set_write_buffer_limits(0)
            part, sent = bytes(256 * 1024), 0
            with contextlib.suppress(asyncio.TimeoutError):
                while sent < size:
                    client.write(part)
                    sent += len(part)
                    await asyncio.wait_for(client.writer.drain(), 0.5)
            # What is kept is some KiB here; the rest is in the sockets.
            assert sent < size / 2
            may_receive.set()
            while sent < size:
                client.write(part)
                sent += len(part)
                await client.writer.drain()
            assert (await client.answer())[1] == b"%d" % size

    run(work())


@pytest.mark.parametrize("receives", [True, False])
def test_a_client_is_told_to_go_on_when_the_application_receives(run, receives):
    async def app(scope, receive, send):
        data = b"".join(await content(receive)) if receives else b"none"
        await send(start())
        await send(body(data))

    async def work():
        async with serving(app) as server, client_of(server) as client:
            client.write(get("/", "Content-Length: 4", "Expect: 100-continue", method="POST"))
            if receives:
                assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                client.write(b"data")
            head, data, _ = await client.answer()
            assert data == (b"data" if receives else b"none")
            assert ((b"connection", b"close") in list(head.headers)) is not receives

    run(work())


def test_what_is_left_of_a_body_does_not_reach_the_next_request(run):
    async def app(scope, receive, send):
        if scope["path"] == "/second":
            await echo(scope, receive, send)
            return
        await send(start(413))
        await send(body())

    async def work():
        async with serving(app) as server, client_of(server) as client:
            client.write(get("/first", "Content-Length: 300000", method="POST"), bytes(1000))
            assert (await client.answer())[0].status_code == 413
            client.write(bytes(299_000), get("/second"))
            assert (await client.answer())[1] == b"/second"

    run(work())


# Responses.


@pytest.mark.parametrize(
    ("method", "status", "headers", "length", "chunked"),
    [
        ("GET", 200, [], "0", False),
        ("HEAD", 200, [], None, True),
        ("HEAD", 200, [(b"content-length", b"7")], "7", False),
        ("GET", 204, [], None, False),
        ("GET", 304, [(b"content-length", b"7")], "7", False),
    ],
)
def test_a_response_without_a_body_has_none(run, method, status, headers, length, chunked):
    app = sending(start(status, *headers), body(b"" if method == "GET" else b"content"))

    async def work():
        async with serving(app) as server, client_of(server) as client:
            for _ in range(2):
                client.write(get(method=method))
                head, data, _ = await client.answer(method)
                said = dict(head.headers)
                assert (head.status_code, data) == (status, b"")
                assert said.get(b"content-length") == (length.encode() if length else None)
                assert (b"transfer-encoding" in said) is chunked

    run(work())


def test_a_response_has_the_date_and_the_server_unless_it_says_otherwise(run):
    [head, _, _] = run(once(sending(start(200, (b"server", b"tea")), body()), get()))
    names = [name for name, _ in head.headers]
    assert names.count(b"date") == 1
    assert [value for name, value in head.headers if name == b"server"] == [b"tea"]


def test_a_response_in_parts_goes_out_as_it_is_made(run):
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        await send(start())
        await send(body(b"first", more=True))
        await go_on.wait()
        await send(body(b"second"))

    async def work():
        async with serving(app) as server, client_of(server) as client:
            client.write(get())
            got = b""
            while b"first" not in got:
                got += await client.reader.read(4096)
            assert b"second" not in got
            go_on.set()
            while not got.endswith(b"0\r\n\r\n"):
                got += await client.reader.read(4096)
            assert b"second" in got

    run(work())


@pytest.mark.parametrize(
    ("lines", "takes"),
    [
        (["TE: trailers"], True),
        (["TE: Trailers"], True),
        (["TE: trailers, deflate;q=0.5"], True),
        (["TE: gzip;q=0.9 ,\ttrailers;q=1"], True),
        (["TE: gzip", "TE: trailers"], True),
        (["TE: trailers", "TE: gzip"], True),
        ([], False),
        (["TE: gzip;trailers"], False),
        (["TE: x-trailers, deflate"], False),
        (["TE: "], False),
        (["X-TE: trailers"], False),
    ],
)
def test_trailers_follow_a_body_in_chunks_where_the_client_takes_them(run, lines, takes):
    # RFC 9110 §10.1.4.
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}
    app = sending(start(trailers=True), body(b"tea"), trailers)
    _, data, got = run(once(app, get("/", *lines)))
    assert (data, got) == (b"tea", [(b"x-sum", b"1")] if takes else [])


def test_an_application_waits_for_a_client_that_reads_nothing(run):
    sent = []

    async def app(scope, receive, send):
        await send(start())
        for number in range(600):
            sent.append(number)
            await send(body(bytes(100_000), more=number < 599))

    async def work():
        async with serving(app) as server, client_of(server) as client:
            client.writer.transport.pause_reading()
            client.write(get())
            before = -1
            while len(sent) != before or not sent:
                before = len(sent)
                await asyncio.sleep(0.3)
            # The system keeps some MiB.
            assert len(sent) < 400
            client.writer.transport.resume_reading()
            assert len((await client.answer())[1]) == 60_000_000

    run(work())


def test_a_client_that_takes_nothing_is_cut_after_the_idle_timeout(run, http):
    told = []

    async def app(scope, receive, send):
        try:
            await send(start())
            while True:
                await send(body(bytes(100_000), more=True))
        except OSError:
            told.append(await receive())

    async def work():
        async with serving(app, idle_timeout=0.3) as server:
            if http == "2":
                async with raw_http2(server.port, window=(1 << 31) - 1) as client:
                    client.h2.increment_flow_control_window(1 << 30)
                    client.request()
                    while not told:
                        await asyncio.sleep(0.02)
            else:
                async with client_of(server) as client:
                    client.write(get())
                    client.writer.transport.pause_reading()
                    while not told:
                        await asyncio.sleep(0.02)
            assert told == [GONE]

    run(work())


def test_the_next_request_waits_until_there_is_room_for_its_response(run):
    asked = []

    async def app(scope, receive, send):
        asked.append(scope["path"])
        await send(start())
        await send(body(bytes(20_000_000)))

    async def work():
        async with serving(app) as server, client_of(server) as client:
            client.write(b"".join(get(f"/{number}") for number in range(20)))
            client.writer.transport.pause_reading()
            await asyncio.sleep(0.5)
            assert asked == ["/0"]
            client.writer.transport.resume_reading()
            for _ in range(3):
                assert len((await client.answer())[1]) == 20_000_000

    run(work())


def test_work_after_the_response_does_not_keep_the_next_request(run):
    go_on, done = asyncio.Event(), []

    async def app(scope, receive, send):
        await echo(scope, receive, send)
        if scope["path"] == "/first":
            # Once there is a response, this is all that comes.
            assert await receive() == GONE
            await go_on.wait()
            done.append(True)

    async def work():
        async with serving(app) as server, client_of(server) as client:
            client.write(get("/first"))
            assert (await client.answer())[1] == b"/first"
            client.write(get("/second"))
            assert (await client.answer())[1] == b"/second"
            assert not done
            go_on.set()
        assert done == [True]

    run(work())


# Failures.


@pytest.mark.parametrize(
    "messages",
    [[], [start()], [start(), ValueError("late")], [ValueError("early")], [start(99)], [start(), start()]],
    ids=["returns", "begins and returns", "begins and raises", "raises", "a wrong status", "begins twice"],
)
def test_what_fails_before_anything_is_sent_is_a_500_and_the_connection_goes_on(run, messages, caplog):
    async def app(scope, receive, send):
        if scope["path"] == "/good":
            await echo(scope, receive, send)
            return
        for message in messages:
            if isinstance(message, Exception):
                raise message
            await send(message)

    async def work():
        async with serving(app) as server, client_of(server) as client:
            client.write(get("/bad"), get("/good"))
            head, data, _ = await client.answer()
            assert (head.status_code, data) == (500, b"Internal Server Error")
            assert (await client.answer())[1] == b"/good"

    run(work())
    assert [it.levelname for it in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("fails", ["raises", "returns", "cut short"])
def test_what_fails_within_a_response_ends_the_connection_before_its_end(run, fails, caplog):
    async def app(scope, receive, send):
        await send(start(200, *([(b"content-length", b"9")] if fails == "cut short" else [])))
        await send(body(b"tea", more=True))
        if fails == "raises":
            raise ValueError("within")
        if fails == "cut short":
            await send(body(b"pot"))

    head, data, trailers = run(once(app, get() + get()))
    assert (head.status_code, data, trailers) == (200, b"tea", None)
    assert [it.levelname for it in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("how", ["close", "half", "rule"])
@pytest.mark.parametrize("when", ["body", "response"])
def test_an_application_is_told_that_its_client_has_gone(run, how, when, caplog):
    asked, told = asyncio.Event(), []

    async def app(scope, receive, send):
        if when == "response":
            await content(receive)
            await send(start())
            await send(body(b"first", more=True))
        asked.set()
        while (message := await receive())["type"] == "http.request":
            pass
        told.append(message)
        with pytest.raises(OSError):
            await send_on(send)
        told.append("done")

    async def work():
        async with serving(app) as server, client_of(server) as client:
            if when == "response":
                client.write(get())
            else:
                client.write(get("/", "Transfer-Encoding: chunked", method="POST"), b"3\r\ntea\r\n")
            await asked.wait()
            if how == "rule" and when == "body":
                client.write(b"no size\r\n")
            elif how == "half":
                client.writer.write_eof()
            else:
                client.writer.transport.abort()
            while len(told) < 2:
                await asyncio.sleep(0.01)
            # Over HTTP/1.1 nothing more is said to it then.
            while server._protocols:
                await asyncio.sleep(0.01)
        assert told == [GONE, "done"]

    run(work())
    assert not [it for it in caplog.records if it.levelno >= logging.WARNING]


# The server's end.


def test_a_server_that_stops_lets_responses_come_to_their_end_and_takes_no_more(run, http):
    go_on, asked = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        asked.set()
        await go_on.wait()
        await echo(scope, receive, send)

    async def work():
        async with serving(app) as server:
            if http == "2":
                async with connect_http2(f"ws://127.0.0.1:{server.port}") as client:
                    asking = asyncio.ensure_future(client.request("GET", "/a"))
                    await asked.wait()
                    closing = asyncio.ensure_future(server.close())
                    await asyncio.sleep(0.05)
                    go_on.set()
                    assert (await asking).body == b"/a"
                    await closing
            else:
                async with client_of(server) as client:
                    client.write(get("/a"), get("/b"))
                    await asked.wait()
                    closing = asyncio.ensure_future(server.close())
                    await asyncio.sleep(0.05)
                    go_on.set()
                    head, data, _ = await client.answer()
                    assert data == b"/a" and (b"connection", b"close") in list(head.headers)
                    assert await client.reader.read() == b""
                    await closing

    run(work())


@pytest.mark.parametrize("begun", [False, True])
def test_a_request_that_outlives_the_close_timeout_is_cancelled(run, begun):
    asked, ended = asyncio.Event(), []

    async def app(scope, receive, send):
        if begun:
            await send(start())
            await send(body(b"tea", more=True))
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    async def work():
        async with serving(app, close_timeout=0.1) as server, client_of(server) as client:
            client.write(get())
            await asked.wait()
            await server.close()
            head, data, trailers = await client.answer()
            if begun:
                assert (head.status_code, data, trailers) == (200, b"tea", None)
            else:
                assert (head.status_code, data) == (503, b"Service Unavailable")
        assert ended == [True]

    run(work())


def test_an_idle_connection_is_closed_after_the_idle_timeout_and_a_busy_one_is_not(run):
    async def app(scope, receive, send):
        await asyncio.sleep(0.5)
        await echo(scope, receive, send)

    async def work():
        async with serving(app, idle_timeout=0.2) as server, client_of(server) as client:
            client.write(get("/a"))
            assert (await client.answer())[1] == b"/a"
            assert await client.reader.read() == b""

    run(work())


# The rest.


def test_responses_are_logged(run, http, caplog):
    async def work():
        async with serving(echo) as server:
            if http == "2":
                async with raw_http2(server.port) as client:
                    await client.get("/tea?secret=1")
            else:
                async with client_of(server) as client:
                    client.write(get("/tea?secret=1"))
                    await client.answer()

    with caplog.at_level("INFO", "mintws.server"):
        run(work())
    [said] = [it.getMessage() for it in caplog.records if "GET" in it.getMessage()]
    assert said.endswith(": GET /tea: 200") and "secret" not in said


def test_what_has_ended_is_freed_without_the_collector(run, http):
    kept = []
    app = probed(echo, kept)

    async def work():
        async with serving(app) as server:
            gc.disable()
            try:
                if http == "2":
                    async with raw_http2(server.port) as client:
                        await client.get("/a")
                        kept.extend(weakref.ref(protocol) for protocol in server._protocols)
                else:
                    async with client_of(server) as client:
                        client.write(get("/a"))
                        await client.answer()
                        kept.extend(weakref.ref(protocol) for protocol in server._protocols)
                while server._protocols:
                    await asyncio.sleep(0.01)
                for _ in range(5):
                    await asyncio.sleep(0.01)
                assert [it() for it in kept] == [None, None]
            finally:
                gc.enable()

    run(work())
