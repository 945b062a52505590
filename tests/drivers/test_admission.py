"""A server refuses connections and handshakes over its limits, logs that, and counts it."""

from __future__ import annotations

import asyncio
import logging

import pytest
from drivers.conftest import listening, until, url
from drivers.raw import raw_client
from wire import RST_STREAM

from mintws import ConnectError, ConnectionClosed, Http2, LocalProtocolError, Role, State, UpgradeError, UpgradeRequest
from mintws.asyncio import connect, connect_http2


def test_connections_of_one_address_over_the_limit_are_closed_at_once(run, http, caplog):
    async def work():
        async with listening(max_connections_per_address=1) as server, connect(url(server), http=http) as first:
            with pytest.raises((ConnectError, OSError)):
                await connect(url(server), http=http)
            async with connect(url(server), http=http, local_addr=("127.0.0.2", 0)) as other:
                for websocket in (first, other):
                    await websocket.send("x")
                    assert await websocket.recv() == "x"
            assert server.statistics().refused["max_connections_per_address"] >= 1

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert "- refused: 127.0.0.1:" in caplog.text
    assert "there are 1 connections from this address" in caplog.text


def test_tls_handshakes_over_the_limit_are_not_begun(run, tls_contexts, caplog):
    theirs, ours = tls_contexts

    async def work():
        async with listening(max_handshakes=1, ssl=theirs) as server:
            _, silent = await raw_client(server, head=b"")
            await until(lambda: server.statistics().handshakes == 1)
            wss = f"wss://localhost:{server.port}/"
            with pytest.raises((ConnectError, OSError)):
                await connect(wss, host="127.0.0.1", port=server.port, ssl=ours)
            silent.transport.abort()
            await until(lambda: server.statistics().handshakes == 0)
            async with connect(wss, host="127.0.0.1", port=server.port, ssl=ours) as websocket:
                await websocket.send("x")
                assert await websocket.recv() == "x"
            counted = server.statistics().refused
            assert (counted["max_handshakes"], counted["tls"]) == (1, 1)

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert "there are 1 TLS handshakes under way" in caplog.text


def test_a_tls_handshake_that_the_server_cuts_off_is_none_that_failed(run, tls_contexts, caplog):
    async def work():
        async with listening(ssl=tls_contexts[0]) as server:
            _, writer = await raw_client(server, head=b"")
            await until(lambda: server.statistics().handshakes)
            await server.close()
            await until(lambda: not server.statistics().connections)
            assert server.statistics().refused["tls"] == 0
            writer.transport.abort()

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert "TLS" not in caplog.text


def test_a_tls_handshake_that_has_failed_is_no_longer_under_way(run, tls_contexts):
    async def work():
        async with listening(max_handshakes=1, ssl=tls_contexts[0]) as server:
            _, writer = await raw_client(server, head=b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: server.statistics().refused["tls"])
            now = server.statistics()
            assert (now.connections, now.handshakes) == (1, 0)
            writer.transport.abort()

    run(work())


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
def test_connections_in_their_tls_handshake_count(run, tls_contexts, secure):
    async def work():
        async with listening(max_connections=1, ssl=tls_contexts[0] if secure else None) as server:
            _, silent = await raw_client(server, head=b"")
            await until(lambda: server._is_full)
            reader, writer = await raw_client(server, head=b"")
            assert await reader.read() == b""
            writer.close()
            silent.transport.abort()
            await until(lambda: not server._is_full)

    run(work())


def test_opening_handshakes_over_the_limit_are_refused_with_503_and_when_to_ask_again(run, caplog):
    async def work():
        async with listening(upgrade=slow, max_handshakes=1) as server:
            first = asyncio.ensure_future(connect(url(server), http="1.1")._connect())
            await until(lambda: server.statistics().handshakes == 1)
            with pytest.raises(UpgradeError) as refused:
                await connect(url(server), http="1.1")
            assert refused.value.status == 503
            assert refused.value.headers["Retry-After"] == "5"
            end.set()
            websocket = await first
            await (await connect(url(server), http="1.1")).close()
            await websocket.close()
            assert server.statistics().refused["max_handshakes"] == 1

    async def slow(connection, request):
        await end.wait()

    end = asyncio.Event()
    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert "refused: 127.0.0.1" in caplog.text and "too many handshakes are under way" in caplog.text


def test_opening_handshakes_over_the_limit_are_refused_so_that_they_may_be_repeated_over_http2(run):
    async def work():
        async with listening(upgrade=slow, max_handshakes=1) as server:
            async with connect_http2(url(server)) as client:
                first = asyncio.ensure_future(client.open("/first"))
                await until(lambda: server.statistics().handshakes == 1)
                with pytest.raises(ConnectError, match="REFUSED_STREAM"):
                    await client.open("/second")
                end.set()
                websocket = await first
                await websocket.send("x")
                assert await websocket.recv() == "x"
                await (await client.open("/third")).close()
        assert seen == ["/first", "/third"]

    async def slow(connection, request):
        seen.append(request.target)
        await end.wait()

    seen = []

    end = asyncio.Event()
    run(work())


def test_a_request_that_is_refused_unprocessed_is_reset_with_refused_stream():
    client, server = Http2(Role.CLIENT), Http2(Role.SERVER)
    ours, theirs = client.start(), server.start()
    server.receive(ours)
    client.receive(theirs)
    [(theirs, _)], _ = server.receive(client.open().send(UpgradeRequest("example.com")))
    frames = theirs.refuse()
    assert frames[3] == RST_STREAM
    assert frames[-4:] == (7).to_bytes(4, "big")
    assert theirs.state is State.CLOSED


@pytest.mark.parametrize(
    "headers", [[("x-a", "b" * 70_000)], [(f"x-{i}", "b") for i in range(600)]], ids=["bytes", "fields"]
)
def test_a_header_list_over_the_limit_ends_the_connection_and_is_counted(run, headers):
    async def work():
        async with listening() as server:
            async with connect_http2(url(server)) as client:
                with pytest.raises((ConnectError, ConnectionClosed)):
                    await client.request("GET", "/", headers=headers)
            assert server.statistics().refused["invalid"] == 1

    run(work())


@pytest.mark.parametrize("name", ["max_connections_per_address", "max_handshakes"])
@pytest.mark.parametrize(("value", "error"), [(0, LocalProtocolError), ("5", TypeError)])
def test_a_limit_that_is_none_is_refused_where_it_is_given(name, value, error):
    with pytest.raises(error, match=name):
        listening(**{name: value})


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 33000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 600 + b"\r\n",
    ],
    ids=["bytes", "lines"],
)
def test_a_head_over_the_limit_is_refused_and_counted(run, head):
    async def work():
        async with listening() as server:
            reader, writer = await raw_client(server, head=head)
            assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
            writer.close()
            assert server.statistics().refused["invalid"] == 1

    run(work())
