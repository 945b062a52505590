"""The values of the opening handshake, without a driver: what was not given, and what is no part of what is said."""

from __future__ import annotations

import pytest
from wire import Wire

from mintws import Http1, Http2, PerMessageDeflate, UpgradeAccept, UpgradeRequest
from mintws.events import NotGiven, Peer, Request


@pytest.mark.parametrize("carrier", [Http1, Http2])
def test_what_an_accept_does_not_give_is_none(carrier):
    wire = Wire(carrier)
    client = wire.client.open()
    request = UpgradeRequest("example.com", subprotocols=["chat"], extensions=[PerMessageDeflate()])
    assert wire.to_server(client.send(request)) == [wire.server_said[0][1]]
    server = wire.server_said[0][0]
    assert server.request.peer is server.app is None
    (accepted,) = wire.to_client(server.send(UpgradeAccept()))
    for answer in (accepted, server.response, client.response):
        assert (answer.subprotocol, answer.extensions) == (None, ())
    assert server.extensions == client.extensions == ()
    assert server.subprotocol is client.subprotocol is None


def test_an_accept_that_gives_nothing_says_the_same_as_one_that_gives_none():
    none = UpgradeAccept(subprotocol=None, extensions=())
    assert none == UpgradeAccept()
    assert hash(none) == hash(UpgradeAccept())
    for other in (UpgradeAccept(subprotocol="chat"), UpgradeAccept(headers={"a": "b"}), None):
        assert UpgradeAccept() != other
    assert UpgradeAccept().subprotocol is NotGiven.NOT_GIVEN
    assert repr(UpgradeAccept()) == "UpgradeAccept(subprotocol=NOT_GIVEN, extensions=NOT_GIVEN, headers=())"


@pytest.mark.parametrize(
    "asked_by",
    [lambda peer: UpgradeRequest("example.com", peer=peer), lambda peer: Request("GET", "/", peer=peer)],
    ids=["UpgradeRequest", "Request"],
)
def test_who_asks_is_no_part_of_a_request(asked_by):
    peer = Peer(("127.0.0.1", 1))
    assert asked_by(peer) == asked_by(None)
    assert hash(asked_by(peer)) == hash(asked_by(None))
    assert repr(asked_by(peer)) == repr(asked_by(None))
    assert asked_by(peer).peer is peer
