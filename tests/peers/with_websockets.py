"""`websockets`, over HTTP/1.1."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from conversation import HTTP1, Certificate, Closed, End, Ending, Peer, Serving, Variant, answer
from process import client_context, need_package, server_context, version_of


class Websockets(Peer):
    name = "websockets"
    serves = calls = HTTP1

    def __init__(self, **how: Any) -> None:
        self.how = how

    @property
    def version(self) -> str:
        return version_of("websockets")

    def check(self) -> None:
        need_package("websockets")

    @asynccontextmanager
    async def serve(self, variant: Variant, certificate: Certificate, port: int = 0) -> AsyncIterator[Serving]:
        from websockets.asyncio.server import ServerConnection, serve

        async def handler(connection: ServerConnection) -> None:
            serving.endings.put_nowait(await answer(_End(connection)))

        context = server_context(certificate) if variant.tls else None
        how: dict[str, Any] = {"compression": "deflate" if variant.deflate else None, "ping_interval": None}
        async with serve(handler, "127.0.0.1", port, ssl=context, **{**how, **self.how}) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            serving = Serving(f"{variant.scheme}://localhost:{port}/chat?room=1")
            yield serving

    @asynccontextmanager
    async def connect(self, url: str, variant: Variant, certificate: Certificate) -> AsyncIterator[End]:
        from websockets.asyncio.client import connect

        how: dict[str, Any] = {"compression": "deflate" if variant.deflate else None, "ping_interval": None}
        how |= {"proxy": None, "host": "127.0.0.1"}
        if variant.tls:
            how["ssl"] = client_context(certificate)
        async with connect(url, **{**how, **self.how}) as connection:
            yield _End(connection)


class _End(End):
    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def send(self, message: str | bytes) -> None:
        await self.connection.send(message)

    async def recv(self) -> str | bytes:
        from websockets.exceptions import ConnectionClosed

        try:
            return await self.connection.recv()  # type: ignore[no-any-return]
        except ConnectionClosed:
            await self.connection.wait_closed()
            raise Closed(self._ending()) from None

    async def close(self, code: int, reason: str) -> Ending:
        await self.connection.close(code, reason)
        return self._ending()

    async def send_fragments(self, fragments: list[str], *, ping: bool) -> None:
        async def one_by_one() -> AsyncIterator[str]:
            for fragment in fragments:
                yield fragment
                if ping:
                    await self.connection.ping()

        await self.connection.send(one_by_one())

    async def ping(self) -> None:
        await (await self.connection.ping())

    def _ending(self) -> Ending:
        received = self.connection.protocol.close_rcvd
        return Ending(1006, "no Close") if received is None else Ending(received.code, received.reason)
