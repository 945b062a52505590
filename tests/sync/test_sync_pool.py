"""WebSockets of a pool share HTTP/2 connections in threads, and none is hurt by what becomes of another, or of a connection."""

from __future__ import annotations

import signal
import socket
import sys
import threading

import pytest
from drivers.pooled import STAGES, HandServer, place, places, take, unanswered
from sync.conftest import listening, until, url
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
from mintws.drivers.pool import TransportPool
from mintws.sync import Pool, Reconnect, connect


def say(websocket, text="hello"):
    websocket.send(text)
    assert websocket.recv(timeout=10) == text


def h2(pool, address, **more):
    return pool.connect(address, http="2", **more)


def outcome(pool, address, outcomes, **how):
    try:
        outcomes.append(pool.connect(address, **how).open())
    except Exception as error:
        outcomes.append(error)


def opened(pool, address, count, **how):
    """Open so many WebSockets at the same time; give them, and what was raised in place of others."""
    outcomes = []
    threads = [threading.Thread(target=outcome, args=(pool, address, outcomes), kwargs=how) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
        assert not thread.is_alive()
    return outcomes


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr("mintws.session.pool.SILENCE", 0.0)
    monkeypatch.setattr("mintws.session.client.CHECK_WAIT", 0.5)


def test_websockets_to_one_origin_share_a_connection(tls_contexts):
    server_tls, client_tls = tls_contexts
    with listening(ssl=server_tls) as server, Pool() as pool:
        websockets = opened(pool, f"wss://localhost:{server.port}/", 20, ssl=client_tls)
        for websocket in websockets:
            say(websocket)
        assert len(places(websockets)) == 1
    assert {it.close_code for it in websockets} == {1000}


def test_another_connection_is_made_where_the_streams_are_used_up():
    with listening(max_concurrent_streams=3) as server, Pool() as pool:
        websockets = opened(pool, url(server), 10, http="2")
        for websocket in websockets:
            say(websocket)
        counts = [sum(place(it) == at for it in websockets) for at in places(websockets)]
        assert sum(counts) == 10 and max(counts) <= 3


def test_further_openings_wait_for_a_stream(works):
    def use():
        with h2(pool, url(server)) as websocket:
            say(websocket)

    with listening() as server, Pool(max_connections_per_origin=1, max_concurrent_streams=1) as pool:
        first = h2(pool, url(server)).open()
        with pytest.raises(ConnectTimeout, match="a connection of the pool did not come"):
            h2(pool, url(server), open_timeout=0.1).open()
        works.begin(use)
        threading.Event().wait(0.05)
        first.close()
        works.end()


def test_a_server_of_http1_gets_one_connection_for_each(tls_contexts):
    server_tls, client_tls = tls_contexts
    server_tls.set_alpn_protocols(["http/1.1"])
    with HandServer(tls=server_tls) as server:
        with Pool() as pool:
            websockets = opened(pool, server.url, 5, ssl=client_tls)
            assert {it.http_version for it in websockets} == {"1.1"}
            assert len(places(websockets)) == server.count == 5
            for websocket in websockets:
                say(websocket)
        assert {it.close_code for it in websockets} == {1000}


def test_a_server_that_takes_no_websockets_over_http2_is_asked_for_by_http1(tls_contexts):
    server_tls, client_tls = tls_contexts
    server_tls.set_alpn_protocols(["h2", "http/1.1"])
    with HandServer(tls=server_tls, enable_connect=False) as server, Pool() as pool:
        websockets = opened(pool, server.url, 5, ssl=client_tls)
        assert {it.http_version for it in websockets} == {"1.1"}
        raised = opened(pool, server.url, 3, ssl=client_tls, http="2")
        assert {type(it) for it in raised} == {ExtendedConnectDisabled}


def test_after_goaway_open_websockets_go_on_and_new_ones_are_opened_elsewhere():
    with HandServer() as server, Pool() as pool:
        old = h2(pool, server.url).open()
        old.send("leave")
        until(lambda: old.transport.http.leaving)
        new = h2(pool, server.url).open()
        assert place(old) != place(new)
        for websocket in (old, new):
            say(websocket)
            websocket.close()
        until(lambda: server.open == 1)


@pytest.mark.parametrize("how", ["GOAWAY", "REFUSED_STREAM"])
def test_what_the_server_has_not_processed_is_opened_elsewhere(how):
    def answer(server, number, http, connection, event):
        stream = connection.carrier.number if connection is not None else 0
        if not isinstance(event, UpgradeRequest) or number or stream == 1:
            return take(server, number, http, connection, event)
        if how == "GOAWAY":
            return h2_frame(GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4))
        return h2_frame(RST_STREAM, 0, stream, (7).to_bytes(4, "big"))

    with HandServer(answer) as server, Pool() as pool:
        old = h2(pool, server.url).open()
        new = opened(pool, server.url, 4, http="2")
        assert places(new).isdisjoint({place(old)})
        for websocket in [old, *new]:
            say(websocket)


