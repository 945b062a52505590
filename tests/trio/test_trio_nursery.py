"""Structure on trio: tasks live in a nursery, errors come as they were raised, checkpoints are where trio's users expect them."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from functools import partial

import pytest
import trio
import trio.testing
from on_trio import Relay, echo, listening, url

from mintws import ConnectError, ConnectionClosed, ConnectTimeout, LocalProtocolError, UpgradeError, UpgradeReject
from mintws.trio import Pool, connect, connect_http2, serve


def test_a_connection_runs_in_the_nursery_of_the_caller(run, http):
    async def main():
        async with listening() as server, trio.open_nursery() as nursery:
            websocket = await connect(url(server), http=http, nursery=nursery)
            await websocket.send("hello")
            assert await websocket.recv() == "hello"
            assert nursery.child_tasks
            await websocket.close()
            client = await connect_http2(url(server), nursery=nursery)
            assert (await client.request("GET", "/")).status == 404
            await client.close()
        assert not nursery.child_tasks

    run(main)


def test_who_awaits_an_opening_gives_it_a_nursery(run):
    async def main():
        with pytest.raises(LocalProtocolError, match="connect\\(\\) needs a nursery"):
            await connect("ws://127.0.0.1:9/")
        with pytest.raises(LocalProtocolError, match="connect_http2\\(\\) needs a nursery"):
            await connect_http2("ws://127.0.0.1:9/")

    run(main)


def test_an_opening_opens_once(run):
    async def main():
        async with listening() as server:
            opening = connect(url(server))
            async with opening:
                pass
            with pytest.raises(LocalProtocolError, match="call connect\\(\\) again"):
                async with opening:
                    pass

    run(main)


def test_a_cancelled_nursery_ends_its_connections(run, http):
    async def main():
        async with listening() as server:
            async with trio.open_nursery() as nursery:
                websocket = await connect(url(server), http=http, nursery=nursery)
                nursery.cancel_scope.cancel()
            assert websocket.close_code == 1006
            with pytest.raises(ConnectionClosed):
                await websocket.recv()

    run(main)


@pytest.mark.parametrize("opener", [connect, connect_http2])
def test_an_opening_in_a_closed_nursery_leaves_no_socket(run, opener):
    async def main():
        async with listening() as server:
            async with trio.open_nursery() as nursery:
                pass
            with socket.socket() as sock:
                sock.connect(("127.0.0.1", server.port))
                with pytest.raises(RuntimeError, match="Nursery is closed"):
                    await opener(url(server), sock=sock, nursery=nursery)
                assert sock.fileno() == -1

    run(main)


def test_errors_of_a_block_are_not_wrapped(run, http):
    async def handler(websocket):
        try:
            await websocket.recv()
        except ConnectionClosed as closed:
            codes.append(closed.code)

    async def main():
        async with listening(handler) as server:
            with pytest.raises(ValueError, match="as it is"):
                async with connect(url(server), http=http):
                    raise ValueError("as it is")
            with pytest.raises(ValueError, match="as it is"):
                async with connect_http2(url(server)):
                    raise ValueError("as it is")
        with pytest.raises(ValueError, match="as it is"):
            async with listening():
                raise ValueError("as it is")

    codes: list[int] = []
    run(main)
    assert codes == [1011]


@pytest.mark.parametrize("cancelled_after", [0, 0.2])
@pytest.mark.parametrize("opener", ["connect", "connect in a nursery", "websocket", "connect_http2", "serve"])
def test_errors_of_a_block_go_on_though_its_closing_is_cancelled(run, opener, cancelled_after):
    async def use(manager, relay, nursery) -> None:
        async with manager as opened:
            if opener == "connect_http2":
                await opened.open("/")
            if opener == "serve":
                await connect(url(opened), nursery=nursery)
            # Its closing waits for a peer that does not answer.
            relay.stop()
            scope.deadline = trio.current_time() + cancelled_after
            raise ValueError("as it is")

    async def main():
        nonlocal scope
        async with (
            listening(lambda _: trio.sleep_forever(), close_timeout=0.2) as server,
            trio.open_nursery() as nursery,
        ):
            relay = Relay(server.port)
            nursery.start_soon(relay.run)
            target = f"ws://127.0.0.1:{relay.port}/"
            if opener == "serve":
                manager = listening(lambda _: trio.sleep_forever())
            elif opener == "websocket":
                manager = await connect(target, nursery=nursery)
            elif opener == "connect_http2":
                manager = connect_http2(target)
            else:
                manager = connect(target, nursery=nursery if "nursery" in opener else None)
            with pytest.raises(ValueError, match="as it is"):
                with trio.CancelScope() as scope:
                    await use(manager, relay, nursery)
            nursery.cancel_scope.cancel()

    scope: trio.CancelScope
    run(main)


def test_errors_of_an_opening_are_not_wrapped(run, unused_port):
    def refuse(connection, request):
        return UpgradeReject(403, body=b"no")

    async def silent(stream):
        await trio.sleep_forever()

    async def main():
        with pytest.raises(ConnectError, match=r"cannot connect to 127\.0\.0\.1") as refused:
            async with connect(f"ws://127.0.0.1:{unused_port}/"):
                pass
        assert isinstance(refused.value.__cause__, ConnectionRefusedError)
        async with listening(upgrade=refuse) as server:
            with pytest.raises(UpgradeError) as upgrade:
                async with connect(url(server)):
                    pass
        assert (upgrade.value.status, upgrade.value.body) == (403, b"no")
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, silent, 0)
            port = listeners[0].socket.getsockname()[1]
            with pytest.raises(ConnectTimeout, match=r"the server's answer did not come within 0\.5 s"):
                async with connect(f"ws://127.0.0.1:{port}/", open_timeout=0.5):
                    pass
            with pytest.raises(ConnectTimeout, match=r"the server's SETTINGS did not come within 0\.5 s"):
                await connect_http2(f"ws://127.0.0.1:{port}/", open_timeout=0.5, nursery=nursery)
            # To load certificates may take longer than the handshake is given.
            context = ssl.create_default_context()
            with pytest.raises(ConnectTimeout, match=r"the end of the TLS handshake did not come within 1 s"):
                await connect(f"wss://127.0.0.1:{port}/", ssl=context, open_timeout=1, nursery=nursery)
            nursery.cancel_scope.cancel()

    run(main)


def test_a_connection_lasts_until_a_cancelled_block_has_ended(run, http):
    async def handler(websocket):
        try:
            async for message in websocket:
                received.append(message)
        except ConnectionClosed as closed:
            received.append(closed.code)
        else:
            received.append(websocket.close_code)

    async def main():
        async with listening(handler) as server:
            with trio.CancelScope() as scope:
                async with connect(url(server), http=http) as websocket:
                    try:
                        scope.cancel()
                        await trio.sleep_forever()
                    finally:
                        with trio.CancelScope(shield=True):
                            await websocket.send("last words")
            assert scope.cancelled_caught
            with trio.fail_after(5):
                while len(received) < 2:
                    await trio.sleep(0.01)

    received: list[object] = []
    run(main)
    assert received == ["last words", 1001]


@pytest.mark.parametrize("how", ["start", "start_soon", "await"])
def test_a_server_is_started_by_a_nursery(run, http, how):
    async def main():
        async with trio.open_nursery() as nursery:
            if how == "start":
                server = await nursery.start(serve, echo, "127.0.0.1", 0)
                port = server.port
            else:
                sock = trio.socket.socket()
                await sock.bind(("127.0.0.1", 0))
                port = sock.getsockname()[1]
                sock.close()
                if how == "start_soon":
                    nursery.start_soon(partial(serve, echo, "127.0.0.1", port, idle_timeout=5.0))
                else:

                    async def run():
                        await serve(echo, "127.0.0.1", port)

                    nursery.start_soon(run)
                await trio.testing.wait_all_tasks_blocked()
            async with connect(f"ws://127.0.0.1:{port}/", http=http) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await websocket.wait_closed()
                assert websocket.close_code == 1001

    run(main)


def test_a_call_of_serve_that_nobody_awaits_is_no_server(run):
    serve(echo, "127.0.0.1", 0).close()
    waits = serve(echo, "127.0.0.1", 0)
    with pytest.raises(ValueError, match="thrown"):
        waits.throw(ValueError("thrown"))


def test_a_handler_that_fails_ends_its_websocket_alone(run, http, caplog):
    async def handler(websocket):
        await websocket.send("hello")
        if websocket.request.target == "/group":
            async with trio.open_nursery():
                raise KeyError("in a group")
        if websocket.request.target == "/fails":
            raise KeyError("its own")
        await websocket.recv()

    async def main():
        async with listening(handler) as server, connect(url(server, "/stays"), http=http) as stays:
            for target in ("/fails", "/group"):
                async with connect(url(server, target), http=http) as fails:
                    assert await fails.recv() == "hello"
                    with pytest.raises(ConnectionClosed) as closed:
                        await fails.recv()
                    assert closed.value.code == 1011
            await stays.send("still served")

    with caplog.at_level(logging.ERROR, "mintws.server"):
        run(main)
    assert [record.getMessage().split(": ")[-1] for record in caplog.records] == [
        "the handler of a WebSocket failed"
    ] * 2


def test_the_end_of_its_websocket_in_a_nursery_is_no_failure_of_a_handler(run, http, caplog):
    ended = trio.Event()

    async def handler(websocket):
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(websocket.recv)
        finally:
            ended.set()

    async def main():
        async with listening(handler) as server:
            async with connect(url(server), http=http):
                pass
            await ended.wait()

    with caplog.at_level(logging.ERROR, "mintws.server"):
        run(main)
    assert caplog.records == []


def test_each_call_is_a_checkpoint(run, http):
    async def main():
        async with listening() as server, trio.open_nursery() as nursery:
            websocket = await connect(url(server), http=http, nursery=nursery)
            for _ in range(3):
                await websocket.send("first")
                await websocket.recv()
                await websocket.send("answer")
                await websocket.recv()
                await websocket.send("answer")
                for call in (
                    lambda: websocket.send("message"),
                    lambda: websocket.send_many([]),
                    lambda: websocket.send(b"x" * 100_000),
                    websocket.ping,
                ):
                    with trio.testing.assert_checkpoints():
                        await call()
                # Of messages that came together, the first is taken with a checkpoint.
                while websocket._waiting < 3:
                    await trio.sleep(0.001)
                with trio.testing.assert_checkpoints():
                    await websocket.recv()
                await websocket.recv()
                await websocket.recv()
                # Whoever answers has had one.
                await websocket.send("answer")
                with trio.testing.assert_checkpoints():
                    await websocket.send("more")
                for _ in range(2):
                    await websocket.recv()
                await websocket.send("answer")
                while not websocket._waiting:
                    await trio.sleep(0.001)
                with trio.testing.assert_checkpoints():
                    await websocket.recv()
                await websocket.send("answer")
                with trio.testing.assert_checkpoints():
                    await websocket.recv()
            for call in (websocket.close, websocket.close, websocket.wait_closed):
                with trio.testing.assert_checkpoints():
                    await call()
            client = await connect_http2(url(server), nursery=nursery)
            for call in (client.open, lambda: client.request("GET", "/"), client.close, client.close):
                with trio.testing.assert_checkpoints():
                    await call()
            for call in (lambda: server.drain(1.0), server.close, server.wait_closed):
                with trio.testing.assert_checkpoints():
                    await call()

    run(main)


def test_a_task_that_only_sends_or_receives_lets_others_run(run, http):
    async def count():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async def main():
        nonlocal turns
        async with listening() as server, connect(url(server), http=http) as websocket:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(count)
                await trio.lowlevel.checkpoint()
                for _ in range(20):
                    before = turns
                    with websocket.batch():
                        for _ in range(250):
                            await websocket.send("x")
                    for _ in range(250):
                        await websocket.recv()
                    assert turns > before
                nursery.cancel_scope.cancel()

    turns = 0
    run(main)


@pytest.mark.parametrize("block", [lambda: connect("ws://localhost"), lambda: serve(echo, "127.0.0.1", 0), Pool])
def test_under_asyncio_the_module_for_it_is_named(block):
    async def main():
        async with block():
            raise AssertionError("it runs")

    with pytest.raises(RuntimeError, match=r"under asyncio use mintws\.asyncio"):
        asyncio.run(main())


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
