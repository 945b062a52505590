"""permessage-deflate with other parameters than the usual: what we offer or ask for, each peer must keep to (RFC 7692 §7.1)."""

from __future__ import annotations

import asyncio

import pytest
from conversation import HTTP1, HTTP2, PATIENCE, Certificate, Peer, Variant
from ours import Mintws
from table import Row
from test_libraries import PEERS, converse

from mintws import PerMessageDeflate

PARAMETERS = {
    "windows of 512 bytes": PerMessageDeflate(server_max_window_bits=9, client_max_window_bits=9),
    "no context takeover": PerMessageDeflate(server_no_context_takeover=True, client_no_context_takeover=True),
}
CELLS = [
    pytest.param(peer, serving, variant, id=f"{peer.name}-{'server' if serving else 'client'}-{variant}")
    for peer in PEERS
    for serving in (True, False)
    for variant in (HTTP1[1], HTTP2[1])
    if variant in (peer.serves if serving else peer.calls)
]


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize(("peer", "serving", "variant"), CELLS)
def test_parameters(peer: Peer, serving: bool, variant: Variant, name: str, certificate: Certificate, row: Row) -> None:
    peer.check()
    row.peer, row.version, row.direction = peer.name, peer.version, "server" if serving else "client"
    row.http, row.tls, row.deflate, row.check = variant.http, variant.tls, variant.deflate, name
    row.remark = "other parameters of permessage-deflate too"
    ours = Mintws(extensions=(PARAMETERS[name],))
    server, client = (peer, ours) if serving else (ours, peer)
    asyncio.run(asyncio.wait_for(converse(server, client, variant, certificate, "messages"), PATIENCE))
    (agreed,) = ours.seen[0].connection.extensions
    said = dict(agreed.answer.params)
    if name == "no context takeover":
        assert said.keys() >= {"server_no_context_takeover"}, agreed.answer
    else:
        assert said["server_max_window_bits"] == "9", agreed.answer
