"""What holds while nobody receives, and how long is waited for a peer: the keepalive, Pings, Closes, and back-pressure."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from drivers.raw import answer_on_one_stream, blocking_server, reset
from sync.conftest import SOON, accepting, by_hand, left_threads, listening, taking_later, until, url
from wire import CLOSE, PING, PONG, RST_STREAM, h2_frame, masked

from mintws import Close, ConnectionClosed, Text
from mintws.sync import connect, connect_http2
from mintws.sync.background import background

QUICK = {"ping_interval": 0.1, "ping_timeout": 0.1}


@pytest.mark.parametrize("receives", [True, False])
def test_a_silent_peer_is_given_up(http, receives, works):
    def talk(sock, connection):
        end.wait(SOON)

    end = threading.Event()
    with blocking_server(accepting(http, talk)) as port:
        websocket = connect(f"ws://127.0.0.1:{port}", http=http, close_timeout=0.2, **QUICK).open()
        if receives:
            with pytest.raises(ConnectionClosed, match=r"keepalive: no Pong came within 0\.1 s"):
                websocket.recv()
        else:
            until(lambda: websocket.close_code == 1006)
        with pytest.raises(ConnectionClosed, match="no Pong came"):
            websocket.send("x")
        websocket.wait_closed(SOON)
        end.set()


def test_a_peer_that_answers_is_kept_with_or_without_a_reader(http, works):
    # A machine with much to do may take its time.
    kept = {"ping_interval": 0.1, "ping_timeout": 2.0}
    with listening(**kept) as server, connect(url(server), http=http, **kept) as websocket:
        for _ in range(2):
            thread = works.begin(lambda: [websocket.recv(SOON)])
            time.sleep(0.4)
            websocket.send("still")
            thread.join(SOON)
            time.sleep(0.4)
        assert websocket.latency is not None and websocket.close_code is None


def test_a_stream_that_answers_no_ping_is_left_and_one_beside_it_that_does_is_not():
    def handler(websocket):
        websocket.wait_closed()
        ended.append((websocket.connection.carrier.number, websocket.close_reason))

    ended = []
    with listening(handler, ping_interval=0.1, ping_timeout=1) as server:
        assert answer_on_one_stream(server.port, ended) == [(3, "keepalive: no Pong came within 1 s")]


def test_pings_are_answered_and_a_close_too_while_nobody_receives():
    with listening(lambda websocket: end.wait(SOON)) as server:
        end = threading.Event()
        with by_hand(server) as (sock, _):
            sock.sendall(masked(PING, b"there?"))
            assert sock.recv(100) == bytes([0x80 | PONG, 6]) + b"there?"
            sock.sendall(masked(CLOSE, b"\x03\xe8"))
            assert sock.recv(100) == bytes([0x80 | CLOSE, 2]) + b"\x03\xe8"
            end.set()


def test_pings_are_answered_after_a_reader_has_left():
    def handler(websocket):
        websocket.recv(SOON)
        end.wait(SOON)

    end = threading.Event()
    with listening(handler) as server, by_hand(server) as (sock, connection):
        sock.sendall(connection.send(Text("one")))
        until(lambda: all(it.counters.messages_received for it in server.websockets))
        time.sleep(0.05)
        for _ in range(2):
            sock.sendall(masked(PING, b"there?"))
            assert sock.recv(100) == bytes([0x80 | PONG, 6]) + b"there?"
        end.set()


def test_messages_wait_within_bounds_and_none_is_lost(http):
    begin = threading.Event()
    got = []

    def handler(websocket):
        begin.wait(SOON)
        got.extend(websocket)

    with listening(handler, extensions=()) as server, connect(url(server), http=http, extensions=()) as websocket:
        sent = 0
        try:
            while True:
                websocket.send(b"x" * 100_000, timeout=0.5)
                sent += 1
                assert sent < 1000
        except TimeoutError:
            pass
        websocket_there = next(iter(server.websockets))
        assert websocket_there._waiting <= 257
        assert websocket.unsent > 0
        begin.set()
        websocket.send("last", timeout=SOON)
        websocket.close()
        until(lambda: got and got[-1] == "last")
    assert len(got) == sent + 2


def test_a_send_that_timed_out_is_sent_once(http):
    large = bytes(16 << 20)
    with taking_later(http) as (place, begin, got):
        with connect(place, http=http, extensions=()) as websocket:
            with pytest.raises(TimeoutError, match=r"the peer did not take enough within 0\.1 s \(`timeout`\)"):
                websocket.send(large, timeout=0.1)
            begin.set()
            websocket.send("after", timeout=SOON)
        until(lambda: len(got) == 2)
    assert got == [large, "after"]


def test_a_send_of_many_names_the_timeout_of_the_caller(http):
    with (
        taking_later(http) as (place, _, _),
        connect(place, http=http, extensions=(), close_timeout=0.1) as websocket,
    ):
        for messages in [bytes(16 << 20)] * 2, ["small"]:
            with pytest.raises(TimeoutError, match=r"the peer did not take enough within 0\.1 s \(`timeout`\)"):
                websocket.send_many(messages, timeout=0.1)


def test_a_send_that_waits_returns_when_the_websocket_ends(http, works):
    def send():
        websocket.send(bytes(16 << 20))
        with pytest.raises(ConnectionClosed):
            websocket.send("next")

    with (
        taking_later(http) as (place, _, _),
        connect(place, http=http, extensions=(), close_timeout=0.1) as websocket,
    ):
        thread = works.begin(send)
        until(lambda: websocket._blocked_senders)
        websocket.close()
        thread.join(SOON)


def test_a_peer_that_takes_nothing_is_given_up():
    reasons = []

    def handler(websocket):
        try:
            websocket.send(bytes(32 << 20))
            websocket.recv()
        except ConnectionClosed as closed:
            reasons.append(closed.reason)

    with listening(handler, extensions=(), **QUICK) as server, by_hand(server, read_buffer=4096):
        until(lambda: reasons)
    assert "the peer takes nothing" in reasons[0]


@pytest.mark.parametrize("tls", [False, True])
def test_two_sides_that_send_much_do_not_wait_for_each_other(http, tls, tls_contexts, works):
    server_tls, client_tls = tls_contexts if tls else (None, None)
    message = bytes(1_000_000)
    with listening(ssl=server_tls) as server:
        address = f"{'wss' if tls else 'ws'}://localhost:{server.port}/"
        with connect(address, http=http, ssl=client_tls, host="127.0.0.1", extensions=()) as websocket:
            sending = works.begin(lambda: [websocket.send(message) for _ in range(30)])
            for _ in range(30):
                assert websocket.recv(SOON) == message
            sending.join(SOON)


def test_many_streams_that_send_much_do_not_wait_for_each_other(works):
    with listening() as server, connect_http2(url(server)) as client:
        websockets = [client.open(extensions=()) for _ in range(10)]

        def talk(websocket):
            works.begin(lambda: [websocket.send(bytes(100_000)) for _ in range(20)])
            for _ in range(20):
                assert websocket.recv(SOON) == bytes(100_000)

        for thread in [works.begin(talk, it) for it in websockets]:
            thread.join(SOON)


def test_a_reset_is_told_to_all_who_wait(http, works):
    ends = []

    def wait(call):
        try:
            call()
        except ConnectionClosed as closed:
            ends.append(closed)

    begun = threading.Event()

    def talk(sock, connection):
        begun.wait(SOON)
        reset(sock)

    with blocking_server(accepting(http, talk)) as port:
        websocket = connect(f"ws://127.0.0.1:{port}", http=http).open()
        threads = [works.begin(wait, call) for call in (websocket.recv, websocket.ping)]
        waiting = works.begin(websocket.wait_closed)
        until(lambda: websocket._awaited and websocket._session.pings.under_way)
        begun.set()
        for thread in [*threads, waiting]:
            thread.join(SOON)
        assert {it.code for it in ends} == {1006} and len(ends) == 2
        assert isinstance(ends[0].__cause__.__cause__, ConnectionResetError)


def test_what_was_sent_before_the_end_is_received_after_it(http):
    """Also if this side has written meanwhile to a peer that is gone."""

    def talk(sock, connection):
        sock.sendall(connection.send(Text("one")) + connection.send(Text("two")) + connection.send(Close(4000, "bye")))
        sock.shutdown(socket.SHUT_WR)

    with blocking_server(accepting(http, talk)) as port:
        websocket = connect(f"ws://127.0.0.1:{port}", http=http, extensions=()).open()
        assert websocket.recv(SOON) == "one"
        assert websocket.recv(SOON) == "two"
        with pytest.raises(ConnectionClosed, match="the peer closed with 4000: bye"):
            websocket.recv(SOON)


def test_a_close_of_a_peer_that_reads_nothing_more_is_seen_by_who_sends():
    def talk(sock, connection):
        sock.sendall(connection.send(Close(4000, "bye")))
        sock.close()

    with blocking_server(accepting("1.1", talk)) as port:
        websocket = connect(f"ws://127.0.0.1:{port}").open()
        codes = []
        while not codes:
            try:
                websocket.send("x" * 1000, timeout=SOON)
            except ConnectionClosed as closed:
                codes.append(closed.code)
        assert codes == [4000]


@pytest.mark.parametrize("timeout", [0, 0.2])
def test_recv_times_out_though_something_comes_all_the_time(timeout):
    def wait_leading(seconds):
        # Control frames, say.
        assert time.monotonic() < begun + SOON / 2
        return True

    with listening() as server, connect(url(server)) as websocket:
        waits, websocket._wait_leading = websocket._wait_leading, wait_leading
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match="no message came within"):
            websocket.recv(timeout)
        websocket._wait_leading = waits
        websocket.send("after")
        assert websocket.recv(SOON) == "after"


def test_what_is_told_to_a_background_that_has_ended_has_no_effect():
    with listening() as server, connect(url(server)) as websocket:
        transport = websocket.transport
    until(lambda: not left_threads())
    transport.watch()
    transport.expires_at = 0.0
    background().schedule(transport)
    with listening() as server, connect(url(server)) as websocket:
        websocket.send("again")
        assert websocket.recv(SOON) == "again"


def test_threads_that_send_have_their_turns(http, works):
    """The one that has the lock frees it while the system takes a message, and holds it again before another is awake."""
    end = threading.Event()
    sent = [0, 0, 0]

    def send(number):
        while not end.is_set():
            websocket.send("x")
            sent[number] += 1

    with listening(lambda websocket: [None for _ in websocket]) as server, connect(url(server), http=http) as websocket:
        threads = [works.begin(send, number) for number in range(len(sent))]
        time.sleep(2.0)
        begin = time.monotonic()
        websocket.ping(timeout=SOON)
        took = time.monotonic() - begin
        end.set()
        for thread in threads:
            thread.join(SOON)
    assert min(sent) > max(sent) / 10
    assert took < SOON / 2


@pytest.mark.parametrize("call", ["close", "recv after send"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_write_that_fails_leaves_nobody_waiting(http, call, tls, tls_contexts) -> None:
    server_context, client_context = tls_contexts if tls else (None, None)
    with (
        listening(ssl=server_context) as server,
        connect(
            f"{'wss' if tls else 'ws'}://localhost:{server.port}", host="127.0.0.1", http=http, ssl=client_context
        ) as websocket,
    ):
        websocket.send("x")
        assert websocket.recv() == "x"
        # Nobody reads the socket for a while after that.
        websocket.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        began = time.monotonic()
        if call != "close":
            # On a busy machine the background has read the end before.
            with contextlib.suppress(ConnectionClosed):
                websocket.send("y")
            with pytest.raises(ConnectionClosed, match="1006"):
                websocket.recv(SOON)
        websocket.close()
        # Not the close timeout.
        assert time.monotonic() - began < 5
        assert websocket.close_code == 1006


@pytest.mark.parametrize("call", ["wait_closed", "close"])
@pytest.mark.parametrize("end", ["fin", "rst"])
def test_unread_messages_do_not_block_the_end_of_a_transport_that_is_gone(http, end, call, works) -> None:
    def talk(sock, connection):
        sock.sendall(connection.send(Text("x")) * 3)
        waits.wait(SOON)
        if end == "rst":
            reset(sock)

    waits = threading.Event()
    with blocking_server(accepting(http, talk)) as port:
        websocket = connect(f"ws://127.0.0.1:{port}", http=http, ping_interval=None).open()
        assert websocket.recv() == "x"
        until(lambda: websocket._waiting == 2)
        waiting = works.begin(getattr(websocket, call))
        # It waits for a reader, a second at most, when the transport ends.
        time.sleep(0.1)
        waits.set()
        waiting.join(5)
        assert websocket.close_code is not None
        assert not waiting.is_alive()


def test_unread_messages_of_a_stream_do_not_block_its_end_when_the_transport_goes_too(works) -> None:
    def talk(sock, connection):
        sock.sendall(connection.send(Text("x")) * 3)
        waits.wait(SOON)
        sock.sendall(h2_frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
        time.sleep(0.2)

    waits = threading.Event()
    with (
        blocking_server(accepting("2", talk)) as port,
        connect_http2(f"ws://127.0.0.1:{port}", ping_interval=None) as client,
    ):
        websocket = client.open(extensions=())
        assert websocket.recv() == "x"
        until(lambda: websocket._waiting == 2)
        waiting = works.begin(websocket.wait_closed)
        time.sleep(0.1)
        waits.set()
        waiting.join(5)
        assert not waiting.is_alive()
        assert websocket.close_code == 1006


def test_a_message_that_the_background_reads_before_a_wait_begins_is_not_waited_for(http):
    """As where it comes between a look into the queue and the wait."""
    with (
        listening(lambda websocket: [websocket.send("x"), websocket.wait_closed()]) as server,
        connect(url(server), http=http) as websocket,
    ):
        until(lambda: websocket._waiting)
        begin = time.monotonic()
        assert websocket._wait_leading(SOON)
        assert time.monotonic() - begin < SOON / 2
        assert websocket.recv(SOON) == "x"
