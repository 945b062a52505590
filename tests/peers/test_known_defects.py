"""Defects of peers that need more than one conversation to show, and what becomes of our side."""

from __future__ import annotations

import asyncio

import pytest
from conversation import CLOSE_PLEASE, HTTP1, HTTP2, PATIENCE, Certificate, Variant
from gateways import Envoy, Nghttpx
from ours import Mintws, gone
from process import client_context
from with_hypercorn import Hypercorn
from with_node import Node
from with_websockets import Websockets
from with_wsproto import Wsproto

import mintws
from mintws.asyncio import connect, connect_http2


def test_hypercorn_loses_all_sockets_of_a_connection_with_the_close_of_one(certificate: Certificate) -> None:
    """It forgets a stream with its Close, and our END_STREAM on it then ends the connection with KeyError."""
    peer = Hypercorn()
    peer.check()

    async def converse() -> None:
        async with peer.serve(HTTP2[0], certificate) as serving:
            port = int(serving.url.split(":")[2].split("/")[0])
            async with connect_http2(f"ws://127.0.0.1:{port}", close_timeout=1) as client:
                one, other = await client.open("/chat"), await client.open("/chat")
                for websocket in (one, other):
                    await websocket.send("one")
                    assert await websocket.recv() == "one"
                await one.send(CLOSE_PLEASE)
                with pytest.raises(mintws.ConnectionClosed) as ended:
                    await one.recv()
                assert (ended.value.code, ended.value.clean) == (4002, True)
                with pytest.raises(mintws.ConnectionClosed) as lost:
                    await other.recv()
                assert lost.value.code == 1006

    asyncio.run(asyncio.wait_for(converse(), PATIENCE))


@pytest.mark.parametrize("code", [0, 999, 1016])
def test_wsproto_sends_codes_that_may_not_be_sent(code: int, certificate: Certificate) -> None:
    """We fail the connection with 1002 (RFC 6455 §7.4)."""
    peer = Wsproto()
    peer.check()
    ours = Mintws()

    async def converse() -> None:
        async with ours.serve(HTTP1[0], certificate) as serving:
            # Our server gives up its half of the transport first, and waits for the client's (RFC 6455 §7.1.1): the end of this block.
            async with peer.connect(serving.url, HTTP1[0], certificate) as end:
                assert (await end.close(code, "")).code == 1002
            await asyncio.wait_for(serving.endings.get(), 5)
        error = ours.seen[0].ending.error
        assert error is not None and (error.code, error.section) == (1002, "RFC 6455 §7.4")

    asyncio.run(asyncio.wait_for(converse(), PATIENCE))


def test_wsproto_takes_no_1014(certificate: Certificate) -> None:
    """The code is in IANA's registry: it answers a good Close with 1002."""
    peer = Wsproto()
    peer.check()

    async def converse() -> None:
        async with peer.serve(HTTP1[0], certificate) as serving:
            async with Mintws().connect(serving.url, HTTP1[0], certificate) as end:
                assert (await end.close(1014, "bad gateway")).code == 1002
            assert (await asyncio.wait_for(serving.endings.get(), 5)).code == 1002

    asyncio.run(asyncio.wait_for(converse(), PATIENCE))


def test_wsproto_takes_no_interim_response() -> None:
    """A 103 before the 101 is good HTTP (RFC 9110 §15.2): it takes it for a refusal. We skip it."""
    peer = Wsproto()
    peer.check()
    from wsproto import ConnectionType, WSConnection
    from wsproto.events import RejectConnection, Request

    client = WSConnection(ConnectionType.CLIENT)
    client.send(Request(host="localhost", target="/"))
    client.receive_data(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert any(isinstance(event, RejectConnection) for event in client.events())


def test_nghttpx_leaves_a_stream_open_which_is_reset_soon(certificate: Certificate) -> None:
    """It ends no stream that an HTTP/2 server has ended (RFC 9113 §5.1)."""
    gateway, client, ours = Nghttpx(), Websockets(), Mintws(half_closed_timeout=0.5)
    for needed in (gateway, client):
        needed.check()

    async def converse() -> None:
        async with (
            ours.serve(HTTP2[0], certificate) as serving,
            gateway.between(HTTP1[0], HTTP2[0], serving.url, certificate) as url,
            client.connect(url, HTTP1[0], certificate) as end,
        ):
            assert (await end.close(1000, "")).code == 1000
            (websocket,) = ours.seen
            await asyncio.sleep(0.2)
            assert not websocket.connection.carrier.done
            assert await gone(websocket)

    asyncio.run(asyncio.wait_for(converse(), PATIENCE))


def test_600_websockets_pass_nghttpx_one_by_one(certificate: Certificate) -> None:
    """It takes one connection for them, which may have fewer streams at a time: those that it leaves open take at most half."""
    gateway, client, ours = Nghttpx(), Websockets(), Mintws(half_closed_timeout=60)
    for needed in (gateway, client):
        needed.check()

    async def converse() -> None:
        async with (
            ours.serve(HTTP2[0], certificate) as serving,
            gateway.between(HTTP1[0], HTTP2[0], serving.url, certificate) as url,
        ):
            for _ in range(600):
                async with client.connect(url, HTTP1[0], certificate) as end:
                    assert (await end.close(1000, "")).code == 1000

    asyncio.run(asyncio.wait_for(converse(), PATIENCE))


def test_envoy_leaves_the_accept_of_an_http1_client_to_an_http2_server(certificate: Certificate) -> None:
    """A server that processes no key, as RFC 8441 §5 has it, gives none, and the client has to refuse the 101 (RFC 6455 §4.1)."""
    gateway, server, front, back = Envoy(), Node(), Variant("1.1", True, False), HTTP2[0]
    for needed in (gateway, server):
        needed.check()

    async def converse() -> None:
        async with (
            server.serve(back, certificate) as serving,
            gateway.between(front, back, serving.url, certificate) as url,
        ):
            with pytest.raises(mintws.ConnectError, match="Sec-WebSocket-Accept is missing"):
                await connect(url, ssl=client_context(certificate), http="1.1")

    asyncio.run(asyncio.wait_for(converse(), PATIENCE))
