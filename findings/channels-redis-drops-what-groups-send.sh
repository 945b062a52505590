#!/usr/bin/env bash
# Surprise: the channel layer of Django Channels loses messages of a group without an error. A WebSocket whose consumer
# is slower than the group keeps the first hundred messages that wait for it; group_send() returns as usual, and the
# newer ones are dropped for that WebSocket. So a client stops at old messages and misses the newest, where one would
# expect it to be closed, the sender to wait, or the oldest to go. To one channel, send() raises ChannelFull for the
# same; the loss by a group is logged as information, which is off unless asked for.
# Versions: channels_redis 4.3.0 with channels 4.3.2, Redis 7.0.15 of Debian bookworm.
# Source: the documentation of channels' layers ("Capacity") and of channels_redis (capacity is 100); group_send of
# channels_redis.core.RedisChannelLayer.
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
timeout 300 venv/bin/pip install --quiet --disable-pip-version-check channels_redis==4.3.0 channels==4.3.2 redis==8.1.0
LD_LIBRARY_PATH=$libraries ./redis-server --version | cut -d' ' -f1-3

LIBRARIES=$libraries timeout 60 venv/bin/python - <<'PYTHON'
import asyncio
import importlib.metadata
import logging
import os
import socket
import subprocess
import time

import redis
from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer

COUNT = 150
logged = []
handler = logging.Handler()
handler.emit = lambda record: logged.append(record.levelname)
logging.getLogger().addHandler(handler)

with socket.create_server(("127.0.0.1", 0)) as listener:
    PORT = listener.getsockname()[1]


async def receive(layer, channel):
    """Give the numbers of the messages that are there."""
    numbers = []
    while True:
        try:
            numbers.append((await asyncio.wait_for(layer.receive(channel), 1))["number"])
        except asyncio.TimeoutError:
            return numbers


async def try_out(**options):
    layer = RedisChannelLayer(hosts=[("127.0.0.1", PORT)], **options)
    await layer.flush()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    logged.clear()
    for number in range(COUNT):
        await layer.group_send("room", {"type": "chat", "number": number})
    numbers = await receive(layer, channel)
    version = importlib.metadata.version("channels_redis")
    print(f"channels_redis {version}, {options or 'as it comes'}: of {COUNT} messages to a group, a member that reads")
    print(f"  later gets {len(numbers)}, numbers {numbers[0]} to {numbers[-1]}; records of the log: {logged}")
    full = None
    for number in range(COUNT):
        try:
            await layer.send(channel, {"type": "chat", "number": number})
        except ChannelFull as error:
            full = number
            print(f"  send() to one channel: {type(error).__name__} at message {full}")
            break
    await layer.close_pools()
    return numbers, full


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
            time.sleep(0.05)
    assert asyncio.run(try_out(capacity=COUNT)) == (list(range(COUNT)), None), "the control has failed"
    assert not logged
    numbers, full = asyncio.run(try_out())
    assert (numbers, full, logged) == (list(range(100)), 100, []), "the finding has changed"
finally:
    server.terminate()
    server.wait(10)
PYTHON
