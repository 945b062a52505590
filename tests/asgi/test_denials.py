"""Refusals of WebSockets whose bodies are streamed, under uvicorn and on our own server, over both versions of HTTP."""

from __future__ import annotations

import asyncio
import logging

import pytest
from asgi.http2_client import raw_http2
from wire import REQUEST

from mintws import LocalProtocolError, UpgradeError
from mintws.asyncio import connect


def start(status=403, *headers):
    return {"type": "websocket.http.response.start", "status": status, "headers": list(headers)}


def body(data=b"", more=True):
    return {"type": "websocket.http.response.body", "body": data, "more_body": more}


async def refused(server, http):
    with pytest.raises(UpgradeError) as error:
        await connect(f"ws://127.0.0.1:{server.port}/", http=http)
    return error.value


def test_a_refusal_is_streamed(run, serving, http):
    go_on = asyncio.Event()
    told = []

    async def app(scope, receive, send):
        await receive()
        await send(start(418, (b"x-tea", b"mint"), (b"content-length", b"11")))
        await send(body(b"one"))
        await asyncio.wait_for(go_on.wait(), 10)
        await send(body(b"two"))
        with pytest.raises(LocalProtocolError):
            await send({"type": "websocket.accept"})
        await send(body(b"three", False))
        told.append(await receive())

    async def work():
        async with serving(app) as server:
            refusing = asyncio.create_task(refused(server, http))
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(REQUEST + b"\r\n")
            # The first part comes before the second is sent.
            first = await reader.readuntil(b"one")
            assert first.startswith(b"HTTP/1.1 418 ")
            go_on.set()
            assert b"three" in await reader.read(-1)
            writer.close()
            refusal = await refusing
            assert (refusal.status, refusal.body) == (418, b"onetwothree")
            assert ("x-tea", "mint") in refusal.headers

    run(work())
    assert told == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}] * 2


@pytest.mark.parametrize("raises", [True, False])
def test_a_refusal_that_is_not_whole_is_given_up(run, serving, http, raises, caplog):
    async def app(scope, receive, send):
        await receive()
        await send(start())
        await send(body(b"one"))
        if raises:
            raise ValueError("not today")

    async def work():
        async with serving(app) as server:
            if http == "1.1":
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(REQUEST + b"\r\n")
                # The last chunk, of no bytes, does not come.
                assert not (await reader.read(-1)).endswith(b"0\r\n\r\n")
                writer.close()
            else:
                async with raw_http2(server.port) as client:
                    answer = await client.answer(await client.connect())
                    assert (answer.status, answer.body, answer.reset) == (403, b"one", 2)

    run(work())
    assert len([it for it in caplog.records if it.levelno == logging.ERROR]) == 1


def test_an_application_waits_for_a_client_that_takes_nothing(run, serving, http):
    sent = []
    ended = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await send(start())
        try:
            for _ in range(800):
                await send(body(bytes(50_000)))
                sent.append(True)
        except OSError:
            ended.set()

    async def work():
        async with serving(app) as server:
            if http == "1.1":
                _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1000)
                writer.write(REQUEST + b"\r\n")
                writer.transport.pause_reading()
                while not sent:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.3)
                assert len(sent) < 600
                writer.transport.abort()
                await ended.wait()
            else:
                async with raw_http2(server.port) as client:
                    client.takes = False
                    number = await client.connect()
                    await client.until(lambda: len(client.answers[number].body) == 65535)
                    await asyncio.sleep(0.1)
                    assert len(sent) <= 3
                    client.reset(number)
                    await ended.wait()

    run(work())
