"""`send` of the asyncio driver: order, fragments, back-pressure, and what becomes of it when the peer has gone."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import warnings
import weakref
from types import MappingProxyType

import pytest
from drivers.conftest import echo, listening, url
from drivers.raw import raw_client
from wire import CLOSE, close_payload, frames_of, masked

from mintws import (
    Binary,
    Close,
    ConnectionClosed,
    Http1,
    LocalProtocolError,
    Ping,
    Pong,
    PreparedMessage,
    Role,
    State,
    Text,
    UpgradeAccept,
)
from mintws.asyncio import connect


async def slowly(*parts):
    for part in parts:
        await asyncio.sleep(0.01)
        yield part


async def breaking(*parts):
    for part in parts:
        yield part
    raise RuntimeError("the source broke")


def received(run, http, work):
    """Give what a server receives of what `work` does with a client."""
    got = []

    async def handler(websocket):
        async for message in websocket:
            got.append(message)

    async def both():
        async with listening(handler) as server:
            async with connect(url(server), http=http) as websocket:
                await work(websocket)

    run(both())
    return got


def test_messages_in_fragments_are_sent_one_after_the_other(run, http):
    async def work(websocket):
        await asyncio.gather(websocket.send(slowly("a1", "a2", "a3")), websocket.send(slowly("b1", "b2", "b3")))

    assert sorted(received(run, http, work)) == ["a1a2a3", "b1b2b3"]


def test_other_messages_wait_for_one_in_fragments(run, http):
    async def work(websocket):
        fragments = asyncio.create_task(websocket.send(slowly("a", "b")))
        await asyncio.sleep(0.015)
        assert await asyncio.wait_for(websocket.ping(), 5) > 0  # which is no message
        small, large, prepared = "small", b"x" * 20_000, PreparedMessage(Text("prepared"))
        await asyncio.gather(websocket.send(small), websocket.send(large), websocket.send(prepared))
        assert fragments.done()

    assert received(run, http, work) == ["ab", "small", b"x" * 20_000, "prepared"]


@pytest.mark.parametrize(
    ("event", "instead"),
    [
        (Ping(b"1"), r"not Ping: ping\(\) sends one"),
        (Pong(b"1"), "not Pong: Pings are answered by themselves"),
        (Close(1000), r"not Close: close\(\) sends one"),
        (UpgradeAccept(), "not UpgradeAccept$"),
        ({"a": 1}, "not dict$"),
        (MappingProxyType({"a": "b"}), "not mappingproxy$"),
        (5, "not int$"),
    ],
    ids=lambda it: type(it).__name__,
)
def test_what_is_no_message_is_refused_and_names_the_call_for_it(run, http, event, instead):
    async def work(websocket):
        for send in (websocket.send, lambda event: websocket.send_many([event])):
            with pytest.raises(TypeError, match=instead):
                await send(event)
        await websocket.send("still open")

    assert received(run, http, work) == ["still open"]


def test_one_message_is_refused_where_several_are_taken(run, http):
    async def work(websocket):
        with pytest.raises(
            TypeError, match=r"^send_many\(\) takes an iterable of messages, and this is one: send\(\) sends it$"
        ):
            await websocket.send_many("news")
        await websocket.send("still open")

    assert received(run, http, work) == ["still open"]


@pytest.mark.parametrize("messages", [{"a": 1}, MappingProxyType({"a": 1})])
def test_a_mapping_is_refused_where_several_messages_are_taken(run, http, messages):
    async def work(websocket):
        with pytest.raises(TypeError, match=r"^send_many\(\) takes an iterable of messages, not (dict|mappingproxy)$"):
            await websocket.send_many(messages)
        await websocket.send("still open")

    assert received(run, http, work) == ["still open"]


@pytest.mark.parametrize("parts", [["one ", b"two"], [b"one ", "two"], ["one ", 7], ["one "]])
def test_a_peer_is_told_of_a_message_that_does_not_come_whole(run, http, parts):
    ends = []

    async def handler(websocket):
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        ends.append(closed.value.code)

    async def work():
        async with listening(handler) as server:
            async with connect(url(server), http=http) as websocket:
                with pytest.raises((TypeError, RuntimeError)):
                    await websocket.send(breaking(*parts))
                with pytest.raises(ConnectionClosed):
                    await websocket.send("next")

    run(work())
    assert ends == [1011]


def test_a_cancelled_message_in_fragments_ends_the_connection(run, http):
    async def work():
        async with listening() as server:
            async with connect(url(server), http=http) as websocket:
                sending = asyncio.create_task(websocket.send(slowly("a", "b")))
                await asyncio.sleep(0.015)
                sending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sending
                with pytest.raises(ConnectionClosed):
                    await websocket.send("next")

    run(work())


def test_a_message_in_fragments_stops_where_the_connection_is_closed(run):
    # RFC 6455 §6.1: when the state changes, sending is aborted. Nothing of it comes behind the Close (§5.5.1).
    read = []

    async def serve_one(reader, writer):
        ((connection, _),), _ = Http1(Role.SERVER).receive(await reader.readuntil(b"\r\n\r\n"))
        writer.write(connection.send(UpgradeAccept()))
        read.append(await reader.read())
        writer.close()

    async def work():
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
            address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            websocket = await connect(address, close_timeout=0.1, extensions=())
            sending = asyncio.create_task(websocket.send(slowly("a", "b", "c", "d", "e")))
            await asyncio.sleep(0.025)
            websocket._begin_close(1001)
            with pytest.raises(ConnectionClosed):
                await sending
            await websocket.wait_closed()
            while not read:
                await asyncio.sleep(0.01)

    run(work())
    *fragments, close = frames_of(read[0])
    assert close == (1, 0, CLOSE, close_payload(1001))
    assert [fin for fin, *_ in fragments] == [0] * len(fragments)
    assert 1 <= len(fragments) < 5


def test_messages_behind_one_in_fragments_are_told_of_the_end(run, http):
    async def stuck():
        yield "a"
        await asyncio.sleep(60)

    async def work():
        async with listening() as server:
            websocket = await connect(url(server), http=http)
            fragments = asyncio.ensure_future(websocket.send(stuck()))
            others = [asyncio.ensure_future(websocket.send(message)) for message in ("b", b"x" * 20_000, ["c"])]
            await asyncio.sleep(0.01)
            await websocket.close()
            for other in others:
                with pytest.raises(ConnectionClosed):
                    await asyncio.wait_for(other, 5)
            fragments.cancel()

    run(work())


def test_a_message_that_breaks_before_its_first_fragment_was_never_begun(run, http):
    async def work(websocket):
        for nothing in ([], breaking(), [7]):
            with pytest.raises((TypeError, RuntimeError)):
                await websocket.send(nothing)
        await websocket.send("next")

    assert received(run, http, work) == ["next"]


@pytest.mark.parametrize("wrong", ["\ud800" * 20_000, "\ud800", Text(b"\xff" * 20_000), Text(b"\xff")])
def test_a_message_that_may_not_be_sent_leaves_the_next_ones_alone(run, http, wrong):
    async def work(websocket):
        await websocket.send("before")
        with pytest.raises(LocalProtocolError):
            await websocket.send(wrong)
        assert websocket.state is State.OPEN
        await websocket.send("after")
        await websocket.send(b"y" * 20_000)

    assert received(run, http, work) == ["before", "after", b"y" * 20_000]


def test_what_is_no_message_is_a_type_error(run):
    async def work(websocket):
        for wrong in (7, None, {"a": 1}, object()):
            with pytest.raises(TypeError):
                await websocket.send(wrong)
        with pytest.raises(TypeError):
            await websocket.send("x", compress="yes")

    assert received(run, "1.1", work) == []


def test_messages_of_all_kinds_keep_their_order(run, http):
    messages = []
    for i in range(200):
        messages += [f"small {i}", b"%d" % i * 5000, "x" * 40_000, f"again {i}"]

    async def work(websocket):
        for i, message in enumerate(messages):
            await websocket.send(message)
            if i % 50 == 0:
                await websocket.ping()

    assert received(run, http, work) == messages


def test_what_is_changed_after_it_was_sent_was_sent_before(run, http):
    async def work(websocket):
        for size in (10, 50_000):
            data = bytearray(b"a" * size)
            sending = websocket.send(memoryview(data))
            await sending
            data[:] = b"b" * size

    assert received(run, http, work) == [b"a" * 10, b"a" * 50_000]


def test_a_call_of_send_is_as_good_as_a_coroutine(run, http):
    async def work(websocket):
        await asyncio.create_task(websocket.send("task"))
        await asyncio.gather(websocket.send("gathered"), websocket.send(b"x" * 20_000))
        await asyncio.wait_for(websocket.send("in time"), 5)
        assert asyncio.iscoroutine(websocket.send) is False
        once = websocket.send("once")
        await once
        with pytest.raises(RuntimeError, match="awaited once"):
            await once

    assert sorted(received(run, http, work), key=str) == sorted(
        ["task", "gathered", b"x" * 20_000, "in time", "once"], key=str
    )


def test_a_call_that_is_never_awaited_is_warned_of_and_sends_nothing(run):
    async def work(websocket):
        for call, said in ((websocket.send, "nothing was sent"), (websocket.recv, "never awaited")):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                call("forgotten") if call == websocket.send else call()
                gc.collect()
            assert [str(it.message) for it in caught if said in str(it.message)], call

    assert received(run, "1.1", work) == []


def test_a_call_that_refers_to_itself_is_collected(run):
    class Message:
        pass

    async def work(websocket):
        calls = []
        for i in range(100):
            message = Message()
            message.call = websocket.send(message)
            message.call.close()
            await websocket.send(str(i))  # whose call is given back, for the next one to take its place
            calls.append(weakref.ref(message))
        del message
        gc.collect()
        assert not [call for call in calls if call() is not None]

    received(run, "1.1", work)


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_send_raises_when_the_peer_has_closed_and_gone(run, reset):
    ended = []

    async def handler(websocket):
        try:
            while True:
                await websocket.send("tick")
                await asyncio.sleep(0.01)
        except ConnectionClosed as closed:
            ended.append(closed.code)

    async def work():
        async with listening(handler) as server:
            reader, writer = await raw_client(server)
            writer.write(masked(CLOSE, close_payload(1000)))
            await writer.drain()
            if reset:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()
            while not ended:
                await asyncio.sleep(0.01)
            assert not server.websockets

    run(work())
    assert ended == [1000]


def test_send_waits_for_a_peer_that_does_not_read(run, http):
    sent = []

    async def handler(websocket):
        for _ in range(200):
            await websocket.send(b"x" * (1 << 20))
            sent.append(1)

    async def work():
        async with listening(handler) as server:
            websocket = await connect(url(server), http=http, limit=1 << 24, extensions=())
            await asyncio.sleep(0.5)
            # Windows, the system's buffers, and what waits here on either side: not 200 MiB.
            assert 0 < len(sent) < 40
            (theirs,) = server.websockets
            assert theirs.transport.get_write_buffer_size() < 4 << 20
            for _ in range(200):
                assert len(await websocket.recv()) == 1 << 20
            await websocket.close()

    run(work())


def test_a_send_that_is_cancelled_while_it_waits_for_room_has_sent_its_message(run, http):
    sizes = []
    stopped = asyncio.Event()

    async def handler(websocket):
        for size in range(100_000, 200_000, 1000):
            sizes.append(size)
            try:
                await asyncio.wait_for(websocket.send(b"x" * size), 0.05)
            except asyncio.TimeoutError:
                break
        stopped.set()
        await websocket.close()

    async def work():
        async with listening(handler, extensions=()) as server:
            async with connect(url(server), http=http, extensions=()) as websocket:
                websocket.transport.pause_reading()
                await asyncio.wait_for(stopped.wait(), 10)
                websocket.transport.resume_reading()
                assert [len(message) async for message in websocket] == sizes

    run(work())


def test_a_handler_learns_that_its_peer_reads_no_more(run, http):
    async def work():
        async with listening(lambda websocket: websocket.send(b"x" * (1 << 24)), close_timeout=0.2) as server:
            websocket = await connect(url(server), http=http, limit=1 << 20)
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.code == 1009
            while server.websockets:
                await asyncio.sleep(0.01)

    run(work())


def test_a_close_behind_messages_comes_behind_them_on_the_wire(run):
    async def handler(websocket):
        await websocket.send("one")
        await websocket.send(b"y" * 20_000)
        await websocket.send("two")
        await websocket.close(3000, "done")

    async def work():
        async with listening(handler, extensions=()) as server:
            reader, writer = await raw_client(server)
            data = b""
            while not data.endswith(close_payload(3000, "done")):
                data += await reader.read(65536)
            assert [payload[:3] for _, _, _, payload in frames_of(data)] == [b"one", b"yyy", b"two", b"\x0b\xb8d"]
            writer.close()

    run(work())


def test_echoes_of_one_chunk_are_written_together(run):
    async def work():
        writes = []

        async def handler(websocket):
            write = websocket.transport.write
            websocket._protocol._writer = lambda data: (writes.append(len(data)), write(data))
            await echo(websocket)

        async with listening(handler, extensions=()) as server:
            reader, writer = await raw_client(server)
            writer.write(masked(1, b"first"))
            await reader.readexactly(7)
            writer.write(masked(1, b"x" * 10) * 64)
            await reader.readexactly(64 * 12)
            assert writes == [7, 64 * 12]
            writer.write(masked(CLOSE, close_payload(1000)))
            await reader.read()
            writer.close()

    run(work())


def test_events_may_be_sent_as_they_are(run, http):
    async def work(websocket):
        await websocket.send(Text("text"))
        await websocket.send(Binary(b"binary"))

    assert received(run, http, work) == ["text", b"binary"]
