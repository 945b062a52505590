"""A driver for trio over the same core, as both ends of a conversation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio_driver
from conversation import CHECKS, HTTP1, HTTP2, Certificate, Closed, End, Ending, Peer, Serving, Variant, answer
from ours import told
from process import client_context, server_context
from trio_driver import WebSocket

import mintws
from mintws import PerMessageDeflate, Text
from mintws.session import Timeouts

TIMING = Timeouts(ping_interval=None, close_timeout=5.0, open_timeout=5.0)


class TrioEnd(End):
    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket

    async def send(self, message: str | bytes) -> None:
        await self.websocket.send(message)

    async def recv(self) -> str | bytes:
        try:
            return await self.websocket.recv()
        except mintws.ConnectionClosed:
            with trio.fail_after(2):
                await self.websocket.wait_closed()
            raise Closed(self._ending()) from None

    async def close(self, code: int, reason: str) -> Ending:
        await self.websocket.close(code, reason)
        return self._ending()

    async def send_fragments(self, fragments: list[str], *, ping: bool) -> None:
        async with trio.open_nursery() as nursery:
            for fragment in fragments:
                await self.websocket.send(Text(fragment, fin=False))
                if ping:
                    nursery.start_soon(self.websocket.ping)
            await self.websocket.send(Text("", fin=True))

    async def ping(self) -> None:
        await self.websocket.ping()

    def _ending(self) -> Ending:
        return told(self.websocket.ending)


class MintwsOnTrio(Peer):
    """The trial driver; it runs in a thread, and asyncio goes on meanwhile."""

    name = "mintws on trio"
    serves = calls = (*HTTP1, *HTTP2)

    @property
    def version(self) -> str:
        return mintws.__version__

    @asynccontextmanager
    async def serve(self, variant: Variant, certificate: Certificate) -> AsyncIterator[Serving]:
        loop = asyncio.get_running_loop()
        listens: asyncio.Future[tuple[int, Callable[[], Any]]] = loop.create_future()

        async def handler(websocket: WebSocket) -> None:
            try:
                ending = await answer(TrioEnd(websocket))
            except AssertionError as error:
                ending = Ending(None, str(error))
            loop.call_soon_threadsafe(serving.endings.put_nowait, ending)

        async def listen() -> None:
            context = server_context(certificate) if variant.tls else None
            if context is not None:
                context.set_alpn_protocols(["h2" if variant.http == "2" else "http/1.1"])
            token = trio.lowlevel.current_trio_token()
            async with trio_driver.serve(
                handler, ssl=context, extensions=_extensions(variant), timeouts=TIMING
            ) as port:
                with trio.CancelScope() as scope:
                    stop = lambda: token.run_sync_soon(scope.cancel)  # noqa: E731
                    loop.call_soon_threadsafe(listens.set_result, (port, stop))
                    await trio.sleep_forever()

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
            context = client_context(certificate) if variant.tls else None
            with trio.fail_after(15):
                async with trio_driver.connect(
                    url,
                    http=variant.http,  # type: ignore[arg-type]
                    host="127.0.0.1",
                    ssl=context,
                    extensions=_extensions(variant),
                    timeouts=TIMING,
                ) as websocket:
                    assert bool(websocket.connection.extensions) is variant.deflate
                    return await CHECKS[check](TrioEnd(websocket), self, server)

        return await asyncio.to_thread(trio.run, ask)


def _extensions(variant: Variant) -> tuple[PerMessageDeflate, ...]:
    return (PerMessageDeflate(),) if variant.deflate else ()
