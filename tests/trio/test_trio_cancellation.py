"""Cancellation, at each step at which a call can wait: no message is lost, doubled, reordered or cut."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from on_trio import listening, url

from mintws import Binary, Close, ConnectionClosed, Http1, Http2, Role, UpgradeAccept, UpgradeRequest
from mintws.trio import connect, connect_http2


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope just before a step of one task."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, step: int) -> None:
        self.task, self.scope, self.step = task, scope, step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.step -= 1
            if self.step < 0:
                self.scope.cancel()


class CancelAfterSteps(trio.abc.Instrument):
    """Cancels a scope after so many steps of any tasks, so that the call is cancelled while it waits."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, step: int) -> None:
        self.scope, self.step = scope, step

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.step -= 1
        if self.step < 0:
            self.scope.cancel()


async def cancelled_at(kind: Any, step: int, call: Any) -> tuple[bool, Any]:
    """Make a call that is cancelled at a step; say whether it was, and what it gave if not."""
    result = None
    with trio.CancelScope() as scope:
        instrument = kind(trio.lowlevel.current_task(), scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            result = await call()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught, result


@pytest.fixture(params=[CancelAtStep, CancelAfterSteps])
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["clear", "tls"])
def secure(request):
    return request.param


@pytest.fixture
def both(secure, http, tls_contexts):
    """Arguments of a server and of a client, and the URL that the client asks for."""
    server, client = tls_contexts
    if not secure:
        return {}, {"http": http}, url
    return {"ssl": server}, {"http": http, "ssl": client}, lambda it: f"wss://localhost:{it.port}/"


def test_a_cancelled_recv_loses_nothing(run, kind, both):
    async def handler(websocket):
        for number in range(count):
            await websocket.send(str(number))
            if number % 3 == 0:
                await trio.sleep(0.001)

    async def main():
        async with listening(handler, **both[0]) as server, connect(both[2](server), **both[1]) as websocket:
            received, steps, cancelled = [], 0, 0
            while len(received) < count:
                stopped, message = await cancelled_at(kind, steps % most, websocket.recv)
                steps += 1
                if stopped:
                    cancelled += 1
                else:
                    received.append(message)
            assert received == [str(number) for number in range(count)]
            assert cancelled > 5 or kind is CancelAtStep

    count, most = 150, 2 if kind is CancelAtStep else 9
    run(main)


def test_a_cancelled_send_has_sent_its_message_whole_and_once(run, kind, both):
    async def handler(websocket):
        async for message in websocket:
            received.append(message)
            if len(received) % 20 == 0:
                await trio.sleep(0.002)

    async def main():
        extensions = ()
        async with listening(handler, **both[0]) as server:
            async with connect(both[2](server), extensions=extensions, **both[1]) as websocket:
                for number in range(len(sent)):
                    stopped, _ = await cancelled_at(
                        kind, number % 7, lambda number=number: websocket.send(sent[number])
                    )
                    cancelled.append(stopped)

    sent = [f"{number}:" + "x" * (5, 3000, 200_000)[number % 3] for number in range(90)]
    received: list[str] = []
    cancelled: list[bool] = []
    run(main)
    assert received == sent
    assert any(cancelled)


def test_a_cancelled_send_of_eight_megabytes_leaves_no_half_of_a_message(run, http, both):
    async def read_late(stream) -> None:
        if "ssl" in both[0]:
            both[0]["ssl"].set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
            stream = trio.SSLStream(stream, both[0]["ssl"], server_side=True, https_compatible=True)
        carrier: Any = Http2(Role.SERVER, limit=None) if http == "2" else Http1(Role.SERVER, limit=None)
        await stream.send_all(carrier.start())
        while not carrier.done and (data := bytes(await stream.receive_some(65536))):
            events, reply = carrier.receive(data)
            for connection, event in events:
                if isinstance(event, UpgradeRequest):
                    reply += connection.send(UpgradeAccept())
                    await stream.send_all(reply)
                    reply = b""
                    await trio.sleep(0.3)
                elif isinstance(event, Binary):
                    received.append(len(event.data))
                elif isinstance(event, Close):
                    reply += connection.send(event)
            await stream.send_all(reply)
        await stream.aclose()

    async def main():
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, read_late, 0)
            where = {"host": "127.0.0.1", "port": listeners[0].socket.getsockname()[1]}
            address = "wss://localhost/" if "ssl" in both[0] else "ws://localhost/"
            async with connect(address, extensions=(), **where, **both[1]) as websocket:
                with trio.move_on_after(0.05) as scope:
                    await websocket.send(b"x" * 8_000_000)
                assert scope.cancelled_caught
                await websocket.send(b"next")
            nursery.cancel_scope.cancel()

    received: list[int] = []
    run(main)
    assert received == [8_000_000, 4]


