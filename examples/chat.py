"""A chat: what one client says goes to all others. `python examples/chat.py [PORT]`, then open the page that it names."""

import asyncio
import sys

from mintws.asyncio import WebSocket, broadcast, serve
from mintws.events import Request, Response

PAGE = b"""<!doctype html><meta charset="utf-8"><title>Chat</title>
<form><input autofocus autocomplete="off"></form><ul></ul>
<script>
const socket = new WebSocket(location.href.replace(/^http/, "ws"))
socket.onmessage = ({data}) => document.querySelector("ul").appendChild(document.createElement("li")).append(data)
document.forms[0].onsubmit = event => {
  event.preventDefault()
  socket.send(document.querySelector("input").value)
  event.target.reset()
}
</script>
"""


class Chat:
    """Those who take part."""

    def __init__(self) -> None:
        self.guests: set[WebSocket] = set()

    async def join(self, websocket: WebSocket) -> None:
        """Tell all what one says, until that one leaves."""
        self.guests.add(websocket)
        try:
            async for said in websocket:
                if isinstance(said, str):
                    # One who takes nothing keeps it from nobody, and is asked to come back later.
                    broadcast(self.guests, f"{websocket.id}: {said}", slow="close")
        finally:
            self.guests.remove(websocket)


def respond(request: Request) -> Response:
    """Give the page."""
    return Response(200, {"Content-Type": "text/html; charset=utf-8"}, PAGE)


async def main(port: int) -> None:
    """Serve until Ctrl-C."""
    async with serve(Chat().join, "localhost", port, respond=respond) as server:
        print(f"http://localhost:{server.port}/", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8765))
    except KeyboardInterrupt:
        print("closed")
