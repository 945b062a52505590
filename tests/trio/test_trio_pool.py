"""WebSockets of a pool share HTTP/2 connections on trio, and none is hurt by what becomes of another, or of a connection."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing
from drivers.pooled import STAGES, HandServer, place, places, take, unanswered, wait_for
from on_trio import listening, url
from test_trio_cancellation import CancelAfterSteps, CancelAtStep, cancelled_at
from wire import GOAWAY, RST_STREAM, h2_frame

from mintws import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    ExtendedConnectDisabled,
    LocalProtocolError,
    PoolClosed,
    UpgradeRequest,
)
from mintws.trio import Pool, Reconnect


async def say(websocket, text="hello"):
    await websocket.send(text)
    assert await websocket.recv() == text


def h2(pool, address, **more):
    return pool.connect(address, http="2", **more)


async def opened(pool, address, count, **how):
    """Open so many WebSockets at the same time; give them, and what was raised in place of others."""
    outcomes = []

    async def open_one(number):
        try:
            outcomes.append((number, await pool.connect(address, **how)))
        except Exception as error:
            outcomes.append((number, error))

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(open_one, number)
    return [it for _, it in sorted(outcomes, key=lambda pair: pair[0])]


async def until(condition):
    await trio.to_thread.run_sync(partial(wait_for, condition))


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr("mintws.session.pool.SILENCE", 0.0)
    monkeypatch.setattr("mintws.session.client.CHECK_WAIT", 0.3)


def test_websockets_to_one_origin_share_a_connection(run, tls_contexts):
    server_tls, client_tls = tls_contexts

    async def main():
        async with listening(ssl=server_tls) as server, Pool() as pool:
            websockets = await opened(pool, f"wss://localhost:{server.port}/", 20, ssl=client_tls)
            async with trio.open_nursery() as nursery:
                for websocket in websockets:
                    nursery.start_soon(say, websocket)
            assert len(places(websockets)) == 1
        assert {it.close_code for it in websockets} == {1000}

    run(main)


def test_another_connection_is_made_where_the_streams_are_used_up(run):
    async def main():
        async with listening(max_concurrent_streams=3) as server, Pool() as pool:
            websockets = await opened(pool, url(server), 10, http="2")
            for websocket in websockets:
                await say(websocket)
            assert sorted(sum(place(it) == at for it in websockets) for at in places(websockets)) == [1, 3, 3, 3]

    run(main)


def test_further_openings_wait_for_a_stream(run):
    async def main():
        async with listening() as server, Pool(max_connections_per_origin=1, max_concurrent_streams=1) as pool:

            async def use():
                async with h2(pool, url(server)) as websocket:
                    await say(websocket)

            first = await h2(pool, url(server))
            with pytest.raises(ConnectTimeout, match="a connection of the pool did not come"):
                await h2(pool, url(server), open_timeout=0.1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(use)
                await trio.sleep(0.05)
                await first.close()

    run(main)


def test_a_server_of_http1_gets_one_connection_for_each(run, tls_contexts):
    server_tls, client_tls = tls_contexts
    server_tls.set_alpn_protocols(["http/1.1"])

    async def main():
        with HandServer(tls=server_tls) as server:
            async with Pool() as pool:
                websockets = await opened(pool, server.url, 5, ssl=client_tls)
                assert {it.http_version for it in websockets} == {"1.1"}
                assert len(places(websockets)) == server.count == 5
                for websocket in websockets:
                    await say(websocket)
            assert {it.close_code for it in websockets} == {1000}

    run(main)


def test_a_server_that_takes_no_websockets_over_http2_is_asked_for_by_http1(run, tls_contexts):
    server_tls, client_tls = tls_contexts
    server_tls.set_alpn_protocols(["h2", "http/1.1"])

    async def main():
        with HandServer(tls=server_tls, enable_connect=False) as server:
            async with Pool() as pool:
                websockets = await opened(pool, server.url, 5, ssl=client_tls)
                assert {it.http_version for it in websockets} == {"1.1"}
                assert server.count == 6
                raised = await opened(pool, server.url, 3, ssl=client_tls, http="2")
                assert {type(it) for it in raised} == {ExtendedConnectDisabled}

    run(main)


def test_after_goaway_open_websockets_go_on_and_new_ones_are_opened_elsewhere(run):
    async def main():
        with HandServer() as server:
            async with Pool() as pool:
                old = await h2(pool, server.url)
                await old.send("leave")
                while not old._protocol.http.leaving:
                    await trio.sleep(0.01)
                new = await h2(pool, server.url)
                assert place(old) != place(new)
                for websocket in (old, new):
                    await say(websocket)
                    await websocket.close()
                await until(lambda: server.open == 1)

    run(main)


@pytest.mark.parametrize("how", ["GOAWAY", "REFUSED_STREAM"])
def test_what_the_server_has_not_processed_is_opened_elsewhere(run, how):
    def answer(server, number, http, connection, event):
        stream = connection.carrier.number if connection is not None else 0
        if not isinstance(event, UpgradeRequest) or number or stream == 1:
            return take(server, number, http, connection, event)
        if how == "GOAWAY":
            return h2_frame(GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4))
        return h2_frame(RST_STREAM, 0, stream, (7).to_bytes(4, "big"))

    async def main():
        with HandServer(answer) as server:
            async with Pool() as pool:
                old = await h2(pool, server.url)
                new = await opened(pool, server.url, 4, http="2")
                assert places(new).isdisjoint({place(old)}) and len(places(new)) == 1
                for websocket in [old, *new]:
                    await say(websocket)

    run(main)


def test_a_server_that_leaves_with_its_settings_is_asked_again_by_another_connection(run):
    async def main():
        with HandServer() as server:
            async with Pool() as pool:
                server.leaves = 2
                for websocket in await opened(pool, server.url, 2, http="2"):
                    await say(websocket)
                assert server.count == 3
                await until(lambda: server.open == 1)

    run(main)


def test_openings_are_not_hurt_by_the_failure_of_the_one_that_connects(run):
    async def main():
        with HandServer() as server:
            async with Pool() as pool:
                server.refuses = 1
                outcomes = await opened(pool, server.url, 5, http="2")
                assert sum(isinstance(it, ConnectError) for it in outcomes) == 1
                assert len(places(it for it in outcomes if not isinstance(it, ConnectError))) == 1
                assert server.count == 2

    run(main)


def test_openings_are_not_stranded_when_the_one_that_connects_is_cancelled(run):
    async def main():
        with HandServer() as server:
            server.mute = True
            async with Pool() as pool, trio.open_nursery() as nursery:
                scope = trio.CancelScope()

                async def first():
                    with scope:
                        await h2(pool, server.url)

                async def second():
                    await say(await h2(pool, server.url))
                    done.append(True)

                nursery.start_soon(first)
                await until(lambda: server.count)
                nursery.start_soon(second)
                await trio.sleep(0.01)
                server.mute = False
                scope.cancel()
            assert done and server.count == 2

    done: list[bool] = []
    run(main)


def test_a_server_that_never_answers_takes_no_longer_than_the_timeout(run, http):
    async def main():
        with HandServer() as server:
            server.mute = True
            async with Pool() as pool:
                raised = await opened(pool, server.url, 3, http=http, open_timeout=0.3)
                assert {type(it) for it in raised} == {ConnectTimeout}

    run(main)


def test_when_a_connection_dies_its_websockets_end_and_others_are_opened_on_a_new_one(run):
    async def main():
        with HandServer() as server:
            async with Pool() as pool:
                old = await h2(pool, server.url)
                await old.send("die")
                with pytest.raises(ConnectionClosed):
                    await old.recv()
                await say(await h2(pool, server.url))
                assert server.count == 2

    run(main)


@pytest.mark.usefixtures("quickly")
def test_a_connection_is_checked_before_it_is_used(run):
    async def main():
        with HandServer() as server:
            async with Pool() as pool:
                how = {"http": "2", "close_timeout": 0.2}
                old, same = [await pool.connect(server.url, **how) for _ in range(2)]
                assert place(old) == place(same)
                server.freeze(0)
                new = await opened(pool, server.url, 4, **how)
                assert len(places([old, *new])) == server.count == 2

    run(main)


def test_an_idle_connection_is_closed_after_a_time(run):
    async def main():
        with HandServer() as server:
            async with Pool(idle_timeout=0.2) as pool:
                async with h2(pool, server.url) as first:
                    await trio.sleep(0.4)
                    await say(first)
                await until(lambda: server.open == 0)
                async with h2(pool, server.url) as second:
                    assert place(first) != place(second)

    run(main)


@pytest.mark.parametrize("waits", ["for the connection", "for the answer", "for a stream", "for HTTP/1.1"])
def test_openings_under_way_fail_when_the_pool_is_closed(run, waits):
    def answer(server, number, http, connection, event):
        if waits == "for the answer" and isinstance(event, UpgradeRequest):
            return b""
        return take(server, number, http, connection, event)

    async def main():
        with HandServer(answer, max_concurrent_streams=1) as server:
            async with Pool(max_connections_per_origin=1) as pool:
                if waits == "for a stream":
                    await h2(pool, server.url)
                server.mute = waits in ("for the connection", "for HTTP/1.1")

                async def open_all():
                    version = "1.1" if waits == "for HTTP/1.1" else "2"
                    raised.extend(await opened(pool, server.url, 3, http=version))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(open_all)
                    await trio.sleep(0.1)
                    await pool.close()
                assert {type(it) for it in raised} == {PoolClosed}
            with pytest.raises(PoolClosed, match="the pool is closed; make another one"):
                await h2(pool, server.url)

    raised: list[object] = []
    run(main)


@pytest.mark.parametrize("stage", STAGES)
def test_openings_that_connect_fail_when_the_pool_is_closed(run, monkeypatch, stage):
    async def main():
        with unanswered(stage, monkeypatch) as (address, given):
            async with Pool() as pool:

                async def open_all():
                    raised.extend(await opened(pool, address, 3, open_timeout=None, **given))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(open_all)
                    await until(lambda: pool._transports._connecting)
                    await trio.sleep(0.05)
                    await pool.close()
                assert {type(it) for it in raised} == {PoolClosed}
                assert not pool._transports._connecting

    raised: list[object] = []
    run(main)


def test_the_end_of_the_block_is_not_kept_by_an_opening_that_connects(run, monkeypatch):
    async def slowly(*args, **kwargs):
        await trio.sleep(0.2)
        return await connect_tcp(*args, **kwargs)

    async def main():
        with HandServer() as server:
            pool = Pool()

            async def open_all():
                raised.extend(await opened(pool, server.url, 2, http="2"))

            async with trio.open_nursery() as nursery:
                async with pool:
                    nursery.start_soon(open_all)
                    await trio.sleep(0.05)
            assert {type(it) for it in raised} == {PoolClosed}
            await until(lambda: server.open == 0)

    from mintws.trio.connector import connect_tcp

    monkeypatch.setattr("mintws.trio.connector.connect_tcp", slowly)
    raised: list[object] = []
    run(main)


def test_what_a_block_raises_leaves_it_and_its_websockets_are_closed(run):
    async def failing(address, websockets):
        async with Pool() as pool:
            websockets.append(await h2(pool, address))
            raise KeyError

    async def main():
        websockets = []
        with HandServer() as server:
            with pytest.raises(KeyError):
                await failing(server.url, websockets)
            assert websockets[0].close_code == 1000

    run(main)


def test_a_block_that_is_cancelled_ends_its_connections(run):
    async def main():
        with HandServer() as server:
            with trio.move_on_after(0.1) as scope:
                async with Pool() as pool:
                    await h2(pool, server.url)
                    await pool.connect(server.url, http="2", limit=10)
                    await trio.sleep_forever()
            assert scope.cancelled_caught
            await until(lambda: server.open == 0)

    run(main)


def test_a_pool_that_is_entered_again_is_closed_once(run):
    async def main():
        async with HandServer() as server:
            pool = Pool()
            async with pool:
                async with pool:
                    websocket = await h2(pool, server.url)
                assert websocket.close_code == 1000
            async with pool:
                with pytest.raises(PoolClosed):
                    await h2(pool, server.url)

    run(main)


def test_a_pool_can_have_the_nursery_of_another(run):
    async def main():
        with HandServer() as server:
            async with trio.open_nursery() as nursery:
                pool = Pool(nursery=nursery)
                websocket = await h2(pool, server.url)
                await say(websocket)
                await pool.close()
            assert websocket.close_code == 1000
        with pytest.raises(LocalProtocolError, match="a pool needs a nursery"):
            Pool().connect("ws://localhost")
        async with Pool() as pool, trio.open_nursery() as nursery:
            with pytest.raises(LocalProtocolError, match="its own nursery"):
                pool.connect("ws://localhost", nursery=nursery)
            with pytest.raises(LocalProtocolError, match="takes no `sock` and `stream`"):
                pool.connect("ws://localhost", stream=trio.testing.memory_stream_pair()[0])

    run(main)


def test_a_loop_connects_again_on_the_same_connection(run):
    async def close_first(websocket):
        if not closed:
            closed.append(websocket)
            await websocket.close(1012)
        else:
            async for message in websocket:
                await websocket.send(message)

    async def main():
        async with listening(close_first) as server, Pool() as pool:
            seen = []
            async for websocket in h2(pool, url(server), reconnect=Reconnect(first=0.01)):
                seen.append(place(websocket))
                try:
                    await say(websocket)
                except ConnectionClosed:
                    continue
                break
            assert len(seen) == 2 and len(set(seen)) == 1

    closed: list[object] = []
    run(main)


@pytest.mark.parametrize("kind", [CancelAtStep, CancelAfterSteps])
def test_wherever_an_opening_is_cancelled_the_next_one_has_its_stream(run, kind, tls_contexts):
    server_tls, client_tls = tls_contexts

    async def main():
        async with listening(ssl=server_tls) as server:
            address = f"wss://localhost:{server.port}/"
            how = {"ssl": client_tls, "extensions": ()}
            cancelled = 0
            for step in range(36):
                async with Pool(max_connections_per_origin=1, max_concurrent_streams=1) as pool:
                    if step % 2:
                        await (await pool.connect(address, **how)).close()

                    async def use(pool=pool):
                        async with pool.connect(address, **how) as websocket:
                            await say(websocket)

                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(use)
                        stopped, _ = await cancelled_at(kind, step // 2, use)
                        nursery.start_soon(use)
                    cancelled += stopped
            assert cancelled > 5

    run(main)
