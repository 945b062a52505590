"""A conversation in batches, for the drivers whose WebSockets have coroutines."""

from __future__ import annotations


async def echo_in_a_batch(websocket):
    """Answer in one batch, as a handler, until "bye"."""
    with websocket.batch():
        async for message in websocket:
            if message == "bye":
                return
            await websocket.send(message)


async def talk_in_a_batch(websocket):
    """Send in one batch, and receive the answers of `echo_in_a_batch`."""
    with websocket.batch():
        await websocket.send("one")
        assert await websocket.recv() == "one"
        await websocket.send("two")
        await websocket.send("three")
        assert [await websocket.recv(), await websocket.recv()] == ["two", "three"]
        await websocket.send("bye")
        # The server ends after it.
        await websocket.wait_closed()
    assert websocket.close_code == 1000
