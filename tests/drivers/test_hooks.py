"""The hooks of `serve`: what their answers leave to the arguments."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
from drivers.conftest import listening, url

from mintws import PerMessageDeflate, UpgradeAccept
from mintws.asyncio import connect

COOKIE = {"Set-Cookie": "session=1"}


@pytest.mark.parametrize(
    ("answer", "subprotocol", "bits"),
    [
        (UpgradeAccept(), "chat", "12"),
        (UpgradeAccept(headers=COOKIE), "chat", "12"),
        (replace(UpgradeAccept(), headers=COOKIE), "chat", "12"),
        (pickle.loads(pickle.dumps(UpgradeAccept())), "chat", "12"),
        (copy.deepcopy(UpgradeAccept()), "chat", "12"),
        (UpgradeAccept(subprotocol=None), None, "12"),
        (UpgradeAccept(subprotocol="tea"), "tea", "12"),
        (UpgradeAccept(extensions=()), "chat", None),
        (UpgradeAccept(extensions=[PerMessageDeflate(server_max_window_bits=10)]), "chat", "10"),
        (UpgradeAccept(subprotocol=None, extensions=()), None, None),
    ],
)
def test_what_an_accept_does_not_give_is_as_the_arguments_say(run, http, answer, subprotocol, bits):
    async def work():
        async with listening(upgrade=lambda connection, request: answer, subprotocols=["chat"]) as server:
            async with connect(url(server), http=http, subprotocols=["tea", "chat"]) as websocket:
                assert websocket.subprotocol == subprotocol
                offers = [dict(it.params).get("server_max_window_bits") for it in websocket.response.extensions]
                assert offers == ([] if bits is None else [bits])
                assert dict(websocket.response.headers).get("set-cookie") == dict(answer.headers).get("Set-Cookie")
                (accepted,) = server.websockets
                assert accepted.subprotocol == accepted.response.subprotocol == subprotocol
                assert len(accepted.connection.extensions) == len(offers)

    run(work())
