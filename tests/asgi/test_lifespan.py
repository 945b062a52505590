"""The lifespan of an application on our own server: the ASGI specification's lifespan part, case by case."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

import pytest

from mintws import LocalProtocolError
from mintws.asgi import Lifespan, LifespanFailed, serve
from mintws.asyncio import connect

COMPLETE = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}
LOGGER = logging.getLogger("mintws.server")


class Application:
    """An application that starts and stops as it is told, keeps what happened, and accepts each WebSocket."""

    def __init__(self, *, start=COMPLETE, stop=STOPPED):
        self.happened = []
        self._start, self._stop = start, stop

    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan":
            await receive()
            await send({"type": "websocket.accept"})
            self.happened.append(scope["state"])
            await receive()
            self.happened.append("disconnected")
            return
        scope["state"]["list"] = self.happened
        scope["state"]["number"] = 1
        for answer in (self._start, self._stop):
            self.happened.append((await receive())["type"])
            if isinstance(answer, Exception):
                raise answer
            await send(answer)


async def as_starlette(scope, receive, send):
    """Say that it has failed to stop whenever its lifespan ends in any other way than it should."""
    await receive()
    await send(COMPLETE)
    try:
        await receive()
    except BaseException:
        await send({"type": "lifespan.shutdown.failed", "message": "it ends early"})
        raise


def test_an_application_that_is_cancelled_may_say_that_it_has_failed(run, caplog):
    caplog.set_level(logging.INFO)

    async def work():
        lifespan = Lifespan(as_starlette, "on", LOGGER)
        await lifespan.startup()
        await asyncio.sleep(0)
        lifespan.cancel()
        await lifespan.wait_stopped()

    run(work())
    assert caplog.records == []


def serving(app, **options):
    return serve(app, "127.0.0.1", 0, **options)


def test_it_starts_before_the_first_connection_and_stops_after_the_last(run, http):
    async def work():
        app = Application()
        async with serving(app) as server:
            assert app.happened == ["lifespan.startup"]
            websocket = await connect(f"ws://127.0.0.1:{server.port}/", http=http)
        await websocket.wait_closed()
        assert websocket.close_code == 1012
        _, state, *rest = app.happened
        assert state["number"] == 1 and rest == ["disconnected", "lifespan.shutdown"]

    run(work())


def test_each_scope_has_a_shallow_copy_of_the_state(run, http):
    scopes = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await Application()(scope, receive, send)
            return
        scopes.append(scope)
        scope["state"]["number"] += 1
        await send({"type": "websocket.close"})

    async def work():
        async with serving(app) as server:
            for _ in range(2):
                with contextlib.suppress(OSError):
                    await connect(f"ws://127.0.0.1:{server.port}/", http=http)
        first, second = (it["state"] for it in scopes)
        assert first["number"] == second["number"] == 2
        assert first["list"] is second["list"]

    run(work())


@pytest.mark.parametrize("message", ["no database", ""])
def test_one_that_cannot_start_is_not_served(run, message):
    async def work():
        app = Application(start={"type": "lifespan.startup.failed", "message": message})
        with pytest.raises(LifespanFailed, match=message or "the application could not start"):
            await serving(app)
        assert app.happened == ["lifespan.startup"]

    run(work())


@pytest.mark.parametrize("ends", [ValueError("there is no such scope"), None], ids=["raises", "returns"])
def test_one_without_a_lifespan_is_served_unless_it_must_have_one(run, ends, caplog):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            if ends is not None:
                raise ends
            return
        await receive()
        await send({"type": "websocket.accept"})

    async def work():
        async with serving(app) as server, connect(f"ws://127.0.0.1:{server.port}/") as websocket:
            await websocket.wait_closed()
            assert websocket.close_code == 1000
        with pytest.raises(LifespanFailed, match="ended instead of starting") as failed:
            await serving(app, lifespan="on")
        assert failed.value.__cause__ is ends

    with caplog.at_level("INFO", "mintws.server"):
        run(work())
    [record] = [it for it in caplog.records if it.getMessage() == "the application has no lifespan"]
    assert record.levelname == "INFO"


def test_a_failure_after_the_event_was_taken_is_a_warning(run, caplog):
    async def work():
        async with serving(Application(start=ValueError("no database"))):
            pass

    run(work())
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", "the application has no lifespan")
    assert record.exc_info[1].args == ("no database",)


def test_one_that_is_not_asked_gets_no_event(run):
    async def work():
        app = Application()
        async with serving(app, lifespan="off") as server:
            websocket = await connect(f"ws://127.0.0.1:{server.port}/")
        await websocket.wait_closed()
        assert app.happened == [{}, "disconnected"]

    run(work())


@pytest.mark.parametrize(
    ("stop", "why"),
    [
        ({"type": "lifespan.shutdown.failed", "message": "the disk is full"}, "the disk is full"),
        ({"type": "lifespan.shutdown.failed"}, "the application could not stop"),
        (ValueError("the disk is full"), "the application raised when it was to stop"),
    ],
    ids=["failed", "without a text", "raises"],
)
def test_one_that_does_not_stop_properly_is_told_of_by_close(run, stop, why):
    async def work():
        server = await serving(Application(stop=stop))
        for _ in range(2):
            if _ and isinstance(stop, Exception):
                # Its coroutine has ended: there is nothing more to say.
                break
            with pytest.raises(LifespanFailed, match=why):
                await server.close()
        await server.wait_closed()

    run(work())


def test_one_that_ends_before_it_is_to_stop_goes_on_to_be_served(run, caplog):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send(COMPLETE)
            raise ValueError("its queue is gone")
        await receive()
        await send({"type": "websocket.accept"})

    async def work():
        async with serving(app) as server, connect(f"ws://127.0.0.1:{server.port}/") as websocket:
            await websocket.wait_closed()
            assert websocket.close_code == 1000

    run(work())
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "the lifespan of the application failed")


def test_one_that_listens_for_ever_is_ended_when_it_has_stopped(run):
    ended = []

    async def app(scope, receive, send):
        try:
            while True:
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
        finally:
            ended.append(kind)

    async def work():
        async with serving(app):
            pass
        assert ended == ["lifespan.shutdown"]

    run(work())


def test_one_may_clear_up_when_it_has_said_that_it_stopped(run):
    cleared = []

    async def app(scope, receive, send):
        await receive()
        await send(COMPLETE)
        await receive()
        await send(STOPPED)
        await asyncio.sleep(0.05)
        cleared.append(True)

    async def work():
        async with serving(app):
            pass
        assert cleared == [True]

    run(work())


@pytest.mark.parametrize(
    "sent",
    ["lifespan.shutdown.complete", "lifespan.startup", "lifespan.startup.perhaps", "http.response.start"],
)
def test_an_event_that_is_not_allowed_raises(run, sent):
    raised = []

    async def app(scope, receive, send):
        await receive()
        try:
            await send({"type": sent})
        except LocalProtocolError as error:
            raised.append(str(error))
        await send(COMPLETE)

    async def work():
        async with serving(app, lifespan="on"):
            pass

    run(work())
    assert len(raised) == 1 and repr(sent) in raised[0]


def test_it_stops_when_the_address_cannot_be_listened_on(run):
    async def work():
        app = Application()
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
            await serve(app, "127.0.0.1", taken.getsockname()[1])
        assert app.happened == ["lifespan.startup", "lifespan.shutdown"]

    run(work())


@pytest.mark.parametrize("when", ["starting", "stopping"])
def test_it_is_cancelled_with_the_call_that_waits_for_it(run, when):
    at, ended = asyncio.Event(), []

    async def app(scope, receive, send):
        try:
            await receive()
            if when == "stopping":
                await send(COMPLETE)
                await receive()
            at.set()
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append(when)
            raise

    async def work():
        async def serve_and_close():
            await (await serving(app)).close()

        task = asyncio.create_task(serve_and_close())
        await at.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert ended == [when]

    run(work())


def test_it_starts_once(run):
    async def work():
        serving_once = serving(Application())
        async with await serving_once:
            with pytest.raises(LocalProtocolError, match="starts once"):
                await serving_once

    run(work())


def test_a_mode_that_there_is_not_is_refused():
    with pytest.raises(LocalProtocolError, match='"auto", "on" or "off", not \'never\''):
        Lifespan(Application(), "never", LOGGER)
