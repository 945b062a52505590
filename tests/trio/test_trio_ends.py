"""How connections end on trio that are cut: whoever receives is told, and nothing is written after what was not written whole."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import trio
import trio.testing
from drivers.raw import blocking_server, open_by_hand
from on_trio import Relay, echo, listening
from wire import RST_STREAM, h2_frame

from mintws import ConnectionClosed, Http2, Role, Text
from mintws.trio import connect, connect_http2
from mintws.trio.streamed import StreamTransport

#: A peer is given up soon.
SOON = {"ping_interval": 0.3, "ping_timeout": 0.3, "close_timeout": 0.3}


@pytest.fixture(params=[False, True], ids=["", "tls"])
def both(request, tls_contexts):
    """The contexts of a server and of a client."""
    return tls_contexts if request.param else (None, None)


def where(port: int, context) -> str:
    return f"wss://localhost:{port}/" if context else f"ws://127.0.0.1:{port}/"


async def exchange(websocket) -> None:
    """Have the task that receives read by itself: it waits for each message."""
    for _ in range(10):
        await websocket.send("hello")
        assert await websocket.recv() == "hello"


@pytest.mark.parametrize("how", ["keepalive", "close", "cancelled nursery"])
def test_a_recv_ends_when_its_connection_is_cut(run, http, both, how):
    codes = []

    async def handler(websocket):
        with pytest.raises(ConnectionClosed) as closed:
            await echo(websocket)
        codes.append(closed.value.code)
        ended.set()

    async def main():
        nonlocal ended
        ended = trio.Event()
        async with listening(handler, ssl=both[0], **SOON) as server, trio.open_nursery() as relaying:
            relay = Relay(server.port)
            relaying.start_soon(relay.run)
            async with trio.open_nursery() as nursery:
                opening = connect(where(relay.port, both[1]), http=http, ssl=both[1], nursery=nursery, **SOON)
                websocket = await opening
                await exchange(websocket)
                relay.stop()
                if how == "close":
                    relaying.start_soon(websocket.close)
                if how == "cancelled nursery":
                    relaying.start_soon(cancel_soon, nursery.cancel_scope)
                bound = trio.current_time() + 10
                with pytest.raises(ConnectionClosed) as closed, trio.CancelScope(shield=True, deadline=bound):
                    await websocket.recv()
                assert (closed.value.code, closed.value.clean) == (1006, False)
                await ended.wait()
            relaying.cancel_scope.cancel()
        assert codes == [1006]
        assert not server._tasks

    ended: trio.Event
    run(main)


async def cancel_soon(scope: trio.CancelScope) -> None:
    await trio.sleep(0.1)
    scope.cancel()


def test_nothing_is_written_after_what_was_not_written_whole(run, http, both, monkeypatch):
    written: dict[StreamTransport, bytearray] = {}
    put = StreamTransport._put

    def record(transport, data):
        written.setdefault(transport, bytearray()).extend(data)
        put(transport, data)

    async def main():
        async with listening(ssl=both[0], window=1 << 22, close_timeout=1) as server, trio.open_nursery() as relaying:
            relay = Relay(server.port)
            relaying.start_soon(relay.run)
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
            sock.connect(("127.0.0.1", relay.port))
            async with trio.open_nursery() as nursery:
                target = where(relay.port, both[1])
                opening = connect(target, http=http, sock=sock, ssl=both[1], nursery=nursery, extensions=())
                websocket = await opening
                await exchange(websocket)
                relay.stop()
                nursery.start_soon(websocket.send, bytes(1_000_000))
                await trio.testing.wait_all_tasks_blocked(0.1)
                websocket.send_nowait(bytes(1000), max_unsent=1 << 30)
                # The client could write again, and is cut instead.
                relay.take()
                nursery.cancel_scope.cancel()
            relay.take()
            relaying.cancel_scope.cancel()
        ours = bytes(written[websocket._protocol])
        # A handshake of TLS comes before.
        taken = bytes(relay.taken[relay.taken.index(ours[:32]) :])
        assert len(taken) < len(ours)
        assert ours.startswith(taken)

    monkeypatch.setattr(StreamTransport, "_put", record)
    run(main)


@pytest.mark.parametrize("call", ["wait_closed", "close"])
def test_unread_messages_of_a_stream_do_not_block_its_end_when_the_transport_goes_too(run, call):
    def talk(sock):
        connection = open_by_hand(sock, Http2(Role.SERVER))
        sock.sendall(connection.send(Text("x")) * 3)
        waits.wait(10)
        sock.sendall(h2_frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
        time.sleep(0.2)

    async def main():
        async with (
            connect_http2(f"ws://127.0.0.1:{port}", ping_interval=None) as client,
            trio.open_nursery() as nursery,
        ):
            websocket = await client.open(extensions=())
            assert await websocket.recv() == "x"
            while websocket._waiting < 2:
                await trio.sleep(0.01)

            async def wait():
                with trio.fail_after(5):
                    await getattr(websocket, call)()

            nursery.start_soon(wait)
            await trio.sleep(0.1)
            waits.set()

    waits = threading.Event()
    with blocking_server(talk) as port:
        run(main)