def test_a_server_that_leaves_with_its_settings_is_asked_again_by_another_connection():
    with HandServer() as server, Pool() as pool:
        server.leaves = 2
        for websocket in opened(pool, server.url, 2, http="2"):
            say(websocket)
        assert server.count == 3
        until(lambda: server.open == 1)


def test_openings_are_not_hurt_by_the_failure_of_the_one_that_connects():
    with HandServer() as server, Pool() as pool:
        server.refuses = 1
        outcomes = opened(pool, server.url, 5, http="2")
        assert sum(isinstance(it, ConnectError) for it in outcomes) == 1
        assert len(places(it for it in outcomes if not isinstance(it, ConnectError))) == 1
        assert server.count == 2


def test_openings_are_not_stranded_when_the_one_that_connects_is_late(works):
    with HandServer() as server, Pool() as pool:
        server.mute = True
        outcomes: list[object] = []
        works.begin(lambda: outcome(pool, server.url, outcomes, http="2", open_timeout=0.5))
        until(lambda: server.count == 1)
        works.begin(lambda: say(h2(pool, server.url).open()))
        threading.Event().wait(0.05)
        server.mute = False
        works.end()
        assert isinstance(outcomes[0], ConnectTimeout)
        assert server.count == 2


def test_a_server_that_never_answers_takes_no_longer_than_the_timeout(http):
    with HandServer() as server, Pool() as pool:
        server.mute = True
        raised = opened(pool, server.url, 3, http=http, open_timeout=0.3)
        assert {type(it) for it in raised} == {ConnectTimeout}


def test_when_a_connection_dies_its_websockets_end_and_others_are_opened_on_a_new_one():
    with HandServer() as server, Pool() as pool:
        old = h2(pool, server.url).open()
        old.send("die")
        with pytest.raises(ConnectionClosed):
            old.recv(timeout=10)
        say(h2(pool, server.url).open())
        assert server.count == 2


@pytest.mark.usefixtures("quickly")
def test_a_connection_is_checked_before_it_is_used():
    with HandServer() as server, Pool() as pool:
        how = {"http": "2", "close_timeout": 0.2}
        old, same = [pool.connect(server.url, **how).open() for _ in range(2)]
        assert place(old) == place(same)
        server.freeze(0)
        new = opened(pool, server.url, 4, **how)
        assert len(places([old, *new])) == server.count == 2


def test_an_idle_connection_is_closed_after_a_time():
    with HandServer() as server, Pool(idle_timeout=0.2) as pool:
        with h2(pool, server.url) as first:
            threading.Event().wait(0.4)
            say(first)
        until(lambda: server.open == 0)
        with h2(pool, server.url) as second:
            assert place(first) != place(second)


@pytest.mark.parametrize("waits", ["for the connection", "for the answer", "for a stream", "for HTTP/1.1"])
def test_openings_under_way_fail_when_the_pool_is_closed(works, waits):
    def answer(server, number, http, connection, event):
        if waits == "for the answer" and isinstance(event, UpgradeRequest):
            return b""
        return take(server, number, http, connection, event)

    raised: list[object] = []
    with HandServer(answer, max_concurrent_streams=1) as server:
        pool = Pool(max_connections_per_origin=1)
        if waits == "for a stream":
            h2(pool, server.url).open()
        server.mute = waits in ("for the connection", "for HTTP/1.1")
        version = "1.1" if waits == "for HTTP/1.1" else "2"
        for _ in range(3):
            works.begin(lambda: outcome(pool, server.url, raised, http=version))
        threading.Event().wait(0.2)
        pool.close()
        works.end()
        assert {type(it) for it in raised} == {PoolClosed}
        with pytest.raises(PoolClosed, match="the pool is closed; make another one"):
            h2(pool, server.url).open()


