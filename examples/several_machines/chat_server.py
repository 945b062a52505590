"""One server of several of a chat. Rooms are streams of Redis, so that nothing is lost that was acknowledged, whatever server ends.

`python chat_server.py [--port 9001] [--redis redis://localhost:6379]`; README.md has what clients send and get.
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
import time
from typing import Any, NamedTuple

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError

from mintws import Connection, LocalProtocolError, UpgradeReject, UpgradeRequest
from mintws.asyncio import WebSocket, broadcast, serve
from mintws.events import Request, Response

logger = logging.getLogger("chat")

#: Seconds for which a room keeps what was said, and the messages of it that a newcomer gets.
KEPT, RECENT = 86400, 50
#: Messages that are read from a stream at a time.
PAGE = 500

#: Adds a message to a room, unless it was added before: a client says again what was not acknowledged.
SAY = """
local id = redis.call('GET', KEYS[2])
if not id then
    id = redis.call('XADD', KEYS[1], 'MINID', '~', ARGV[1], '*', 'by', ARGV[2], 'text', ARGV[3])
    redis.call('SET', KEYS[2], id, 'EX', ARGV[4])
end
return id
"""


class Id(NamedTuple):
    """The id of a message in its room: milliseconds since 1970, and a number among those of the same. Ids grow."""

    time: int
    number: int

    @classmethod
    def parse(cls, text: str) -> "Id":
        """Read an id.

        Raises:
            ValueError: it is none.
        """
        time, number = map(int, text.split("-"))
        return cls(time, number)

    def __str__(self) -> str:
        return f"{self.time}-{self.number}"


class Room:
    """A room that somebody on this server is in.

    Attributes:
        read: the id of the last message that this server has read.
        guests: who is here.
        members: those of them who get what is read, and the id of the last message that each had got when it became one.
    """

    def __init__(self, stream: str, read: Id) -> None:
        self.stream = stream
        self.read = read
        self.guests: set[WebSocket] = set()
        self.members: dict[WebSocket, Id] = {}


class Chat:
    """The rooms of this server."""

    def __init__(self, redis: "Redis") -> None:
        self.redis = redis
        self.rooms: dict[str, Room] = {}
        self._say = redis.register_script(SAY)
        #: Set while there are rooms.
        self._occupied = asyncio.Event()
        #: The connection that waits for messages, as Redis names it.
        self._reader: int | None = None

    def check(self, connection: Connection, request: UpgradeRequest) -> UpgradeReject | None:
        """Refuse what asks for no room."""
        name = request.query.get("name", [""])[0]
        if not request.path.startswith("/rooms/") or len(request.path) > 100 or not 1 <= len(name) <= 30:
            return UpgradeReject(404, body=b"ask for /rooms/ROOM?name=NAME\n")
        connection.app = request.path, name
        return None

    async def handle(self, websocket: WebSocket) -> None:
        """Let one take part until it leaves."""
        path, name = websocket.app
        room = await self._enter(path, websocket)
        try:
            after = json.loads(await websocket.recv())["after"]
            await self._catch_up(room, websocket, after if after is None else Id.parse(after))
            async for message in websocket:
                asked = json.loads(message)
                added = await self._add(room, name, str(asked["key"]), str(asked["text"]))
                await websocket.send(json.dumps({"key": asked["key"], "id": added}))
        except (ValueError, KeyError, TypeError, AttributeError):
            await websocket.close(4400, "that is not understood")
        finally:
            room.members.pop(websocket, None)
            room.guests.discard(websocket)
            if not room.guests and self.rooms.get(path) is room:
                del self.rooms[path]
                if not self.rooms:
                    self._occupied.clear()

    async def read(self) -> None:
        """Pass on what is said in the rooms of this server, for ever: each message is read once, and encoded once for all members."""
        while True:
            try:
                async with self.redis.client() as reader:
                    self._reader = await reader.client_id()
                    while True:
                        await self._occupied.wait()
                        rooms = {room.stream: room for room in self.rooms.values()}
                        since: Any = {stream: str(room.read) for stream, room in rooms.items()}
                        read: Any = await reader.xread(since, count=PAGE, block=1000)
                        for stream, messages in read:
                            self._pass_on(rooms[stream], messages)
            except RedisError as error:
                logger.warning("Redis is asked again in a second: %s", error)
                self._reader = None
                await asyncio.sleep(1)

    def respond(self, request: Request) -> Response:
        """Tell a gateway whether clients can be sent here."""
        return Response(404 if request.path != "/health" else 503 if self._reader is None else 200)

    async def _enter(self, path: str, websocket: WebSocket) -> Room:
        """Note that somebody is in a room; it is read from now on."""
        stream = f"room:{path}"
        if path not in self.rooms:
            newest: Any = await self.redis.xrevrange(stream, count=1)
            # Another may have entered meanwhile.
            self.rooms.setdefault(path, Room(stream, Id.parse(newest[0][0]) if newest else Id(0, 0)))
            self._occupied.set()
        room = self.rooms[path]
        room.guests.add(websocket)
        return room

    async def _catch_up(self, room: Room, websocket: WebSocket, after: Id | None) -> None:
        """Send what was said after a message, or lately, and make the client a member."""
        if not room.members and self._reader is not None:
            # The reader may be waiting, for up to a second, and not for this room yet.
            await self.redis.client_unblock(self._reader)
        if after is None:
            after = room.read
            recent: Any = await self.redis.xrevrange(room.stream, max=str(after), count=RECENT)
            await websocket.send_many(encode(*message) for message in reversed(recent))
        elif after.time < (time.time() - KEPT) * 1000:
            await websocket.close(4410, "what was said since then is kept no more")
            return
        while after < (until := room.read):
            missed: Any = await self.redis.xrange(room.stream, min=f"({after}", max=str(until), count=PAGE)
            await websocket.send_many(encode(*message) for message in missed)
            after = Id.parse(missed[-1][0]) if missed else until
        # Nothing is awaited between the end of the loop and this, so that nothing is missed. What another server has sent before this one
        # has read it is not sent again.
        room.members[websocket] = after
        websocket.send_nowait(json.dumps({"at": str(after)}))

    async def _add(self, room: Room, name: str, key: str, text: str) -> str:
        """Add a message to a room, and give its id: from now on it is not lost."""
        oldest = int((time.time() - KEPT) * 1000)
        added: Any = await self._say(
            keys=[room.stream, f"said:{room.stream}:{name}:{key}"], args=[oldest, name, text, KEPT]
        )
        return str(added)

    def _pass_on(self, room: Room, messages: list[tuple[str, dict[str, str]]]) -> None:
        for text, fields in messages:
            room.read = Id.parse(text)
            members = [member for member, after in room.members.items() if after < room.read]
            # One who is too slow is closed with 1013, and gets the rest when it comes back.
            broadcast(members, encode(text, fields), slow="close")


def encode(name: str, fields: dict[str, str]) -> str:
    """Make the message to clients of one in a stream."""
    return json.dumps({"id": name, **fields})


async def main(port: int, url: str) -> None:
    """Serve until SIGTERM or Ctrl-C; clients then go to another server."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    # What a lost connection has asked is asked again: a message that was added already is not added twice.
    retry = Retry(ExponentialWithJitterBackoff(cap=1, base=0.05), 10)
    pool = BlockingConnectionPool.from_url(url, max_connections=32, timeout=None, decode_responses=True, retry=retry)
    async with Redis.from_pool(pool) as redis:
        chat = Chat(redis)
        async with serve(
            chat.handle, "127.0.0.1", port, upgrade=chat.check, respond=chat.respond, limit=4096
        ) as server:
            reading = asyncio.create_task(chat.read())
            print(f"ws://127.0.0.1:{server.port}/rooms/tea", flush=True)
            await asyncio.wait({reading, asyncio.create_task(ended.wait())}, return_when=asyncio.FIRST_COMPLETED)
            await server.close(1012, "come again")
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=ended.is_set())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.port, given.redis))
    except (OSError, LocalProtocolError, RedisError, ValueError) as error:
        sys.exit(str(error))
