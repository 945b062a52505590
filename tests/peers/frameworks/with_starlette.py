"""What all of these applications do, in Starlette."""

from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute


@asynccontextmanager
async def lifespan(app):
    """Keep what requests give."""
    yield {"kept": "kept by the lifespan"}


async def kept(request):
    """Give what the lifespan keeps."""
    return PlainTextResponse(request.state.kept)


async def length(request):
    """Count the bytes of a body as they come."""
    size = 0
    async for part in request.stream():
        size += len(part)
    return PlainTextResponse(str(size))


async def parts(request):
    """Send a body in parts."""

    async def make():
        for number in range(100):
            yield b"%d," % number * 1000

    return StreamingResponse(make())


async def echo(websocket):
    """Send each message back."""
    await websocket.accept(subprotocol="tea" if "tea" in websocket.scope["subprotocols"] else None)
    async for message in websocket.iter_text():
        await websocket.send_text(message)


app = Starlette(
    routes=[
        Route("/kept", kept),
        Route("/length", length, methods=["POST"]),
        Route("/parts", parts),
        WebSocketRoute("/echo", echo),
    ],
    lifespan=lifespan,
)
