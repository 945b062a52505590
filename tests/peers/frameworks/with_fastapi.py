"""What all of these applications do, in FastAPI."""

from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, StreamingResponse


@asynccontextmanager
async def lifespan(app):
    """Keep what requests give."""
    yield {"kept": "kept by the lifespan"}


app = FastAPI(lifespan=lifespan)


@app.get("/kept", response_class=PlainTextResponse)
async def kept(request: Request):
    """Give what the lifespan keeps."""
    return request.state.kept


@app.post("/length", response_class=PlainTextResponse)
async def length(request: Request):
    """Count the bytes of a body as they come."""
    size = 0
    async for part in request.stream():
        size += len(part)
    return str(size)


@app.get("/parts")
def parts():
    """Send a body in parts, which a thread makes."""
    return StreamingResponse(b"%d," % number * 1000 for number in range(100))


@app.websocket("/echo")
async def echo(websocket: WebSocket):
    """Send each message back."""
    await websocket.accept(subprotocol="tea" if "tea" in websocket.scope["subprotocols"] else None)
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass
