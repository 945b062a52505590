"""Libraries and runtimes: each as our server and as our client, in every way in which both can speak."""

from __future__ import annotations

import asyncio

import known
import pytest
from conversation import CHECKS, PATIENCE, Certificate, Peer, Variant, agree
from ours import Mintws
from table import Row
from with_aiohttp import Aiohttp
from with_hypercorn import Hypercorn
from with_node import Node
from with_runtimes import Bun, Deno, Undici
from with_runtimes import Node as NodeItself
from with_websockets import Websockets
from with_wsproto import Wsproto

PEERS = (Websockets(), Aiohttp(), Wsproto(), Hypercorn(), Node(), NodeItself(), Undici(), Bun(), Deno())
CELLS = [
    pytest.param(peer, serving, variant, id=f"{peer.name}-{'server' if serving else 'client'}-{variant}")
    for peer in PEERS
    for serving in (True, False)
    for variant in (peer.serves if serving else peer.calls)
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("peer", "serving", "variant"), CELLS)
def test_peer(peer: Peer, serving: bool, variant: Variant, check: str, certificate: Certificate, row: Row) -> None:
    peer.check()
    row.peer, row.version, row.direction = peer.name, peer.version, "server" if serving else "client"
    row.http, row.tls, row.deflate, row.check = variant.http, variant.tls, variant.deflate, check
    row.known = known.find(peer.name, serving, variant, check)
    ours = Mintws(**peer.ours)
    server, client = (peer, ours) if serving else (ours, peer)
    error: Exception | None = None
    try:
        asyncio.run(asyncio.wait_for(converse(server, client, variant, certificate, check), PATIENCE))
    except Exception as raised:
        error = raised
    known.hold_to(row.known, error)


async def converse(server: Peer, client: Peer, variant: Variant, certificate: Certificate, check: str) -> None:
    """Run one conversation and compare its ends."""
    async with server.serve(variant, certificate) as serving:
        ending = await client.converse(serving.url, variant, certificate, check, server)
        try:
            other = await asyncio.wait_for(serving.endings.get(), 3)
        except asyncio.TimeoutError:
            raise AssertionError("the server never told how it ended") from None
        agree(check, ending, other)
