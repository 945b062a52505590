"""`hypercorn`, an ASGI server, over HTTP/1.1 and HTTP/2. ASGI has no fragments and no Pings."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from conversation import HTTP1, HTTP2, Certificate, Closed, End, Ending, Peer, Serving, Variant, answer
from process import need_package, version_of


class Hypercorn(Peer):
    name = "hypercorn"
    # It takes permessage-deflate whenever it is offered, so our offer decides.
    serves = (*HTTP1, *HTTP2)
    fragments = False
    pings = False

    @property
    def version(self) -> str:
        return version_of("hypercorn")

    def check(self) -> None:
        need_package("hypercorn")

    @asynccontextmanager
    async def serve(self, variant: Variant, certificate: Certificate) -> AsyncIterator[Serving]:
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] != "websocket":
                raise NotImplementedError
            assert (await receive())["type"] == "websocket.connect"
            await send({"type": "websocket.accept"})
            serving.endings.put_nowait(await answer(_End(receive, send)))

        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = Config()
        port = listener.getsockname()[1]
        config.bind = [f"fd://{listener.detach()}"]
        config.loglevel = "CRITICAL"
        config.errorlog = logging.getLogger("hypercorn.quiet")
        config.graceful_timeout = 0.2
        if variant.tls:
            config.certfile, config.keyfile = certificate.cert, certificate.key
            config.alpn_protocols = ["h2"] if variant.http == "2" else ["http/1.1"]
        stop = asyncio.Event()
        server = asyncio.ensure_future(serve(application, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        serving = Serving(f"{variant.scheme}://localhost:{port}/chat?room=1")
        try:
            yield serving
        finally:
            stop.set()
            await asyncio.wait([server], timeout=2)
            server.cancel()
            await asyncio.wait([server], timeout=2)


class _End(End):
    def __init__(self, receive: Any, send: Any) -> None:
        self._receive = receive
        self._send = send

    async def send(self, message: str | bytes) -> None:
        kind = "text" if isinstance(message, str) else "bytes"
        await self._send({"type": "websocket.send", kind: message})

    async def recv(self) -> str | bytes:
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            raise Closed(Ending(event.get("code"), event.get("reason") or ""))
        text = event.get("text")
        return event["bytes"] if text is None else text  # type: ignore[no-any-return]

    async def close(self, code: int, reason: str) -> Ending:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})
        while True:
            try:
                await self.recv()
            except Closed as closed:
                return closed.ending
