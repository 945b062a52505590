"""The chat by pub/sub of Redis, which is simpler, and keeps nothing: README.md has what it loses.

`python pubsub_server.py [--port 9001] [--redis redis://localhost:6379]`, then `mintws connect 'ws://localhost:9001/rooms/tea?name=Ada'`.
"""

import argparse
import asyncio
import sys
from collections import defaultdict

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError

from mintws import LocalProtocolError
from mintws.asyncio import WebSocket, broadcast, serve


class Chat:
    """The rooms of this server."""

    def __init__(self, redis: "Redis") -> None:
        self.redis = redis
        self.rooms: defaultdict[str, set[WebSocket]] = defaultdict(set)

    async def handle(self, websocket: WebSocket) -> None:
        """Tell all servers what one says, until that one leaves."""
        assert websocket.request is not None
        room, name = websocket.request.path, websocket.request.query.get("name", ["?"])[0]
        self.rooms[room].add(websocket)
        try:
            async for said in websocket:
                await self.redis.publish(f"room:{room}", f"{name}: {said!s}")
        finally:
            self.rooms[room].discard(websocket)
            if not self.rooms[room]:
                del self.rooms[room]

    async def read(self) -> None:
        """Pass on what is said in all rooms, for ever."""
        async with self.redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.psubscribe("room:*")
            async for message in subscription.listen():
                room = message["channel"].removeprefix("room:")
                broadcast(self.rooms.get(room, ()), message["data"], slow="close")


async def main(port: int, url: str) -> None:
    """Serve until Ctrl-C."""
    # It subscribes again when the connection to Redis is lost.
    retry = Retry(ExponentialWithJitterBackoff(cap=1, base=0.05), 100)
    async with Redis.from_url(url, decode_responses=True, retry=retry) as redis:
        chat = Chat(redis)
        async with serve(chat.handle, "127.0.0.1", port, limit=4096) as server:
            print(f"ws://127.0.0.1:{server.port}/rooms/tea", flush=True)
            await chat.read()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.port, given.redis))
    except (OSError, LocalProtocolError, RedisError, ValueError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
