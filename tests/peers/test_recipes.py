"""The configurations of docs/gateways.md between our client and our server: what is more than one conversation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from conversation import PATIENCE, Certificate, Variant
from gateways import GATEWAYS, PAGE, Gateway
from ours import Mintws
from process import client_context, missing

from mintws import UpgradeError, UpgradeReject
from mintws.asyncio import WebSocket, connect, connect_http2

CELLS = [
    pytest.param(gateway, back, id=f"{gateway.name}-to-http{back}") for gateway in GATEWAYS for back in gateway.files
]
#: Of these, more than a server lets one HTTP/2 connection have; and one after another.
AT_ONCE, IN_TURN = 150, 40


@contextlib.asynccontextmanager
async def between(gateway: Gateway, back: str, ours: Mintws, certificate: Certificate) -> AsyncIterator[str]:
    """Run a gateway before our server; gives the URL for clients."""
    gateway.check()
    front, onward = Variant("2", True, True), Variant(back, False, True)
    async with ours.serve(onward, certificate) as serving:
        async with gateway.between(front, onward, serving.url, certificate) as url:
            yield url


@pytest.mark.parametrize(("gateway", "back"), CELLS)
def test_many_websockets_pass_at_once_and_one_by_one(gateway: Gateway, back: str, certificate: Certificate) -> None:
    context = client_context(certificate)

    async def say(websocket: WebSocket) -> None:
        await websocket.send("hello")
        assert await websocket.recv() == "hello"

    async def converse() -> None:
        async with between(gateway, back, Mintws(), certificate) as url:
            websockets = await asyncio.gather(*(connect(url, ssl=context, http="1.1") for _ in range(AT_ONCE)))
            await asyncio.gather(*map(say, websockets))
            await asyncio.gather(*(it.close() for it in websockets))
            assert all(it.ending.clean for it in websockets)
            for _ in range(IN_TURN):
                async with connect(url, ssl=context, http="1.1") as websocket:
                    await say(websocket)
            if "2" not in gateway.fronts:
                return
            async with connect_http2(url, ssl=context) as client:
                opened = [await client.open("/chat") for _ in range(gateway.at_once or 50)]
                await asyncio.gather(*map(say, opened))
                await asyncio.gather(*(it.close() for it in opened))
                assert all(it.ending.clean for it in opened)
                for _ in range(IN_TURN):
                    async with await client.open("/chat") as websocket:
                        await say(websocket)

    asyncio.run(asyncio.wait_for(converse(), 3 * PATIENCE))


@pytest.mark.parametrize(("gateway", "back"), CELLS)
def test_refusals_arrive_whole(gateway: Gateway, back: str, certificate: Certificate) -> None:
    refusal = UpgradeReject(401, headers={"WWW-Authenticate": "Bearer"}, body=b"who are you?\n")
    ours = Mintws(upgrade=lambda connection, request: refusal)

    async def converse() -> None:
        async with between(gateway, back, ours, certificate) as url:
            for http in gateway.fronts:
                with pytest.raises(UpgradeError) as refused:
                    await connect(url, ssl=client_context(certificate), http=http)
                assert (refused.value.status, refused.value.body) == (401, b"who are you?\n")
                assert ("www-authenticate", "Bearer") in [
                    (name.lower(), value) for name, value in refused.value.headers
                ]

    asyncio.run(asyncio.wait_for(converse(), PATIENCE))


@pytest.mark.parametrize(("gateway", "back"), CELLS)
def test_pages_of_the_host_get_in_with_their_cookies(gateway: Gateway, back: str, certificate: Certificate) -> None:
    # The server compares the Origin with the Host, so that a gateway has to pass on both; and a client takes any version.
    async def converse() -> None:
        async with between(gateway, back, Mintws(), certificate) as url:
            origin = url.split("/chat")[0].replace("wss", "https")
            how = {"ssl": client_context(certificate), "headers": {"Cookie": "id=1"}}
            for http in (*gateway.fronts, "auto"):
                async with connect(url, http=http, origin=origin, **how) as websocket:
                    await websocket.send("hello")
                    assert await websocket.recv() == "hello"
                assert websocket.http_version == (gateway.fronts[-1] if http == "auto" else http)
                with pytest.raises(UpgradeError) as refused:
                    await connect(url, http=http, origin="https://evil.example", **how)
                assert refused.value.status == 403

    asyncio.run(asyncio.wait_for(converse(), PATIENCE))


@pytest.mark.parametrize("gateway", GATEWAYS, ids=lambda it: it.name)
def test_the_page_names_the_version_that_is_run(gateway: Gateway) -> None:
    gateway.check()
    if f"| {gateway.name} | {gateway.version} |" not in PAGE.read_text():
        missing(f"{gateway.name} of the version that {PAGE.name} names", f"{gateway.version} is here")
