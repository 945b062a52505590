"""One message to many on trio, and sending without waiting: nobody waits for the slowest."""

from __future__ import annotations

import pytest
import trio
from on_trio import listening, url

from mintws import Close, ConnectionClosed, LocalProtocolError, SendBufferFull
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
