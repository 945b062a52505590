"""A transport that the caller brings: a proxy's tunnel, with TLS or without, and TLS in TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest
import trustme
from drivers.conftest import echo, listening, url

from mintws import ConnectError, ConnectionClosed, LocalProtocolError, State
from mintws.asyncio import connect, connect_http2

MUCH = 3_000_000
BOUND = 10.0


async def pump(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def proxy(context=None):
    """Serve a proxy that knows CONNECT (RFC 9110 §9.3.6), over TLS if there is a context; give its port."""
    serving = set()

    async def serve_one(reader, writer):
        serving.add(asyncio.current_task())
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b" ", 2)
        assert method == b"CONNECT"
        host, _, port = target.rpartition(b":")
        there = await asyncio.open_connection(host.decode(), int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
        for each in (writer, there[1]):
            with contextlib.suppress(OSError):
                await each.wait_closed()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
        if serving:
            await asyncio.wait(serving, timeout=BOUND)


async def tunnel(port, server, context=None):
    """Connect through the proxy; give the writer."""
    name = {"server_hostname": "localhost"} if context is not None else {}
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, **name)
    writer.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % server.port)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    return writer


@pytest.fixture(params=["TCP", "TLS"])
def outer(request, tls_contexts):
    """TLS contexts of the proxy and of its client, or none."""
    if request.param == "TCP":
        return None, None
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority = trustme.CA()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_a_websocket_passes_a_tunnel(run, http, outer, tls_contexts, secure):
    theirs, ours = tls_contexts if secure else (None, None)
    message = bytes(range(256)) * (MUCH // 256)

    async def work():
        async with listening(echo, ssl=theirs, limit=None) as server, proxy(outer[0]) as port:
            writer = await tunnel(port, server, outer[1])
            at = f"wss://localhost:{server.port}" if secure else url(server)
            options = {"ssl": ours, "transport": writer.transport, "limit": None}
            async with connect(at, http=http, **options) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
                await websocket.send(message)
                assert await websocket.recv() == message
                assert websocket.http_version == http
                inner = websocket.transport.get_extra_info("ssl_object")
                assert (inner is not None) is (secure or outer[1] is not None)
                if secure:
                    assert inner.context is ours
                assert websocket.transport.get_extra_info("peername") == ("127.0.0.1", port)
            assert (websocket.close_code, websocket.state) == (1000, State.CLOSED)
            await websocket._protocol.gone
            del writer

    run(work())


def test_many_websockets_pass_a_tunnel_with_tls_in_tls(run, tls_contexts):
    # Both handshakes are made with the same contexts.
    async def work():
        async with listening(echo, ssl=tls_contexts[0]) as server, proxy(tls_contexts[0]) as port:
            writer = await tunnel(port, server, tls_contexts[1])
            at = f"wss://localhost:{server.port}"
            async with connect_http2(at, ssl=tls_contexts[1], transport=writer.transport) as client:
                websockets = [await client.open() for _ in range(5)]
                for number, websocket in enumerate(websockets):
                    await websocket.send(str(number) * 100_000)
                for number, websocket in enumerate(websockets):
                    assert await websocket.recv() == str(number) * 100_000
            del writer

    run(work())


def test_tls_of_the_callers_own_is_used_as_it_is(run, http, tls_contexts):
    theirs, ours = tls_contexts

    async def work():
        ours.set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
        async with listening(echo, ssl=theirs) as server:
            loop = asyncio.get_running_loop()
            plain, protocol = await loop.create_connection(asyncio.Protocol, "127.0.0.1", server.port)
            transport = await loop.start_tls(plain, protocol, ours, server_hostname="localhost")
            async with connect(f"ws://localhost:{server.port}", http=http, transport=transport) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
                assert websocket.transport is transport
            assert websocket.close_code == 1000

    run(work())


def test_a_certificate_is_checked_within_a_tunnel_too(run, http, outer, tls_contexts):
    async def work():
        async with listening(ssl=tls_contexts[0]) as server, proxy(outer[0]) as port:
            writer = await tunnel(port, server, outer[1])
            with pytest.raises(ConnectError) as failed:
                await connect(
                    f"wss://elsewhere.example:{server.port}", http=http, ssl=tls_contexts[1], transport=writer.transport
                )
            assert isinstance(failed.value.__cause__, ssl.SSLCertVerificationError)
            assert writer.transport.is_closing()
            del writer

    run(work())


def test_a_tunnel_that_ends_within_the_handshake_is_told(run, tls_contexts):
    async def leave(reader, writer):
        await reader.read(1)
        writer.transport.abort()

    async def work():
        async with await asyncio.start_server(leave, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            with pytest.raises(ConnectError):
                await connect("wss://localhost/", ssl=tls_contexts[1], transport=writer.transport)
            del reader, writer

    run(work())


def test_a_tunnel_that_is_cut_ends_the_websocket(run, http, tls_contexts):
    async def work():
        async with listening(ssl=tls_contexts[0]) as server, proxy() as port:
            writer = await tunnel(port, server)
            options = {"http": http, "ssl": tls_contexts[1], "transport": writer.transport}
            async with connect(f"wss://localhost:{server.port}", **options) as websocket:
                writer.transport.abort()
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
                assert closed.value.code == 1006

    run(work())


def test_a_wrong_transport_is_refused_where_it_is_given(run):
    async def work():
        for call in (connect, connect_http2):
            with pytest.raises(TypeError, match=r"transport is an asyncio\.Transport, not 'tunnel'"):
                call("ws://localhost/", transport="tunnel")
        async with listening() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for options in ({"host": "127.0.0.1"}, {"port": 80}, {"path": "/tmp/socket"}):
                with pytest.raises(LocalProtocolError, match="instead of"):
                    connect("ws://localhost/", transport=writer.transport, **options)
            writer.close()
            with pytest.raises(LocalProtocolError, match="closed already"):
                connect("ws://localhost/", transport=writer.transport)
            await writer.wait_closed()
            del reader

    run(work())
