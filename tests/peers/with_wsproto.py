"""`wsproto`, over HTTP/1.1, on asyncio's streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from conversation import HTTP1, Certificate, Closed, End, Ending, Peer, Serving, Variant, answer
from process import client_context, need_package, server_context, version_of


class Wsproto(Peer):
    name = "wsproto"
    serves = calls = HTTP1

    @property
    def version(self) -> str:
        return version_of("wsproto")

    def check(self) -> None:
        need_package("wsproto")

    @asynccontextmanager
    async def serve(self, variant: Variant, certificate: Certificate) -> AsyncIterator[Serving]:
        from wsproto import ConnectionType, WSConnection
        from wsproto.events import AcceptConnection, Request

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            end = _End(WSConnection(ConnectionType.SERVER), reader, writer)
            assert isinstance(await end.event(), Request)
            end.write(AcceptConnection(extensions=_extensions(variant)))
            serving.endings.put_nowait(await answer(end))
            writer.close()

        context = server_context(certificate) if variant.tls else None
        server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            serving = Serving(f"{variant.scheme}://localhost:{port}/chat?room=1")
            yield serving

    @asynccontextmanager
    async def connect(self, url: str, variant: Variant, certificate: Certificate) -> AsyncIterator[End]:
        from wsproto import ConnectionType, WSConnection
        from wsproto.events import AcceptConnection, Request

        parts = urlsplit(url)
        tls = {"ssl": client_context(certificate), "server_hostname": "localhost"} if variant.tls else {}
        reader, writer = await asyncio.open_connection("127.0.0.1", parts.port, **tls)  # type: ignore[arg-type]
        end = _End(WSConnection(ConnectionType.CLIENT), reader, writer)
        end.write(Request(host=parts.netloc, target=f"{parts.path}?{parts.query}", extensions=_extensions(variant)))
        answered = await end.event()
        assert isinstance(answered, AcceptConnection), answered
        try:
            yield end
        finally:
            writer.close()


def _extensions(variant: Variant) -> list[Any]:
    from wsproto.extensions import PerMessageDeflate

    return [PerMessageDeflate()] if variant.deflate else []


class _End(End):
    def __init__(self, connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection = connection
        self.reader = reader
        self.writer = writer
        self.events: list[Any] = []

    def write(self, event: Any) -> None:
        self.writer.write(self.connection.send(event))

    async def event(self) -> Any:
        while not self.events:
            # Told of nothing at the end: wsproto makes a Close with 1006 of b"", whatever came before.
            data = await self.reader.read(65536)
            if not data:
                raise Closed(Ending(1006, "the stream ended"))
            self.connection.receive_data(data)
            self.events = list(self.connection.events())
        return self.events.pop(0)

    async def send(self, message: str | bytes) -> None:
        from wsproto.events import BytesMessage, TextMessage

        self.write(TextMessage(message) if isinstance(message, str) else BytesMessage(message))
        await self.writer.drain()

    async def recv(self) -> str | bytes:
        from wsproto.events import CloseConnection, Message, Ping
        from wsproto.utilities import RemoteProtocolError

        parts: list[Any] = []
        while True:
            try:
                event = await self.event()
            except RemoteProtocolError as error:
                self.write(error.event_hint)
                raise Closed(Ending(int(error.event_hint.code), str(error))) from None
            if isinstance(event, Ping):
                self.write(event.response())
            elif isinstance(event, Message):
                parts.append(event.data)
                if event.message_finished:
                    return ("" if isinstance(event.data, str) else b"").join(parts)  # type: ignore[no-any-return]
            elif isinstance(event, CloseConnection):
                self.write(event.response())
                await self.writer.drain()
                raise Closed(Ending(event.code, event.reason or ""))

    async def close(self, code: int, reason: str) -> Ending:
        from wsproto.events import CloseConnection

        self.write(CloseConnection(code, reason))
        while True:
            event = await self.event()
            if isinstance(event, CloseConnection):
                return Ending(event.code, event.reason or "")

    async def send_fragments(self, fragments: list[str], *, ping: bool) -> None:
        from wsproto.events import Ping, TextMessage

        for fragment in fragments:
            self.write(TextMessage(fragment, message_finished=False))
            if ping:
                self.write(Ping(b"are you there?"))
        self.write(TextMessage("", message_finished=True))
        await self.writer.drain()

    async def ping(self) -> None:
        from wsproto.events import Ping, Pong

        self.write(Ping(b"are you there?"))
        assert isinstance(await self.event(), Pong)
