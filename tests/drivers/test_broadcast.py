"""`broadcast`, and `send_nowait` for one WebSocket: they send at once or not at all, and wait for nobody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time

import pytest
from drivers.conftest import BOUND, listening, url
from drivers.raw import quiet_client, raw_client, reset
from wire import CLOSE, REQUEST, TEXT, close_payload, frames_of, masked

from mintws import (
    Agreed,
    Binary,
    Close,
    ConnectionClosed,
    Extension,
    LocalProtocolError,
    Offer,
    PerMessageDeflate,
    Ping,
    PreparedMessage,
    SendBufferFull,
    State,
    Text,
    Transform,
)
from mintws.asyncio import broadcast, connect, connect_http2
from mintws.drivers.broadcast import deliver

MIB = 1 << 20
KINDS = [
    ("text", "text"),
    ("", ""),
    (b"bytes", b"bytes"),
    (bytearray(b"bytearray"), b"bytearray"),
    (memoryview(b"view"), b"view"),
    (Text("event"), "event"),
    (Text(b"event"), "event"),
    (Binary(b"event"), b"event"),
    (PreparedMessage(Text("prepared")), "prepared"),
    (b"x" * 100_000, b"x" * 100_000),
    ("mint tea " * 50, "mint tea " * 50),
]
WRONG = [5, None, {"a": 1}, ["in", "fragments"], Ping(b""), Close(1000), Text("a", fin=False), "\ud800", Text(b"\xff")]


@contextlib.asynccontextmanager
async def room(http="1.1", count=3, *, tls_contexts=(None, None), extensions=None, **options):
    """Serve clients; give the server, its WebSockets and the clients."""
    members = []
    theirs, ours = tls_contexts

    async def handler(websocket):
        members.append(websocket)
        await websocket.wait_closed()

    named = {} if extensions is None else {"extensions": extensions}
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(listening(handler, ssl=theirs, **named, **options))
        address = f"wss://localhost:{server.port}" if ours else url(server)
        clients = []
        for _ in range(count):
            connecting = connect(address, http=http, ssl=ours, host="127.0.0.1", **named)
            clients.append(await stack.enter_async_context(connecting))
        await until(lambda: len(members) == count)
        yield server, members, clients


async def until(true):
    while not true():
        await asyncio.sleep(0.005)


async def taken(clients):
    return [await client.recv() for client in clients]


def fill(websocket, size=64 * 1024, most=64 * MIB):
    """Send on a WebSocket whose peer does not read until bytes wait in this process."""
    for _ in range(most // size):
        websocket.send_nowait(b"x" * size, max_unsent=most)
        if websocket.unsent > MIB:
            return
    raise AssertionError("the system takes all")


@pytest.mark.parametrize("tls", [False, True])
def test_all_get_each_message_once_and_in_order(run, http, tls, tls_contexts):
    async def main():
        async with room(http, tls_contexts=tls_contexts if tls else (None, None)) as (_, members, clients):
            for message, _ in KINDS:
                before = [member._protocol.written for member in members]
                result = broadcast(members, message)
                assert (result.sent, result.skipped, result.closed, result.gone) == (members, [], [], [])
                assert all(member._protocol.written > size for member, size in zip(members, before, strict=True))
            for _, expected in KINDS:
                assert await taken(clients) == [expected] * len(clients)
            assert {member.counters.messages_sent for member in members} == {len(KINDS)}
            assert {client.counters.messages_received for client in clients} == {len(KINDS)}
            assert len({member.counters for member in members}) == 1

    run(main())


@pytest.mark.parametrize("tls", [False, True])
def test_send_nowait_writes_before_it_returns(run, http, tls, tls_contexts):
    async def main():
        async with room(http, 1, tls_contexts=tls_contexts if tls else (None, None)) as (_, [member], [client]):
            for sending, receiving in ((member, client), (client, member)):
                for message, expected in KINDS:
                    before = sending._protocol.written
                    assert sending.send_nowait(message) is None
                    assert sending._protocol.written > before and sending.connection.corked_bytes == 0
                    assert await receiving.recv() == expected
                assert sending.counters.messages_sent == len(KINDS)

    run(main())


def test_a_reader_that_stops_delays_no_other(run, http):
    async def main():
        async with room(http, extensions=()) as (server, members, clients), quiet_client(server, http):
            await until(lambda: len(members) == 4)
            slow = members[-1]
            message = b"x" * 100_000
            skipped = 0
            for _ in range(200):
                result = broadcast(members, message, max_unsent=MIB)
                assert result.sent[:3] == members[:3]
                assert result.skipped in ([], [slow])
                skipped += len(result.skipped)
                assert await asyncio.wait_for(taken(clients), 5) == [message] * 3
                assert slow.unsent <= MIB + len(message) + 100
            # The system takes some MiB for it.
            assert skipped > 100
            assert slow.state is State.OPEN

    run(main())


def test_those_with_more_than_the_bound_are_skipped(run, http):
    async def main():
        async with room(http, extensions=()) as (server, members, clients), quiet_client(server, http):
            await until(lambda: len(members) == 4)
            slow = members[-1]
            fill(slow)
            unsent, sent = slow.unsent, slow.counters.messages_sent
            for bound, skips in ((unsent - 1, True), (0, True), (unsent, False)):
                result = broadcast(members, "news", max_unsent=bound)
                assert (result.skipped, result.closed) == ([slow] if skips else [], [])
                assert result.sent == (members[:3] if skips else members)
                assert await taken(clients) == ["news"] * 3
            assert slow.counters.messages_sent == sent + 1
            with pytest.raises(SendBufferFull, match=f"{slow.unsent} bytes wait.*more than 5") as full:
                slow.send_nowait("one", max_unsent=5)
            assert (full.value.unsent, full.value.max_unsent) == (slow.unsent, 5)
            assert slow.counters.messages_sent == sent + 1
            assert slow.state is State.OPEN

    run(main())


@pytest.mark.parametrize(
    ("slow", "close"),
    [("close", (1013, "too slow to take what is sent")), (Close(4001, "later"), (4001, "later"))],
)
def test_those_with_more_than_the_bound_are_closed(run, http, slow, close):
    async def main():
        async with room(http, extensions=(), close_timeout=0.2) as (server, members, clients):
            async with quiet_client(server, http):
                await until(lambda: len(members) == 4)
                crowded = members[-1]
                fill(crowded)
                result = broadcast(members, "news", slow=slow)
                assert (result.sent, result.skipped) == (members[:3], [])
                assert (result.closed, result.gone) == ([crowded], [])
                assert await taken(clients) == ["news"] * 3
                assert (crowded.ending.sent.code, crowded.ending.sent.reason) == close
                assert broadcast(members, "more", slow=slow).gone == [crowded]
                # It takes nothing, the Close neither.
                await asyncio.wait_for(crowded.wait_closed(), 10)
            assert await taken(clients) == ["more"] * 3

    run(main())


def test_one_that_is_closed_gets_what_was_sent_and_then_the_close(run):
    async def main():
        async with room(count=0, extensions=()) as (server, members, _):
            reader, writer = await raw_client(server)
            writer.transport.pause_reading()
            await until(lambda: members)
            fill(members[0])
            sent = members[0].counters.bytes_sent
            assert broadcast(members, "news", slow="close").closed == members
            writer.transport.resume_reading()
            *messages, last = frames_of(await until_close(reader))
            assert sum(len(payload) for *_, payload in messages) == sent
            assert last == (1, 0, CLOSE, close_payload(1013, "too slow to take what is sent"))
            writer.write(masked(CLOSE, close_payload(1013)))
            await members[0].wait_closed()
            writer.close()

    run(main())


async def until_close(reader):
    data = b""
    while not data.endswith(b"too slow to take what is sent"):
        data += await reader.read(MIB)
    return data


def test_a_function_is_told_of_those_that_are_skipped(run, http):
    async def main():
        async with room(http, extensions=()) as (server, members, clients), quiet_client(server, http):
            await until(lambda: len(members) == 4)
            fill(members[-1])
            told = []
            result = broadcast(members, "news", slow=told.append)
            assert told == result.skipped == members[3:]

            def broken(websocket):
                raise RuntimeError("what slow does")

            with pytest.raises(RuntimeError, match="what slow does"):
                broadcast(members, "more", slow=broken)
            assert await taken(clients) == ["news"] * 3
            assert await taken(clients) == ["more"] * 3

    run(main())


class Crowded:
    """A WebSocket on which too much waits, and whose Close raises."""

    closes = 0

    def _begin_close(self, code, reason):
        self.closes += 1
        raise RuntimeError(f"the Close of {id(self)}")


def test_all_that_are_skipped_or_closed_are_seen_to_though_each_raises():
    def crowd(websockets, message, compress, max_unsent):
        return [], websockets, [], []

    def broken(websocket):
        told.append(websocket)
        raise RuntimeError(f"what slow does to {id(websocket)}")

    members, told = [Crowded() for _ in range(3)], []
    for slow in (broken, "close"):
        with pytest.raises(RuntimeError, match=str(id(members[0]))):
            deliver(crowd, members, "news", compress=None, max_unsent=0, slow=slow)
    assert told == members
    assert [it.closes for it in members] == [1, 1, 1]


def test_those_that_have_ended_are_gone(run, http):
    async def main():
        async with room(http, 5) as (_, members, clients):
            ours, theirs, lost, closing, open_ = members
            await ours.close()
            await clients[1].close()
            await theirs.wait_closed()
            lost.transport.abort()
            await lost.wait_closed()
            clients[3].discard()
            closing._begin_close(1000)
            result = broadcast(members, "news")
            assert (result.sent, result.skipped, result.closed) == ([open_], [], [])
            assert result.gone == [ours, theirs, lost, closing]
            assert await clients[4].recv() == "news"
            for gone in result.gone:
                with pytest.raises(ConnectionClosed):
                    gone.send_nowait("news")

    run(main())


def test_a_member_that_ends_in_the_middle_keeps_nothing_from_others(run):
    async def main():
        async with room(count=2) as (server, members, clients):
            peer = socket.create_connection(("127.0.0.1", server.port))
            peer.sendall(REQUEST + b"\r\n")
            await until(lambda: len(members) == 3)
            members[0], members[2] = members[2], members[0]
            reset(peer)
            time.sleep(0.05)  # The loop does not learn of the reset.
            result = broadcast(members, "news")
            assert result.sent[-2:] == members[1:]
            again = broadcast(members, "more")
            assert (again.sent, again.gone) == (members[1:], members[:1])
            assert await taken(clients) == ["news"] * 2
            assert await taken(clients) == ["more"] * 2
            await members[0].wait_closed()
            assert members[0].close_code == 1006

    run(main())


def test_members_that_end_while_others_are_closed_for_being_slow(run):
    # Closing one may end others: a set of them may change, and does not matter any more.
    async def main():
        async with room(count=2, extensions=()) as (server, members, clients), quiet_client(server, "1.1"):
            await until(lambda: len(members) == 3)
            fill(members[2])
            all_of_them = set(members)
            result = broadcast(all_of_them, "news", slow=all_of_them.discard)
            assert result.skipped == members[2:]
            assert all_of_them == set(members[:2])
            assert await taken(clients) == ["news"] * 2

    run(main())


def test_any_iterable_of_websockets_will_do_and_each_gets_it_once(run, http):
    async def main():
        async with room(http) as (server, members, clients):
            a, b, c = members

            def shrinking():
                while left:
                    yield left.pop()

            left = list(members)
            groups = [[a, b, a, c, b], (a, b, c), set(members), dict.fromkeys(members), shrinking(), server.websockets]
            for number, group in enumerate(groups):
                result = broadcast(group, str(number))
                assert len(result.sent) == 3 and set(result.sent) == set(members)
                assert await taken(clients) == [str(number)] * 3
            assert {member.counters.messages_sent for member in members} == {len(groups)}
            for nobody in ([], set(), (), iter(())):
                result = broadcast(nobody, "nothing")
                assert (result.sent, result.skipped, result.closed, result.gone) == ([], [], [], [])

    run(main())


def test_wrong_arguments_raise_and_nothing_is_sent(run, http):
    async def main():
        async with room(http, 2) as (_, members, clients):
            for wrong in WRONG:
                with pytest.raises((TypeError, LocalProtocolError)):
                    broadcast(members, wrong)
                with pytest.raises((TypeError, LocalProtocolError)):
                    broadcast([], wrong)
                with pytest.raises((TypeError, LocalProtocolError)):
                    members[0].send_nowait(wrong)
            for name, wrong in (
                ("slow", "drop"),
                ("slow", None),
                ("slow", Close(1005)),
                ("slow", Close(1000, "x" * 124)),
                ("slow", Close),
                ("max_unsent", -1),
                ("max_unsent", 1 << 63),
                ("max_unsent", 1.5),
                ("max_unsent", None),
                ("max_unsent", True),
                ("compress", "yes"),
            ):
                with pytest.raises((TypeError, LocalProtocolError)):
                    broadcast(members, "news", **{name: wrong})
                if name != "slow":
                    with pytest.raises((TypeError, LocalProtocolError)):
                        members[0].send_nowait("news", **{name: wrong})
            for strangers in ([*members, object()], ["a", *members], [*members, None], 5):
                with pytest.raises(TypeError):
                    broadcast(strangers, "news")
            assert [member.counters.messages_sent for member in members] == [0, 0]
            broadcast(members, "right")
            assert await taken(clients) == ["right"] * 2

    run(main())


def test_a_call_in_another_thread_raises_and_nothing_is_sent(run):
    raised = []

    async def main():
        async with room() as (_, members, clients):

            def call():
                for send in (lambda: broadcast(members, "news"), lambda: members[0].send_nowait("news")):
                    with pytest.raises(RuntimeError, match="another thread") as error:
                        send()
                    raised.append(error.value)

            thread = threading.Thread(target=call)
            thread.start()
            thread.join(BOUND)
            broadcast(members, "right")
            assert await taken(clients) == ["right"] * 3

    run(main())
    assert len(raised) == 2


@pytest.mark.parametrize("agreed", [{}, {"server_no_context_takeover": True}, {"server_max_window_bits": 9}])
def test_what_others_sent_before_and_after_is_understood(run, http, agreed):
    # Compressed messages that refer to earlier ones would be corrupt if those were counted wrong.
    text = "mint tea for everyone, " * 20

    async def main():
        async with room(http, extensions=(PerMessageDeflate(**agreed),)) as (_, members, clients):
            for number in range(5):
                broadcast(members, f"{number} {text}")
                for member in members:
                    await member.send(f"own {number} {text}")
                    member.send_nowait(f"nowait {number} {text}")
                broadcast(members, f"again {number} {text}", compress=False)
                members[1].send_nowait(PreparedMessage(Text(f"prepared {number} {text}")))
                for client in clients:
                    assert await client.recv() == f"{number} {text}"
                    assert await client.recv() == f"own {number} {text}"
                    assert await client.recv() == f"nowait {number} {text}"
                    assert await client.recv() == f"again {number} {text}"
                assert await clients[1].recv() == f"prepared {number} {text}"

    run(main())


def test_members_share_the_compressed_bytes(run):
    text = "mint tea for everyone, " * 20

    async def main():
        async with room(count=0) as (server, members, _):
            offers = ["", "; server_no_context_takeover", "; server_max_window_bits=9"]
            heads = [REQUEST + b"Sec-WebSocket-Extensions: permessage-deflate%s\r\n\r\n" % it.encode() for it in offers]
            peers = [await raw_client(server, head=head) for head in [*heads, REQUEST + b"\r\n"]]
            await until(lambda: len(members) == len(peers))
            before = [member._protocol.written for member in members]
            assert broadcast(members, text).sent == members
            sizes = [member._protocol.written - size for member, size in zip(members, before, strict=True)]
            frames = [await reader.readexactly(size) for (reader, _), size in zip(peers, sizes, strict=True)]
            compressed, without_takeover, small, plain = frames
            assert compressed == without_takeover
            assert {compressed[0], small[0]} == {0xC1}
            assert len(compressed) < 50 and len(small) < 60
            assert frames_of(plain) == [(1, 0, TEXT, text.encode())]
            for _, writer in peers:
                writer.close()

    run(main())


class Marked(Transform):
    """Sends each message with a mark at its end, unless it is told to fail."""

    def __init__(self):
        self.broken = False

    def send(self, data, *, text):
        if self.broken:
            raise ValueError("the extension is broken")
        return data + b"!", 0x20

    def receive(self, data, rsv, *, text):
        return data.removesuffix(b"!")


class Marking(Extension):
    name = "x-mark"

    def __init__(self):
        self.made = []

    def offer(self):
        return ()

    def accept(self, offer):
        self.made.append(Marked())
        return Agreed(Offer(self.name, offer), self.made[-1], 0x20)

    agree = accept


@pytest.mark.parametrize("prepared", [False, True])
def test_extensions_of_your_own_see_the_message_and_keep_it_from_no_other(run, http, prepared):
    marking = Marking()

    async def main():
        async with room(http, 2, extensions=(marking, PerMessageDeflate())) as (server, members, clients):
            async with connect(url(server), http=http, extensions=()) as plain:
                await until(lambda: len(members) == 3)
                clients.append(plain)
                for number in range(2):
                    message = f"{number} for everyone, " * 10
                    assert broadcast(members, PreparedMessage(Text(message)) if prepared else message).sent == members
                    assert await taken(clients) == [message] * 3
                theirs = [it for it in marking.made if it is not marking.made[-1]]
                theirs[0].broken = True
                with pytest.raises(ValueError, match="the extension is broken"):
                    broadcast(members, "news")
                theirs[0].broken = False
                broadcast(members, "more")
                got = [await client.recv() for client in clients]
                assert got.count("news") == 2 and got.count("more") == 1
                for client, message in zip(clients, got, strict=True):
                    if message == "news":
                        assert await client.recv() == "more"

    run(main())


def test_one_within_a_message_in_fragments_is_skipped(run, http):
    more, ended = asyncio.Event(), asyncio.Event()

    async def fragments():
        yield "a"
        await more.wait()
        yield "b"

    async def main():
        async with room(http) as (_, members, clients):
            busy = members[1]
            sending = asyncio.ensure_future(busy.send(fragments()))
            await until(lambda: busy.counters.frames_sent)
            told = []
            for slow in ("skip", "close", told.append):
                result = broadcast(members, "news", slow=slow)
                assert (result.sent, result.skipped) == ([members[0], members[2]], [busy])
                assert (result.closed, result.gone) == ([], [])
            assert told == [busy]
            with pytest.raises(LocalProtocolError, match=r"await send\(\)"):
                busy.send_nowait("news")
            more.set()
            await sending
            busy.send_nowait("after")
            assert [await clients[1].recv() for _ in range(2)] == ["ab", "after"]

    run(main())
    assert not ended.is_set()


def test_messages_keep_their_order_in_a_batch(run, http):
    async def main():
        async with room(http) as (_, members, clients):
            member = members[0]
            before = member._protocol.written
            with member.batch():
                await member.send("1")
                assert broadcast(members, "2").sent == members
                member.send_nowait("3")
                await member.send("4")
                assert member._protocol.written == before
                assert member.unsent >= 4
                with pytest.raises(SendBufferFull):
                    member.send_nowait("5", max_unsent=3)
            assert member._protocol.written > before
            assert [await clients[0].recv() for _ in range(4)] == ["1", "2", "3", "4"]
            assert await clients[1].recv() == "2"

    run(main())


def test_messages_that_came_together_are_passed_on_in_order(run, http):
    guests = set()

    async def chat(websocket):
        guests.add(websocket)
        async for message in websocket:
            broadcast(guests, message)
            websocket.send_nowait(f"told {message}")
        guests.discard(websocket)

    async def main():
        async with listening(chat) as server:
            async with connect(url(server), http=http) as speaker, connect(url(server), http=http) as listener:
                await until(lambda: len(guests) == 2)
                await speaker.send_many(str(number) for number in range(100))
                for number in range(100):
                    assert await listener.recv() == str(number)
                    assert await speaker.recv() == str(number)
                    assert await speaker.recv() == f"told {number}"

    run(main())


def test_streams_of_one_connection_are_written_together(run):
    async def main():
        async with room(count=0) as (server, members, _), connect_http2(url(server)) as client:
            streams = [await client.open() for _ in range(50)]
            await until(lambda: len(members) == 50)
            writes = []
            protocol = members[0]._protocol
            writer = protocol._writer
            protocol._writer = lambda data: (writes.append(bytes(data)), writer(data))
            assert broadcast(members, "together").sent == members
            assert len(writes) == 1
            assert await taken(streams) == ["together"] * 50
            for stream in streams:
                await stream.close()

    run(main())


def test_a_stream_without_credit_keeps_nothing_from_the_others(run):
    async def main():
        async with room(count=0, extensions=()) as (server, members, _):
            async with connect_http2(url(server)) as client:
                slow, quick = await client.open(), await client.open()
                await until(lambda: len(members) == 2)
                message = b"x" * 50_000
                skipped = 0
                for _ in range(100):
                    result = broadcast(members, message, max_unsent=MIB)
                    assert result.sent[-1] is members[1]
                    skipped += result.skipped == members[:1]
                    assert members[0].connection.buffered <= MIB + len(message) + 10
                    assert await asyncio.wait_for(quick.recv(), 5) == message
                assert skipped > 20
                # What waits in the core goes out when there is credit.
                for _ in range(100 - skipped):
                    assert await asyncio.wait_for(slow.recv(), 5) == message
                assert members[0].unsent == 0
                await slow.close()
                await quick.close()

    run(main())


@pytest.mark.parametrize("tls", [False, True])
def test_large_messages_that_the_system_takes_in_parts_arrive_whole(run, http, tls, tls_contexts):
    large = bytes(range(256)) * (4 * MIB // 256)

    async def main():
        async with room(http, extensions=(), tls_contexts=tls_contexts if tls else (None, None)) as (
            _,
            members,
            clients,
        ):
            for number in range(3):
                broadcast(members, large[number : number + MIB - 1], max_unsent=64 * MIB)
                broadcast(members, str(number), max_unsent=64 * MIB)
            for number in range(3):
                assert await taken(clients) == [large[number : number + MIB - 1]] * 3
                assert await taken(clients) == [str(number)] * 3
            await until(lambda: not any(member.unsent for member in members))
            assert broadcast(members, "end", max_unsent=0).sent == members
            assert await taken(clients) == ["end"] * 3

    run(main())


def test_frames_are_logged(run, http, caplog):
    caplog.set_level(logging.DEBUG, "mintws")

    async def main():
        async with room(http) as (_, members, clients):
            caplog.clear()
            broadcast(members, "to all")
            members[0].send_nowait("to one")
            told = [record.getMessage() for record in caplog.records if " sent " in record.getMessage()]
            assert told == [f"{it.id} sent text, 6 bytes: b'to all'" for it in members] + [
                f"{members[0].id} sent text, 6 bytes: 'to one'"
            ]
            assert await taken(clients) == ["to all"] * 3

    run(main())


CLOSED_LOOP = """
import asyncio
from mintws import ConnectionClosed
from mintws.asyncio import broadcast, connect, serve

