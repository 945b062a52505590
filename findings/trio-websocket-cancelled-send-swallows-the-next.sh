#!/usr/bin/env bash
# Surprise: a send_message() of trio-websocket that a timeout cancels leaves a part of its frame on the wire, and the
# connection carries on as if nothing had happened: the next send_message() succeeds, and what it wrote becomes payload
# of the broken frame. The peer gets neither message; all that is sent later, Pong and Close too, is swallowed until the
# announced length is filled.
# Versions: trio-websocket 0.12.2, trio 0.35.0, wsproto 1.3.2.
# Source: trio's documentation of SendStream.send_all warns that a cancelled call may have sent any part; that of
# trio-websocket's send_message says nothing of it. (asyncio's transports cannot do this: they keep what was written.)
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    trio-websocket==0.12.2 trio==0.35.0 wsproto==1.3.2

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import base64
import hashlib
import importlib.metadata
import re
from functools import partial

import trio
import trio_websocket

SIZE = 50_000_000


def accept(head):
    (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", head)
    answer = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + answer + b"\r\n\r\n"
    )


async def main():
    wire, begun, read_on = bytearray(), trio.Event(), trio.Event()

    async def peer(stream):
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        await stream.send_all(accept(head))
        wire.extend(await stream.receive_some(1))
        begun.set()
        await read_on.wait()
        while part := await stream.receive_some(1 << 20):
            wire.extend(part)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, peer, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        client = await trio_websocket.connect_websocket_url(nursery, f"ws://127.0.0.1:{port}/")
        scope = trio.CancelScope()

        async def send():
            with scope:
                await client.send_message(bytes(SIZE))

        nursery.start_soon(send)
        with trio.fail_after(20):
            await begun.wait()
        await trio.sleep(0.2)
        scope.cancel()
        await trio.sleep(0.2)
        print("the first send was cancelled:", scope.cancelled_caught)
        assert scope.cancelled_caught
        read_on.set()
        with trio.fail_after(10):
            await client.send_message(b"the next message")
        print("the next send succeeds; closed:", client.closed)
        assert client.closed is None
        with trio.move_on_after(1):
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()

    # The header of a masked binary frame with a 64-bit length, then the key, then the payload.
    assert wire[0] == 0x82 and wire[1] == 0xFF
    announced = int.from_bytes(wire[2:10], "big")
    came = len(wire) - 14
    print(f"on the wire: one frame of {announced} bytes, of which {came} came, the next message among them")
    assert announced == SIZE and came < SIZE
    # "the next message" is a frame of its own: 82 90, a key of four bytes, and 16 masked bytes, the last of all.
    tail = wire[-22:]
    assert tail[:2] == b"\x82\x90"
    assert bytes(byte ^ tail[2 + index % 4] for index, byte in enumerate(tail[6:])) == b"the next message"


print("trio-websocket", importlib.metadata.version("trio-websocket"), "on trio", trio.__version__)
trio.run(main)
PYTHON
