"""Gateways in front of our server and of other servers, in the same version of HTTP on both sides or in another."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import known
import pytest
from conversation import CHECKS, PATIENCE, Certificate, Peer, Variant, agree
from gateways import GATEWAYS, Gateway
from ours import Mintws
from table import Row
from with_node import Node
from with_websockets import Websockets


class Route(NamedTuple):
    """Client, gateway and server: one end is ours."""

    client: Peer
    front: str
    back: str
    server: Peer

    def __str__(self) -> str:
        return f"{self.client.name}-{self.front}-to-{self.back}-{self.server.name}".replace(" ", "")


#: How each side is spoken: "h2c" is HTTP/2 without TLS.
WAYS = {"h1": ("1.1", False), "h1s": ("1.1", True), "h2c": ("2", False), "h2": ("2", True)}
ROUTES = (
    Route(Websockets(), "h1s", "h2c", Mintws()),
    Route(Websockets(), "h1", "h2", Mintws()),
    Route(Node(), "h2", "h1", Mintws()),
    Route(Node(), "h2", "h2c", Mintws()),
    Route(Websockets(), "h1s", "h1", Mintws()),
    Route(Websockets(), "h1", "h1s", Mintws()),
    Route(Mintws(), "h2", "h1", Websockets()),
    Route(Mintws(), "h2c", "h1", Websockets()),
    Route(Mintws(), "h1s", "h2c", Node()),
    Route(Mintws(), "h2", "h2c", Node()),
    Route(Mintws(), "h1s", "h1", Websockets()),
)
#: What of them each gateway takes. Envoy leaves the Sec-WebSocket-Accept to the server, and only ours gives one over HTTP/2.
CELLS = [
    pytest.param(gateway, route, id=f"{gateway.name}-{route}")
    for gateway in GATEWAYS
    for route in ROUTES
    if gateway.takes(Variant(*WAYS[route.front], False), Variant(*WAYS[route.back], False))
    and not (gateway.name == "Envoy" and (route.front, route.back, route.server.name) == ("h1s", "h2c", Node.name))
]


#: Frames pass a gateway untouched, so that compression is one more header to it.
CASES = [*((False, check) for check in CHECKS), (True, "messages")]


@pytest.mark.parametrize(("deflate", "check"), CASES, ids=lambda it: {False: "plain", True: "deflate"}.get(it, it))
@pytest.mark.parametrize(("gateway", "route"), CELLS)
def test_gateway(gateway: Gateway, route: Route, deflate: bool, check: str, certificate: Certificate, row: Row) -> None:
    for needed in (gateway, route.client, route.server):
        needed.check()
    front, back = (Variant(*WAYS[way], deflate) for way in (route.front, route.back))
    serving = isinstance(route.server, Mintws)
    ours = back if serving else front
    row.peer, row.version, row.direction = (
        gateway.name,
        gateway.version,
        "before our server" if serving else "behind our client",
    )
    row.http, row.tls, row.deflate, row.check = ours.http, ours.tls, deflate, check
    other = f"from {route.client.name} by {route.front}" if serving else f"to {route.server.name} by {route.back}"
    row.remark = other
    row.known = known.find(gateway.name, not serving, ours, check)
    error: Exception | None = None
    try:
        asyncio.run(asyncio.wait_for(converse(gateway, route, front, back, certificate, check), PATIENCE))
    except Exception as raised:
        error = raised
    known.hold_to(row.known, error)


async def converse(
    gateway: Gateway, route: Route, front: Variant, back: Variant, certificate: Certificate, check: str
) -> None:
    """Run one conversation through a gateway and compare its ends."""
    async with (
        route.server.serve(back, certificate) as serving,
        gateway.between(front, back, serving.url, certificate) as url,
    ):
        ending = await route.client.converse(url, front, certificate, check, route.server)
        try:
            other = await asyncio.wait_for(serving.endings.get(), 3)
        except asyncio.TimeoutError:
            raise AssertionError("the server never told how it ended") from None
        agree(check, ending, other)
