#!/usr/bin/env bash
# Surprise: a socket that listens already, with a backlog of its owner's choice (systemd's Backlog=, a supervisor that
# passes descriptors on), does not keep it in asyncio. create_server(sock=...) and start_server(sock=...) call listen()
# again, with their own default of 100, and Linux takes the new number: a queue of 1000 becomes one of 100, without a
# word. What is built on asyncio does it with its own default: aiohttp makes it 128, Uvicorn 2048 (a queue of 7 grows).
# uvloop does as asyncio; Tornado, which itself runs on asyncio, and trio leave the socket as it is.
# Versions: uvloop 0.23.0, aiohttp 3.14.5, Uvicorn 0.54.0, Tornado 6.6.1, trio 0.35.0, and asyncio of the python3 that
# runs this (3.11 and newer).
# Source: observed; asyncio documents backlog as the argument for listen(), and sock as a socket that it uses, and does
# not say which one wins. The kernel's number is tcpi_sacked of TCP_INFO, the Send-Q of "ss -ltn".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    uvloop==0.23.0 aiohttp==3.14.5 uvicorn==0.54.0 tornado==6.6.1 trio==0.35.0

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import importlib.metadata
import pathlib
import socket
import struct
import sys

import aiohttp.web
import tornado.tcpserver
import trio
import uvicorn
import uvloop


def backlog(listener):
    return struct.unpack_from("I", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0]


async def with_asyncio(listener):
    server = await asyncio.start_server(lambda reader, writer: None, sock=listener)
    result = backlog(listener)
    server.close()
    return result


async def with_aiohttp(listener):
    runner = aiohttp.web.AppRunner(aiohttp.web.Application())
    await runner.setup()
    await aiohttp.web.SockSite(runner, listener).start()
    result = backlog(listener)
    await runner.cleanup()
    return result


async def with_uvicorn(listener):
    server = uvicorn.Server(uvicorn.Config(lambda: None, lifespan="off", log_level="critical"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    result = backlog(listener)
    server.should_exit = True
    await asyncio.wait_for(serving, 10)
    return result


async def with_tornado(listener):
    server = tornado.tcpserver.TCPServer()
    server.add_socket(listener)
    result = backlog(listener)
    server.stop()
    return result


async def with_trio(listener):
    async with trio.open_nursery() as nursery:
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
        await nursery.start(trio.serve_listeners, lambda stream: None, listeners)
        result = backlog(listener)
        nursery.cancel_scope.cancel()
    return result


somaxconn = int(pathlib.Path("/proc/sys/net/core/somaxconn").read_text())
print("asyncio of Python", sys.version.split()[0], "net.core.somaxconn", somaxconn)
for package in ("uvloop", "aiohttp", "uvicorn", "tornado", "trio"):
    print(package, importlib.metadata.version(package))
for name, run, use, expected in (
    ("asyncio", asyncio.run, with_asyncio, 100),
    ("uvloop", uvloop.run, with_asyncio, 100),
    ("aiohttp", asyncio.run, with_aiohttp, 128),
    ("uvicorn", asyncio.run, with_uvicorn, 2048),
    ("tornado", asyncio.run, with_tornado, None),
    ("trio", lambda main: trio.run(lambda: main), with_trio, None),
):
    for chosen in (7, 1000):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(chosen)
            listener.setblocking(False)
            before = backlog(listener)
            after = run(use(listener))
        print(f"{name}: listens with a backlog of {before}, then served: {after}")
        assert before == min(chosen, somaxconn)
        assert after == (before if expected is None else min(expected, somaxconn)), f"{name} behaves differently now"
PYTHON
