"""A router is the handler and the hook of a server on trio."""

from __future__ import annotations

import pytest

from mintws import UpgradeError
from mintws.trio import Router
from mintws.trio.testing import serve_in_memory


async def chat(websocket, room):
    await websocket.send(f"welcome to {room}")


ROUTER = Router({"/chat/{room}": chat})


def test_each_path_has_its_handler(run, http):
    async def main():
        async with serve_in_memory(ROUTER, upgrade=ROUTER.upgrade) as server:
            async with server.connect("ws://localhost/chat/a%2Fb?c", http=http) as websocket:
                assert await websocket.recv() == "welcome to a/b"
            with pytest.raises(UpgradeError) as refused:
                async with server.connect("ws://localhost/chat", http=http):
                    pass
            assert refused.value.status == 404

    run(main)
