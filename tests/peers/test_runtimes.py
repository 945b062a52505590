"""JavaScript runtimes whose WebSocket is refused."""

from __future__ import annotations

import asyncio

import pytest
from conversation import PATIENCE, Certificate, Variant
from ours import Mintws
from table import Row
from with_runtimes import Bun, Deno, Node, Runtime, Undici

from mintws import UpgradeReject

CLIENTS = [
    pytest.param(peer, variant, id=f"{peer.name}-{variant}")
    for peer in (Node(), Undici(), Bun(), Deno())
    for variant in peer.calls
    if variant.tls is (variant.http == "2")
]


@pytest.mark.parametrize(("peer", "variant"), CLIENTS)
def test_a_refusal_is_told_and_opens_nothing(
    peer: Runtime, variant: Variant, certificate: Certificate, row: Row
) -> None:
    peer.check()
    row.peer, row.version, row.direction, row.check = peer.name, peer.version, "client", "refusal"
    row.http, row.tls, row.deflate = variant.http, variant.tls, variant.deflate
    ours = Mintws(upgrade=lambda connection, request: UpgradeReject(403, body=b"not you\n"), **peer.ours)

    async def converse() -> None:
        async with ours.serve(variant, certificate) as serving:
            told = await peer.tell(serving.url, variant, certificate, "refused")
            assert (told["code"], told["clean"]) == (0 if peer.name == "Deno" else 1006, False)
        assert ours.seen == []

    asyncio.run(asyncio.wait_for(converse(), PATIENCE))
