"""Limits and counters of a server for threads."""

from __future__ import annotations

import socket
import threading

import pytest
from sync.conftest import SOON, listening, until, url

from mintws import ConnectError, UpgradeError
from mintws.sync import connect, connect_http2


@pytest.mark.parametrize(("most", "size"), [(2000, 3000), (200_000, 150_000)])
def test_a_head_is_taken_up_to_max_header_size(http, most, size):
    headers = [("X", "a" * size)]
    with listening(max_header_size=most) as server, connect(url(server), http=http) as first:
        if size < most:
            with connect(url(server), http=http, headers=headers) as second:
                second.ping()
        else:
            with pytest.raises(ConnectError) as refused:
                connect(url(server), http=http, headers=headers).open()
            assert http == "2" or (isinstance(refused.value, UpgradeError) and refused.value.status == 431)
        first.ping()


def test_limits_refuse_what_is_over_them_and_that_is_counted(http, works):
    end = threading.Event()

    def upgrade(connection, request):
        if request.target == "/slow":
            end.wait(SOON)

    with listening(upgrade=upgrade, max_connections_per_address=1, max_handshakes=1) as server:
        with connect(url(server), http=http, local_addr=("127.0.0.2", 0)) as first:
            first.send("x")
            assert first.recv(SOON) == "x"
            with pytest.raises((ConnectError, OSError)):
                connect(url(server), http=http, local_addr=("127.0.0.2", 0)).open()
        with connect_http2(url(server)) as client:
            works.begin(client.open, "/slow")
            until(lambda: server.statistics().handshakes == 1)
            with pytest.raises(ConnectError, match="REFUSED_STREAM"):
                client.open("/")
            with pytest.raises(UpgradeError) as refused:
                connect(url(server), http="1.1", local_addr=("127.0.0.3", 0)).open()
            assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "5")
            end.set()
            until(lambda: server.statistics().handshakes == 0)
            client.open("/").close()
        counted = server.statistics().refused
        assert (counted["max_connections_per_address"], counted["max_handshakes"]) == (1, 2)
        until(lambda: server.statistics().connections == 0)


def test_tls_handshakes_over_the_limit_are_not_begun(tls_contexts):
    theirs, ours = tls_contexts
    with listening(max_handshakes=1, ssl=theirs) as server:
        where = {"host": "127.0.0.1", "port": server.port, "ssl": ours}
        with socket.create_connection(("127.0.0.1", server.port)):
            until(lambda: server.statistics().handshakes == 1)
            with pytest.raises((ConnectError, OSError)):
                connect(f"wss://localhost:{server.port}/", **where).open()
        until(lambda: server.statistics().handshakes == 0)
        with connect(f"wss://localhost:{server.port}/", **where):
            assert server.statistics().connections == 1
        assert server.statistics().refused["max_handshakes"] == 1


def test_a_handshake_for_which_there_is_no_thread_is_no_longer_under_way(monkeypatch):
    begin = threading.Thread.start

    def start(thread):
        if thread.name.startswith("mintws "):
            raise RuntimeError("can't start new thread")
        begin(thread)

    with listening(max_handshakes=1) as server:
        with monkeypatch.context() as context:
            context.setattr(threading.Thread, "start", start)
            with pytest.raises((ConnectError, OSError)):
                connect(url(server), http="1.1").open()
        until(lambda: not server.statistics().connections)
        assert server.statistics().handshakes == 0
        connect(url(server), http="1.1").open().close()


def test_what_passes_is_counted_once_however_often_it_is_asked_for(http, works):
    """Threads ask while WebSockets open, pass messages and end: what has been never becomes less, and all of it is there in the end."""
    done = threading.Event()

    def ask():
        before = 0
        while not done.is_set():
            now = server.statistics().messages_received
            assert now >= before
            before = now

    def talk():
        for _ in range(5):
            with connect(url(server), http=http) as websocket:
                for _ in range(20):
                    websocket.send("x" * 100)
                    websocket.recv(SOON)

    with listening() as server:
        works.begin(ask)
        talkers = [works.begin(talk) for _ in range(2)]
        for it in talkers:
            it.join(SOON)
        until(lambda: server.statistics().websockets == 0)
        done.set()
        found = server.statistics()
        assert (found.messages_received, found.messages_sent, found.bytes_received) == (200, 200, 20000)
        assert found.closed == {1000: 10} and found.websockets_opened == 10
