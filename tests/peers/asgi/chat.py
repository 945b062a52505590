"""A chat of FastAPI: rooms in which everybody gets what anybody says, and a page that talks in one.

What the page reports is written to the file that EVENTS names, a line of JSON each, with what the scopes say.
"""

import asyncio
import json
import os
from collections import defaultdict
from pathlib import Path

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, Response

PAGE = Path(__file__).with_name("chat.html")

app = FastAPI()
rooms = defaultdict(list)
#: How each request and WebSocket came: its kind, the version of HTTP, and the address of the client.
scopes = []
reported = asyncio.Event()


def note(scope):
    scopes.append([scope["type"], scope["http_version"], scope["client"][1]])


@app.get("/")
async def page(request: Request):
    note(request.scope)
    return HTMLResponse(PAGE.read_text(encoding="utf-8"))


@app.websocket("/rooms/{room}")
async def talk(websocket: WebSocket, room: str, name: str):
    note(websocket.scope)
    await websocket.accept()
    rooms[room].append(websocket)
    try:
        while True:
            said = await websocket.receive_text()
            for other in rooms[room]:
                await other.send_json({"name": name, "said": said})
    except WebSocketDisconnect:
        rooms[room].remove(websocket)


@app.post("/report")
async def report(request: Request):
    note(request.scope)
    told = await request.json()
    with Path(os.environ["EVENTS"]).open("a", encoding="ascii") as file:
        file.write(json.dumps({"told": told, "scopes": scopes}) + "\n")
    reported.set()
    return {}


@app.get("/done.svg")
async def done():
    """Answer when the page has reported: until then it is not loaded, and no picture of it is taken."""
    await reported.wait()
    return Response('<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16"/>', media_type="image/svg+xml")


@app.post("/size")
async def size(request: Request):
    sizes = [len(part) async for part in request.stream()]
    return {"size": sum(sizes), "version": request.scope["http_version"]}
