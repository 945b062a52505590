"""One message to many on trio, and sending without waiting: nobody waits for the slowest."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from on_trio import listening, url

from mintws import Close, ConnectionClosed, LocalProtocolError, SendBufferFull
from mintws.extensions import Agreed, Extension, Offer, Transform
from mintws.trio import broadcast, connect, connect_http2


def test_a_message_reaches_all_and_tells_what_became_of_each(run, http):
    async def main():
        async with listening(lambda websocket: websocket.wait_closed()) as server, trio.open_nursery() as nursery:
            clients = [await connect(url(server), http=http, nursery=nursery) for _ in range(5)]
            shared = await connect_http2(url(server), nursery=nursery)
            clients += [await shared.open("/") for _ in range(5)]
            gone = next(iter(server.websockets))
            ours = list(server.websockets)
            await gone.close(4000)
            result = broadcast([*ours, *ours], "news", compress=None)
            assert (len(result.sent), result.skipped, result.closed, result.gone) == (9, [], [], [gone])
            received = []
            for client in clients:
                try:
                    received.append(await client.recv())
                except ConnectionClosed:
                    received.append("closed")
            assert sorted(received) == ["closed", *["news"] * 9]
            for client in clients:
                await client.close()
            await shared.close()

    run(main)


def test_who_is_slow_is_skipped_or_closed(run, http):
    async def handler(websocket):
        while websocket.unsent <= 100_000:
            websocket.send_nowait(b"x" * 100_000)
        with pytest.raises(SendBufferFull):
            websocket.send_nowait("one more", max_unsent=100_000)
        assert broadcast([websocket], "one more", max_unsent=100_000).skipped == [websocket]
        seen = []
        broadcast([websocket], "one more", max_unsent=100_000, slow=seen.append)
        assert seen == [websocket]
        result = broadcast([websocket], "one more", max_unsent=100_000, slow=Close(4001, "slow"))
        assert result.closed == [websocket]
        with pytest.raises(ConnectionClosed):
            websocket.send_nowait("late")
        done.set()

    async def main():
        nonlocal done
        done = trio.Event()
        async with listening(handler) as server:
            async with connect(url(server), http=http, extensions=(), limit=None) as websocket:
                await done.wait()
                with pytest.raises(ConnectionClosed, match="4001: slow"):
                    assert [it async for it in websocket if it != b"x" * 100_000] == []

    done: trio.Event
    run(main)


def test_a_message_in_fragments_is_not_broken_into(run, http):
    async def slowly():
        yield "a"
        with pytest.raises(LocalProtocolError, match="fragments"):
            it.send_nowait("between")
        assert broadcast([it], "between").skipped == [it]
        yield "b"

    async def main():
        nonlocal it
        async with listening() as server, connect(url(server), http=http) as it:
            await it.send(slowly())
            it.send_nowait("after")
            assert [await it.recv(), await it.recv()] == ["ab", "after"]

    it = None
    run(main)


class Marked(Transform):
    """Sends each message with a mark at its end, unless it is told to fail."""

    def __init__(self) -> None:
        self.broken = False

    def send(self, data, *, text):
        if self.broken:
            raise ValueError("the extension is broken")
        return data + b"!", 0x20

    def receive(self, data, rsv, *, text):
        return data.removesuffix(b"!")


class Marking(Extension):
    name = "x-mark"

    def offer(self):
        return ()

    def accept(self, offer):
        return Agreed(Offer(self.name, offer), Marked(), 0x20)

    agree = accept


@asynccontextmanager
async def room(http: str, extensions=()):
    """Three members of a server, and their clients."""
    async with (
        listening(lambda websocket: websocket.wait_closed(), extensions=extensions) as server,
        trio.open_nursery() as nursery,
    ):
        clients = [await connect(url(server), http=http, extensions=extensions, nursery=nursery) for _ in range(3)]
        while len(server.websockets) < 3:
            await trio.sleep(0.01)
        yield list(server.websockets), clients
        for client in clients:
            await client.close()


def test_what_is_no_websocket_is_a_type_error_and_nothing_is_sent(run, http):
    async def main():
        async with room(http) as (members, clients):
            with pytest.raises(TypeError, match=r"to WebSockets of mintws\.trio alone"):
                broadcast([*members, "no websocket"], "wrong")
            broadcast(members, "right")
            assert [await client.recv() for client in clients] == ["right"] * 3

    run(main)


def test_a_broken_extension_of_one_keeps_a_message_from_no_other(run, http):
    async def main():
        async with room(http, (Marking(),)) as (members, clients):
            # The others come after the first.
            transform = members[0].connection.extensions[0].transform
            transform.broken = True
            with pytest.raises(ValueError, match="the extension is broken"):
                broadcast(members, "news")
            transform.broken = False
            broadcast(members, "more")
            got = [await client.recv() for client in clients]
            assert sorted(got) == ["more", "news", "news"]

    run(main)


@pytest.mark.parametrize("in_a_run", [False, True])
def test_a_call_in_another_thread_raises_and_nothing_is_sent(run, http, in_a_run):
    async def main():
        async with room(http) as (members, clients):

            def call() -> None:
                for send in (lambda: broadcast(members, "wrong"), lambda: members[0].send_nowait("wrong")):
                    with pytest.raises(RuntimeError, match="belongs to another run"):
                        send()

            async def run_call() -> None:
                call()

            await trio.to_thread.run_sync(partial(trio.run, run_call) if in_a_run else call)
            broadcast(members, "right")
            assert [await client.recv() for client in clients] == ["right"] * 3

    run(main)
