"""A server on trio that is given its connections: streams that were accepted elsewhere, or that have no socket."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from on_trio import echo, listening
from trio.testing import memory_stream_pair

from mintws import ConnectionClosed, LocalProtocolError
from mintws.events import Response
from mintws.trio import connect, connect_http2, serve


@pytest.fixture(params=["clear", "tls"])
def secured(request, tls_contexts):
    """The contexts of a server and of its clients, or none."""
    return (None, None) if request.param == "clear" else tls_contexts


def scheme(context):
    return "ws" if context is None else "wss"


def test_a_stream_in_memory_is_served(run, http, secured):
    server_tls, client_tls = secured

    async def main():
        async with serve(echo, listen=False, ssl=server_tls) as server, trio.open_nursery() as nursery:
            assert (server.port, server.sockets) == (0, ())
            ours, theirs = memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs)
            place = f"{scheme(client_tls)}://localhost/"
            async with connect(place, http=http, stream=ours, ssl=client_tls) as websocket:
                for message in ("hello", "x" * 200_000):
                    await websocket.send(message)
                    assert await websocket.recv() == message
                assert len(server.websockets) == 1
            # The call has returned, or the nursery would not end; the stream is closed.
        with pytest.raises(trio.ClosedResourceError):
            await theirs.send_all(b"x")

    run(main)


def test_a_listener_of_trio_hands_its_connections_on(run, http):
    async def main():
        async with (
            serve(echo, listen=False, respond=lambda request: Response(200, body=b"ordinary")) as server,
            trio.open_nursery() as nursery,
        ):
            listeners = await nursery.start(partial(trio.serve_tcp, server.serve_stream, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            place = f"ws://127.0.0.1:{port}/"
            async with connect(place, http=http) as one, connect(place, http=http) as other:
                for websocket in (one, other):
                    await websocket.send("hello")
                    assert await websocket.recv() == "hello"
                (address,) = {it.request.peer.address[0] for it in server.websockets}
                assert address == "127.0.0.1"
            async with connect_http2(f"http://127.0.0.1:{port}") as client:
                assert (await client.request("GET", "/")).body == b"ordinary"
            nursery.cancel_scope.cancel()

    run(main)


def test_a_server_that_listens_takes_streams_too(run):
    async def main():
        async with listening() as server, trio.open_nursery() as nursery:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs)
            async with (
                connect("ws://localhost/", stream=ours) as one,
                connect(f"ws://127.0.0.1:{server.port}/") as other,
            ):
                assert len(server.websockets) == 2
                for websocket in (one, other):
                    await websocket.send("hello")
                    assert await websocket.recv() == "hello"

    run(main)


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancelled_call_cuts_the_connection(run, http, begun, secured):
    server_tls, client_tls = secured

    async def main():
        async with serve(echo, listen=False, ssl=server_tls) as server, trio.open_nursery() as nursery:
            ours, theirs = memory_stream_pair()
            scope = trio.CancelScope()

            async def carry():
                with scope:
                    await server.serve_stream(theirs)
                ended.set()

            ended = trio.Event()
            nursery.start_soon(carry)
            if not begun:
                # Nothing comes: over TLS not even the beginning of the handshake.
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
            else:
                place = f"{scheme(client_tls)}://localhost/"
                async with connect(place, http=http, stream=ours, ssl=client_tls) as websocket:
                    scope.cancel()
                    with pytest.raises(ConnectionClosed) as closed:
                        await websocket.recv()
                    assert closed.value.code == 1006
            await ended.wait()
            assert not server._protocols and not server.websockets
            with pytest.raises(trio.ClosedResourceError):
                await theirs.send_all(b"x")

    run(main)


def test_closing_the_server_ends_what_it_was_given(run, http):
    async def main():
        async with serve(echo, listen=False) as server, trio.open_nursery() as nursery:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs)
            async with connect("ws://localhost/", http=http, stream=ours) as websocket:
                nursery.start_soon(server.close, 1012, "again later")
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
                assert (closed.value.code, closed.value.reason) == (1012, "again later")

    run(main)


def test_a_server_that_has_not_begun_takes_no_stream(run):
    async def main():
        _, theirs = memory_stream_pair()
        with pytest.raises(LocalProtocolError, match="the server has not begun"):
            await serve(echo, listen=False)._server.serve_stream(theirs)
        with pytest.raises(trio.ClosedResourceError):
            await theirs.send_all(b"x")

    run(main)


def test_a_late_client_does_not_end_what_is_drained(run, http):
    async def main():
        async with serve(echo, listen=False) as server, trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, server.serve_stream, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}/", http=http) as websocket:
                nursery.start_soon(server.drain, None)
                await trio.testing.wait_all_tasks_blocked()
                async with await trio.open_tcp_stream("127.0.0.1", port) as late:
                    assert await late.receive_some(1) == b""
                await websocket.send("still")
                assert await websocket.recv() == "still"
            await server.wait_closed()
            nursery.cancel_scope.cancel()

    run(main)


def test_a_failing_stream_does_not_end_the_server(run):
    class Failing:
        async def receive_some(self, max_bytes=None):
            raise ValueError("it fails")

        async def send_all(self, data):
            await trio.lowlevel.checkpoint()

        async def aclose(self):
            closed.append(True)

    closed: list[bool] = []

    async def main():
        async with serve(echo, listen=False) as server, trio.open_nursery() as nursery:
            await server.serve_stream(Failing())
            assert closed
            ours, theirs = memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs)
            async with connect("ws://localhost/", stream=ours) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"

    run(main)


@pytest.mark.parametrize(
    "place", [{"host": "127.0.0.1", "port": 0}, {"path": "socket"}, {"port": 0}, {"reuse_port": True}, {"backlog": 5}]
)
def test_a_server_that_listens_nowhere_names_no_place(place):
    with pytest.raises(LocalProtocolError, match="listen=False listens nowhere"):
        serve(echo, listen=False, **place)
