"""A router is the handler and the hook of a server for threads."""

from __future__ import annotations

import pytest

from mintws import UpgradeError
from mintws.sync import Router
from mintws.sync.testing import serve_in_memory


def chat(websocket, room):
    websocket.send(f"welcome to {room}")


ROUTER = Router({"/chat/{room}": chat})


def test_each_path_has_its_handler(http):
    with serve_in_memory(ROUTER, upgrade=ROUTER.upgrade) as server:
        with server.connect("ws://localhost/chat/a%2Fb?c", http=http) as websocket:
            assert websocket.recv() == "welcome to a/b"
        with pytest.raises(UpgradeError) as refused:
            server.connect("ws://localhost/chat", http=http).open()
        assert refused.value.status == 404
