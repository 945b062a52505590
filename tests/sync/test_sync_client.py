"""Clients for threads: what comes, what goes, and how long is waited."""

from __future__ import annotations

import errno
import gc
import selectors
import socket
import sys
import threading
import time
from functools import partial
from types import MappingProxyType, SimpleNamespace

import pytest
from drivers.raw import blocking_server, full_unix_socket, paths_of
from sync.conftest import SOON, accepting, delay, listening, speak_first, until, url

from mintws import (
    Binary,
    Close,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    ExtendedConnectDisabled,
    LocalProtocolError,
    PreparedMessage,
    State,
    Text,
    UpgradeError,
    UpgradeReject,
)
from mintws.events import Response
from mintws.sync import Pool, Reconnect, connect, connect_http2, serve


@pytest.mark.parametrize("how", [socket.SHUT_RDWR, socket.SHUT_RD])
def test_an_opening_fails_at_once_where_the_server_has_left_before_the_request_is_written(http, how):
    ours, theirs = socket.socketpair()
    theirs.shutdown(how)
    if how is socket.SHUT_RD:
        theirs.close()
    begun = time.monotonic()
    with pytest.raises(ConnectError) as failed:
        connect("ws://localhost/", sock=ours, http=http, open_timeout=SOON).open()
    assert isinstance(failed.value.__cause__, BrokenPipeError)
    assert time.monotonic() - begun < SOON / 2
    theirs.close()


def test_messages_of_each_kind_come_back(http):
    with listening() as server, connect(url(server), http=http) as websocket:
        for message in ("text", b"bytes", "", "x" * 1_000_000, b"\0" * 300_000):
            websocket.send(message)
            assert websocket.recv(SOON) == message
        websocket.send(Text("event"))
        assert websocket.recv_event(SOON) == Text("event")
        websocket.send(PreparedMessage(Binary(b"prepared")))
        assert websocket.recv(SOON) == b"prepared"
        websocket.send(bytearray(b"array"))
        assert websocket.recv(SOON) == b"array"
        websocket.send(part for part in ("a ", "message ", "in ", "fragments"))
        assert websocket.recv(SOON) == "a message in fragments"
        websocket.send_many(str(number) for number in range(300))
        assert [websocket.recv(SOON) for _ in range(300)] == [str(number) for number in range(300)]
        assert websocket.http_version == http
        assert websocket.counters.messages_received == 309


def test_iteration_ends_with_a_proper_close(http):
    def handler(websocket):
        websocket.send_many(["one", "two"])

    with listening(handler) as server, connect(url(server), http=http) as websocket:
        assert list(websocket) == ["one", "two"]
        assert (websocket.close_code, websocket.ending.clean, websocket.state) == (1000, True, State.CLOSED)
        with pytest.raises(ConnectionClosed) as closed:
            websocket.send("more")
        assert (closed.value.code, closed.value.ended_by) == (1000, "peer")


def test_iteration_raises_for_another_close(http):
    with (
        listening(lambda websocket: websocket.close(4000, "no")) as server,
        connect(url(server), http=http) as websocket,
    ):
        with pytest.raises(ConnectionClosed, match="the peer closed with 4000: no"):
            list(websocket)


@pytest.mark.parametrize(("raised", "code"), [(None, 1000), (ValueError, 1011), (KeyboardInterrupt, 1001)])
def test_the_end_of_the_block_closes(http, raised, code):
    codes = []

    def handler(websocket):
        websocket.wait_closed()
        codes.append(websocket.close_code)

    with listening(handler) as server:
        try:
            with connect(url(server), http=http):
                if raised is not None:
                    raise raised
        except (ValueError, KeyboardInterrupt):
            pass
        until(lambda: codes)
    assert codes == [code]


def test_recv_times_out_and_loses_nothing(http, works):
    with listening() as server, connect(url(server), http=http) as websocket:
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match=r"no message came within 0(\.01)? s \(`timeout`\)"):
                websocket.recv(timeout)
        websocket.send("hello")
        assert websocket.recv(timeout=SOON) == "hello"
        got = []
        for number in range(50):
            works.begin(websocket.send, str(number)).join()
            while len(got) <= number:
                try:
                    got.append(websocket.recv(timeout=0.001))
                except TimeoutError:
                    pass
        assert got == [str(number) for number in range(50)]


