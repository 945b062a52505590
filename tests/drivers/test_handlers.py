"""A handler of any kind runs in one task with the closing of its WebSocket, which ends in order however the handler does."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging

import pytest
from drivers.conftest import listening, until, url

from mintws import ConnectionClosed, _core
from mintws.asyncio import connect, serve


async def end_of(opening) -> ConnectionClosed:
    """Give how a WebSocket ends that the server closes."""
    async with opening as websocket:
        await asyncio.wait_for(websocket.wait_closed(), 10)
        return websocket.ending.exception()


async def greet(websocket, text="hello"):
    await websocket.send(text)


class Greeter:
    async def __call__(self, websocket):
        await greet(websocket)


def greet_in_task(websocket):
    return asyncio.ensure_future(greet(websocket))


KINDS = [greet, functools.partial(greet, text="hi"), Greeter(), lambda websocket: greet(websocket), greet_in_task]


@pytest.mark.parametrize("handler", KINDS, ids=["function", "partial", "object", "lambda", "future"])
def test_a_handler_may_be_whatever_returns_an_awaitable(run, http, handler):
    async def work():
        async with listening(handler) as server:
            assert (await end_of(connect(url(server), http=http))).code == 1000

    run(work())


async def of_two(websocket, path):
    raise AssertionError("it is never called with both")


def no_coroutine(websocket):
    return None


@pytest.mark.parametrize("handler", [of_two, no_coroutine])
def test_a_handler_that_cannot_begin_closes_with_1011_and_is_logged(run, http, handler, caplog):
    async def work():
        async with listening(handler) as server:
            assert (await end_of(connect(url(server), http=http))).code == 1011
            await until(lambda: not server._tasks)

    run(work())
    [record] = [it for it in caplog.records if it.levelno == logging.ERROR]
    assert record.exc_info is not None and record.exc_info[0] is TypeError


def test_a_handler_that_swallows_its_cancellation_leaves_no_task(caplog):
    async def stay(websocket):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    async def main():
        # As a program that ends without closing its server.
        server = await serve(stay, "127.0.0.1", 0)
        await connect(url(server))
        while not server.websockets:
            await asyncio.sleep(0.01)
        for listener in server._listeners:
            listener.close()

    asyncio.run(main())
    gc.collect()
    assert "destroyed" not in caplog.text


def test_a_handlers_task_runs_no_frame_of_ours_for_a_message(run):
    seen = []

    async def handler(websocket):
        task = asyncio.current_task()
        seen.append(task.get_coro())
        seen.append(repr(task))
        await websocket.recv()

    async def work():
        async with listening(handler) as server, connect(url(server)) as websocket:
            await websocket.send("done")
            await end_of_recv(websocket)

    async def end_of_recv(websocket):
        with pytest.raises(ConnectionClosed):
            await websocket.recv()

    run(work())
    assert isinstance(seen[0], _core.Succession)
    assert "handler" in seen[1]


class Steps:
    """A coroutine by hand, which notes what is done with it."""

    def __init__(self, *ends):
        self.noted = []
        self._ends = list(ends)

    async def run(self):
        for end in self._ends:
            try:
                self.noted.append(await asyncio.sleep(0, end))
            except BaseException as error:
                self.noted.append(type(error))
                raise
        return self.noted


def test_the_second_coroutine_gets_what_the_first_has_raised():
    told = []

    async def first():
        await asyncio.sleep(0)
        raise KeyError("first")

    async def then(raised):
        told.append(raised)
        await asyncio.sleep(0)

    succession = _core.Succession(first, then)
    assert succession.send(None) is None
    assert succession.send(None) is None
    with pytest.raises(StopIteration):
        succession.send(None)
    assert isinstance(told[0], KeyError)
    with pytest.raises(RuntimeError, match="ended"):
        succession.send(None)


def test_what_is_thrown_reaches_the_coroutine_that_runs():
    told, steps = [], Steps(1, 2)

    async def then(raised):
        told.append(raised)
        raise raised

    succession = _core.Succession(steps.run, then)
    succession.send(None)
    with pytest.raises(asyncio.CancelledError):
        succession.throw(asyncio.CancelledError())
    assert steps.noted == [asyncio.CancelledError]
    assert isinstance(told[0], asyncio.CancelledError)


def test_closing_ends_the_coroutine_that_runs_and_begins_no_other():
    steps = Steps(1)

    async def then(raised):
        raise AssertionError("it is not to begin")

    succession = _core.Succession(steps.run, then)
    succession.send(None)
    succession.close()
    assert steps.noted == [GeneratorExit]
    _core.Succession(steps.run, then).close()
