"""Our driver for threads, as both ends of a conversation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from conversation import CHECKS, HTTP1, HTTP2, Certificate, Closed, End, Ending, Peer, Serving, Variant, answer
from ours import check_variant, told
from process import client_context, server_context

import mintws
from mintws.sync import WebSocket, connect, serve

TIMING: dict[str, Any] = {"ping_interval": None, "close_timeout": 5.0, "open_timeout": 5.0}


class BlockingEnd(End):
    """Its methods block, so it has a loop, and a thread, of its own."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket

    async def send(self, message: str | bytes) -> None:
        self.websocket.send(message, timeout=10)

    async def recv(self) -> str | bytes:
        try:
            return self.websocket.recv(timeout=10)
        except mintws.ConnectionClosed:
            self.websocket.wait_closed(timeout=2)
            raise Closed(told(self.websocket.ending)) from None

    async def close(self, code: int, reason: str) -> Ending:
        self.websocket.close(code, reason)
        return told(self.websocket.ending)

    async def send_fragments(self, fragments: list[str], *, ping: bool) -> None:
        pings: list[threading.Thread] = []

        def one_by_one() -> Iterator[str]:
            for fragment in fragments:
                yield fragment
                if ping:
                    # In threads of their own: some peers read nothing while they answer.
                    pings.append(threading.Thread(target=self.websocket.ping, kwargs={"timeout": 10}))
                    pings[-1].start()

        self.websocket.send(one_by_one(), timeout=10)
        for thread in pings:
            # Who receives the Pongs is this thread, or the background.
            thread.join(10)
            assert not thread.is_alive()

    async def ping(self) -> None:
        self.websocket.ping(timeout=10)


class MintwsOnThreads(Peer):
    """Our driver for threads; asyncio goes on meanwhile."""

    name = "mintws on threads"
    serves = calls = (*HTTP1, *HTTP2)

    @property
    def version(self) -> str:
        return mintws.__version__

    @asynccontextmanager
    async def serve(self, variant: Variant, certificate: Certificate) -> AsyncIterator[Serving]:
        loop = asyncio.get_running_loop()

        def handler(websocket: WebSocket) -> None:
            try:
                check_variant(websocket, variant)
                ending = asyncio.run(answer(BlockingEnd(websocket)))
            except AssertionError as error:
                ending = Ending(None, str(error))
            loop.call_soon_threadsafe(serving.endings.put_nowait, ending)

        how = {**TIMING, "http2": variant.http == "2", "ssl": server_context(certificate) if variant.tls else None}
        if not variant.deflate:
            how["extensions"] = ()
        server = serve(handler, "127.0.0.1", 0, **how).listen()
        serving = Serving(f"{variant.scheme}://localhost:{server.port}/chat?room=1")
        try:
            yield serving
        finally:
            await asyncio.to_thread(server.close)
            assert not server._threads, "a handler is left"

    async def converse(self, url: str, variant: Variant, certificate: Certificate, check: str, server: Peer) -> Ending:
        how: dict[str, Any] = {**TIMING, "host": "127.0.0.1", "http": variant.http}
        if variant.tls:
            how["ssl"] = client_context(certificate)
        if not variant.deflate:
            how["extensions"] = ()

        def ask() -> Ending:
            with connect(url, **how) as websocket:
                check_variant(websocket, variant)
                return asyncio.run(CHECKS[check](BlockingEnd(websocket), self, server))

        return await asyncio.to_thread(ask)
