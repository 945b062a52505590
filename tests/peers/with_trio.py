"""Our driver for trio, as both ends of a conversation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from conversation import CHECKS, HTTP1, HTTP2, Certificate, Closed, End, Ending, Peer, Serving, Variant, answer
from ours import SOON, STILL_OPEN, told
from process import client_context, server_context

import mintws
from mintws.trio import WebSocket, connect, serve


class TrioEnd(End):
    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket

    async def send(self, message: str | bytes) -> None:
        await self.websocket.send(message)

    async def recv(self) -> str | bytes:
        try:
            return await self.websocket.recv()
        except mintws.ConnectionClosed:
            with trio.fail_after(SOON):
                await self.websocket.wait_closed()
            raise Closed(self._ending()) from None

    async def close(self, code: int, reason: str) -> Ending:
        await self.websocket.close(code, reason)
        return self._ending()

    async def send_fragments(self, fragments: list[str], *, ping: bool) -> None:
        async def one_by_one() -> AsyncIterator[str]:
            for fragment in fragments:
                yield fragment
                if ping:
                    # Not awaited: some peers read nothing while they answer.
                    nursery.start_soon(self.websocket.ping)
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            await self.websocket.send(one_by_one())

    async def ping(self) -> None:
        await self.websocket.ping()

    def _ending(self) -> Ending:
        return told(self.websocket.ending)


class MintwsOnTrio(Peer):
    """Our driver for trio; it runs in a thread, and asyncio goes on meanwhile."""

    name = "mintws on trio"
    serves = calls = (*HTTP1, *HTTP2)

    @property
    def version(self) -> str:
        return mintws.__version__

    @asynccontextmanager
    async def serve(self, variant: Variant, certificate: Certificate, port: int = 0) -> AsyncIterator[Serving]:
        loop = asyncio.get_running_loop()
        listens: asyncio.Future[tuple[int, Callable[[], Any]]] = loop.create_future()

        async def handler(websocket: WebSocket) -> None:
            try:
                check_variant(websocket, variant)
                ending = await answer(TrioEnd(websocket))
                if not await gone(websocket):
                    ending = Ending(None, STILL_OPEN)
            except AssertionError as error:
                ending = Ending(None, str(error))
            loop.call_soon_threadsafe(serving.endings.put_nowait, ending)

        async def listen() -> None:
            how: dict[str, Any] = {"http2": variant.http == "2", "ping_interval": None, "close_timeout": 5.0}
            if not variant.deflate:
                how["extensions"] = ()
            context = server_context(certificate) if variant.tls else None
            token = trio.lowlevel.current_trio_token()
            async with serve(handler, "127.0.0.1", port, ssl=context, **how) as server:
                with trio.CancelScope() as scope:
                    stop = lambda: token.run_sync_soon(scope.cancel)  # noqa: E731
                    loop.call_soon_threadsafe(listens.set_result, (server.port, stop))
                    await server.serve_forever()

        thread = threading.Thread(target=trio.run, args=(listen,), daemon=True)
        thread.start()
        port, stop = await listens
        serving = Serving(f"{variant.scheme}://localhost:{port}/chat?room=1")
        try:
            yield serving
        finally:
            stop()
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive(), "the server does not end"

    async def converse(self, url: str, variant: Variant, certificate: Certificate, check: str, server: Peer) -> Ending:
        async def ask() -> Ending:
            how: dict[str, Any] = {"ping_interval": None, "close_timeout": 5.0, "open_timeout": 5.0}
            if variant.tls:
                how["ssl"] = client_context(certificate)
            if not variant.deflate:
                how["extensions"] = ()
            with trio.fail_after(15):
                async with connect(url, http=variant.http, host="127.0.0.1", **how) as websocket:
                    check_variant(websocket, variant)
                    ending = await CHECKS[check](TrioEnd(websocket), self, server)
                    assert await gone(websocket), STILL_OPEN
                    return ending

        return await asyncio.to_thread(trio.run, ask)


def check_variant(websocket: WebSocket, variant: Variant) -> None:
    """Check that a connection is what the test believes."""
    assert websocket.http_version == variant.http, f"it is HTTP/{websocket.http_version}"
    assert bool(websocket.connection.extensions) is variant.deflate, f"agreed: {websocket.connection.extensions}"
    assert (websocket.ssl_object is not None) is variant.tls


async def gone(websocket: WebSocket) -> bool:
    """Wait until the peer has ended its side: the stream over HTTP/2, the transport over HTTP/1.1."""
    for _ in range(int(SOON / 0.01)):
        carrier = websocket.connection.carrier
        if carrier.done if websocket.http_version == "2" else websocket._protocol.closing:
            return True
        await trio.sleep(0.01)
    return False