def test_recv_of_no_time_gives_what_has_come():
    with listening(lambda websocket: (websocket.send("here"), websocket.wait_closed())) as server:
        with connect(url(server)) as websocket:
            until(lambda: _readable(websocket))
            assert websocket.recv(timeout=0) == "here"


def _readable(websocket):
    try:
        return websocket.transport.get_extra_info("socket").recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return websocket._waiting


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_is_a_number_of_seconds(timeout):
    with listening() as server, connect(url(server)) as websocket:
        for call in (websocket.recv, websocket.wait_closed, lambda timeout: websocket.send("x", timeout=timeout)):
            with pytest.raises(LocalProtocolError, match="timeout must be 0 or more seconds"):
                call(timeout=timeout)
        with pytest.raises(TypeError):
            websocket.recv("1")


def test_one_thread_receives_at_a_time(http, works):
    with listening() as server, connect(url(server), http=http) as websocket:
        thread = works.begin(lambda: [websocket.recv(SOON)])
        until(lambda: websocket._awaited)
        with pytest.raises(LocalProtocolError, match="another thread is receiving already"):
            websocket.recv(SOON)
        websocket.send("for the other")
        thread.join(SOON)


def test_many_threads_send_and_messages_stay_whole(http, works):
    with listening() as server, connect(url(server), http=http) as websocket:
        texts = {f"{thread} {number} " * 50 for thread in range(8) for number in range(40)}

        def send(thread):
            for number in range(40):
                websocket.send(f"{thread} {number} " * 50)

        for thread in range(8):
            works.begin(send, thread)
        assert {websocket.recv(SOON) for _ in range(320)} == texts


def test_a_message_in_fragments_is_not_mixed_with_those_of_other_threads(http, works):
    with listening() as server, connect(url(server), http=http) as websocket:
        begun, done = threading.Event(), threading.Event()

        def fragments():
            yield "begin"
            begun.set()
            done.wait(SOON)
            yield "end"

        works.begin(websocket.send, fragments())
        assert begun.wait(SOON)
        with pytest.raises(TimeoutError):
            websocket.send("too early", timeout=0.05)
        works.begin(websocket.send, "after")
        time.sleep(0.05)
        done.set()
        assert [websocket.recv(SOON), websocket.recv(SOON)] == ["beginend", "after"]


def test_a_message_waits_for_one_in_fragments_that_begins_just_before_it(http, works):
    def fragments():
        yield "one, "
        begun.set()
        more.wait(SOON)
        yield "two"

    def wait_turn(deadline):
        if begun.is_set():
            # This thread has looked again.
            more.set()
        waits(deadline)
        if threading.current_thread() is threading.main_thread() and not begun.is_set():
            works.begin(websocket.send, fragments())
            assert begun.wait(SOON)

    begun, more = threading.Event(), threading.Event()
    with listening() as server, connect(url(server), http=http) as websocket:
        waits, websocket._wait_turn = websocket._wait_turn, wait_turn
        try:
            websocket.send("whole", timeout=SOON)
        finally:
            more.set()
        assert [websocket.recv(SOON), websocket.recv(SOON)] == ["one, two", "whole"]


def test_a_thread_cannot_send_within_its_own_fragments():
    with listening() as server, connect(url(server)) as websocket:

        def fragments():
            yield "begin"
            websocket.send("within")

        with pytest.raises(LocalProtocolError, match="no other fits in between"):
            websocket.send(fragments())
        assert websocket.ending.sent == Close(1011, "a message was not finished")


@pytest.mark.parametrize("message", [1, None, {"a": 1}, MappingProxyType({"a": "b"}), Close(1000), []])
def test_what_is_no_message_is_an_error_and_changes_nothing(message):
    with listening() as server, connect(url(server)) as websocket:
        with pytest.raises(TypeError):
            websocket.send(message)
        with pytest.raises(TypeError, match="and this is one"):
            websocket.send_many("news")
        for messages in ({"a": 1}, MappingProxyType({"a": 1})):
            with pytest.raises(TypeError, match=r"an iterable of messages, not (dict|mappingproxy)"):
                websocket.send_many(messages)
        websocket.send("well")
        assert websocket.recv(SOON) == "well"


