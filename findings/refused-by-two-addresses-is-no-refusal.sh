#!/usr/bin/env bash
# Surprise: "except ConnectionRefusedError" around asyncio's open_connection() works for 127.0.0.1 and for a name with
# one address, and not for a name with two, such as a localhost that is also ::1. When both refuse, asyncio raises a
# plain OSError whose errno is None; what happened is only in its text. anyio and trio do so even for one address, and
# have the refusals in __cause__. The standard library's blocking socket.create_connection() and aiohappyeyeballs
# raise ConnectionRefusedError for both. So a "retry while refused" passes its test and gives up elsewhere.
# Versions: aiohappyeyeballs 2.7.1, anyio 4.16.0, trio 0.35.0, and asyncio of the python3 that runs this (3.10 and
# newer).
# Source: observed; CPython's issue 93973 (all_errors of create_connection(), in 3.12, the way to the single errors),
# websockets' issue 593.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    aiohappyeyeballs==2.7.1 anyio==4.16.0 trio==0.35.0

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import importlib.metadata
import socket
import sys

import aiohappyeyeballs
import anyio
import trio

# No DNS: two addresses of the loopback interface, as a name with two addresses has them.
ADDRESSES = {"one.example": ["127.0.0.1"], "two.example": ["127.0.0.1", "127.0.0.2"]}
resolve = socket.getaddrinfo


def getaddrinfo(host, port, *arguments, **options):
    name = host.decode() if isinstance(host, bytes) else host
    if name not in ADDRESSES:
        return resolve(host, port, *arguments, **options)
    return [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)) for address in ADDRESSES[name]
    ]


class Resolver(trio.abc.HostnameResolver):
    async def getaddrinfo(self, host, port, *arguments):
        return getaddrinfo(host, port, *arguments)

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def with_trio(host, port):
    trio.socket.set_custom_hostname_resolver(Resolver())
    with trio.fail_after(10):
        await trio.open_tcp_stream(host, port)


async def with_happy_eyeballs(host, port):
    await aiohappyeyeballs.start_connection(getaddrinfo(host, port))


def bounded(main):
    return asyncio.run(asyncio.wait_for(main, 10))


socket.getaddrinfo = getaddrinfo
with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]

print("Python", sys.version.split()[0])
for package in ("aiohappyeyeballs", "anyio", "trio"):
    print(package, importlib.metadata.version(package))
for name, connect, expected in (
    ("socket", lambda host: socket.create_connection((host, port), timeout=10), (True, True)),
    ("asyncio", lambda host: bounded(asyncio.open_connection(host, port)), (True, False)),
    ("aiohappyeyeballs", lambda host: bounded(with_happy_eyeballs(host, port)), (True, True)),
    ("anyio", lambda host: bounded(anyio.connect_tcp(host, port)), (False, False)),
    ("trio", lambda host: trio.run(with_trio, host, port), (False, False)),
):
    refused = []
    for host in ADDRESSES:
        try:
            connect(host)
        except OSError as error:
            print(f"{name}, {host}: {type(error).__name__}, errno {error.errno}: {error}")
            refused.append(isinstance(error, ConnectionRefusedError))
            assert (error.errno is not None) == refused[-1]
            assert (error.__cause__ is not None) == (name in {"anyio", "trio"})
    assert tuple(refused) == expected, f"{name} behaves differently now"
PYTHON
