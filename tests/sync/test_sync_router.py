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


@pytest.mark.parametrize("wrap", [lambda handler: Router({"/": handler}), lambda handler: lambda it: handler(it)])
def test_a_coroutine_function_that_is_no_handler_for_threads_is_told(caplog, wrap):
    async def handler(websocket):
        raise NotImplementedError

    with serve_in_memory(wrap(handler)) as server:
        with server.connect("ws://localhost/") as websocket:
            websocket.wait_closed(timeout=10)
            assert websocket.close_code == 1011
    assert "which cannot await" in caplog.text
