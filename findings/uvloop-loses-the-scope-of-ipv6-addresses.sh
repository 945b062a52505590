#!/usr/bin/env bash
# Surprise: an IPv6 link-local address goes through uvloop as a name with a scope ("fe80::1%lo"), and not as the address
# that getaddrinfo() made of it. loop.sock_connect() ignores the scope id in the fourth place of the address, so the
# tuple that works with socket.connect() and asyncio fails with EINVAL; and uvloop's own loop.getaddrinfo() puts 0 there
# when the host is a literal and a type is given. A client that resolves first and then connects to what it got (for
# Happy Eyeballs, or to filter addresses) loses link-local peers on uvloop only.
# Versions: uvloop 0.23.0, and asyncio of the python3 that runs this (3.10 and newer). It needs iproute2, and root or
# user namespaces: it gives fe80::1 to the loopback interface of a network namespace of its own.
# Source: RFC 4007, section 6 (link-local addresses need a zone); uvloop's issue 539, open since 2023, about
# getaddrinfo(); sock_connect() is observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0

cat > "$folder/main.py" <<'PYTHON'
import asyncio
import errno
import socket
import sys

import uvloop


async def outcome(address):
    with socket.socket(socket.AF_INET6) as client:
        client.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(client, address)
        except OSError as error:
            return errno.errorcode[error.errno]
    return "connected"


async def try_out(address):
    loop = asyncio.get_running_loop()
    literal = f"fe80::1%{socket.if_indextoname(address[3])}"
    ((*_, found),) = await loop.getaddrinfo(literal, address[1], type=socket.SOCK_STREAM)
    transport, _ = await loop.create_connection(asyncio.Protocol, literal, address[1])
    transport.close()
    return found[3], await outcome(address), await outcome((literal, address[1]))


print("Python", sys.version.split()[0], "uvloop", uvloop.__version__)
scope = socket.if_nametoindex("lo")
with socket.create_server(("fe80::1", 0, 0, scope), family=socket.AF_INET6) as listener:
    address = ("fe80::1", listener.getsockname()[1], 0, scope)
    with socket.socket(socket.AF_INET6) as client:
        client.settimeout(5)
        client.connect(address)
    for name, run, expected in (
        ("asyncio", asyncio.run, (scope, "connected", "connected")),
        ("uvloop", uvloop.run, (0, "EINVAL", "connected")),
    ):
        got = run(asyncio.wait_for(try_out(address), 10))
        print(f"{name}: getaddrinfo() of the literal gives scope id {got[0]} (it is {scope})")
        print(f"    sock_connect() to {address}: {got[1]}; to the literal with its scope: {got[2]}")
        assert got == expected, f"{name} behaves differently now"
PYTHON
cd "$folder"
timeout 60 unshare --map-root-user --net sh -c \
    'ip link set lo up && ip -6 address add fe80::1/64 dev lo nodad && venv/bin/python main.py'
