"""A driver for trio of a few hundred lines says and does what asyncio's does: the core carries more than one."""

from __future__ import annotations

import asyncio

import pytest
import trio
import trio_driver
from conversation import CHECKS, HTTP1, HTTP2, PATIENCE, Certificate, Peer, Variant, agree
from ours import Mintws
from trio_driver import WebSocket
from with_trio import MintwsOnTrio

from mintws import Http1, Http2, Role, State, UpgradeRequest
from mintws.session import CloseStatus, Timeouts

OURS, TRIO = Mintws, MintwsOnTrio


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("variant", [*HTTP1, *HTTP2], ids=str)
@pytest.mark.parametrize(("server", "client"), [(TRIO, OURS), (OURS, TRIO), (TRIO, TRIO)])
def test_conversation(
    server: type[Peer], client: type[Peer], variant: Variant, check: str, certificate: Certificate
) -> None:
    async def main() -> None:
        async with server().serve(variant, certificate) as serving:
            ending = await client().converse(serving.url, variant, certificate, check, server())
            agree(check, ending, await asyncio.wait_for(serving.endings.get(), 3))

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


@pytest.mark.parametrize("http", ["1.1", "2"])
@pytest.mark.parametrize(
    ("closes", "cause"), [(False, "keepalive: no Pong came"), (True, "the peer did not close in time")]
)
def test_peer_that_goes_silent_is_given_up(http: str, closes: bool, cause: str) -> None:
    timeouts = Timeouts(ping_interval=None if closes else 0.1, ping_timeout=0.1, close_timeout=0.2)
    endings: list[CloseStatus] = []

    async def handler(websocket: WebSocket) -> None:
        if closes:
            await websocket.close(4000)
        await websocket.wait_closed()
        endings.append(websocket.ending)

    async def main() -> None:
        with trio.fail_after(10):
            async with trio_driver.serve(handler, ssl=None, extensions=(), timeouts=timeouts) as port:
                client = Http1(Role.CLIENT) if http == "1.1" else Http2(Role.CLIENT)
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.send_all(client.start())
                connection = client.open()
                await stream.send_all(connection.send(UpgradeRequest(f"127.0.0.1:{port}", "/")))
                while connection.state < State.OPEN:
                    _, reply = client.receive(bytes(await stream.receive_some(65536)))
                    await stream.send_all(reply)
                while not endings:
                    await trio.sleep(0.01)
                await stream.aclose()

    trio.run(main)
    assert endings[0].cause.startswith(cause)
    assert endings[0].sent is not None and endings[0].code == 1006
