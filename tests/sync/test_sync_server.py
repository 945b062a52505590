"""Servers for threads: handlers, hooks, and their end."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest
from sync.conftest import SOON, by_hand, left_threads, listening, until, url

from mintws import Close, ConnectError, ConnectionClosed, LocalProtocolError, UpgradeAccept, UpgradeError
from mintws.events import Response
from mintws.session import END_WAIT
from mintws.sync import connect, connect_http2, serve


def test_each_handler_has_a_thread_of_its_own(http):
    meeting = threading.Barrier(3)

    def handler(websocket):
        meeting.wait(SOON)
        websocket.send("met")

    with listening(handler) as server:
        websockets = [connect(url(server), http=http).open() for _ in range(3)]
        assert [it.recv(SOON) for it in websockets] == ["met"] * 3
        assert len(server.websockets) <= 3
        for it in websockets:
            it.close()


def test_a_handler_that_returns_closes_and_one_that_fails_is_logged(http, caplog):
    def handler(websocket):
        if websocket.request.target == "/fails":
            raise ValueError("of the handler")

    with listening(handler) as server:
        with connect(url(server), http=http) as websocket:
            websocket.wait_closed(SOON)
            assert websocket.close_code == 1000
        with connect(url(server, "/fails"), http=http) as websocket:
            websocket.wait_closed(SOON)
            assert websocket.close_code == 1011
    assert [it.exc_info[0] for it in caplog.records if it.exc_info] == [ValueError]
    assert "the handler of a WebSocket failed" in caplog.text


def test_a_hook_that_sends_an_answer_itself_is_told_and_its_connection_ends(http, caplog):
    def upgrade(connection, request):
        connection.send(UpgradeAccept())

    with listening(upgrade=upgrade) as server:
        with pytest.raises(ConnectError):
            connect(url(server), http=http).open()
    assert "the answer is returned by the hook, and sent by the server" in caplog.text


def test_openings_and_ends_are_logged(http, caplog):
    caplog.set_level(logging.DEBUG, "mintws")
    with listening() as server, connect(url(server, "/chat?secret"), http=http, extensions=()) as websocket:
        websocket.send("hello")
        assert websocket.recv(SOON) == "hello"
        name = next(iter(server.websockets)).id
    lines = [it.getMessage() for it in caplog.records if it.name == "mintws.server"]
    ours = [line for line in lines if line.startswith(f"{name} ")]
    assert ours[0].startswith(f"{name} opened: 127.0.0.1:") and f"/chat (HTTP/{http}, no subprotocol" in ours[0]
    assert [line.split(" ", 1)[1] for line in ours[1:4]] == [
        "received text, 5 bytes: 'hello'",
        "sent text, 5 bytes: 'hello'",
        "received close 1000, 2 bytes: ''",
    ]
    assert "ended: " in ours[-1] and "the peer closed with 1000" in ours[-1] and "secret" not in caplog.text


def test_hooks_run_in_threads_and_decide(http):
    here = threading.get_ident()
    threads = []

    def upgrade(connection, request):
        threads.append(threading.get_ident())
        assert connection.owner.transport.get_extra_info("peername")[0] == "127.0.0.1"
        connection.app = request.target
        return UpgradeAccept(headers=[("X-Hook", "yes")])

    def handler(websocket):
        websocket.send(websocket.app)

    with listening(handler, upgrade=upgrade, subprotocols=["tea"]) as server:
        with connect(url(server, "/one"), http=http, subprotocols=["tea"]) as websocket:
            assert websocket.recv(SOON) == "/one"
            assert dict(websocket.response.headers)["x-hook"] == "yes"
            assert websocket.subprotocol == "tea"
    assert threads and here not in threads


def test_a_slow_hook_delays_nobody_else():
    end = threading.Event()

    def upgrade(connection, request):
        if request.target == "/slow":
            end.wait(SOON)

    with listening(upgrade=upgrade) as server, connect_http2(url(server)) as client:
        slow = threading.Thread(target=lambda: client.open("/slow").close())
        slow.start()
        quick = client.open("/quick")
        quick.send("hello")
        assert quick.recv(SOON) == "hello"
        end.set()
        slow.join(SOON)


def test_a_hook_that_fails_refuses_with_500(http, caplog):
    def upgrade(connection, request):
        raise ValueError

    with listening(upgrade=upgrade, respond=upgrade) as server:
        with pytest.raises(UpgradeError, match="500"):
            connect(url(server), http=http).open()
        with connect_http2(url(server)) as client:
            assert client.request("GET", "/", timeout=SOON).status == 500
    assert "the upgrade hook failed" in caplog.text and "the response hook failed" in caplog.text


def test_ordinary_requests_follow_each_other_on_one_connection():
    with listening(respond=lambda request: Response(200, body=request.body or b"none")) as server:
        with socket.create_connection(("127.0.0.1", server.port), SOON) as sock:
            for body in (b"", b"one", b"two"):
                head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                sock.sendall(head + body)
                answer = sock.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(body or b"none")


def test_a_coroutine_function_is_no_handler():
    async def handler(websocket):
        pass

    with pytest.raises(TypeError, match=r"use mintws\.asyncio\.serve"):
        listening(handler)
    with pytest.raises(TypeError, match="handler is called"):
        listening(None)


def test_more_connections_than_allowed_are_closed(caplog):
    caplog.set_level(logging.INFO, "mintws.server")
    with listening(max_connections=1) as server, connect(url(server)) as websocket:
        websocket.send("in")
        assert websocket.recv(SOON) == "in"
        with socket.create_connection(("127.0.0.1", server.port), SOON) as sock:
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                pass
    assert "there are 1 connections" in caplog.text


def test_close_ends_all_and_leaves_no_thread(http):
    with listening() as server:
        websockets = [connect(url(server), http=http).open() for _ in range(5)]
        sockets = server.sockets
        server.close(1012, "come again")
        assert server.leaving and server.sockets == () and server.websockets == frozenset()
        assert all(it.fileno() == -1 for it in sockets)
        for websocket in websockets:
            websocket.wait_closed(SOON)
            assert (websocket.close_code, websocket.close_reason) == (1012, "come again")
        server.wait_closed()
    until(lambda: not left_threads())


def test_close_cuts_off_what_waits_too_long_and_leaves_what_does_not_return(caplog, http):
    end = threading.Event()
    told = []

    def handler(websocket):
        if websocket.request.target == "/waits":
            try:
                while True:
                    websocket.recv()
            except ConnectionClosed as closed:
                told.append(closed.code)
        else:
            end.wait(SOON)

    with listening(handler, close_timeout=0.1) as server:
        with by_hand(server, http), by_hand(server, http):
            until(lambda: len(server.websockets) == 2)
            begun = time.monotonic()
            server.close()
            assert END_WAIT < time.monotonic() - begun < 2 * END_WAIT
    assert "2 handlers or hooks have not returned" in caplog.text
    end.set()


def test_a_handler_can_close_the_server(http):
    def handler(websocket):
        websocket.recv(SOON)
        server.close()

    with listening(handler) as server, connect(url(server), http=http) as websocket:
        websocket.send("close")
        websocket.wait_closed(SOON)
        assert websocket.close_code == 1001
        server.wait_closed()


def test_drain_lets_what_is_under_way_end(http):
    with listening() as server:
        websocket = connect(url(server), http=http).open()
        thread = threading.Thread(target=server.drain, args=(SOON,))
        thread.start()
        until(lambda: server.leaving)
        websocket.send("still")
        assert websocket.recv(SOON) == "still"
        websocket.close()
        thread.join(SOON)
        assert not thread.is_alive()
        assert websocket.close_code == 1000


def test_drain_closes_what_is_left_in_the_end(http):
    with listening() as server, connect(url(server), http=http) as websocket:
        server.drain(0.05, 1012)
        websocket.wait_closed(SOON)
        assert websocket.close_code == 1012


def test_wrong_codes_are_refused_before_anything_is_done():
    with listening() as server:
        with pytest.raises(LocalProtocolError):
            server.close(1005)
        with pytest.raises(LocalProtocolError):
            server.drain(1, 1006)
        with connect(url(server)) as websocket:
            websocket.send("well")
            assert websocket.recv(SOON) == "well"


def test_serve_forever_ends_with_close():
    with listening() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        time.sleep(0.02)
        assert thread.is_alive()
        server.close()
        thread.join(SOON)
        assert not thread.is_alive()


def test_a_server_listens_once():
    serving = listening()
    with serving, pytest.raises(LocalProtocolError, match="call serve\\(\\) again"):
        serving.listen()


def test_a_client_that_sends_no_request_is_left():
    with listening(open_timeout=0.05) as server:
        with socket.create_connection(("127.0.0.1", server.port), SOON) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_handler_sees_how_it_ended(http):
    ends = []

    def handler(websocket):
        list(websocket)
        ends.append(websocket.ending.received)

    with listening(handler) as server:
        connect(url(server), http=http).open().close(1001, "bye")
        until(lambda: ends)
    assert ends == [Close(1001, "bye")]


def test_several_hosts_share_a_port():
    with serve(lambda websocket: websocket.send("here"), ["127.0.0.1", "127.0.0.2"], 0) as server:
        assert {it.getsockname()[1] for it in server.sockets} == {server.port}
        for host in ("127.0.0.1", "127.0.0.2"):
            with connect(f"ws://{host}:{server.port}/") as websocket:
                assert websocket.recv(SOON) == "here"
