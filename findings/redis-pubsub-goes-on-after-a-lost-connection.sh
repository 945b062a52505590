#!/usr/bin/env bash
# Surprise: a reader of redis-py's pub/sub is not told that its connection to Redis was lost. `async for message in
# pubsub.listen()` connects and subscribes again by itself, even after a short restart of the server, and what was
# published meanwhile is missing. It raises nothing, so a chat server's own code for a lost broker, which would tell its
# WebSockets to load what they missed, never runs; the one trace is a second message of type "subscribe", which
# ignore_subscribe_messages, as most examples set it, leaves out. XREAD of a stream from the last id, in the same loop,
# misses none.
# Versions: redis 8.1.0 for Python, Redis 7.0.15 of Debian bookworm.
# Source: Redis' documentation of Pub/Sub (at-most-once delivery: what is lost while a subscriber is away is lost for
# ever); PubSub.on_connect of redis.asyncio.client, which subscribes again.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
timeout 300 apt-get download -qq -o APT::Sandbox::User=root \
    redis-tools=5:7.0.15-1~deb12u10 libjemalloc2 liblzf1 libatomic1
for package in *.deb; do dpkg-deb -x "$package" unpacked; done
# The program is Redis' server by its other name.
mv unpacked/usr/bin/redis-check-rdb redis-server
libraries=$(echo "$folder"/unpacked/usr/lib/*-linux-gnu)
python3 -m venv venv
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check redis==8.1.0
LD_LIBRARY_PATH=$libraries ./redis-server --version | cut -d' ' -f1-3

LIBRARIES=$libraries timeout 60 venv/bin/python - <<'PYTHON'
import asyncio
import os
import socket
import subprocess

import redis
import redis.asyncio

with socket.create_server(("127.0.0.1", 0)) as listener:
    PORT = listener.getsockname()[1]


async def subscribe(pubsub, told):
    """Do as a server of WebSockets would: pass messages on, and say so when the broker is lost."""
    try:
        async for message in pubsub.listen():
            told.append(message["data"] if message["type"] == "message" else message["type"])
    except redis.RedisError as error:
        told.append(error)


async def read(client, told):
    """Read a stream from the last id on, again after each error."""
    last = "0"
    while True:
        try:
            for _, entries in await client.xread({"stream": last}, block=10_000):
                for last, fields in entries:
                    told.append(fields["data"])
        except redis.RedisError:
            await asyncio.sleep(0.05)


async def until(condition):
    for _ in range(200):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError


async def try_out(*, ignore):
    publisher = redis.asyncio.Redis(port=PORT, decode_responses=True)
    await publisher.flushall()
    subscriber = redis.asyncio.Redis(port=PORT, decode_responses=True)
    pubsub = subscriber.pubsub(ignore_subscribe_messages=ignore)
    await pubsub.subscribe("channel")
    by_channel, by_stream = [], []
    reader = redis.asyncio.Redis(port=PORT, decode_responses=True)
    tasks = [asyncio.create_task(subscribe(pubsub, by_channel)), asyncio.create_task(read(reader, by_stream))]

    async def publish(text):
        await publisher.xadd("stream", {"data": text})
        return await publisher.publish("channel", text)

    async def subscribed():
        return await publisher.pubsub_numsub("channel") == [("channel", 1)]

    await until(subscribed)
    assert await publish("before") == 1
    # The subscriber's connection is lost, and something is published in the same moment.
    async with publisher.pipeline(transaction=True) as both:
        both.client_kill_filter(_type="pubsub").xadd("stream", {"data": "meanwhile"}).publish("channel", "meanwhile")
        killed, _, receivers = await both.execute()
    assert (killed, receivers) == (1, 0)
    await until(subscribed)
    assert await publish("after") == 1

    async def whole():
        return by_channel[-1:] == ["after"] and by_stream[-1:] == ["after"]

    await until(whole)
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for client in (pubsub, subscriber, reader, publisher):
        await client.aclose()
    print(f"redis-py {redis.__version__}, ignore_subscribe_messages={ignore}: listen() gives {by_channel}")
    print(f"  XREAD gives {by_stream}")
    return by_channel, by_stream


server = subprocess.Popen(
    ["./redis-server", "--port", str(PORT), "--bind", "127.0.0.1", "--save", ""],
    env={**os.environ, "LD_LIBRARY_PATH": os.environ["LIBRARIES"]},
    stdout=subprocess.DEVNULL,
)
try:
    for _ in range(200):
        try:
            redis.Redis(port=PORT).ping()
            break
        except redis.ConnectionError:
            asyncio.run(asyncio.sleep(0.05))
    told, streamed = asyncio.run(try_out(ignore=False))
    assert told == ["subscribe", "before", "subscribe", "after"], "the finding has changed"
    assert streamed == ["before", "meanwhile", "after"], "the control has failed"
    told, streamed = asyncio.run(try_out(ignore=True))
    assert told == ["before", "after"], "the finding has changed"
    assert streamed == ["before", "meanwhile", "after"], "the control has failed"
finally:
    server.terminate()
    server.wait(10)
PYTHON
