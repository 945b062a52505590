"""PROXY headers before connections to a server on trio."""

from __future__ import annotations

import logging
import socket
import struct

import pytest
import trio
from on_trio import listening, url

from mintws.trio import connect

HERE = ["127.0.0.1"]
HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n"


def proxied(server, header=HEADER):
    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.sendall(header)
    return sock


async def tell(websocket):
    peer = websocket.request.peer
    await websocket.send(f"{peer.address} {peer.proxy[0]}")
    async for message in websocket:
        await websocket.send(message)


async def until(condition):
    while not condition():
        await trio.sleep(0.01)


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
def test_the_address_is_that_of_the_client(run, http, secure, tls_contexts, caplog):
    theirs, ours = tls_contexts

    async def main():
        async with listening(tell, proxy_protocol=HERE, ssl=theirs if secure else None) as server:
            where = f"{'wss' if secure else 'ws'}://localhost:{server.port}/"
            tls = {"ssl": ours} if secure else {}
            async with connect(where, sock=proxied(server), http=http, **tls) as websocket:
                assert await websocket.recv() == "('192.0.2.1', 50000) 127.0.0.1"
                await websocket.send("x" * 300_000)
                assert len(await websocket.recv()) == 300_000

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(main)
    assert "opened: 192.0.2.1:50000 /" in caplog.text


def test_connections_from_elsewhere_have_no_header(run):
    async def main():
        async with (
            listening(proxy_protocol=["192.0.2.0/24"]) as server,
            connect(url(server)) as websocket,
        ):
            await websocket.send("x")
            assert await websocket.recv() == "x"

    run(main)


def test_what_is_malformed_or_late_ends_the_connection_and_is_logged_and_counted(run, caplog):
    async def main():
        async with listening(proxy_protocol=HERE, open_timeout=0.2) as server:
            for sent in (b"GET / HTTP/1.1\r\n", b"PROXY TC"):
                with proxied(server, sent) as sock:
                    sock.setblocking(False)
                    await trio.lowlevel.wait_readable(sock)
            with proxied(server, b""):
                await until(lambda: server.statistics().connections)
            await until(lambda: not server.statistics().connections)
            assert server.statistics().refused["proxy"] == 2

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(main)
    assert "- PROXY header failed: 127.0.0.1:" in caplog.text
    assert "it did not come within 0.2 s" in caplog.text
    assert len(caplog.records) == 2


def test_a_connection_that_is_reset_counts_if_a_part_of_the_header_has_come(run):
    async def main():
        async with listening(proxy_protocol=HERE) as server:
            for sent in (b"", b"PROXY T"):
                sock = proxied(server, sent)
                await until(lambda: server.statistics().connections)
                await trio.sleep(0.05)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
                await until(lambda: not server.statistics().connections)
            assert server.statistics().refused["proxy"] == 1

    run(main)


def test_connections_are_limited_by_the_addresses_that_headers_tell(run):
    async def main():
        async with listening(tell, proxy_protocol=HERE, max_connections_per_address=1) as server:
            async with connect(url(server), sock=proxied(server)):
                with pytest.raises(OSError):
                    async with connect(url(server), sock=proxied(server)):
                        pass
            await until(lambda: not server.statistics().connections)

    run(main)


def test_a_server_that_closes_waits_for_no_header(run):
    async def main():
        async with listening(proxy_protocol=HERE) as server:
            with proxied(server, b"PROXY "):
                await until(lambda: server.statistics().connections)
                await server.close()
                await until(lambda: not server.statistics().connections)

    run(main)


def test_headers_of_trusted_proxies_tell_the_client(run, http):
    async def main():
        async with listening(tell, trusted_proxies=HERE) as server:
            async with connect(url(server), http=http, headers={"X-Forwarded-For": "192.0.2.1"}) as websocket:
                assert await websocket.recv() == "('192.0.2.1', 0) 127.0.0.1"

    run(main)