@pytest.mark.parametrize("stage", STAGES)
def test_openings_that_connect_fail_when_the_pool_is_closed(works, monkeypatch, stage):
    raised: list[object] = []
    with unanswered(stage, monkeypatch) as (address, given):
        pool = Pool()
        for _ in range(3):
            works.begin(lambda: outcome(pool, address, raised, open_timeout=None, **given))
        until(lambda: pool._transports._connecting)
        threading.Event().wait(0.1)
        pool.close()
        works.end()
        assert {type(it) for it in raised} == {PoolClosed}
        assert not pool._transports._connecting


def test_an_opening_whose_connection_is_made_when_the_pool_is_closed_fails_then(works, monkeypatch):
    def slowly(*args, **kwargs):
        go_on.wait(10)
        return connect_tcp(*args, **kwargs)

    from mintws.sync.connector import connect_tcp

    monkeypatch.setattr("mintws.sync.connector.connect_tcp", slowly)
    go_on = threading.Event()
    raised: list[object] = []
    with HandServer() as server:
        pool = Pool()
        for _ in range(2):
            works.begin(lambda: outcome(pool, server.url, raised, http="2"))
        threading.Event().wait(0.1)
        pool.close()
        go_on.set()
        works.end()
        assert {type(it) for it in raised} == {PoolClosed}
        until(lambda: server.open == 0)


def test_a_loop_connects_again_on_the_same_connection():
    def close_first(websocket):
        if not closed:
            closed.append(websocket)
            websocket.close(1012)
        else:
            for message in websocket:
                websocket.send(message)

    closed: list[object] = []
    seen = []
    with listening(close_first) as server, Pool() as pool:
        for websocket in h2(pool, url(server), reconnect=Reconnect(first=0.01)):
            seen.append(place(websocket))
            try:
                say(websocket)
            except ConnectionClosed:
                continue
            break
        assert len(seen) == 2 and len(set(seen)) == 1


def test_many_threads_open_and_close_at_the_same_time(works):
    def use(number):
        for turn in range(6):
            with h2(pool, url(server, f"/{number}"), extensions=()) as websocket:
                say(websocket, f"{number} {turn}")

    with listening(max_concurrent_streams=4) as server, Pool(max_connections_per_origin=2) as pool:
        for number in range(20):
            works.begin(use, number)
        works.end()


def test_ctrl_c_does_not_wait_for_the_servers():
    def interrupted(address, websockets):
        with Pool() as pool:
            websockets.append(h2(pool, address).open())
            raise KeyboardInterrupt

    websockets = []
    with HandServer(lambda *event: take(*event) if isinstance(event[-1], UpgradeRequest) else b"") as server:
        with pytest.raises(KeyboardInterrupt):
            interrupted(server.url, websockets)
        assert websockets[0].state.name in ("CLOSING", "CLOSED")


def test_a_connection_whose_opening_is_interrupted_before_others_know_of_it_ends(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with HandServer() as server, Pool() as pool:
        monkeypatch.setattr(TransportPool, "_add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            h2(pool, server.url).open()
        monkeypatch.undo()
        until(lambda: server.count == 1 and server.open == 0)
        with h2(pool, server.url) as websocket:
            say(websocket)


# A socket that is interrupted while it connects is closed when it is freed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no timer of signals")
def test_wherever_an_opening_is_interrupted_the_next_one_has_its_connection(tls_contexts):
    class Interrupted(BaseException):
        pass

    def interrupt(number, frame):
        raise Interrupted

    server_tls, client_tls = tls_contexts
    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        with listening(ssl=server_tls) as server, connect(f"wss://localhost:{server.port}/", ssl=client_tls):
            # The background runs all the time, and no name is looked up, so that no start of a thread is interrupted.
            address, how = f"wss://localhost:{server.port}/", {"ssl": client_tls, "host": "127.0.0.1", "extensions": ()}
            for step in range(40):
                with Pool(max_connections_per_origin=1) as pool:
                    if step % 2:
                        pool.connect(address, **how).open().close()
                    websocket = None
                    try:
                        try:
                            signal.setitimer(signal.ITIMER_REAL, 0.0002 * (step // 2 + 1))
                            websocket = pool.connect(address, **how).open()
                        finally:
                            signal.setitimer(signal.ITIMER_REAL, 0)
                    except Interrupted:
                        interrupted += 1
                    with pool.connect(address, **how) as another:
                        say(another)
                    assert websocket is None or place(websocket) == place(another)
        assert interrupted > 5
    finally:
        signal.signal(signal.SIGALRM, before)


def test_what_no_pool_can_share_is_refused():
    with Pool() as pool:
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.raises(LocalProtocolError, match="takes no `sock`"):
            pool.connect("ws://localhost", sock=ours)