def test_messages_of_a_batch_are_written_together(http):
    with listening() as server, connect(url(server), http=http, extensions=()) as websocket:
        written = websocket.transport.written
        with websocket.batch():
            websocket.send("one")
            websocket.send("two")
            assert websocket.transport.written == written
        assert websocket.transport.written > written
        assert [websocket.recv(SOON), websocket.recv(SOON)] == ["one", "two"]


@pytest.mark.parametrize("timeout", [None, SOON])
def test_a_receive_that_waits_writes_what_a_batch_holds_back(http, timeout):
    def echo_in_a_batch(websocket):
        with websocket.batch():
            for message in websocket:
                if message == "bye":
                    return
                websocket.send(message)

    with listening(echo_in_a_batch) as server, connect(url(server), http=http) as websocket:
        with websocket.batch():
            websocket.send("one")
            assert websocket.recv(timeout) == "one"
            websocket.send("two")
            websocket.send("three")
            assert [websocket.recv(timeout), websocket.recv(timeout)] == ["two", "three"]
            websocket.send("bye")
            # The server ends after it.
            websocket.wait_closed(SOON)
        assert websocket.close_code == 1000


def test_a_receive_beside_another_thread_writes_what_a_batch_holds_back(works):
    """Where another thread reads the socket, the calls wait in another way."""
    with listening() as server, connect_http2(url(server)) as client:
        first, second = client.open("/1"), client.open("/2")
        works.begin(lambda: first.recv(SOON))
        until(lambda: first._awaited)
        with second.batch():
            second.send("x")
            assert second.recv(SOON) == "x"
        first.send("y")


def test_a_ping_gives_its_latency(http, works):
    with listening() as server, connect(url(server), http=http) as websocket:
        assert 0 < websocket.ping(timeout=SOON) == websocket.latency
        with pytest.raises(LocalProtocolError):
            websocket.ping(b"x" * 126)
        # While another thread receives.
        thread = works.begin(lambda: [websocket.recv(SOON)])
        until(lambda: websocket._awaited)
        assert websocket.ping(b"mine", timeout=SOON) > 0
        websocket.send("end")
        thread.join(SOON)


def test_a_ping_without_a_pong_times_out_or_ends_with_the_connection(http):
    def talk(sock, connection):
        time.sleep(0.3)

    with blocking_server(accepting(http, talk)) as port:
        websocket = connect(f"ws://127.0.0.1:{port}", http=http, ping_interval=None).open()
        with pytest.raises(TimeoutError, match=r"no Pong came within 0\.01 s"):
            websocket.ping(timeout=0.01)
        with pytest.raises(ConnectionClosed):
            websocket.ping(timeout=SOON)


def test_close_from_another_thread_ends_recv(http, works):
    ends = []

    def receive():
        try:
            websocket.recv()
        except ConnectionClosed as closed:
            ends.append((closed.code, closed.ended_by))

    with listening() as server, connect(url(server), http=http) as websocket:
        thread = works.begin(receive)
        until(lambda: websocket._awaited)
        websocket.close(4001, "enough")
        thread.join(SOON)
    assert ends == [(4001, "us")]


def test_close_gives_up_a_silent_peer_and_wakes_who_receives(http, works):
    ended = threading.Event()

    def receive():
        with pytest.raises(ConnectionClosed, match="the peer did not close in time"):
            websocket.recv()
        ended.set()

    with blocking_server(accepting(http, lambda sock, connection: ended.wait(SOON))) as port:
        websocket = connect(f"ws://127.0.0.1:{port}", http=http, close_timeout=0.1).open()
        works.begin(receive)
        until(lambda: websocket._awaited)
        websocket.close()
        assert (websocket.close_code, websocket.ending.clean) == (1006, False)
        assert ended.wait(SOON)


