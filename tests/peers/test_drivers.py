"""The drivers for trio and for threads, and asyncio's on uvloop, say and do what asyncio's does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conversation import CHECKS, HTTP1, HTTP2, PATIENCE, Certificate, Peer, Variant, agree
from ours import Mintws
from with_sync import MintwsOnThreads
from with_trio import MintwsOnTrio

try:
    import uvloop
except ImportError:
    uvloop = None

PAIRS = [
    pair for other in (MintwsOnTrio, MintwsOnThreads) for pair in ((other, Mintws), (Mintws, other), (other, other))
]
#: On uvloop, the pairs in which it runs our driver.
ON_UVLOOP = [(Mintws, Mintws), *(pair for pair in PAIRS if Mintws in pair)]


def on_uvloop(work: Coroutine[Any, Any, None]) -> None:
    uvloop.run(work)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("variant", [*HTTP1, *HTTP2], ids=str)
@pytest.mark.parametrize(
    ("server", "client", "run"),
    [
        *((*pair, asyncio.run) for pair in PAIRS),
        *(
            pytest.param(*pair, on_uvloop, marks=pytest.mark.skipif(uvloop is None, reason="uvloop is not there"))
            for pair in ON_UVLOOP
        ),
    ],
)
def test_conversation(
    server: type[Peer],
    client: type[Peer],
    run: Callable[[Coroutine[Any, Any, None]], None],
    variant: Variant,
    check: str,
    certificate: Certificate,
) -> None:
    async def main() -> None:
        async with server().serve(variant, certificate) as serving:
            ending = await client().converse(serving.url, variant, certificate, check, server())
            agree(check, ending, await asyncio.wait_for(serving.endings.get(), 3))

    run(asyncio.wait_for(main(), PATIENCE))
