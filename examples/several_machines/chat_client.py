"""A client of the chat, which resumes where it was: `python chat_client.py 'ws://localhost:8080/rooms/tea?name=Ada'`."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any, Literal

from mintws import ConnectionClosed, LocalProtocolError
from mintws.asyncio import WebSocket, connect


class Member:
    """One who is in a room, whatever becomes of connections and servers.

    Args:
        url: the server, with the room and the name.
        hear: called with each message of the room, once and in order.
        http: the version of HTTP.

    Attributes:
        connections: how many WebSockets were opened.
        present: whether it gets what is said from now on.
    """

    def __init__(
        self, url: str, hear: Callable[[dict[str, Any]], None], http: Literal["1.1", "2", "auto"] = "auto"
    ) -> None:
        self.connections = 0
        self.present = False
        self._url = url
        self._hear = hear
        self._http = http
        #: The last message that was heard.
        self._after: str | None = None
        #: What was said and is not acknowledged, by its key.
        self._said: dict[str, tuple[str, asyncio.Future[str]]] = {}
        self._websocket: WebSocket | None = None

    async def run(self) -> None:
        """Take part until the server ends it.

        Raises:
            ConnectError, ConnectionClosed: in a way after which it is of no use to come again.
        """
        try:
            async for websocket in connect(self._url, http=self._http):
                async with websocket:
                    try:
                        await self._take_part(websocket)
                    finally:
                        self.present = False
        finally:
            for _, acknowledged in self._said.values():
                acknowledged.cancel()

    async def say(self, text: str) -> str:
        """Say something, and wait until it is acknowledged: all in the room hear it then. Return its id."""
        key = uuid.uuid4().hex
        acknowledged: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._said[key] = text, acknowledged
        if self._websocket is not None:
            try:
                await self._send(self._websocket, key, text)
            except ConnectionClosed:
                # It is said again on the next one. If the server had it already, that knows the key.
                pass
        return await acknowledged

    async def _take_part(self, websocket: WebSocket) -> None:
        self.connections += 1
        await websocket.send(json.dumps({"after": self._after}))
        self._websocket = websocket
        for key, (text, _) in list(self._said.items()):
            await self._send(websocket, key, text)
        async for message in websocket:
            got = json.loads(message)
            if "key" in got:
                self._said.pop(got["key"])[1].set_result(got["id"])
            elif "at" in got:
                self._after = got["at"]
                self.present = True
            else:
                self._after = got["id"]
                self._hear(got)

    async def _send(self, websocket: WebSocket, key: str, text: str) -> None:
        await websocket.send(json.dumps({"key": key, "text": text}))


async def main(url: str) -> None:
    """Print what is said in the room, and say what is typed, until the end of the input."""
    member = Member(url, lambda message: print(f"{message['by']}: {message['text']}", flush=True))
    taking_part = asyncio.create_task(member.run())
    typed = asyncio.StreamReader()
    threading.Thread(target=read_input, args=(asyncio.get_running_loop(), typed), daemon=True).start()
    saying = asyncio.create_task(say_all(member, typed))
    done, _ = await asyncio.wait({taking_part, saying}, return_when=asyncio.FIRST_COMPLETED)
    for task in (taking_part, saying):
        task.cancel()
    await asyncio.gather(*done)


def read_input(loop: asyncio.AbstractEventLoop, typed: asyncio.StreamReader) -> None:
    """Pass on the input, in a thread of its own: a loop can wait for a terminal or a pipe, but for no file."""
    # The loop is closed when the client has ended before the input.
    with contextlib.suppress(RuntimeError):
        while data := os.read(sys.stdin.fileno(), 65536):
            loop.call_soon_threadsafe(typed.feed_data, data)
        loop.call_soon_threadsafe(typed.feed_eof)


async def say_all(member: Member, typed: asyncio.StreamReader) -> None:
    """Say each line."""
    while line := await typed.readline():
        await member.say(line.decode().rstrip("\n"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="* %(message)s")
    try:
        asyncio.run(main(given.url))
    except (OSError, ConnectionClosed, LocalProtocolError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
