"""What all of these applications do, in Litestar."""

from contextlib import asynccontextmanager

from litestar import Litestar, MediaType, Request, WebSocket, get, post, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.response import Stream


@asynccontextmanager
async def lifespan(app: Litestar):
    """Keep what requests give."""
    app.state.kept = "kept by the lifespan"
    yield


@get("/kept", media_type=MediaType.TEXT)
async def kept(request: Request) -> str:
    """Give what the lifespan keeps."""
    return request.app.state.kept


@post("/length", media_type=MediaType.TEXT, status_code=200)
async def length(request: Request) -> str:
    """Count the bytes of a body as they come."""
    size = 0
    async for part in request.stream():
        size += len(part)
    return str(size)


@get("/parts")
async def parts() -> Stream:
    """Send a body in parts."""
    return Stream(b"%d," % number * 1000 for number in range(100))


@websocket("/echo")
async def echo(socket: WebSocket) -> None:
    """Send each message back."""
    await socket.accept(subprotocols="tea" if "tea" in socket.scope["subprotocols"] else None)
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


app = Litestar([kept, length, parts, echo], lifespan=[lifespan])
