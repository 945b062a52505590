"""PROXY headers before connections to a server for threads."""

from __future__ import annotations

import logging
import socket
import struct
import time

import pytest
from sync.conftest import SOON, listening, until, url

from mintws.sync import connect

HERE = ["127.0.0.1"]
HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n"


def proxied(server, *parts):
    sock = socket.create_connection(("127.0.0.1", server.port))
    for part in parts or [HEADER]:
        sock.sendall(part)
        time.sleep(0.02)
    return sock


def tell(websocket):
    peer, transport = websocket.request.peer, websocket.transport
    names = [transport.get_extra_info(name) for name in ("peername", "sockname")]
    websocket.send(f"{peer.address} {peer.proxy[0]} {names[0] == peer.address} {names[1]}")
    for message in websocket:
        websocket.send(message)


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
def test_the_address_is_that_of_the_client(http, secure, tls_contexts, caplog):
    theirs, ours = tls_contexts
    caplog.set_level(logging.INFO, "mintws.server")
    with listening(tell, proxy_protocol=HERE, ssl=theirs if secure else None) as server:
        where = f"{'wss' if secure else 'ws'}://localhost:{server.port}/"
        tls = {"ssl": ours} if secure else {}
        sock = proxied(server, HEADER[:5], HEADER[5:-1], HEADER[-1:])
        with connect(where, sock=sock, http=http, **tls) as websocket:
            assert websocket.recv(SOON) == "('192.0.2.1', 50000) 127.0.0.1 True ('198.51.100.2', 443)"
            websocket.send("x" * 300_000)
            assert len(websocket.recv(SOON)) == 300_000
    assert "opened: 192.0.2.1:50000 /" in caplog.text


def test_connections_from_elsewhere_have_no_header():
    with listening(proxy_protocol=["192.0.2.0/24"]) as server, connect(url(server)) as websocket:
        websocket.send("x")
        assert websocket.recv(SOON) == "x"


def test_what_is_malformed_or_late_ends_the_connection_and_is_logged_and_counted(caplog):
    caplog.set_level(logging.INFO, "mintws.server")
    with listening(proxy_protocol=HERE, open_timeout=0.3) as server:
        for sent in (b"GET / HTTP/1.1\r\n", b"PROXY TC"):
            with proxied(server, sent) as sock:
                sock.settimeout(SOON)
                try:
                    assert sock.recv(1) == b""
                except ConnectionResetError:
                    pass
        with proxied(server, b""):
            until(lambda: server.statistics().connections)
        until(lambda: not server.statistics().connections)
        assert server.statistics().refused["proxy"] == 2
    assert "- PROXY header failed: 127.0.0.1:" in caplog.text
    assert "it did not come within 0.3 s" in caplog.text
    assert len(caplog.records) == 2


def test_a_connection_that_is_reset_counts_if_a_part_of_the_header_has_come():
    with listening(proxy_protocol=HERE) as server:
        for sent in (b"", b"PROXY T"):
            sock = proxied(server, sent)
            until(lambda: server.statistics().connections)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            until(lambda: not server.statistics().connections)
        assert server.statistics().refused["proxy"] == 1


def test_connections_are_limited_by_the_addresses_that_headers_tell():
    with listening(tell, proxy_protocol=HERE, max_connections_per_address=1) as server:
        with connect(url(server), sock=proxied(server)):
            with pytest.raises(OSError):
                connect(url(server), sock=proxied(server)).open()
        until(lambda: not server.statistics().connections)


def test_a_server_that_closes_waits_for_no_header():
    with listening(proxy_protocol=HERE) as server, proxied(server, b"PROXY "):
        until(lambda: server.statistics().connections)
        server.close()
        until(lambda: not server.statistics().connections)


def test_headers_of_trusted_proxies_tell_the_client(http):
    def handler(websocket):
        websocket.send(str(websocket.request.peer.address))

    with (
        listening(handler, trusted_proxies=HERE) as server,
        connect(url(server), http=http, headers={"X-Forwarded-For": "192.0.2.1"}) as websocket,
    ):
        assert websocket.recv(SOON) == "('192.0.2.1', 0)"
