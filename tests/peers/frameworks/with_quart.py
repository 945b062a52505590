"""What all of these applications do, in Quart."""

from quart import Quart, request, websocket

app = Quart(__name__)


@app.before_serving
async def start():
    """Keep what requests give."""
    app.kept = "kept by the lifespan"


@app.get("/kept")
async def kept():
    """Give what the lifespan keeps."""
    return app.kept


@app.post("/length")
async def length():
    """Count the bytes of a body as they come."""
    size = 0
    async for part in request.body:
        size += len(part)
    return str(size)


@app.get("/parts")
async def parts():
    """Send a body in parts."""

    async def make():
        for number in range(100):
            yield b"%d," % number * 1000

    return make()


@app.websocket("/echo")
async def echo():
    """Send each message back."""
    await websocket.accept(subprotocol="tea" if "tea" in websocket.requested_subprotocols else None)
    while True:
        await websocket.send(await websocket.receive())
