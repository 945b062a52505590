"""Bodies of requests that do not come: how long an application waits for them, over both versions of HTTP and in both servers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial

import pytest
from asgi.applications import body, content, send_on, sending, start
from asgi.conftest import HTTP, running
from asgi.http2_client import raw_http2
from asgi.test_own_server import serving
from asgi.test_own_server_requests import client_of, get

import mintws.uvicorn
from mintws.asgi import ClientDisconnected
from mintws.session import Timeouts

#: How long nothing may come, in seconds.
SHORT = 0.3
MANY = 99


class OverHttp1:
    """Uploads over HTTP/1.1, each on a connection of its own."""

    def __init__(self, server, stack):
        self._server, self._stack = server, stack

    async def post(self, *first):
        client = await self._stack.enter_async_context(client_of(self._server))
        client.write(get("/", "Transfer-Encoding: chunked", method="POST"))
        upload = Upload(lambda data: client.write(b"%x\r\n%b\r\n" % (len(data), data)), partial(self._answer, client))
        upload.end = lambda: client.write(b"0\r\n\r\n")
        for part in first:
            upload.send(part)
        return upload

    @staticmethod
    async def _answer(client):
        head, _, trailers = await client.answer()
        # The connection ends after a request that is not whole.
        if head.status_code == 408:
            assert dict(head.headers)[b"connection"] == b"close"
            assert await client.reader.read() == b""
        return head.status_code, trailers is not None


class OverHttp2:
    """Uploads over HTTP/2, all on one connection."""

    def __init__(self, server, stack):
        self._server, self._stack = server, stack
        self._client = None

    async def post(self, *first):
        if self._client is None:
            self._client = await self._stack.enter_async_context(raw_http2(self._server.port))
        client = self._client
        number = client.request("/", method="POST", end=False)
        upload = Upload(partial(client.send, number), partial(self._answer, number))
        upload.end = lambda: client.send(number, b"", end=True)
        for part in first:
            upload.send(part)
        return upload

    async def _answer(self, number):
        answer = await self._client.answer(number)
        assert not answer.header(b"connection")
        return answer.status, answer.ended


class Upload:
    """One request whose body comes in parts.

    Attributes:
        send: sends a part.
        end: ends it.
        answer: gives the status of the response, and whether the response is whole.
    """

    def __init__(self, send, answer):
        self.send, self.answer = send, answer
        self.end = None


@pytest.fixture(params=["ours 1.1", "ours 2", "uvicorn 2"])
def uploading(request, monkeypatch):
    """Run an application in a server that waits for bodies for a short time, and give what makes uploads."""
    where, version = request.param.split()

    @contextlib.asynccontextmanager
    async def uploading(app):
        async with contextlib.AsyncExitStack() as stack:
            if where == "ours":
                server = await stack.enter_async_context(serving(app, open_timeout=SHORT, half_closed_timeout=0.05))
            else:
                monkeypatch.setattr(mintws.uvicorn, "Timeouts", partial(Timeouts, open_timeout=SHORT))
                server = await stack.enter_async_context(running(app, http=HTTP))
            kind = OverHttp1 if version == "1.1" else OverHttp2
            yield kind(server, stack)

    return uploading


async def takes(scope, receive, send):
    await content(receive)
    await sending(start(), body(b"thanks"))(scope, receive, send)


@pytest.mark.parametrize("first", [b"", b"a few bytes"], ids=["nothing", "some"])
def test_bodies_that_never_end_are_answered_with_408_and_let_go(run, uploading, first, caplog):
    caplog.set_level(logging.INFO)
    told = []

    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            assert message["more_body"]
        with pytest.raises(ClientDisconnected):
            await send_on(send)
        told.append(message)

    async def work():
        async with uploading(app) as uploads:
            started = [await uploads.post(*([first] if first else [])) for _ in range(MANY)]
            for upload in started:
                assert await upload.answer() == (408, True)
            while len(told) < MANY:
                await asyncio.sleep(0.01)

    run(work())
    assert told == [{"type": "http.disconnect"}] * MANY
    assert [it for it in caplog.records if it.levelno >= logging.WARNING] == []
    assert sum(it.getMessage().endswith(" 408") for it in caplog.records) == MANY


def test_a_body_that_makes_progress_may_take_longer(run, uploading):
    async def work():
        async with uploading(takes) as uploads:
            upload = await uploads.post()
            for _ in range(6):
                upload.send(bytes(1000))
                await asyncio.sleep(SHORT / 2)
            upload.end()
            return await upload.answer()

    assert run(work()) == (200, True)


def test_the_time_of_the_application_is_not_the_clients(run, uploading):
    async def app(scope, receive, send):
        await receive()
        await asyncio.sleep(3 * SHORT)
        await takes(scope, receive, send)

    async def work():
        async with uploading(app) as uploads:
            upload = await uploads.post(b"tea")
            await asyncio.sleep(3.1 * SHORT)
            upload.end()
            return await upload.answer()

    assert run(work()) == (200, True)


def test_waits_of_the_application_add_up(run, uploading):
    async def app(scope, receive, send):
        for _ in range(1000):
            with contextlib.suppress(asyncio.TimeoutError):
                assert (await asyncio.wait_for(receive(), 0.01))["type"] == "http.disconnect"
                return

    async def work():
        async with uploading(app) as uploads:
            upload = await uploads.post()
            return await upload.answer()

    assert run(work()) == (408, True)


def test_a_request_and_its_response_may_go_on_both_ways(run, uploading):
    async def app(scope, receive, send):
        await send(start())
        await send(body(b"first", more=True))
        await content(receive)
        await send(body(b"last"))

    async def work():
        async with uploading(app) as uploads:
            upload = await uploads.post(b"tea")
            await asyncio.sleep(3 * SHORT)
            upload.end()
            return await upload.answer()

    assert run(work()) == (200, True)


def test_an_application_that_waits_for_the_end_of_its_client_is_not_hurried(run, uploading):
    async def app(scope, receive, send):
        await content(receive)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(receive(), 3 * SHORT)
        await sending(start(), body(b"thanks"))(scope, receive, send)

    async def work():
        async with uploading(app) as uploads:
            upload = await uploads.post(b"tea")
            upload.end()
            return await upload.answer()

    assert run(work()) == (200, True)
