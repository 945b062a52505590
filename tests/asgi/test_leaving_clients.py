"""Clients that leave while an application sends: it has not failed, whatever it makes of the error. What has failed is logged."""

from __future__ import annotations

import asyncio
import logging
import sys
from itertools import product

import anyio
import pytest
from asgi.applications import body, start
from asgi.conftest import own, under_uvicorn
from asgi.http2_client import raw_http2
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from mintws.asgi import ClientDisconnected
from mintws.asgi.messages import is_of_the_end
from mintws.asyncio import connect

with_groups = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no groups of exceptions")


async def push(scope, send):
    """Send until that fails."""
    if scope["type"] == "http":
        await send(start())
    else:
        await send({"type": "websocket.accept"})
    while True:
        part = body(b"x", more=True) if scope["type"] == "http" else {"type": "websocket.send", "text": "x"}
        await send(part)
        await asyncio.sleep(0.001)


async def plain(scope, receive, send):
    await push(scope, send)


async def in_a_group(scope, receive, send):
    async with asyncio.TaskGroup() as group:
        group.create_task(push(scope, send))
        group.create_task(asyncio.Event().wait())


async def in_groups_of_anyio(scope, receive, send):
    async with anyio.create_task_group() as outer, anyio.create_task_group() as inner:
        outer.start_soon(push, scope, send)
        inner.start_soon(anyio.sleep_forever)


async def push_text(websocket):
    await websocket.accept()
    while True:
        await websocket.send_text("x")
        await asyncio.sleep(0.001)


async def stream(request):
    async def parts():
        while True:
            yield b"x"
            await asyncio.sleep(0.001)

    return StreamingResponse(parts())


of_starlette = Starlette(routes=[Route("/", stream), WebSocketRoute("/", push_text)])
APPLICATIONS = [
    plain,
    of_starlette,
    pytest.param(in_a_group, marks=with_groups),
    pytest.param(in_groups_of_anyio, marks=with_groups),
]


def errors(caplog):
    return [it.getMessage() for it in caplog.records if it.levelno >= logging.WARNING]


@pytest.mark.parametrize("app", APPLICATIONS, ids=["plain", "Starlette", "asyncio", "anyio"])
@pytest.mark.parametrize(
    ("serving", "kind", "http"),
    # Ordinary requests of HTTP/1.1 are answered by a class of uvicorn's own there.
    [
        it
        for it in product([own, under_uvicorn], ["websocket", "http"], ["1.1", "2"])
        if it != (under_uvicorn, "http", "1.1")
    ],
)
def test_an_application_whose_client_leaves_has_not_failed(run, serving, http, kind, app, caplog):
    ended = asyncio.Event()

    async def noted(scope, receive, send):
        try:
            await app(scope, receive, send)
        finally:
            ended.set()

    async def work():
        async with serving(noted) as server:
            if kind == "websocket":
                async with connect(f"ws://127.0.0.1:{server.port}/", http=http) as websocket:
                    await websocket.recv()
            elif http == "2":
                async with raw_http2(server.port) as client:
                    number = client.request("/")
                    await client.until(lambda: client.answers[number].body)
                    client.reset(number)
                    await ended.wait()
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await reader.readuntil(b"x")
                writer.transport.abort()
            await ended.wait()

    run(work())
    assert errors(caplog) == []


@with_groups
@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_a_group_in_which_something_else_has_failed_is_logged(run, serving, kind, caplog):
    async def app(scope, receive, send):
        raise ExceptionGroup("two", [ClientDisconnected("it has gone"), ValueError("and this")])  # noqa: F821

    async def work():
        async with serving(app) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n" + (upgrade + key if kind == "websocket" else b"") + b"\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 500 ")
            writer.close()

    run(work())
    assert errors(caplog) == ["Exception in ASGI application\n"]


class Passing(BaseHTTPMiddleware):
    """Middleware that changes nothing: it sends a body in parts of which none is the last."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


@pytest.mark.parametrize("middleware", [[], [Middleware(Passing)]], ids=["plain", "middleware"])
@pytest.mark.parametrize(("serving", "http"), [(own, "1.1"), (own, "2"), (under_uvicorn, "1.1"), (under_uvicorn, "2")])
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_work_behind_a_response_is_done_though_the_client_has_left(run, serving, http, kind, middleware, caplog):
    asked, left, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work_on():
        done.set()

    async def answer(request):
        asked.set()
        await left.wait()
        return Response("tea", background=BackgroundTask(work_on))

    async def wait(request):
        async def parts():
            yield b"tea"
            asked.set()
            # Nothing is sent any more: only the end of the client ends it.
            await asyncio.Event().wait()

        return StreamingResponse(parts(), background=BackgroundTask(work_on))

    app = Starlette(routes=[Route("/whole", answer), Route("/stream", wait)], middleware=middleware)

    async def work():
        async with serving(app) as server:
            if http == "2":
                async with raw_http2(server.port) as client:
                    number = client.request(f"/{kind}")
                    await asked.wait()
                    client.reset(number)
                    # An answer that comes behind says that the reset was seen.
                    assert (await client.get("/nowhere")).status == 404
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(f"GET /{kind} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                await asked.wait()
                writer.transport.abort()
                await asyncio.sleep(0.1)
            left.set()
            await asyncio.wait_for(done.wait(), 10)

    run(work())
    assert errors(caplog) == []


@pytest.mark.parametrize(("serving", "http"), [(own, "1.1"), (own, "2"), (under_uvicorn, "2")])
def test_a_response_of_starlette_may_take_the_request_meanwhile(run, serving, http):
    async def echo(request):
        return StreamingResponse(request.stream())

    async def work():
        async with serving(Starlette(routes=[Route("/", echo, methods=["POST"])])) as server:
            if http == "2":
                async with raw_http2(server.port) as client:
                    number = client.request(method="POST", end=False)
                    for size in range(1, 6):
                        client.send(number, b"x" * size)
                        # Each part is back before the next is sent.
                        await client.until(lambda size=size: len(client.answers[number].body) == sum(range(size + 1)))
                    client.send(number, b"!", end=True)
                    assert (await client.answer(number)).body == b"x" * 15 + b"!"
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                for part in (b"3\r\ntea\r\n", b"4\r\nmint\r\n"):
                    writer.write(part)
                    await reader.readuntil(part)
                writer.write(b"0\r\n\r\n")
                await reader.readuntil(b"0\r\n\r\n")
                writer.close()

    run(work())


def raised_from(error, cause=None, context=None):
    error.__cause__, error.__context__ = cause, context
    return error


class Group(Exception):
    """As it is of Python 3.11, and of the backport to 3.10."""

    def __init__(self, *exceptions):
        self.exceptions = exceptions


def test_what_an_error_came_out_of_decides():
    gone = ClientDisconnected("the client has gone")
    assert is_of_the_end(gone)
    assert is_of_the_end(raised_from(RuntimeError(), cause=raised_from(KeyError(), context=gone)))
    assert is_of_the_end(raised_from(RuntimeError(), cause=Group(gone)))
    assert is_of_the_end(Group(Group(gone), raised_from(KeyError(), context=gone)))
    assert not is_of_the_end(Group(Group(gone, KeyError()), gone))
    assert not is_of_the_end(Group())
    assert not is_of_the_end(OSError())


def test_errors_that_refer_to_each_other_come_to_an_end():
    error = KeyError()
    group = Group(error)
    error.__context__ = group
    assert not is_of_the_end(error)
    assert not is_of_the_end(group)
