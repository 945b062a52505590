"""`mintws.asgi.serve`: WebSockets of an application on our own server, over both versions of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import socket
import weakref
from collections.abc import MutableMapping
from http.client import HTTPConnection

import pytest
from asgi.applications import noting, probed
from asgi.test_uvicorn import ACCEPT, echo, sending
from drivers.raw import raw_client
from wire import CLOSE, REQUEST, TEXT, frame, masked

from mintws import ConnectionClosed, LocalProtocolError, UpgradeError
from mintws.asgi import ClientDisconnected, serve
from mintws.asgi.server import Arguments, AsgiProtocol
from mintws.asyncio import connect, connect_http2
from mintws.asyncio import serve as serve_handler


def serving(app, **options):
    return serve(app, "127.0.0.1", 0, lifespan="off", **options)


def url(server, target="/", scheme="ws"):
    return f"{scheme}://localhost:{server.port}{target}"


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_messages_of_all_sizes_come_back(run, http, secure, tls_contexts):
    server_context, client_context = tls_contexts
    messages = ["", b"", "hällo", b"\0\xff", "x" * 70_000, b"y" * (1 << 20)]

    async def work():
        async with serving(echo, ssl=server_context if secure else None) as server:
            tls = {"ssl": client_context} if secure else {}
            async with connect(url(server, scheme="wss" if secure else "ws"), http=http, **tls) as websocket:
                for message in messages:
                    await websocket.send(message)
                    assert await websocket.recv() == message

    run(work())


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_the_scope_has_what_the_request_says(run, http, secure, tls_contexts):
    server_context, client_context = tls_contexts
    scopes = []
    app = noting(echo, scopes)

    async def work():
        async with serving(app, root_path="/api", ssl=server_context if secure else None) as server:
            tls = {"ssl": client_context} if secure else {}
            asked = url(server, "/r%C3%A4ume/1?q=a%20b", "wss" if secure else "ws")
            headers = [("X-Twice", "1"), ("X-Between", "2"), ("X-Twice", "3")]
            async with connect(asked, http=http, headers=headers, subprotocols=["chat", "superchat"], **tls) as client:
                here = client.transport.get_extra_info("sockname"), client.transport.get_extra_info("peername")
        return here

    client, server = run(work())
    [scope] = scopes
    headers = scope.pop("headers")
    extensions = scope.pop("extensions")
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": http,
        "scheme": "wss" if secure else "ws",
        "path": "/api/räume/1",
        "raw_path": b"/api/r%C3%A4ume/1",
        "query_string": b"q=a%20b",
        "root_path": "/api",
        "client": client[:2],
        "server": server[:2],
        "subprotocols": ["chat", "superchat"],
        "state": {},
    }
    assert [value for name, value in headers if name in (b"x-twice", b"x-between")] == [b"1", b"2", b"3"]
    assert extensions.keys() == ({"websocket.http.response", "tls"} if secure else {"websocket.http.response"})


def test_frames_in_one_segment_with_the_request_are_received(run):
    async def work():
        async with serving(echo) as server:
            early = masked(TEXT, b"early") + masked(CLOSE, b"")
            stream, writer = await raw_client(server, head=REQUEST + b"\r\n" + early)
            assert await stream.read(-1) == frame(TEXT, b"early") + frame(CLOSE, b"")
            writer.close()

    run(work())


def test_each_websocket_of_a_connection_has_a_conversation_of_its_own(run):
    async def app(scope, receive, send):
        await receive()
        if scope["path"] == "/no":
            await send({"type": "websocket.close"})
            return
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": scope["path"]})
        if scope["path"] == "/fault":
            raise ValueError("one of them")
        await receive()

    async def work():
        async with serving(app) as server, connect_http2(url(server)) as client:
            good, bad = await client.open("/good"), await client.open("/fault")
            with pytest.raises(UpgradeError) as refusal:
                await client.open("/no")
            assert refusal.value.status == 403
            await bad.wait_closed()
            assert (await bad.recv(), bad.close_code) == ("/fault", 1011)
            assert await good.recv() == "/good"
            await good.close()
            assert good.close_code == 1000

    run(work())


@pytest.mark.parametrize("ends", ["accept", "close"])
def test_an_application_may_wait_for_messages_before_it_decides(run, http, ends):
    # Quart has a task that receives, and another that accepts.
    received = []

    async def app(scope, receive, send):
        assert (await receive())["type"] == "websocket.connect"
        receiving = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send({"type": f"websocket.{ends}"})
        received.append(await receiving)

    async def work():
        async with serving(app) as server:
            with contextlib.suppress(UpgradeError):
                async with connect(url(server), http=http) as client:
                    await client.send("hello")
                    await client.wait_closed()

    run(work())
    [message] = received
    assert message["type"] == ("websocket.receive" if ends == "accept" else "websocket.disconnect")


@pytest.mark.parametrize(
    ("app", "status", "body"),
    [
        (sending(), 500, b""),
        (sending({"type": "websocket.close"}), 403, b""),
        (
            sending(
                {"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-tea", b"mint")]},
                {"type": "websocket.http.response.body", "body": b"tea", "more_body": True},
                {"type": "websocket.http.response.body", "body": b"pot"},
            ),
            418,
            b"teapot",
        ),
    ],
    ids=["returns", "closes", "refuses in parts"],
)
def test_one_that_is_not_accepted_is_refused(run, http, app, status, body):
    async def work():
        async with serving(app) as server:
            with pytest.raises(UpgradeError) as refusal:
                await connect(url(server), http=http)
            assert (refusal.value.status, refusal.value.body) == (status, body)

    run(work())


@pytest.mark.parametrize("gone", ["reset", "transport"])
def test_a_client_that_leaves_before_the_answer_is_told_of(run, http, gone):
    asked, told = asyncio.Event(), []

    async def app(scope, receive, send):
        await receive()
        asked.set()
        told.append(await receive())
        with pytest.raises(OSError):
            await send(ACCEPT)

    async def work():
        async with serving(app) as server:
            if gone == "reset" and http == "2":
                async with connect_http2(url(server)) as client:
                    opening = asyncio.ensure_future(client.open("/"))
                    await asked.wait()
                    opening.cancel()
                    while not told:
                        await asyncio.sleep(0.01)
            else:
                opening = asyncio.ensure_future(connect(url(server), http=http).__aenter__())
                await asked.wait()
                opening.cancel()
                while not told:
                    await asyncio.sleep(0.01)
            with contextlib.suppress(asyncio.CancelledError):
                await opening
        assert [(it["type"], it["code"]) for it in told] == [("websocket.disconnect", 1006)]

    run(work())


@pytest.mark.parametrize("how", ["close", "drain"])
def test_one_that_is_not_decided_when_the_server_stops_gets_503(run, http, how):
    asked, told = asyncio.Event(), []

    async def app(scope, receive, send):
        await receive()
        asked.set()
        told.append(await receive())

    async def work():
        async with serving(app) as server:
            opening = asyncio.ensure_future(connect(url(server), http=http).__aenter__())
            await asked.wait()
            await (server.close() if how == "close" else server.drain(5))
            with pytest.raises(UpgradeError) as refusal:
                await opening
            assert refusal.value.status == 503
        assert [(it["type"], it["code"]) for it in told] == [("websocket.disconnect", 1012)]

    run(work())


def test_websockets_go_on_while_the_server_drains_and_end_with_1012(run, http):
    async def work():
        async with serving(echo) as server:
            websocket = await connect(url(server), http=http)
            draining = asyncio.ensure_future(server.drain(0.3))
            await asyncio.sleep(0)
            await websocket.send("still")
            assert await websocket.recv() == "still"
            await draining
            await websocket.wait_closed()
            assert websocket.close_code == 1012

    run(work())


def test_an_application_that_does_not_end_is_cancelled_after_the_close_timeout(run, http):
    ended = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    async def work():
        async with serving(app, close_timeout=0.1) as server:
            websocket = await connect(url(server), http=http)
        await websocket.wait_closed()
        assert websocket.close_code == 1012 and ended == [True]

    run(work())


def test_origins_are_not_checked(run, http):
    async def work():
        async with (
            serving(echo) as server,
            connect(url(server), http=http, headers={"Origin": "https://example.com"}) as client,
        ):
            await client.send("hello")
            assert await client.recv() == "hello"

    run(work())


def test_what_has_ended_is_freed_without_the_collector(run, http):
    kept = []
    app = probed(echo, kept)

    async def work():
        async with serving(app) as server:
            gc.disable()
            try:
                async with connect(url(server), http=http) as client:
                    await client.send("hello")
                    await client.recv()
                    kept.extend(weakref.ref(protocol) for protocol in server._protocols)
                    assert isinstance(kept[1](), AsgiProtocol)
                while server._protocols:
                    await asyncio.sleep(0.01)
                for _ in range(5):
                    await asyncio.sleep(0.01)
                assert [it() for it in kept] == [None, None]
            finally:
                gc.enable()

    run(work())


def test_its_arguments_are_those_of_serve_but_what_an_application_decides():
    said = inspect.signature(serve_handler).parameters
    decided = {"origins", "respond", "subprotocols", "upgrade"}
    shared = {name for name, it in said.items() if it.kind is it.KEYWORD_ONLY} - decided
    assert shared == Arguments.__optional_keys__ | Arguments.__required_keys__
    for name in (*decided, "parts", "text_as_bytes"):
        with pytest.raises(TypeError, match=f"no argument {name}: the application sees to that"):
            serving(echo, **{name: None})
    with pytest.raises(TypeError, match="use limit"):
        serving(echo, max_size=1)
    with pytest.raises(TypeError, match="did you mean memory_limit") as unknown:
        serving(echo, memorylimit=3)
    named = str(unknown.value).partition("it has ")[2].split(", ")
    assert named == list(inspect.signature(serve).parameters)
    assert set(named) == shared - {"parts", "text_as_bytes"} | {"app", "host", "port", "lifespan", "root_path"}
    with pytest.raises(TypeError, match="app is called"):
        serving("module:app")
    with pytest.raises(TypeError, match="root_path is a str"):
        serving(echo, root_path=5)
    for path in ("api", "/api/", "/"):
        with pytest.raises(LocalProtocolError, match="root_path begins with a slash"):
            serving(echo, root_path=path)


def test_nothing_is_served_where_an_argument_is_wrong(run):
    async def work():
        with pytest.raises(LocalProtocolError):
            await serve(echo)
        async with serving(echo) as server:
            with pytest.raises(LocalProtocolError):
                await server.close(1006)
            async with connect(url(server)) as client:
                await client.send("still")
                assert await client.recv() == "still"

    run(work())


class Event(MutableMapping):
    """An event that is no `dict`, which ASGI 3 does not forbid a framework."""

    def __init__(self, **items):
        self._items = items

    def __getitem__(self, key):
        return self._items[key]

    def __setitem__(self, key, value):
        self._items[key] = value

    def __delitem__(self, key):
        del self._items[key]

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)


def test_events_of_any_mapping_are_taken(run, http):
    async def app(scope, receive, send):
        await receive()
        await send(Event(type="websocket.accept"))
        await send(Event(type="websocket.send", text="tea"))
        await send(Event(type="websocket.send", bytes=b"pot", text=None))
        await send({"type": "websocket.send", "bytes": None, "text": "cup"})
        await send({"type": "websocket.send", "bytes": b"", "text": None})
        await send(Event(type="websocket.close", code=4000))

    async def work():
        async with serving(app) as server, connect(url(server), http=http) as websocket:
            assert [message async for message in websocket_messages(websocket)] == ["tea", b"pot", "cup", b""]

    run(work())


async def websocket_messages(websocket):
    """Give all messages until the end, whatever its code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await websocket.recv()


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"type": "websocket.send"}, KeyError),
        ({"text": "tea"}, KeyError),
        ({"type": b"websocket.send", "text": "tea"}, LocalProtocolError),
        ({"type": "websocket.send", "text": None}, TypeError),
        ({"type": "websocket.send", "text": 7}, TypeError),
    ],
    ids=["no data", "no type", "type in bytes", "None", "number"],
)
def test_an_event_that_is_none_raises_and_sends_nothing(run, event, error):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        with pytest.raises(error):
            await send(event)
        await send({"type": "websocket.send", "text": "after"})

    async def work():
        async with serving(app) as server, connect(url(server)) as websocket:
            assert await websocket.recv() == "after"

    run(work())


