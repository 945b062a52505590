"""A client of HTTP/2 that does what a test tells it, frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.settings import SettingCodes
from wire import CONNECT


@dataclass
class Answer:
    """What has come on a stream.

    Attributes:
        interim: the statuses of interim responses, with their headers.
        reset: the code of a RST_STREAM.
    """

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    interim: list[tuple[int, list[tuple[bytes, bytes]]]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    def header(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class RawClient:
    """One connection; it gives credit for what comes as long as `takes` is true."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, window: int | None) -> None:
        self._reader, self.writer = reader, writer
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        if window is not None:
            values = {SettingCodes.INITIAL_WINDOW_SIZE: window}
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values=values)
        self.h2.initiate_connection()
        self.takes = True
        self.answers: dict[int, Answer] = {}
        self.goaway: h2.events.ConnectionTerminated | None = None
        self.ended = False
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def request(
        self,
        path: str = "/",
        *more: tuple[str, str],
        method: str = "GET",
        body: bytes | None = None,
        end: bool = True,
    ) -> int:
        """Write a request; without `end` its body goes on."""
        number = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(number, [*pseudo, *more], end_stream=end and body is None)
        self.answers[number] = Answer()
        if body is not None:
            self.send(number, body, end=end)
        self.flush()
        return number

    async def connect(self) -> int:
        """Ask for a WebSocket, when the server says that it takes any."""
        await self.until(lambda: self.h2.remote_settings.enable_connect_protocol)
        number = self.h2.get_next_available_stream_id()
        self.answers[number] = Answer()
        self.h2.send_headers(number, CONNECT)
        self.flush()
        return number

    def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Write as much of a body as the windows let pass at once: it must be all of it."""
        for at in range(0, len(data), 16384):
            self.h2.send_data(number, data[at : at + 16384])
        if end:
            self.h2.end_stream(number)
        self.flush()

    def reset(self, number: int, code: int = 8) -> None:
        self.h2.reset_stream(number, code)
        self.flush()

    def take(self, number: int) -> None:
        """Give credit for all that has come on a stream, and from now on at once."""
        self.takes = True
        size = len(self.answers[number].body)
        self.h2.acknowledge_received_data(size, number)
        self.flush()

    async def until(self, holds: Callable[[], Any]) -> None:
        """Read until something holds, or the server ends the connection."""
        while not holds() and not self.ended:
            data = await self._reader.read(65536)
            if not data:
                self.ended = True
                return
            for event in self.h2.receive_data(data):
                self._receive(event)
            self.flush()

    async def answer(self, number: int) -> Answer:
        """Give what comes on a stream until its end."""
        answer = self.answers[number]
        await self.until(lambda: answer.over)
        return answer

    async def get(self, path: str = "/", *more: tuple[str, str], **how: Any) -> Answer:
        return await self.answer(self.request(path, *more, **how))

    def _receive(self, event: h2.events.Event) -> None:
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0, Answer())
        match event:
            case h2.events.ResponseReceived():
                answer.status, answer.headers = _parted(event.headers)
            case h2.events.InformationalResponseReceived():
                answer.interim.append(_parted(event.headers))
            case h2.events.DataReceived():
                answer.body += event.data
                if self.takes and event.flow_controlled_length and event.stream_id in self.h2.streams:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                answer.trailers = list(event.headers)
            case h2.events.StreamEnded():
                answer.ended = True
            case h2.events.StreamReset():
                answer.reset = int(event.error_code)
            case h2.events.ConnectionTerminated():
                self.goaway = event


def _parted(headers: Iterable[Any]) -> tuple[int, list[tuple[bytes, bytes]]]:
    (_, status), *others = [(bytes(name), bytes(value)) for name, value in headers]
    return int(status), others


@contextlib.asynccontextmanager
async def raw_http2(
    port: int, *, window: int | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawClient]:
    """Open a connection by prior knowledge, or by ALPN."""
    named: dict[str, Any] = {"ssl": tls, "server_hostname": "localhost"} if tls else {}
    if tls is not None:
        tls.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **named)
    try:
        yield RawClient(reader, writer, window)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
