"""WebSockets of a pool share HTTP/2 connections (RFC 9113 §9.1), and none is hurt by what becomes of another, or of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl

import pytest
from drivers.conftest import echo, listening, live_timers, until, url
from drivers.pooled import STAGES, HandServer, place, places, take, unanswered
from drivers.test_released import left_by
from wire import GOAWAY, RST_STREAM, h2_frame

from mintws import (
    Close,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    ExtendedConnectDisabled,
    LocalProtocolError,
    PoolClosed,
    UpgradeError,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.asyncio import Pool, Reconnect, serve
from mintws.asyncio.connector import ClientProtocol


async def say(websocket, text="hello"):
    await websocket.send(text)
    assert await websocket.recv() == text


def h2(pool, address, **more):
    return pool.connect(address, http="2", **more)


@pytest.fixture
def quickly(monkeypatch):
    """Have each connection be checked before it is used, and wait for the answer but shortly."""
    monkeypatch.setattr("mintws.session.pool.SILENCE", 0.0)
    monkeypatch.setattr("mintws.session.client.CHECK_WAIT", 0.3)


def test_websockets_to_one_origin_share_a_connection(run, tls_contexts):
    server_tls, client_tls = tls_contexts

    async def work():
        async with listening(ssl=server_tls) as server, Pool() as pool:
            address = f"wss://localhost:{server.port}/"
            openings = (pool.connect(f"{address}{number}", ssl=client_tls) for number in range(20))
            websockets = await asyncio.gather(*openings)
            async with pool.connect(address, ssl=client_tls) as another:
                assert places([*websockets, another]) == {place(another)}
                await asyncio.gather(*(say(it) for it in [*websockets, another]))
            assert {it.http_version for it in websockets} == {"2"}
        assert {it.close_code for it in websockets} == {1000}

    run(work())


def test_a_websocket_is_closed_and_its_connection_is_not(run):
    async def work():
        async with listening() as server, Pool() as pool:
            async with h2(pool, url(server)) as first:
                await say(first)
            assert first.close_code == 1000
            async with h2(pool, url(server)) as second:
                assert place(first) == place(second)
                await say(second)

    run(work())


def test_another_connection_is_made_where_the_streams_are_used_up(run):
    async def work():
        async with listening(max_concurrent_streams=3) as server, Pool() as pool:
            websockets = await asyncio.gather(*(h2(pool, url(server)) for _ in range(10)))
            await asyncio.gather(*(say(it) for it in websockets))
            counts = [sum(place(it) == at for it in websockets) for at in places(websockets)]
            assert sorted(counts) == [1, 3, 3, 3]

    run(work())


def test_the_limits_of_the_pool_hold_and_further_openings_wait_for_a_stream(run):
    async def work():
        async with listening() as server:
            async with Pool(max_connections_per_origin=2, max_concurrent_streams=2) as pool:
                websockets = await asyncio.gather(*(h2(pool, url(server)) for _ in range(4)))
                assert len(places(websockets)) == 2
                waiting = [asyncio.ensure_future(open_it(h2(pool, url(server)))) for _ in range(2)]
                with pytest.raises(ConnectTimeout, match=r"a connection of the pool did not come within 0\.1 s"):
                    await h2(pool, url(server), open_timeout=0.1)
                assert not any(it.done() for it in waiting)
                await websockets[0].close()
                await until(lambda: waiting[0].done())
                assert not waiting[1].done()
                await websockets[3].close()
                more = await asyncio.gather(*waiting)
                assert [place(it) for it in more] == [place(websockets[0]), place(websockets[3])]

    run(work())


async def open_it(opening):
    return await opening


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets")
def test_a_path_is_the_same_in_each_form(run, tmp_path):
    async def work():
        path = tmp_path / "socket"
        async with serve(echo, path=path), Pool() as pool:
            forms = (str(path), path, os.fsencode(path))
            websockets = [await h2(pool, "ws://localhost/", path=form) for form in forms]
            assert len(places(websockets)) == 1
            await asyncio.gather(*(say(it) for it in websockets))

    run(work())


@pytest.mark.parametrize("differs", ["ssl", "server_hostname", "local_addr", "options", "timeouts", "host"])
def test_connections_that_are_made_in_another_way_are_not_shared(run, tls_contexts, differs):
    server_tls, client_tls = tls_contexts
    client_tls.check_hostname = False
    other_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    other_tls.check_hostname, other_tls.verify_mode = False, ssl.CERT_NONE
    other = {
        "ssl": {"ssl": other_tls},
        "server_hostname": {"ssl": client_tls, "server_hostname": "other.example"},
        "local_addr": {"ssl": client_tls, "local_addr": ("127.0.0.1", 0)},
        "options": {"ssl": client_tls, "limit": 10},
        "timeouts": {"ssl": client_tls, "ping_interval": 7.0},
        "host": {"ssl": client_tls, "host": "127.0.0.1"},
    }[differs]

    async def work():
        async with listening(ssl=server_tls) as server, Pool() as pool:
            address = f"wss://localhost:{server.port}/"
            first = await pool.connect(address, ssl=client_tls)
            second = await pool.connect(address, **other)
            same = await pool.connect(address, ssl=client_tls, open_timeout=7.0, headers={"Authorization": "x"})
            assert place(first) == place(same) != place(second)

    run(work())


def test_openings_wait_on_one_connection_for_a_server_that_takes_no_streams_yet(run):
    async def work():
        async with HandServer(max_concurrent_streams=0) as server, Pool() as pool:
            for _ in range(2):
                openings = (h2(pool, server.url, open_timeout=0.1) for _ in range(3))
                raised = await asyncio.gather(*openings, return_exceptions=True)
                assert {type(it) for it in raised} == {ConnectTimeout}
            assert server.count == 1

    run(work())


def test_a_server_of_http1_gets_one_connection_for_each(run, tls_contexts):
    server_tls, client_tls = tls_contexts
    server_tls.set_alpn_protocols(["http/1.1"])

    async def work():
        async with HandServer(tls=server_tls) as server, Pool() as pool:
            websockets = await asyncio.gather(*(pool.connect(server.url, ssl=client_tls) for _ in range(5)))
            assert {it.http_version for it in websockets} == {"1.1"}
            assert len(places(websockets)) == server.count == 5
            await asyncio.gather(*(say(it) for it in websockets))
            with pytest.raises(ConnectError, match="does not speak HTTP/2"):
                await h2(pool, server.url, ssl=client_tls)
        assert {it.close_code for it in websockets} == {1000}

    run(work())


def test_without_tls_http1_is_spoken_unless_http2_is_asked_for(run):
    async def work():
        async with listening() as server, Pool() as pool:
            websockets = [await pool.connect(url(server), **how) for how in ({}, {"http": "1.1"}, {"http": "2"})]
            assert [it.http_version for it in websockets] == ["1.1", "1.1", "2"]

    run(work())


def test_a_server_that_takes_no_websockets_over_http2_is_asked_for_by_http1(run, tls_contexts):
    server_tls, client_tls = tls_contexts
    server_tls.set_alpn_protocols(["h2", "http/1.1"])

    async def work():
        async with HandServer(tls=server_tls, enable_connect=False) as server, Pool() as pool:
            websockets = await asyncio.gather(*(pool.connect(server.url, ssl=client_tls) for _ in range(5)))
            assert {it.http_version for it in websockets} == {"1.1"}
            # One of HTTP/2, and one for each.
            assert server.count == 6
            await pool.connect(server.url, ssl=client_tls)
            assert server.count == 7
            opening = [h2(pool, server.url, ssl=client_tls) for _ in range(3)]
            raised = await asyncio.gather(*opening, return_exceptions=True)
            assert {type(it) for it in raised} == {ExtendedConnectDisabled}
            assert server.count == 8

    run(work())


def test_after_goaway_open_websockets_go_on_and_new_ones_are_opened_elsewhere(run):
    async def work():
        async with HandServer() as server, Pool() as pool:
            old = await h2(pool, server.url)
            await old.send("leave")
            await until(lambda: old._protocol.http.leaving)
            new = await h2(pool, server.url)
            assert place(old) != place(new)
            for websocket in (old, new):
                await say(websocket)
                await websocket.close()
            await until(lambda: server.open == 1)

    run(work())


def test_a_stream_above_the_last_of_a_goaway_is_opened_elsewhere(run):
    def answer(server, number, http, connection, event):
        if isinstance(event, UpgradeRequest) and number == 0 and connection.carrier.number > 1:
            return h2_frame(GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4))
        return take(server, number, http, connection, event)

    async def work():
        async with HandServer(answer) as server, Pool() as pool:
            old = await h2(pool, server.url)
            new = await asyncio.gather(*(h2(pool, server.url) for _ in range(5)))
            assert places(new) != {place(old)} and len(places(new)) == 1
            await asyncio.gather(*(say(it) for it in [old, *new]))

    run(work())


def test_a_server_that_leaves_each_time_is_an_error_in_the_end(run):
    def answer(server, number, http, connection, event):
        if isinstance(event, UpgradeRequest):
            return h2_frame(GOAWAY, 0, 0, bytes(8))
        return b""

    async def work():
        async with HandServer(answer) as server, Pool() as pool:
            with pytest.raises(ConnectError, match="went away before it saw the request"):
                await h2(pool, server.url)
            assert server.count == 4

    run(work())


# Each of the two is made again three times.
@pytest.mark.parametrize(("leaves", "count"), [(1, 2), (3, 4), (9, 8)])
def test_a_server_that_leaves_with_its_settings_is_asked_again_by_another_connection(run, leaves, count):
    async def work():
        async with HandServer() as server, Pool() as pool:
            server.leaves = leaves
            openings = [asyncio.ensure_future(open_it(h2(pool, server.url))) for _ in range(2)]
            if leaves < count:
                await asyncio.gather(*(say(it) for it in await asyncio.gather(*openings)))
            else:
                for failed in await asyncio.gather(*openings, return_exceptions=True):
                    assert isinstance(failed, ConnectError)
                    assert "GOAWAY(NO_ERROR)" in str(failed)
            assert server.count == count

    run(work())


def test_openings_after_goaway_go_on_when_one_of_them_cannot_connect(run):
    asked = 0

    def answer(server, number, http, connection, event):
        nonlocal asked
        if number > 0 or not isinstance(event, UpgradeRequest):
            return take(server, number, http, connection, event)
        asked += 1
        server.refuses = 1
        return b"" if asked < 3 else h2_frame(GOAWAY, 0, 0, bytes(8))

    async def work():
        async with HandServer(answer) as server, Pool() as pool:
            openings = (h2(pool, server.url) for _ in range(3))
            refused, *opened = await asyncio.gather(*openings, return_exceptions=True)
            assert isinstance(refused, ConnectError)
            assert len(places(opened)) == 1
            assert server.count == 3

    run(work())


def test_an_opening_after_goaway_is_on_the_connection_of_those_that_follow(run):
    def answer(server, number, http, connection, event):
        if number == 0 and isinstance(event, UpgradeRequest):
            return h2_frame(GOAWAY, 0, 0, bytes(8))
        return take(server, number, http, connection, event)

    async def work():
        async with HandServer(answer) as server, Pool(max_connections_per_origin=1) as pool:
            first, second = await h2(pool, server.url), await h2(pool, server.url)
            assert place(first) == place(second)
            assert server.count == 2

    run(work())


def test_the_end_of_a_connection_that_the_server_leaves_changes_nothing_for_others(run):
    async def work():
        async with HandServer(max_concurrent_streams=1) as server, Pool(max_connections_per_origin=1) as pool:
            old = await h2(pool, server.url)
            await old.send("leave")
            await until(lambda: not old.transport.get_protocol().usable)
            new = await h2(pool, server.url)
            await old.close()
            waiting = asyncio.ensure_future(open_it(h2(pool, server.url)))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await new.close()
            assert place(await waiting) == place(new)
            assert server.count == 2

    run(work())


@pytest.mark.parametrize("always", [False, True])
def test_a_refused_stream_is_opened_elsewhere_once(run, always):
    def answer(server, number, http, connection, event):
        if isinstance(event, UpgradeRequest) and connection.carrier.number > 1:
            return h2_frame(RST_STREAM, 0, connection.carrier.number, (7).to_bytes(4, "big"))
        if isinstance(event, UpgradeRequest) and always and server.count > 1:
            return h2_frame(RST_STREAM, 0, connection.carrier.number, (7).to_bytes(4, "big"))
        return take(server, number, http, connection, event)

    async def work():
        async with HandServer(answer) as server, Pool() as pool:
            first = await h2(pool, server.url)
            if always:
                with pytest.raises(ConnectError, match="REFUSED_STREAM"):
                    await h2(pool, server.url)
            else:
                second = await h2(pool, server.url)
                assert place(first) != place(second)
                await say(second)
            assert server.count == 2
            await say(first)

    run(work())


def test_what_the_server_may_have_processed_is_not_sent_again(run):
    def answer(server, number, http, connection, event):
        if isinstance(event, UpgradeRequest) and connection.carrier.number > 1:
            server.abort(number)
            return b""
        return take(server, number, http, connection, event)

    async def work():
        async with HandServer(answer) as server, Pool() as pool:
            await h2(pool, server.url)
            with pytest.raises(ConnectError):
                await h2(pool, server.url)
            assert server.count == 1
            await say(await h2(pool, server.url))
            assert server.count == 2

    run(work())


def test_a_refusal_of_the_request_is_told_and_the_connection_goes_on(run):
    def upgrade(connection, request):
        return UpgradeReject(403) if request.target == "/no" else None

    async def work():
        async with listening(upgrade=upgrade) as server, Pool() as pool:
            first = await h2(pool, url(server))
            with pytest.raises(UpgradeError) as refused:
                await h2(pool, url(server, "/no"))
            assert refused.value.status == 403
            assert place(await h2(pool, url(server))) == place(first)

    run(work())


def test_openings_are_not_hurt_by_the_failure_of_the_one_that_connects(run):
    async def work():
        async with HandServer() as server, Pool() as pool:
            server.refuses = 1
            openings = await asyncio.gather(*(h2(pool, server.url) for _ in range(5)), return_exceptions=True)
            assert isinstance(openings[0], ConnectError)
            assert len(places(openings[1:])) == 1
            assert server.count == 2

    run(work())


def test_openings_are_not_stranded_when_the_one_that_connects_is_cancelled(run):
    async def work():
        async with HandServer() as server, Pool() as pool:
            server.mute = True
            first, *others = [asyncio.ensure_future(open_it(h2(pool, server.url))) for _ in range(5)]
            await until(lambda: server.count)
            first.cancel()
            server.mute = False
            websockets = await asyncio.gather(*others)
            assert len(places(websockets)) == 1
            assert server.count == 2
            with pytest.raises(asyncio.CancelledError):
                await first

    run(work())


def test_openings_are_not_stranded_when_the_one_that_connects_never_ends(run, monkeypatch):
    monkeypatch.setattr("mintws.session.pool.CONNECT_WAIT", 0.2)

    async def work():
        async with HandServer() as server, Pool() as pool:
            server.mute = True
            first = asyncio.ensure_future(open_it(h2(pool, server.url, open_timeout=None)))
            await until(lambda: server.count)
            await asyncio.sleep(0.3)
            server.mute = False
            await say(await h2(pool, server.url, open_timeout=5.0))
            assert not first.done()
            first.cancel()
            await asyncio.wait([first])

    run(work())


def test_a_server_that_never_answers_takes_no_longer_than_the_timeout(run, http):
    async def work():
        async with HandServer() as server, Pool() as pool:
            server.mute = True
            openings = [pool.connect(server.url, http=http, open_timeout=0.3) for _ in range(3)]
            raised = await asyncio.gather(*openings, return_exceptions=True)
            assert all(isinstance(it, ConnectTimeout) for it in raised)

    run(work())


def test_when_a_connection_dies_its_websockets_end_and_others_are_opened_on_a_new_one(run):
    async def work():
        async with HandServer() as server, Pool() as pool:
            old = [await h2(pool, server.url) for _ in range(3)]
            await old[0].send("die")
            for websocket in old:
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
                assert closed.value.code == 1006
            new = await h2(pool, server.url)
            await say(new)
            assert server.count == 2

    run(work())


@pytest.mark.usefixtures("quickly")
def test_a_connection_is_checked_before_it_is_used(run):
    async def work():
        async with HandServer() as server, Pool() as pool:
            how = {"close_timeout": 0.2}
            old = await h2(pool, server.url, **how)
            assert place(await h2(pool, server.url, **how)) == place(old)
            server.freeze(0)
            new = await asyncio.gather(*(h2(pool, server.url, **how) for _ in range(4)))
            assert len(places(new)) == 1 and places(new) != {place(old)}
            assert server.count == 2
            await asyncio.gather(*(say(it) for it in new))

    run(work())


@pytest.mark.usefixtures("quickly")
def test_a_connection_without_websockets_that_does_not_answer_is_cut(run):
    async def work():
        async with HandServer() as server, Pool() as pool:
            async with h2(pool, server.url) as old:
                transport = old._protocol
            server.freeze(0)
            new = await h2(pool, server.url)
            assert place(new) != place(old)
            await asyncio.wait_for(transport.gone, 5)

    run(work())


def test_an_idle_connection_is_closed_after_a_time(run):
    async def work():
        async with HandServer() as server, Pool(idle_timeout=0.2) as pool:
            async with h2(pool, server.url) as first:
                await asyncio.sleep(0.4)
                await say(first)
                assert server.open == 1
            await until(lambda: server.open == 0)
            async with h2(pool, server.url) as second:
                assert place(first) != place(second)
            assert server.count == 2

    run(work())


def test_an_idle_connection_may_be_closed_at_once_or_never(run):
    async def work():
        async with HandServer() as server:
            async with Pool(idle_timeout=0) as pool:
                async with h2(pool, server.url):
                    pass
                await until(lambda: server.open == 0)
            async with Pool(idle_timeout=None) as pool:
                async with h2(pool, server.url):
                    pass
                await asyncio.sleep(0.1)
                assert server.open == 1

    run(work())


def test_an_opening_in_a_closed_pool_is_refused(run):
    async def work():
        async with listening() as server:
            async with Pool() as pool:
                pass
            with pytest.raises(PoolClosed, match="the pool is closed; make another one"):
                await pool.connect(url(server))
            with pytest.raises(PoolClosed):
                async for _ in pool.connect(url(server)):
                    pass
            await pool.close()

    run(work())


@pytest.mark.parametrize("waits", ["for the connection", "for the answer", "for a stream", "for HTTP/1.1"])
def test_openings_under_way_fail_when_the_pool_is_closed(run, waits):
    def answer(server, number, http, connection, event):
        if waits in ("for the answer", "for HTTP/1.1") and isinstance(event, UpgradeRequest):
            return b""
        return take(server, number, http, connection, event)

    async def work():
        async with HandServer(answer, max_concurrent_streams=1) as server:
            pool = Pool(max_connections_per_origin=1)
            if waits == "for a stream":
                await h2(pool, server.url)
            server.mute = waits in ("for the connection", "for HTTP/1.1")
            version = "1.1" if waits == "for HTTP/1.1" else "2"
            opening = [asyncio.ensure_future(open_it(pool.connect(server.url, http=version))) for _ in range(3)]
            await asyncio.sleep(0.1)
            await pool.close()
            raised = await asyncio.wait_for(asyncio.gather(*opening, return_exceptions=True), 5)
            assert {type(it) for it in raised} == {PoolClosed}

    run(work())


def test_an_opening_that_checks_a_connection_when_the_pool_is_closed_makes_no_other(run, quickly):
    async def work():
        async with HandServer() as server:
            pool = Pool()
            await h2(pool, server.url, close_timeout=0.1)
            server.freeze(0)
            opening = [asyncio.ensure_future(open_it(h2(pool, server.url, close_timeout=0.1))) for _ in range(3)]
            await asyncio.sleep(0.1)
            await pool.close()
            raised = await asyncio.gather(*opening, return_exceptions=True)
            assert {type(it) for it in raised} == {PoolClosed}
            assert server.count == 1

    run(work())


def test_openings_do_not_wait_for_the_websockets_that_a_closing_pool_waits_for(run):
    def answer(server, number, http, connection, event):
        if isinstance(event, Close) or (isinstance(event, UpgradeRequest) and connection.carrier.number > 1):
            return b""
        return take(server, number, http, connection, event)

    async def work():
        async with HandServer(answer) as server:
            pool = Pool()
            await h2(pool, server.url, close_timeout=1.0)
            opening = asyncio.ensure_future(open_it(h2(pool, server.url, close_timeout=1.0)))
            await asyncio.sleep(0.1)
            closing = asyncio.ensure_future(pool.close())
            with pytest.raises(PoolClosed):
                await opening
            assert not closing.done()
            await closing

    run(work())


def test_an_opening_that_is_answered_when_the_pool_is_closed_fails(run, monkeypatch):
    async def work():
        async with HandServer() as server:
            pool = Pool()

            def close(protocol, connection, event):
                receive(protocol, connection, event)
                pool._transports.begin_close()

            monkeypatch.setattr(ClientProtocol, "receive_handshake", close)
            with pytest.raises(PoolClosed):
                await h2(pool, server.url)
            await pool.close()
            await until(lambda: server.open == 0)

    receive = ClientProtocol.receive_handshake
    run(work())


async def close_after(turns, pool):
    for _ in range(turns):
        await asyncio.sleep(0)
    await pool.close()


async def never(*_args, **_named):
    await asyncio.Event().wait()


@pytest.mark.parametrize("stage", STAGES)
def test_openings_that_connect_fail_when_the_pool_is_closed(run, monkeypatch, stage):
    async def work():
        with unanswered(stage, monkeypatch) as (address, given):
            loop = asyncio.get_running_loop()
            if stage == "name" and not isinstance(loop, asyncio.BaseEventLoop):
                # uvloop does not look names up by Python's `socket`.
                loop.getaddrinfo = never
            pool = Pool()
            connecting = [pool.connect(address, open_timeout=None, **given) for _ in range(3)]
            opening = [asyncio.ensure_future(open_it(it)) for it in connecting]
            await until(lambda: pool._transports._connecting)
            await asyncio.sleep(0.05)
            await asyncio.gather(*(close_after(turns, pool) for turns in range(4)))
            raised = await asyncio.wait_for(asyncio.gather(*opening, return_exceptions=True), 10)
            assert {type(it) for it in raised} == {PoolClosed}
            assert not pool._transports._connecting

    run(work())


def test_an_opening_that_is_cancelled_when_the_pool_is_closed_stays_cancelled(run, monkeypatch):
    async def work():
        with unanswered("TLS", monkeypatch) as (address, given):
            pool = Pool()
            opening = asyncio.ensure_future(open_it(pool.connect(address, **given)))
            await until(lambda: pool._transports._connecting)
            closing = asyncio.ensure_future(pool.close())
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await closing

    run(work())


def test_an_opening_whose_connection_is_made_when_the_pool_is_closed_fails_then(run, monkeypatch):
    go_on = asyncio.Event()

    async def slowly(*args, **kwargs):
        await go_on.wait()
        return await connect_tcp(*args, **kwargs)

    async def work():
        async with HandServer() as server:
            pool = Pool()
            opening = [asyncio.ensure_future(open_it(h2(pool, server.url))) for _ in range(2)]
            await asyncio.sleep(0.05)
            await pool.close()
            go_on.set()
            raised = await asyncio.gather(*opening, return_exceptions=True)
            assert {type(it) for it in raised} == {PoolClosed}
            await until(lambda: server.open == 0)

    from mintws.asyncio.connector import connect_tcp

    monkeypatch.setattr("mintws.asyncio.connector.connect_tcp", slowly)
    run(work())


def test_a_close_that_is_cancelled_closes_all_connections(run):
    async def work():
        async with HandServer(lambda *event: b"" if isinstance(event[-1], Close) else take(*event)) as server:
            pool = Pool()
            await h2(pool, server.url)
            await pool.connect(server.url, http="2", limit=10)
            with pytest.raises((asyncio.TimeoutError, TimeoutError)):
                await asyncio.wait_for(pool.close(), 0.1)
            await until(lambda: server.open == 0)

    run(work())


def test_a_loop_connects_again_on_the_same_connection(run):
    async def close_first(websocket):
        if not closed:
            closed.append(websocket)
            await websocket.close(1012)
        else:
            await echo(websocket)

    async def work():
        async with listening(close_first) as server, Pool() as pool:
            seen = []
            async for websocket in h2(pool, url(server), reconnect=Reconnect(first=0.01)):
                seen.append(place(websocket))
                with contextlib.suppress(ConnectionClosed):
                    await say(websocket)
                    break
            assert len(seen) == 2 and len(set(seen)) == 1

    closed: list[object] = []
    run(work())


def test_a_loop_ends_when_the_pool_is_closed(run):
    async def work():
        async with HandServer() as server:
            pool = Pool()
            count = 0
            async for websocket in h2(pool, server.url, reconnect=Reconnect(first=0.01)):
                count += 1
                await say(websocket)
                closing = asyncio.ensure_future(pool.close())
                async for _ in websocket:
                    pass
                await closing
            assert count == 1

    run(work())


def test_redirects_lead_to_the_connection_of_their_origin(run):
    async def work():
        async with listening() as target, Pool() as pool:
            away = UpgradeReject(302, headers=[("Location", url(target, "/there"))])
            async with listening(upgrade=lambda connection, request: away) as server:
                first = await h2(pool, url(target))
                second = await h2(pool, url(server))
                assert place(first) == place(second)
                assert second.request.target == "/there"

    run(work())


def test_wherever_an_opening_is_cancelled_the_next_one_has_its_stream(run, tls_contexts):
    server_tls, client_tls = tls_contexts

    async def work():
        async with listening(ssl=server_tls) as server:
            cancelled = 0
            for steps in range(60):
                async with Pool(max_connections_per_origin=1, max_concurrent_streams=1) as pool:
                    how = {"ssl": client_tls, "extensions": ()}
                    address = f"wss://localhost:{server.port}/"
                    if steps % 2:
                        # The connection is there already.
                        await (await pool.connect(address, **how)).close()
                    first, second = (asyncio.ensure_future(open_it(pool.connect(address, **how))) for _ in range(2))
                    for _ in range(steps // 2):
                        await asyncio.sleep(0)
                        if first.done():
                            break
                    first.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await (await first).close()
                    cancelled += first.cancelled()
                    websocket = await asyncio.wait_for(second, 5)
                    await say(websocket)
                    await websocket.close()
            assert cancelled > 10

    run(work())


@pytest.mark.parametrize("steps", range(0, 40, 3))
def test_whatever_waits_goes_on_when_another_that_waits_is_cancelled(run, steps):
    async def work():
        async with HandServer(max_concurrent_streams=2) as server, Pool(max_connections_per_origin=1) as pool:

            async def use():
                async with h2(pool, server.url) as websocket:
                    await say(websocket)

            uses = [asyncio.ensure_future(use()) for _ in range(12)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in uses[::2]:
                task.cancel()
            done = await asyncio.wait_for(asyncio.gather(*uses, return_exceptions=True), 10)
            assert [it for it in done[1::2] if it is not None] == []
            assert server.count <= 2

    run(work())


@pytest.mark.usefixtures("quickly")
def test_a_check_that_is_cancelled_is_made_by_the_next(run):
    async def work():
        async with HandServer() as server, Pool() as pool:
            await h2(pool, server.url)
            for steps in range(8):
                first, second = (asyncio.ensure_future(open_it(h2(pool, server.url))) for _ in range(2))
                for _ in range(steps):
                    await asyncio.sleep(0)
                first.cancel()
                await say(await asyncio.wait_for(second, 5))
            assert server.count == 1

    run(work())


def test_many_open_and_close_at_the_same_time(run):
    async def work():
        async with listening(max_concurrent_streams=7) as server, Pool() as pool:

            async def use(number):
                async with h2(pool, url(server, f"/{number}"), extensions=()) as websocket:
                    await say(websocket, str(number))

            await asyncio.gather(*(use(number) for number in range(150)))
            assert len(pool._transports._transports) <= 150 // 7 + 1

    run(work())


def test_nothing_is_left_of_a_pool(run):
    async def kind(http):
        async with HandServer(max_concurrent_streams=2) as server, Pool() as pool:
            websockets = await asyncio.gather(*(pool.connect(server.url, http=http) for _ in range(5)))
            for websocket in websockets[1:]:
                await websocket.close()
            server.refuses = 1
            with contextlib.suppress(ConnectError):
                await pool.connect(server.url, http=http, limit=10)

    async def work():
        assert await left_by(kind, "2") == []
        gc.collect()
        assert live_timers() <= 1

    run(work())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_connections_per_origin": 0},
        {"max_connections_per_origin": 1.5},
        {"max_concurrent_streams": -1},
        {"window": 1},
        {"idle_timeout": -1},
        {"idle_timeout": "soon"},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_where_they_are_given(wrong):
    with pytest.raises((LocalProtocolError, TypeError), match=next(iter(wrong))):
        Pool(**wrong)


def test_what_no_pool_can_share_is_refused(run):
    async def work():
        async with Pool() as pool:
            ours, theirs = socket.socketpair()
            with ours, theirs, pytest.raises(LocalProtocolError, match="takes no `sock` and `transport`"):
                pool.connect("ws://localhost", sock=ours)
            with pytest.raises(TypeError, match="subprotocols"):
                pool.connect("ws://localhost", protocols=["a"])

    run(work())


def test_an_opening_is_made_once(run):
    async def work():
        async with listening() as server, Pool() as pool:
            opening = pool.connect(url(server))
            await opening
            with pytest.raises(LocalProtocolError, match=r"Pool.connect\(\) opens one connection"):
                await opening

    run(work())


def test_a_pool_belongs_to_one_loop():
    async def use():
        async with serve(echo, "127.0.0.1", 0) as server:
            await (await pool.connect(url(server), http="1.1")).close()

    pool = Pool()
    asyncio.run(use())
    for call in (use, pool.close):
        with pytest.raises(LocalProtocolError, match="another event loop"):
            asyncio.run(call())
