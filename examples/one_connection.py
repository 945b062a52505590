"""WebSockets and ordinary requests side by side on one HTTP/2 connection: `python examples/one_connection.py`."""

import asyncio

from mintws.asyncio import WebSocket, connect_http2, serve
from mintws.events import Request, Response


async def count(websocket: WebSocket) -> None:
    """Say how long each message is."""
    async for message in websocket:
        await websocket.send(str(len(message)))


def respond(request: Request) -> Response:
    """Give a page that names itself."""
    return Response(200, {"Content-Type": "text/plain"}, f"this is {request.target}\n".encode())


async def main() -> None:
    """Open 20 WebSockets and ask for 20 pages at the same time, on one connection."""
    async with (
        serve(count, "localhost", 0, respond=respond) as server,
        connect_http2(f"ws://localhost:{server.port}") as client,
    ):
        websockets = await asyncio.gather(*(client.open(f"/{number}") for number in range(20)))
        for number, websocket in enumerate(websockets):
            await websocket.send("x" * number)
        pages = await asyncio.gather(*(client.request("GET", f"/page/{number}") for number in range(20)))
        lengths = [await websocket.recv() for websocket in websockets]
    print("lengths:", *lengths)
    print("pages:", *(page.body.decode().split()[-1] for page in pages if page.body is not None))


if __name__ == "__main__":
    asyncio.run(main())