def test_wait_closed_times_out_or_sees_the_end(http):
    with listening() as server, connect(url(server), http=http) as websocket:
        with pytest.raises(TimeoutError, match="the connection did not end"):
            websocket.wait_closed(timeout=0.01)
        for other in server.websockets:
            other.close(4002)
        websocket.wait_closed(timeout=SOON)
        assert websocket.close_code == 4002


def test_a_refusal_is_told(http):
    def upgrade(connection, request):
        return UpgradeReject(403, headers=[("X-Why", "because")], body=b"not today")

    with listening(upgrade=upgrade) as server:
        with pytest.raises(UpgradeError, match="403") as refused:
            connect(url(server), http=http).open()
        assert (refused.value.status, refused.value.body) == (403, b"not today")


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(ConnectError, match="cannot connect") as failed:
        connect(f"ws://127.0.0.1:{port}").open()
    assert isinstance(failed.value.__cause__, ConnectionRefusedError)
    assert failed.value.errno == failed.value.__cause__.errno


def test_a_name_that_does_not_exist():
    with pytest.raises(ConnectError) as failed:
        connect("ws://name.invalid").open()
    assert isinstance(failed.value.__cause__, socket.gaierror)


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_a_server_that_does_not_answer_is_left_in_time(http):
    end = threading.Event()
    with blocking_server(lambda sock: end.wait(SOON)) as port:
        with pytest.raises(ConnectTimeout, match=r"did not come within 0\.1 s \(`open_timeout`\)"):
            connect(f"ws://127.0.0.1:{port}", http=http, open_timeout=0.1).open()
        with pytest.raises(ConnectTimeout, match="the server's SETTINGS"):
            connect_http2(f"ws://127.0.0.1:{port}", open_timeout=0.1).open()
        end.set()


def test_a_server_that_does_not_accept_is_left_in_time():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock:
        address = sock.getsockname()
        waiting = []
        for _ in range(8):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(address)
        with pytest.raises(ConnectTimeout, match=r"the TCP connection did not come within 0\.1 s"):
            connect(f"ws://127.0.0.1:{address[1]}", open_timeout=0.1).open()
        for it in waiting:
            it.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse a connection that has no room")
def test_a_unix_socket_without_room_is_tried_until_it_has_some(works, tmp_path):
    path = str(tmp_path / "socket")

    def open_one():
        with connect("ws://localhost/", path=path) as websocket:
            assert websocket.recv(SOON) == "there is room"

    with full_unix_socket(path) as unix:
        with pytest.raises(ConnectTimeout, match=r"the connection did not come within 0\.1 s"):
            connect("ws://localhost/", path=path, open_timeout=0.1).open()
        works.begin(open_one)
        threading.Event().wait(0.1)
        with serve(lambda websocket: websocket.send("there is room"), sock=unix):
            works.end()


