"""TLS of the driver for threads."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest
from drivers.raw import blocking_server, open_by_hand
from sync.conftest import SOON, listening, until

from mintws import ConnectError, ConnectionClosed, Http1, LocalProtocolError, Role, Text
from mintws.sync import connect, connect_http2


def address(server):
    return f"wss://localhost:{server.port}/"


def test_both_versions_are_chosen_by_alpn(tls_contexts):
    server_tls, client_tls = tls_contexts
    with listening(ssl=server_tls) as server:
        for http, spoken in (("auto", "2"), ("1.1", "1.1"), ("2", "2")):
            with connect(address(server), http=http, ssl=client_tls, host="127.0.0.1") as websocket:
                websocket.send("hello")
                assert websocket.recv(SOON) == "hello"
                assert websocket.http_version == spoken
                assert websocket.transport.get_extra_info("peercert")["subject"]
        with connect_http2(address(server), ssl=client_tls, host="127.0.0.1") as client:
            assert client.request("GET", "/", timeout=SOON).status == 404


def test_many_threads_connect_with_one_context(tls_contexts, works):
    server_tls, client_tls = tls_contexts

    def talk(http):
        with connect(address(server), http=http, ssl=client_tls, host="127.0.0.1") as websocket:
            assert websocket.http_version == http
            websocket.send("x" * 100_000)
            assert websocket.recv(SOON) == "x" * 100_000

    with listening(ssl=server_tls) as server:
        for thread in [works.begin(talk, http) for http in ("1.1", "2") * 8]:
            thread.join(SOON)


def test_a_server_without_http2_is_told_apart(tls_contexts):
    server_tls, client_tls = tls_contexts
    with listening(ssl=server_tls, http2=False) as server:
        with connect(address(server), ssl=client_tls, host="127.0.0.1") as websocket:
            assert websocket.http_version == "1.1"
        with pytest.raises(ConnectError, match="the server does not speak HTTP/2"):
            connect(address(server), http="2", ssl=client_tls, host="127.0.0.1").open()


def test_a_certificate_that_is_not_trusted_is_refused(tls_contexts, caplog):
    caplog.set_level("INFO", "mintws.server")
    server_tls, client_tls = tls_contexts
    with listening(ssl=server_tls) as server:
        for how in ({}, {"ssl": client_tls, "server_hostname": "elsewhere.example"}):
            with pytest.raises(ConnectError) as failed:
                connect(address(server), host="127.0.0.1", **how).open()
            assert isinstance(failed.value.__cause__, ssl.SSLCertVerificationError)
        until(lambda: caplog.text.count("TLS handshake failed") == 2)


def test_what_speaks_no_tls_is_told(tls_contexts):
    with listening() as server:
        with pytest.raises(ConnectError):
            connect(address(server), host="127.0.0.1", open_timeout=SOON).open()
    server_tls, _ = tls_contexts
    with listening(ssl=server_tls, open_timeout=0.1) as server:
        with socket.create_connection(("127.0.0.1", server.port), SOON) as sock:
            assert sock.recv(100) == b"", "a client that does not begin is left"


def test_a_context_of_the_other_side_is_refused(tls_contexts):
    server_tls, client_tls = tls_contexts
    with pytest.raises(LocalProtocolError):
        connect("wss://localhost", ssl=server_tls)
    with pytest.raises(LocalProtocolError):
        listening(ssl=client_tls)


def test_an_end_without_close_notify_is_told(tls_contexts):
    server_tls, client_tls = tls_contexts

    def talk(sock):
        connection = open_by_hand(sock, Http1(Role.SERVER))
        sock.sendall(connection.send(Text("half")))
        raw = socket.socket(fileno=sock.detach())
        raw.close()

    with blocking_server(talk, server_tls) as port:
        websocket = connect(f"wss://localhost:{port}/", ssl=client_tls, host="127.0.0.1", extensions=()).open()
        assert websocket.recv(SOON) == "half"
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(SOON)
        assert closed.value.code == 1006


def test_close_from_another_thread_over_tls(tls_contexts, http, works):
    server_tls, client_tls = tls_contexts
    ended = threading.Event()

    def receive():
        with pytest.raises(ConnectionClosed):
            websocket.recv()
        ended.set()

    with listening(ssl=server_tls) as server:
        websocket = connect(address(server), http=http, ssl=client_tls, host="127.0.0.1").open()
        works.begin(receive)
        until(lambda: websocket._awaited)
        websocket.close()
        assert ended.wait(SOON)
