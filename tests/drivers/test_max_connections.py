"""A server takes no more connections at a time than it was told, and closes any others at once."""

import asyncio

import pytest
from drivers.conftest import listening, url
from drivers.raw import raw_client

from mintws import LocalProtocolError
from mintws.asyncio import connect


def test_connections_beyond_the_number_are_closed_and_room_is_made_by_those_that_end(run, http):
    async def work():
        async with listening(max_connections=2) as server:
            async with connect(url(server), http=http) as first:
                async with connect(url(server), http=http) as second:
                    for _ in range(3):
                        with pytest.raises(OSError):
                            await connect(url(server), http=http)
                    for websocket in (first, second):
                        await websocket.send("x")
                        assert await websocket.recv() == "x"
                while server._is_full:
                    await asyncio.sleep(0.01)
                async with connect(url(server), http=http) as third:
                    await third.send("x")
                    assert await third.recv() == "x"

    run(work())


def test_a_connection_that_says_nothing_counts(run):
    async def work():
        async with listening(max_connections=1) as server:
            _, writer = await raw_client(server, head=b"")
            while not server._is_full:
                await asyncio.sleep(0.01)
            with pytest.raises(OSError):
                await connect(url(server))
            writer.transport.abort()

    run(work())


@pytest.mark.parametrize(
    ("value", "error"), [(0, LocalProtocolError), (-1, LocalProtocolError), ("5", TypeError), (True, TypeError)]
)
def test_a_number_that_is_none_is_refused_where_it_is_given(value, error):
    with pytest.raises(error, match="max_connections"):
        listening(max_connections=value)
