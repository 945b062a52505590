"""The drivers for trio and for threads say and do what asyncio's does."""

from __future__ import annotations

import asyncio

import pytest
from conversation import CHECKS, HTTP1, HTTP2, PATIENCE, Certificate, Peer, Variant, agree
from ours import Mintws
from with_sync import MintwsOnThreads
from with_trio import MintwsOnTrio

PAIRS = [
    pair for other in (MintwsOnTrio, MintwsOnThreads) for pair in ((other, Mintws), (Mintws, other), (other, other))
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("variant", [*HTTP1, *HTTP2], ids=str)
@pytest.mark.parametrize(("server", "client"), PAIRS)
def test_conversation(
    server: type[Peer], client: type[Peer], variant: Variant, check: str, certificate: Certificate
) -> None:
    async def main() -> None:
        async with server().serve(variant, certificate) as serving:
            ending = await client().converse(serving.url, variant, certificate, check, server())
            agree(check, ending, await asyncio.wait_for(serving.endings.get(), 3))

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
