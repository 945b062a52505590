"""WebSockets of a pool share a connection to servers and gateways of others, and to each of our own."""

from __future__ import annotations

import asyncio

import pytest
from conversation import CHECKS, PATIENCE, Certificate, Ending, Peer, Variant
from gateways import GATEWAYS, Gateway
from ours import Mintws, OurEnd
from process import client_context
from with_hypercorn import Hypercorn
from with_sync import MintwsOnThreads
from with_trio import MintwsOnTrio

from mintws.asyncio import Pool

COUNT = 5
OVER_TLS = Variant("2", True, True)


async def converse(url: str, certificate: Certificate, server: Peer, endings: asyncio.Queue[Ending]) -> None:
    """Have several conversations at the same time, and later one more, all on one connection."""

    async def one() -> str:
        async with pool.connect(url, ssl=context, host="127.0.0.1", ping_interval=None) as websocket:
            await CHECKS["messages"](OurEnd(websocket), Mintws(), server)
            return websocket.id.partition(".")[0]

    context = client_context(certificate)
    async with Pool() as pool:
        connections = [*await asyncio.gather(*(one() for _ in range(COUNT))), await one()]
        assert len(set(connections)) == 1
    for _ in connections:
        assert (await asyncio.wait_for(endings.get(), 3)).code == 1000


@pytest.mark.parametrize("server", [Mintws(), MintwsOnTrio(), MintwsOnThreads()], ids=lambda it: it.name)
def test_websockets_of_a_pool_share_a_connection(server: Peer, certificate: Certificate) -> None:
    async def main() -> None:
        async with server.serve(OVER_TLS, certificate) as serving:
            await converse(serving.url, certificate, server, serving.endings)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_websockets_of_a_pool_share_a_connection_to_hypercorn(certificate: Certificate) -> None:
    async def main() -> None:
        context = client_context(certificate)
        async with server.serve(OVER_TLS, certificate) as serving, Pool() as pool:
            # They are closed together: hypercorn 0.18.0 ends the connection when a stream ends that it has forgotten (docs/interop.md, 8).
            openings = (pool.connect(serving.url, ssl=context, host="127.0.0.1") for _ in range(COUNT))
            websockets = await asyncio.gather(*openings)
            assert len({it.transport for it in websockets}) == 1
            for number in range(20):
                for websocket in websockets:
                    await websocket.send(f"message {number}")
                assert [await it.recv() for it in websockets] == [f"message {number}"] * COUNT

    server = Hypercorn()
    server.check()
    asyncio.run(asyncio.wait_for(main(), PATIENCE))


@pytest.mark.parametrize("gateway", [it for it in GATEWAYS if not it.recorded], ids=lambda it: it.name)
def test_websockets_of_a_pool_share_a_connection_to_a_gateway(gateway: Gateway, certificate: Certificate) -> None:
    async def main() -> None:
        back = Variant("1.1", False, True)
        async with (
            server.serve(back, certificate) as serving,
            gateway.between(OVER_TLS, back, serving.url, certificate) as url,
        ):
            await converse(url, certificate, server, serving.endings)

    server = Mintws()
    gateway.check()
    asyncio.run(asyncio.wait_for(main(), PATIENCE))
