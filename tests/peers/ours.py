"""mintws itself, as both ends of a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from conversation import (
    CLIENT_CLOSE,
    HTTP1,
    HTTP2,
    SERVER_CLOSE,
    Certificate,
    Closed,
    End,
    Ending,
    Peer,
    Serving,
    Variant,
    answer,
)
from process import client_context, server_context

import mintws
import mintws.session
from mintws.asyncio import WebSocket, connect, serve

#: Seconds in which the transport, or the stream, must be free behind the closing handshake.
SOON = 2.0
STILL_OPEN = f"the transport, or the stream, is still open {SOON:g} s after the closing handshake"


class OurEnd(End):
    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket

    async def send(self, message: str | bytes) -> None:
        await self.websocket.send(message)

    async def recv(self) -> str | bytes:
        try:
            return await self.websocket.recv()
        except mintws.ConnectionClosed:
            await asyncio.wait_for(self.websocket.wait_closed(), SOON)
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
                    pongs.append(asyncio.ensure_future(self.websocket.ping()))
                    await asyncio.sleep(0)

        pongs: list[asyncio.Future[float]] = []
        try:
            await self.websocket.send(one_by_one())
        finally:
            answers = await asyncio.gather(*pongs, return_exceptions=True)
        if any(isinstance(it, BaseException) for it in answers):
            raise Closed(self._ending())

    async def ping(self) -> None:
        await self.websocket.ping()

    def _ending(self) -> Ending:
        return told(self.websocket.ending)


def told(ending: mintws.session.CloseStatus) -> Ending:
    """Give what the other end's Close said, where the closing handshake was done."""
    assert ending.error is None, f"it ended with the fault: {ending.error}"
    assert ending.received is not None, f"no Close came: {ending.cause or ending}"
    assert ending.clean, "the closing handshake was not done"
    return Ending(ending.received.code, ending.received.reason)


class Mintws(Peer):
    """Our driver for asyncio.

    Attributes:
        seen: the WebSockets of its last connections.
        told: of those that it served, how they ended.
    """

    name = "mintws"
    serves = calls = (*HTTP1, *HTTP2)

    def __init__(self, **how: Any) -> None:
        #: Arguments of `connect` or `serve`, in place of the usual.
        self.how = how
        self.seen: list[WebSocket] = []
        self.told: dict[WebSocket, Ending] = {}

    @property
    def version(self) -> str:
        return mintws.__version__

    @asynccontextmanager
    async def serve(self, variant: Variant, certificate: Certificate, port: int = 0) -> AsyncIterator[Serving]:
        async def handler(websocket: WebSocket) -> None:
            self.seen.append(websocket)
            try:
                check_variant(websocket, variant)
                ending = await answer(OurEnd(websocket))
            except AssertionError as error:
                ending = Ending(None, str(error))
            except mintws.ConnectionClosed as closed:
                ending = Ending(closed.code, closed.reason)
            if ending.code in (CLIENT_CLOSE[0], SERVER_CLOSE[0]) and not await gone(websocket):
                ending = Ending(None, STILL_OPEN)
            self.told[websocket] = ending
            serving.endings.put_nowait(ending)

        how: dict[str, Any] = {"http2": variant.http == "2", "ping_interval": None, "close_timeout": 5.0}
        if not variant.deflate:
            how["extensions"] = ()
        context = server_context(certificate) if variant.tls else None
        async with serve(handler, "127.0.0.1", port, ssl=context, **{**how, **self.how}) as server:
            serving = Serving(f"{variant.scheme}://localhost:{server.port}/chat?room=1")
            yield serving

    @asynccontextmanager
    async def connect(self, url: str, variant: Variant, certificate: Certificate) -> AsyncIterator[End]:
        how: dict[str, Any] = {"ping_interval": None, "close_timeout": 5.0, "open_timeout": 5.0, "host": "127.0.0.1"}
        if variant.tls:
            how["ssl"] = client_context(certificate)
        if not variant.deflate:
            how["extensions"] = ()
        async with connect(url, http=variant.http, **{**how, **self.how}) as websocket:
            self.seen.append(websocket)
            check_variant(websocket, variant)
            yield OurEnd(websocket)
            assert await gone(websocket), STILL_OPEN


def check_variant(websocket: Any, variant: Variant) -> None:
    """Check that a connection is what the test believes."""
    assert websocket.http_version == variant.http, f"it is HTTP/{websocket.http_version}"
    assert bool(websocket.connection.extensions) is variant.deflate, f"agreed: {websocket.connection.extensions}"
    assert (websocket.transport.get_extra_info("ssl_object") is not None) is variant.tls


async def gone(websocket: WebSocket) -> bool:
    """Wait until the peer has ended its side: the stream over HTTP/2, the transport over HTTP/1.1."""
    for _ in range(int(SOON / 0.01)):
        carrier = websocket.connection.carrier
        if carrier.done if websocket.http_version == "2" else websocket.transport.is_closing():
            return True
        await asyncio.sleep(0.01)
    return False