def test_a_cancelled_message_in_fragments_ends_the_connection_or_was_not_begun(run, kind, http):
    async def parts():
        for number in range(5):
            await trio.lowlevel.checkpoint()
            yield str(number)

    async def handler(websocket):
        try:
            async for message in websocket:
                assert message == "01234"
        except ConnectionClosed as closed:
            codes.append(closed.code)

    async def main():
        async with listening(handler) as server:
            for step in range(12):
                async with connect(url(server), http=http) as websocket:
                    stopped, _ = await cancelled_at(kind, step, lambda: websocket.send(parts()))
                    if not stopped:
                        await websocket.send("01234")
                    await websocket.close()

    codes: list[int] = []
    run(main)
    assert codes and set(codes) == {1011}


def test_a_cancelled_ping_close_and_wait_closed_may_be_called_again(run, kind, http):
    async def main():
        async with listening() as server:
            for step in range(8):
                async with connect(url(server), http=http) as websocket:
                    await cancelled_at(kind, step, websocket.ping)
                    assert await websocket.ping() >= 0
                    await cancelled_at(kind, step, lambda: websocket.send_many(["a", "b"]))
                    await websocket.send("c")
                    got = [await websocket.recv()]
                    while got[-1] != "c":
                        got.append(await websocket.recv())
                    assert got in (["a", "b", "c"], ["a", "c"], ["c"])
                    await cancelled_at(kind, step, lambda: websocket.close(4000, "done"))
                    await cancelled_at(kind, step, websocket.wait_closed)
                    await websocket.close()
                    await websocket.wait_closed()
                    assert (websocket.ending.sent.code, websocket.close_code) == (4000, 4000)

    run(main)


def test_a_cancelled_opening_leaves_nothing(run, kind, both):
    async def handler(websocket):
        async for message in websocket:
            await websocket.send(message)

    async def main():
        async with listening(handler, **both[0]) as server:
            before = len(trio.lowlevel.current_root_task().child_nurseries)
            for step in range(0, 40, 2):

                async def opened():
                    async with connect(both[2](server), **both[1]) as websocket:
                        await websocket.send("in")
                        return await websocket.recv()

                stopped, got = await cancelled_at(kind, step, opened)
                assert stopped or got == "in"
            assert len(trio.lowlevel.current_root_task().child_nurseries) == before
            with trio.fail_after(5):
                while server._protocols:
                    await trio.sleep(0.01)

    run(main)


def test_a_cancelled_open_or_request_leaves_the_connection_usable(run, kind):
    async def main():
        async with listening() as server, connect_http2(url(server)) as client:
            for step in range(10):
                await cancelled_at(kind, step, lambda: client.open("/cancelled"))
                await cancelled_at(kind, step, lambda: client.request("GET", "/"))
                websocket = await client.open("/")
                await websocket.send("still here")
                assert await websocket.recv() == "still here"
                await websocket.close()
                assert (await client.request("GET", "/")).status == 404

    run(main)


def test_a_loop_of_calls_is_cancelled_soon(run, http):
    async def main():
        async with listening() as server, connect(url(server), http=http) as websocket:
            for call in (lambda: websocket.send("x"), lambda: websocket.send_many(["x"]), websocket.recv):
                with trio.move_on_after(0.05) as scope:
                    while True:
                        await call()
                assert scope.cancelled_caught

    run(main)
