"""The chat of `mintws serve --chat`: rooms, one WebSocket for each that somebody is in.

A room is the last part of the path, and a name is in the query: `/room/tea?name=Ada`. Both sides send JSON objects; a text that is none is
said in the room, so that `mintws connect` takes part too.

The server sends `welcome` (how the WebSocket is carried, and what was said lately), `people` (who is there), `said` and `pong`; a client
sends `say` with a text, and `ping` with anything, which comes back.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from mintws import ConnectionClosed
from mintws.asyncio import WebSocket

#: How many messages a room remembers, and how many wait for a member until it is closed as too slow.
_REMEMBERED, _WAITING = 50, 256
#: The longest text, and the longest name of a member or a room, in characters.
_TEXT, _NAME = 2000, 30


class Chat:
    """The rooms; `handle` is the handler of a server."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._guests = 0
        #: How many WebSockets each transport carries.
        self._carried: Counter[object] = Counter()

    async def handle(self, websocket: WebSocket) -> None:
        """Let a WebSocket take part in the room that it has asked for."""
        assert websocket.request is not None
        parts = urlsplit(websocket.request.target)
        name = parse_qs(parts.query, errors="replace").get("name", [""])[0].strip()[:_NAME]
        if not name:
            self._guests += 1
            name = f"guest {self._guests}"
        room_name = unquote(parts.path.rpartition("/")[2]).strip()[:_NAME] or "lobby"
        room = self._rooms.setdefault(room_name, _Room())
        self._carried[websocket.transport] += 1
        member = _Member(websocket, name)
        sending = asyncio.ensure_future(member.send_all())
        try:
            member.tell(self._welcome(websocket, room_name, name, room))
            room.members.append(member)
            room.tell_people()
            async for message in websocket:
                self._take(room, member, message)
        except ConnectionClosed:
            # A browser that leaves a page closes with 1001; others may close with anything.
            pass
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._carried[websocket.transport] -= 1
            if not self._carried[websocket.transport]:
                del self._carried[websocket.transport]
            if member in room.members:
                room.members.remove(member)
            room.tell_people()
            if not room.members:
                self._rooms.pop(room_name, None)

    def _welcome(self, websocket: WebSocket, room_name: str, name: str, room: _Room) -> dict[str, Any]:
        return {
            "type": "welcome",
            "room": room_name,
            "name": name,
            "http": websocket.http_version,
            "extensions": [str(it.answer) for it in websocket.connection.extensions],
            "connection": websocket.id.partition(".")[0],
            "together": self._carried[websocket.transport],
            "lately": list(room.lately),
        }

    def _take(self, room: _Room, member: _Member, message: str | bytes) -> None:
        """Do what a member asks for."""
        if isinstance(message, bytes):
            return
        asked = _parse(message)
        if asked.get("type") == "ping":
            member.tell({"type": "pong", "of": asked.get("of")})
        elif asked.get("type") == "say" and (text := str(asked.get("text", "")).strip()[:_TEXT]):
            said = {"type": "said", "by": member.name, "text": text}
            room.lately.append(said)
            room.tell(said)


class _Room:
    """Who is in a room, and what was said there lately."""

    def __init__(self) -> None:
        self.members: list[_Member] = []
        self.lately: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)

    def tell(self, event: dict[str, Any]) -> None:
        """Tell all members."""
        for member in self.members:
            member.tell(event)

    def tell_people(self) -> None:
        """Tell all members who is there."""
        self.tell({"type": "people", "names": [member.name for member in self.members]})


class _Member:
    """One WebSocket in a room. What it is told waits in a queue of its own, so that nobody waits for the slowest."""

    def __init__(self, websocket: WebSocket, name: str) -> None:
        self.name = name
        self._websocket = websocket
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._leaving: asyncio.Future[None] | None = None

    def tell(self, event: dict[str, Any]) -> None:
        """Have an event sent, or close if too many wait."""
        if self._queue.qsize() < _WAITING:
            self._queue.put_nowait(json.dumps(event, ensure_ascii=False))
        elif self._leaving is None:
            self._leaving = asyncio.ensure_future(self._websocket.close(1013, "you read too slowly"))

    async def send_all(self) -> None:
        """Send events as the peer takes them, until it has left."""
        try:
            while True:
                await self._websocket.send(await self._queue.get())
        except ConnectionClosed:
            # The handler sees it too.
            pass


def _parse(message: str) -> dict[str, Any]:
    try:
        parsed = json.loads(message)
    except (ValueError, RecursionError):
        parsed = None
    return parsed if isinstance(parsed, dict) else {"type": "say", "text": message}
