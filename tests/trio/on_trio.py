"""A server on trio that echoes, its URL, and a relay before it that can stop."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from mintws.trio import Server, WebSocket, serve


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


def listening(handler: Callable[[WebSocket], Awaitable[None]] = echo, **options: Any) -> serve:
    """Serve on a free port of loopback."""
    return serve(handler, "127.0.0.1", 0, **options)


def url(server: Server, target: str = "/") -> str:
    return f"ws://127.0.0.1:{server.port}{target}"


class Relay:
    """A relay of one connection to a port of loopback, which stops when its scopes are cancelled, and closes nothing then.

    Attributes:
        port: where it listens.
        upwards, downwards: what carries bytes to the server, and to the client.
        taken: what the client has sent.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._listening = socket.create_server(("127.0.0.1", 0))
        # Little fits between the client and the relay.
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        self.port = int(self._listening.getsockname()[1])
        self.upwards, self.downwards = trio.CancelScope(), trio.CancelScope()
        self.taken = bytearray()

    async def run(self) -> None:
        """Carry bytes until this is cancelled."""
        with self._listening:
            await trio.lowlevel.wait_readable(self._listening)
            self._client = self._listening.accept()[0]
        async with (
            trio.SocketStream(trio.socket.from_stdlib_socket(self._client)) as client,
            await trio.open_tcp_stream("127.0.0.1", self._to) as server,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._carry, client, server, self.upwards)
            nursery.start_soon(self._carry, server, client, self.downwards)
            nursery.start_soon(trio.sleep_forever)

    def stop(self) -> None:
        """Carry nothing more."""
        self.upwards.cancel()
        self.downwards.cancel()

    def take(self) -> None:
        """Take, and keep, what has come from the client."""
        try:
            while data := self._client.recv(1 << 20):
                self.taken += data
        except (BlockingIOError, ConnectionResetError):
            pass

    async def _carry(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        with scope:
            try:
                while data := await source.receive_some():
                    if scope is self.upwards:
                        self.taken += data
                    await sink.send_all(data)
                await sink.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
