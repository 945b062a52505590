"""Rooms in FastAPI: `uvicorn --app-dir examples rooms:app --ws mintws.uvicorn:WebSocketProtocol`."""

from collections import defaultdict

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
rooms: defaultdict[str, set[WebSocket]] = defaultdict(set)


@app.get("/rooms")
def count() -> dict[str, int]:
    """Say how many are in each room."""
    return {name: len(guests) for name, guests in rooms.items()}


@app.websocket("/rooms/{name}")
async def join(websocket: WebSocket, name: str) -> None:
    """Tell all in a room what one says, until that one leaves."""
    await websocket.accept()
    guests = rooms[name]
    guests.add(websocket)
    try:
        while True:
            said = await websocket.receive_text()
            for guest in list(guests):
                try:
                    await guest.send_text(said)
                except WebSocketDisconnect:
                    guests.discard(guest)
    except WebSocketDisconnect:
        pass
    finally:
        guests.discard(websocket)
