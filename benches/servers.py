"""Echo servers, one a process: `python benches/servers.py NAME [options]` prints its port and serves until it is ended.

Each is written as its library's own documentation does it, without what an echo does not need: no log, no limit below 64 MiB, no
keepalive, permessage-deflate only where it is asked for. What is said beside them is what makes them comparable.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import logging
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

LIMIT = 64 * 1024 * 1024

Tls = ssl.SSLContext | None
Server = Callable[[socket.socket, bool, Tls], Awaitable[None]]


async def mintws(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    from mintws.asyncio import serve

    async def echo(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)

    listener.close()
    extensions = None if deflate else ()
    options = {"extensions": extensions, "limit": LIMIT, "ping_interval": None, "ssl": tls}
    async with serve(echo, "127.0.0.1", 0, **options) as server:
        print(server.port, flush=True)
        await server.serve_forever()


async def websockets(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    from websockets.asyncio.server import serve

    async def echo(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)

    compression = "deflate" if deflate else None
    options = {"compression": compression, "max_size": LIMIT, "ping_interval": None, "ssl": tls}
    async with serve(echo, sock=listener, **options) as server:
        await server.serve_forever()


async def picows(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    """Its callbacks, which are its fastest interface; it has no permessage-deflate there."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    class Echo(WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            kind = frame.msg_type
            if kind == WSMsgType.TEXT or kind == WSMsgType.BINARY:  # noqa: PLR1714  (as its examples do)
                transport.send(kind, frame.get_payload_as_memoryview())
            elif kind == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code())
                transport.disconnect()

    server = await ws_create_server(lambda _: Echo(), sock=listener, max_frame_size=LIMIT, ssl=tls)
    await server.serve_forever()


async def picows_coroutines(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    from picows.websockets import serve

    async def echo(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)

    compression = "deflate" if deflate else None
    options = {"compression": compression, "max_size": LIMIT, "ping_interval": None, "ssl": tls}
    async with serve(echo, sock=listener, **options) as server:
        await server.serve_forever()


async def aiohttp(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    from aiohttp import WSMsgType, web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(max_msg_size=LIMIT, compress=deflate)
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data)
        return websocket

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener, ssl_context=tls).start()
    await asyncio.Event().wait()


async def echo_of_asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        text = message.get("text")
        if text is None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        else:
            await send({"type": "websocket.send", "text": text})


def _fastapi() -> Any:
    from fastapi import FastAPI, WebSocket, WebSocketDisconnect

    async def echo(websocket: Any) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnect:
            pass

    # FastAPI looks it up in the module, which does not import FastAPI for all servers.
    echo.__annotations__["websocket"] = WebSocket
    app = FastAPI()
    app.add_api_websocket_route("/", echo)
    return app


async def _uvicorn(
    listener: socket.socket, deflate: bool, implementation: Any, app: Any = echo_of_asgi, *, http: str = "auto"
) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        http=http,
        ws=implementation,
        ws_max_size=LIMIT,
        ws_ping_interval=None,
        ws_per_message_deflate=deflate,
        lifespan="off",
        log_level="error",
    )
    await uvicorn.Server(config).serve([listener])


async def uvicorn_websockets(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    await _uvicorn(listener, deflate, "websockets-sansio")


async def uvicorn_wsproto(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    await _uvicorn(listener, deflate, "wsproto")


async def uvicorn_mintws(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    await _uvicorn(listener, deflate, "mintws.uvicorn:WebSocketProtocol", http="mintws.uvicorn:HttpProtocol")


async def fastapi_websockets(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    await _uvicorn(listener, deflate, "websockets-sansio", _fastapi())


async def fastapi_mintws(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    await _uvicorn(
        listener, deflate, "mintws.uvicorn:WebSocketProtocol", _fastapi(), http="mintws.uvicorn:HttpProtocol"
    )


async def hypercorn(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    """It always agrees to permessage-deflate, which the load does not offer unless asked to."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.websocket_max_message_size = LIMIT
    config.errorlog = None
    config.h2_max_concurrent_streams = 200
    await serve(echo_of_asgi, config, shutdown_trigger=asyncio.Event().wait)  # type: ignore[arg-type]


class Floor(asyncio.Protocol):
    """The handshake, then each chunk back as it came with one write: what asyncio itself costs. The load must be `--raw`."""

    def __init__(self) -> None:
        self.head = b""
        self.open = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.open:
            self.transport.write(data)
            return
        self.head += data
        if b"\r\n\r\n" in self.head:
            self.open = True
            key = self.head.lower().index(b"sec-websocket-key:") + 18
            accepted = self.head[key : self.head.index(b"\r\n", key)].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(accepted).digest())
            self.head = b""
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )


async def floor(listener: socket.socket, deflate: bool, tls: Tls) -> None:
    server = await asyncio.get_running_loop().create_server(Floor, sock=listener, ssl=tls)
    await server.serve_forever()


SERVERS: dict[str, Server] = {
    "floor": floor,
    "mintws": mintws,
    "picows": picows,
    "picows.websockets": picows_coroutines,
    "aiohttp": aiohttp,
    "websockets": websockets,
    "uvicorn-websockets": uvicorn_websockets,
    "uvicorn-wsproto": uvicorn_wsproto,
    "uvicorn-mintws": uvicorn_mintws,
    "fastapi-websockets": fastapi_websockets,
    "fastapi-mintws": fastapi_mintws,
    "hypercorn": hypercorn,
}
#: Those that take a context for TLS.
OVER_TLS = {"floor", "mintws", "picows", "picows.websockets", "aiohttp", "websockets"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=SERVERS)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--tls", help="a file with a private key and certificates")
    args = parser.parse_args()
    tls = None
    if args.tls:
        if args.name not in OVER_TLS:
            parser.error(f"{args.name} is not measured over TLS")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(args.tls)
    logging.disable(logging.CRITICAL)
    # Where the number of TCP is missing, asyncio does not set TCP_NODELAY.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    if args.name != "mintws":
        print(listener.getsockname()[1], flush=True)
    serving = SERVERS[args.name](listener, args.deflate, tls)
    if args.loop == "uvloop":
        import uvloop

        uvloop.run(serving)
    elif sys.platform == "win32":
        raise SystemExit("the benchmarks run on Linux")
    else:
        asyncio.run(serving)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
