"""Limits and counters of a server on trio."""

from __future__ import annotations

import socket

import pytest
import trio
from on_trio import listening, url

from mintws import ConnectError, UpgradeError
from mintws.trio import connect, connect_http2


async def until(condition):
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


@pytest.mark.parametrize(("most", "size"), [(2000, 3000), (200_000, 150_000)])
def test_a_head_is_taken_up_to_max_header_size(run, http, most, size):
    async def main():
        async with listening(max_header_size=most) as server:
            async with connect(url(server), http=http) as first:
                headers = [("X", "a" * size)]
                if size < most:
                    async with connect(url(server), http=http, headers=headers) as second:
                        await second.ping()
                else:
                    with pytest.raises(ConnectError) as refused:
                        async with connect(url(server), http=http, headers=headers):
                            pass
                    assert http == "2" or (isinstance(refused.value, UpgradeError) and refused.value.status == 431)
                await first.ping()

    run(main)


def test_limits_refuse_what_is_over_them_and_that_is_counted(run, http):
    async def upgrade(connection, request):
        if request.target == "/slow":
            await end.wait()

    async def main():
        async with listening(upgrade=upgrade, max_connections_per_address=1, max_handshakes=1) as server:
            async with connect(url(server), http=http, local_addr=("127.0.0.2", 0)):
                with pytest.raises((ConnectError, OSError)):
                    async with connect(url(server), http=http, local_addr=("127.0.0.2", 0)):
                        pass
            async with trio.open_nursery() as nursery, connect_http2(url(server)) as client:
                nursery.start_soon(client.open, "/slow")
                await until(lambda: server.statistics().handshakes == 1)
                with pytest.raises(ConnectError, match="REFUSED_STREAM"):
                    await client.open("/")
                with pytest.raises(UpgradeError) as refused:
                    async with connect(url(server), http="1.1", local_addr=("127.0.0.3", 0)):
                        pass
                assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "5")
                end.set()
                await (await client.open("/")).close()
            counted = server.statistics().refused
            assert (counted["max_connections_per_address"], counted["max_handshakes"]) == (1, 2)
            await until(lambda: server.statistics().connections == 0)

    end = trio.Event()
    run(main)


def test_tls_handshakes_over_the_limit_are_not_begun(run, tls_contexts):
    theirs, ours = tls_contexts

    async def main():
        async with listening(max_handshakes=1, ssl=theirs) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as silent:
                await until(lambda: server.statistics().handshakes == 1)
                with pytest.raises((ConnectError, OSError)):
                    async with connect(f"wss://localhost:{server.port}/", host="127.0.0.1", port=server.port, ssl=ours):
                        pass
                silent.close()
            await until(lambda: server.statistics().handshakes == 0)
            async with connect(f"wss://localhost:{server.port}/", host="127.0.0.1", port=server.port, ssl=ours):
                assert server.statistics().connections == 1
            assert server.statistics().refused["max_handshakes"] == 1

    run(main)


def test_what_passes_is_counted(run, http):
    async def main():
        async with listening() as server:
            async with connect(url(server), http=http) as websocket:
                await websocket.send("abcd" * 5000)
                await websocket.recv()
                found = server.statistics()
                assert (found.websockets, found.messages_received, found.bytes_sent) == (1, 1, 20000)
                assert 10 < found.compressed_bytes_sent < 1000
            await until(lambda: server.statistics().closed == {1000: 1})
            assert server.statistics().bytes_received == 20000

    run(main)


def test_a_tls_handshake_that_has_failed_is_no_longer_under_way(run, tls_contexts):
    async def main():
        async with listening(max_handshakes=1, ssl=tls_contexts[0]) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                await until(lambda: server.statistics().refused["tls"])
                now = server.statistics()
                assert (now.connections, now.handshakes) == (1, 0)

    run(main)