def test_a_name_is_looked_up_in_time(monkeypatch):
    end = threading.Event()
    real = socket.getaddrinfo

    def look_up(host, *args, **named):
        if host == "slow.example" and not named.get("flags"):
            end.wait(SOON)
        return real(host, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(ConnectTimeout, match="the TCP connection"):
        connect("ws://slow.example", open_timeout=0.05).open()
    end.set()


def test_the_next_address_is_tried_when_one_does_not_answer(monkeypatch):
    real = socket.getaddrinfo
    with listening() as server, socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()[1]
        closed.close()

        def look_up(host, port, *args, **named):
            if host != "two.example":
                return real(host, port, *args, **named)
            if named.get("flags"):
                raise socket.gaierror
            return [real("127.0.0.1", it, *args, **named)[0] for it in (dead, server.port)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with connect("ws://two.example/") as websocket:
            websocket.send("there")
            assert websocket.recv(SOON) == "there"


def test_a_socket_that_cannot_be_waited_for_is_closed(monkeypatch):
    class Full(selectors.DefaultSelector):
        def register(self, sock, *_):
            socks.append(sock)
            raise OSError(errno.ENOSPC, "too many are watched")

    full = SimpleNamespace(DefaultSelector=Full, EVENT_WRITE=selectors.EVENT_WRITE)
    monkeypatch.setattr("mintws.sync.tcp.selectors", full)
    socks: list[socket.socket] = []
    with listening() as server, pytest.raises(ConnectError, match="too many are watched"):
        connect(url(server)).open()
    assert [sock.fileno() for sock in socks] == [-1]


def test_a_socket_or_a_path_or_a_local_address_is_used(tmp_path):
    with listening() as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        with connect("ws://elsewhere.example/", sock=sock) as websocket:
            websocket.send("by a socket")
            assert websocket.recv(SOON) == "by a socket"
        with connect(url(server), local_addr=("127.0.0.1", 0)) as websocket:
            assert websocket.transport.get_extra_info("sockname")[0] == "127.0.0.1"
    path = tmp_path / "socket"
    for where in paths_of(path):
        with serve(lambda websocket: websocket.send("by a path"), path=where) as server:
            assert server.port == 0
            with connect("ws://localhost/", path=where) as websocket:
                assert websocket.recv(SOON) == "by a path"


def test_a_server_that_speaks_before_the_transport_begins_is_heard(monkeypatch):
    delay(monkeypatch)

    with blocking_server(speak_first) as port:
        sock = socket.create_connection(("127.0.0.1", port))
        assert sock.recv(1, socket.MSG_PEEK)
        with connect_http2("ws://server.invalid", sock=sock, open_timeout=SOON) as client:
            assert client.http.can_open


def test_an_opening_is_made_once():
    with listening() as server:
        opening = connect(url(server))
        with opening:
            pass
        with pytest.raises(LocalProtocolError, match="call connect\\(\\) again"):
            opening.open()


def test_an_argument_of_another_library_is_named():
    with pytest.raises(TypeError, match=r"use limit"):
        connect("ws://localhost", max_size=1)
    with pytest.raises(TypeError, match="transport"):
        connect("ws://localhost", transport=None)


def test_an_http2_connection_carries_many(works):
    def respond(request):
        return Response(200, body=request.target.encode())

    with listening(respond=respond) as server, connect_http2(url(server)) as client:
        websockets = [client.open(f"/{number}") for number in range(20)]

        def talk(number, websocket):
            for turn in range(20):
                websocket.send(f"{number} {turn}")
                assert websocket.recv(SOON) == f"{number} {turn}"
                assert client.request("GET", f"/{number}", timeout=SOON).body == f"/{number}".encode()

        threads = [works.begin(talk, number, websocket) for number, websocket in enumerate(websockets)]
        for thread in threads:
            thread.join(SOON)
        assert {it.http_version for it in websockets} == {"2"}
    assert {it.close_code for it in websockets} == {1000}


def test_a_request_times_out_and_is_taken_back():
    end = threading.Event()

    def respond(request):
        end.wait(SOON)
        return Response(200)

    with listening(respond=respond) as server, connect_http2(url(server)) as client:
        with pytest.raises(TimeoutError, match=r"the response was not whole within 0\.05 s"):
            client.request("GET", "/", timeout=0.05)
        end.set()
        assert client.request("GET", "/", timeout=SOON).status == 200


def test_a_server_without_websockets_over_http2_is_told():
    def talk(sock):
        from mintws import Http2, Role

        http = Http2(Role.SERVER, enable_connect=False)
        sock.sendall(http.start())
        while data := sock.recv(65536):
            sock.sendall(http.receive(data)[1])

    with blocking_server(talk) as port:
        with pytest.raises(ExtendedConnectDisabled):
            connect(f"ws://127.0.0.1:{port}", http="2").open()


def test_a_closed_http2_connection_opens_nothing():
    with listening() as server:
        client = connect_http2(url(server)).open()
        client.close()
        client.close()
        with pytest.raises(ConnectError):
            client.open()
        with pytest.raises(ConnectError):
            client.request("GET", "/")


def test_a_client_connects_again(http):
    count = 0

    def handler(websocket):
        nonlocal count
        count += 1
        websocket.send(f"news {count} {dict(websocket.request.headers).get('x-count')}")
        websocket.close(1012 if count < 3 else 1000)

    made = iter("abc")
    with listening(handler) as server:
        policy = Reconnect(first=0.01, longest=0.01)
        got = []
        for websocket in connect(url(server), http=http, reconnect=policy, headers=lambda: {"X-Count": next(made)}):
            got += websocket
    assert got == ["news 1 a", "news 2 b", "news 3 c"]


def test_a_block_that_ends_while_its_websocket_is_open_is_followed_by_another(http):
    codes, opened = [], []

    def handler(websocket):
        websocket.wait_closed()
        codes.append(websocket.close_code)

    with listening(handler) as server:
        for websocket in connect(url(server), http=http, reconnect=Reconnect(first=0.01, longest=0.01)):
            opened.append(websocket)
            with websocket:
                if len(opened) == 3:
                    websocket.close()
    assert codes == [1000] * 3


def test_a_url_is_asked_for_at_each_opening(http):
    seen = []

    def handler(websocket):
        websocket.close(1012 if len(seen) < 3 else 1000)

    def upgrade(connection, request):
        seen.append(request.target)

    with listening(handler, upgrade=upgrade) as server:
        made = (url(server, f"/?token={count}") for count in range(3))
        policy = Reconnect(first=0.01, longest=0.01)
        for websocket in connect(lambda: next(made), http=http, reconnect=policy):
            websocket.wait_closed()
    assert seen == ["/?token=0", "/?token=1", "/?token=2"]


def test_a_url_that_comes_too_late_is_named():
    def late():
        time.sleep(0.1)
        return "ws://127.0.0.1:9/"

    with pytest.raises(ConnectTimeout, match=r"what `url` returns did not come within 0\.05 s"):
        connect(late, open_timeout=0.05).open()


def test_what_a_callable_for_headers_raises_is_raised_as_it_is():
    raised = TimeoutError("the token service is down")

    def headers():
        raise raised

    with pytest.raises(TimeoutError) as told:
        connect("ws://127.0.0.1:9/", headers=headers).open()
    assert told.value is raised


async def awaited(*args):
    raise NotImplementedError


class Awaited:
    __call__ = staticmethod(awaited)


@pytest.mark.parametrize("hook", [awaited, partial(awaited), Awaited()])
@pytest.mark.parametrize("pooled", [False, True])
def test_a_coroutine_function_is_refused_by_the_call(pooled, hook):
    opening = Pool().connect if pooled else connect
    address = "ws://127.0.0.1:9/"
    decided = {"reconnect": Reconnect(decide=hook)}
    for name, where, given in (
        ("url", hook, {}),
        ("headers", address, {"headers": hook}),
        ("decide", address, decided),
    ):
        with pytest.raises(TypeError, match=rf"^{name} is called by a thread, .*: use mintws\.asyncio\.connect$"):
            opening(where, **given)


def test_a_function_that_returns_a_coroutine_is_refused_when_it_is_called():
    with pytest.raises(TypeError, match=r"^headers is called by a thread, which cannot await <coroutine .*connect$"):
        connect("ws://127.0.0.1:9/", headers=lambda: awaited()).open()
    reconnect = Reconnect(decide=lambda failure: awaited(failure))
    with pytest.raises(TypeError, match=r"^decide is called by a thread, which cannot await <coroutine .*connect$"):
        next(iter(connect("ws://127.0.0.1:9/", reconnect=reconnect)))


def test_a_loop_that_is_left_closes_its_websocket():
    codes = []

    def handler(websocket):
        websocket.send("hello")
        websocket.wait_closed()
        codes.append(websocket.close_code)

    with listening(handler) as server:
        for websocket in connect(url(server)):
            assert websocket.recv(SOON) == "hello"
            break
        del websocket
        gc.collect()
        until(lambda: codes)
    assert codes == [1000]


def test_redirects_are_followed():
    def upgrade(connection, request):
        if request.target == "/old":
            return UpgradeReject(307, headers=[("Location", "/new")])
        return None

    with listening(lambda websocket: websocket.send(websocket.request.target), upgrade=upgrade) as server:
        with connect(url(server, "/old")) as websocket:
            assert websocket.recv(SOON) == "/new"
        with pytest.raises(UpgradeError, match="307"):
            connect(url(server, "/old"), redirects=0).open()