def test_an_application_that_was_told_of_the_end_cannot_close_any_more(run, http):
    seen = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        seen.extend([await receive(), await receive()])
        for event in ({"type": "websocket.close", "code": 4001}, {"type": "websocket.send", "text": "late"}):
            with pytest.raises(ClientDisconnected):
                await send(event)
        seen.append(await receive())

    async def work():
        async with serving(app) as server:
            async with connect(url(server), http=http) as websocket:
                await websocket.close(4003, "off")
            while len(seen) < 3:
                await asyncio.sleep(0.01)

    run(work())
    assert seen == [{"type": "websocket.disconnect", "code": 4003, "reason": "off"}] * 3
    # Each is the application's own.
    assert seen[0] is not seen[1]


def test_a_task_that_receives_while_another_closes_is_told_what_that_has_said(run, http):
    seen = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        seen.extend([await waiting, await receive()])

    async def work():
        async with serving(app) as server:
            async with connect(url(server), http=http) as websocket:
                with pytest.raises(ConnectionClosed):
                    await websocket.recv()
            while len(seen) < 2:
                await asyncio.sleep(0.01)

    run(work())
    assert seen == [{"type": "websocket.disconnect", "code": 4001, "reason": "enough"}] * 2


def test_handshakes_over_the_limit_are_refused_until_one_is_decided(run):
    async def app(scope, receive, send):
        await receive()
        if scope["path"] == "/slow":
            await end.wait()
        await send({"type": "websocket.close"} if scope["path"] == "/no" else ACCEPT)
        await receive()

    async def work():
        async with serving(app, max_handshakes=1) as server:
            slow = asyncio.ensure_future(connect(url(server, "/slow"), http="1.1")._connect())
            while not server.statistics().handshakes:
                await asyncio.sleep(0.01)
            with pytest.raises(UpgradeError, match="503"):
                await connect(url(server), http="1.1")
            end.set()
            async with await slow:
                # It is open, and its application still runs.
                for _ in range(2):
                    with pytest.raises(UpgradeError, match="403"):
                        await connect(url(server, "/no"))
                await (await connect(url(server))).close()
            found = server.statistics()
            assert (found.refused["max_handshakes"], found.refused["rejected"], found.websockets_opened) == (1, 2, 2)

    end = asyncio.Event()
    run(work())


