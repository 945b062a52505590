"""`aiohttp`, over HTTP/1.1. It cannot send fragments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from conversation import HTTP1, Certificate, Closed, End, Ending, Peer, Serving, Variant, answer
from process import client_context, need_package, server_context, version_of


class Aiohttp(Peer):
    name = "aiohttp"
    serves = calls = HTTP1
    fragments = False

    def __init__(self, **how: Any) -> None:
        self.how = how

    @property
    def version(self) -> str:
        return version_of("aiohttp")

    def check(self) -> None:
        need_package("aiohttp")

    @asynccontextmanager
    async def serve(self, variant: Variant, certificate: Certificate) -> AsyncIterator[Serving]:
        from aiohttp import web

        async def handler(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse(compress=variant.deflate, **self.how)
            await socket.prepare(request)
            serving.endings.put_nowait(await answer(_End(socket)))
            return socket

        application = web.Application()
        application.router.add_get("/chat", handler)
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(
                runner, "127.0.0.1", 0, ssl_context=server_context(certificate) if variant.tls else None
            ).start()
            serving = Serving(f"{variant.scheme}://localhost:{runner.addresses[0][1]}/chat?room=1")
            yield serving
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def connect(self, url: str, variant: Variant, certificate: Certificate) -> AsyncIterator[End]:
        import aiohttp

        how: dict[str, Any] = {"compress": 15 if variant.deflate else 0}
        context = client_context(certificate) if variant.tls else True
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, ssl=context, **{**how, **self.how}) as socket,
        ):
            yield _End(socket)


class _End(End):
    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def send(self, message: str | bytes) -> None:
        await (self.socket.send_str(message) if isinstance(message, str) else self.socket.send_bytes(message))

    async def recv(self) -> str | bytes:
        import aiohttp

        message = await self.socket.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return message.data  # type: ignore[no-any-return]
        raise Closed(Ending(self.socket.close_code, message.extra or repr(self.socket.exception())))

    async def close(self, code: int, reason: str) -> Ending:
        await self.socket.close(code=code, message=reason.encode())
        return Ending(self.socket.close_code, "")

    async def ping(self) -> None:
        # It does not tell of the Pong.
        await self.socket.ping(b"are you there?")
