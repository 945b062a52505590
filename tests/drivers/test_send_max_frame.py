"""`max_frame` of the asyncio driver: every way to send, from either end."""

from __future__ import annotations

import pytest
from drivers.conftest import listening, url

from mintws import Binary, PerMessageDeflate, PreparedMessage, Text
from mintws.asyncio import connect, connect_http2

BOUND = 1000
LARGE = b"large" * 40_000


async def batched(websocket):
    with websocket.batch():
        for _ in range(3):
            await websocket.send("x" * 2500)


#: How to send, what then arrives, and in how many frames where nothing is compressed.
WAYS = {
    "send": (lambda ws: ws.send("x" * 2500), ["x" * 2500], 3),
    "small": (lambda ws: ws.send("x" * 1000), ["x" * 1000], 1),
    "large": (lambda ws: ws.send(LARGE), [LARGE], 200),
    "event": (lambda ws: ws.send(Binary(b"x" * 1001)), [b"x" * 1001], 2),
    "send_many": (lambda ws: ws.send_many(["x" * 1001, b"y" * 2001]), ["x" * 1001, b"y" * 2001], 5),
    "iterable": (lambda ws: ws.send(["x" * 1001, "y"]), ["x" * 1001 + "y"], 4),
    "prepared": (lambda ws: ws.send(PreparedMessage(Text("x" * 1001))), ["x" * 1001], 2),
    "batch": (batched, ["x" * 2500] * 3, 9),
    "ping": (lambda ws: ws.ping(b"x" * 125), [], 1),
}


@pytest.mark.parametrize(("send", "arrives", "frames"), WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("sender", ["client", "server"])
@pytest.mark.parametrize("extensions", [(), [PerMessageDeflate()]], ids=["plain", "deflate"])
def test_every_way_to_send_is_cut(run, http, sender, send, arrives, frames, extensions):
    got, received = [], []

    async def take(websocket):
        async for message in websocket:
            got.append(message)
        counters = websocket.counters
        # The Close is a frame, and so is the Pong.
        received.append((counters.messages_received, counters.frames_received - 1))

    async def give(websocket):
        await send(websocket)

    async def both():
        ours = {"max_frame": BOUND, "extensions": extensions}
        server, client = (give, take) if sender == "server" else (take, give)
        async with (
            listening(server, **(ours if sender == "server" else {"extensions": extensions})) as listener,
            connect(
                url(listener), http=http, **(ours if sender == "client" else {"extensions": extensions})
            ) as websocket,
        ):
            await client(websocket)

    run(both())
    assert got == arrives
    ((messages, counted),) = received
    assert messages == len(arrives)
    assert counted == frames if not extensions else counted <= frames


def test_websockets_of_one_connection_have_the_bound(run):
    async def take(websocket):
        await websocket.recv()
        await websocket.send(str(websocket.counters.frames_received))

    async def both():
        async with (
            listening(take, extensions=()) as server,
            connect_http2(url(server), max_frame=10) as client,
        ):
            websocket = await client.open()
            await websocket.send("x" * 95)
            assert await websocket.recv() == "10"

    run(both())
