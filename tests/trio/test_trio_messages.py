"""Messages on trio: what is sent comes, whole and in order, in each of the ways to send it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import MappingProxyType

import pytest
import trio
import trio.testing
from drivers.batches import echo_in_a_batch, talk_in_a_batch
from drivers.raw import blocking_server
from on_trio import listening, url
from wire import SETTINGS, h2_frame

from mintws import (
    Binary,
    Close,
    ConnectionClosed,
    Http2,
    LocalProtocolError,
    Ping,
    PreparedMessage,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeRequest,
)
from mintws.events import RequestStarted, Response
from mintws.trio import connect, connect_http2


def test_all_kinds_of_messages_come_back(run, http):
    async def fragments() -> AsyncIterator[bytes]:
        for part in (b"one ", b"by ", b"one"):
            yield part

    async def main():
        async with listening() as server, connect(url(server), http=http) as websocket:
            assert websocket.http_version == http
            for message in ("text", b"binary", "", b"x" * 1_000_000):
                await websocket.send(message)
                assert await websocket.recv() == message
            await websocket.send(Text("event"))
            assert await websocket.recv_event() == Text("event")
            await websocket.send(PreparedMessage(Binary(b"prepared")), compress=False)
            assert await websocket.recv() == b"prepared"
            await websocket.send(memoryview(b"view"))
            assert await websocket.recv() == b"view"
            await websocket.send(["in ", "fragments"])
            assert await websocket.recv() == "in fragments"
            await websocket.send(fragments())
            assert await websocket.recv() == b"one by one"
            assert 0 < await websocket.ping(b"data") < 20
            assert websocket.latency is not None and websocket.unsent == 0
        assert (websocket.close_code, websocket.state) == (1000, State.CLOSED)

    run(main)


def test_a_burst_is_answered_in_order_and_written_together(run, http):
    async def main():
        async with listening() as server, connect(url(server), http=http) as websocket:
            for _ in range(3):
                await websocket.send_many([str(number) for number in range(1000)])
                with websocket.batch():
                    for number in range(1000, 2000):
                        await websocket.send(str(number))
                assert [await websocket.recv() for _ in range(2000)] == [str(number) for number in range(2000)]

    run(main)


def test_a_receive_that_waits_writes_what_a_batch_holds_back(run, http):
    async def main():
        async with listening(echo_in_a_batch) as server, connect(url(server), http=http) as websocket:
            await talk_in_a_batch(websocket)

    run(main)


def test_frames_of_a_burst_are_written_when_the_task_waits_for_something_else(run, http):
    async def handler(websocket):
        await websocket.recv()
        await websocket.send("answer to the first of three")
        await done.wait()

    async def main():
        nonlocal done
        done = trio.Event()
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            await websocket.send_many(["1", "2", "3"])
            assert await websocket.recv() == "answer to the first of three"
            done.set()

    done: trio.Event
    run(main)


def test_iteration_ends_with_a_clean_close_and_raises_for_another(run, http):
    async def handler(websocket):
        await websocket.send("last")
        await websocket.close(1001 if websocket.request.target == "/clean" else 4000, "why")

    async def main():
        async with listening(handler) as server:
            async with connect(url(server, "/clean"), http=http) as websocket:
                assert [message async for message in websocket] == ["last"]
            async with connect(url(server, "/other"), http=http) as websocket:
                with pytest.raises(ConnectionClosed, match="the peer closed with 4000: why"):
                    async for _ in websocket:
                        pass
                with pytest.raises(ConnectionClosed):
                    await websocket.send("late")

    run(main)


def test_one_task_receives(run):
    async def main():
        async with listening() as server, connect(url(server)) as websocket, trio.open_nursery() as nursery:
            nursery.start_soon(websocket.recv)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(LocalProtocolError, match="another task is receiving already"):
                await websocket.recv()
            await websocket.send("for the one that waits")

    run(main)


def test_messages_of_others_wait_for_the_end_of_one_in_fragments(run, http):
    async def slow() -> AsyncIterator[str]:
        yield "a"
        others.start_soon(websocket.send, "after it")
        await trio.testing.wait_all_tasks_blocked()
        yield "b"

    async def main():
        nonlocal others, websocket
        async with listening() as server, connect(url(server), http=http) as websocket:
            async with trio.open_nursery() as others:
                await websocket.send(slow())
            assert [await websocket.recv(), await websocket.recv()] == ["ab", "after it"]

    others = websocket = None
    run(main)


def test_an_unfinished_message_closes_with_1011(run, http):
    def broken():
        yield "begun"
        raise ValueError("no more")

    async def handler(websocket):
        await websocket.wait_closed()
        ended.append(websocket.close_code)

    async def main():
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            with pytest.raises(ValueError, match="no more"):
                await websocket.send(broken())
            await websocket.wait_closed()

    ended: list[int] = []
    run(main)
    assert ended == [1011]


@pytest.mark.parametrize("message", [Ping(b""), {"a": "b"}, MappingProxyType({"a": "b"}), 1, [], ["text", b"bytes"]])
def test_what_is_no_message_is_a_type_error(run, message):
    async def main():
        async with listening() as server, connect(url(server)) as websocket:
            with pytest.raises(TypeError):
                await websocket.send(message)
            with pytest.raises(TypeError, match="and this is one"):
                await websocket.send_many("news")
            for messages in ({"a": 1}, MappingProxyType({"a": 1})):
                with pytest.raises(TypeError, match=r"an iterable of messages, not (dict|mappingproxy)"):
                    await websocket.send_many(messages)

    run(main)


def test_send_waits_while_the_peer_takes_nothing(run, http):
    async def handler(websocket):
        await go_on.wait()
        async for message in websocket:
            received.append(len(message))

    async def main():
        nonlocal go_on
        go_on = trio.Event()
        sent = 0
        async with listening(handler) as server, connect(url(server), http=http, extensions=()) as websocket:
            with trio.move_on_after(0.5) as scope:
                while True:
                    sent += 1
                    await websocket.send(b"x" * 100_000)
            assert scope.cancelled_caught and websocket.unsent > 0
            go_on.set()
            await websocket.send("then")
            await websocket.close()
        assert received == [*[100_000] * sent, 4]

    go_on: trio.Event
    received: list[int] = []
    run(main)


@pytest.mark.parametrize("secure", [False, True])
def test_the_stream_is_read_again_when_what_has_waited_is_taken(run, http, secure, tls_contexts):
    """What has waited, undecoded, is decoded by who receives it: the task that reads has to go on then too."""
    server_tls, client_tls = tls_contexts if secure else (None, None)
    count = 5000

    async def handler(websocket):
        await websocket.send_many(["x" * 60] * count)
        assert await websocket.recv() == "all"
        with trio.fail_after(10):
            pongs.append(await websocket.ping())
        answered.set()
        await websocket.wait_closed()

    async def main():
        nonlocal answered
        answered = trio.Event()
        async with listening(handler, ssl=server_tls) as server:
            address = f"{'wss' if secure else 'ws'}://localhost:{server.port}/"
            async with connect(address, http=http, ssl=client_tls, extensions=()) as websocket:
                await trio.sleep(0.1)
                for _ in range(count):
                    with trio.fail_after(10):
                        await websocket.recv()
                await websocket.send("all")
                # Nobody receives now.
                with trio.fail_after(10):
                    await answered.wait()
            assert websocket.close_code == 1000

    answered: trio.Event
    pongs: list[float] = []
    run(main)
    assert len(pongs) == 1


def test_a_reader_that_is_slow_pauses_the_peer_and_loses_nothing(run, http):
    async def handler(websocket):
        for number in range(5000):
            await websocket.send(f"{number:0500}")

    async def main():
        async with listening(handler) as server, connect(url(server), http=http, extensions=()) as websocket:
            await trio.sleep(0.2)
            assert websocket._waiting < 1000
            assert [int(message) async for message in websocket] == list(range(5000))

    run(main)


def test_many_websockets_share_a_connection(run):
    async def talk(client, number):
        async with await client.open(f"/{number}") as websocket:
            for text in ("a", "b", "c"):
                await websocket.send(f"{number}{text}")
                assert await websocket.recv() == f"{number}{text}"

    async def main():
        async with listening() as server, connect_http2(url(server)) as client:
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(talk, client, number)

    run(main)


def test_room_for_a_stream_that_comes_after_many_frames_in_one_chunk_is_noticed(run):
    def limit(streams):
        return h2_frame(SETTINGS, 0, 0, (3).to_bytes(2, "big") + streams.to_bytes(4, "big"))

    def talk(sock):
        http = Http2(Role.SERVER)
        sock.sendall(http.start())
        while data := sock.recv(65536):
            events, reply = http.receive(data)
            for connection, event in events:
                if isinstance(event, UpgradeRequest):
                    reply += limit(1) + connection.send(UpgradeAccept())
                elif isinstance(event, Text):
                    reply += h2_frame(6, 0, 0, bytes(8)) * 40 + limit(2)
                elif isinstance(event, RequestStarted):
                    reply += http.respond(event.request, Response(204))
                elif isinstance(event, Close):
                    reply += connection.send(event)
            sock.sendall(reply)

    async def ask(client):
        with trio.fail_after(5):
            assert (await client.request("GET", "/")).status == 204

    async def main():
        with blocking_server(talk) as port:
            async with connect_http2(f"ws://127.0.0.1:{port}") as client, trio.open_nursery() as nursery:
                websocket = await client.open()
                nursery.start_soon(ask, client)
                await trio.sleep(0)
                await websocket.send("more")

    run(main)


def test_parts_are_given_as_they_come(run, http):
    async def main():
        async with listening() as server:
            async with connect(url(server), http=http, parts=True, limit=None, extensions=()) as websocket:
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(websocket.send, b"x" * 1_000_000)
                        size = 0
                        while True:
                            part = await websocket.recv_event()
                            size += len(part.data)
                            if part.fin:
                                break
                assert size == 1_000_000 and not scope.cancelled_caught

    run(main)
