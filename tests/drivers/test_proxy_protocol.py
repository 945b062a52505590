"""A server takes the address of the client from the PROXY header of a trusted proxy, before TLS and before all else."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct

import pytest
from drivers.conftest import listening, until, url
from drivers.raw import raw_client
from wire import REQUEST

from mintws.asyncio import connect, serve

HERE = ["127.0.0.1"]
HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x12"
    + socket.inet_aton("192.0.2.1")
    + socket.inet_aton("198.51.100.2")
    + b"\xc3\x50\x01\xbb"
    + b"\x02\x00\x03abc"
)


async def behind_header(server, header=HEADER, **options):
    """Connect as a proxy does."""
    sock = socket.socket()
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", server.port))
    await loop.sock_sendall(sock, header)
    secure = "ssl" in options
    return await connect(f"{'wss' if secure else 'ws'}://localhost:{server.port}/", sock=sock, **options)


async def tell(websocket):
    transport = websocket.transport
    peer = websocket.request.peer
    for it in (peer.address, peer.proxy, transport.get_extra_info("peername"), transport.get_extra_info("sockname")):
        await websocket.send(str(it))
    async for message in websocket:
        await websocket.send(message)


@pytest.mark.parametrize("header", [HEADER, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
def test_the_address_is_that_of_the_client(run, http, secure, header, tls_contexts, caplog):
    theirs, ours = tls_contexts

    async def work():
        tls = {"ssl": theirs} if secure else {}
        async with listening(tell, proxy_protocol=HERE, **tls) as server:
            websocket = await behind_header(server, header, http=http, **({"ssl": ours} if secure else {}))
            async with websocket:
                told = [await websocket.recv() for _ in range(4)]
                client = "('192.0.2.1', 50000)"
                assert (told[0], told[2], told[3]) == (client, client, "('198.51.100.2', 443)")
                assert told[1].startswith("('127.0.0.1', ")
                await websocket.send("x" * 300_000)
                assert len(await websocket.recv()) == 300_000

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert "opened: 192.0.2.1:50000 /" in caplog.text


@pytest.mark.parametrize("size", [1, 20, 10_000])
@pytest.mark.parametrize("header", [HEADER, V2], ids=["v1", "v2"])
def test_bytes_that_come_with_the_header_are_kept_however_they_are_cut(run, header, size):
    async def work():
        async with listening(tell, proxy_protocol=HERE) as server:
            reader, writer = await raw_client(server, head=b"")
            data = header + REQUEST + b"\r\n"
            for at in range(0, len(data), size):
                writer.write(data[at : at + size])
                await asyncio.sleep(0)
            assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
            writer.transport.abort()

    run(work())


def test_tlvs_are_told(run):
    async def handler(websocket):
        await websocket.send(repr(websocket.request.peer.tlvs))

    async def work():
        async with listening(handler, proxy_protocol=HERE) as server:
            assert await (await behind_header(server, V2)).recv() == "((2, b'abc'),)"

    run(work())


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"], ids=["v1", "LOCAL"]
)
def test_without_an_address_the_peer_is_the_proxy(run, header):
    async def work():
        async with listening(tell, proxy_protocol=HERE) as server:
            websocket = await behind_header(server, header)
            told = [await websocket.recv() for _ in range(4)]
            assert told[0] == told[2] and told[0].startswith("('127.0.0.1', ") and told[1] == "None"
            await websocket.close()

    run(work())


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
def test_connections_from_elsewhere_have_no_header(run, secure, tls_contexts):
    theirs, ours = tls_contexts

    async def work():
        async with listening(tell, proxy_protocol=["192.0.2.0/24"], ssl=theirs if secure else None) as server:
            options = {"ssl": ours, "host": "127.0.0.1", "port": server.port} if secure else {}
            where = f"wss://localhost:{server.port}/" if secure else url(server)
            async with connect(where, **options) as websocket:
                assert (await websocket.recv()).startswith("('127.0.0.1', ")
            reader, writer = await raw_client(server, head=b"")
            writer.write(HEADER + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not (await reader.read(100)).startswith(b"HTTP/1.1 426")
            writer.close()

    run(work())


@pytest.mark.parametrize(
    "sent", [REQUEST, b"PROXY TCP4 1.2.3.4\r\n" + REQUEST, b"\r\n\r\n\x00\r\nQUIT\n\x33"], ids=["none", "v1", "v2"]
)
def test_a_malformed_header_ends_the_connection_and_is_logged_and_counted(run, sent, caplog):
    async def work():
        async with listening(proxy_protocol=HERE) as server:
            reader, writer = await raw_client(server, head=b"")
            writer.write(sent)
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
            writer.close()
            await until(lambda: not server.statistics().connections)
            assert server.statistics().refused["proxy"] == 1

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert caplog.text.count("- PROXY header failed: 127.0.0.1:") == 1


def test_a_header_that_does_not_come_is_waited_for_as_long_as_a_handshake(run, caplog):
    async def work():
        async with listening(proxy_protocol=HERE, open_timeout=0.2) as server:
            reader, writer = await raw_client(server, head=b"PROXY ")
            assert await reader.read() == b""
            writer.close()
            assert server.statistics().refused["proxy"] == 1
            await until(lambda: not server.statistics().connections)

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert "it did not come within 0.2 s" in caplog.text


def test_a_check_that_connects_and_says_nothing_is_not_logged(run, caplog):
    async def work():
        async with listening(proxy_protocol=HERE) as server:
            for _ in range(3):
                _, writer = await raw_client(server, head=b"")
                await until(lambda: server.statistics().connections)
                writer.close()
                await until(lambda: not server.statistics().connections)
            assert server.statistics().refused["proxy"] == 0

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert not caplog.records


def test_a_connection_that_is_reset_counts_if_a_part_of_the_header_has_come(run, caplog):
    async def work():
        async with listening(proxy_protocol=HERE) as server:
            for sent in (b"", b"PROXY T"):
                sock = socket.create_connection(("127.0.0.1", server.port))
                sock.sendall(sent)
                await until(lambda: server.statistics().connections)
                await asyncio.sleep(0.05)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
                await until(lambda: not server.statistics().connections)
            assert server.statistics().refused["proxy"] == 1

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert caplog.text.count("- PROXY header failed: 127.0.0.1:") == 1


def test_connections_are_limited_by_the_addresses_that_headers_tell(run, caplog):
    async def work():
        async with listening(tell, proxy_protocol=HERE, max_connections_per_address=1) as server:
            first = await behind_header(server)
            with pytest.raises(OSError):
                await behind_header(server)
            second = await behind_header(server, HEADER.replace(b"192.0.2.1", b"192.0.2.9"))
            await first.close()
            await second.close()
            await until(lambda: not server.statistics().connections)
            await (await behind_header(server)).close()
            assert server.statistics().refused["max_connections_per_address"] == 1

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert "- refused: 192.0.2.1:50000: there are 1 connections from this address" in caplog.text


def test_a_server_that_closes_waits_for_no_header(run):
    async def work():
        async with listening(proxy_protocol=HERE) as server:
            reader, writer = await raw_client(server, head=b"PROXY ")
            await until(lambda: server.statistics().connections)
            await server.close()
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
            writer.close()
            await until(lambda: not server.statistics().connections)

    run(work())


def test_a_failed_tls_handshake_is_logged_with_the_address_of_the_client(run, tls_contexts, caplog):
    async def work():
        async with listening(proxy_protocol=HERE, ssl=tls_contexts[0]) as server:
            with pytest.raises((ssl.SSLError, OSError)):
                await behind_header(server, ssl=ssl.create_default_context())
            await until(lambda: server.statistics().refused["tls"])

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert "- TLS handshake failed: 192.0.2.1:50000: " in caplog.text


def test_what_is_no_network_is_refused_where_it_is_given():
    with pytest.raises(TypeError, match="proxy_protocol"):
        listening(proxy_protocol="10.0.0.0/8")


def test_a_proxy_may_connect_to_a_unix_socket(run, tmp_path, http):
    async def handler(websocket):
        await websocket.send(str(websocket.request.peer.address))

    async def work():
        path = str(tmp_path / "socket")
        async with serve(handler, path=path, proxy_protocol=["unix"]):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            sock.sendall(HEADER)
            async with connect("ws://localhost/", sock=sock, http=http) as websocket:
                assert await websocket.recv() == "('192.0.2.1', 50000)"
        async with serve(handler, path=path, trusted_proxies=["unix"]):
            async with connect(
                "ws://localhost/", path=path, http=http, headers={"X-Forwarded-For": "1.2.3.4"}
            ) as websocket:
                assert await websocket.recv() == "('1.2.3.4', 0)"

    run(work())