async def main():
    async def handler(websocket):
        members.append(websocket)
        await websocket.wait_closed()

    server = await serve(handler, "127.0.0.1", 0)
    client = await connect(f"ws://127.0.0.1:{server.port}")
    while not members:
        await asyncio.sleep(0.01)
    return server, client

members = []
loop = asyncio.new_event_loop()
server, client = loop.run_until_complete(main())
loop.close()
assert broadcast([*members, client], "news").gone == [*members, client]
try:
    client.send_nowait("news")
except ConnectionClosed:
    print("closed")
"""


def test_members_of_a_closed_loop_are_gone():
    command = [sys.executable, "-W", "ignore", "-c", CLOSED_LOOP]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=False)
    assert done.stdout == "closed\n", done.stderr


def test_a_thousand_members(run):
    async def main():
        async with room(count=100) as (server, members, clients), contextlib.AsyncExitStack() as stack:
            for _ in range(9):
                client = await stack.enter_async_context(connect_http2(url(server)))
                clients += await asyncio.gather(*(client.open() for _ in range(100)))
            await until(lambda: len(members) == 1000)
            for message in ("mint tea for everyone, " * 40, "and more"):
                result = broadcast(set(members), message)
                assert set(result.sent) == set(members)
                assert await taken(clients) == [message] * 1000
            for client in clients:
                client._begin_close()

    run(main())