def test_an_http2_connection_that_breaks_a_rule_counts_as_refused(run):
    async def work():
        async with serving(echo) as server:
            reader, writer = await raw_client(server, head=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            writer.write(bytes(3) + b"\x09\x00" + bytes(4))
            await reader.read()
            assert server.statistics().refused["invalid"] == 1
            writer.close()

    run(work())


def test_the_scope_has_the_addresses_of_a_proxy_header(run):
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": f"{scope['client']} {scope['server']}"})

    async def work():
        async with serving(app, proxy_protocol=["127.0.0.1"]) as server:
            sock = socket.create_connection(("127.0.0.1", server.port))
            sock.sendall(b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n")
            async with connect(url(server), sock=sock) as websocket:
                told = await websocket.recv()
        assert told.replace("[", "(").replace("]", ")") == "('192.0.2.1', 50000) ('198.51.100.2', 443)"

    run(work())


async def told_of_client(scope, receive, send):
    """Tell whose request it is."""
    told = f"{scope['client']} {scope['scheme']}"
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": told.encode()})
    else:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": told})


FORWARDED = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}


def test_scopes_have_the_client_that_a_trusted_proxy_tells(run, http, caplog):
    async def work():
        async with serving(told_of_client, trusted_proxies=["127.0.0.1"]) as server:
            async with connect(url(server), http=http, headers=FORWARDED) as websocket:
                assert await websocket.recv() == "('192.0.2.1', 0) wss"
            assert await get(server, http, FORWARDED) == (200, b"('192.0.2.1', 0) https")
        async with serving(told_of_client) as server:
            async with connect(url(server), http=http, headers=FORWARDED) as websocket:
                assert await websocket.recv() == f"{websocket.transport.get_extra_info('sockname')} ws"
            status, told = await get(server, http, FORWARDED)
            assert status == 200 and told.startswith(b"('127.0.0.1'") and told.endswith(b" http")

    with caplog.at_level("INFO", "mintws.server"):
        run(work())
    assert "opened: 192.0.2.1:0 /" in caplog.text


def test_a_malformed_header_of_a_trusted_proxy_reaches_no_application(run, http):
    async def app(scope, receive, send):
        raise AssertionError("it is asked")

    async def work():
        wrong = {"X-Forwarded-For": "localhost"}
        async with serving(app, trusted_proxies=["127.0.0.1"]) as server:
            with pytest.raises(UpgradeError) as refused:
                await connect(url(server), http=http, headers=wrong)
            assert (refused.value.status, refused.value.body) == (400, b"a header of the proxy is malformed\n")
            assert await get(server, http, wrong) == (400, b"a header of the proxy is malformed\n")
            assert server.statistics().refused["invalid"] == 2
            assert server.statistics().handshakes == 0

    run(work())


async def get(server, http, headers):
    """Make a request of `http`, the version of HTTP; give status and body."""
    if http == "2":
        async with connect_http2(url(server)) as client:
            response = await client.request("GET", "/", headers=headers)
            return response.status, response.body

    def ask():
        with contextlib.closing(HTTPConnection("127.0.0.1", server.port, timeout=5)) as client:
            client.request("GET", "/", headers=headers)
            response = client.getresponse()
            return response.status, response.read()

    return await asyncio.to_thread(ask)
