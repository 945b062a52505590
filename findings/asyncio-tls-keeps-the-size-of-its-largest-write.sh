#!/usr/bin/env bash
# Surprise: after one large write over TLS, an asyncio connection holds at least as much memory as that write took, for
# as long as it lives, though the peer has read all of it and the transport reports an empty buffer. asyncio (and
# uvloop) encrypt the whole write into an ssl.MemoryBIO, and OpenSSL's memory BIO grows but never shrinks. A thousand
# clients that each got one answer of 64 MiB since they connected cost 64 GiB, with nothing in flight.
# Versions: asyncio of the python3 that runs this (seen with 3.11.7 and 3.13.0, OpenSSL 3.0), uvloop 0.23.0.
# Source: observed; the documentation of ssl.MemoryBIO and of transport.get_write_buffer_size() says nothing of it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0 trustme==1.2.1
cd "$folder"

cat > client.py <<'PYTHON'
"""Read as many bytes as are expected, tell so, and stay connected until standard input ends."""
import socket
import ssl
import sys

port, expected = map(int, sys.argv[1:])
context = ssl.create_default_context(cafile="authority.pem")
with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
    with context.wrap_socket(plain, server_hostname="localhost") as client:
        while expected > 0:
            expected -= len(client.recv(1 << 18))
        print("read all", flush=True)
        sys.stdin.read()
PYTHON

cat > server.py <<'PYTHON'
import asyncio
import gc
import ssl
import sys

import trustme
import uvloop

SIZE_MIB = 64


def resident():
    """Return the memory of this process, in MiB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024


async def main(name):
    authority = trustme.CA()
    authority.cert_pem.write_to_path("authority.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    connected, lost = asyncio.get_running_loop().create_future(), asyncio.Event()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            connected.set_result(transport)

        def connection_lost(self, error):
            lost.set()

    server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    pipe = asyncio.subprocess.PIPE
    client = await asyncio.create_subprocess_exec(
        sys.executable, "client.py", str(port), str(SIZE_MIB << 20), stdin=pipe, stdout=pipe
    )
    try:
        transport = await asyncio.wait_for(connected, 20)
        before = resident()
        transport.write(bytes(SIZE_MIB << 20))
        assert await asyncio.wait_for(client.stdout.readline(), 30) == b"read all\n"
        await asyncio.sleep(0.5)
        gc.collect()
        idle, buffered = resident(), transport.get_write_buffer_size()
        client.stdin.close()
        await asyncio.wait_for(lost.wait(), 20)
        await asyncio.wait_for(client.wait(), 20)
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
    del transport, connected
    await asyncio.sleep(0.5)
    gc.collect()
    after = resident()
    server.close()
    print(f"{name}: {before} MiB before, {idle} MiB after a write of {SIZE_MIB} MiB that the peer has read whole")
    print(f"{name}: the transport reports {buffered} buffered bytes; {after} MiB after the connection has ended")
    assert buffered == 0
    assert idle - before > 0.9 * SIZE_MIB, "the memory was given back"
    assert idle - after > 0.9 * SIZE_MIB, "the memory is not the connection's"


print("Python", sys.version.split()[0], ssl.OPENSSL_VERSION, "uvloop", uvloop.__version__)
if sys.argv[1] == "asyncio":
    asyncio.run(main("asyncio"))
else:
    uvloop.run(main("uvloop"))
PYTHON

timeout 90 "$folder/venv/bin/python" server.py asyncio
timeout 90 "$folder/venv/bin/python" server.py uvloop
